"""The compiled tier: when it takes over, what it leaves to the interpreter, and what may not disturb it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.backends import compiled, crew
from gpuxp.backends import tier as tiers
from gpuxp.backends.base import Arg
from gpuxp.backends.tier import HOT, Tier
from gpuxp.codegen.layout import Layout
from gpuxp.codegen.llvm import render
from gpuxp.devices import runtime_of
from gpuxp.dtypes import FLOAT64
from gpuxp.kernel import Inst, Kernel
from gpuxp.storage import Buffer
from gpuxp.threads import PARALLEL

COUNTERS = runtime_of("cpu").backend.caps.counters
DOUBLE = Kernel((FLOAT64, FLOAT64), (), (Inst("load", (), FLOAT64, 0), Inst("add", (0, 0), FLOAT64)), ((1, 1),))


@pytest.fixture(autouse=True)
def _recorded() -> Iterator[None]:
    with np.configure(small=0):
        yield


def operands(size: int) -> tuple[tuple[int, ...], list[Arg]]:
    memory = [numpy.zeros(size).view(numpy.uint8) for _ in range(2)]
    return (size,), [Arg(m, 0, (8,)) for m in memory]


def test_a_kernel_is_compiled_when_it_is_hot() -> None:
    tier = Tier(DOUBLE, COUNTERS)
    shape, args = operands(1 << 16)
    other = (1 << 15,), [a._replace(strides=(16,)) for a in args]
    with np.configure(tier="auto"):
        for launch in ((shape, args), other):
            tier.spent(*launch, HOT * 0.6)  # each layout has its own account
            tiers.settle()
            assert tier.choose(*launch) is None
        tier.spent(shape, args, HOT * 0.6)
        tiers.settle()
        assert tier.choose(shape, args) is not None
        assert tier.choose(*other) is None
    with np.configure(tier="interpreter"):
        tier.spent(*other, HOT)
    tiers.settle()
    with np.configure(tier="auto"):
        assert tier.choose(*other) is None


def held(args: list[Arg]) -> list[Buffer]:
    """Return the arguments' memory as buffers."""
    return [Buffer(runtime_of("cpu"), a.mem.nbytes, a.mem) for a in args]


def test_the_tier_can_be_chosen() -> None:
    tier = Tier(DOUBLE, COUNTERS)
    shape, args = operands(10)
    with np.configure(tier="interpreter"):
        assert tier.choose(shape, args) is None
    with np.configure(tier="compiled"):
        launch = tier.choose(shape, args)
        assert launch is not None
        args[0].mem.view(numpy.float64)[:] = range(10)
        launch(held(args), [a.offset for a in args], [])
        assert args[1].mem.view(numpy.float64).tolist() == [2.0 * n for n in range(10)]


def test_the_text_depends_on_the_structure_alone() -> None:
    a, b = (render(DOUBLE, Layout("cc")).text for _ in range(2))
    assert a == b
    assert "fast" not in a
    assert "contract" not in a
    assert render(DOUBLE, Layout("sc")).text != a


@pytest.mark.parametrize(
    "program",
    [
        lambda a: np.exp(a) + 1,
        lambda a: np.sin(a) * np.cos(a),
        lambda a: (a * 2).sum(axis=0),
        lambda a: np.where(a > 0, a, -a) // 0.3,
        lambda a: (a.astype("int32") % 7).max(axis=1),
        lambda a: abs((a + 1j * a) * (2 - 1j * a)),
        lambda a: (a + 2j).sum(axis=1),
    ],
)
def test_common_programs_are_compiled(program: Any) -> None:
    a = np.asarray(numpy.random.default_rng(0).standard_normal((40, 50)))
    with np.configure(tier="compiled"):
        before = COUNTERS["compiled_launches"], COUNTERS["not_compiled"]
        np.evaluate(program(a))
        assert COUNTERS["compiled_launches"] > before[0]
        assert COUNTERS["not_compiled"] == before[1]


def test_a_copy_of_truth_values_keeps_their_bytes() -> None:
    odd = numpy.arange(300, dtype="uint8").view("bool")
    with np.configure(tier="compiled"):
        assert numpy.asarray(np.asarray(odd).copy()).view("uint8").tolist() == odd.view("uint8").tolist()
        assert numpy.asarray(~np.asarray(odd)).view("uint8").tolist() == (odd.view("uint8") == 0).tolist()


def test_what_cannot_be_compiled_is_interpreted() -> None:
    half = np.asarray([1.5, 2.5], dtype="float16")
    with np.configure(tier="compiled"):
        before = COUNTERS["not_compiled"]
        assert (half * half).tolist() == [2.25, 6.25]
        assert COUNTERS["not_compiled"] > before


def test_threads_share_compiled_kernels() -> None:
    want = float((numpy.arange(1e4) * 3 + 1).sum())
    found: list[float] = []

    def work() -> None:
        for _ in range(20):
            found.append(float((np.arange(1e4) * 3 + 1).sum()))

    with np.configure(tier="compiled"):
        workers = [threading.Thread(target=work) for _ in range(4)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
    assert found == [want] * 80


FORK = """
import os, gpuxp as np
from gpuxp.backends import compiled
from gpuxp.backends import tier as tiers
with np.configure(small=0, tier="compiled"):
    a = np.arange(1000.0)
    assert float((a * 2).sum()) == 999000.0
    child = os.fork()
    assert float((a * 3 - 1).sum()) == 1497500.0
    assert float(np.sin(a * 0).sum()) == 0
    if child == 0:
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("done")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork, which this system does not have")
def test_a_child_process_compiles_for_itself() -> None:
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "done", done.stderr


LEAVE = """
import gpuxp as np
a = np.arange(4_000_000.0)
for _ in range(4):
    np.evaluate(a * 2 + np.exp(-a))  # hot, and being compiled while the process ends
print("left")
"""


def test_a_process_may_end_while_it_compiles() -> None:
    environment = {**os.environ, "GPUXP_CACHE": "off"}
    done = subprocess.run([sys.executable, "-c", LEAVE], env=environment, capture_output=True, text=True, timeout=60,
                          check=False)  # fmt: skip
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "left", "")


def test_numba_and_llvm_are_not_imported_before_a_kernel_is_hot() -> None:
    text = (
        "import sys, gpuxp as np; np.evaluate(np.arange(1e6) * 2)\n"
        "print([m for m in sys.modules if 'llvm' in m or 'numba' in m])"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "f4", "f8", "c8", "c16"])
def test_large_results_go_past_the_caches(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole lines are written at once, and what lies before and after them as it has to be."""
    monkeypatch.setattr(compiled, "_STREAM", 0)
    kind = numpy.dtype(dtype)
    copy = Kernel((kind, kind), (), (Inst("load", (), kind, 0),), ((1, 0),))
    source = numpy.random.default_rng(0).integers(0, 2, 3000).astype(kind)
    for start, count, tile in ((0, 3000, 65536), (3, 1025, 65536), (7, 5, 65536), (63, 2000, 700), (1, 513, 1)):
        target = numpy.zeros_like(source)
        args = [Arg(a.view(numpy.uint8), start * kind.itemsize, (kind.itemsize,)) for a in (source, target)]
        with np.configure(tier="compiled", tile=tile):
            launch = Tier(copy, COUNTERS).choose((count,), args)
            assert isinstance(launch, compiled.Prepared)
            assert launch.streams
            assert not launch.again()._table[launch.extent - 1]  # for a pass that two kernels share
            launch(held(args), [a.offset for a in args], [])
        wanted = numpy.zeros_like(source)
        wanted[start : start + count] = source[start : start + count]
        numpy.testing.assert_array_equal(target, wanted)


def test_what_is_read_again_stays_in_the_caches() -> None:
    large, small = 1 << 23, 1 << 20
    in_place = Kernel((FLOAT64,), (), (Inst("load", (), FLOAT64, 0), Inst("add", (0, 0), FLOAT64)), ((0, 1),))
    with np.configure(tier="compiled"):
        for kernel, size, streams in ((DOUBLE, large, True), (DOUBLE, small, False), (in_place, large, False)):
            shape, args = operands(size)
            launch = Tier(kernel, COUNTERS).choose(shape, args[: len(kernel.params)])
            assert isinstance(launch, compiled.Prepared)
            assert launch.streams == streams


@pytest.mark.parametrize(("alone", "together"), [(1e-3, 6e-4), (1e-3, 2e-3), (5e-5, 1e-5)])
@pytest.mark.parametrize("work", [0, 1 << 21])
def test_launches_get_the_crew_if_that_pays(
    alone: float, together: float, work: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was expected of them; a delay now and then changes nothing, and what takes little is not tried."""
    now, jobs, wakes = [0.0], [], together < alone and (alone > 1e-4 or work > 0)

    def run(*job: Any) -> None:
        jobs.append(job[-1])
        now[0] += (together if jobs[-1] else alone) + (0.1 if len(jobs) % 50 == 0 else 0)

    monkeypatch.setattr(crew, "perf_counter", lambda: now[0])
    with np.configure(num_threads=2):
        workers = crew.crew()
        assert workers is not None
        monkeypatch.setattr(workers, "run", run)
        job = crew.Job(0, 2 * PARALLEL, work)
        for _ in range(1000):
            job.run(0, 8)
    tail = jobs[100:]
    assert sum(j != wakes for j in tail) <= len(tail) / 100
    assert alone < 1e-4 or set(tail) == {False, True}  # what else may have become better is looked at, too


def test_short_launches_that_take_long_are_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(1000))
    monkeypatch.setattr(crew, "perf_counter", lambda: next(now))
    touched = []
    code = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(lambda *job: touched.append(job[1:]))
    with np.configure(num_threads=2):
        job = crew.Job(ctypes.cast(code, ctypes.c_void_p).value, 10, 10)
        job.run(0, 8)
        assert touched == [(0, 8)]
        workers, jobs = crew.crew(), []
        monkeypatch.setattr(workers, "run", lambda *job: jobs.append(job[-2]))
        job.run(0, 8)
    assert jobs == [2]


@pytest.mark.parametrize("few", [1, 2, 3, 4, 5, 7, 16, 31, 48, 49])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "?"])
def test_few_elements_are_reduced_as_many_are(few: int, dtype: str) -> None:
    """Coordinates and colours, side by side or not, with what else the kernel stores."""
    rng = numpy.random.default_rng(few)

    def random(*shape: int) -> Any:
        return np.asarray((rng.integers(-3, 4, shape) * 0.3).astype(dtype))

    def results(points: Any, others: Any, wide: Any) -> list[Any]:
        apart = points[:, None] ^ others[None] if dtype == "?" else points[:, None] - others[None]
        found = [apart, apart.sum(-1), apart.max(-1), np.swapaxes(wide, 0, 1).any(-1), wide.sum(0), wide[:, ::2].min(0)]
        found += [wide[::-1].T.sum(-1), (np.abs(wide.T) <= 1).sum(1), np.tanh(others * 1.0).sum(1)]
        np.evaluate(*found)
        return [numpy.asarray(f) for f in found]

    operands = random(5, few), random(1030, few), random(few, 1030)
    with np.configure(tier="interpreter"):
        wanted = results(*operands)
    before = COUNTERS["compiled_launches"]
    with np.configure(tier="compiled"):
        found = results(*operands)
    assert COUNTERS["compiled_launches"] > before + 3
    for want, got in zip(wanted, found, strict=True):
        assert want.dtype == got.dtype
        assert want.strides == got.strides
        assert want.tobytes() == got.tobytes()


@pytest.mark.parametrize("size", [49, 127, 128, 129, 255, 256, 257, 384, 511, 1000, 2047, 2049, 2304, 4500])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?", "c8"])
def test_rows_are_reduced_in_one_order(size: int, dtype: str) -> None:
    """Rows of lanes, whole and not, together and one by one: with zeros of both signs, NaNs, and what is stored."""
    rng = numpy.random.default_rng(size)
    host = (rng.integers(-9, 10, (6, size)) * 0.3).astype(dtype)
    odd = host.copy()
    if host.dtype.kind == "f":
        host[1:4] *= 0.0
        odd[:4] *= 0.0
        odd[2:4, rng.integers(size, size=5)] = numpy.nan, -numpy.nan, numpy.inf, -numpy.inf, numpy.nan

    def results(x: Any, odd: Any) -> list[Any]:
        twice = x ^ True if dtype == "?" else x + x
        found = [twice, twice.sum(1), x.sum(), (x != 0).any(1), (twice == twice).all()]
        if dtype != "c8":
            found += [odd.max(1), odd.min(1), odd.min(), odd[:, ::2].max(1)]
            found += [(np.arange(size) * x).sum(1), x[:, 1:].sum()]
        if host.dtype.kind == "f":
            found += [(x * x).prod(1), np.fabs(x * 2 - x * 3 + x * 5).max(1), odd[1].max(), np.exp(x).sum(1)]
        np.evaluate(*found)
        return [numpy.asarray(f) for f in found]

    with np.configure(tier="interpreter"):
        wanted = results(np.asarray(host), np.asarray(odd))
    before = COUNTERS["compiled_launches"]
    with np.configure(tier="compiled"):
        found = results(np.asarray(host), np.asarray(odd))
    assert COUNTERS["compiled_launches"] > before + 3
    for want, got in zip(wanted, found, strict=True):
        assert want.dtype == got.dtype
        assert want.tobytes() == got.tobytes()


@pytest.mark.parametrize("tile", [1, 4, 7, 49152])
def test_short_rows_are_whole_whatever_a_tile_is(tile: int) -> None:
    """Their code knows how long they are: a launch has as many units as rows, and nothing beside them is written."""
    around = numpy.zeros((3000, 7))
    with np.configure(tier="compiled", small=0, tile=tile):
        x, target = np.asarray(numpy.ones((300, 7))), np.asarray(around)
        np.add(x, np.arange(7), out=target[300:600])
        found = numpy.asarray(target)
    assert (found[300:600] == numpy.arange(7) + 1).all()
    assert not found[:300].any()
    assert not found[600:].any()


def test_a_sum_of_few_negative_zeros_is_zero() -> None:
    with np.configure(tier="compiled"):
        for shape in ((50, 3), (50, 40), (50, 5000)):
            assert not numpy.signbit(numpy.asarray((np.zeros(shape) * -1.0).sum(1))).any()
