"""Reductions: sums, products, extremes, means and spreads, along any axes."""

from __future__ import annotations

import math
import operator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import combining, derived, dtypes
from .array import READ_ONLY, VALUE, WRITEABLE, adopted, copy_of, fresh, host, ndarray, view_of, wrap
from .combining import Axis, normalize_axes, result_strides
from .convert import as_operand, host_call, runtime_for
from .dtypes import BOOL, FLOAT32, INTP, DType
from .gathering import accumulate, flat
from .geometry import broadcast_shapes
from .ops import reducible
from .recipes import recorded
from .tape import REDUCE, Node, constant
from .threads import quiet
from .ufunc import UFUNCS, into, select, ufunc

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_RUNNING = {"add": "cumsum", "multiply": "cumprod"}
_SHORT = 32  # elements of a row that kernels reduce in registers


def reduce(
    fn: ufunc, array: Any, axis: Axis, dtype: Any, out: Any, keepdims: bool, initial: Any = None, where: Any = True
) -> ndarray:
    """Reduce with a binary ufunc."""
    if where is True and out is initial is None:
        found = combining.reduced(fn.row, array, axis, dtype, keepdims)
        if found is not None:
            return found
        if dtype is None and _is_plain(array, axis):
            return recorded(array, lambda: _reduce(fn, array, axis, None, None, keepdims), fn, axis, bool(keepdims))
    return _reduce(fn, array, axis, dtype, out, keepdims, initial, where)


def _reduce(
    fn: ufunc, array: Any, axis: Axis, dtype: Any, out: Any, keepdims: bool, initial: Any = None, where: Any = True
) -> ndarray:
    name = f"{fn.__name__}.reduce"
    if fn.nin != 2:
        raise ValueError("reduce only supported for binary functions")
    x = as_operand(array, runtime_for(name, (array, where)))
    lenient = not x.ndim and type(axis) is int and axis in (0, -1)  # as NumPy is with 0-d arrays
    axes = () if lenient else normalize_axes(axis, x.ndim)
    if dtype is None and type(out) is ndarray:
        dtype = fn.numpy.resolve_dtypes((out.dtype, x.dtype, None), casting="unsafe", reduction=True)[2]
    if not reducible(fn.row.name) or (len(axes) > 1 and fn.row.name in ("gcd",)):
        keywords: dict[str, Any] = {"axis": axis, "dtype": dtype, "keepdims": keepdims}
        if initial is not None:
            keywords["initial"] = initial
        return _into(host_call(name, fn.numpy.reduce, x, where=where, **keywords), out, name)
    acc = dtypes.check(dtype, name) if dtype is not None else dtypes.resolve_reduction(fn.numpy, x.dtype)
    if where is not True:
        x = _masked(fn, x, where, acc, initial)
    result = _reduced(fn, x, axes, acc, keepdims, initial)
    if initial is not None:
        combined = fn(result, constant(initial, result.dtype)[()] if type(initial) is not ndarray else initial)
        combined._state = result._state
        result = combined
    return _into(result, out, name)


def _is_plain(array: Any, axis: Any) -> bool:
    """Whether what is recorded follows from the array's geometry and the axis."""
    if type(array) is not ndarray:
        return False
    return type(axis) is int or axis is None or (type(axis) is tuple and {*map(type, axis)} <= {int})


def _into(result: ndarray, out: Any, name: str) -> ndarray:
    """Return `result`, put into `out`, whatever its dtype: NumPy's reductions convert without a check."""
    return into(result, out, name, "unsafe")


def _masked(fn: ufunc, x: ndarray, where: Any, acc: DType, initial: Any) -> ndarray:
    """Replace the elements that do not count by the neutral element."""
    neutral = fn.identity if fn.identity is not None else initial
    if neutral is None:
        raise ValueError(
            f"reduction operation '{fn.__name__}' does not have an identity, "
            "so to use a where mask one has to specify 'initial'"
        )
    runtime = x._runtime
    mask = as_operand(where, runtime)
    if broadcast_shapes(mask.shape, x.shape) != x.shape:
        raise ValueError(
            f"{fn.__name__}.reduce: where of shape {mask.shape} does not broadcast to the array's {x.shape}"
        )
    target = x.dtype if acc == BOOL else acc
    filler = constant(initial, target) if fn.identity is None else np.asarray(neutral).astype(target)
    return select(mask, x, filler[()])


def _reduced(fn: ufunc, x: ndarray, axes: tuple[int, ...], acc: DType, keepdims: bool, initial: Any) -> ndarray:
    runtime = x._runtime
    n = math.prod(x.shape[a] for a in axes)
    kept = tuple(s for a, s in enumerate(x.shape) if a not in axes)
    if n == 0 and fn.identity is None and initial is None:
        raise ValueError(f"zero-size array to reduction operation {fn.__name__} which has no identity")
    if n == 0 and fn.identity is None:
        extent = tuple(1 if a in axes else s for a, s in enumerate(x.shape) if keepdims or a not in axes)
        return wrap(runtime, np.full(extent, initial if initial is not None else 0, acc))
    inner = FLOAT32 if acc == np.float16 else acc
    there = combining.there(x) if axes else None
    if there is not None:
        result = adopted(runtime, quiet(combining.combined, fn.row, runtime, there, axes, acc))
    else:
        result = _record(fn, runtime, x, axes, inner, acc, kept)
    if not kept:
        result._state = VALUE
    if keepdims:
        result = view_of(result, np.expand_dims(result._ghost, axes), WRITEABLE)
        result._base = None
    return result


def _record(
    fn: ufunc, runtime: Runtime, x: ndarray, axes: tuple[int, ...], inner: DType, acc: DType, kept: tuple[int, ...]
) -> ndarray:
    if not axes:
        return copy_of(x, acc)
    result = fresh(runtime, kept, acc, result_strides(x._ghost, axes, kept, acc.itemsize))
    loop = BOOL if fn.row.name.startswith("logical") else inner
    runtime.record(Node(fn.row.name, REDUCE, (result._view,), (x._view,), (loop,), x.shape, axes))
    return result


# The public functions


def sum(
    a: Any, /, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    initial: Any = None, where: Any = True,
) -> ndarray:  # fmt: skip
    """Return the sum of the elements over `axis`.

    The order of a floating sum depends on the reduced extent alone (see `gpuxp.kernel.combine`), so its bits are the
    same for any thread count, tile size or memory layout.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.sum(np.asarray([[1., 2.], [3., 4.]]), axis=0)
    array([4., 6.])
    """
    return reduce(UFUNCS["add"], a, axis, dtype, out, keepdims, initial, where)


def prod(
    a: Any, /, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False,
    initial: Any = None, where: Any = True,
) -> ndarray:  # fmt: skip
    """Return the product of the elements over `axis`."""
    return reduce(UFUNCS["multiply"], a, axis, dtype, out, keepdims, initial, where)


def max(
    a: Any, /, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ndarray:
    """Return the largest element over `axis`; NaN if there is one."""
    return reduce(UFUNCS["maximum"], a, axis, None, out, keepdims, initial, where)


def min(
    a: Any, /, axis: Axis = None, out: Any = None, keepdims: bool = False, initial: Any = None, where: Any = True
) -> ndarray:
    """Return the smallest element over `axis`; NaN if there is one."""
    return reduce(UFUNCS["minimum"], a, axis, None, out, keepdims, initial, where)


def any(a: Any, /, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> ndarray:
    """Return whether any element over `axis` is true."""
    return reduce(UFUNCS["logical_or"], a, axis, None, out, keepdims, None, where)


def all(a: Any, /, axis: Axis = None, out: Any = None, keepdims: bool = False, *, where: Any = True) -> ndarray:
    """Return whether all elements over `axis` are true."""
    return reduce(UFUNCS["logical_and"], a, axis, None, out, keepdims, None, where)


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> ndarray:
    """Return how many elements over `axis` are not zero."""
    found = combining.counted(a, axis, keepdims)
    if found is not None:
        return found
    x = as_operand(a, runtime_for("count_nonzero", (a,)))
    flags = x if x.dtype == BOOL else UFUNCS["not_equal"](x, 0)
    return sum(flags, axis=axis, dtype=INTP, keepdims=keepdims)


def _mean_dtype(x: ndarray, dtype: Any) -> tuple[DType, DType]:
    """Return the dtype to sum in and the dtype of the result."""
    if dtype is None:
        return combining.mean_dtypes(x.dtype)
    wanted = dtypes.check(dtype, "mean")
    return wanted, wanted


def mean(
    a: Any, /, axis: Axis = None, dtype: Any = None, out: Any = None, keepdims: bool = False, *, where: Any = True
) -> ndarray:
    """Return the arithmetic mean over `axis`.

    Examples
    --------
    >>> import gpuxp as np
    >>> float(np.mean(np.arange(5)))
    2.0
    """
    if where is True and dtype is out is None:
        found = combining.mean(a, axis, keepdims)
        if found is not None:
            return found
        if _is_plain(a, axis):
            return recorded(a, lambda: _mean(a, axis, None, None, keepdims, True), "mean", axis, bool(keepdims))
    return _mean(a, axis, dtype, out, keepdims, where)


def _mean(a: Any, axis: Axis, dtype: Any, out: Any, keepdims: bool, where: Any) -> ndarray:
    x = as_operand(a, runtime_for("mean", (a,)))
    inner, final = _mean_dtype(x, dtype)
    total = _sum_in(inner, x, axis, keepdims, where)
    result = total / _counts(x, axis, where, keepdims)
    return _final(result, final, out, "mean")


def _sum_in(dtype: DType, x: ndarray, axis: Axis, keepdims: bool, where: Any) -> ndarray:
    return sum(x, axis=axis, dtype=None if dtype == x.dtype else dtype, keepdims=keepdims, where=where)


def _counts(x: ndarray, axis: Axis, where: Any, keepdims: bool) -> Any:
    if where is not True:
        mask = as_operand(where, x._runtime)
        if mask.shape != x.shape:
            mask = view_of(mask, np.broadcast_to(mask._ghost, x.shape), READ_ONLY)
        return sum(mask, axis=axis, keepdims=keepdims)
    return x.size if axis is None else math.prod(x.shape[d] for d in normalize_axes(axis, x.ndim))


def _final(result: ndarray, dtype: DType, out: Any, name: str) -> ndarray:
    if result.dtype != dtype:
        state = result._state
        result = result.astype(dtype)
        result._state = state
    return _into(result, out, name)


def var(
    a: Any, /, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False,
    *, where: Any = True, mean: Any = None, correction: float | None = None,
) -> ndarray:  # fmt: skip
    """Return the variance over `axis`, divided by ``n - ddof`` (or ``n - correction``)."""
    return _spread("var", a, axis, dtype, out, ddof if correction is None else correction, keepdims, where, mean)


def _var(a: Any, axis: Axis, dtype: Any, ddof: float, keepdims: bool, where: Any, given: Any) -> tuple[ndarray, DType]:
    x = as_operand(a, runtime_for("var", (a,)))
    inner, final = _mean_dtype(x, dtype)
    centre = (
        given
        if given is not None
        else _sum_in(inner, x, axis, True, where) / _counts(x, axis, where, True)
    )
    widened = x.dtype != inner and not (x.dtype.kind == "c" and inner.kind == "f")
    apart = UFUNCS["subtract"](x, centre, dtype=inner) if widened else x - centre
    if apart.dtype.kind == "c":
        square = apart.real * apart.real + apart.imag * apart.imag
        final = np.zeros((), final).real.dtype
    else:
        square = apart * apart
    total = sum(square, axis=axis, keepdims=keepdims, where=where)
    count = _counts(x, axis, where, keepdims) - ddof
    if type(count) is ndarray:
        return total / UFUNCS["maximum"](count, 0), final
    return total / float(count if count > 0 else 0), final


def std(
    a: Any, /, axis: Axis = None, dtype: Any = None, out: Any = None, ddof: float = 0, keepdims: bool = False,
    *, where: Any = True, mean: Any = None, correction: float | None = None,
) -> ndarray:  # fmt: skip
    """Return the standard deviation over `axis`, with ``n - ddof`` (or ``n - correction``) as divisor."""
    return _spread("std", a, axis, dtype, out, ddof if correction is None else correction, keepdims, where, mean)


def _spread(
    name: str, a: Any, axis: Axis, dtype: Any, out: Any, ddof: float, keepdims: bool, where: Any, given: Any
) -> ndarray:
    """Return the variance (``var``) or its square root (``std``), at once where that can be."""
    root = name == "std"

    def spread(out: Any) -> ndarray:
        result, final = _var(a, axis, dtype, ddof, keepdims, where, given)
        return _final(UFUNCS["sqrt"](result) if root else result, final, out, name)

    if where is True and dtype is out is given is None:
        found = combining.variance(a, axis, keepdims, ddof, root)
        if found is not None:
            return found
        if _is_plain(a, axis) and type(ddof) in (int, float):
            return recorded(a, lambda: spread(None), name, axis, bool(keepdims), ddof)
    return spread(out)


def _arg(name: str, a: Any, axis: int | None, out: Any, keepdims: bool) -> ndarray:
    there = None if keepdims else combining.method(name, a, axis)
    if there is not None:
        return _into(there, out, name)
    x = as_operand(a, runtime_for(name, (a,)))
    runtime, fn = x._runtime, getattr(np, name)
    if not runtime.host_visible or _in_short_rows(x, axis):
        if out is None and _is_plain(a, axis):
            return recorded(a, lambda: _extreme_place(name, a, axis, keepdims), name, axis, bool(keepdims))
        return _into(_extreme_place(name, x, axis, keepdims), out, name)
    runtime.counters["library_calls"] += 1
    found = quiet(fn, host(x), axis, keepdims=keepdims)  # of a read-only view, as others get, NumPy makes a copy here
    return _into(wrap(runtime, found), out, name)


def _in_short_rows(x: ndarray, axis: Any) -> bool:
    """Whether the axis is short and the array recorded: then kernels are faster than NumPy, which turns row by row."""
    if type(axis) is not int or not -x.ndim <= axis < x.ndim or x.dtype.kind not in "biuf":
        return False
    return 0 < x.shape[axis] <= _SHORT and not x._runtime.at_once(x.size)


def _extreme_place(name: str, x: ndarray, axis: int | None, keepdims: bool) -> ndarray:
    shape = x.shape
    if axis is None or (not x.ndim and axis in (0, -1)):
        x, axis, kept = flat(x), 0, (1,) * len(shape)
    else:
        axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
        kept = (*shape[:axis], 1, *shape[axis + 1 :])
    if not x.shape[axis]:
        raise ValueError(f"attempt to get {name} of an empty sequence")
    found = derived.extreme_place({"argmax": "maximum", "argmin": "minimum"}[name], x, axis)
    if not found._ghost.flags.c_contiguous:  # as those of other reductions may be, but not NumPy's
        found = copy_of(found, order="C")
    return found.reshape(kept) if keepdims else found


def argmax(a: Any, /, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> ndarray:
    """Return the index of the first largest element along `axis`."""
    return _arg("argmax", a, axis, out, keepdims)


def argmin(a: Any, /, axis: int | None = None, out: Any = None, *, keepdims: bool = False) -> ndarray:
    """Return the index of the first smallest element along `axis`."""
    return _arg("argmin", a, axis, out, keepdims)


def average(a: Any, axis: Axis = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """Return the weighted mean over `axis`, and the sum of the weights if `returned`."""
    return host_call(
        "average",
        np.average,
        as_operand(a, runtime_for("average", (a, weights))),
        axis,
        weights,
        returned,
        keepdims=keepdims,
    )


def ptp(a: Any, axis: Axis = None, out: Any = None, keepdims: bool = False) -> ndarray:
    """Return the largest minus the smallest element over `axis`."""
    x = as_operand(a, runtime_for("ptp", (a,)))
    return _into(max(x, axis=axis, keepdims=keepdims) - min(x, axis=axis, keepdims=keepdims), out, "ptp")


def _cumulative(name: str, fn: str, x: Any, axis: int | None, dtype: Any, include_initial: bool, out: Any) -> ndarray:
    if dtype is out is None and _is_plain(x, axis) and not x._runtime.host_visible:
        function = partial(_cumulated, name, fn, x, axis, None, include_initial, None)
        return recorded(x, function, name, axis, bool(include_initial))
    return _cumulated(name, fn, x, axis, dtype, include_initial, out)


def _cumulated(name: str, fn: str, x: Any, axis: int | None, dtype: Any, include_initial: bool, out: Any) -> ndarray:
    x = as_operand(x, runtime_for(name, (x,)))
    if axis is None:
        if x.ndim > 1:
            raise ValueError(f"{name}: axis is needed for an array of {x.ndim} dimensions")
        axis = 0
    acc = dtypes.check(dtype, name) if dtype is not None else dtypes.resolve_reduction(UFUNCS[fn].numpy, x.dtype)
    there = None if include_initial else combining.method(_RUNNING[fn], x, axis, acc)
    if there is not None:
        return _into(there, out, name)
    if x._runtime.host_visible:
        found = host_call(name, getattr(np, name), x, axis=axis, dtype=acc, include_initial=include_initial)
        return _into(found, out, name)
    x = x if x.ndim else x.reshape(1)
    if not include_initial:
        return UFUNCS[fn].accumulate(x, axis, acc, out)
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    result = fresh(x._runtime, (*x.shape[:axis], x.shape[axis] + 1, *x.shape[axis + 1 :]), acc)
    lead = (slice(None),) * axis
    result[(*lead, slice(0, 1))] = UFUNCS[fn].identity
    result[(*lead, slice(1, None))] = UFUNCS[fn].accumulate(x, axis, acc)
    return _into(result, out, name)


def cumulative_sum(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> ndarray:
    """Return the running sums along `axis`, starting with zero if `include_initial`."""
    return _cumulative("cumulative_sum", "add", x, axis, dtype, include_initial, out)


def cumulative_prod(
    x: Any, /, *, axis: int | None = None, dtype: Any = None, out: Any = None, include_initial: bool = False
) -> ndarray:
    """Return the running products along `axis`, starting with one if `include_initial`."""
    return _cumulative("cumulative_prod", "multiply", x, axis, dtype, include_initial, out)


def _running(fn: str, a: Any, axis: int | None, dtype: Any, out: Any) -> ndarray:
    name = _RUNNING[fn]
    there = combining.method(name, a, axis, dtype)
    if there is not None:
        return _into(there, out, name)
    x = as_operand(a, runtime_for(name, (a,)))
    if x._runtime.host_visible:
        return _into(host_call(name, getattr(np, name), x, axis, dtype), out, name)
    if x.ndim != 1 and (axis is None or not x.ndim):
        x = flat(x)
    return _into(accumulate(fn, x, 0 if axis is None else operator.index(axis), dtype), out, name)


def cumsum(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> ndarray:
    """Return the running sums along `axis` (of the flattened array by default)."""
    return _running("add", a, axis, dtype, out)


def cumprod(a: Any, axis: int | None = None, dtype: Any = None, out: Any = None) -> ndarray:
    """Return the running products along `axis` (of the flattened array by default)."""
    return _running("multiply", a, axis, dtype, out)


amax, amin = max, min
