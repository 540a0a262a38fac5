"""Compiled ufuncs for arrays computed at once: totals, ufuncs shared out among the crew, conversions; and the crew."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuxp as np
from gpuxp.backends import tier as tiers
from gpuxp.backends.crew import Crew, crew
from gpuxp.backends.direct import Direct, Entry, make_total
from gpuxp.backends.tier import HOT
from gpuxp.codegen.llvmcrew import place_of
from gpuxp.devices import runtime_of
from gpuxp.kernel import combine
from gpuxp.runtime import _ALONE
from gpuxp.threads import PARALLEL

RUNTIME = runtime_of("cpu")
SIZE = 3 * PARALLEL
TOTALS = ("add", "multiply", "maximum", "minimum")


@pytest.fixture(autouse=True)
def _reading() -> Iterator[None]:
    """Set up a program that reads its results one by one, on several threads, compiled at once."""
    with np.configure(small=16384, middling=1 << 20, tier="compiled", num_threads=4):
        RUNTIME.flush()
        RUNTIME._alone = _ALONE
        yield
    RUNTIME._alone = 0


def workers() -> Crew:
    found = crew()
    if found is None:
        pytest.skip("needs POSIX threads, which this system does not have")
    return found


def jobs() -> int:
    """Return how many launches the crew has shared."""
    return ctypes.c_int64.from_address(workers().state + place_of("seq")).value


def shared(call: Callable[[], Any]) -> tuple[numpy.ndarray, bool]:
    """Return a result, and whether the crew took part; what is short wakes it only now and then."""
    before = jobs()
    for _ in range(64):
        found = numpy.asarray(call())
        if jobs() > before:
            break
    return found, jobs() > before


def bits(values: numpy.ndarray) -> bytes:
    """Return the bits of numbers; which NaN it is, is not told (it depends on the order of a sum's operands)."""
    return numpy.where(values == values, values, numpy.ones((), values.dtype) * 77).tobytes()


def special(dtype: str, size: int, seed: int) -> numpy.ndarray:
    """Return numbers with zeros of both signs, infinities and NaN among them."""
    found = numpy.random.default_rng(seed).standard_normal(size).astype(dtype)
    found[seed % 7 :: 11] = numpy.resize([0.0, -0.0], found[seed % 7 :: 11].size)
    if seed % 3 == 0:
        found[seed % 5 :: 97] = numpy.resize([numpy.inf, numpy.nan, -numpy.inf], found[seed % 5 :: 97].size)
    return found


@given(
    st.sampled_from(TOTALS), st.sampled_from("fdilLB"), st.sampled_from([1, 4]), st.integers(0, 99),
    st.integers(1, 5000) | st.sampled_from([127, 128, 2048, 2049, 70_000, 300_000]),
)  # fmt: skip
def test_a_total_has_the_canonical_order(op: str, dtype: str, threads: int, seed: int, size: int) -> None:
    x = special("f8", size, seed)
    x = (x if dtype in "fd" else numpy.nan_to_num(x, posinf=3, neginf=2) * 50).astype(dtype)
    rows = numpy.stack([x, x[::-1]])
    with numpy.errstate(all="ignore"):
        want = combine(op, rows).astype(dtype)
        found = make_total(op, numpy.dtype(dtype), threads)(rows)
    assert bits(found) == bits(want)


@given(st.sampled_from(TOTALS), st.sampled_from("fd"), st.integers(0, 99), st.sampled_from([3, 2049, SIZE, 2_500_000]))
def test_totals_of_arrays_are_compiled(op: str, dtype: str, seed: int, size: int) -> None:
    x = special(dtype, size, seed)
    before, launched = RUNTIME.direct_calls, RUNTIME.counters["kernels"]
    got = np.add.reduce if op == "add" else getattr(np, op).reduce
    found = numpy.asarray(got(np.asarray(x), axis=None))
    assert RUNTIME.direct_calls > before
    assert RUNTIME.counters["kernels"] == launched
    with np.configure(tier="interpreter", small=0):
        want = numpy.asarray(got(np.asarray(x), axis=None))
    assert bits(found) == bits(want)


@given(st.integers(0, 99), st.sampled_from([(40, 300), (7, 11, 13), (300, 5)]), st.data())
def test_rows_of_small_arrays_have_the_same_bits(seed: int, shape: tuple[int, ...], data: st.DataObject) -> None:
    x = special("f8", int(numpy.prod(shape)), seed).reshape(shape)
    axis = data.draw(st.sampled_from(range(len(shape))))
    found = numpy.asarray(np.sum(np.asarray(x), axis=axis))
    with np.configure(tier="interpreter", small=0):
        want = numpy.asarray(np.sum(np.asarray(x), axis=axis))
    assert bits(found) == bits(want)


@pytest.mark.parametrize("name", ["negative", "sqrt", "exp", "sin", "cos", "tanh", "isnan", "logical_not", "rint"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8"])
def test_functions_of_one_operand_are_shared_out(name: str, dtype: str) -> None:
    x = (special("f8", SIZE, 1) * 5).astype(dtype)
    a = np.asarray(x)
    found, together = shared(lambda: getattr(np, name)(a))
    assert together == (dtype != "i8" or name in ("negative", "logical_not", "isnan"))  # others convert their operands
    with np.configure(tier="interpreter", small=0):
        want = numpy.asarray(getattr(np, name)(np.asarray(x)))
    assert found.dtype == want.dtype
    assert bits(found) == bits(want)


@pytest.mark.parametrize("name", ["add", "divide", "less", "arctan2", "maximum", "logical_and", "power"])
def test_functions_of_two_operands_are_shared_out(name: str) -> None:
    x, y = special("f8", SIZE, 1), special("f8", SIZE, 2)
    found, together = shared(lambda: getattr(np, name)(np.asarray(x), np.asarray(y)))
    assert together
    with numpy.errstate(all="ignore"):
        assert found.tobytes() == getattr(numpy, name)(x, y).tobytes()
        a, b = x.reshape(3, -1), y.reshape(3, -1)[1]
        assert (
            numpy.asarray(getattr(np, name)(np.asarray(a), np.asarray(b))).tobytes()
            == getattr(numpy, name)(a, b).tobytes()
        )


@pytest.mark.parametrize(("source", "target"), [("f8", "f8"), ("f8", "f4"), ("i8", "f8"), ("f4", "i4"), ("?", "?")])
def test_conversions_are_shared_out(source: str, target: str) -> None:
    x = (numpy.random.default_rng(0).standard_normal(SIZE) * 50).astype(source)
    a = np.asarray(x).reshape(3, -1)
    found, together = shared(lambda: a.astype(target))
    assert together
    assert found.tobytes() == x.astype(target).tobytes()
    assert found.shape == (3, SIZE // 3)


@given(
    st.sampled_from(["?", "i2", "f4", "f8", "c16"]), st.sampled_from([0.0, 0.03, 0.5, 1.0]), st.integers(0, 99),
    st.sampled_from([(SIZE,), (SIZE + 1,), (5, SIZE // 4)]),
)  # fmt: skip
def test_masks_read_and_write(dtype: str, share: float, seed: int, shape: tuple[int, ...]) -> None:
    generator = numpy.random.default_rng(seed)
    x = (generator.standard_normal(shape) * 50).astype(dtype)
    mask = generator.random(shape) < share
    mask[..., -1] = seed % 2
    a, m = np.asarray(x.copy()), np.asarray(mask)
    before = jobs()
    assert numpy.asarray(a[m]).tobytes() == x[mask].tobytes()
    assert jobs() > before
    values = (generator.standard_normal(int(mask.sum())) * 50).astype(dtype)
    a[m] = np.asarray(values)
    want = x.copy()
    want[mask] = values
    assert numpy.asarray(a).tobytes() == want.tobytes()
    with pytest.raises(ValueError, match="cannot assign"):
        a[m] = np.ones(values.size + 2, dtype)
    assert numpy.asarray(a).tobytes() == want.tobytes()
    a[m] = np.ones(values.size, "f4" if dtype != "?" else "?")  # NumPy converts
    want[mask] = 1
    assert numpy.asarray(a).tobytes() == want.tobytes()


def test_a_mask_may_select_from_itself() -> None:
    mask = numpy.random.default_rng(0).random(SIZE) < 0.5
    a = np.asarray(mask.copy())
    values = numpy.random.default_rng(1).random(int(mask.sum())) < 0.5
    a[a] = np.asarray(values)
    mask[mask] = values
    assert (numpy.asarray(a) == mask).all()


def test_one_thread_shares_nothing() -> None:
    x = np.asarray(special("f8", SIZE, 1))
    with np.configure(num_threads=1):
        assert not shared(lambda: np.exp(x))[1]
        assert not shared(lambda: np.sum(x))[1]


def test_a_ufunc_is_made_once_it_pays() -> None:
    made: list[int] = []

    def make() -> object:
        made.append(1)
        return numpy.add

    entry = Entry("a test", make, Counter())
    with np.configure(tier="interpreter"):
        assert entry.wanted(1 << 40) is None
    with np.configure(tier="auto"):
        assert entry.wanted(10) is None
        tiers.settle()
        assert not made
        assert entry.wanted(round(HOT * 1e10)) is None  # nobody waits for it
        tiers.settle()
        assert entry.wanted(10) is numpy.add
    assert made == [1]


def test_what_cannot_be_made_is_tried_once() -> None:
    tried: list[int] = []

    def make() -> object:
        tried.append(1)
        raise RuntimeError("no compiler")

    entry = Entry("a test", make, Counter())
    assert entry.wanted(10) is None
    assert entry.wanted(10) is None
    assert tried == [1]


def test_what_was_interrupted_is_tried_again() -> None:
    errors: list[BaseException] = [KeyboardInterrupt()]

    def make() -> object:
        if errors:
            raise errors.pop()
        return numpy.add

    entry = Entry("a test", make, Counter())
    with np.configure(tier="compiled"):
        with pytest.raises(KeyboardInterrupt):
            entry.wanted(10)
        assert entry.wanted(10) is numpy.add


def test_a_total_too_long_for_the_stack_is_a_kernel() -> None:
    x = np.ones(Direct.most + 1)
    before = RUNTIME.counters["kernels"]
    assert float(np.sum(x)) == Direct.most + 1
    assert RUNTIME.counters["kernels"] > before


def test_threads_share_the_crew() -> None:
    x = special("f8", SIZE, 1)
    want = numpy.exp(x).tobytes()
    wrong: list[int] = []

    def work() -> None:
        a = np.asarray(x)
        for turn in range(30):
            if numpy.asarray(np.exp(a)).tobytes() != want:
                wrong.append(turn)

    with numpy.errstate(all="ignore"):
        several = [threading.Thread(target=work) for _ in range(4)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()
    assert not wrong


PROGRAM = """
import os, threading, time
import numpy, gpuxp as np
from gpuxp.devices import runtime_of
x = numpy.linspace(0, 1, 200_000)
want = numpy.exp(x)
a = np.asarray(x)
def check():
    runtime_of("cpu")._alone = 9
    for _ in range(20):
        assert (numpy.asarray(np.exp(a)) == want).all()
        assert (numpy.asarray(np.exp(a * 1.0) + 0.0) == want).all()
check()
busy = True
def load():
    while busy:
        check()
other = threading.Thread(target=load, daemon=True)
other.start()
for _ in range(5):
    child = os.fork()
    if child == 0:
        check()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
busy = False
other.join()
check()
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which this system does not have")
def test_a_child_process_has_a_crew_of_its_own() -> None:
    environment = {**os.environ, "GPUXP_TIER": "compiled", "GPUXP_MIDDLING": "1000000", "GPUXP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", PROGRAM], env=environment, capture_output=True,
                          text=True, timeout=100, check=False)  # fmt: skip
    assert done.stdout.strip() == "done", done.stderr


def test_a_crew_that_has_ended_leaves_the_work_to_the_caller() -> None:
    workers()
    own = Crew()
    assert own.grow(2) == 2
    own.end()
    assert own.grow(2) == 0
    seen = numpy.zeros(8)
    fill = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)

    @fill
    def task(context: int, low: int, high: int) -> None:
        seen[low:high] += 1

    own.run(ctypes.cast(task, ctypes.c_void_p).value or 0, 0, 8, 4, 3, True)
    assert (seen == 1).all()
