"""Shapes, strides and overlap. NumPy itself answers wherever it can.

A *ghost* is a real `numpy.ndarray` over `VOID`, one read-only mapping that has no pages. It costs no memory, and
NumPy's own code slices, transposes and reshapes it, with NumPy's own errors. Reading it gives zeros, writing raises.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence
from ctypes import addressof, c_char
from functools import lru_cache
from typing import Any

import numpy as np

from .dtypes import NUMPY, DType

Shape = tuple[int, ...]
Ghost = np.ndarray[Any, Any]
# offset in bytes, shape, strides in bytes (0 where the extent is 1), dtype
Key = tuple[int, Shape, Shape, DType]

IDENTICAL, DISJOINT, CLASH = 0, 1, 2
_OVERLAP_WORK = 100_000  # bound on the exact overlap search; past it two views count as overlapping


def _reserve() -> Any:
    """Map the void: as much address space as the machine grants, 4 TiB at best."""
    for bits in range(42, 29, -1):
        try:
            if hasattr(mmap, "PROT_READ"):
                return mmap.mmap(-1, 1 << bits, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)
            return mmap.mmap(-1, 1 << bits, access=mmap.ACCESS_READ)  # pragma: no cover - Windows
        except (OSError, ValueError, OverflowError):
            continue
    raise MemoryError("gpuxp cannot reserve 1 GiB of address space for array geometry; raise `ulimit -v`")


VOID = memoryview(_reserve())
VOID_ADDRESS: int = np.frombuffer(VOID, np.uint8).__array_interface__["data"][0]


def address(array: Ghost) -> int:
    """Return the address of the first element."""
    return int(array.__array_interface__["data"][0])


def start_of(memory: Any) -> int:
    """Return the address of an array that can be written: NumPy's own answer takes four times as long."""
    try:
        return addressof(c_char.from_buffer(memory))
    except (TypeError, ValueError):  # it cannot, or is empty
        return address(memory)


def ghost(shape: Shape, dtype: DType, strides: Shape | None = None, offset: int = 0) -> Ghost:
    """Return a ghost of this geometry; impossible sizes raise as `numpy.empty` does."""
    if shape and min(shape) < 0:
        raise ValueError("negative dimensions are not allowed")
    try:
        return np.ndarray(shape, dtype, VOID, offset, strides)
    except (TypeError, ValueError):
        if 0 in shape:
            return np.ndarray(shape, dtype, VOID)
        _refuse(shape, dtype)
        raise


@lru_cache(maxsize=1024)
def placed(shape: Shape, dtype: DType, strides: Shape | None) -> tuple[Ghost, Key]:
    """Return the ghost of a whole new buffer, and its key; buffers of one geometry share them."""
    made = ghost(shape, dtype, strides)
    return made, key_of(0, made)


def _refuse(shape: Shape, dtype: DType) -> None:
    """Raise NumPy's error for a size that cannot be had."""
    nbytes = math.prod(shape) * dtype.itemsize
    if nbytes >= 1 << 63:
        raise ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size.")
    if nbytes > len(VOID):
        raise MemoryError(
            f"Unable to allocate {nbytes / 2**40:.3g} TiB for an array with shape {shape} and dtype {dtype}"
        )


_BROADCAST = 32  # dimensions that `numpy.broadcast_shapes` takes; arrays have up to twice as many


@lru_cache(maxsize=4096)
def broadcast_shapes(*shapes: Shape) -> Shape:
    """Return the common shape, or raise NumPy's `ValueError`."""
    try:
        rank = max(map(len, shapes), default=0)
        if rank <= _BROADCAST:
            return np.broadcast_shapes(*shapes)
        full = [(1,) * (rank - len(s)) + s for s in shapes]
        halves = [[s[:_BROADCAST] for s in full], [s[_BROADCAST:] for s in full]]
        return np.broadcast_shapes(*halves[0]) + np.broadcast_shapes(*halves[1])
    except ValueError:
        listed = " ".join(str(s).replace(" ", "") for s in shapes)
        raise ValueError(f"operands could not be broadcast together with shapes {listed}") from None


def broadcasts_to(shape: Shape, target: Shape) -> bool:
    """Whether an array of `shape` can be repeated to fill `target`."""
    return len(shape) <= len(target) and all(
        n in (1, m) for n, m in zip(reversed(shape), reversed(target), strict=False)
    )


@lru_cache(maxsize=4096)
def broadcast_strides(shape: Shape, strides: Shape, target: Shape) -> Shape:
    """Return the strides with which an array of `shape` fills `target` (0 where it repeats)."""
    lead = len(target) - len(shape)
    own = tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))
    return (0,) * lead + own


def c_strides(shape: Shape, itemsize: int) -> Shape:
    """Return the strides of a C-contiguous array."""
    strides = [itemsize] * len(shape)
    for axis in range(len(shape) - 1, 0, -1):
        strides[axis - 1] = strides[axis] * max(shape[axis], 1)
    return tuple(strides)


def strides_in_order(shape: Shape, order: Sequence[int], itemsize: int) -> Shape:
    """Return the strides of a packed array whose axes, from slow to fast, are `order`."""
    packed = c_strides(tuple(shape[axis] for axis in order), itemsize)
    strides = [0] * len(shape)
    for axis, stride in zip(order, packed, strict=True):
        strides[axis] = stride
    return tuple(strides)


@lru_cache(maxsize=4096)
def memory_order(ndim: int, operands: tuple[Shape, ...]) -> tuple[int, ...]:
    """Return the axes from slow to fast as NumPy's iterator sorts them (order="K").

    The insertion sort of `npyiter_find_best_axis_ordering`: axes are exchanged only where the operands' strides agree,
    in a conflict C order wins.
    """
    order = list(range(ndim - 1, -1, -1))  # fast to slow while sorting
    for place in range(1, ndim):
        axis = order[place]
        target = place
        for other in range(place - 1, -1, -1):
            verdict = _swap(operands, axis, order[other])
            if verdict is None:
                continue
            if not verdict:
                break
            target = other
        order.insert(target, order.pop(place))
    return tuple(reversed(order))


def copied_order(strides: Shape) -> tuple[int, ...]:
    """Return the axes from slow to fast as NumPy's copies keep them: by their strides, repeated elements last."""
    return tuple(sorted(range(len(strides)), key=lambda axis: -abs(strides[axis])))


def joined_order(ndim: int, operands: tuple[Shape, ...]) -> tuple[int, ...]:
    """Return the axes from slow to fast as NumPy's `concatenate` sorts them: the same rule, begun from C order."""
    order = list(range(ndim))
    for place in range(1, ndim):
        axis = order[place]
        target = place
        for other in range(place - 1, -1, -1):
            verdict = _swap(operands, order[other], axis)
            if verdict is None:
                continue
            if not verdict:
                break
            target = other
        order.insert(target, order.pop(place))
    return tuple(order)


def layout_like(own: Ghost, itemsize: int, order: str = "K") -> Shape | None:
    """Return the strides of a copy as NumPy lays it out; None means C order."""
    if order != "K" or own.ndim < 2 or own.flags.forc:
        return layout((own,), own.shape, itemsize, order)
    return strides_in_order(own.shape, copied_order(own.strides), itemsize)


def layout(ghosts: Sequence[Ghost], shape: Shape, itemsize: int, order: str = "K") -> Shape | None:
    """Return the strides of a result as NumPy lays it out; None means C order."""
    if order == "C" or len(shape) < 2:
        return None
    if order == "F":
        return strides_in_order(shape, tuple(range(len(shape) - 1, -1, -1)), itemsize)
    flags = [g.flags for g in ghosts if g.ndim]
    if all(f.c_contiguous for f in flags):
        return None
    if order == "A":
        fortran = all(f.f_contiguous for f in flags)
        return layout(ghosts, shape, itemsize, "F" if fortran else "C")
    operands = []
    for g in ghosts:
        own = tuple(0 if n == 1 else s for n, s in zip(g.shape, g.strides, strict=True))
        operands.append((0,) * (len(shape) - g.ndim) + own)
    axes = memory_order(len(shape), tuple(operands))
    strides = strides_in_order(shape, axes, itemsize)
    return None if strides == c_strides(shape, itemsize) else strides


def _swap(operands: tuple[Shape, ...], axis: int, other: int) -> bool | None:
    """Tell whether `axis` runs faster than `other`; None where no operand has an opinion."""
    verdict: bool | None = None
    for strides in operands:
        ours, theirs = abs(strides[axis]), abs(strides[other])
        if ours and theirs:
            if theirs <= ours:
                verdict = False
            elif verdict is None:
                verdict = True
    return verdict


def key_of(offset: int, view: Ghost) -> Key:
    """Return the geometry as a hashable value."""
    shape = view.shape
    strides = view.strides
    if 1 in shape:
        strides = tuple(0 if n == 1 else s for n, s in zip(shape, strides, strict=True))
    return offset, shape, strides, view.dtype


@lru_cache(maxsize=16384)
def relation(a: Key, b: Key) -> int:
    """Say how two views of one buffer lie: `IDENTICAL`, `DISJOINT` or `CLASH`."""
    if a == b:
        return IDENTICAL
    if 0 in a[1] or 0 in b[1]:
        return DISJOINT
    first, second = (np.ndarray(k[1], k[3], VOID, k[0], k[2]) for k in (a, b))
    try:
        shared = NUMPY.shares_memory(first, second, max_work=_OVERLAP_WORK)
    except np.exceptions.TooHardError:
        shared = True
    return CLASH if shared else DISJOINT


@lru_cache(maxsize=8192)
def collapse(shape: Shape, operands: tuple[Shape, ...], kept: int) -> tuple[Shape, tuple[Shape, ...], int]:
    """Sort and merge loop dimensions.

    Parameters
    ----------
    shape
        The loop; its first `kept` dimensions are kept, the others are reduced.
    operands
        Strides of every operand over the loop.

    Returns
    -------
    shape, operands, kept
        The same loop with fewer dimensions. Kept dimensions are put in memory order; reduced ones stay in C order,
        because the order of a sum is part of its result.
    """
    order = memory_order(kept, tuple(s[:kept] for s in operands)) if kept > 1 else tuple(range(kept))
    axes = [*(a for a in order if shape[a] != 1), *(a for a in range(kept, len(shape)) if shape[a] != 1)]
    n_kept = sum(a < kept for a in axes)
    sizes: list[int] = []
    strides: list[list[int]] = [[] for _ in operands]
    merged_kept = 0
    for place, axis in enumerate(axes):
        mergeable = (
            sizes
            and place != n_kept
            and all(mine[-1] == full[axis] * shape[axis] for mine, full in zip(strides, operands, strict=True))
        )
        if mergeable:
            sizes[-1] *= shape[axis]
        else:
            sizes.append(shape[axis])
            merged_kept += place < n_kept
        for mine, full in zip(strides, operands, strict=True):
            mine[-1:] = [full[axis]] if mergeable else [*mine[-1:], full[axis]]
    return tuple(sizes), tuple(tuple(s) for s in strides), merged_kept


Rectangle = tuple[slice, ...]


def rectangles(shape: Shape, low: int, high: int) -> list[Rectangle]:
    """Cut the range ``low:high`` of a loop in C order into boxes, in order."""
    if not shape:
        return [()]
    inner = math.prod(shape[1:])
    if inner == 1:
        return [(slice(low, high), *(slice(0, 1) for _ in shape[1:]))]
    first, start = divmod(low, inner)
    last, stop = divmod(high, inner)
    if first == last:
        return [(slice(first, first + 1), *box) for box in rectangles(shape[1:], start, stop)]
    found: list[Rectangle] = []
    if start:
        found += [(slice(first, first + 1), *box) for box in rectangles(shape[1:], start, inner)]
        first += 1
    if first < last:
        found.append((slice(first, last), *(slice(0, n) for n in shape[1:])))
    if stop:
        found += [(slice(last, last + 1), *box) for box in rectangles(shape[1:], 0, stop)]
    return found
