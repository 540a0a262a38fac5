"""OpenCL devices through PyOpenCL: its contexts, queues, programs and memory pool."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import stat
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..codegen.cstyle import ENTRY, render
from ..codegen.spelling import DOUBLE, OPENCL, OPENCL_CPU, Dialect
from ..dtypes import SUPPORTED
from ..errors import Unsupported
from ..kernel import Kernel
from .base import Caps, Launch, Native
from .launching import Grid, Programs
from .openclgather import natives as gathering
from .opencllibrary import natives

try:
    import pyopencl as cl
    from pyopencl.tools import ImmediateAllocator, MemoryPool
except ImportError:  # not installed, or no OpenCL loader on this machine
    cl = None

Array = np.ndarray[Any, Any]
_CACHED = 4000  # compiled programs kept on disk, of some 60 kB each
_OUT_OF_MEMORY = ("MEM_OBJECT_ALLOCATION_FAILURE", "OUT_OF_RESOURCES", "OUT_OF_HOST_MEMORY", "INVALID_BUFFER_SIZE")


def _use_private_cache() -> None:
    """Let PoCL keep compiled kernels where nobody else can write, or nowhere; it reads this when it is first used."""
    if "POCL_CACHE_DIR" in os.environ:
        return
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "gpuxp" / "pocl"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        private = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077)
    except OSError:
        private = False
    if private:
        with contextlib.suppress(OSError):  # another process is at it too
            _drop_old(folder)
        os.environ["POCL_CACHE_DIR"] = str(folder)
    else:
        os.environ.setdefault("POCL_KERNEL_CACHE", "0")


def _drop_old(folder: Path) -> None:
    """Keep PoCL's folder bounded: of too many programs the longer unused half goes, but none of the last hour."""
    programs = [p.path for level in os.scandir(folder) if level.is_dir() for p in os.scandir(level)]
    if len(programs) <= _CACHED:
        return
    stamps = [stamp for p in programs if os.path.exists(stamp := os.path.join(p, "last_accessed"))]
    used = sorted((os.path.getmtime(stamp), stamp) for stamp in stamps)
    for last, stamp in used[: len(used) // 2]:
        if last < time.time() - 3600:
            shutil.rmtree(os.path.dirname(stamp), ignore_errors=True)


def list_devices() -> list[tuple[Any, Any]]:
    """Return every platform and device there is; a broken driver counts as none."""
    if cl is None:
        return []
    _use_private_cache()
    found = []
    try:
        platforms = cl.get_platforms()
    except cl.Error:
        return []
    for platform in platforms:
        try:
            found += [(platform, device) for device in platform.get_devices() if device.available]
        except cl.Error:  # a platform without devices
            continue
    return found


def _find(which: str) -> Any:
    """Return a device by its number, or by platform and number."""
    listed = list_devices()
    try:
        numbers = [int(part) for part in which.split(":")]
    except ValueError:
        raise LookupError(f"'opencl:{which}' is not of the form opencl:0 or opencl:0:1") from None
    if len(numbers) == 2:
        platforms = list(dict.fromkeys(platform for platform, _ in listed))
        listed = [pair for pair in listed if platforms.index(pair[0]) == numbers[0]]
    if len(numbers) > 2 or not 0 <= numbers[-1] < len(listed):
        raise LookupError(f"OpenCL reports {len(list_devices())} devices" if cl else "PyOpenCL cannot be loaded")
    return listed[numbers[-1]][1]


class Memory:
    """One allocation."""

    __slots__ = ("buffer", "size")

    def __init__(self, buffer: Any, size: int) -> None:
        self.buffer, self.size = buffer, size

    @property
    def handle(self) -> int:
        """The cl_mem handle, which DLPack passes on."""
        return int(self.buffer.int_ptr)


class Entry:
    """A compiled kernel, and the launch struct that it was last given."""

    __slots__ = ("kernel", "packed")

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.packed = b""


def _finish(backend: weakref.ref[OpenCLBackend], process: int) -> None:
    """Wait for a device as its process ends: a driver that still compiles or computes would be taken down under it."""
    found = backend()
    if found is not None and os.getpid() == process:
        with contextlib.suppress(cl.Error):
            found.sync()


class OpenCLBackend:
    """One OpenCL device."""

    library: Mapping[str, Native]

    def __init__(self, which: str, dialect: Dialect | None = None) -> None:
        self.device = device = _find(which)
        self.name = f"opencl:{which}"
        self._context = cl.Context([device])
        self._queue = cl.CommandQueue(self._context)
        self._pool = MemoryPool(ImmediateAllocator(self._queue))
        if dialect is None:
            dialect = OPENCL_CPU if device.type & cl.device_type.CPU else OPENCL
        has_double = "cl_khr_fp64" in device.extensions.split()
        types = {n: t for n, t in dialect.types.items() if has_double or n not in DOUBLE}
        self.dialect = replace(dialect, types=types, parameter_bytes=device.max_parameter_size)
        self._options = ["-w"]
        if device.single_fp_config & cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT:
            self._options.append("-cl-fp32-correctly-rounded-divide-sqrt")
        self._programs = Programs(self)
        atexit.register(_finish, weakref.ref(self), os.getpid())
        self.units = device.max_compute_units
        self.local_bytes = device.local_mem_size // 2
        self.caps = Caps(
            dtypes=frozenset(d for d, name in SUPPORTED.items() if name in types),
            max_params=min(32, device.max_parameter_size // 16),
            memory=device.max_mem_alloc_size,
            share=self._share if device.type & cl.device_type.CPU else None,
            staging=self._staging,
            dlpack_device=(4, int(which.rpartition(":")[2])),  # kDLOpenCL
            description=f"{device.name.strip()} ({device.platform.name.strip()})",
            info={"driver": device.driver_version, "version": device.version.strip(), "memory": device.global_mem_size},
        )
        self.library = {**natives(self), **gathering(self)}

    @property
    def queue(self) -> Any:
        """PyOpenCL's queue, for other libraries."""
        return self._queue

    def alloc(self, nbytes: int) -> Memory:
        """Return memory from the pool."""
        return Memory(self._with_room((nbytes,), lambda: self._pool.allocate(max(nbytes, 1))), nbytes)

    def _with_room(self, sizes: Iterable[int], take: Callable[[], Any]) -> Any:
        """Call what takes memory; when it is out, give back what the pool holds and try once more."""
        for last in (False, True):
            try:
                return take()
            except cl.Error as error:
                if cl.status_code.to_string(error.code) not in _OUT_OF_MEMORY:
                    raise
                if last:
                    total = self.device.global_mem_size
                    raise MemoryError(
                        f"Unable to allocate {sum(sizes)} bytes on {self.name} ({self.caps.description}): "
                        f"{max(total - self._pool.managed_bytes, 0)} of {total} bytes are free"
                    ) from error
                self._queue.finish()
                self._pool.free_held()
        raise AssertionError("unreachable")

    def write(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy a contiguous host array to the device."""
        if host.nbytes:
            cl.enqueue_copy(self._queue, mem.buffer, host, dst_offset=offset, is_blocking=True)

    def read(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy from the device into a contiguous host array."""
        if host.nbytes:
            cl.enqueue_copy(self._queue, host, mem.buffer, src_offset=offset, is_blocking=True)

    def _staging(self, nbytes: int) -> Array:
        """Return pinned memory: what the driver itself allocates for the host, mapped as long as the array lives."""
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.ALLOC_HOST_PTR
        buffer = cl.Buffer(self._context, flags, max(nbytes, 1))
        access = cl.map_flags.READ | cl.map_flags.WRITE
        mapped: Array = cl.enqueue_map_buffer(self._queue, buffer, access, 0, (nbytes,), np.uint8)[0]
        return mapped

    def _share(self, mem: Memory) -> Array:
        """Map memory for the host: on a device that is the CPU the mapping is the memory itself, and stays valid."""
        flags = cl.map_flags.READ | cl.map_flags.WRITE
        mapped: Array = cl.enqueue_map_buffer(self._queue, mem.buffer, flags, 0, (max(mem.size, 1),), np.uint8)[0]
        return mapped

    def sync(self) -> None:
        """Wait until everything launched has run."""
        self._queue.finish()

    def source(self, kernel: Kernel) -> str:
        """Return the OpenCL C source."""
        return render(kernel, self.dialect)

    def compile(self, kernel: Kernel) -> Launch:
        """Return a launch; programs are built when they are first used, for the form that the data needs."""
        return self._programs.get(kernel)

    def build(self, source: str) -> Entry:
        """Compile source text and return its kernel."""
        return Entry(cl.Kernel(self.program(source), ENTRY))

    def program(self, source: str) -> Any:
        """Compile source text."""
        try:
            return cl.Program(self._context, source).build(self._options, cache_dir=False)  # that cache unpickles
        except cl.Error as error:
            log = str(error)
            first = next((line for line in log.splitlines() if "error:" in line), log.splitlines()[0])
            raise Unsupported(f"its compiler failed: {first.strip()}", f"{log}\n{source}") from error

    def enqueue(self, built: Entry, grid: Grid, mems: Sequence[Memory], packed: bytes, by_value: bool) -> None:
        """Start a kernel."""
        kernel, place = built.kernel, len(mems)
        for at, mem in enumerate(mems):
            kernel.set_arg(at, mem.buffer)
        if not by_value:
            given = self.alloc(len(packed))
            self.write(given, 0, np.frombuffer(packed, np.uint8))
            kernel.set_arg(place, given.buffer)
        elif packed != built.packed:  # what was passed by value stays
            kernel.set_arg(place, packed)
            built.packed = packed
        if grid.scratch:
            kernel.set_arg(place + 1, cl.LocalMemory(grid.scratch))
        needed = (mem.size for mem in mems)  # a driver may find room for its buffers only now
        self._with_room(needed, lambda: cl.enqueue_nd_range_kernel(self._queue, kernel, grid.items, grid.threads))

    def start(self, built: Any, groups: int, threads: int, args: Sequence[Any]) -> None:
        """Start a kernel: memory, integers (as ``long``) and NumPy scalars are its arguments."""
        for place, value in enumerate(args):
            if type(value) is Memory:
                built.set_arg(place, value.buffer)
            else:
                built.set_arg(place, np.int64(value) if type(value) is int else value)
        cl.enqueue_nd_range_kernel(self._queue, built, (groups * threads,), (threads,))

    def clear(self, mem: Memory, offset: int, nbytes: int) -> None:
        """Fill memory with zeros."""
        cl.enqueue_fill_buffer(self._queue, mem.buffer, np.uint8(0), offset, nbytes)
