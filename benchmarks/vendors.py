"""What programs for a device use today: its vendor's array library, and a kernel written by hand.

They get the same inputs, stay on the device, and are done when they return.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy

from .case import Case, Inputs, Work

Vendor = Callable[[str, Case, Inputs, int], Mapping[str, Work]]  # device, case, inputs, bytes that a copy is to move

# one work-item an element, as one writes it
_HAND = """kernel void hand({inputs}, global {T}* restrict out) {{
  const size_t i = get_global_id(0);
  out[i] = {expression};
}}"""
_EXPRESSIONS = {
    "chain3": "(a[i] * b[i] + c[i] - a[i] / c[i]) * b[i] - a[i]",
    "chain2": "((a[i] + b[i]) * a[i] - b[i]) * ({T})0.5 + a[i] * b[i]",
}


def _runs(work: Work) -> bool:
    """Whether the library has what the program uses."""
    try:
        work()
    except (AttributeError, TypeError, ValueError, NotImplementedError):
        return False
    return True


def _mlx(device: str, case: Case, inputs: Inputs, traffic: int) -> Mapping[str, Work]:
    import mlx.core as mx

    mx.set_default_device({"mlx:cpu": mx.cpu, "mlx:gpu": mx.gpu}[device])
    dtypes = {numpy.dtype(name): getattr(mx, name) for name in ("float32", "float64", "int32", "int64")}
    moved = {k: mx.array(v, dtype=dtypes[v.dtype]) if hasattr(v, "dtype") else v for k, v in inputs.items()}
    mx.eval(*(v for v in moved.values() if isinstance(v, mx.array)))

    def work() -> Any:
        result = case.run(mx, **moved)
        mx.eval(result)
        return result

    return {"mlx": work} if _runs(work) else {}


def _opencl(device: str, case: Case, inputs: Inputs, traffic: int) -> Mapping[str, Work]:
    import pyopencl as cl
    import pyopencl.array
    from pyopencl.tools import ImmediateAllocator, MemoryPool

    from gpuxp.devices import runtime_of

    series = case.series.removesuffix("_f32")
    if series not in _EXPRESSIONS:
        return {}
    context = cl.Context([runtime_of(device).backend.device])
    queue = cl.CommandQueue(context)
    pool = MemoryPool(ImmediateAllocator(queue))
    moved = {k: pyopencl.array.to_device(queue, v, allocator=pool) for k, v in inputs.items()}
    first = next(iter(inputs.values()))
    ctype = {"float32": "float", "float64": "double"}[first.dtype.name]
    source = _HAND.format(
        inputs=", ".join(f"global const {ctype}* restrict {name}" for name in inputs), T=ctype,
        expression=_EXPRESSIONS[series].format(T=ctype),
    )  # fmt: skip
    kernel = cl.Kernel(cl.Program(context, source).build(["-w"], cache_dir=False), "hand")

    def library() -> Any:
        result = case.run(pyopencl.array, **moved)
        queue.finish()
        return result

    def by_hand() -> Any:
        out = pyopencl.array.empty(queue, first.shape, first.dtype, allocator=pool)
        kernel(queue, first.shape, None, *(v.data for v in moved.values()), out.data)
        queue.finish()
        return out

    return {"pyopencl": library, "handwritten": by_hand}


def _cuda(device: str, case: Case, inputs: Inputs, traffic: int) -> Mapping[str, Work]:
    import cupy

    number = int(device.partition(":")[2])
    with cupy.cuda.Device(number):
        moved = {k: cupy.asarray(v) if hasattr(v, "dtype") else v for k, v in inputs.items()}
        source = cupy.ones(max(traffic // 2, 1), cupy.uint8)
        target = cupy.empty_like(source)

    def work() -> Any:
        with cupy.cuda.Device(number):
            result = case.run(cupy, **moved)
            cupy.cuda.get_current_stream().synchronize()
        return result

    def copy() -> None:
        with cupy.cuda.Device(number):
            target[...] = source
            cupy.cuda.get_current_stream().synchronize()

    found = {"cupy": work} if _runs(work) else {}
    return found | ({"copy": copy} if traffic else {})


NAMES = ("pyopencl", "handwritten", "mlx", "cupy")
VENDORS: dict[str, Vendor] = {"mlx": _mlx, "opencl": _opencl, "cuda": _cuda}


def works(device: str, case: Case, inputs: Inputs, traffic: int) -> Mapping[str, Work]:
    """Return the vendor's versions of a case on a device."""
    make = VENDORS.get(device.partition(":")[0])
    return {} if make is None or case.in_place else make(device, case, inputs, traffic)
