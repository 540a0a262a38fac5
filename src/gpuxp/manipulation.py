"""Moving elements: reshaping, transposing, joining, splitting, repeating, rolling. Shapes come from NumPy itself."""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Sequence
from typing import Any

import numpy as np

from . import derived, dtypes
from .array import (
    READ_ONLY,
    WRITEABLE,
    HostArray,
    adopted,
    copy_of,
    fresh,
    host,
    ndarray,
    view_of,
)
from .convert import as_operand, host_call, runtime_for
from .creation import zeros
from .dtypes import NUMPY
from .errors import AxisError
from .geometry import Ghost, Shape, broadcast_shapes, ghost, joined_order, layout, layout_like, strides_in_order
from .small import plain_operands
from .threads import quiet_call
from .ufunc import assign, into


def _one(function: str, a: Any) -> ndarray:
    if type(a) is ndarray:
        return a
    return as_operand(a, runtime_for(function, (a,)))


def _index_tuple(value: Any) -> Any:
    if type(value) is ndarray:
        return tuple(int(n) for n in host(value).reshape(-1))
    return value


def reshape(
    a: Any, /, shape: Any = None, order: Any = "C", *, newshape: Any = None, copy: bool | None = None
) -> ndarray:
    """Return the elements in a new shape: a view where the memory layout allows it, else a copy.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.reshape(np.arange(6), (2, -1)).shape
    (2, 3)
    """
    x = _one("reshape", a)
    wanted = _index_tuple(newshape if shape is None else shape)
    own = x._own
    if order == "C" and not copy and type(own) is np.ndarray and own.flags.c_contiguous:  # a view in any case
        return view_of(x, own.reshape(wanted))
    try:
        geometry = x._ghost.reshape(wanted, order=order, copy=False)
    except ValueError:
        return _reshape_copy(x, wanted, order, copy)
    return copy_of(view_of(x, geometry), order="C") if copy else view_of(x, geometry)


def _reshape_copy(x: ndarray, shape: Any, order: Any, copy: bool | None) -> ndarray:
    fortran = order == "F" or (order == "A" and x._ghost.flags.f_contiguous)
    packed = ghost(x.shape, x.dtype, layout((), x.shape, x.itemsize, "F" if fortran else "C"))
    geometry = np.reshape(packed, shape, order="F" if fortran else "C")  # raises where the sizes differ
    if copy is False:
        raise ValueError("Unable to avoid creating a copy while reshaping.")
    moved = copy_of(x, order="F" if fortran else "C")
    again = np.reshape(moved._ghost, geometry.shape, order="F" if fortran else "C", copy=False)
    result = view_of(moved, again, WRITEABLE)
    result._base = None
    return result


def ravel(a: Any, order: Any = "C") -> ndarray:
    """Return the elements in one dimension: a view of contiguous elements, else a copy."""
    x = _one("ravel", a)
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    if order == "K":
        axes = sorted(range(x.ndim), key=lambda d: -abs(x.strides[d]))
        x = view_of(x, x._ghost.transpose(axes))
    elif order == "F" or (order == "A" and x.flags.fnc):
        x = view_of(x, x._ghost.T)
    if not x._ghost.flags.c_contiguous:
        x = copy_of(x, order="C")
        x._state = WRITEABLE
    return reshape(x, -1)


def transpose(a: Any, axes: Any = None) -> ndarray:
    """Return the array with its axes permuted (reversed by default)."""
    x = _one("transpose", a)
    return view_of(x, x._ghost.T if axes is None else x._ghost.transpose(_index_tuple(axes)))


def permute_dims(x: Any, /, axes: Any) -> ndarray:
    """Return the array with its axes permuted."""
    return transpose(x, axes)


def matrix_transpose(x: Any, /) -> ndarray:
    """Return the array with its last two axes exchanged."""
    x = _one("matrix_transpose", x)
    if x.ndim < 2:
        raise ValueError(f"Input array must be at least 2-dimensional, but it is {x.ndim}")
    return view_of(x, np.swapaxes(x._ghost, -1, -2))


def _by_ghost(name: str) -> Any:
    """Make a function whose result is the view that NumPy's function gives of the ghost."""
    fn = getattr(np, name)

    def move(a: Any, *args: Any, **kwargs: Any) -> ndarray:
        x = _one(name, a)
        moved: Ghost = fn(
            x._ghost, *(_index_tuple(v) for v in args), **{k: _index_tuple(v) for k, v in kwargs.items()}
        )
        return view_of(x, moved)

    move.__name__ = move.__qualname__ = name
    move.__doc__ = f"{_first_line(fn)}\n\nA view, as `numpy.{name}` gives."
    return move


def _first_line(fn: Any) -> str:
    return next((line.strip() for line in (fn.__doc__ or "").splitlines() if line.strip()), fn.__name__)


swapaxes, moveaxis, rollaxis, flipud, fliplr, rot90 = (
    _by_ghost(n) for n in ("swapaxes", "moveaxis", "rollaxis", "flipud", "fliplr", "rot90")
)


def expand_dims(a: Any, /, axis: Any = 0) -> ndarray:
    """Return a view with a dimension of extent 1 inserted at `axis`."""
    x = _one("expand_dims", a)
    return view_of(x, np.expand_dims(x._ghost, _index_tuple(axis)))


def squeeze(a: Any, /, axis: Any = None) -> ndarray:
    """Return a view without the dimensions of extent 1."""
    x = _one("squeeze", a)
    return view_of(x, np.squeeze(x._ghost, _index_tuple(axis)))


def flip(m: Any, /, axis: Any = None) -> ndarray:
    """Return a view with the elements in reverse order along `axis`."""
    x = _one("flip", m)
    found = np.flip(x._ghost, _index_tuple(axis))
    return view_of(x, found) if x.ndim else x[()]


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> ndarray:
    """Return a read-only view of a diagonal."""
    x = _one("diagonal", a)
    return view_of(x, np.diagonal(x._ghost, offset, axis1, axis2), READ_ONLY)


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1, dtype: Any = None, out: Any = None) -> ndarray:
    """Return the sum along a diagonal."""
    return into(diagonal(a, offset, axis1, axis2).sum(axis=-1, dtype=dtype), out, "trace")


def broadcast_to(array: Any, /, shape: Any, subok: bool = False) -> ndarray:
    """Return a read-only view of `array` with a larger shape."""
    x = _one("broadcast_to", array)
    wanted = _index_tuple(shape)
    return view_of(
        x, np.broadcast_to(x._ghost, wanted if isinstance(wanted, (tuple, list)) else (wanted,)), READ_ONLY
    )


def broadcast_arrays(*args: Any, subok: bool = False) -> tuple[ndarray, ...]:
    """Return read-only views of all arrays with their common shape."""
    runtime = runtime_for("broadcast_arrays", args)
    arrays = [as_operand(a, runtime) for a in args]
    shape = broadcast_shapes(*(a.shape for a in arrays))
    return tuple(a if a.shape == shape else broadcast_to(a, shape) for a in arrays)


def _arrays(function: str, values: Any) -> list[ndarray]:
    if type(values) is ndarray:
        values = list(values)
    elif not isinstance(values, (list, tuple)):
        raise TypeError(f"{function}: arrays to join must be given as a sequence, not {type(values).__name__}")
    runtime = runtime_for(function, values)
    return [as_operand(v, runtime) for v in values]


def concatenate(
    arrays: Any, /, axis: int | None = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> ndarray:
    """Join arrays along an existing axis (flattened, for None).

    Examples
    --------
    >>> import gpuxp as np
    >>> np.concatenate([np.zeros(1), np.ones(2)])
    array([0., 1., 1.])
    """
    default = out is dtype is None and casting == "same_kind"
    found = plain_operands(arrays, ()) if default and isinstance(arrays, (list, tuple)) else None
    if found is not None:
        return adopted(found[0], quiet_call(NUMPY.concatenate, found[1], axis))
    parts = _arrays("concatenate", arrays)
    if not parts:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        parts, axis = [ravel(p) for p in parts], 0
    shape, axis = _joined_shape(parts, operator.index(axis))
    target = dtypes.check(dtype, "concatenate") if dtype is not None else np.result_type(*(p.dtype for p in parts))
    for part in parts:
        if not np.can_cast(part.dtype, target, casting):
            raise TypeError(
                f"Cannot cast array data from {part.dtype!r} to {target!r} according to the rule {casting!r}"
            )
    if out is not None:
        return into(concatenate(parts, axis, dtype=dtype, casting=casting), out, "concatenate")
    runtime = parts[0]._runtime
    result = fresh(runtime, shape, target, _joined_strides(parts, shape, target.itemsize))
    start = 0
    for part in parts:
        stop = start + part.shape[axis]
        if part.size:
            assign(view_of(result, result._ghost[(slice(None),) * axis + (slice(start, stop),)]), part)
        start = stop
    return result


def _joined_strides(parts: Sequence[ndarray], shape: Shape, itemsize: int) -> Shape:
    operands = tuple(tuple(0 if n == 1 else s for n, s in zip(p.shape, p.strides, strict=True)) for p in parts)
    return strides_in_order(shape, joined_order(len(shape), operands), itemsize)


def _joined_shape(parts: Sequence[ndarray], axis: int) -> tuple[Shape, int]:
    first = parts[0].shape
    if not first:
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    axis = _axis(axis, len(first))
    for place, part in enumerate(parts):
        if part.ndim != len(first):
            raise ValueError(
                "all the input array dimensions must match in number: the array at index 0 has "
                f"{len(first)} dimension(s) and the array at index {place} has {part.ndim}"
            )
        for d, (n, m) in enumerate(zip(first, part.shape, strict=True)):
            if d != axis and n != m:
                raise ValueError(
                    "all the input array dimensions except for the concatenation axis must match exactly, but along "
                    f"dimension {d}, the array at index 0 has size {n} and the array at index {place} has size {m}"
                )
    return (*first[:axis], sum(p.shape[axis] for p in parts), *first[axis + 1 :]), axis


def _axis(axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise AxisError(axis, ndim)
    return axis % ndim


def stack(arrays: Any, /, axis: int = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind") -> ndarray:
    """Join arrays of one shape along a new axis."""
    default = out is dtype is None and casting == "same_kind"
    found = plain_operands(arrays, ()) if default and isinstance(arrays, (list, tuple)) else None
    if found is not None:
        runtime, there = found
        if len({v.shape for v in there}) == 1:
            place = _axis(operator.index(axis), there[0].ndim + 1)
            key = (*(slice(None),) * place, None)
            return adopted(runtime, quiet_call(NUMPY.concatenate, [v[key] for v in there], place))
    parts = _arrays("stack", arrays)
    if not parts:
        raise ValueError("need at least one array to stack")
    if len({p.shape for p in parts}) > 1:
        raise ValueError("all input arrays must have the same shape")
    place = _axis(operator.index(axis), parts[0].ndim + 1)
    return concatenate([expand_dims(p, place) for p in parts], place, out, dtype=dtype, casting=casting)


def _at_least(function: str, ndim: int, values: Any) -> list[ndarray]:
    convert = (atleast_1d, atleast_2d, atleast_3d)[ndim - 1]
    return [convert(p) for p in _arrays(function, values)]


def vstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> ndarray:
    """Join arrays row by row."""
    return concatenate(_at_least("vstack", 2, tup), 0, dtype=dtype, casting=casting)


def hstack(tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> ndarray:
    """Join arrays column by column (1-D arrays end to end)."""
    parts = _at_least("hstack", 1, tup)
    return concatenate(parts, 0 if parts and parts[0].ndim == 1 else 1, dtype=dtype, casting=casting)


def dstack(tup: Any) -> ndarray:
    """Join arrays along the third axis."""
    return concatenate(_at_least("dstack", 3, tup), 2)


def column_stack(tup: Any) -> ndarray:
    """Join 1-D arrays as columns of a matrix."""
    return concatenate([p if p.ndim > 1 else reshape(p, (-1, 1)) for p in _arrays("column_stack", tup)], 1)


def block(arrays: Any) -> ndarray:
    """Join nested lists of blocks: the innermost along the last axis."""
    found: ndarray = host_call("block", np.block, arrays)
    return found


def _atleast(ndim: int, values: Sequence[Any]) -> Any:
    runtime = runtime_for(f"atleast_{ndim}d", values)
    found = []
    for value in values:
        x = as_operand(value, runtime)
        if x.ndim < ndim:
            numpy_fn = (np.atleast_1d, np.atleast_2d, np.atleast_3d)[ndim - 1]
            x = view_of(x, numpy_fn(x._ghost))
        found.append(x)
    return found[0] if len(found) == 1 else tuple(found)


def atleast_1d(*arys: Any) -> Any:
    """Return the arrays with at least one dimension."""
    return _atleast(1, arys)


def atleast_2d(*arys: Any) -> Any:
    """Return the arrays with at least two dimensions."""
    return _atleast(2, arys)


def atleast_3d(*arys: Any) -> Any:
    """Return the arrays with at least three dimensions."""
    return _atleast(3, arys)


def _split(name: str) -> Any:
    fn = getattr(np, name)

    def split(ary: Any, indices_or_sections: Any, *args: Any, **kwargs: Any) -> list[ndarray]:
        x = _one(name, ary)
        where = indices_or_sections
        where = [int(i) for i in where] if hasattr(where, "__len__") else where
        return [view_of(x, g) for g in fn(x._ghost, where, *args, **kwargs)]

    split.__name__ = split.__qualname__ = name
    split.__doc__ = f"{_first_line(fn)}\n\nViews, as `numpy.{name}` gives."
    return split


split, array_split, vsplit, hsplit, dsplit = (_split(n) for n in ("split", "array_split", "vsplit", "hsplit", "dsplit"))


def unstack(x: Any, /, *, axis: int = 0) -> tuple[ndarray, ...]:
    """Return the slices along `axis` as a tuple of arrays."""
    a = _one("unstack", x)
    if not a.ndim:
        raise ValueError("unstack: a 0-d array cannot be unstacked")
    moved = np.moveaxis(a._ghost, axis, 0)
    return tuple(view_of(a, moved[i, ...]) for i in range(moved.shape[0]))


def roll(a: Any, /, shift: Any, axis: Any = None) -> ndarray:
    """Return the elements shifted along `axis`, those pushed out coming back at the other end."""
    x = _one("roll", a)
    shift = _index_tuple(shift)
    if axis is None:
        if isinstance(shift, (tuple, list)):
            shift = sum(shift)
        return reshape(roll(ravel(x), shift, 0), x.shape)
    pairs: Any = ((shift, axis),)
    if not (type(shift) is int is type(axis)):
        pairs = np.broadcast(np.atleast_1d(shift), np.atleast_1d(_index_tuple(axis)))
        if pairs.ndim > 1:
            raise ValueError("'shift' and 'axis' should be scalars or 1D sequences")
    shape = x.shape
    by = dict.fromkeys(range(len(shape)), 0)
    for step, place in pairs:
        by[_axis(int(place), len(shape))] += int(step)
    moves = [(d, n % shape[d]) for d, n in by.items() if n and shape[d] and n % shape[d]]
    if not moves:
        return copy_of(x)
    found = plain_operands((x,), ())
    if found is not None and found[1][0].flags.c_contiguous:
        return adopted(x._runtime, _rolled(found[1][0], moves))
    result = fresh(x._runtime, shape, x.dtype, layout_like(x._ghost, x.itemsize))
    _roll_into(result, x, moves)
    return result


def _rolled(values: HostArray, moves: list[tuple[int, int]]) -> HostArray:
    for axis, by in moves:
        lead = (slice(None),) * axis
        values = np.concatenate((values[(*lead, slice(-by, None))], values[(*lead, slice(None, -by))]), axis)
    return values


def _roll_into(target: ndarray, source: ndarray, moves: list[tuple[int, int]]) -> None:
    if not target.size:
        return
    if not moves:
        assign(target, source)
        return
    (axis, by), rest = moves[0], moves[1:]
    lead = (slice(None),) * axis
    for to, of in ((slice(by, None), slice(None, -by)), (slice(None, by), slice(-by, None))):
        _roll_into(
            view_of(target, target._ghost[(*lead, to)]), view_of(source, source._ghost[(*lead, of)]), rest
        )


def repeat(a: Any, /, repeats: Any, axis: int | None = None) -> ndarray:
    """Return the array with each element repeated."""
    x = _one("repeat", a)
    if isinstance(repeats, (int, np.integer)) and not isinstance(repeats, bool) and repeats >= 0:
        if axis is None:
            x, axis = ravel(x), 0
        place = _axis(operator.index(axis), x.ndim)
        shape = (*x.shape[: place + 1], int(repeats), *x.shape[place + 1 :])
        wide = broadcast_to(expand_dims(x, place + 1), shape)
        return reshape(
            copy_of(wide, order="C"), (*x.shape[:place], x.shape[place] * int(repeats), *x.shape[place + 1 :])
        )
    if not x._runtime.host_visible:
        return derived.repeat(x, repeats, axis)
    found: ndarray = host_call("repeat", np.repeat, x, repeats, axis)
    return found


def tile(A: Any, reps: Any, /) -> ndarray:  # noqa: N803 - NumPy's name
    """Return the array repeated `reps` times along each axis."""
    x = _one("tile", A)
    counts = _index_tuple(reps)
    counts = (
        tuple(int(n) for n in counts) if isinstance(counts, (tuple, list, np.ndarray)) else (operator.index(counts),)
    )
    ndim = max(x.ndim, len(counts))
    counts = (1,) * (ndim - len(counts)) + counts
    once = all(n == 1 for n in counts)
    x = reshape(copy_of(x) if once else x, (1,) * (ndim - x.ndim) + x.shape)
    if once:
        return x  # in its own order of memory, as NumPy's
    pairs = tuple(n for pair in zip(counts, x.shape, strict=True) for n in pair)
    wide = broadcast_to(reshape(x, tuple(n for extent in x.shape for n in (1, extent))), pairs)
    return reshape(copy_of(wide, order="C"), tuple(c * n for c, n in zip(counts, x.shape, strict=True)))


def sliding_window_view(
    x: Any, window_shape: Any, axis: Any = None, *, subok: bool = False, writeable: bool = False
) -> ndarray:
    """Return a read-only view of `x` with a window of its elements at each place."""
    a = _one("sliding_window_view", x)
    if writeable:
        raise ValueError("sliding_window_view: the view's elements overlap, it cannot be writeable")
    windows = np.lib.stride_tricks.sliding_window_view(a._ghost, _index_tuple(window_shape), _index_tuple(axis))
    return view_of(a, windows, READ_ONLY)


lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace(
    sliding_window_view=sliding_window_view, broadcast_to=broadcast_to, broadcast_arrays=broadcast_arrays
))  # fmt: skip


def resize(a: Any, new_shape: Any) -> ndarray:
    """Return an array of the new shape, filled with repeated copies of `a`."""
    x = ravel(_one("resize", a))
    shape = tuple(new_shape) if isinstance(new_shape, (tuple, list)) else (operator.index(new_shape),)
    if any(n < 0 for n in shape):
        raise ValueError("all elements of `new_shape` must be non-negative")
    size = math.prod(shape)
    if not x.size or not size:
        return zeros(shape, x.dtype, device=x.device)
    return reshape(tile(x, -(-size // x.size))[:size], shape)
