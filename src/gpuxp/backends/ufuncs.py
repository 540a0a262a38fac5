"""NumPy's ufuncs from the inside: the addresses of their loops, and new ufuncs around loops of our own.

A ufunc's C structure is public (``numpy/ufuncobject.h``): tables of loops, of their data, and of their dtypes. Every
field read here is checked against what Python says.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from ..dtypes import FLOAT64, DType

_HEAD = object.__basicsize__
_kept: list[Any] = []  # what ufuncs point to lives as long as the process


class _UFunc(ctypes.Structure):
    _fields_ = (
        ("nin", ctypes.c_int), ("nout", ctypes.c_int), ("nargs", ctypes.c_int), ("identity", ctypes.c_int),
        ("functions", ctypes.POINTER(ctypes.c_void_p)), ("data", ctypes.POINTER(ctypes.c_void_p)),
        ("ntypes", ctypes.c_int), ("reserved", ctypes.c_int), ("name", ctypes.c_char_p),
        ("types", ctypes.POINTER(ctypes.c_char)),
    )  # fmt: skip


def address_of(ufunc: Any, dtypes: tuple[DType, ...]) -> tuple[int, int] | None:
    """Return address and data of a ufunc's loop for these dtypes, or None."""
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


@lru_cache(maxsize=1)
def _constructor() -> Any:
    """Return NumPy's ``PyUFunc_FromFuncAndData``, the second entry of its C interface for ufuncs."""
    capsule = np._core._multiarray_umath._UFUNC_API  # type: ignore[attr-defined]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = ctypes.cast(pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))
    plain, text = ctypes.c_int, ctypes.c_char_p
    make = ctypes.PYFUNCTYPE(ctypes.py_object, *(ctypes.c_void_p,) * 3, plain, plain, plain, plain, text, text, plain)
    return make(table[1])


def as_ufunc(code: Any, slow: tuple[int, int], name: str) -> Any:
    """Return a ufunc of one float64 around compiled code; its data is another loop, for what the code leaves to it."""
    other = (ctypes.c_void_p * 2)(*slow)
    functions = (ctypes.c_void_p * 1)(code.address)
    data = (ctypes.c_void_p * 1)(ctypes.addressof(other))
    types = (ctypes.c_byte * 2)(FLOAT64.num, FLOAT64.num)
    text = name.encode()
    _kept.extend((code, other, functions, data, types, text))
    place = [ctypes.addressof(x) for x in (functions, data, types)]
    return _constructor()(*place, 1, 1, 1, -1, text, b"", 0)
