"""Row by row: kernels that need the same rows of one another share a pass over memory, and nobody can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FlakyFailure

import gpuxp as np
from gpuxp import engine
from gpuxp.backends import crew, passes, tier
from gpuxp.devices import runtime_of

from .test_stencils import backwards, share_everything

RUNTIME = runtime_of("cpu")
COUNTERS = RUNTIME.backend.caps.counters
ROWS = 12


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(passes, "_BLOCK", 300)
    share_everything(monkeypatch)
    with np.configure(small=0, tier="compiled", num_threads=3):
        yield


def row_passes() -> int:
    return COUNTERS["row_passes"]


def of_rows(np: Any, v: Any, w: Any, n: int) -> Any:
    """Return what needs the same rows alone."""
    total = (v.sum(-1), v.max(-1), (v * w).min(-1))[n % 3]
    return w - total.reshape(total.shape + (1,) * (w.ndim - total.ndim)) * 2


def shifted(np: Any, v: Any, w: Any, n: int) -> Any:
    """Overwrite rows by what others need."""
    k = 1 + n % 3
    w[k:] += v[:-k]
    w[: n % 5] = v[n % 7]
    return w


def in_place(np: Any, v: Any, w: Any, n: int) -> Any:
    w -= v.max(-1, keepdims=True)
    w[:, n % v.shape[1]] *= 2
    return w


def backward(np: Any, v: Any, w: Any, n: int) -> Any:
    w[::-1] = v - w.sum(-1, keepdims=True)
    return v[::-1] + w


def columns(np: Any, v: Any, w: Any, n: int) -> Any:
    return v - w.sum(0) if n % 2 else (v.sum(0)[None] + w).copy()


def flat(np: Any, v: Any, w: Any, n: int) -> Any:
    """A single dimension in memory, and rows of it."""
    w.reshape(-1)[n % 4 :] -= n
    return v.reshape(w.shape) - w


def mirrored(np: Any, v: Any, w: Any, n: int) -> Any:
    """The elements of a row in another order."""
    return (v * 2 - n)[:, ::-1] + w


def turned(np: Any, v: Any, w: Any, n: int) -> Any:
    """As many columns as rows: the same extents, other rows."""
    square = np.concatenate([w.reshape(ROWS, -1)] * ROWS, axis=1)[:, :ROWS]
    square -= square.max(1)[:, None]
    turn = square.T * 2 - square.sum(1)[:, None] if n % 2 else square.T.copy()
    return v - turn[:, :1].reshape((ROWS,) + (1,) * (v.ndim - 1))


STATEMENTS: tuple[Callable[..., Any], ...] = (
    of_rows, of_rows, in_place, shifted, backward, columns, flat, mirrored, turned,
)  # fmt: skip


@st.composite
def programs(draw: Any) -> Any:
    """Return a shape, a dtype, and statements: what, of which arrays, a number, whether the result is a new array."""
    shape = (ROWS, *draw(st.sampled_from([(1,), (5,), (3, 2), (40,), (130,)])))
    place = st.integers(0, 2)
    line = st.tuples(st.sampled_from(STATEMENTS), place, place, place, st.integers(0, 20))
    return shape, draw(st.sampled_from(["f8", "f4", "i8", "i4"])), draw(st.lists(line, min_size=2, max_size=6))


def run(np: Any, shape: tuple[int, ...], dtype: str, lines: Any, start: Any) -> list[Any]:
    arrays = [np.asarray(a.copy()) for a in start]
    for statement, v, w, to, n in lines:
        other = arrays[w] if v != w else arrays[w].copy()
        arrays[to] = statement(np, arrays[v], other, n)
    return arrays


def check(program: Any, seed: int, reverse: bool) -> None:
    shape, dtype, lines = program
    generator = numpy.random.default_rng(seed)
    start = [generator.integers(-9, 10, shape).astype(dtype) for _ in range(3)]
    with numpy.errstate(all="ignore"):
        wanted = run(numpy, shape, dtype, lines, start)
    with pytest.MonkeyPatch.context() as patch:
        if reverse:
            patch.setattr(crew.Job, "run", backwards)
        for _ in range(2):
            found = run(np, shape, dtype, lines, start)
            np.evaluate(*found)
            for f, w in zip(found, wanted, strict=True):
                assert f.dtype == w.dtype
                assert f.shape == w.shape
                exact = numpy.abs(w).max(initial=0) < 2 ** (23 if dtype == "f4" else 52)
                if exact or dtype.startswith("i"):
                    numpy.testing.assert_array_equal(numpy.asarray(f), w)


random_programs = given(programs(), st.integers(0, 9), st.booleans())
test_programs_on_rows = random_programs(check)


def softmax(np: Any, x: Any) -> Any:
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def layer_norm(np: Any, x: Any) -> Any:
    apart = x - x.mean(-1, keepdims=True)
    return apart / np.sqrt((apart * apart).mean(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize("shape", [(8, 3), (100, 7), (64, 200), (4, 25, 30), (31, 4, 2)])
@pytest.mark.parametrize("program", [softmax, layer_norm])
def test_rows_are_normalised_in_one_pass(program: Any, shape: tuple[int, ...]) -> None:
    """All kernels together, and to the bits of the interpreter; what nobody wants has no memory."""
    x = np.asarray(numpy.random.default_rng(0).standard_normal(shape))
    with np.configure(tier="interpreter"):
        wanted = program(np, x)
        np.evaluate(wanted)
    before = RUNTIME.stats()
    found = program(np, x)
    np.evaluate(found)
    after = RUNTIME.stats()
    numpy.testing.assert_array_equal(numpy.asarray(found), numpy.asarray(wanted))
    numpy.testing.assert_allclose(numpy.asarray(found), program(numpy, numpy.asarray(x)), rtol=1e-12)
    assert after["row_passes"] == before.get("row_passes", 0) + 1
    assert after["temporaries"] == before["temporaries"]


def test_arrays_that_others_see_are_left_to_single_kernels() -> None:
    """Memory that has two names may be read by the other one."""
    memory = numpy.arange(80.0).reshape(20, 4)
    x = np.from_dlpack(memory)
    y = np.from_dlpack(memory)
    before = row_passes()
    x -= x.max(1, keepdims=True)
    total = y.sum(1, keepdims=True)
    found = x - total
    np.evaluate(found)
    assert row_passes() == before
    wanted = numpy.arange(80.0).reshape(20, 4) - numpy.arange(3.0, 80, 4)[:, None]
    numpy.testing.assert_array_equal(memory, wanted)
    numpy.testing.assert_array_equal(numpy.asarray(found), wanted - wanted.sum(1, keepdims=True))


def test_launches_of_many_arrays_stay_alone() -> None:
    """The drivers have room for tables of some hundred words."""
    generator = numpy.random.default_rng(0)
    given = [generator.integers(-9, 9, (20, 2, 2, 2, 2, 2, 2, 2)).astype(float) for _ in range(60)]
    turned = (0, *range(7, 0, -1))
    arrays = [np.asarray(a.transpose(turned).copy().transpose(turned) if n % 2 else a) for n, a in enumerate(given)]
    before, kernels = row_passes(), RUNTIME.counters["kernels"]
    total, wanted = arrays[0], given[0]
    for a, g in zip(arrays[1:], given[1:], strict=True):
        total, wanted = total + a, wanted + g
    found = total - total.max(-1, keepdims=True)
    np.evaluate(found)
    assert row_passes() == before
    assert RUNTIME.counters["kernels"] > kernels
    numpy.testing.assert_array_equal(numpy.asarray(found), wanted - wanted.max(-1, keepdims=True))


def test_a_failure_stays_with_what_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for the result of a pass: the steps run one by one, and say so."""
    x = np.asarray(numpy.random.default_rng(0).standard_normal((50, 8)))
    np.evaluate(x)

    def none(nbytes: int) -> Any:
        raise MemoryError("none left")

    with monkeypatch.context() as patch:
        patch.setattr(RUNTIME.backend, "alloc", none)
        lost = softmax(np, x)
        with pytest.raises(MemoryError):
            np.evaluate(lost)
    numpy.testing.assert_allclose(numpy.asarray(softmax(np, x)), softmax(numpy, numpy.asarray(x)), rtol=1e-13)


def test_without_memory_for_temporaries_a_kernel_runs_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.asarray(numpy.random.default_rng(0).standard_normal((50, 8)))
    np.evaluate(softmax(np, x))
    refused: list[int] = []
    real = RUNTIME.backend.alloc

    def once(nbytes: int) -> Any:
        if not refused:
            refused.append(nbytes)
            raise MemoryError("none left")
        return real(nbytes)

    before = row_passes()
    with monkeypatch.context() as patch:
        patch.setattr(RUNTIME.backend, "alloc", once)
        found = softmax(np, x)
        np.evaluate(found)
    assert row_passes() == before + 1  # what is left then
    assert refused[0] not in (0, 50 * 8, 50 * 8 * 8)
    numpy.testing.assert_allclose(numpy.asarray(found), softmax(numpy, numpy.asarray(x)), rtol=1e-13)


def chain(np: Any, x: Any) -> Any:
    for _ in range(7):
        x = x - x.max(-1, keepdims=True)
    return x


def test_looking_for_passes_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each launch is looked at once; none is as long as the interpreter runs them, or small tapes do not come again."""
    seen: list[Any] = []
    real = passes._each
    monkeypatch.setattr(passes, "_each", lambda *launch: (seen.append(launch), real(*launch))[1])
    x = np.asarray(numpy.random.default_rng(0).standard_normal((60, 7)))
    with np.configure(tier="interpreter"):
        for _ in range(3):
            np.evaluate(chain(np, x))
    assert not seen
    monkeypatch.setattr(engine, "_SOON", 1000)
    for length in (30, 31):
        np.evaluate(chain(np, x[:length]))
    assert not seen
    before, kernels = row_passes(), RUNTIME.counters["kernels"]
    np.evaluate(chain(np, x[:31]))
    assert row_passes() == before + 1
    assert len(seen) == RUNTIME.counters["kernels"] - kernels > 5


def test_what_cannot_be_compiled_is_not_asked_about_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.asarray(numpy.random.default_rng(0).standard_normal((60, 7)).astype("f2"))
    for _ in range(2):
        np.evaluate(chain(np, x))
    asked: list[Any] = []
    real = tier.Tier.choose
    monkeypatch.setattr(tier.Tier, "choose", lambda *given: (asked.append(given), real(*given))[1])
    kernels = RUNTIME.counters["kernels"]
    np.evaluate(chain(np, x))
    assert len(asked) == RUNTIME.counters["kernels"] - kernels > 5


MUTANTS = {
    "rows of others": ("_keeps_apart", lambda uses: True),
    "temporaries that are read first": ("_is_temporary", lambda uses: uses[0].row.period > 0),
    "a single dimension is rows of one element": ("_each", None),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_die(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place, mutant = MUTANTS[name]
    real = getattr(passes, place)
    replaced: Any = mutant or (lambda *a: min(real(*a), 1))
    monkeypatch.setattr(passes, place, replaced)
    RUNTIME._scripts.clear()
    try:
        # what threads read of each other's rows is not the same each time
        with pytest.raises((AssertionError, FlakyFailure)):
            settings(phases=[Phase.generate], database=None, max_examples=500)(random_programs(check))()
    finally:
        RUNTIME._scripts.clear()
