"""Library calls that MLX has itself: products of matrices, sorting, Fourier transforms, elements by position."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from ..dtypes import FLOAT32, DType
from ..errors import Unsupported
from .base import Native, Operand
from .mlxmemory import load, store
from .mlxtypes import TYPES, MxArray, mx

_COMPLEX64 = np.dtype(np.complex64)
_PRODUCTS = 1 << 22  # that are kept at once
_WORD = np.dtype(np.uint64)


class Device(Protocol):
    """What a native needs of its device."""

    name: str
    lock: Any  # held, with the device's stream as MLX's (`inside`), while operations are built and started
    inside: Any
    exact_order: bool  # whether sorting keeps the order of equal elements, and writes to one place come in order

    def takes(self, dtype: DType) -> bool:
        """Whether the device has a dtype."""
        ...

    def start(self, arrays: Sequence[MxArray]) -> None:
        """Start computing arrays."""
        ...


def _matmul(x: MxArray, y: MxArray) -> MxArray:
    """Multiply matrices; MLX has no products of integers: those are sums of products, some rows at a time."""
    if mx.issubdtype(x.dtype, mx.inexact) and x.size and y.size:
        return mx.matmul(x, y)
    a, b = x[None] if x.ndim == 1 else x, y[:, None] if y.ndim == 1 else y
    rows = max(1, _PRODUCTS * a.shape[-2] // max(1, a.size * b.shape[-1]))
    join, pick = (mx.any, mx.logical_and) if x.dtype == mx.bool_ else (mx.sum, mx.multiply)
    parts = [
        join(pick(a[..., start : start + rows, :, None], b[..., None, :, :]), axis=-2)
        for start in range(0, a.shape[-2], rows)
    ]
    found = mx.concatenate(parts, axis=-2)
    gone = ([-2] if x.ndim == 1 else []) + ([-1] if y.ndim == 1 else [])
    return mx.squeeze(found, axis=gone) if gone else found


def _sort(x: MxArray, axis: int) -> MxArray:
    if x.dtype == mx.complex64:
        return mx.take_along_axis(x, _places(x, axis), axis=axis)
    return mx.sort(x, axis=axis)


def _places(x: MxArray, axis: int) -> MxArray:
    """Return the places of the sorted elements, in order where they are equal."""
    if x.dtype != mx.complex64:
        return mx.argsort(x, axis=axis)
    real, imaginary = mx.real(x), mx.imag(x)
    kinds = 2 * mx.isnan(real).astype(mx.int32) + mx.isnan(imaginary).astype(mx.int32)  # NumPy's first criterion
    places = mx.argsort(imaginary, axis=axis)
    for key in (real, kinds):
        order = mx.argsort(mx.take_along_axis(key, places, axis=axis), axis=axis)
        places = mx.take_along_axis(places, order, axis=axis)
    return places


def _argsort(x: MxArray, axis: int, descending: bool) -> MxArray:
    if not descending:
        return _places(x, axis)
    # sorting the reversed array keeps equal elements in order when read backwards
    places = _places(_flipped(x, axis), axis)
    return _flipped(mx.subtract(x.shape[axis] - 1, mx.astype(places, mx.int64)), axis)


def _flipped(x: MxArray, axis: int) -> MxArray:
    return x[(slice(None),) * axis + (slice(None, None, -1),)]


def _transform(name: str) -> Callable[..., MxArray]:
    """Return a Fourier transform with NumPy's norms."""
    fn, inverse = getattr(mx.fft, name), name.startswith("i")

    def run(x: MxArray, n: int, axis: int, norm: str | None) -> MxArray:
        found = fn(x, n=n, axis=axis)
        if norm in (None, "backward"):
            return found
        power = 0.5 if norm == "ortho" else 1.0
        return mx.multiply(found, float(n) ** (power if inverse else -power))

    return run


def _last_values(places: MxArray, values: MxArray, extent: int, axis: int) -> MxArray:
    """Return values such that those for one place are all the last of them: then the order of writing is no matter."""
    flat = mx.reshape(places, (-1,))
    if flat.size >= 1 << 31:  # Apple's GPUs have atomic operations on 32 bits
        raise Unsupported("its positions do not fit 32 bits")
    winner = mx.zeros((extent,), dtype=mx.int32).at[flat].maximum(mx.arange(flat.size, dtype=mx.int32))
    lines = mx.reshape(values, (*values.shape[:axis], flat.size, *values.shape[axis + places.ndim :]))
    return mx.reshape(mx.take(lines, mx.take(winner, flat, axis=0), axis=axis), values.shape)


def _put(target: MxArray, places: MxArray, values: MxArray, axis: int, unique: bool) -> MxArray:
    if not unique:
        values = _last_values(places, values, target.shape[axis], axis)
    return _put_in_order(target, places, values, axis, unique)


def _put_in_order(target: MxArray, places: MxArray, values: MxArray, axis: int, unique: bool) -> MxArray:
    made = mx.reshape(target, target.shape)  # a new array object, which the assignment changes
    made[(slice(None),) * axis + (places,)] = values
    return made


def _accumulate(x: MxArray, op: str, axis: int) -> MxArray:
    extreme = _EXTREMES.get(op)
    if x.dtype == mx.bool_:
        name = {"add": "cummax", "multiply": "cummin"}.get(op) or extreme
    else:
        name = {"add": "cumsum", "multiply": "cumprod"}.get(op) or extreme
    if name is None or (extreme and x.dtype == mx.complex64):
        raise Unsupported(f"MLX has no running {op} of {x.dtype}")
    fn = getattr(mx, name)
    if x.dtype == mx.bool_:
        return fn(x.astype(mx.uint8), axis=axis).astype(mx.bool_)
    if extreme and mx.issubdtype(x.dtype, mx.floating):  # not all of MLX's keep a NaN
        nan = mx.isnan(x)
        after = mx.cummax(nan.astype(mx.uint8), axis=axis).astype(mx.bool_)
        rest = mx.full((), -mx.inf if name == "cummax" else mx.inf, dtype=x.dtype)
        return mx.where(after, mx.full((), mx.nan, dtype=x.dtype), fn(mx.where(nan, rest, x), axis=axis))
    return fn(x, axis=axis)


_EXTREMES = {"maximum": "cummax", "minimum": "cummin"}


def natives(device: Device) -> Mapping[str, Native]:
    """Return a device's natives by name."""
    real = tuple(d for d in TYPES if d.kind != "c")
    ordered = tuple(TYPES) if device.exact_order else real
    found = {
        "matmul": _native(device, _matmul, tuple(TYPES)),
        "sort": _native(device, _sort, ordered),
        "accumulate": _native(device, _accumulate, tuple(TYPES)),
        "take": _mover(device, lambda x, places, axis: mx.take(x, places, axis=axis)),
        "put": _mover(device, _put_in_order if device.exact_order else _put),
    }
    if device.exact_order:
        found["argsort"] = _native(device, _argsort, ordered)
    for name in ("fft", "ifft", "rfft", "irfft"):  # in single precision, whatever they are given
        found[f"fft.{name}"] = _native(device, _transform(name), (FLOAT32, _COMPLEX64))
    return found


def _loaded(o: Operand) -> MxArray:
    found = load(o.mem, o.dtype, o.shape, o.offset, o.strides)
    return mx.broadcast_to(found, o.shape) if 0 in o.strides else found


def _native(device: Device, fn: Callable[..., MxArray], allowed: Iterable[DType]) -> Native:
    """Wrap a function of MLX arrays for operands of these dtypes."""
    taken = frozenset(dtype for dtype in allowed if device.takes(dtype))

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        dtype = ins[0].dtype
        for operand in ins:
            if operand.dtype not in taken:
                lacks = "none for" if device.takes(operand.dtype) else "no"
                raise Unsupported(f"{device.name} has {lacks} {operand.dtype}")
            if operand.dtype != dtype:
                raise Unsupported(f"{device.name} has none for operands of two dtypes")
        (out,) = outs
        if 0 in out.shape:
            return
        with device.lock, device.inside:
            result, kind = fn(*[_loaded(o) for o in ins], **parameters), TYPES[out.dtype]
            if result.dtype != kind:
                result = mx.astype(result, kind)
            store(out.mem, out.dtype, out.shape, out.offset, out.strides, result)
            device.start([out.mem.array])

    return run


def _mover(device: Device, fn: Callable[..., MxArray]) -> Native:
    """Wrap a function that moves elements: those of a dtype that the device lacks are moved in words."""

    def run(parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        (out,) = (in_words(device, o) for o in outs)
        if any(0 in o.shape for o in ins):  # nothing to take, nor to put
            return
        with device.lock, device.inside:
            result = fn(*[_loaded(in_words(device, o)) for o in ins], **parameters)
            store(out.mem, out.dtype, out.shape, out.offset, out.strides, result)
            device.start([out.mem.array])

    return run


def in_words(device: Device, o: Operand) -> Operand:
    """Return an operand of a dtype that the device lacks as one of words, in one more dimension."""
    if device.takes(o.dtype):
        return o
    unit = _WORD.itemsize
    return o._replace(dtype=_WORD, shape=(*o.shape, o.dtype.itemsize // unit), strides=(*o.strides, unit))
