"""Geometry against NumPy: memory order, overlap, collapsing, boxes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuxp import geometry
from gpuxp.geometry import (
    CLASH,
    DISJOINT,
    IDENTICAL,
    VOID,
    VOID_ADDRESS,
    address,
    broadcast_shapes,
    broadcast_strides,
    collapse,
    copied_order,
    ghost,
    key_of,
    memory_order,
    rectangles,
    relation,
    strides_in_order,
)

FLOAT64 = np.dtype(np.float64)


@st.composite
def views(draw: Any, base: Any) -> Any:
    """Draw a view of an array by slices and a transposition."""
    key = []
    for extent in base.shape:
        start, stop = draw(st.integers(0, extent)), draw(st.integers(0, extent))
        step = draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        key.append(slice(start, stop, step))
    view = base[tuple(key)]
    return view.transpose(draw(st.permutations(range(view.ndim))))


SHAPES = st.lists(st.integers(1, 6), min_size=1, max_size=3).map(tuple)


@given(st.data(), SHAPES)
def test_results_are_laid_out_as_numpy_lays_them_out(data: Any, shape: tuple[int, ...]) -> None:
    a = data.draw(views(np.zeros(shape)))
    b = (
        np.zeros(a.shape)
        .transpose(data.draw(st.permutations(range(a.ndim))))
        .copy()
        .transpose(np.argsort(data.draw(st.permutations(range(a.ndim)))))
    )
    if b.shape != a.shape:
        b = np.zeros(a.shape)
    expected = np.add(a, b)
    operands = tuple(tuple(0 if n == 1 else s for n, s in zip(x.shape, x.strides, strict=True)) for x in (a, b))
    strides = strides_in_order(a.shape, memory_order(a.ndim, operands), 8)
    if a.size:
        real = [(s, t) for s, t, n in zip(strides, expected.strides, a.shape, strict=True) if n > 1]
        assert all(s == t for s, t in real)


@given(st.data(), SHAPES)
def test_copies_are_laid_out_as_numpy_lays_them_out(data: Any, shape: tuple[int, ...]) -> None:
    a = data.draw(views(np.zeros(shape)))
    repeated = np.broadcast_to(a, (3, *a.shape)).transpose(data.draw(st.permutations(range(a.ndim + 1))))
    for own in (a, repeated):
        if own.size and not own.flags.forc:
            wanted = own.astype(np.int32)
            assert strides_in_order(own.shape, copied_order(own.strides), 4) == wanted.strides


@given(st.data(), SHAPES)
def test_relation_is_exact(data: Any, shape: tuple[int, ...]) -> None:
    base = ghost(shape, FLOAT64)
    a, b = data.draw(views(base)), data.draw(views(base))
    keys = [key_of(address(v) - VOID_ADDRESS, v) for v in (a, b)]
    found = relation(*keys)
    if found == IDENTICAL:
        assert keys[0] == keys[1]
    elif found == DISJOINT:
        assert not np.shares_memory(a, b) or not a.size or not b.size
    else:
        assert found == CLASH
        assert np.shares_memory(a, b)


@given(st.data(), SHAPES)
def test_collapse_keeps_every_address(data: Any, shape: tuple[int, ...]) -> None:
    base = ghost(shape, FLOAT64)
    a, b = (data.draw(views(base)) for _ in range(2))
    if 0 in a.shape:
        return
    other = broadcast_strides((1,) * a.ndim, (0,) * a.ndim, a.shape)
    kept = data.draw(st.integers(0, a.ndim))
    small, (of_a, of_other), n_kept = collapse(a.shape, (a.strides, other), kept)
    assert math.prod(small) == a.size
    assert math.prod(small[:n_kept]) == math.prod(a.shape[:kept])
    assert set(of_other) <= {0}

    def reach(extents: tuple[int, ...], strides: tuple[int, ...]) -> list[int]:
        grid = np.zeros(extents, np.int64)
        for axis, (n, s) in enumerate(zip(extents, strides, strict=True)):
            grid += (np.arange(n) * s).reshape([-1 if d == axis else 1 for d in range(len(extents))])
        return grid.ravel().tolist()

    everything = reach(a.shape, a.strides)
    assert sorted(reach(small, of_a)) == sorted(everything)
    if kept == 0:
        assert reach(small, of_a) == everything  # the order of reduced elements is part of a sum
    assert b is not None


@given(SHAPES, st.data())
def test_rectangles_cover_a_range_in_order(shape: tuple[int, ...], data: Any) -> None:
    size = math.prod(shape)
    low = data.draw(st.integers(0, size))
    high = data.draw(st.integers(low, size))
    numbers = np.arange(size).reshape(shape)
    found = [n for box in rectangles(shape, low, high) for n in numbers[box].ravel().tolist()] if low < high else []
    assert found == list(range(low, high))


def test_the_void_takes_what_the_machine_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def mapped(_: int, size: int, **__: Any) -> Any:
        asked.append(size)
        if size > 1 << 30:
            raise OSError("no room")
        return size

    monkeypatch.setattr("mmap.mmap", mapped)
    assert geometry._reserve() == 1 << 30
    assert asked == [1 << bits for bits in range(42, 29, -1)]


def test_the_void_cannot_be_written() -> None:
    g = ghost((4,), FLOAT64)
    assert not g.flags.writeable
    assert (g == 0).all()
    with pytest.raises(ValueError, match="read-only"):
        g[0] = 1


@pytest.mark.parametrize(
    ("shape", "error"), [((-1,), ValueError), ((2**62, 8), ValueError), ((len(VOID), 8), MemoryError)]
)
def test_impossible_sizes(shape: tuple[int, ...], error: type[Exception]) -> None:
    with pytest.raises(error):
        ghost(shape, FLOAT64)


def test_broadcasting_of_as_many_dimensions_as_arrays_have() -> None:
    assert broadcast_shapes((1,) * 64, (1,) * 61 + (3, 1, 2), (5, 2)) == (1,) * 61 + (3, 5, 2)
    with pytest.raises(ValueError, match="could not be broadcast"):
        broadcast_shapes((2,) * 40, (3,) * 40)
