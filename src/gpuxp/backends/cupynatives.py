"""Library calls that CuPy has itself: products of matrices, sorting, Fourier transforms, elements by position."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from ..dtypes import STANDARD, DType
from ..errors import Unsupported
from .base import Native, Operand

CupyArray = Any
_ASSOCIATIVE = ("add", "multiply", "maximum", "minimum", "logical_and", "logical_or", "bitwise_and", "bitwise_or")


class Device(Protocol):
    """What a native needs of its device."""

    name: str
    cupy: Any  # the module

    def queue(self) -> AbstractContextManager[Any]:
        """Enter a block whose calls run on the device, after what runs there already."""
        ...


def view(cupy: Any, o: Operand) -> CupyArray:
    """Return an operand as CuPy's array over the same memory."""
    size = o.dtype.itemsize
    if any(at % size for at in (o.offset, *o.strides)):
        raise Unsupported("it is not aligned to its elements")
    return cupy.ndarray(o.shape, o.dtype, o.mem.pointer + o.offset, o.strides)


def natives(device: Device) -> Mapping[str, Native]:
    """Return a device's natives by name."""
    cupy = device.cupy
    inexact = tuple(d for d in STANDARD if d.kind in "fc")
    ordered = tuple(d for d in STANDARD if d.kind in "iuf")

    def sort(x: CupyArray, axis: int) -> CupyArray:
        return cupy.sort(x, axis=axis, kind="stable")

    def argsort(x: CupyArray, axis: int, descending: bool) -> CupyArray:
        if not descending:
            return cupy.argsort(x, axis=axis, kind="stable")
        # sorting the reversed array keeps equal elements in order when read backwards
        places = cupy.argsort(cupy.flip(x, axis), axis=axis, kind="stable")
        return cupy.flip(x.shape[axis] - 1 - places, axis)

    def take(source: CupyArray, places: CupyArray, axis: int) -> CupyArray:
        return cupy.take(source, places, axis=axis)

    def put(target: CupyArray, places: CupyArray, values: CupyArray, axis: int, unique: bool) -> None:
        if not unique:  # all values for one place become the last of them: then the order of writing is no matter
            flat = places.reshape(-1)
            winner = cupy.zeros(target.shape[axis], dtype="uint64")  # of 64 bits, CuPy has atomic operations on these
            cupy.maximum.at(winner, flat, cupy.arange(flat.size, dtype="uint64"))
            lines = values.reshape(*values.shape[:axis], flat.size, *values.shape[axis + places.ndim :])
            values = cupy.take(lines, winner[flat].astype("int64"), axis=axis).reshape(values.shape)
        target[(slice(None),) * axis + (places,)] = values

    def accumulate(x: CupyArray, op: str, axis: int) -> CupyArray:
        if op in ("add", "multiply") and x.dtype.kind != "b":
            return (cupy.cumsum if op == "add" else cupy.cumprod)(x, axis=axis, dtype=x.dtype)
        if op not in _ASSOCIATIVE:
            raise Unsupported(f"CuPy has no running {op}")
        fn, lead, reach = getattr(cupy, op), (slice(None),) * axis, 1
        while reach < x.shape[axis]:  # after each step an element holds the result of twice as many
            joint = fn(x[(*lead, slice(None, -reach))], x[(*lead, slice(reach, None))])
            x = cupy.concatenate([x[(*lead, slice(None, reach))], joint], axis=axis)
            reach *= 2
        return x

    found = {
        "take": _mover(device, take),
        "put": _mover(device, put, in_place=True),
        "accumulate": _native(device, accumulate, STANDARD),
        "matmul": _native(device, cupy.matmul, inexact),
        "sort": _native(device, sort, ordered),
        "argsort": _native(device, argsort, ordered),
    }
    for name in ("fft", "ifft", "rfft", "irfft"):
        found[f"fft.{name}"] = _native(device, getattr(cupy.fft, name), inexact)
    return found


def _native(device: Device, fn: Callable[..., CupyArray], allowed: Sequence[DType]) -> Native:
    """Wrap a function of CuPy's arrays for operands of these dtypes."""

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        dtypes = {o.dtype for o in ins}
        if not dtypes.issubset(allowed):
            raise Unsupported(f"{device.name} has none for {min(dtypes.difference(allowed), key=str)}")
        if len(dtypes) > 1:
            raise Unsupported(f"{device.name} has none for operands of two dtypes")
        if any(0 in o.shape for o in (*ins, *outs)):
            raise Unsupported("there is nothing to compute")
        with device.queue():
            operands = [view(device.cupy, o) for o in ins]
            (out,) = (view(device.cupy, o) for o in outs)
            out[...] = fn(*operands, **parameters).astype(out.dtype, copy=False)

    return run


def _mover(device: Device, fn: Callable[..., Any], in_place: bool = False) -> Native:
    """Wrap a function that moves elements, whatever they are; `in_place`: it changes its first operand."""

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        if any(0 in o.shape for o in ins):  # nothing to take, nor to put
            return
        operands, (out,) = [view(device.cupy, o) for o in ins], (view(device.cupy, o) for o in outs)
        with device.queue():
            result = fn(*operands, **parameters)
            if not in_place:
                out[...] = result

    return run
