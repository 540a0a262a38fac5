"""NumPy's own inner loops, by address: what the compiled tier calls where it has no exact instruction.

A ufunc's C structure is public (``numpy/ufuncobject.h``): tables of loops, of their data, and of their dtypes. Every
field read here is checked against what Python says, and a loop is used only after it has given the ufunc's bits.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from ..dtypes import DType
from ..ops import ELEMENTWISE

_HEAD = object.__basicsize__
_CHECKED = 67  # elements of the trial: whole vectors and a remainder


class _UFunc(ctypes.Structure):
    _fields_ = (
        ("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int), ("reserved", ctypes.c_int), ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )  # fmt: skip


_Loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
# rows whose loops need no more than memory: they raise no Python error and take no lock
_PURE_INTEGERS = frozenset(
    {"floor_divide", "remainder", "fmod", "gcd", "lcm", "bitwise_count", "less", "less_equal", "greater",
     "greater_equal", "equal", "not_equal", "reciprocal", "ldexp"}
)  # fmt: skip


@lru_cache(maxsize=1024)
def find_loop(op: str, dtypes: tuple[DType, ...]) -> tuple[int, int] | None:
    """Return address and data of the loop of a row for these dtypes, inputs then output; None if it cannot be used."""
    row = ELEMENTWISE[op]
    if row.ufunc.nout != 1 or row.ufunc.nin != row.nin or op == "expit":
        return None
    if any(d.kind not in "f" for d in dtypes) and op not in _PURE_INTEGERS:
        return None
    found = _looked_up(row.ufunc, dtypes)
    return found if found is not None and _gives_the_same(row.ufunc, dtypes, found) else None


def _looked_up(ufunc: Any, dtypes: tuple[DType, ...]) -> tuple[int, int] | None:
    raw = _UFunc.from_address(id(ufunc) + _HEAD)
    if (raw.nin, raw.nout, raw.nargs, raw.ntypes) != (ufunc.nin, ufunc.nout, ufunc.nargs, ufunc.ntypes):
        return None
    if raw.name != ufunc.__name__.encode():
        return None
    for place, signature in enumerate(ufunc.types):
        chars = signature.replace("->", "")
        if "O" in chars or tuple(np.dtype(c) for c in chars) != dtypes:
            continue
        numbers = bytes(raw.types[place * raw.nargs + n][0] for n in range(raw.nargs))
        if numbers != bytes(np.dtype(c).num for c in chars) or not raw.functions[place]:
            return None
        return int(raw.functions[place]), int(raw.data[place] or 0)
    return None


def _gives_the_same(ufunc: Any, dtypes: tuple[DType, ...], loop: tuple[int, int]) -> bool:
    """Run the loop and the ufunc on the same numbers."""
    generator = np.random.default_rng(0)
    inputs = [_trial(generator, d) for d in dtypes[:-1]]
    out = np.empty(_CHECKED, dtypes[-1])
    arrays = [*inputs, out]
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    steps = (ctypes.c_ssize_t * len(arrays))(*(a.itemsize for a in arrays))
    size = ctypes.c_ssize_t(_CHECKED)
    _Loop(loop[0])(ctypes.addressof(pointers), ctypes.addressof(size), ctypes.addressof(steps), loop[1])
    with np.errstate(all="ignore"):
        return bool(ufunc(*inputs).tobytes() == out.tobytes())


def _trial(generator: np.random.Generator, dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.kind == "f":
        values = generator.standard_normal(_CHECKED) * 3
        values[:8] = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5]
        return values.astype(dtype)
    low, high = {"b": (0, 2), "u": (0, 100)}.get(dtype.kind, (-100, 100))
    return generator.integers(low, high, _CHECKED).astype(dtype)
