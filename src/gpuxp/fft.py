"""Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes
from .array import ndarray
from .convert import as_operand, asarray, host_call, library, runtime_for
from .ufunc import into


def _transform(name: str, several: bool) -> Any:
    fn = getattr(np.fft, name)
    default_axes = (-2, -1) if name.endswith("2") else None

    def one(a: Any, /, n: int | None = None, axis: int = -1, norm: Any = None, out: Any = None) -> ndarray:
        x = as_operand(a, runtime_for(name, (a,)))
        shape = _own_shape(name, x, n, axis, norm)
        if shape is not None:
            dtype = np.dtype(np.float32 if name == "irfft" else np.complex64)
            length = n or (x.shape[axis] if name == "rfft" else shape[axis])
            keywords = {"n": length, "axis": axis, "norm": norm}
            own = library(f"fft.{name}", lambda v: fn(v, **keywords), [x], shape, dtype, **keywords)
            return into(own, out, name)
        found: ndarray = host_call(f"fft.{name}", fn, x, n, axis, norm)
        return into(found, out, name)

    def many(a: Any, /, s: Any = None, axes: Any = default_axes, norm: Any = None) -> ndarray:
        if s is not None and axes is None:
            axes = tuple(range(-len(s), 0))
        found: ndarray = host_call(f"fft.{name}", fn, as_operand(a, runtime_for(name, (a,))), s, axes, norm)
        return found

    transform = many if several else one
    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"{(fn.__doc__ or '').strip().splitlines()[0]}\n\nThe same as `numpy.fft.{name}`."
    return transform


fft, ifft, rfft, irfft, hfft, ihfft = (_transform(n, False) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = (_transform(n, True) for n in ("fftn", "ifftn", "rfftn", "irfftn"))
fft2, ifft2, rfft2, irfft2 = (_transform(n, True) for n in ("fft2", "ifft2", "rfft2", "irfft2"))


def _own_shape(name: str, x: ndarray, n: int | None, axis: int, norm: Any) -> tuple[int, ...] | None:
    """Return the result's shape where the device has the transform itself; what NumPy refuses is left to NumPy."""
    if f"fft.{name}" not in x._view.buffer.runtime.backend.library or x.dtype not in _SINGLE:
        return None
    if (name == "rfft" and x.dtype.kind == "c") or norm not in (None, "backward", "ortho", "forward"):
        return None
    if type(axis) is not int or not -x.ndim <= axis < x.ndim or axis % x.ndim != x.ndim - 1:
        return None  # along another axis NumPy gives another memory layout
    extent = x.shape[-1]
    length = n if n is not None else 2 * (extent - 1) if name == "irfft" else extent
    if type(length) is not int or length < 1 or not x.size:
        return None
    return (*x.shape[:-1], length // 2 + 1 if name == "rfft" else length)


_SINGLE = (np.dtype(np.float32), np.dtype(np.complex64))


def fftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: object = None) -> ndarray:
    """Return the sample frequencies of a transform of length `n`."""
    return _frequencies(np.fft.fftfreq(n, d), dtype, device)


def rfftfreq(n: int, /, d: float = 1.0, *, dtype: Any = None, device: object = None) -> ndarray:
    """Return the sample frequencies of a real transform of length `n`."""
    return _frequencies(np.fft.rfftfreq(n, d), dtype, device)


def _frequencies(values: Any, dtype: Any, device: object) -> ndarray:
    target = dtypes.FLOAT64 if dtype is None else dtypes.check(dtype, "fftfreq")
    if target.kind != "f":
        raise ValueError(f"fftfreq: dtype must be a real floating dtype, not {target}")
    return asarray(values, target, device=device)


def fftshift(x: Any, /, axes: Any = None) -> ndarray:
    """Move the zero frequency to the middle."""
    found: ndarray = host_call("fft.fftshift", np.fft.fftshift, as_operand(x, runtime_for("fftshift", (x,))), axes)
    return found


def ifftshift(x: Any, /, axes: Any = None) -> ndarray:
    """Undo `fftshift`."""
    found: ndarray = host_call("fft.ifftshift", np.fft.ifftshift, as_operand(x, runtime_for("ifftshift", (x,))), axes)
    return found


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
