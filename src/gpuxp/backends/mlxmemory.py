"""MLX's memory: one flat array for an allocation, seen through strides.

MLX's arrays are values: a slice is a copy, and nothing is written in place. So an allocation holds one flat array in
the dtype it was last written in; views are read through strides, and a write replaces the array by a new one, which MLX
makes in the old one's memory where nobody else holds it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..dtypes import DType
from .mlxtypes import TYPES, UNSIGNED, MxArray, mx

Shape = tuple[int, ...]
_BYTE = np.dtype(np.uint8)


class Memory:
    """One allocation."""

    __slots__ = ("array", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.array: MxArray = None  # flat; None until something is written

    def flat(self, dtype: DType) -> MxArray:
        """Return the contents as elements of a dtype, which must fit."""
        kind = TYPES[dtype]
        if self.array is None:
            return mx.zeros(self.size // dtype.itemsize, dtype=kind)
        return self.array if self.array.dtype == kind else mx.view(self.array, kind)


# Views


def _packed(shape: Shape, steps: Shape) -> bool:
    """Whether elements that are `steps` apart follow each other in C order."""
    reach = 1
    for extent, step in zip(reversed(shape), reversed(steps), strict=True):
        if extent != 1:
            if step != reach:
                return False
            reach *= extent
    return True


def _fits(mem: Memory, dtype: DType, offset: int, strides: Shape) -> bool:
    unit = dtype.itemsize
    return not (mem.size % unit or offset % unit or any(s % unit for s in strides))


def _is_whole(mem: Memory, dtype: DType, shape: Shape, offset: int, strides: Shape) -> bool:
    """Whether a view is a whole allocation in one dimension: the common case, with little work."""
    unit = dtype.itemsize
    return len(shape) == 1 and not offset and strides[0] == unit and shape[0] * unit == mem.size


def load(mem: Memory, dtype: DType, shape: Shape, offset: int, strides: Shape) -> MxArray:
    """Return the elements of a view; along dimensions that are broadcast, one."""
    if _is_whole(mem, dtype, shape, offset, strides):
        return mem.flat(dtype)
    unit = dtype.itemsize
    extents = tuple(1 if s == 0 else n for n, s in zip(shape, strides, strict=True))
    if not _fits(mem, dtype, offset, strides):
        raw = mx.as_strided(mem.flat(_BYTE), (*extents, unit), (*strides, 1), offset)
        return mx.squeeze(mx.view(mx.contiguous(raw), TYPES[dtype]), axis=-1)
    flat, start, steps = mem.flat(dtype), offset // unit, tuple(s // unit for s in strides)
    if not _packed(extents, steps):
        return mx.as_strided(flat, extents, steps, start)
    count = math.prod(extents)
    if count != flat.size:
        flat = flat[start : start + count]
    return flat if len(extents) == 1 else mx.reshape(flat, extents)


def store(mem: Memory, dtype: DType, shape: Shape, offset: int, strides: Shape, value: MxArray) -> None:
    """Write the elements of a view."""
    unit = dtype.itemsize
    whole = _is_whole(mem, dtype, shape, offset, strides)
    if not (whole and value.ndim and value.size == shape[0]):
        value = mx.broadcast_to(value, shape)
    if whole:
        mem.array = mx.contiguous(value)
        return
    if not _fits(mem, dtype, offset, strides):
        raw = mx.view(mx.expand_dims(mx.contiguous(value), -1), TYPES[_BYTE])
        store(mem, _BYTE, (*shape, unit), offset, (*strides, 1), raw)
        return
    value, steps, start = _upright(value, [s // unit for s in strides], offset // unit)
    count = mem.size // unit
    if _packed(value.shape, steps):
        if value.size == count:
            mem.array = mx.contiguous(mx.reshape(value, (count,)))
        else:
            mem.array = _updated(mem.flat(dtype), (count,), (slice(start, start + value.size),), value.reshape(-1))
        return
    mem.array = _write_grid(mem.flat(dtype), value, steps, start)


def _upright(value: MxArray, steps: Sequence[int], start: int) -> tuple[MxArray, Shape, int]:
    """Order the dimensions by falling steps, all of them positive, and drop those of one element."""
    key = []
    for d, step in enumerate(steps):
        if step < 0:
            start += step * (value.shape[d] - 1)
        key.append(slice(None, None, -1) if step < 0 else slice(None))
    if any(step < 0 for step in steps):
        value = value[tuple(key)]
    kept = [d for d in range(len(steps)) if value.shape[d] != 1]
    order = sorted(kept, key=lambda d: -abs(steps[d]))
    if order != list(range(len(steps))):
        rest = [d for d in range(len(steps)) if d not in kept]
        value = mx.reshape(mx.transpose(value, order + rest), [value.shape[d] for d in order])
    return value, tuple(abs(steps[d]) for d in order), start


def _updated(flat: MxArray, grid: Shape, key: tuple[slice, ...], value: MxArray) -> MxArray:
    """Return the array with a part of its grid replaced; flat again, and as long as it was."""
    count, room = flat.size, math.prod(grid)
    if room > count:
        flat = mx.concatenate([flat, mx.zeros(room - count, dtype=flat.dtype)])
    made = mx.reshape(flat, grid)  # a new array object, which the assignment changes
    made[key] = value
    made = mx.reshape(made, (room,))
    return made[:count] if room > count else made


def _write_grid(flat: MxArray, value: MxArray, steps: Shape, start: int) -> MxArray:
    """Write a strided view: as a part of a grid whose rows are the steps where they nest, else element by element."""
    last, rest = len(steps) - 1, start
    grid, key = [], []
    for d, (extent, step) in enumerate(zip(value.shape, steps, strict=True)):
        row = step if d < last else 1
        room = -(-flat.size // row) if d == 0 else steps[d - 1] // row
        first, rest = divmod(rest, row)
        reach = first + (extent - 1) * (step // row) + 1
        if reach > room or (d and steps[d - 1] % row):
            return _scattered(flat, value, steps, start)
        grid.append(room)
        key.append(slice(first, reach, step // row))
    return _updated(flat, tuple(grid), tuple(key), value)


def _scattered(flat: MxArray, value: MxArray, steps: Shape, start: int) -> MxArray:
    place = mx.array(start, dtype=mx.int64)
    for d, (extent, step) in enumerate(zip(value.shape, steps, strict=True)):
        along = mx.multiply(mx.arange(extent, dtype=mx.int64), step)
        place = mx.add(place, mx.reshape(along, (-1,) + (1,) * (len(steps) - 1 - d)))
    made = mx.reshape(flat, (flat.size,))
    made[mx.reshape(place, (-1,))] = mx.reshape(value, (-1,))
    return made


def copied(x: MxArray) -> MxArray:
    """Return the same elements in memory of their own: a slice would keep alive all that it was taken from."""
    bits = mx.view(x, UNSIGNED[x.dtype.size]) if x.dtype != mx.bool_ else x
    return mx.view(mx.bitwise_or(bits, bits), x.dtype)
