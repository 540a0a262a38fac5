"""Searching, sorting and sets."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from . import derived
from .array import VALUE, WRITEABLE, HostArray, copy_of, ndarray, view_of
from .convert import as_operand, evaluate, host_call, library, runtime_for
from .dtypes import INT64, INTP, NUMPY
from .errors import AxisError
from .gathering import filled, flat, put_at, running, take_at, true_places
from .geometry import layout_like
from .manipulation import ravel
from .ufunc import UFUNCS, check_writeable, select

_LONG_ROW = 256  # elements from which on a quick sort and a repair of its order beat a stable sort


def _together(function: str, *values: Any) -> list[ndarray]:
    runtime = runtime_for(function, values)
    return [as_operand(v, runtime) for v in values]


def where(condition: Any, x: Any = None, y: Any = None, /) -> Any:
    """Return elements of `x` where `condition` is true, else of `y`; with `condition` alone, where it is true.

    Examples
    --------
    >>> import gpuxp as np
    >>> x = np.arange(4)
    >>> np.where(x > 1, x, -1)
    array([-1, -1,  2,  3])
    """
    if x is None and y is None:
        return nonzero(condition)
    if x is None or y is None:
        raise ValueError("either both or neither of x and y should be given")
    return select(condition, x, y)


def nonzero(a: Any, /) -> tuple[ndarray, ...]:
    """Return the indices of the elements that are not zero, one array a dimension."""
    x = as_operand(a, runtime_for("nonzero", (a,)))
    if not x.ndim:
        raise ValueError("nonzero: a 0-d array has no indices; use atleast_1d first")
    if not x._runtime.host_visible:
        return derived.nonzero(x)
    found: tuple[ndarray, ...] = host_call("nonzero", np.nonzero, x)
    return found


def argwhere(a: Any) -> ndarray:
    """Return the indices of the elements that are not zero, one row each."""
    (x,) = _together("argwhere", a)
    if not x._runtime.host_visible:
        return derived.argwhere(x)
    found: ndarray = host_call("argwhere", np.argwhere, x)
    return found


def flatnonzero(a: Any) -> ndarray:
    """Return the flat indices of the elements that are not zero."""
    return nonzero(ravel(*_together("flatnonzero", a)))[0]


def searchsorted(a: Any, v: Any, /, side: Any = "left", sorter: Any = None) -> ndarray:
    """Return where the elements of `v` belong in the sorted array `a`."""
    given = (a, v) if sorter is None else (a, v, sorter)
    x, values, *order = _together("searchsorted", *given)
    _refuse_search(x, values, side, *order)
    runtime = x._runtime
    own = runtime.host_visible or "searchsorted" in runtime.backend.library
    if not own and "c" not in (x.dtype.kind, values.dtype.kind):
        return _bisect(x, values, side, *order)
    result = library(
        "searchsorted",
        lambda a, v, *rest: NUMPY.searchsorted(a, v, side, *rest[:-1]),
        [x, values, *order],
        values.shape,
        INTP,
        side=side,
    )
    if not values.ndim:
        result._state = VALUE
    if order:
        evaluate(result)  # an index that is out of range raises here
    return result


def _refuse_search(a: ndarray, v: ndarray, side: Any, sorter: ndarray | None = None) -> None:
    """Raise NumPy's error for arguments that it refuses: it is asked with arrays that have no elements."""
    places = None if sorter is None else np.empty((0,) * sorter.ndim, sorter.dtype)
    NUMPY.searchsorted(np.empty((0,) * a.ndim, a.dtype), np.empty(0, v.dtype), side, places)
    if sorter is not None and sorter.shape != a.shape:
        raise ValueError("sorter.size must equal a.size")


def _bisect(a: ndarray, v: ndarray, side: Any, sorter: ndarray | None = None) -> ndarray:
    """Search on a device that has no search of its own."""
    if sorter is not None:
        a = derived.take(a, sorter, 0, "raise")
    dtype = np.promote_types(a.dtype, v.dtype)
    line, values = (x if x.dtype == dtype else copy_of(x, dtype) for x in (a, v))
    return derived.bisect(line, values, side[0] == "l")


_KINDS = (None, "quicksort", "mergesort", "heapsort", "stable")


def _sort_axis(function: str, x: ndarray, axis: int | None, kind: Any, order: Any) -> tuple[ndarray, int]:
    if order is not None:
        raise ValueError(f"Cannot specify order when the array has no fields ({function})")
    if kind not in _KINDS:
        raise ValueError(f"{function}: sort kind must be one of 'quick', 'heap', or 'stable' (got {kind!r})")
    if axis is None:
        return ravel(x), 0
    if not x.ndim or not -x.ndim <= axis < x.ndim:
        raise AxisError(axis, x.ndim)
    return x, axis % x.ndim


def sort(
    a: Any,
    /,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> ndarray:
    """Return a sorted copy; NaN comes last (first, if `descending`).

    Examples
    --------
    >>> import gpuxp as np
    >>> np.sort(np.asarray([3, 1, 2]), descending=True)
    array([3, 2, 1])
    """
    x, axis = _sort_axis("sort", _together("sort", a)[0], axis, kind, order)
    how: Any = kind or (
        "stable" if stable and x.dtype.kind == "c" else None
    )  # equal real elements cannot be told apart
    strides = layout_like(x._ghost, x.itemsize)

    def put_in_order(v: Any, room: Any) -> Any:
        out = room()
        if out is None:
            return np.sort(v, axis, how)
        out[...] = v
        out.sort(axis, how)
        return out

    result = library("sort", put_in_order, [x], x.shape, x.dtype, strides, axis=axis)
    return _reversed(result, axis) if descending else result


def _reversed(x: ndarray, axis: int) -> ndarray:
    return copy_of(view_of(x, np.flip(x._ghost, axis)), order="C")


def argsort(
    a: Any,
    /,
    axis: int | None = -1,
    kind: Any = None,
    order: Any = None,
    *,
    descending: bool = False,
    stable: bool = True,
) -> ndarray:
    """Return the indices that sort the array; equal elements keep their order if `stable`."""
    x = _together("argsort", a)[0]
    x, axis = _sort_axis("argsort", x if x.ndim else x.reshape(1), axis, kind, order)
    order_of = _stable_order if stable and kind in (None, "stable") else partial(np.argsort, kind=kind)
    if not descending:
        return library("argsort", lambda v, _: order_of(v, axis), [x], x.shape, INTP, axis=axis, descending=False)

    def backwards(v: Any, _: Any) -> Any:
        # sorting the reversed array keeps equal elements in order when read backwards
        return np.flip(v.shape[axis] - 1 - order_of(np.flip(v, axis), axis), axis).copy()

    return library("argsort", backwards, [x], x.shape, INTP, axis=axis, descending=True)


def _stable_order(v: HostArray, axis: int) -> HostArray:
    """Return what ``numpy.argsort(v, axis, stable=True)`` does, for long rows of numbers in a third of its time.

    NumPy's quick sort is vectorised, its stable one is not. So the quick one goes first; then the elements' positions
    are sorted within each run of equal elements, all runs at once, by the run's number times n plus the position.
    """
    n = v.shape[axis]
    if n < _LONG_ROW or v.dtype.kind not in "iuf" or v.dtype.itemsize < 4:
        return np.argsort(v, axis, stable=True)
    rows = np.moveaxis(v, axis, -1)
    order = np.argsort(rows)
    found = np.take_along_axis(rows, order, -1)
    is_next = found[..., 1:] != found[..., :-1]
    if v.dtype.kind == "f":
        is_next &= found[..., :-1] == found[..., :-1]  # NaN, which comes last, is one run
    if not is_next.all():
        runs = np.zeros(rows.shape, np.int64)
        np.cumsum(is_next, -1, out=runs[..., 1:])
        runs *= n
        keys = order + runs
        keys.sort()
        order = (keys - runs).astype(INTP, copy=False)
    return np.ascontiguousarray(np.moveaxis(order, -1, axis))


def sort_in_place(
    self: ndarray, axis: int = -1, kind: Any = None, order: Any = None, *, stable: bool | None = None
) -> None:
    """Sort the array in place."""
    result = sort(self, axis, kind or ("stable" if stable else None), order)
    check_writeable(self, "sort")
    self[...] = result


def unique(
    ar: Any, return_index: bool = False, return_inverse: bool = False, return_counts: bool = False,
    axis: int | None = None, *, equal_nan: bool = True, sorted: bool = True,
) -> Any:  # fmt: skip
    """Return the sorted unique elements, and where they come from if asked."""
    x = as_operand(ar, runtime_for("unique", (ar,)))
    if x._runtime.host_visible or (axis is not None and x.ndim != 1):
        wanted = (return_index, return_inverse, return_counts)
        return host_call("unique", np.unique, x, *wanted, axis, equal_nan=equal_nan)
    if axis is not None:
        np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    values, *others = _unique(x, return_index, return_inverse, return_counts, equal_nan)
    return (values, *others) if others else values


def _unique(x: ndarray, index: bool, inverse: bool, counts: bool, equal_nan: bool) -> list[ndarray]:
    """Sort, and keep what differs from its neighbour."""
    line = flat(x)
    n, order = line.size, argsort(line) if index or inverse else None
    line = sort(line) if order is None else take_at(line, order, 0)
    first = derived.distinct(line, equal_nan)
    places = true_places(first)
    found = [take_at(line, places, 0)]
    if order is not None and index:
        found.append(take_at(order, places, 0))
    if order is not None and inverse:
        number = filled(x._runtime, (n,), 0)
        ranks = running("add", copy_of(first, INT64)) - 1
        put_at(number, order, ranks, 0, unique=True)
        found.append(number.reshape(x.shape))
    if counts:
        ends = filled(x._runtime, places.shape, n)
        ends[:-1] = places[1:]
        found.append(ends - places)
    return found


def _unique_row(name: str, x: Any, index: bool, inverse: bool, counts: bool) -> Any:
    """Do what NumPy's function of this name does, for which the parts are."""
    (x,) = _together(name, x)
    fn = getattr(np, name)
    if x._runtime.host_visible:
        return host_call(name, fn, x)
    return type(fn(np.zeros(0)))(*_unique(x, index, inverse, counts, False))


def unique_all(x: Any, /) -> Any:
    """Return unique values, their first indices, the inverse and the counts."""
    return _unique_row("unique_all", x, True, True, True)


def unique_counts(x: Any, /) -> Any:
    """Return unique values and how often each occurs."""
    return _unique_row("unique_counts", x, False, False, True)


def unique_inverse(x: Any, /) -> Any:
    """Return unique values and the indices that rebuild `x` from them."""
    return _unique_row("unique_inverse", x, False, True, False)


def unique_values(x: Any, /) -> ndarray:
    """Return the unique values, sorted; consumers rely on the order, which the standard leaves open."""
    (x,) = _together("unique_values", x)
    if not x._runtime.host_visible:
        return _unique(x, False, False, False, False)[0]
    found: ndarray = host_call("unique_values", lambda v: np.unique(v, equal_nan=False), x)
    return found


_FEW = 8  # elements to compare with one by one


def isin(
    element: Any, test_elements: Any, /, assume_unique: bool = False, *, invert: bool = False, kind: Any = None
) -> ndarray:
    """Return for each element whether it is among `test_elements`."""
    a, b = _together("isin", element, test_elements)
    if not a._runtime.host_visible:
        NUMPY.isin(np.zeros(1, a.dtype), np.zeros(1, b.dtype), kind=kind)  # refuses what NumPy does
        found = _isin(a, flat(b))
        found = ~found if invert else found
        found._state = WRITEABLE  # NumPy gives an array for a scalar, too
        return found
    return host_call("isin", np.isin, a, b, assume_unique, invert, kind=kind)  # type: ignore[no-any-return]


def _isin(a: ndarray, b: ndarray) -> ndarray:
    if b.size <= _FEW:
        found = filled(a._runtime, a.shape, False, bool)
        for k in range(b.size):
            found = found | (a == view_of(b, b._ghost[k, ...]))
        return found
    dtype = np.promote_types(a.dtype, b.dtype)
    a, b = (x if x.dtype == dtype else copy_of(x, dtype) for x in (a, b))
    line = sort(b)
    places = UFUNCS["minimum"](searchsorted(line, a), b.size - 1)
    return take_at(line, places, 0) == a


def isscalar(element: Any) -> bool:
    """Return whether the argument is a Python or NumPy scalar."""
    return not isinstance(element, ndarray) and bool(np.isscalar(element))
