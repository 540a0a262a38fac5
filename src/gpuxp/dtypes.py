"""The dtypes that gpuxp arrays hold, and NumPy's promotion rules, cached."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from .errors import unsupported_dtype

DType = np.dtype[Any]
NUMPY: Any = np  # NumPy without its overloads, for calls whose arguments only run time knows
Weak = type[int] | type[float] | type[complex]  # a Python scalar's kind: it adapts to the arrays' dtype

NAMES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64", "complex64", "complex128",
)  # fmt: skip
SUPPORTED: dict[DType, str] = {np.dtype(name): name for name in NAMES}
STANDARD = tuple(np.dtype(name) for name in NAMES if name != "float16")

BOOL = np.dtype(np.bool_)
INT64 = np.dtype(np.int64)
INTP = np.dtype(np.intp)
FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
COMPLEX128 = np.dtype(np.complex128)

KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": ("int8", "int16", "int32", "int64"),
    "unsigned integer": ("uint8", "uint16", "uint32", "uint64"),
    "integral": ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    "real floating": ("float32", "float64"),
    "complex floating": ("complex64", "complex128"),
    "numeric": tuple(n for n in NAMES if n not in ("bool", "float16")),
}


def check(dtype: Any, function: str = "asarray") -> DType:
    """Return `dtype` as a supported `numpy.dtype`, else raise `TypeError`."""
    found: DType = np.dtype(dtype)
    if found in SUPPORTED:
        return found
    native: DType = found.newbyteorder("=")
    if native in SUPPORTED:
        return native
    raise unsupported_dtype(found, function)


@lru_cache(maxsize=4096)
def resolve(ufunc: np.ufunc, operands: tuple[DType | Weak, ...]) -> tuple[DType, ...]:
    """Return the loop's dtypes, inputs then outputs, for operands that are dtypes or Python scalar types."""
    found = ufunc.resolve_dtypes(operands + (None,) * ufunc.nout)
    for dtype in found[ufunc.nin :]:
        if dtype not in SUPPORTED:
            raise unsupported_dtype(dtype, ufunc.__name__)
    return tuple(found)


@lru_cache(maxsize=1024)
def resolve_reduction(ufunc: np.ufunc, dtype: DType) -> DType:
    """Return the accumulator's dtype of ``ufunc.reduce`` over `dtype`."""
    found: DType = ufunc.resolve_dtypes((None, dtype, None), reduction=True)[2]
    return found


def is_exact(dtype: DType) -> bool:
    """Tell whether arithmetic in `dtype` has no rounding (bool and integers)."""
    return dtype.kind in "biu"
