"""In-place stencils: two kernels share one pass over memory, and nobody can tell."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuxp as np
from gpuxp import engine, threads
from gpuxp.backends import crew, pair, software
from gpuxp.devices import runtime_of

RUNTIME = runtime_of("cpu")
COUNTERS = RUNTIME.backend.caps.counters


def share_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have several threads work on the least of jobs, and passes made of the least of launches."""
    monkeypatch.setattr(engine, "_SOON", 0)
    monkeypatch.setattr(threads, "PARALLEL", 1)
    monkeypatch.setattr(crew, "_LONG", 0)


@pytest.fixture(autouse=True)
def _paired(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(software, "_PAIRED", 1)
    monkeypatch.setattr(pair, "_BLOCK", 40)
    monkeypatch.setattr(pair, "_WORTH", 0)
    share_everything(monkeypatch)
    with np.configure(small=0, tier="compiled", num_threads=3):
        yield


def backwards(self: crew.Job, context: int, units: int) -> None:
    """Stand in for `Job.run`: the last unit first, which threads may do as well."""
    for unit in reversed(range(units)):
        self._function(context, unit, unit + 1)


def pairs() -> int:
    return COUNTERS["paired_launches"]


@st.composite
def stencils(draw: Any) -> tuple[tuple[int, ...], str, list[tuple[int, ...]], str]:
    """Return a shape, the slices of the inner part, shifts of it, and how it is written."""
    ndim = draw(st.integers(1, 3))
    most = (2, 2, 1)[ndim - 1]
    shape = (draw(st.integers(40, 90)), *(draw(st.integers(5, 9)) for _ in range(ndim - 1)))
    shift = st.tuples(*[st.integers(-most, most)] * ndim)
    shifts = draw(st.lists(shift, min_size=1, max_size=5))
    return shape, draw(st.sampled_from(["<f8", "<f4", "<i4"])), shifts, draw(st.sampled_from(["=", "+=", "*="]))


def step(np: Any, u: Any, c: Any, shifts: list[tuple[int, ...]], how: str, most: int) -> None:
    """Write the inner part from shifted views of the whole."""
    inner = tuple(slice(most, n - most) for n in u.shape)
    total = c[inner] * 2
    for shift in shifts:
        total = total - u[tuple(slice(most + s, n - most + s) for s, n in zip(shift, u.shape, strict=True))] * 3
    if how == "=":
        u[inner] = total
    elif how == "+=":
        u[inner] += total
    else:
        u[inner] *= total


@given(stencils(), st.integers(0, 9), st.booleans())
def test_in_place_stencils(stencil: Any, seed: int, reverse: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        if reverse:
            patch.setattr(crew.Job, "run", backwards)
        check(*stencil, seed)


def check(shape: tuple[int, ...], dtype: str, shifts: list[tuple[int, ...]], how: str, seed: int) -> None:
    generator = numpy.random.default_rng(seed)
    u, c = ((generator.standard_normal(shape) * 50).astype(dtype) for _ in range(2))
    v, d = np.asarray(u.copy()), np.asarray(c.copy())
    with numpy.errstate(all="ignore"):
        for _ in range(3):
            step(numpy, u, c, shifts, how, 2)
            step(np, v, d, shifts, how, 2)
    assert numpy.array_equal(numpy.asarray(v), u, equal_nan=u.dtype.kind == "f")


def heat(np: Any, u: Any, steps: int) -> Any:
    for _ in range(steps):
        u[1:-1, 1:-1] += 0.2 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1])
    return u


@pytest.mark.parametrize("shape", [(60, 50), (200, 3), (20, 300)])
def test_heat_is_done_in_one_pass_without_a_temporary(shape: tuple[int, int]) -> None:
    start = numpy.random.default_rng(0).standard_normal(shape)
    u = np.asarray(start.copy())
    np.evaluate(u)
    before, temporaries = pairs(), RUNTIME.counters["temporaries"]
    found = numpy.asarray(heat(np, u, 5))
    assert pairs() == before + 5
    assert RUNTIME.counters["temporaries"] == temporaries
    assert (found == heat(numpy, start.copy(), 5)).all()


def _kept(np: Any, u: Any) -> Any:
    t = u[:-2] + u[2:]
    u[1:-1] += t
    return u, t  # the temporary is none


def _turned(np: Any, u: Any) -> Any:
    u[1:-1] += u[::-1][1:-1] * 2
    return u


def _numbered(np: Any, u: Any) -> Any:
    u = u.reshape(-1)
    u[1:-1] += u[:-2] * np.arange(float(len(u) - 2))
    return u


def _far(np: Any, u: Any) -> Any:
    u[30:] += u[:-30] * 2
    return u


def _wide(np: Any, u: Any) -> Any:
    t = u.T
    t[1:-1] += t[:-2] + t[2:]
    return u


@pytest.mark.parametrize("program", [_kept, _turned, _numbered, _far, _wide])
def test_what_looks_like_a_stencil(program: Any) -> None:
    start = numpy.random.default_rng(0).standard_normal((40, 33))
    found, want = program(np, np.asarray(start.copy())), program(numpy, start.copy())
    for f, w in zip(*((x if isinstance(x, tuple) else (x,)) for x in (found, want)), strict=True):
        assert (numpy.asarray(f) == w).all()


def test_two_kernels_that_are_one() -> None:
    """The same kernel twice has two tables."""
    start = numpy.random.default_rng(0).standard_normal((64, 16))
    u, c = np.asarray(start.copy()), np.asarray(start)
    before = pairs()
    u[1:-1] = (u[:-2] + c[1:-1]) + u[1:-1]
    want = start.copy()
    want[1:-1] = (want[:-2] + start[1:-1]) + want[1:-1]
    assert (numpy.asarray(u) == want).all()
    v = np.asarray(start.copy())
    v[1:] = v[:-1] + c[1:]
    v[1:] += c[1:]
    want = start.copy()
    want[1:] = want[:-1] + start[1:]
    want[1:] += start[1:]
    assert (numpy.asarray(v) == want).all()
    assert pairs() > before


def test_too_little_is_not_worth_a_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "_PAIRED", 1 << 17)
    before = pairs()
    np.evaluate(heat(np, np.ones((50, 50)), 2))
    assert pairs() == before


@pytest.mark.parametrize("shape", [(4, 40000), (100000,)])
def test_rows_of_several_units(shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Few long rows are cut into units for the threads: the pass has to count these."""
    monkeypatch.setattr(pair, "_BLOCK", 1 << 14)
    start = numpy.arange(float(math.prod(shape))).reshape(shape) % 13
    before = pairs()
    with np.configure(num_threads=8):
        u, want = np.asarray(start), start.copy()
        for x in (u, want):
            x[..., 1:-1] += x[..., :-2] * 2 - x[..., 2:]
        assert (numpy.asarray(u) == want).all()
    assert pairs() > before


def _half(np: Any, u: Any, half: int) -> Any:
    u.view("f4")[half::2][: len(u) - 1] = u[1:] * 2
    return u


@pytest.mark.parametrize("half", [0, 1])
def test_elements_of_other_sizes(half: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is shorter than what is read: a band's first row may be all that its neighbour still reads."""
    monkeypatch.setattr(crew.Job, "run", backwards)
    monkeypatch.setattr(pair, "_BLOCK", 4)
    u = numpy.random.default_rng(0).standard_normal(200)
    before = pairs()
    found = numpy.asarray(_half(np, np.asarray(u.copy()), half))
    assert pairs() == before + 1
    numpy.testing.assert_array_equal(found.view("i8"), _half(numpy, u, half).view("i8"))


def test_what_is_kept_of_a_pass_is_small() -> None:
    """Programs of many geometries do not fill the memory."""
    u = np.ones((400, 1000))
    tracemalloc.start()
    try:
        for n in range(900, 940):
            heat(np, u[:, :n], 1)
            np.evaluate(u)
            if n == 905:
                RUNTIME.backend.pool.clear()
                before = tracemalloc.get_traced_memory()[0]
        RUNTIME.backend.pool.clear()
        assert tracemalloc.get_traced_memory()[0] < before + (1 << 20)
    finally:
        tracemalloc.stop()
