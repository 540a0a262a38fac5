"""What happens when a device cannot do something: the host does it, in the open."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from .config import config
from .errors import FallbackError, HostFallbackWarning

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_seen: set[tuple[str, str, str, int]] = set()
_lock = threading.Lock()
counts: Counter[str] = Counter()


def user_site(depth: int = 1) -> tuple[str, int]:
    """Return file and line of the innermost frame outside gpuxp; the first `depth` ones are known to be inside."""
    frame = sys._getframe(depth)
    while (file := frame.f_code.co_filename).startswith(_PACKAGE):
        outer = frame.f_back
        if outer is None:
            break
        frame = outer
    return file, frame.f_lineno


def on_host(device: str, what: str, reason: str, site: tuple[str, int] | None = None) -> None:
    """Count one operation that the host runs for a device, under the fallback policy.

    `site` is the user's line that asked for it, where that is not the one which runs now.

    Raises
    ------
    FallbackError
        Under ``GPUXP_FALLBACK=error``.
    """
    if config.fallback == "error":
        file, line = site or user_site()
        raise FallbackError(
            f"{what}: {device} cannot run it ({reason}) and the fallback policy is 'error' ({file}:{line}); "
            "set GPUXP_FALLBACK=allow, or use gpuxp.configure(fallback='allow')"
        )
    with _lock:
        counts[f"{device}:{what}"] += 1
        if config.fallback == "allow":
            return
        file, line = site or user_site()
        if (device, what, file, line) in _seen:
            return
        _seen.add((device, what, file, line))
    warnings.warn_explicit(
        f"{what} runs on the host, because {device} cannot run it ({reason})", HostFallbackWarning, file, line
    )


def to_host(backend: Any, mem: Any, nbytes: int) -> np.ndarray[Any, Any]:
    """Copy a whole allocation to the host."""
    host = np.empty(nbytes, np.uint8)
    if nbytes:
        backend.read(mem, 0, host)
    return host


def size_of(mem: Any) -> int:
    """Return the size of an allocation in bytes."""
    return int(mem.nbytes if isinstance(mem, np.ndarray) else mem.size)


def run_kernel(
    backend: Any, counters: Counter[str], launch: Any, kernel: Any, shape: Any, args: Sequence[Any], scalars: Any
) -> None:
    """Run a host launch of a kernel for a device that cannot compile it; the kernel's buffers travel there and back."""
    mems = {id(a.mem): a.mem for a in args}
    hosts = {key: to_host(backend, mem, size_of(mem)) for key, mem in mems.items()}
    launch(shape, [a._replace(mem=hosts[id(a.mem)]) for a in args], scalars)
    written = {id(args[p].mem) for p in kernel.outputs}
    for key in written:
        backend.write(mems[key], 0, hosts[key])
    counters["host_reads"] += len(mems)
    counters["host_writes"] += len(written)


__all__ = ["counts", "on_host", "run_kernel", "size_of", "to_host", "user_site"]
