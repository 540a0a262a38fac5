"""Making arrays: filled, from ranges, from data, from other libraries."""

from __future__ import annotations

import contextlib
import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .array import (
    READ_ONLY,
    WRITEABLE,
    fresh,
    held,
    host,
    make,
    ndarray,
    record_copy,
    view_of,
    wrap,
)
from .config import config
from .convert import as_operand, asarray, runtime_for
from .devices import runtime_of
from .dtypes import FLOAT64, INT64, NUMPY, DType
from .geometry import Shape, layout, layout_like
from .tape import MAP, Node, constant
from .threads import quiet, quiet_call
from .ufunc import UFUNCS, select

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array


def shape_of(shape: Any) -> Shape:
    """Return a shape argument as a tuple of integers."""
    if isinstance(shape, (tuple, list)):
        return tuple(map(operator.index, shape))
    if type(shape) is ndarray and shape.ndim:
        return tuple(int(n) for n in host(shape))
    if isinstance(shape, np.ndarray) and shape.ndim:
        return tuple(int(n) for n in shape)
    return (operator.index(shape),)


def _strides(shape: Shape, dtype: DType, order: str) -> Shape | None:
    if order == "C":
        return None
    if order not in ("C", "F", "K", "A"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got {order!r})")
    return layout((), shape, dtype.itemsize, "F" if order == "F" else "C")


def empty(shape: Any, dtype: Any = None, order: str = "C", *, device: object = None, like: Any = None) -> ndarray:
    """Return an array whose elements are not set."""
    target = dtypes.check(FLOAT64 if dtype is None else dtype, "empty")
    return _unset(runtime_of(device), shape_of(shape), target, order)


def _unset(runtime: Runtime, shape: Shape, dtype: DType, order: str) -> ndarray:
    """Return an array whose elements are not set: host memory if it is small."""
    strides = _strides(shape, dtype, order)
    if runtime.host_visible and runtime.at_once(math.prod(shape)):
        return held(runtime, NUMPY.empty(shape, dtype, "C" if strides is None else "F"))
    return fresh(runtime, shape, dtype, strides)


def full(
    shape: Any, fill_value: Any, dtype: Any = None, order: str = "C", *, device: object = None, like: Any = None
) -> ndarray:
    """Return an array filled with one value.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.full((2, 2), 7)
    array([[7, 7],
           [7, 7]])
    """
    extent = shape_of(shape)
    if type(fill_value) is ndarray and device is None:
        device = fill_value._runtime.name
    runtime = runtime_of(device)
    value = fill_value if type(fill_value) is ndarray else np.asarray(fill_value)
    target = dtypes.check(value.dtype if dtype is None else dtype, "full")
    result = _unset(runtime, extent, target, order)
    if type(value) is ndarray or value.ndim:
        result[...] = value
    else:
        _fill(result, fill_value)
    return result


def _fill(result: ndarray, fill_value: Any) -> None:
    own = result._own
    if own is not None and own.dtype is FLOAT64 and type(fill_value) in (int, float):
        own.fill(fill_value)
        return
    value: Any = np.empty((), result.dtype) if own is None else own
    quiet_call(np.copyto, value, fill_value, "unsafe")  # NumPy's conversion, and its error for an integer out of range
    if own is None:
        record_copy(result._view, value)


def zeros(shape: Any, dtype: Any = None, order: str = "C", *, device: object = None, like: Any = None) -> ndarray:
    """Return an array of zeros."""
    return full(shape, 0, FLOAT64 if dtype is None else dtype, order, device=device)


def ones(shape: Any, dtype: Any = None, order: str = "C", *, device: object = None, like: Any = None) -> ndarray:
    """Return an array of ones."""
    return full(shape, 1, FLOAT64 if dtype is None else dtype, order, device=device)


def _like(a: Any, dtype: Any, order: str, device: object, shape: Any) -> ndarray:
    """Return an unset array shaped and laid out like `a`."""
    x = as_operand(a, runtime_for("like", (a,)))
    runtime = x._runtime if device is None else runtime_of(device)
    target = x.dtype if dtype is None else dtypes.check(dtype)
    if shape is not None:
        extent = shape_of(shape)
        return _unset(runtime, extent, target, order)
    if order == "K" and runtime.host_visible and runtime.at_once(x.size):
        return held(runtime, NUMPY.empty_like(x._ghost, target))
    return fresh(runtime, x.shape, target, layout_like(x._ghost, target.itemsize, order))


def empty_like(
    prototype: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: object = None
) -> ndarray:
    """Return an unset array with the shape and dtype of another."""
    return _like(prototype, dtype, order, device, shape)


def full_like(
    a: Any, fill_value: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *,
    device: object = None,
) -> ndarray:  # fmt: skip
    """Return an array with the shape and dtype of another, filled with one value."""
    result = _like(a, dtype, order, device, shape)
    if type(fill_value) is ndarray or (type(fill_value) not in (int, float) and np.ndim(fill_value)):
        result[...] = fill_value
    else:
        _fill(result, fill_value)
    return result


def zeros_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: object = None
) -> ndarray:
    """Return zeros with the shape and dtype of another array."""
    return full_like(a, 0, dtype, order, subok, shape, device=device)


def ones_like(
    a: Any, dtype: Any = None, order: str = "K", subok: bool = True, shape: Any = None, *, device: object = None
) -> ndarray:
    """Return ones with the shape and dtype of another array."""
    return full_like(a, 1, dtype, order, subok, shape, device=device)


def _scalar(value: Any) -> Any:
    return value.item() if type(value) is ndarray else value


def arange(
    start: Any, stop: Any = None, step: Any = 1, dtype: Any = None, *, device: object = None, like: Any = None
) -> ndarray:
    """Return evenly spaced values in the half-open interval ``[start, stop)``.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.arange(2, 8, 2)
    array([2, 4, 6])
    """
    first, last, by = (_scalar(v) for v in (start, stop, step))
    if last is None:
        first, last = 0, first
    target = None if dtype is None else dtypes.check(dtype, "arange")
    runtime = runtime_of(device)
    plain = by and {type(first), type(last), type(by)} <= {int, float} and runtime.host_visible
    if plain and runtime.at_once((last - first) // by):
        return wrap(runtime, quiet_call(np.arange, first, last, by, target))
    kinds = [np.asarray(v).dtype.type for v in (first, last, by)]
    probe = NUMPY.arange(kinds[0](0), kinds[1](0), kinds[2](1), target)  # NumPy decides, and refuses
    found = dtypes.check(probe.dtype, "arange")
    with np.errstate(all="ignore"):
        span = (last - first) / by
    if not math.isfinite(span):
        raise ValueError("arange: cannot compute length")
    length = 0 if span <= 0 else math.ceil(span)
    if (runtime.host_visible and runtime.at_once(length)) or found.kind in "bc":
        return held(runtime, quiet_call(np.arange, first, last, by, target))
    result = fresh(runtime, (length,), found)
    zero, one = (constant(v, found) for v in (first, first + by))
    _progression(runtime, result, zero, quiet(np.subtract, one, zero))
    return result


def _progression(runtime: Runtime, result: ndarray, first: Any, step: Any) -> None:
    """Record ``result = first + index * step`` in the result's dtype."""
    dtype, shape = result.dtype, result.shape
    index = fresh(runtime, shape, INT64)
    scaled = fresh(runtime, shape, dtype)
    runtime.record(Node("index", MAP, (index._view,), (), (INT64,), shape))
    runtime.record(Node("multiply", MAP, (scaled._view,), (index._view, np.asarray(step)), (dtype,) * 3, shape))
    runtime.record(Node("add", MAP, (result._view,), (scaled._view, np.asarray(first)), (dtype,) * 3, shape))


def linspace(
    start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None,
    axis: int = 0, *, device: object = None,
) -> Any:  # fmt: skip
    """Return `num` evenly spaced values over ``[start, stop]``."""
    runtime = runtime_of(device)
    target = None if dtype is None else dtypes.check(dtype, "linspace")
    ends = [host(v) if type(v) is ndarray else v for v in (start, stop)]
    values, step = quiet(NUMPY.linspace, *ends, operator.index(num), endpoint, True, target, axis)
    result = wrap(runtime, values)
    return (result, step) if retstep else result


def _from_numpy(name: str) -> Callable[..., Any]:
    """Make a creation function from NumPy's, which builds the array on the host."""
    fn = getattr(np, name)

    def create(*args: Any, device: object = None, **kwargs: Any) -> ndarray:
        runtime = runtime_of(device)
        if kwargs.get("dtype") is not None:
            kwargs["dtype"] = dtypes.check(kwargs["dtype"], name)
        plain = [host(a) if type(a) is ndarray else a for a in args]
        with np.errstate(all="ignore"):  # some call the user's functions, which have the user's context
            found = fn(*plain, **{k: host(v) if type(v) is ndarray else v for k, v in kwargs.items()})
        return wrap(runtime, found)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f"{_first_line(fn)}\n\nThe same as `numpy.{name}`, with the result on a device."
    return create


def _first_line(fn: Any) -> str:
    return next((line.strip() for line in (fn.__doc__ or "").splitlines() if line.strip()), fn.__name__)


logspace, geomspace, vander = (_from_numpy(name) for name in ("logspace", "geomspace", "vander"))
frombuffer, fromiter, fromfunction, fromstring = (
    _from_numpy(name) for name in ("frombuffer", "fromiter", "fromfunction", "fromstring")
)
bartlett, blackman, hamming, hanning, kaiser = (
    _from_numpy(name) for name in ("bartlett", "blackman", "hamming", "hanning", "kaiser")
)


def eye(
    n: Any, m: Any = None, k: Any = 0, dtype: Any = None, order: str = "C", *, device: object = None, like: Any = None
) -> ndarray:
    """Return a matrix with ones on its `k`-th diagonal and zeros elsewhere."""
    target = dtypes.check(FLOAT64 if dtype is None else dtype, "eye")
    rows = operator.index(n)
    columns = rows if m is None else operator.index(m)
    reach = rows + columns
    offset = max(-reach, min(operator.index(k), reach))
    runtime = runtime_of(device)
    if runtime.host_visible and 0 <= rows * columns <= config.small and order in ("C", "F"):
        return held(runtime, NUMPY.eye(rows, columns, offset, target, order))
    result = zeros((rows, columns), target, order, device=device)
    diagonal = np.diagonal(result._ghost, offset)
    if diagonal.size:
        view_of(result, diagonal, WRITEABLE)[...] = 1
    return result


def identity(n: Any, dtype: Any = None, *, device: object = None, like: Any = None) -> ndarray:
    """Return the square identity matrix."""
    return eye(n, dtype=dtype, device=device)


def tri(n: Any, m: Any = None, k: Any = 0, dtype: Any = float, *, device: object = None, like: Any = None) -> ndarray:
    """Return a matrix with ones at and below its `k`-th diagonal."""
    rows = operator.index(n)
    columns = rows if m is None else operator.index(m)
    low = arange(rows, device=device).reshape(rows, 1) + operator.index(k)
    found: ndarray = (low >= arange(columns, device=device)).astype(dtype)
    return found


def _triangle(a: Any, k: int, lower: bool) -> ndarray:
    x = as_operand(a, runtime_for("tril" if lower else "triu", (a,)))
    if x.ndim < 2:
        if x.ndim == 1:
            x = x.reshape(1, -1) + zeros((x.size, 1), x.dtype, device=x.device)
        else:
            raise ValueError("tril and triu: the array must have at least one dimension")
    rows, columns = x.shape[-2:]
    inside = tri(rows, columns, operator.index(k) if lower else operator.index(k) - 1, bool, device=x.device)
    zero = np.zeros((), x.dtype)[()]
    return select(inside, x, zero) if lower else select(inside, zero, x)


def tril(m: Any, /, k: int = 0) -> ndarray:
    """Return the lower triangle; elements above the `k`-th diagonal are zero."""
    return _triangle(m, k, True)


def triu(m: Any, /, k: int = 0) -> ndarray:
    """Return the upper triangle; elements below the `k`-th diagonal are zero."""
    return _triangle(m, k, False)


def meshgrid(*xi: Any, copy: bool = True, sparse: bool = False, indexing: str = "xy") -> tuple[ndarray, ...]:
    """Return coordinate arrays from coordinate vectors."""
    runtime = runtime_for("meshgrid", xi)
    vectors = [as_operand(x, runtime) for x in xi]
    ghosts = np.meshgrid(*(v._ghost for v in vectors), copy=False, sparse=sparse, indexing=indexing)  # type: ignore[call-overload]
    views = [view_of(v, g) for v, g in zip(vectors, ghosts, strict=True)]
    return tuple(v.copy() for v in views) if copy else tuple(view_of(v, v._ghost, READ_ONLY) for v in views)


def from_dlpack(x: Any, /, *, device: object = None, copy: bool | None = None) -> ndarray:
    """Return an array over the memory of another library's array, without a copy where that is possible.

    Examples
    --------
    >>> import numpy, gpuxp
    >>> gpuxp.from_dlpack(numpy.arange(3))
    array([0, 1, 2])
    """
    if type(x) is ndarray:
        return asarray(x, device=device, copy=copy)
    if not hasattr(x, "__dlpack__"):
        raise TypeError(f"from_dlpack: {type(x).__name__} does not offer __dlpack__")
    if x.__dlpack_device__()[0] in runtime_of(device).backend.caps.takes:
        if copy is False:
            raise BufferError("from_dlpack: memory of a device is taken over by a copy on it")
        return asarray(x, device=device)
    try:
        value = np.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        value = _through_host(x, error)
    runtime = runtime_of(device)
    if copy or not runtime.host_visible:
        if copy is False:
            raise BufferError(f"from_dlpack: an array on {runtime.name} cannot share the host's memory")
        return asarray(value, device=runtime.name)
    view = runtime.adopt(value)
    view.buffer.foreign = True
    return make(view, state=WRITEABLE if value.flags.writeable else READ_ONLY)


def _through_host(x: Any, error: Exception) -> Any:
    """Return the array through NumPy, where DLPack refuses (read-only or strided exporters of old)."""
    if isinstance(x, np.ndarray):
        return x
    for asked in ({"device": "cpu"}, {}):  # memory of a GPU comes to the host only where it is asked to
        with contextlib.suppress(BufferError, RuntimeError, TypeError, ValueError):
            return NUMPY.from_dlpack(x, copy=True, **asked)
    raise BufferError(f"from_dlpack: {error}") from error


def array(
    object: Any, dtype: Any = None, *, copy: bool | None = True, order: str = "K", subok: bool = False, ndmin: int = 0,
    device: object = None, like: Any = None,
) -> ndarray:  # fmt: skip
    """Return a new array from data.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.array([[1, 2], [3, 4]], dtype=np.float32).dtype
    dtype('float32')
    """
    result = asarray(object, dtype, order, device=device, copy=copy)
    if result.ndim < ndmin:
        result = result.reshape((1,) * (ndmin - result.ndim) + result.shape)
        result._base = None
    if result is not object and result._state not in (WRITEABLE, READ_ONLY):
        result._state = WRITEABLE
    return result


def ascontiguousarray(a: Any, dtype: Any = None, *, device: object = None, like: Any = None) -> ndarray:
    """Return a C-contiguous array of at least one dimension."""
    found = asarray(a, dtype, "C", device=device)
    return found if found.ndim else found.reshape(1)


def asfortranarray(a: Any, dtype: Any = None, *, device: object = None, like: Any = None) -> ndarray:
    """Return a Fortran-contiguous array."""
    return asarray(a, dtype, "F", device=device)


def asarray_chkfinite(a: Any, dtype: Any = None, order: Any = None) -> ndarray:
    """Return an array; NaN or infinity raises `ValueError`."""
    found = asarray(a, dtype, order)
    if found.dtype.kind in "fc" and not bool(UFUNCS["isfinite"](found).all()):
        raise ValueError("array must not contain infs or NaNs")
    return found


asanyarray = asarray

# Functions that take device=: in a namespace of another device they use that device by default
MAKERS = (
    "arange", "array", "asanyarray", "asarray", "ascontiguousarray", "asfortranarray", "bartlett", "blackman", "empty",
    "eye", "from_dlpack", "frombuffer", "fromfunction", "fromiter", "fromstring", "full", "geomspace", "hamming",
    "hanning", "identity", "kaiser", "linspace", "logspace", "ones", "tri", "vander", "zeros",
)  # fmt: skip
