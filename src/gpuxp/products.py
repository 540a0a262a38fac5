"""Products and norms written in other functions, for devices whose memory the host does not see."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .array import copy_of, ndarray
from .combining import Axis
from .creation import eye
from .elementwise import matmul
from .manipulation import broadcast_to, moveaxis, stack
from .reductions import any as _any
from .reductions import max as _max
from .reductions import min as _min
from .reductions import sum as _sum
from .ufunc import UFUNCS

_BY_SVD = (2, -2, "nuc")


def vecdot(a: ndarray, b: ndarray, axis: int) -> ndarray:
    """Return the products of vectors, the first ones conjugated."""
    first, second = moveaxis(a, axis, -1), moveaxis(b, axis, -1)
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(f"vecdot: a mismatch of the vectors' lengths: {first.shape[-1]} and {second.shape[-1]}")
    if first.dtype.kind == "c":
        first = UFUNCS["conjugate"](first)
    products = first * second
    if products.dtype == np.bool_:
        return _any(products, axis=-1)
    return _sum(products, axis=-1, dtype=products.dtype)


def tensordot(a: ndarray, b: ndarray, axes: Any) -> ndarray:
    """Return the product of two arrays, summed over pairs of axes."""
    pairs = _pairs(axes)
    ours, theirs = ([d + x.ndim if d < 0 else d for d in own] for x, own in zip((a, b), pairs, strict=True))
    if any(len(set(own)) != len(own) for own in pairs):
        raise ValueError("duplicate axes are not allowed in tensordot")
    if len(ours) != len(theirs) or any(a.shape[i] != b.shape[j] for i, j in zip(ours, theirs, strict=True)):
        raise ValueError("shape-mismatch for sum")
    rows = [d for d in range(a.ndim) if d not in ours]
    columns = [d for d in range(b.ndim) if d not in theirs]
    steps = math.prod(a.shape[d] for d in ours)
    shape = [a.shape[d] for d in rows] + [b.shape[d] for d in columns]
    left = a.transpose(*rows, *ours).reshape(math.prod(a.shape[d] for d in rows), steps)
    right = b.transpose(*theirs, *columns).reshape(steps, math.prod(b.shape[d] for d in columns))
    found: ndarray = matmul(left, right).reshape(shape)
    return found


def _pairs(axes: Any) -> tuple[list[int], list[int]]:
    """Return the axes of both arrays that are summed over: so many last and first ones, or those listed."""
    if not np.iterable(axes):
        return list(range(-axes, 0)), list(range(axes))
    ours, theirs = ([int(d) for d in own] if np.iterable(own) else [int(own)] for own in axes)
    return ours, theirs


def cross(a: ndarray, b: ndarray, axis: int) -> ndarray:
    """Return the cross products of vectors of three elements along an axis."""
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise ValueError(
            "cross: both arrays must hold vectors of 3 elements along the axis, "
            f"not of {a.shape[axis]} and {b.shape[axis]}"
        )
    x, y = ([moveaxis(v, axis, -1)[..., k] for k in range(3)] for v in (a, b))
    turns = ((1, 2), (2, 0), (0, 1))
    found: ndarray = moveaxis(stack([x[i] * y[j] - x[j] * y[i] for i, j in turns], axis=-1), -1, axis)
    return found


def matrix_power(a: ndarray, n: int) -> ndarray:
    """Return square matrices multiplied with themselves, by repeated squaring."""
    if not n:
        return copy_of(broadcast_to(eye(a.shape[-1], dtype=a.dtype, device=a.device), a.shape), order="C")
    result: ndarray | None = None
    while True:
        n, odd = divmod(n, 2)
        if odd:
            result = a if result is None else matmul(result, a)
        if not n:
            break
        a = matmul(a, a)
    assert result is not None
    return result


def vector_norm(x: ndarray, axis: Axis, keepdims: bool, order: Any) -> ndarray | None:
    """Return the norm over axes; None for an order that is none of a vector."""
    if isinstance(order, str) or x.dtype == np.float16:
        return None
    x = x.astype(float) if x.dtype.kind in "biu" else x
    if order is None or order == 2:
        squares = x * x if x.dtype.kind == "f" else x.real * x.real + x.imag * x.imag
        return UFUNCS["sqrt"](_sum(squares, axis=axis, keepdims=keepdims))
    if order == 0:
        return _sum((x != 0).astype(np.dtype(f"f{x.itemsize // (1 + (x.dtype.kind == 'c'))}")), axis, keepdims=keepdims)
    sizes = UFUNCS["absolute"](x)
    if order == math.inf:
        return _max(sizes, axis=axis, keepdims=keepdims, initial=0)
    if order == -math.inf:
        return _min(sizes, axis=axis, keepdims=keepdims)
    if order == 1:
        return _sum(sizes, axis=axis, keepdims=keepdims)
    return UFUNCS["power"](_sum(sizes**order, axis=axis, keepdims=keepdims), float(1 / order))


def matrix_norm(x: ndarray, keepdims: bool, order: Any) -> ndarray | None:
    """Return the norms of matrices; None for those by singular values, and for no norms."""
    if x.ndim < 2 or order in _BY_SVD:
        return None
    if order in ("fro", "f", None):
        return vector_norm(x, (-2, -1), keepdims, 2)
    if order not in (1, -1, math.inf, -math.inf) or x.dtype == np.float16:
        return None
    x = x.astype(float) if x.dtype.kind in "biu" else x
    across = -2 if abs(order) == 1 else -1
    sums = _sum(UFUNCS["absolute"](x), axis=across, keepdims=True)
    if order > 0:
        return _max(sums, axis=(-2, -1), keepdims=keepdims, initial=0)
    return _min(sums, axis=(-2, -1), keepdims=keepdims)
