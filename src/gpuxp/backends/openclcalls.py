"""What the natives of OpenCL devices share: programs, scratch memory, packed copies, launches."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..codegen.spelling import Dialect
from ..dtypes import DType
from ..errors import Unsupported
from ..geometry import collapse
from ..kernel import Inst, Kernel
from .base import Arg, Caps, Launch, Native, Operand
from .launching import packed_strides

THREADS = 64  # of a group where threads share nothing


class Device(Protocol):
    """What the natives need of their device."""

    name: str
    caps: Caps
    dialect: Dialect
    device: Any  # PyOpenCL's
    local_bytes: int

    @property
    def queue(self) -> Any:
        """PyOpenCL's queue."""
        ...

    def alloc(self, nbytes: int) -> Any:
        """Return memory."""
        ...

    def write(self, mem: Any, offset: int, host: np.ndarray[Any, Any]) -> None:
        """Copy to the device."""
        ...

    def read(self, mem: Any, offset: int, host: np.ndarray[Any, Any]) -> None:
        """Copy from the device."""
        ...

    def compile(self, kernel: Kernel) -> Launch:
        """Return a kernel, ready to launch."""
        ...

    def program(self, source: str) -> Any:
        """Compile source text."""
        ...

    def start(self, built: Any, groups: int, threads: int, args: Sequence[Any]) -> None:
        """Start a kernel: memory, integers (as ``long``) and NumPy scalars are its arguments."""
        ...

    def clear(self, mem: Any, offset: int, nbytes: int) -> None:
        """Fill with zeros."""
        ...


class Calls:
    """A device as natives use it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.most_threads = int(device.device.max_work_group_size)
        self.local_bytes = int(device.device.local_mem_size)
        self._built: dict[str, dict[str, Any]] = {}  # kernels by source text and name

    def start(self, source: str, entry: str, groups: int, threads: int, *args: Any) -> None:
        """Run a kernel of a source text, which is built once; the text must be one of a bounded number."""
        built = self._built.get(source)
        if built is None:
            program = self.device.program(source)
            built = self._built[source] = {k.function_name: k for k in program.all_kernels()}
        self.device.start(built[entry], groups, threads, args)

    def each(self, source: str, entry: str, count: int, *args: Any) -> None:
        """Run a kernel that does item ``get_global_id(0)`` of `count`, which it is told as its last argument."""
        threads = min(THREADS, self.most_threads)
        self.start(source, entry, -(-count // threads), threads, *args, count)

    def takes(self, *dtypes: DType) -> None:
        """Raise `Unsupported` unless the device has these dtypes."""
        for dtype in dtypes:
            if dtype not in self.device.caps.dtypes:
                raise Unsupported(f"{self.device.name} has no {dtype}")

    def temporary(self, shape: Sequence[int], dtype: DType) -> Operand:
        """Return new memory as a C-contiguous array."""
        nbytes = math.prod(shape) * dtype.itemsize
        return Operand(self.device.alloc(nbytes), 0, packed_strides(shape, dtype.itemsize), tuple(shape), dtype)

    def copy(self, source: Operand, target: Operand) -> None:
        """Copy between arrays of one shape, converting as NumPy does; an array to itself is no work."""
        if source is target or 0 in target.shape:
            return
        body: tuple[Inst, ...] = (Inst("load", (), source.dtype, 0),)
        if source.dtype != target.dtype:
            body += (Inst("cast", (0,), target.dtype),)
        kernel = Kernel((source.dtype, target.dtype), (), body, ((1, len(body) - 1),))
        shape, strides, _ = collapse(target.shape, (source.strides, target.strides), len(target.shape))
        args = [Arg(o.mem, o.offset, s) for o, s in zip((source, target), strides, strict=True)]
        self.device.compile(kernel.over(len(shape), len(shape)))(shape, args, ())

    def target(self, o: Operand) -> Operand:
        """Return where a kernel writes what `copy` brings to `o`: `o` itself if it is packed and fills its memory."""
        return o if is_packed(o) and not o.offset else self.temporary(o.shape, o.dtype)

    def packed(self, o: Operand, dtype: DType | None = None) -> Operand:
        """Return an array as a C-contiguous one of a dtype: itself, or a copy."""
        target = o.dtype if dtype is None else dtype
        if o.dtype == target and is_packed(o):
            return o
        made = self.temporary(o.shape, target)
        self.copy(o, made)
        return made


def is_aligned(o: Operand) -> bool:
    """Whether every element lies at a multiple of its size."""
    return not any(at % o.dtype.itemsize for at in (o.offset, *o.strides))


def is_packed(o: Operand) -> bool:
    """Whether an array is C-contiguous and aligned."""
    plain = packed_strides(o.shape, o.dtype.itemsize)
    same = all(n == 1 or s == p for n, s, p in zip(o.shape, o.strides, plain, strict=True))
    return same and o.offset % o.dtype.itemsize == 0


def moved_last(o: Operand, axis: int) -> Operand:
    """Return a view with one axis moved to the end."""
    order = [*(d for d in range(len(o.shape)) if d != axis), axis]
    return o._replace(shape=tuple(o.shape[d] for d in order), strides=tuple(o.strides[d] for d in order))


def chosen(template: str, places: bool) -> str:
    """Return a text with the lines that begin with @, or without them."""
    lines = template.split("\n")
    return "\n".join(line.replace("@", " ", 1) for line in lines if places or not line.startswith("@"))


def native(fn: Callable[..., None], calls: Calls) -> Native:
    """Return a function of the calls, what it reads, what it writes and its parameters as a native."""

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        calls.takes(*(o.dtype for o in (*ins, *outs)))
        if 0 not in outs[0].shape:
            fn(calls, *ins, *outs, **parameters)

    return run
