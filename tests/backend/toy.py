"""The smallest backend with memory of its own: it computes maps, and leaves reductions to the host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpuxp.backends.base import Arg, Caps, Launch, Native
from gpuxp.dtypes import SUPPORTED
from gpuxp.errors import Unsupported
from gpuxp.kernel import Inst, Kernel
from gpuxp.ops import ELEMENTWISE

Array = np.ndarray[Any, Any]


class Memory:
    """One allocation, which only `read` and `write` show to the host."""

    def __init__(self, size: int) -> None:
        self.size, self.bytes = size, np.zeros(size, np.uint8)


class ToyBackend:
    """A device whose kernels are calls of NumPy's ufuncs, one an instruction."""

    library: Mapping[str, Native] = {}
    caps = Caps(dtypes=frozenset(SUPPORTED), memory=1 << 32, description="a toy")

    def alloc(self, nbytes: int) -> Memory:
        """Return memory."""
        return Memory(nbytes)

    def write(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy a contiguous host array to the device."""
        mem.bytes[offset : offset + host.nbytes] = host.reshape(-1).view(np.uint8)

    def read(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy from the device into a contiguous host array."""
        host.reshape(-1).view(np.uint8)[...] = mem.bytes[offset : offset + host.nbytes]

    def sync(self) -> None:
        """Do nothing: a launch returns when it is done."""

    def source(self, kernel: Kernel) -> str:
        """Return the kernel itself."""
        return kernel.pretty()

    def compile(self, kernel: Kernel) -> Launch:
        """Return a launch, or say what cannot be done."""
        if kernel.reductions:
            raise Unsupported("a toy does not reduce")

        def launch(shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]) -> None:
            given = zip(kernel.params, args, strict=True)
            views = [np.ndarray(shape, dtype, a.mem.bytes, a.offset, a.strides) for dtype, a in given]
            values: list[Array] = []
            with np.errstate(all="ignore"):
                for inst in kernel.body:
                    values.append(compute(inst, shape, views, scalars, [values[a] for a in inst.args]))
            for param, value in kernel.stores:  # after all loads, which are copies: overlaps need no care
                views[param][...] = values[value]

        return launch


def compute(inst: Inst, shape: tuple[int, ...], views: list[Array], scalars: Sequence[Any], args: list[Array]) -> Array:
    """Return an instruction's values for all points of the loop."""
    out = np.empty(shape, inst.dtype)
    given = {"load": lambda: views[inst.attr], "scalar": lambda: scalars[inst.attr], "literal": lambda: inst.attr,
             "index": lambda: np.arange(out.size), "cast": lambda: args[0]}.get(inst.op)  # fmt: skip
    if given is None:
        ELEMENTWISE[inst.op].impl(*args, out=out)
    else:
        np.copyto(out, given(), casting="unsafe")
    return out
