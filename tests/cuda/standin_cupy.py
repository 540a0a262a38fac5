"""A stand-in for CuPy, not CuPy: what `gpuxp.backends.cupy` calls of it, over host memory, with g++ as the compiler.

It shows that the backend's own logic holds together: launches, arguments, memory, natives, errors. It says nothing
about CuPy, its driver or a GPU. Its limits are those of `tests.cuda.compilers.Host`, which runs the kernels.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from gpuxp.backends.launching import Grid
from tests.cuda.compilers import Host


class OutOfMemoryError(MemoryError):
    """As CuPy's."""


class CompileException(Exception):
    """As CuPy's."""


class Pointer:
    """A place in an allocation."""

    def __init__(self, memory: Any, at: int = 0) -> None:
        self.memory, self.at = memory, at

    @property
    def ptr(self) -> int:
        """The address."""
        return int(self.memory.ctypes.data) + self.at

    @property
    def ctypes(self) -> Any:
        """The address, where `Host` looks for it."""
        return SimpleNamespace(data=self.ptr)

    def __add__(self, offset: int) -> Pointer:
        return Pointer(self.memory, self.at + offset)

    def copy_from_host_async(self, host: int, size: int, stream: Any) -> None:
        """Copy."""
        assert self.at + size <= self.memory.nbytes
        ctypes.memmove(self.ptr, host, size)

    def copy_to_host_async(self, host: int, size: int, stream: Any) -> None:
        """Copy."""
        assert self.at + size <= self.memory.nbytes
        ctypes.memmove(host, self.ptr, size)


class Stream:
    """A queue that is always empty; it notes who waits for whom."""

    def __init__(self, ptr: int, log: list[Any]) -> None:
        self.ptr, self._log = ptr, log

    def record(self) -> int:
        """Return what others wait for."""
        return self.ptr

    def wait_event(self, event: int) -> None:
        """Wait."""
        self._log.append((self.ptr, event))

    def synchronize(self) -> None:
        """Wait."""


class Device:
    """A device that can be entered."""

    compute_capability = "80"

    def __init__(self, number: int) -> None:
        self.id = number

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    @property
    def mem_info(self) -> tuple[int, int]:
        """Free and total bytes."""
        return 123, 1 << 30


class Pool:
    """Counts how often it is emptied."""

    freed = 0

    def free_all_blocks(self) -> None:
        """Give everything back."""
        self.freed += 1


class Maximum:
    """The ufunc; its `at` takes the dtypes that CuPy has atomic operations on."""

    def __call__(self, a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def at(self, a: Any, places: Any, values: Any) -> None:
        """Raise elements in place."""
        assert a.dtype.name in ("int32", "uint32", "uint64", "float32", "float64")
        np.maximum.at(a, places, values)


class Module:
    """A program."""

    host: Host

    def load(self, binary: bytes) -> None:
        """Take what the compiler returned: here the source."""
        self._built = self.host.build(binary.decode())

    def get_function(self, name: str) -> Any:
        """Return the kernel, which is called as CuPy's `Function` is."""

        def call(grid: tuple[int, int], block: tuple[int, int], args: tuple[Any, ...], shared_mem: int = 0) -> None:
            *pointers, struct = args
            by_value = isinstance(struct, np.ndarray)
            assert not by_value or struct.shape == (1,)
            packed = struct.tobytes() if by_value else ctypes.string_at(struct.ptr, struct.memory.nbytes)
            self.host.enqueue(self._built, Grid(grid, block, shared_mem), pointers, packed, by_value)

        return call


class StandIn:
    """The module."""

    __version__ = "stand-in"

    def __init__(self, host: Host, devices: int = 1) -> None:
        self.sort, self.argsort, self.matmul, self.fft, self.flip = np.sort, np.argsort, np.matmul, np.fft, np.flip
        self.take, self.cumsum, self.cumprod, self.concatenate = np.take, np.cumsum, np.cumprod, np.concatenate
        self.zeros, self.arange, self.minimum, self.add = np.zeros, np.arange, np.minimum, np.add
        self.maximum, self.bitwise_or, self.multiply = Maximum(), np.bitwise_or, np.multiply
        self.waits: list[Any] = []
        self.stream = Stream(0, self.waits)
        self.limit = 1 << 26  # bytes of one allocation
        self.compiled: list[str] = []
        self.pinned: list[int] = []
        self.taken: list[Any] = []
        self._pool = Pool()
        found = {
            "name": b"Stand-in", "totalGlobalMem": 1 << 30, "multiProcessorCount": 2, "sharedMemPerBlock": 49152,
            "major": 8, "minor": 0,
        }  # fmt: skip
        runtime = SimpleNamespace(
            getDeviceCount=lambda: devices, getDeviceProperties=lambda n: found,
            runtimeGetVersion=lambda: 12000, driverGetVersion=lambda: 12000,
        )  # fmt: skip
        compiler = SimpleNamespace(compile_using_nvrtc=self._compile, CompileException=CompileException)
        self.cuda = SimpleNamespace(
            runtime=runtime, Device=Device, alloc=self._alloc, get_current_stream=lambda: self.stream,
            alloc_pinned_memory=self._alloc_pinned,
            compiler=compiler, function=SimpleNamespace(Module=type("Module", (Module,), {"host": host})),
        )  # fmt: skip

    def _compile(self, source: str, options: tuple[str, ...], *, cache_in_memory: bool) -> tuple[bytes, None]:
        if "refuse" in source:
            raise CompileException("refused")
        self.compiled.append(source)
        return source.encode(), None

    def _alloc(self, size: int) -> Pointer:
        if size > self.limit:
            raise OutOfMemoryError
        return Pointer(np.empty(size, np.uint8))

    def _alloc_pinned(self, size: int) -> Any:
        self.pinned.append(size)
        return np.empty(size, np.uint8)

    def from_dlpack(self, source: Any) -> Any:
        """Return an array over what another library exports; here it is the host's memory."""
        self.taken.append(source)
        return np.asarray(source)

    def asarray(self, source: Any) -> Any:
        """Return an array on the current device."""
        return source

    def get_default_memory_pool(self) -> Pool:
        """Return the pool."""
        return self._pool

    get_default_pinned_memory_pool = get_default_memory_pool

    def ndarray(self, shape: Any, dtype: Any, memptr: Pointer, strides: Any) -> Any:
        """Return an array over an allocation."""
        return np.ndarray(shape, dtype, memptr.memory, memptr.at, strides)


@contextlib.contextmanager
def installed(host: Host) -> Iterator[StandIn]:
    """Be the device ``cuda:0`` for the length of a block."""
    from gpuxp.backends.cupy import CudaBackend
    from gpuxp.devices import _runtimes
    from gpuxp.runtime import Runtime

    assert "cuda:0" not in _runtimes, "there is a real one"
    standin = StandIn(host)
    _runtimes["cuda:0"] = Runtime("cuda:0", CudaBackend("0", standin))
    try:
        yield standin
    finally:
        del _runtimes["cuda:0"]
