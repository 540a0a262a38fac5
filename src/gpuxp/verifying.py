"""``GPUXP_VERIFY``: every launch is repeated by the plain interpreter, on copies, and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import fallback
from .backends.base import Arg, Backend
from .backends.reference import ReferenceBackend
from .geometry import Shape
from .kernel import Kernel


def expectation(
    name: str, backend: Backend, kernel: Kernel, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]
) -> Callable[[], None]:
    """Run a kernel on copies of its memory; return a check of the real run against that."""
    hosts = {id(a.mem): fallback.to_host(backend, a.mem, fallback.size_of(a.mem)) for a in args}
    before = [a._replace(mem=hosts[id(a.mem)]) for a in args]
    ReferenceBackend().compile(kernel)(shape, before, scalars)

    def check() -> None:
        for p in kernel.outputs:
            arg, outer = args[p], shape[: kernel.kept] if p in {r.param for r in kernel.reductions} else shape
            real = fallback.to_host(backend, arg.mem, fallback.size_of(arg.mem))
            got, want = (
                np.ndarray(outer, kernel.params[p], m, arg.offset, arg.strides[: len(outer)])
                for m in (real, hosts[id(arg.mem)])
            )
            if not np.allclose(got, want, rtol=1e-6, atol=0, equal_nan=True):
                raise RuntimeError(f"GPUXP_VERIFY: {name} differs from the reference in p{p} of\n{kernel.pretty()}")

    return check
