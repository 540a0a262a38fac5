"""Devices by name, and the default one."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from . import discovery
from .config import config
from .errors import UnknownDeviceError
from .threads import compiling

if TYPE_CHECKING:
    from .backends.base import Backend
    from .runtime import Runtime  # the engine is loaded with the first array


class Device(str):
    """A device's name: a string such as ``"cpu"`` or ``"opencl:0"``; arrays report it, ``device=`` accepts it."""

    __slots__ = ()

    @property
    def description(self) -> str:
        """What the device is."""
        return runtime_of(self).backend.caps.description


_runtimes: dict[str, Runtime] = {}
_lock = threading.RLock()
_current: contextvars.ContextVar[str | None] = contextvars.ContextVar("gpuxp_device", default=None)


def _open_software(which: str) -> Backend:
    from .backends.software import SoftwareBackend

    return SoftwareBackend()


def _open_reference(which: str) -> Backend:
    from .backends.reference import ReferenceBackend

    return ReferenceBackend()


def _open_opencl(which: str) -> Backend:
    discovery.shut_out_broken_drivers()
    from .backends.opencl import OpenCLBackend  # loads a GPU library: only when the device is asked for

    return OpenCLBackend(which)


def _open_cuda(which: str) -> Backend:
    from .backends.cupy import CudaBackend

    return CudaBackend(which)


def _open_mlx(which: str) -> Backend:
    from .backends.mlx import MLXBackend

    return MLXBackend(which)


# kind -> (opens a device from what follows the colon, module that must be installed, how to get it)
_KINDS: dict[str, tuple[Callable[[str], Backend], str | None, str]] = {
    "cpu": (_open_software, None, ""),
    "reference": (_open_reference, None, ""),
    "cuda": (_open_cuda, "cupy", discovery.CUDA_STEPS),
    "opencl": (_open_opencl, "pyopencl", discovery.OPENCL_STEPS),
    "mlx": (_open_mlx, "mlx", discovery.MLX_STEPS),
}


def runtime_of(device: object = None) -> Runtime:
    """Return the runtime of a device name; None means the default device.

    Raises
    ------
    UnknownDeviceError
        If there is no such device; the message lists those there are.
    """
    if device is None:
        device = _current.get() or _configured()
    found = _runtimes.get(device) if isinstance(device, str) else None
    if found is None:
        found = _open(device)
    return found


def _configured() -> str:
    """Return the default device from the settings."""
    name = config.device
    if name == "auto":
        return _chosen or choose()[0]
    if name not in _runtimes:
        try:
            _open(name)
        except UnknownDeviceError as error:
            raise UnknownDeviceError(f"GPUXP_DEVICE={name!r}: {error}") from None
    return name


_chosen = ""  # what GPUXP_DEVICE=auto means on this machine, once it is known
_why = ""


def choose() -> tuple[str, str]:
    """Return the device that ``auto`` means, and why: a real GPU if one can be opened, else the software GPU."""
    global _chosen, _why
    with _lock:
        if not _chosen:
            tried = []
            for name, reason in _real_gpus():
                try:
                    _open(name)
                except Exception as error:  # a library that is there and broken must not take gpuxp with it
                    tried.append(f"{name} cannot be opened: {error}")
                    continue
                _chosen, _why = name, reason
                break
            else:
                _chosen, _why = "cpu", "; ".join(tried) or "there is no GPU that gpuxp could use"
        return _chosen, _why


def _real_gpus() -> Iterator[tuple[str, str]]:
    """Yield what is worth opening, best first; without a sign of a GPU no library is loaded and no process started."""
    if discovery.may_have_nvidia() and (found := discovery.cuda().devices):
        yield "cuda:0", f"the first NVIDIA GPU, {found[0]['name']}"
    if discovery.may_have_apple_gpu() and discovery.has("mlx") and "mlx:gpu" in _mlx_devices():
        yield "mlx:gpu", "Apple's GPU"
    if discovery.may_have_gpu() and discovery.has("pyopencl"):
        for number, device in enumerate(discovery.opencl().devices):
            if device["gpu"]:
                yield f"opencl:{number}", f"the first GPU that OpenCL has, {device['name']}"


def _open(device: object) -> Runtime:
    if not isinstance(device, str):
        raise TypeError(f"device must be a string such as 'cpu', not {type(device).__name__}")
    kind, _, which = device.partition(":")
    name = f"{kind}:{which or 0}" if kind not in ("cpu", "reference") else kind
    if kind not in _KINDS or (kind in ("cpu", "reference") and which):
        raise UnknownDeviceError(f"unknown device {device!r}; this machine has {', '.join(devices())}")
    with _lock:
        if name not in _runtimes:
            opener, module, remedy = _KINDS[kind]
            if module and not discovery.has(module):
                raise UnknownDeviceError(
                    f"device {device!r} needs {module} ({remedy}); now there is {', '.join(devices())}"
                )
            from .runtime import Runtime

            try:
                _runtimes[name] = Runtime(name, opener(which or "0"))
            except (ImportError, LookupError) as error:
                how = f"; {remedy}" if remedy and isinstance(error, ImportError) else ""
                raise UnknownDeviceError(
                    f"device {device!r} is not present ({error}{how}); this machine has {', '.join(devices())}"
                ) from error
        return _runtimes[name]


def devices() -> tuple[Device, ...]:
    """Return the devices of this machine, the software GPU first.

    Examples
    --------
    >>> import gpuxp
    >>> "cpu" in gpuxp.devices()
    True
    """
    found = [Device("cpu")]
    for kind, listed in (("cuda", discovery.cuda()), ("opencl", discovery.opencl())):
        found += [Device(f"{kind}:{n}") for n in range(len(listed.devices))]
    return tuple(found + _mlx_devices())


def absent() -> dict[str, str]:
    """Return the kinds of device that are not here, and why."""
    found = {"cuda": discovery.cuda().reason, "opencl": discovery.opencl().reason}
    if not _mlx_devices():
        found["mlx"] = f"MLX is not installed, or its wheel has no library for this machine; {discovery.MLX_STEPS}"
    return {kind: reason for kind, reason in found.items() if reason}


def _mlx_devices() -> list[Device]:
    if not discovery.has("mlx"):
        return []
    try:
        from .backends.mlx import list_devices
    except ImportError:  # a wheel without its library: `mlx` alone on Linux, where `mlx[cpu]` is needed
        return []
    return [Device(f"mlx:{name}") for name in list_devices()]


def default_device() -> Device:
    """Return the device that new arrays go to."""
    return Device(runtime_of().name)


@contextlib.contextmanager
def device(name: str) -> Iterator[Device]:
    """Make `name` the default device for the length of a ``with`` block.

    Examples
    --------
    >>> import gpuxp as np
    >>> with np.device("cpu"):
    ...     np.zeros(2).device
    'cpu'
    """
    before = runtime_of()
    chosen = runtime_of(name)
    if chosen is not before:
        before.flush()
    token = _current.set(chosen.name)
    try:
        yield Device(chosen.name)
    finally:
        _current.reset(token)
        if chosen is not before:
            chosen.flush()


def open_runtimes() -> list[Runtime]:
    """Return the runtimes that have been used so far."""
    return list(_runtimes.values())


def stats() -> dict[str, Any]:
    """Return what each device has done: commands, kernels, compiles, allocations, transfers, fallbacks.

    Examples
    --------
    >>> import gpuxp
    >>> sorted(gpuxp.stats()["cpu"])[:3]
    ['allocations', 'compiles', 'direct_calls']
    """
    runtime_of("cpu")
    return {runtime.name: runtime.stats() for runtime in open_runtimes()}


def _before_fork() -> None:
    _lock.acquire()
    for runtime in open_runtimes():
        runtime.before_fork()
    compiling.acquire()  # the last: who holds a runtime may compile


def _after_fork_in_parent() -> None:
    compiling.release()
    for runtime in open_runtimes():
        runtime.after_fork_in_parent()
    _lock.release()


def _after_fork_in_child() -> None:
    global _lock
    compiling.release()
    _lock = threading.RLock()
    for runtime in open_runtimes():
        runtime.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
