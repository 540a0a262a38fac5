"""Elements by position, on devices whose memory the host cannot use in place.

A device offers three natives, ``take``, ``put`` and ``accumulate``; here they become every form of indexing by arrays.
An index is brought into bounds by recorded operations and tested by one small read, so `IndexError` is raised at the
call; several index arrays become one array of positions; where the result's dimensions and strides lie, NumPy says,
asked about small arrays of the same structure.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator, Sequence
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any

import numpy as np

from .array import READ_ONLY, HostArray, copy_of, fresh, held, host, ndarray, record_copy, view_of, wrap
from .convert import library
from .dtypes import BOOL, INT64, DType, check
from .geometry import Shape, broadcast_shapes, broadcasts_to, layout, strides_in_order
from .tape import LIBRARY, MAP, Node, constant
from .ufunc import UFUNCS, assign, select

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

Index = ndarray | HostArray
_Sign = tuple[Any, ...]
_PROBED = 8  # dimensions of arrays whose result's layout NumPy is asked for


# The natives, as commands


def take_at(source: ndarray, places: ndarray, axis: int, strides: Shape | None = None) -> ndarray:
    """Return elements at places (int64, within bounds) along an axis; their dimensions take that of the axis."""
    shape = source.shape[:axis] + places.shape + source.shape[axis + 1 :]
    return library(
        "take", lambda v, p, _: np.take(v, p, axis), [source, places], shape, source.dtype, strides, axis=axis
    )


def put_at(target: ndarray, places: ndarray, values: ndarray, axis: int, unique: bool = False) -> None:
    """Write elements at places (int64, within bounds) along an axis.

    Of values for one place the last one stays; `unique` says that there are none, or that it does not matter.
    """
    shape = target.shape[:axis] + places.shape + target.shape[axis + 1 :]
    if values.shape != shape:
        values = view_of(values, np.broadcast_to(values._ghost, shape), READ_ONLY)

    def write(old: HostArray, where: HostArray, new: HostArray, _: Any) -> HostArray:
        found = old.copy()
        found[(slice(None),) * axis + (where,)] = new
        return found

    loop = (target.dtype, places.dtype, values.dtype, target.dtype)
    ins = (target._view, places._view, values._view)  # what is not written stays: the target is read as well
    attr = (("axis", axis), ("unique", unique))
    target._runtime.record(Node("put", LIBRARY, (target._view,), ins, loop, shape, attr, fn=write))


def running(op: str, x: ndarray, axis: int = 0) -> ndarray:
    """Return the running results of a binary op along an axis, in the dtype of `x`."""
    fn, own = UFUNCS[op].numpy.accumulate, x._ghost
    shape, dtype = own.shape, own.dtype
    if not own.size:
        return fresh(x._runtime, shape, dtype)
    strides = layout((own,), shape, own.itemsize) if len(shape) > 1 else None
    return library(
        "accumulate", lambda v, room: fn(v, axis, v.dtype, room()), [x], shape, dtype, strides, op=op, axis=axis
    )


def accumulate(op: str, x: ndarray, axis: int, dtype: Any) -> ndarray:
    """Return what `numpy.ufunc.accumulate` gives."""
    ndim, source, axis = x.ndim, x.dtype, operator.index(axis)
    target = _accumulated(op, ndim, source, axis, None if dtype is None else check(dtype, op))
    return running(op, x if source == target else copy_of(x, target), axis % ndim)


@lru_cache(maxsize=256, typed=True)
def _accumulated(op: str, ndim: int, source: DType, axis: int, dtype: DType | None) -> DType:
    """Return the dtype that NumPy decides for running results; it refuses what cannot be."""
    return UFUNCS[op].numpy.accumulate(np.ones((1,) * ndim, source), axis, dtype).dtype


def count(runtime: Runtime, n: int) -> ndarray:
    """Return 0, 1, ..., n - 1."""
    if runtime.host_visible and runtime.at_once(n):  # no kernel that would stand between others
        return wrap(runtime, np.arange(n))
    result = fresh(runtime, (n,), INT64)
    runtime.record(Node("index", MAP, (result._view,), (), (INT64,), (n,)))
    return result


def flat(x: ndarray) -> ndarray:
    """Return the elements in C order: a view if they lie so."""
    try:
        return view_of(x, np.reshape(x._ghost, -1, copy=False), x._state)
    except ValueError:
        copied = fresh(x._runtime, x.shape, x.dtype)
        record_copy(copied._view, x._view)
        return view_of(copied, copied._ghost.reshape(-1))


def filled(runtime: Runtime, shape: Shape, value: Any, dtype: Any = INT64) -> ndarray:
    """Return an array of one value."""
    result = fresh(runtime, shape, np.dtype(dtype))
    record_copy(result._view, constant(value, result.dtype))
    return result


# Indices


def bounded(runtime: Runtime, indices: Sequence[Index], extents: Sequence[int], axes: Sequence[int]) -> list[Index]:
    """Return indices as int64 positions; one that is out of bounds raises NumPy's `IndexError`.

    It is the positions that are tested, which nobody else can change: what is read with them is within bounds.
    """
    found = [_wrapped(index, extent) for index, extent in zip(indices, extents, strict=True)]
    flags = []
    for index, places, extent, axis in zip(indices, found, extents, axes, strict=True):
        if not isinstance(places, ndarray):
            _refuse(np.asarray(index), places, extent, axis)
        elif places.size:
            flags.append(UFUNCS["logical_or"].reduce((places < 0) | (places >= extent), axis=None))
    if flags and bool(reduce(UFUNCS["logical_or"], flags)):
        for index, places, extent, axis in zip(indices, found, extents, axes, strict=True):
            if isinstance(index, ndarray) and isinstance(places, ndarray):
                _refuse(host(index), host(places), extent, axis)
    return found


def _wrapped(index: Index, extent: int) -> Index:
    """Return an index with its negative numbers counted from the end, once."""
    if not isinstance(index, ndarray):
        places = np.array(index, INT64)
        return places if index.dtype.kind == "u" else np.where(places < 0, places + extent, places)
    if index.dtype.kind == "u":
        return copy_of(index, INT64)
    signed = index if index.dtype == INT64 else copy_of(index, INT64)
    return select(signed < 0, signed + extent, signed)


def _refuse(index: HostArray, places: HostArray, extent: int, axis: int) -> None:
    bad = (places < 0) | (places >= extent)
    if bad.any():
        raise IndexError(f"index {index[bad].flat[0]} is out of bounds for axis {axis} with size {extent}")


def on_device(runtime: Runtime, index: Index) -> ndarray:
    """Return an index as an array of the device."""
    return index if isinstance(index, ndarray) else held(runtime, np.array(index, INT64))


def common_shape(shapes: Sequence[Shape]) -> Shape:
    """Return the shape that index arrays have together, or raise NumPy's error."""
    try:
        return broadcast_shapes(*shapes)
    except ValueError:
        listed = " ".join(str(s).replace(" ", "") for s in shapes)
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {listed}"
        ) from None


def joined(runtime: Runtime, places: Sequence[Index], extents: Sequence[int]) -> ndarray:
    """Return positions in several dimensions as positions in their product, in C order."""
    total: Any = places[0]
    for place, extent in zip(places[1:], extents[1:], strict=True):
        here, total = _mixed(runtime, place, total), _mixed(runtime, total, place)
        total = total * extent + here
    return on_device(runtime, total)


def _mixed(runtime: Runtime, index: Any, other: Any) -> Any:
    return on_device(runtime, index) if isinstance(other, ndarray) else index


def true_places(mask: ndarray) -> ndarray:
    """Return the flat positions at which a mask is true: how many there are is read."""
    runtime, n = mask._runtime, mask.size
    if not n:
        return fresh(runtime, (0,), INT64)
    flags = flat(mask)
    before = running("add", copy_of(flags, INT64))
    total = int(before[n - 1])
    found = fresh(runtime, (total + 1,), INT64)  # what is not true goes to the last place
    put_at(found, select(flags, before - 1, total), count(runtime, n), 0, unique=True)
    return part(found, total)


def part(x: ndarray, stop: int) -> ndarray:
    """Return the first elements of an array that nobody else sees."""
    found = view_of(x, x._ghost[:stop])
    found._base = None
    return found


# Keys


def read(selection: Selection) -> ndarray:
    """Return the elements that are selected."""
    places = selection.places()
    source, _ = selection.merged()
    return take_at(source, places, selection.axis, selection.strides())


def write(selection: Selection, value: ndarray) -> None:
    """Set the elements that are selected."""
    view, shape = selection.view, selection.shape
    lead = refuse_values(value.shape, shape)
    places = selection.places()
    if 0 not in shape:
        into, copied = selection.merged()
        put_at(into, places, fitting(view, value.reshape(value.shape[lead:])), selection.axis, selection.unique)
        if copied:
            assign(view, into.reshape(view.shape))


def refuse_values(values: Shape, shape: Shape) -> int:
    """Raise NumPy's error for values that do not fit; return how many leading dimensions they have too many."""
    lead = max(len(values) - len(shape), 0)
    if lead and 0 in shape:  # NumPy takes some that it would not broadcast: it is asked
        np.empty(1)[np.empty(shape, INT64)] = np.broadcast_to(0.0, values)
    elif any(n != 1 for n in values[:lead]) or not broadcasts_to(values[lead:], shape):
        given, wanted = (str(s).replace(" ", "") for s in (values, shape))
        raise ValueError(
            f"shape mismatch: value array of shape {given} could not be broadcast to indexing result of shape {wanted}"
        )
    return lead


def fitting(array: ndarray, value: ndarray) -> ndarray:
    """Return values to be written to an array: in its dtype, and in other memory."""
    ours, theirs = array._view.buffer, value._view.buffer
    if value.dtype != array.dtype or ours is theirs or ours.overlaps(theirs):
        return copy_of(value, array.dtype)
    return value


class _Part:
    """One part of a key: what NumPy's basic indexing gets for it, and the index array that it is, if it is one."""

    def __init__(self, part: Any) -> None:
        self.index: Any = None
        self.basic: tuple[Any, ...] = (part,)
        self.ndim = self.taken = 1  # dimensions of the view, and of the array
        self.sign: _Sign = ("s",)  # the kind, for `_arranged`
        if part is None:
            self.taken, self.sign = 0, ("n",)
        elif part is Ellipsis:
            self.ndim = self.taken = 0
            self.sign = ("e",)
        elif isinstance(part, int):
            self.ndim, self.sign = 0, ("i",)
        elif not isinstance(part, slice):
            self._hold(part)

    def _hold(self, index: Any) -> None:
        self.index = index
        if index.dtype == BOOL and not index.ndim:
            self.basic, self.taken, self.sign = (None,), 0, ("t",)
        elif index.dtype == BOOL:
            self.ndim = self.taken = index.ndim
            self.basic, self.sign = (slice(None),) * index.ndim, ("b", index.ndim)
        elif index.dtype.kind in "iu":
            self.basic, self.sign = (slice(None),), ("a", _clipped(index.shape), _order(index.strides))
        else:
            raise IndexError("arrays used as indices must be of integer (or boolean) type")


class _Group:
    """An index array, and the dimensions that it selects from."""

    def __init__(self, index: Any, first: int, axis: int, extents: Shape) -> None:
        self.index, self.first, self.axis, self.extents = index, first, axis, extents
        self.places: Any = None
        self.size = math.prod(extents)
        if index.dtype == BOOL and index.ndim and index.shape != extents:
            for k, (n, m) in enumerate(zip(extents, index.shape, strict=True)):
                if m not in (n, 0):  # NumPy takes none for none of anything
                    raise IndexError(
                        f"boolean index did not match indexed array along axis {axis + k}; size of axis is {n} "
                        f"but size of corresponding boolean axis is {m}"
                    )

    def find(self) -> None:
        """Turn a mask into the positions at which it is true."""
        if self.index.dtype == BOOL:
            if not self.index.ndim:
                self.places = np.zeros(int(bool(self.index)), np.int64)
            elif isinstance(self.index, ndarray):
                self.places = true_places(self.index)
            else:
                self.places = np.flatnonzero(self.index)


class Selection:
    """What a key with index arrays selects of an array: places along the axes, taken as one, of a view.

    Attributes
    ----------
    view
        The array with the basic parts of the key applied; its indexed dimensions stand together, from `axis` on.
    shape
        Of the result.
    unique
        Whether no place comes twice.
    """

    def __init__(self, array: ndarray, key: tuple[Any, ...]) -> None:
        parts = [_Part(p) for p in key]
        geometry = array._ghost[tuple([b for p in parts for b in p.basic])]  # NumPy refuses what is no key
        groups = list(_groups(parts, array, geometry))
        signs = tuple([p.sign for p in parts])
        self.axis, self._order = _arranged(signs, _clipped(array.shape), _order(array.strides))
        dims = [g.first + k for g in groups for k in range(len(g.extents))]
        kept = [d for d in range(geometry.ndim) if d not in dims]
        before, after = kept[: self.axis], kept[self.axis :]
        self.view = view_of(array, geometry.transpose((*before, *dims, *after)), array._state)
        self._dims = len(dims)
        self.unique = len(groups) == 1 and groups[0].index.dtype == BOOL
        self._groups = groups
        self._common = _common(groups)
        shape = self.view.shape
        self.shape = (*shape[: self.axis], *self._common, *shape[self.axis + self._dims :])

    def places(self) -> ndarray:
        """Return the positions in the indexed dimensions, flat; an index out of bounds raises here.

        Indices that come to nothing together are not looked at.
        """
        runtime = self.view._runtime
        if 0 in self._common:
            return fresh(runtime, self._common, INT64)
        integer = [g for g in self._groups if g.places is None]
        places = bounded(runtime, [g.index for g in integer], [g.size for g in integer], [g.axis for g in integer])
        for group, found in zip(integer, places, strict=True):
            group.places = found
        return joined(runtime, [g.places for g in self._groups], [g.size for g in self._groups])

    def strides(self) -> Shape | None:
        """Return the strides of the result as NumPy has them; None means C order."""
        return None if self._order is None else strides_in_order(self.shape, self._order, self.view.itemsize)

    def merged(self) -> tuple[ndarray, bool]:
        """Return the view with its indexed dimensions as one, and whether that took a copy."""
        view, axis, dims = self.view, self.axis, self._dims
        extent = math.prod(view.shape[axis : axis + dims])
        shape = (*view.shape[:axis], extent, *view.shape[axis + dims :])
        if shape == view.shape:
            return view, False
        try:
            return view_of(view, np.reshape(view._ghost, shape, copy=False), view._state), False
        except ValueError:
            copied = fresh(view._runtime, view.shape, view.dtype)
            record_copy(copied._view, view._view)
            return view_of(copied, copied._ghost.reshape(shape)), True


def _groups(parts: Sequence[_Part], array: ndarray, geometry: HostArray) -> Iterator[_Group]:
    """Find the dimensions that each index array selects from."""
    first = axis = 0
    for part in parts:
        if part.index is not None:
            yield _Group(part.index, first, axis, geometry.shape[first : first + part.ndim])
        wide = part.sign == ("e",)
        first += geometry.ndim - sum(p.ndim for p in parts) if wide else part.ndim
        axis += array.ndim - sum(p.taken for p in parts) if wide else part.taken


def _common(groups: Sequence[_Group]) -> Shape:
    """Return the shape that index arrays have together; how many elements of a mask are true is read."""
    for group in groups:
        group.find()
    return common_shape([g.index.shape if g.places is None else g.places.shape for g in groups])


# Where NumPy puts the dimensions of a result


def _clipped(shape: Shape) -> Shape:
    return tuple([min(max(n, 1), 2) for n in shape])


def _order(strides: Shape) -> tuple[int, ...]:
    """Return dimensions as they lie in memory, slow to fast."""
    return tuple(sorted(range(len(strides)), key=lambda d: -abs(strides[d])))


@lru_cache(maxsize=1024)
def _arranged(signs: tuple[_Sign, ...], shape: Shape, order: tuple[int, ...]) -> tuple[int, tuple[int, ...] | None]:
    """Return at which dimension of a result the index arrays' begin, and its dimensions from slow to fast in memory.

    NumPy says, asked about small arrays of this structure; None is C order.
    """
    alone = all(s[0] not in "ab" for s in signs)  # only True and False
    point = np.zeros((1,) * len(shape), np.uint8)  # the only extents of 2 (or 0) in the result are the index arrays'
    axis = point[_key(signs, not alone, True)].shape.index(0 if alone else 2)
    if len(shape) > _PROBED:
        return axis, None
    found = _small(shape, order, np.uint8)[_key(signs, True, False)]
    layout = _order(found.strides)
    return axis, None if layout == tuple(range(found.ndim)) else layout


def _key(signs: tuple[_Sign, ...], truth: bool, full: bool) -> tuple[Any, ...]:
    """Return a key of this structure; `full`: no index array has an extent of 1."""
    plain = {"n": None, "e": Ellipsis, "s": slice(None), "i": 0, "t": truth}
    key: list[Any] = []
    for kind, *form in signs:
        if kind == "b":
            key += [np.zeros(2, np.intp)] * form[0]
        elif kind == "a":
            key.append(_small((2,) * len(form[0]) if full else form[0], form[1], np.intp))
        else:
            key.append(plain[kind])
    return tuple(key)


def _small(shape: Shape, order: Sequence[int], dtype: Any) -> HostArray:
    """Return zeros, their dimensions in this order in memory."""
    strides = strides_in_order(shape, order, np.dtype(dtype).itemsize)
    return np.ndarray(shape, dtype, np.zeros(math.prod(shape), dtype), 0, strides)
