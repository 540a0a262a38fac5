"""Kernels under the eye: runs that are checked against the plain interpreter, and listed with their times."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import fallback
from .backends.base import Arg, Backend
from .backends.reference import ReferenceBackend
from .geometry import Shape
from .kernel import Kernel


def expect(
    name: str, backend: Backend, kernel: Kernel, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]
) -> Callable[[], None]:
    """Run a kernel on copies with the plain interpreter; return a check of the real run against it."""
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


def report(name: str, kernel: Kernel, shape: Shape, args: Sequence[Arg], seconds: float) -> None:
    """Print a launch with its time and the bytes it moved."""
    moved = sum(math.prod(shape[i] for i, s in enumerate(a.strides) if s) * d.itemsize
                for a, d in zip(args, kernel.params, strict=True))  # fmt: skip
    ops = " ".join(i.op for i in kernel.body if i.op not in ("load", "scalar")) or "copy"
    print(f"gpuxp {name} {shape} {seconds * 1e3:.3f} ms {moved / 1e6:.2f} MB: {ops}", file=sys.stderr)
