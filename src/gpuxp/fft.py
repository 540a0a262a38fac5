"""Fourier transforms."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import dtypes
from .array import ndarray
from .convert import as_operand, asarray, host_call, library, runtime_for
from .geometry import Ghost, strides_in_order
from .manipulation import roll
from .ufunc import UFUNCS, into


def _transform(name: str, several: bool) -> Any:
    fn = getattr(np.fft, name)
    default_axes = (-2, -1) if name.endswith("2") else None

    def one(a: Any, /, n: int | None = None, axis: int = -1, norm: Any = None, out: Any = None) -> ndarray:
        x = as_operand(a, runtime_for(name, (a,)))
        found = _recorded(name, x, n, axis, norm)
        return into(host_call(f"fft.{name}", fn, x, n, axis, norm) if found is None else found, out, name)

    def many(a: Any, /, s: Any = None, axes: Any = default_axes, norm: Any = None) -> ndarray:
        if s is not None and axes is None:
            axes = tuple(range(-len(s), 0))
        x = as_operand(a, runtime_for(name, (a,)))
        found = _along_axes(name.replace("2", "n"), x, s, axes, norm)
        return host_call(f"fft.{name}", fn, x, s, axes, norm) if found is None else found

    transform = many if several else one
    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"{(fn.__doc__ or '').strip().splitlines()[0]}\n\nThe same as `numpy.fft.{name}`."
    return transform


fft, ifft, rfft, irfft, hfft, ihfft = (_transform(n, False) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = (_transform(n, True) for n in ("fftn", "ifftn", "rfftn", "irfftn"))
fft2, ifft2, rfft2, irfft2 = (_transform(n, True) for n in ("fft2", "ifft2", "rfft2", "irfft2"))


_HERMITIAN = {"hfft": "irfft", "ihfft": "rfft"}  # the same of conjugates, with the other norm
_OTHER_NORM = {None: "forward", "backward": "forward", "ortho": "ortho", "forward": "backward"}
# n-dimensional transforms: of the last axis, and of the others
_BY_AXES = {"fftn": (fft, fft), "ifftn": (ifft, ifft), "rfftn": (rfft, fft), "irfftn": (irfft, ifft)}


def _recorded(name: str, x: ndarray, n: Any, axis: Any, norm: Any) -> ndarray | None:
    """Record a transform if the device has it; what NumPy refuses is left to NumPy."""
    kind = _HERMITIAN.get(name, name)
    if f"fft.{kind}" not in x._runtime.backend.library or x.dtype == np.float16 or norm not in _OTHER_NORM:
        return None
    if type(axis) is not int or not -x.ndim <= axis < x.ndim or (kind == "rfft" and x.dtype.kind == "c"):
        return None
    axis %= x.ndim
    extent = x.shape[axis]
    length = n if n is not None else 2 * (extent - 1) if kind == "irfft" else extent
    if type(length) is not int or length < 1:
        return None
    if name == "hfft":
        return _record(kind, UFUNCS["conjugate"](x), length, axis, _OTHER_NORM[norm])
    if name == "ihfft":
        return UFUNCS["conjugate"](_record(kind, x, length, axis, _OTHER_NORM[norm]))
    return _record(kind, x, length, axis, norm)


def _record(name: str, x: ndarray, n: int, axis: int, norm: Any) -> ndarray:
    fn, keywords = getattr(np.fft, name), {"n": n, "axis": axis, "norm": norm}
    dtype = np.result_type(x.dtype, 1j)
    if name == "irfft":
        dtype = np.dtype(f"f{dtype.itemsize // 2}")
    shape = (*x.shape[:axis], n // 2 + 1 if name == "rfft" else n, *x.shape[axis + 1 :])
    strides = _kept_order(x._ghost, shape, dtype.itemsize)
    return library(f"fft.{name}", lambda v, room: fn(v, **keywords, out=room()), [x], shape, dtype, strides, **keywords)


def _kept_order(ghost: Ghost, shape: tuple[int, ...], itemsize: int) -> tuple[int, ...] | None:
    """Return the strides that `numpy.empty_like` gives an array of another shape; None means C order."""
    if ghost.flags.c_contiguous:
        return None
    axes = range(ghost.ndim)
    order = axes[::-1] if ghost.flags.f_contiguous else sorted(axes, key=lambda d: -abs(ghost.strides[d]))
    return strides_in_order(shape, order, itemsize)


def _along_axes(name: str, x: ndarray, s: Any, axes: Any, norm: Any) -> ndarray | None:
    """Return an n-dimensional transform made of 1-D ones, if the device has those and the arguments are plain."""
    if "fft.fft" not in x._runtime.backend.library:
        return None
    axes = range(x.ndim) if axes is None else axes
    lengths = [x.shape[d] if -x.ndim <= d < x.ndim else 0 for d in axes] if _integers(axes) else []
    if s is None and lengths and name == "irfftn":
        lengths[-1] = 2 * (lengths[-1] - 1)
    if s is not None:
        lengths = [m if n == -1 else n for n, m in zip(s, lengths, strict=True)] if _fits(s, lengths) else []
    if not lengths or min(lengths) < 1:
        return None
    last, other = _BY_AXES[name]
    transforms = [other] * (len(lengths) - 1) + [last]
    steps = list(zip(transforms, lengths, axes, strict=True))
    for transform, n, axis in steps if name == "irfftn" else steps[::-1]:
        x = transform(x, n, axis, norm)
    return x


def _integers(values: Any) -> bool:
    return isinstance(values, (tuple, list, range)) and all(type(v) is int for v in values)


def _fits(s: Any, lengths: list[int]) -> bool:
    return _integers(s) and len(s) == len(lengths)


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
    return _shifted(as_operand(x, runtime_for("fftshift", (x,))), axes, 1)


def ifftshift(x: Any, /, axes: Any = None) -> ndarray:
    """Undo `fftshift`."""
    return _shifted(as_operand(x, runtime_for("ifftshift", (x,))), axes, -1)


def _shifted(x: ndarray, axes: Any, sign: int) -> ndarray:
    """Move all elements by half the length of each axis."""
    places = tuple(range(x.ndim)) if axes is None else axes if np.iterable(axes) else (axes,)
    return roll(x, tuple(sign * (x.shape[d] // 2) for d in places), tuple(places))


__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip
