"""NumPy's ufuncs from the inside: the addresses of their loops, and new ufuncs around loops of our own.

A ufunc's C structure is public (``numpy/ufuncobject.h``): tables of loops, of their data, and of their dtypes. Every
field read here is checked against what Python says.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from ..dtypes import DType

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


_PLAIN, _SIGNED = 1, 31  # entries of NumPy's C interface: PyUFunc_FromFuncAndData, and that with a signature


@lru_cache(maxsize=2)
def _constructor(entry: int) -> Any:
    """Return a function of NumPy's C interface that makes ufuncs."""
    capsule = np._core._multiarray_umath._UFUNC_API  # type: ignore[attr-defined]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    table = ctypes.cast(pointer(capsule, None), ctypes.POINTER(ctypes.c_void_p))
    plain, text = ctypes.c_int, ctypes.c_char_p
    types = (*(ctypes.c_void_p,) * 3, plain, plain, plain, plain, text, text, plain)
    return ctypes.PYFUNCTYPE(ctypes.py_object, *types, *((text,) if entry == _SIGNED else ()))(table[entry])


def make_ufunc(
    code: Any, address: int, words: Sequence[int], dtypes: tuple[DType, ...], name: str, signature: str = ""
) -> Any:
    """Return a ufunc around one compiled loop for these dtypes, inputs then output; the loop's data are `words`.

    `code` is what has to live as long as the ufunc; a generalized ufunc has a signature.
    """
    held = (ctypes.c_int64 * len(words))(*words)
    functions = (ctypes.c_void_p * 1)(address)
    data = (ctypes.c_void_p * 1)(ctypes.addressof(held))
    types = (ctypes.c_byte * len(dtypes))(*(d.num for d in dtypes))
    text = name.encode()
    _kept.extend((code, held, functions, data, types, text))
    place = [ctypes.addressof(x) for x in (functions, data, types)]
    if not signature:
        return _constructor(_PLAIN)(*place, 1, len(dtypes) - 1, 1, -1, text, b"", 0)
    spelled = signature.encode()
    _kept.append(spelled)
    return _constructor(_SIGNED)(*place, 1, len(dtypes) - 1, 1, -1, text, b"", 0, spelled)
