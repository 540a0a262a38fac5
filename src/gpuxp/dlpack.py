"""DLPack capsules of memory that the host cannot see, built by hand: NumPy exports host memory only.

The structures are those of `dlpack.h` (version 0.8, which every consumer of 1.x reads too).
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from .dtypes import DType

_CODES = {"i": 0, "u": 1, "f": 2, "c": 5, "b": 6}
_NAME = b"dltensor"  # consumers rename a capsule that they take over


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )  # fmt: skip


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


_exported: dict[int, tuple[Any, ...]] = {}  # address of a managed tensor -> its capsule, and what it needs alive


def _release(address: int) -> None:
    """Let go of an exported tensor: its consumer calls this when it is done."""
    _exported.pop(address, None)


_deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(_release)

_api = ctypes.pythonapi
_api.PyCapsule_New.restype = ctypes.py_object
_api.PyCapsule_New.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
_api.PyCapsule_IsValid.restype = ctypes.c_int
_api.PyCapsule_IsValid.argtypes = (ctypes.py_object, ctypes.c_char_p)


def _sweep() -> None:
    """Let go of capsules that nobody took over nor holds (a capsule's own destructor may not run Python)."""
    for address, held in list(_exported.items()):
        if sys.getrefcount(held[0]) <= _OURS and _api.PyCapsule_IsValid(held[0], _NAME):
            _release(address)


_OURS = 2  # the table's reference to a capsule, and the one that counting makes


def capsule(
    handle: int, device: tuple[int, int], dtype: DType, shape: tuple[int, ...], strides: tuple[int, ...], offset: int,
    keep: Any,
) -> Any:  # fmt: skip
    """Return a capsule over device memory.

    Parameters
    ----------
    handle
        The device's pointer or handle.
    device
        DLPack device type and number.
    dtype, shape, strides, offset
        The view; strides and offset in bytes.
    keep
        Held until the consumer releases the tensor.

    Raises
    ------
    BufferError
        If the strides are not whole elements.
    """
    if any(s % dtype.itemsize for s in strides):
        raise BufferError("__dlpack__: the strides are not multiples of the element size; export a copy")
    extents = (ctypes.c_int64 * max(len(shape), 1))(*shape)
    steps = (ctypes.c_int64 * max(len(shape), 1))(*(s // dtype.itemsize for s in strides))
    tensor = _Tensor(
        handle, *device, len(shape), _CODES[dtype.kind], 8 * dtype.itemsize, 1,
        ctypes.cast(extents, ctypes.POINTER(ctypes.c_int64)), ctypes.cast(steps, ctypes.POINTER(ctypes.c_int64)),
        offset,
    )  # fmt: skip
    managed = _Managed(tensor, None, ctypes.cast(_deleter, ctypes.c_void_p))
    address = ctypes.addressof(managed)
    _sweep()
    made = _api.PyCapsule_New(address, _NAME, None)
    _exported[address] = (made, managed, extents, steps, keep)
    return made
