"""Elementwise functions written in others, and the dtype functions."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from . import dtypes
from .array import READ_ONLY, VALUE, adopted, copy_of, host, ndarray, root, view_of
from .combining import normalize_axes
from .config import config
from .convert import as_operand, asarray, host_call, library, runtime_for
from .creation import zeros_like
from .dtypes import DType
from .geometry import broadcast_shapes, ghost
from .gram import LEAST
from .manipulation import concatenate, ravel
from .operators import divmod_
from .reductions import all as all_
from .small import plain_operands
from .threads import quiet, quiet_call
from .ufunc import UFUNCS, into, select

U = UFUNCS


def _one(function: str, a: Any) -> ndarray:
    x = as_operand(a, runtime_for(function, (a,)))
    if x is not a and not x.ndim:
        x._state = VALUE  # made from a scalar: what comes of it is one too
    return x


def clip(
    a: Any,
    /,
    min: Any = None,
    max: Any = None,
    out: Any = None,
    *,
    a_min: Any = None,
    a_max: Any = None,
    dtype: Any = None,
) -> ndarray:
    """Return the elements limited to the interval ``[min, max]``."""
    low = a_min if min is None else min
    high = a_max if max is None else max
    result = _one("clip", a)
    state = result._state
    if result.dtype.kind in "iu":  # a Python integer that the dtype cannot hold limits nothing
        info = np.iinfo(result.dtype)
        low = None if type(low) is int and low <= info.min else low
        high = None if type(high) is int and high >= info.max else high
    if low is not None:
        result = U["maximum"](result, low, dtype=dtype)
    if high is not None:
        result = U["minimum"](result, high, dtype=dtype)
    if low is None and high is None:
        result = copy_of(result, None if dtype is None else dtypes.check(dtype))
        result._state = state
    return into(result, out, "clip")


def round(a: Any, /, decimals: int = 0, out: Any = None) -> ndarray:
    """Return the elements rounded to `decimals` places, halves to even."""
    x = _one("round", a)
    if x.dtype.kind in "biu":
        if decimals >= 0:
            kept = x._state
            result = copy_of(x, np.dtype(np.float16) if x.dtype.kind == "b" else None)
            result._state = kept
            return into(result, out, "round")
        return into(host_call("round", np.round, x, decimals), out, "round")
    if x.dtype.kind == "c" and decimals:
        return into(host_call("round", np.round, x, decimals), out, "round")
    if decimals > 0:
        result = U["rint"](x * 10.0**decimals) / 10.0**decimals
    elif decimals < 0:
        result = U["rint"](x / 10.0**-decimals) * 10.0**-decimals
    else:
        result = U["rint"](x)
    return into(result, out, "round")


def real(val: Any, /) -> ndarray:
    """Return the real part: a view of a complex array, the array itself if it is real."""
    x = _one("real", val)
    return view_of(x, x._ghost.real, x._state) if x.dtype.kind == "c" else x


def imag(val: Any, /) -> ndarray:
    """Return the imaginary part: a view of a complex array, zeros for a real one."""
    x = _one("imag", val)
    if x.dtype.kind == "c":
        return view_of(x, x._ghost.imag, x._state)
    result = zeros_like(x)
    result._state = VALUE if x._state == VALUE else READ_ONLY  # as NumPy's: writing it could not change the array
    return result


def set_real(self: ndarray, value: Any) -> None:
    """Write the real part."""
    real(self)[...] = value


def set_imag(self: ndarray, value: Any) -> None:
    """Write the imaginary part of a complex array."""
    if self.dtype.kind != "c":
        raise TypeError("array does not have imaginary part to set")
    imag(self)[...] = value


def angle(z: Any, deg: bool = False) -> ndarray:
    """Return the angle of complex numbers, in radians (or degrees)."""
    x = _one("angle", z)
    found = U["arctan2"](imag(x), real(x))
    return found * (180 / math.pi) if deg else found


def modf(x: Any) -> tuple[ndarray, ndarray]:
    """Return the fractional and the integral part, both with the sign of `x`."""
    value = _one("modf", x)
    whole = U["trunc"](value)
    if whole.dtype.kind not in "f":
        return host_call("modf", np.modf, value)  # type: ignore[no-any-return]
    part = select(U["isinf"](value), 0.0, value - whole)
    return U["copysign"](part, value), whole


def frexp(x: Any) -> tuple[ndarray, ndarray]:
    """Return mantissa and exponent of two."""
    value = _one("frexp", x)
    return host_call("frexp", np.frexp, value)  # type: ignore[no-any-return]


divmod = divmod_


def isclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> ndarray:
    """Return whether elements are equal within ``atol + rtol * abs(b)``."""
    runtime = runtime_for("isclose", (a, b))
    x, y = as_operand(a, runtime), as_operand(b, runtime)
    if y.dtype.kind in "iub":
        y = y.astype(np.result_type(y.dtype, 1.0))
    near = (abs(x - y) <= atol + rtol * abs(y)) & U["isfinite"](y) | (x == y)
    if equal_nan:
        near = near | U["isnan"](x) & U["isnan"](y)
    return near


def allclose(a: Any, b: Any, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Return whether all elements are equal within a tolerance."""
    return bool(all_(isclose(a, b, rtol, atol, equal_nan)))


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> bool:
    """Return whether two arrays have the same shape and elements."""
    runtime = runtime_for("array_equal", (a1, a2))
    x, y = as_operand(a1, runtime), as_operand(a2, runtime)
    if x.shape != y.shape:
        return False
    same = x == y
    if equal_nan and x.dtype.kind in "fc" and y.dtype.kind in "fc":
        same = same | U["isnan"](x) & U["isnan"](y)
    return bool(all_(same))


def array_equiv(a1: Any, a2: Any) -> bool:
    """Return whether two arrays are equal after broadcasting."""
    runtime = runtime_for("array_equiv", (a1, a2))
    x, y = as_operand(a1, runtime), as_operand(a2, runtime)
    try:
        broadcast_shapes(x.shape, y.shape)
    except ValueError:
        return False
    return bool(all_(x == y))


def nan_to_num(x: Any, copy: bool = True, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> ndarray:
    """Replace NaN by a number and infinities by large ones."""
    value = _one("nan_to_num", x)
    if value.dtype.kind not in "f":
        return host_call("nan_to_num", np.nan_to_num, value, True, nan, posinf, neginf)  # type: ignore[no-any-return]
    info = np.finfo(value.dtype)
    high = float(info.max) if posinf is None else posinf
    low = float(info.min) if neginf is None else neginf
    result = select(U["isnan"](value), nan, value)
    result = select(value == math.inf, high, select(value == -math.inf, low, result))
    if copy:
        return result
    value[...] = result
    return value


def isposinf(x: Any, out: Any = None) -> ndarray:
    """Return whether elements are positive infinity."""
    return into(_one("isposinf", x) == math.inf, out, "isposinf")


def isneginf(x: Any, out: Any = None) -> ndarray:
    """Return whether elements are negative infinity."""
    return into(_one("isneginf", x) == -math.inf, out, "isneginf")


def isreal(x: Any) -> ndarray:
    """Return whether elements have no imaginary part."""
    return imag(x) == 0


def iscomplex(x: Any) -> ndarray:
    """Return whether elements have an imaginary part."""
    return imag(x) != 0


def fix(x: Any, out: Any = None) -> ndarray:
    """Return the elements rounded towards zero."""
    return into(U["trunc"](_one("fix", x)), out, "fix")


def sinc(x: Any) -> ndarray:
    """Return ``sin(pi x) / (pi x)``."""
    value = _one("sinc", x)
    y = math.pi * select(value == 0, 1e-20, value)
    return U["sin"](y) / y


def diff(a: Any, /, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> ndarray:
    """Return the `n`-th discrete difference along `axis`."""
    x = _one("diff", a)
    if n < 0:
        raise ValueError(f"order must be non-negative but got {n!r}")
    if not x.ndim:
        raise ValueError("diff requires input that is at least one dimensional")
    axis = np.lib.array_utils.normalize_axis_index(axis, x.ndim)
    if n == 0:
        return x
    ends = [_edge(x, prepend, axis), x, _edge(x, append, axis)]
    parts = [e for e in ends if e is not None]
    x = concatenate(parts, axis) if len(parts) > 1 else x
    lead = (slice(None),) * axis
    for _ in range(n):
        later, sooner = x[(*lead, slice(1, None))], x[(*lead, slice(None, -1))]
        x = later != sooner if x.dtype == bool else later - sooner
    return x


def _edge(x: ndarray, value: Any, axis: int) -> ndarray | None:
    if value is None:
        return None
    edge = as_operand(value, x._runtime)
    if edge.ndim == 0:
        shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
        edge = view_of(edge, np.broadcast_to(edge._ghost, shape), READ_ONLY)
    return edge


def outer(a: Any, b: Any, out: Any = None) -> ndarray:
    """Return the products of all pairs of elements of two vectors."""
    runtime = runtime_for("outer", (a, b))
    x, y = ravel(as_operand(a, runtime)), ravel(as_operand(b, runtime))
    return into(x.reshape(-1, 1) * y, out, "outer")


# Dtypes


def astype(x: ndarray, dtype: Any, /, *, copy: bool = True, device: object = None) -> ndarray:
    """Return the array converted to `dtype`.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.astype(np.asarray([1.7, -1.7]), np.int64)
    array([ 1, -1])
    """
    if type(x) is not ndarray:
        raise TypeError(f"astype: input should be a gpuxp array, not {type(x).__name__}")
    target = dtypes.check(dtype, "astype")
    if device is not None and device != x.device:
        x, copy = asarray(x, device=device), False
    return x if target == x.dtype and not copy else copy_of(x, target)


def astype_method(
    self: ndarray, dtype: Any, order: str = "K", casting: Any = "unsafe", subok: bool = True, copy: bool = True
) -> ndarray:
    """Return the array converted to `dtype`."""
    target = dtypes.check(dtype, "astype")
    if casting != "unsafe" and not np.can_cast(self.dtype, target, casting):
        raise TypeError(f"Cannot cast array data from {self.dtype!r} to {target!r} according to the rule {casting!r}")
    return self if not copy and target == self.dtype else copy_of(self, target, order)


def _dtype_of(value: Any) -> Any:
    return value.dtype if type(value) is ndarray else value


def result_type(*arrays_and_dtypes: Any) -> DType:
    """Return the dtype that arrays, dtypes and Python scalars promote to."""
    return np.result_type(*(_dtype_of(a) for a in arrays_and_dtypes))


def can_cast(from_: Any, to: Any, casting: Any = "safe") -> bool:
    """Return whether one dtype can be cast to another under a rule."""
    return np.can_cast(_dtype_of(from_), _dtype_of(to), casting)


def isdtype(dtype: Any, kind: Any) -> bool:
    """Return whether a dtype is of a kind, such as ``"real floating"``."""
    return np.isdtype(np.dtype(dtype), kind if isinstance(kind, (str, tuple)) else np.dtype(kind))


def min_scalar_type(a: Any, /) -> DType:
    """Return the smallest dtype that holds a scalar."""
    return np.min_scalar_type(host(a) if type(a) is ndarray else a)


def common_type(*arrays: Any) -> Any:
    """Return the inexact scalar type common to the arrays."""
    return np.common_type(*(np.empty(0, asarray(a).dtype) for a in arrays))


def iscomplexobj(x: Any) -> bool:
    """Return whether the array's dtype is complex."""
    return result_type(asarray(x)).kind == "c"


def isrealobj(x: Any) -> bool:
    """Return whether the array's dtype is not complex."""
    return not iscomplexobj(x)


class finfo:  # noqa: N801 - NumPy's name
    """Limits of a floating dtype (of a complex dtype's parts)."""

    def __init__(self, type: Any, /) -> None:
        found = np.finfo(_dtype_of(type))
        self.dtype = np.dtype(found.dtype)
        self.bits = int(found.bits)
        self.eps, self.max, self.min = float(found.eps), float(found.max), float(found.min)
        self.smallest_normal = self.tiny = float(found.smallest_normal)
        self.resolution, self.precision = float(found.resolution), int(found.precision)
        self.epsneg, self.smallest_subnormal = float(found.epsneg), float(found.smallest_subnormal)
        self.nmant, self.maxexp, self.minexp = int(found.nmant), int(found.maxexp), int(found.minexp)

    def __repr__(self) -> str:
        return f"finfo(resolution={self.resolution}, min={self.min}, max={self.max}, dtype={self.dtype})"


class iinfo:  # noqa: N801 - NumPy's name
    """Limits of an integer dtype."""

    def __init__(self, type: Any, /) -> None:
        found = np.iinfo(_dtype_of(type))
        self.dtype = np.dtype(found.dtype)
        self.bits, self.min, self.max = int(found.bits), int(found.min), int(found.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


def shape(a: Any) -> tuple[int, ...]:
    """Return the shape of an array or nested sequence."""
    return a.shape if type(a) is ndarray else np.shape(a)


def ndim(a: Any) -> int:
    """Return the number of dimensions of an array or nested sequence."""
    return a.ndim if type(a) is ndarray else int(np.ndim(a))


def size(a: Any, axis: Any = None) -> int:
    """Return the number of elements, or those along one axis."""
    if type(a) is not ndarray:
        return int(np.size(a, axis))
    if axis is None:
        return a.size
    return math.prod(a.shape[d] for d in normalize_axes(axis, a.ndim))


def shares_memory(a: Any, b: Any, /, max_work: Any = None) -> bool:
    """Return whether two arrays have an element in common."""
    if type(a) is ndarray and type(b) is ndarray:
        if root(a) is not root(b):
            return False
        return bool(np.shares_memory(_over_void(a), _over_void(b), max_work=max_work))
    return bool(np.shares_memory(host(a) if type(a) is ndarray else a, host(b) if type(b) is ndarray else b, max_work))


def _over_void(a: ndarray) -> Any:
    return ghost(a.shape, a.dtype, a.strides, a._view.offset)


def may_share_memory(a: Any, b: Any, /, max_work: Any = None) -> bool:
    """Return whether two arrays might have an element in common."""
    return shares_memory(a, b)


def matmul(x1: Any, x2: Any, /, out: Any = None, *, dtype: Any = None) -> ndarray:
    """Return the matrix product, broadcast over leading dimensions.

    Examples
    --------
    >>> import gpuxp as np
    >>> np.matmul(np.eye(2), np.asarray([3., 4.]))
    array([3., 4.])
    """
    found = plain_operands((x1, x2), (), sys.maxsize if config.small else 0) if dtype is None else None
    if found is not None:
        runtime, (x, y) = found
        product = None
        if 0 < x.ndim <= 2 >= y.ndim > 0:  # (beyond, broadcasting may give a large result)
            small = config.small
            both = x.size <= small >= y.size
            if both and x.size * y.shape[-1] < LEAST:
                product = quiet_call(np.matmul, x, y)
            elif both or math.prod(x.shape[:-1]) * math.prod(y.shape[1:]) <= small:
                product = quiet(runtime.multiply, x, y)
        if product is not None:
            result = adopted(runtime, product)
            return result if out is None else into(result, out, "matmul")
    runtime = runtime_for("matmul", (x1, x2))
    a, b = as_operand(x1, runtime), as_operand(x2, runtime)
    if dtype is not None:
        a, b = (v.astype(dtypes.check(dtype), copy=False) for v in (a, b))
    shape, target = _matmul_shape(a, b)
    if not runtime.host_visible:  # devices multiply matrices of one dtype
        a, b = (v.astype(target, copy=False) for v in (a, b))
    result = library("matmul", runtime.multiply, [a, b], shape, target)
    if not shape:
        result._state = VALUE
    return into(result, out, "matmul")


def is_product(a: Any, b: Any) -> bool:
    """Whether the dot product of two operands is their matrix product, or that of vectors."""
    return type(a) is ndarray is type(b) and 0 < a.ndim <= 2 and 0 < b.ndim <= 2


def _matmul_shape(a: ndarray, b: ndarray) -> tuple[tuple[int, ...], DType]:
    target = np.matmul.resolve_dtypes((a.dtype, b.dtype, None))[-1]
    if not a.ndim or not b.ndim:
        raise ValueError("matmul: Input operand does not have enough dimensions (a 0-d array cannot be multiplied)")
    if a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        raise ValueError(
            f"matmul: Input operand 1 has a mismatch in its core dimension 0: shapes {a.shape} and {b.shape} do not fit"
        )
    lead = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return lead + a.shape[-2:-1] * (a.ndim > 1) + b.shape[-1:] * (b.ndim > 1), target
