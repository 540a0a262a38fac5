"""NVIDIA GPUs through CuPy: its streams, its memory pool, NVIDIA's run-time compiler, its library calls."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..codegen.cstyle import ENTRY, render
from ..codegen.spelling import CUDA, CUDA_OPTIONS
from ..dtypes import SUPPORTED
from ..errors import Unsupported
from ..kernel import Kernel
from . import diskcache
from .base import Caps, Launch, Native, Operand
from .cupynatives import natives, view
from .launching import Grid, Programs

Array = np.ndarray[Any, Any]
_SHARED = 48 << 10  # bytes of shared memory that a block gets without being asked for more
_MORE_SHARED = 8  # the attribute of a function that asks for more
_CUDA = 2  # DLPack's kDLCUDA
_NO_MEMORY = 2  # cudaErrorMemoryAllocation
_DRIVER = "install NVIDIA's driver, or run nvidia-smi to see what is wrong with it"


def _load() -> Any:
    """Import CuPy and see that it can use a GPU; LookupError says what is missing."""
    import cupy

    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except (AttributeError, RuntimeError) as error:  # a driver that is missing, broken or too old for CuPy
        raise LookupError(f"CuPy {cupy.__version__} finds no GPU: {error}; {_DRIVER}") from error
    if not count:
        raise LookupError(f"the driver reports no GPU; {_DRIVER}")
    return cupy


def _number(which: str, count: int) -> int:
    number = int(which) if which.isascii() and which.isdigit() else -1
    if not 0 <= number < count:
        raise LookupError(f"'cuda:{which}' is none of cuda:0 to cuda:{count - 1}")
    return number


class Memory:
    """One allocation."""

    __slots__ = ("pointer", "size")

    def __init__(self, pointer: Any, size: int) -> None:
        self.pointer, self.size = pointer, size

    @property
    def handle(self) -> int:
        """The address, which DLPack passes on."""
        return int(self.pointer.ptr)


class CudaBackend:
    """One NVIDIA GPU."""

    library: Mapping[str, Native]
    dialect = CUDA

    def __init__(self, which: str, cupy: Any = None) -> None:
        self.cupy = cupy = cupy or _load()
        number = _number(which, cupy.cuda.runtime.getDeviceCount())
        self.name = f"cuda:{number}"
        self._device = cupy.cuda.Device(number)
        self._lock = threading.RLock()
        self._last: Any = None  # the stream of the last launch
        self._programs = Programs(self)
        found = cupy.cuda.runtime.getDeviceProperties(number)
        self._toolkit = f"{self._device.compute_capability} {cupy.__version__} {cupy.cuda.runtime.runtimeGetVersion()}"
        self.units = int(found["multiProcessorCount"])
        self.local_bytes = int(found["sharedMemPerBlock"]) // 2  # two blocks of a reduction at a time
        self.library = natives(self)
        self.caps = Caps(
            dtypes=frozenset(d for d, name in SUPPORTED.items() if name in CUDA.types),
            memory=int(found["totalGlobalMem"]),
            dlpack_device=(_CUDA, number),
            takes=frozenset({_CUDA}),
            take=self._take,
            staging=self._staging,
            description=f"{found['name'].decode()} (CUDA, compute capability {found['major']}.{found['minor']})",
            info={"driver": str(cupy.cuda.runtime.driverGetVersion()), "version": f"CuPy {cupy.__version__}"},
        )

    @contextlib.contextmanager
    def queue(self) -> Iterator[Any]:
        """Enter the device; what the block starts runs on CuPy's current stream, after everything started before."""
        with self._lock, self._device:
            stream = self.cupy.cuda.get_current_stream()
            if self._last is not None and self._last.ptr != stream.ptr:
                stream.wait_event(self._last.record())
            self._last = stream
            yield stream

    # Memory

    def alloc(self, nbytes: int) -> Memory:
        """Return memory from CuPy's pool; when it is out, give back what the pools hold and try once more."""
        with self.queue() as stream:
            for last in (False, True):
                try:
                    return Memory(self.cupy.cuda.alloc(max(nbytes, 1)), nbytes)
                except (MemoryError, RuntimeError) as error:
                    if not isinstance(error, MemoryError) and getattr(error, "status", None) != _NO_MEMORY:
                        raise
                    if last:
                        free, total = self._device.mem_info
                        raise MemoryError(
                            f"Unable to allocate {nbytes} bytes on {self.name} ({self.caps.description}): "
                            f"{free} of {total} bytes are free"
                        ) from error
                stream.synchronize()
                self.cupy.get_default_memory_pool().free_all_blocks()
                self.cupy.get_default_pinned_memory_pool().free_all_blocks()
        raise AssertionError("unreachable")

    def write(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy a contiguous host array to the device."""
        if host.nbytes:
            with self.queue() as stream:
                (mem.pointer + offset).copy_from_host_async(host.ctypes.data, host.nbytes, stream)
                stream.synchronize()  # the host's memory may change from here on

    def read(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy from the device into a contiguous host array."""
        if host.nbytes:
            with self.queue() as stream:
                (mem.pointer + offset).copy_to_host_async(host.ctypes.data, host.nbytes, stream)
                stream.synchronize()

    def _staging(self, nbytes: int) -> Array:
        """Return pinned memory, from CuPy's pool."""
        return np.frombuffer(self.cupy.cuda.alloc_pinned_memory(max(nbytes, 1)), np.uint8, nbytes)

    def _take(self, source: Any, target: Operand) -> None:
        """Copy an array of CuPy's, or of another library on this GPU or another, that offers DLPack."""
        with self.queue():
            found = self.cupy.asarray(self.cupy.from_dlpack(source))  # on this GPU
            view(self.cupy, target)[...] = found

    def sync(self) -> None:
        """Wait until everything launched has run."""
        with self.queue() as stream:
            stream.synchronize()

    # Kernels

    def source(self, kernel: Kernel) -> str:
        """Return the CUDA C++ source."""
        return render(kernel, CUDA)

    def compile(self, kernel: Kernel) -> Launch:
        """Return a launch; its code is compiled, or taken from the cache, for the forms that the data needs."""
        return self._programs.get(kernel)

    def build(self, source: str) -> Any:
        """Compile source text and return its function.

        Not through `cupy.RawModule`, which appends ``-ftz=true`` to any options: subnormal numbers would become zero.
        """
        cuda = self.cupy.cuda
        with self.queue():
            key = diskcache.key_of("cuda", source, self._toolkit, *CUDA_OPTIONS)
            binary = diskcache.read(key)
            if binary is None:
                try:
                    binary = cuda.compiler.compile_using_nvrtc(source, CUDA_OPTIONS, cache_in_memory=True)[0]
                except cuda.compiler.CompileException as error:
                    log = str(error)
                    raise Unsupported(f"its compiler failed: {log.splitlines()[0]}", f"{log}\n{source}") from error
                diskcache.write(key, binary)
            module = cuda.function.Module()
            module.load(binary)
            return module.get_function(ENTRY)

    def enqueue(self, built: Any, grid: Grid, mems: Sequence[Memory], packed: bytes, by_value: bool) -> None:
        """Start a kernel on the current stream."""
        with self.queue():
            if by_value:
                given: Any = np.frombuffer(packed, np.dtype((np.void, len(packed))))  # CuPy passes one element by value
            else:
                memory = self.alloc(len(packed))
                self.write(memory, 0, np.frombuffer(packed, np.uint8))
                given = memory.pointer
            if grid.scratch > _SHARED:
                self.cupy.cuda.driver.funcSetAttribute(built.ptr, _MORE_SHARED, grid.scratch)
            arguments = (*(mem.pointer for mem in mems), given)
            built(grid.groups, grid.threads, arguments, shared_mem=grid.scratch)
