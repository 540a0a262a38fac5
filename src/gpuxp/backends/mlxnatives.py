"""Library calls that MLX has itself: products of matrices, and sorting."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..dtypes import DType
from ..errors import Unsupported
from .base import Native, Operand
from .mlxmemory import load, store
from .mlxtypes import TYPES, MxArray, mx


class Device(Protocol):
    """What a native needs of its device."""

    name: str
    exact_order: bool  # whether sorting keeps the order of equal elements

    def takes(self, dtype: DType) -> bool:
        """Whether the device has a dtype."""
        ...

    def queue(self) -> Any:
        """Enter a block that builds and starts operations."""
        ...

    def start(self, arrays: Sequence[MxArray]) -> None:
        """Start computing arrays."""
        ...


def _matmul(x: MxArray, y: MxArray) -> MxArray:
    return mx.matmul(x, y)


def _sort(x: MxArray, axis: int) -> MxArray:
    return mx.sort(x, axis=axis)


def _argsort(x: MxArray, axis: int, descending: bool) -> MxArray:
    if not descending:
        return mx.argsort(x, axis=axis)
    # sorting the reversed array keeps equal elements in order when read backwards
    places = mx.argsort(_flipped(x, axis), axis=axis)
    return _flipped(mx.subtract(x.shape[axis] - 1, mx.astype(places, mx.int64)), axis)


def _flipped(x: MxArray, axis: int) -> MxArray:
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def natives(device: Device) -> Mapping[str, Native]:
    """Return a device's natives by name."""
    found = {"matmul": _native(device, _matmul, "fc"), "sort": _native(device, _sort, "biuf")}
    if device.exact_order:
        found["argsort"] = _native(device, _argsort, "biuf")
    return found


def _native(device: Device, fn: Callable[..., MxArray], kinds: str) -> Native:
    """Wrap a function of MLX arrays for operands of these kinds of dtype."""

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        dtypes = {o.dtype for o in ins}
        for dtype in dtypes:
            if dtype.kind not in kinds or not device.takes(dtype):
                raise Unsupported(f"{device.name} has none for {dtype}")
        if len(dtypes) > 1:
            raise Unsupported(f"{device.name} has none for operands of two dtypes")
        if any(0 in o.shape for o in (*ins, *outs)):
            raise Unsupported("there is nothing to compute")
        with device.queue():
            operands = [mx.broadcast_to(load(o.mem, o.dtype, o.shape, o.offset, o.strides), o.shape) for o in ins]
            (out,) = outs
            result = mx.astype(fn(*operands, **parameters), TYPES[out.dtype])
            store(out.mem, out.dtype, out.shape, out.offset, out.strides, result)
            device.start([out.mem.array])

    return run
