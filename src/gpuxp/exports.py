"""Handing an array's memory to other libraries: `numpy.asarray(x)` and DLPack.

While somebody holds what was exported, commands on the memory run in step, so that program order never shows.
"""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from .array import READ_ONLY, VALUE, WRITEABLE, HostArray, copy_of, ndarray, root, settled
from .storage import Buffer

HOST = (1, 0)  # kDLCPU
_CUDA = 2  # DLPack's name of NVIDIA's GPUs


def array(self: ndarray, dtype: Any = None, copy: bool | None = None) -> HostArray:
    """Return a NumPy array: of the same memory where NumPy can see it, else a copy."""
    exported = export(self)
    if dtype is not None and np.dtype(dtype) != exported.dtype:
        if copy is False:
            raise ValueError("Unable to avoid copy while creating an array as requested: the dtype differs")
        return exported.astype(dtype)
    return exported.copy() if copy else exported


def dlpack_capsule(
    self: ndarray, *, stream: Any = None, max_version: Any = None, dl_device: Any = None, copy: bool | None = None
) -> Any:
    """Export the array: without a copy where the host sees the memory.

    It waits for the device, so a consumer may use any stream.
    """
    home = dlpack_device(self)
    if stream is not None and (home[0] != _CUDA or type(stream) is not int or not stream):
        allowed = "None or a CUDA stream (1, 2, -1 or an address)" if home[0] == _CUDA else "None, the device has none"
        raise ValueError(f"__dlpack__: stream must be {allowed}, not {stream!r}")
    wanted = home if dl_device is None else tuple(dl_device)
    if wanted not in (home, HOST):
        raise BufferError(f"__dlpack__: cannot export to DLPack device {wanted}, only to {home} or {HOST}")
    if wanted != HOST:
        return _export_on_device(copy_of(self) if copy else self, home)
    if self._state != WRITEABLE and max_version is None:
        copy = True if copy is None else copy
    exported = _shared_with_host(self) if copy is False and home != HOST else export(self)
    if copy:
        exported = exported.copy()
    return exported.__dlpack__(max_version=max_version)


def dlpack_device(self: ndarray) -> tuple[int, int]:
    """Return the DLPack device of the memory: ``(1, 0)`` is the host's."""
    return self._runtime.backend.caps.dlpack_device


def export(array: ndarray) -> HostArray:
    """Return a NumPy array that may outlive this call; commands on shared memory run in step from now on."""
    runtime = array._runtime
    value = settled(array)
    if not runtime.host_visible:
        return value if array._state == WRITEABLE else _locked(value)
    if array._state == VALUE:
        return value.copy()
    return _exported(array, value)


def _export_on_device(array: ndarray, device: tuple[int, int]) -> Any:
    """Return a DLPack capsule over the device's own memory; commands on it run in step while it is held."""
    from . import dlpack  # needs ctypes, which costs time to import

    view = array._view
    _settle(array)
    holder = _Holder(array)
    _note(view.buffer, holder)
    geometry = view.ghost
    handle = view.buffer.mem.handle
    return dlpack.capsule(handle, device, array.dtype, geometry.shape, geometry.strides, view.offset, holder)


def _settle(array: ndarray) -> None:
    """Have everything recorded on the array's buffer done, and raise if that failed."""
    view = array._view
    runtime = view.buffer.runtime
    if runtime.pending(view):
        runtime.flush()
    if view.buffer.error is not None:
        runtime.host(view)
    runtime.ensure(view.buffer)
    runtime.backend.sync()


def _shared_with_host(array: ndarray) -> HostArray:
    """Return a NumPy array over the memory of a device that shares the host's, such as an OpenCL device on the CPU."""
    share = array._runtime.backend.caps.share
    if share is None:
        raise BufferError(f"__dlpack__: an array on {array.device} can only be moved to the host by copy")
    _settle(array)
    view = array._view
    geometry = view.ghost
    seen: HostArray = np.ndarray(geometry.shape, geometry.dtype, share(view.buffer.mem), view.offset, geometry.strides)
    return _exported(array, seen)


def _exported(array: ndarray, seen: HostArray) -> HostArray:
    """Return host memory of an array for others to hold; while they do, commands on it run in step."""
    holder = _Holder(array)
    if array._state == READ_ONLY:
        seen = _locked(seen.view())
    holder.__array_struct__ = seen.__array_struct__  # NumPy keeps this, and the holder with it
    _note(array._view.buffer, holder)
    return np.asarray(holder)


class _Holder:
    """What another library keeps alive while it looks at a buffer's memory."""

    __array_struct__: Any

    def __init__(self, array: ndarray) -> None:
        self.owner = root(array)


def _note(buffer: Buffer, holder: _Holder) -> None:
    """Remember an export for as long as its holder lives."""
    with buffer.runtime.lock:  # another thread may be at it, too
        if type(buffer.exports) is not set:
            buffer.exports = set()
        buffer.exports.add(weakref.ref(holder, buffer.exports.discard))


def _locked(value: HostArray) -> HostArray:
    value.flags.writeable = False
    return value
