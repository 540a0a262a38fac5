"""The reference: kernels run by `gpuxp.kernel.execute`, slowly and plainly. For tests and for ``GPUXP_VERIFY``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dtypes import SUPPORTED
from ..kernel import Kernel, execute
from .base import Arg, Caps, Native

Array = np.ndarray[Any, Any]


class ReferenceBackend:
    """A device whose kernels are the executable meaning of the IR."""

    library: Mapping[str, Native] = {}
    caps = Caps(dtypes=frozenset(SUPPORTED), host_visible=True, survives_fork=True, description="reference interpreter")

    def alloc(self, nbytes: int) -> Array:
        """Return memory filled with a pattern, so that reading it unwritten shows."""
        return np.full(nbytes, 0xA5, np.uint8)

    def write(self, mem: Array, offset: int, host: Array) -> None:
        """Copy into the device's memory."""
        np.ndarray(host.shape, host.dtype, mem, offset)[...] = host

    def read(self, mem: Array, offset: int, host: Array) -> None:
        """Copy out of the device's memory."""
        host[...] = np.ndarray(host.shape, host.dtype, mem, offset)

    def sync(self) -> None:
        """Do nothing: a launch returns when it is done."""

    def source(self, kernel: Kernel) -> str:
        """Return the kernel itself."""
        return kernel.pretty()

    def compile(self, kernel: Kernel) -> Callable[[tuple[int, ...], Sequence[Arg], Sequence[Any]], None]:
        """Return a launch of the plain interpreter."""
        results = {r.param for r in kernel.reductions}

        def launch(shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]) -> None:
            arrays = [
                np.ndarray(shape[: kernel.kept] if p in results else shape, dtype, a.mem, a.offset, a.strides)
                for p, (dtype, a) in enumerate(zip(kernel.params, args, strict=True))
            ]
            execute(kernel, shape, arrays, scalars)

        return launch
