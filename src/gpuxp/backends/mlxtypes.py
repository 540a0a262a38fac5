"""MLX's dtypes, and conversions between them by NumPy's rules."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import BOOL, DType
from ..errors import Unsupported

os.environ["MLX_ENABLE_TF32"] = "0"  # MLX reads it once: products of float32 are products of float32

import mlx.core

mx: Any = mlx.core  # what its annotations promise changes from release to release

MxArray = Any
Fn = Callable[..., MxArray]

_NAMES = (
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
    "complex64",
)  # fmt: skip
TYPES: dict[DType, Any] = {np.dtype(name): getattr(mx, name) for name in _NAMES} | {BOOL: mx.bool_}
DTYPES: dict[Any, DType] = {kind: dtype for dtype, kind in TYPES.items()}
SIGNED = {1: mx.int8, 2: mx.int16, 4: mx.int32, 8: mx.int64}
UNSIGNED = {1: mx.uint8, 2: mx.uint16, 4: mx.uint32, 8: mx.uint64}
_LEAST32, _LEAST64 = -(2**31), -(2**63)


def literal(value: Any, dtype: DType) -> MxArray:
    """Return a constant as an array of no dimensions."""
    return mx.array(np.asarray(value, dtype), dtype=TYPES[dtype])


# Conversions


def cast(source: DType, target: DType) -> Fn:
    """Return a conversion by NumPy's rules, or raise `Unsupported`."""
    for dtype in (source, target):
        if dtype not in TYPES:
            raise Unsupported(f"MLX has no {dtype}")
    to = TYPES[target]
    if source.kind == "c" and target.kind == "b":
        return lambda x: mx.not_equal(x, 0)
    if source.kind == "c" and target.kind != "c":
        inner = cast(np.dtype(np.float32), target)
        return lambda x: inner(mx.real(x))
    if source.kind == "f" and target.kind in "iu":
        return lambda x: _to_integer(x.astype(mx.float32) if x.dtype == mx.float16 else x, target).astype(to)
    return lambda x: mx.astype(x, to)


def _to_integer(x: MxArray, target: DType) -> MxArray:
    """Convert as x86-64 does, and so NumPy there: what is out of range becomes the most negative integer."""
    if target.itemsize < 4 or target == np.dtype(np.int32):
        inside = mx.logical_and(mx.greater(x, _LEAST32 - 1.0), mx.less(x, 2.0**31))
        return mx.where(inside, mx.where(inside, x, 0).astype(mx.int32), _LEAST32)
    if target != np.dtype(np.uint64):
        return _to_int64(x)
    big = mx.greater_equal(x, 2.0**63)
    low = mx.view(_to_int64(mx.where(big, mx.subtract(x, 2.0**63), x)), mx.uint64)
    high = mx.add(low, literal(2**63, np.dtype(np.uint64)))
    return mx.where(big, high, low)


def _to_int64(x: MxArray) -> MxArray:
    inside = mx.logical_and(mx.greater_equal(x, -(2.0**63)), mx.less(x, 2.0**63))
    least = literal(_LEAST64, np.dtype(np.int64))
    return mx.where(inside, mx.where(inside, x, 0).astype(mx.int64), least)
