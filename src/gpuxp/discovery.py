"""What accelerators a machine has: learnt from files and from child processes, which may hang or crash for us.

Nothing here loads a GPU library into this process. A driver that does not answer in time counts as absent.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

_patience = 5.0  # seconds for a driver to answer: on a busy machine its libraries take one to load
_PROBE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "probe.py")
_DRIVERS = "/etc/OpenCL/vendors"  # where OpenCL's loader looks, if OCL_ICD_VENDORS names no other place
_NVIDIA = ("/dev/nvidiactl", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/dxg")  # a PC, Jetson old and new, WSL
_GRAPHICS = ("/dev/dri/renderD*", "/dev/kfd", "/dev/mali*", "/dev/kgsl*")
CUDA_STEPS = "install NVIDIA's driver, and pip install 'gpuxp[cuda]'"
OPENCL_STEPS = "pip install 'gpuxp[opencl]' and an OpenCL driver (on Debian: apt install pocl-opencl-icd)"
MLX_STEPS = "pip install 'gpuxp[mlx]'"


class Finding(NamedTuple):
    """The devices of one kind, in the order of their numbers; if there are none, why."""

    devices: list[dict[str, Any]]
    reason: str = ""


@contextlib.contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Wait so long for each driver that is asked within a block."""
    global _patience
    before, _patience = _patience, seconds
    try:
        yield
    finally:
        _patience = before


def has(module: str) -> bool:
    """Whether a module is installed; it is not loaded."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # its parent is broken, or it is a stand-in without a spec
        return False


def may_have_nvidia() -> bool:
    """Whether NVIDIA's driver left its mark on the file system; that takes microseconds."""
    if sys.platform == "win32":
        return os.path.exists(os.path.join(os.environ.get("SYSTEMROOT", r"C:\Windows"), "System32", "nvcuda.dll"))
    return any(map(os.path.exists, _NVIDIA))


def may_have_gpu() -> bool:
    """Whether there is any sign of a GPU."""
    import glob

    return sys.platform in ("win32", "darwin") or may_have_nvidia() or any(map(glob.glob, _GRAPHICS))


def may_have_apple_gpu() -> bool:
    """Whether this is a Mac of Apple's own processors."""
    return sys.platform == "darwin" and os.uname().machine == "arm64"


def cuda() -> Finding:
    """Return NVIDIA's GPUs, as far as CuPy is there to use them."""
    if not may_have_nvidia():
        return Finding([], f"there is no NVIDIA driver here; {CUDA_STEPS}")
    if not has("cupy"):
        return Finding([], f"CuPy is not installed; {CUDA_STEPS}")
    return _ask("cuda")


def opencl() -> Finding:
    """Return the OpenCL devices."""
    if not has("pyopencl"):
        return Finding([], f"PyOpenCL is not installed; {OPENCL_STEPS}")
    return _opencl()


@functools.cache
def _opencl() -> Finding:
    """Ask OpenCL's drivers; where there are several, a broken one is shut out, for this process too.

    OpenCL's loader loads all drivers at once, so that one which hangs would take the others with it.
    """
    folder = os.environ.get("OCL_ICD_VENDORS", _DRIVERS)
    drivers = [str(path) for path in sorted(Path(folder).glob("*.icd"))]
    if len(drivers) < 2:
        return _ask("opencl")
    whole, *alone = _at_once([functools.partial(_ask, "opencl", d) for d in (folder, *drivers)])
    if whole.devices:
        return whole
    good = [driver for driver, found in zip(drivers, alone, strict=True) if found.devices]
    if not good:
        return whole
    os.environ["OCL_ICD_VENDORS"] = _folder_of(good)
    return _ask("opencl", os.environ["OCL_ICD_VENDORS"])


def _at_once(calls: Sequence[Callable[[], Finding]]) -> list[Finding]:
    """Run calls that wait for child processes side by side."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: call(), calls))


def _folder_of(drivers: Sequence[str]) -> str:
    """Return a folder of these drivers alone, which lasts as long as this process."""
    import atexit
    import shutil
    import tempfile

    folder = tempfile.mkdtemp(prefix="gpuxp-opencl-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for driver in drivers:
        shutil.copy(driver, folder)
    return folder


def ask_all() -> None:
    """Ask all kinds of driver at once, so that slow ones are waited for together."""
    _at_once([cuda, opencl])


def shut_out_broken_drivers() -> None:
    """See to it that loading OpenCL cannot hang, where there is more than one driver to load."""
    if len(list(Path(os.environ.get("OCL_ICD_VENDORS", _DRIVERS)).glob("*.icd"))) > 1:
        opencl()


@functools.cache
def _ask(kind: str, drivers: str = "") -> Finding:
    """Let a child process look, once; for OpenCL with these drivers alone."""
    import json
    import subprocess

    if not sys.executable or getattr(sys, "frozen", False):  # a program with an interpreter in it: what would start?
        return Finding([], "looking for it needs a Python interpreter to start, and this program names none")
    command = [sys.executable, "-P", _PROBE, kind]
    environment = os.environ | ({"OCL_ICD_VENDORS": drivers} if drivers else {})
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_patience, check=False,
            env=environment,
        )  # fmt: skip
        found = json.loads(done.stdout.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Finding([], f"its driver did not answer within {_patience:g} seconds")
    except (OSError, ValueError, IndexError):
        return Finding([], "its driver crashed when it was asked for devices")
    return Finding(found["devices"], found["reason"])
