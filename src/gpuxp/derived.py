"""Functions made of the natives of `gathering` and of recorded operations, for devices that the host does not share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .array import READ_ONLY, VALUE, copy_of, fresh, host, ndarray, view_of
from .dtypes import BOOL, INT64, INTP
from .gathering import (
    Index,
    bounded,
    common_shape,
    count,
    filled,
    fitting,
    flat,
    joined,
    on_device,
    part,
    put_at,
    refuse_values,
    running,
    take_at,
    true_places,
)
from .geometry import Shape, layout
from .tape import MAP, Node, constant
from .ufunc import UFUNCS, assign, choose, select

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_MODES = ("raise", "wrap", "clip")


# By position


def as_index(value: Any, casting: Any = "safe") -> Index:
    """Return an index argument as an array of integers, on the device if it is there already."""
    if type(value) in (list, tuple):  # NumPy makes each item an integer
        return np.array([host(v) if type(v) is ndarray else v for v in value], INTP)
    found: Any = value if type(value) is ndarray else np.asarray(value)
    if not np.can_cast(found.dtype, INTP, casting):
        raise TypeError(f"Cannot cast array data from {found.dtype!r} to {INTP!r} according to the rule {casting!r}")
    if found.dtype == BOOL:
        found = copy_of(found, INT64) if type(found) is ndarray else found.astype(INT64)
    return found  # type: ignore[no-any-return]


def _positions(runtime: Runtime, index: Index, extent: int, axis: int, mode: str) -> ndarray:
    """Return an index as positions, by NumPy's three ways to treat what is out of bounds."""
    if mode == "raise":
        return on_device(runtime, bounded(runtime, [index], [extent], [axis])[0])
    places = on_device(runtime, index)
    places = places if places.dtype == INT64 else copy_of(places, INT64)
    if mode == "wrap":
        return UFUNCS["remainder"](places, extent)
    return UFUNCS["minimum"](UFUNCS["maximum"](places, 0), extent - 1)


def _check_mode(mode: str) -> None:
    if mode not in _MODES:
        raise ValueError(f"clipmode must be one of 'clip', 'raise', or 'wrap' (got {mode!r})")


def take(x: ndarray, indices: Any, axis: int | None, mode: str) -> ndarray:
    """Return the elements at indices along an axis."""
    _check_mode(mode)
    index = as_index(indices, "same_kind")
    if axis is None or (not x.ndim and axis in (0, -1)):
        x, axis = flat(x), 0
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    extent, others = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    if index.size and not extent and math.prod(others):
        raise IndexError("cannot do a non-empty take from an empty axes.")
    shape = x.shape[:axis] + index.shape + x.shape[axis + 1 :]
    if 0 in others:  # NumPy does not look at the indices
        return fresh(x._runtime, shape, x.dtype)
    found = take_at(x, _positions(x._runtime, index, extent, axis, mode), axis)
    if not shape:
        found._state = VALUE
    return found


def _along(runtime: Runtime, shape: Shape, indices: Any, axis: int | None) -> ndarray:
    """Return the flat places, in an array of this shape, of the elements picked along one axis."""
    index: Any = indices if type(indices) is ndarray else np.asarray(indices)
    if index.dtype.kind not in "iu":
        raise IndexError("`indices` must be an integer array")
    if axis is None:
        if index.ndim != 1:
            raise ValueError("when axis=None, `indices` must have a single dimension.")
        shape, axis = (math.prod(shape),), 0
    elif index.ndim != len(shape):
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    axis = np.lib.array_utils.normalize_axis_index(axis, len(shape))
    lines = [(1,) * d + (n,) + (1,) * (len(shape) - d - 1) for d, n in enumerate(shape)]
    lines[axis] = index.shape
    common = common_shape(lines)
    if 0 in common:
        return fresh(runtime, common, INT64)
    places: list[Any] = []
    for d, (n, line) in enumerate(zip(shape, lines, strict=True)):
        if d == axis:
            places += bounded(runtime, [index], [n], [axis])
        else:
            numbers = count(runtime, n)
            places.append(view_of(numbers, numbers._ghost.reshape(line)))
    return joined(runtime, places, shape)


def take_along(x: ndarray, indices: Any, axis: int | None) -> ndarray:
    """Return the elements picked along one axis."""
    return take_at(flat(x), _along(x._runtime, x.shape, indices, axis), 0)


def put_along(x: ndarray, indices: Any, values: ndarray, axis: int | None) -> None:
    """Set the elements picked along one axis."""
    places = _along(x._runtime, x.shape, indices, axis)
    refuse_values(values.shape, places.shape)
    _write_flat(x, places, values)


def _write_flat(x: ndarray, places: ndarray, values: ndarray) -> None:
    """Write at positions in the flattened array."""
    target = flat(x)
    if places.size:
        put_at(target, places, fitting(x, values), 0)
        if target._view.buffer is not x._view.buffer:
            assign(x, view_of(target, target._ghost.reshape(x.shape)))


def put(x: ndarray, indices: Any, values: ndarray, mode: str = "raise") -> None:
    """Set elements of the flattened array; values that are too few are repeated."""
    _check_mode(mode)
    index = as_index(indices)
    index = flat(index) if isinstance(index, ndarray) else index.reshape(-1)
    if not index.size:
        return
    if not x.size:
        raise IndexError("cannot replace elements of an empty array")
    if values.size:
        _write_flat(x, _positions(x._runtime, index, x.size, 0, mode), repeated(values, index.size))


def fill_diagonal(x: ndarray, values: ndarray, wrap: bool) -> None:
    """Set the main diagonal; values that are too few are repeated."""
    if x.ndim < 2:
        raise ValueError("array must be at least 2-d")
    if x.ndim > 2 and len(set(x.shape)) > 1:
        raise ValueError("All dimensions of input must be of equal length")
    step = x.shape[1] + 1 if x.ndim == 2 else sum(x.shape[0] ** d for d in range(x.ndim))
    stop = x.shape[1] ** 2 if x.ndim == 2 and not wrap else x.size
    put(x, np.arange(0, min(stop, x.size), step), values)


def repeated(values: ndarray, n: int) -> ndarray:
    """Return the elements in C order, repeated or cut to a length; there is at least one."""
    line = flat(values)
    if line.size >= n:
        return line if line.size == n else view_of(line, line._ghost[:n])
    return take_at(line, UFUNCS["remainder"](count(values._runtime, n), line.size), 0)


# By mask


def truth(x: ndarray) -> ndarray:
    """Return whether each element is not zero."""
    return x if x.dtype == BOOL else UFUNCS["not_equal"](x, 0)


def mask_for(function: str, x: ndarray, mask: ndarray) -> ndarray:
    """Return a mask of as many elements as an array, in one dimension."""
    if mask.size != x.size:
        raise ValueError(f"{function}: mask and data must be the same size")
    return flat(truth(mask))


def place(x: ndarray, flags: ndarray, values: ndarray) -> None:
    """Set the elements where a flat mask is true to the values, in order and repeated."""
    if not x.size:
        return
    if not values.size:
        if bool(UFUNCS["logical_or"].reduce(flags)):
            raise ValueError("Cannot insert from an empty array!")
        return
    before = running("add", copy_of(flags, INT64)) - 1
    numbers = UFUNCS["remainder"](UFUNCS["maximum"](before, 0), values.size)
    _choose_flat(x, flags, take_at(flat(values), numbers, 0))


def putmask(x: ndarray, flags: ndarray, values: ndarray) -> None:
    """Set the elements where a flat mask is true to the values at the same places, repeated."""
    if x.size and values.size:
        _choose_flat(x, flags, repeated(values, x.size))


def _choose_flat(x: ndarray, mask: ndarray, values: ndarray) -> None:
    values = values if values.dtype == x.dtype else copy_of(values, x.dtype)
    mask, values = (view_of(v, v._ghost.reshape(x.shape)) for v in (mask, values))
    choose(x._runtime, x._view, mask, values._view, x._view)


def nonzero(x: ndarray) -> tuple[ndarray, ...]:
    """Return the indices of the elements that are not zero, one array a dimension."""
    places = true_places(truth(x))
    if x.ndim == 1:
        return (places,)
    found = []
    for d, n in enumerate(x.shape):
        inner = math.prod(x.shape[d + 1 :])
        outer = places if inner == 1 else UFUNCS["floor_divide"](places, inner)
        found.append(outer if not d else UFUNCS["remainder"](outer, n))
    return tuple(found)


def argwhere(x: ndarray) -> ndarray:
    """Return the indices of the elements that are not zero, one row each."""
    columns = nonzero(x if x.ndim else flat(x))
    result = fresh(x._runtime, (columns[0].size, x.ndim), INT64)
    for d in range(x.ndim):
        assign(view_of(result, result._ghost[:, d]), columns[d])
    return result


# By order


def repeat(x: ndarray, repeats: Any, axis: int | None) -> ndarray:
    """Return the array with its elements along an axis repeated, each as often as an array says."""
    times = as_index(repeats)
    if axis is None:
        x, axis = flat(x), 0
    runtime, axis = x._runtime, np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    n = x.shape[axis]
    if not isinstance(times, ndarray):
        return take_at(x, on_device(runtime, np.repeat(np.arange(n), times)), axis)
    if times.ndim > 1 or times.size not in (1, n):
        raise ValueError(f"operands could not be broadcast together with shape ({n},) {times.shape}")
    if not n:
        return take_at(x, fresh(runtime, (0,), INT64), axis)
    each = view_of(times, np.broadcast_to(times._ghost, (n,)), READ_ONLY)
    if bool(UFUNCS["logical_or"].reduce(each < 0)):
        raise ValueError("repeats may not contain negative values.")
    ends = running("add", copy_of(each, INT64))
    total = int(ends[n - 1])
    first = filled(runtime, (total + 1,), 0)  # at the first copy of each element its number; what has none goes last
    put_at(first, select(each > 0, ends - each, total), count(runtime, n), 0, unique=True)
    return take_at(x, running("maximum", part(first, total)), axis)


def bisect(line: ndarray, values: ndarray, left: bool) -> ndarray:
    """Return where values belong in a sorted array: a binary search, a gather for each of its steps."""
    n, below = line.size, fresh(line._runtime, values.shape, INT64)
    assign(below, filled(line._runtime, (), 0))
    for bit in reversed(range(n.bit_length())):
        ahead = below + (1 << bit)
        seen = take_at(line, UFUNCS["minimum"](ahead, n) - 1, 0)
        passed = _before(seen, values) if left else ~_before(values, seen)
        below = select((ahead <= n) & passed, ahead, below)
    if not values.ndim:
        below._state = VALUE
    return below


def _before(a: ndarray, b: ndarray) -> ndarray:
    """Return whether elements come before others when sorted: NaN comes last."""
    less = a < b
    return less if a.dtype.kind not in "fc" else less | (UFUNCS["isnan"](b) & ~UFUNCS["isnan"](a))


def extreme_place(name: str, x: ndarray, axis: int) -> ndarray:
    """Return the index of the first smallest or largest element, or of the first NaN, along an axis."""
    n, runtime, dtype = x.shape[axis], x._runtime, x.dtype
    numbers = count(runtime, n)  # first: its loop has another shape, and would part the others
    numbers._view.buffer.fixed = True
    line = view_of(numbers, numbers._ghost.reshape((n,) + (1,) * (x.ndim - axis - 1)))
    best = UFUNCS[name].reduce(x, axis=axis, keepdims=True)

    def step(op: str, loop: tuple[Any, ...], *operands: Any) -> ndarray:
        found = fresh(runtime, x.shape, loop[-1], layout([x._ghost], x.shape, loop[-1].itemsize))
        ins = tuple([o._view if type(o) is ndarray else o for o in operands])
        runtime.record(Node(op, MAP, (found._view,), ins, loop, x.shape))
        return found

    hit = step("equal", (dtype, dtype, BOOL), x, best)
    if dtype.kind in "fc":
        hit = step("bitwise_or", (BOOL,) * 3, hit, step("not_equal", (dtype, dtype, BOOL), x, x))
    place = step("select", (BOOL, INT64, INT64, INT64), hit, line, constant(n, INT64))
    return UFUNCS["minimum"].reduce(place, axis=axis)


def distinct(line: ndarray, equal_nan: bool) -> ndarray:
    """Return for each element of a sorted array whether it differs from the one before it."""
    first = filled(line._runtime, line.shape, True, BOOL)
    if line.size > 1:
        later, sooner = (view_of(line, line._ghost[s]) for s in (slice(1, None), slice(None, -1)))
        differs = later != sooner
        if equal_nan and line.dtype.kind in "fc":
            differs = differs & ~(UFUNCS["isnan"](later) & UFUNCS["isnan"](sooner))
        assign(view_of(first, first._ghost[1:]), differs)
    return first
