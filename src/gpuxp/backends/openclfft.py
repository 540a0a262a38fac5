"""Fourier transforms on OpenCL devices: of any size, real and complex, single and double."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from ..dtypes import DType
from ..errors import Unsupported
from .base import Operand
from .openclcalls import Calls
from .openclfftcode import COLUMNS, source

_CACHED = 1 << 26  # bytes of tables that a device keeps
_SIDE = 16  # columns that a group does side by side, which are neighbours in memory
_THREADS = 128
_MOST = 4096  # values of a group on a CPU

Array = np.ndarray[Any, Any]


class Transforms:
    """The transforms of one device, with the tables that they have used lately."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self._tables: OrderedDict[tuple[str, int, DType], Any] = OrderedDict()
        self._held = 0

    def table(self, name: str, make: Callable[[int], Array], n: int, dtype: DType) -> Any:
        """Return a table of a size on the device, in a dtype."""
        key = (name, n, dtype)
        if key not in self._tables:
            values = make(n).astype(dtype)
            self._tables[key] = mem = self.calls.device.alloc(values.nbytes)
            self.calls.device.write(mem, 0, values.view(np.uint8))
            self._held += values.nbytes
            while self._held > _CACHED and len(self._tables) > 3:  # those that one transform needs stay
                self._held -= self._tables.popitem(last=False)[1].size
        self._tables.move_to_end(key)
        return self._tables[key]

    def run(self, x: Operand, out: Operand, axis: int, inverse: bool, scale: float) -> None:
        """Transform packed complex values along an axis into `out`, which begins its memory."""
        n, inner = x.shape[axis], math.prod(x.shape[axis + 1 :])
        if _smooth(n):
            self._stockham(x, out, axis, 3 * inverse, scale)
            return
        calls, dtype = self.calls, x.dtype
        m = _next_smooth(2 * n - 1)
        chirp, spectrum = (self.table(f.__name__, f, n, dtype) for f in (_chirp, _spectrum))
        wide, other = (calls.temporary((*x.shape[:axis], m, inner), dtype) for _ in range(2))
        text, offset, count = self._source(dtype)[0], x.offset // dtype.itemsize, math.prod(wide.shape)
        calls.each(text, "chirp_in", count, x.mem, wide.mem, chirp, offset, n, inner, m, int(inverse))
        self._stockham(wide, other, axis, 0, 1.0)
        calls.each(text, "convolve", count, other.mem, spectrum, inner, m)
        self._stockham(other, wide, axis, 3, 1.0)  # the spectrum has the scale of this one
        factor, count = _part(dtype).type(scale), math.prod(out.shape)
        calls.each(text, "chirp_out", count, wide.mem, out.mem, chirp, n, inner, m, int(inverse), factor)

    def _source(self, dtype: DType) -> tuple[str, int, int]:
        """Return the kernels for a dtype, the values that a group takes, and its threads."""
        calls, part = self.calls, _part(dtype)
        group = calls.device.dialect.group
        room = 1 << ((calls.device.local_bytes - 24 * COLUMNS) // (4 * part.itemsize)).bit_length() - 1
        most, threads = min(room, _MOST), min(_THREADS, calls.most_threads) if group else 1
        if most < 8 * _SIDE:
            raise Unsupported(f"{calls.device.name} has too little local memory")
        names = calls.device.dialect
        return source(names.types[part.name], most, threads, names.names["vectorize"]), most, threads

    def _stockham(self, x: Operand, out: Operand, axis: int, swaps: int, scale: float) -> None:
        """Transform packed values of a size without prime factors above 7; `swaps` of 3 makes it the inverse.

        With real and imaginary parts exchanged before and after, the transform is its own inverse.
        """
        n, dtype = x.shape[axis], x.dtype
        text, most, threads = self._source(dtype)
        roots = self.table("roots", _roots, n, dtype)
        sizes = _sizes(n, most if threads > 1 else most // _SIDE, most // _SIDE)
        ends = [out.mem, self.calls.temporary(x.shape, dtype).mem] if len(sizes) > 1 else [out.mem]
        mem, offset, done = x.mem, x.offset // dtype.itemsize, 1
        inner, count = math.prod(x.shape[axis + 1 :]), math.prod(x.shape)
        for place, size in enumerate(sizes):
            left = len(sizes) - 1 - place
            columns = count // size
            shift = max(1, min(_SIDE, most // size)).bit_length() - 1
            mine = (swaps & 1) * (place == 0) | (swaps & 2) * (left == 0)
            target = ends[left % 2]
            self.calls.start(
                text, "pass", -(-columns // (1 << shift)), threads, mem, target, roots, offset, n, inner, columns, done,
                size, shift, _radices(size), mine, _part(dtype).type(1.0 if left else scale),
            )  # fmt: skip
            mem, offset, done = target, 0, done * size

    # The calls

    def complex(self, x: Operand, out: Operand, n: int, axis: int, norm: str | None, inverse: bool) -> None:
        """Transform complex or real values."""
        x, target, axis = _in_order(x, out, axis)
        made = self.calls.target(target)
        self.run(self._resized(x, n, axis, out.dtype), made, axis, inverse, _scale(n, norm, inverse))
        self.calls.copy(made, target)

    def from_real(self, x: Operand, out: Operand, n: int, axis: int, norm: str | None) -> None:
        """Transform real values; the second half of the result would mirror the first."""
        x, target, axis = _in_order(x, out, axis)
        filled = self._resized(x, n, axis, out.dtype)
        whole = self.calls.temporary(filled.shape, filled.dtype)
        self.run(filled, whole, axis, False, _scale(n, norm, False))
        self.calls.copy(whole._replace(shape=target.shape), target)

    def to_real(self, x: Operand, out: Operand, n: int, axis: int, norm: str | None) -> None:
        """Transform half of a spectrum back to real values."""
        x, target, axis = _in_order(x, out, axis)
        calls, dtype = self.calls, np.dtype(f"c{2 * out.dtype.itemsize}")
        extent, inner = min(x.shape[axis], n // 2 + 1), math.prod(x.shape[axis + 1 :])
        half = calls.packed(_with_extent(x, axis, extent), dtype)
        spectrum, whole = (calls.temporary(target.shape, dtype) for _ in range(2))
        offset, count = half.offset // dtype.itemsize, math.prod(target.shape)
        calls.each(self._source(dtype)[0], "mirror", count, half.mem, spectrum.mem, offset, extent, n, inner)
        self.run(spectrum, whole, axis, True, _scale(n, norm, True))
        calls.copy(whole._replace(dtype=out.dtype), target)

    def _resized(self, x: Operand, n: int, axis: int, dtype: DType) -> Operand:
        """Return packed complex values, `n` of them along an axis: cut, or filled up with zeros."""
        extent = min(x.shape[axis], n)
        x = _with_extent(x, axis, extent)
        if extent == n:
            return self.calls.packed(x, dtype)
        made = self.calls.temporary(_with_extent(x, axis, n).shape, dtype)
        self.calls.device.clear(made.mem, 0, math.prod(made.shape) * dtype.itemsize)
        self.calls.copy(x, made._replace(shape=x.shape))
        return made


def _with_extent(o: Operand, axis: int, extent: int) -> Operand:
    return o._replace(shape=(*o.shape[:axis], extent, *o.shape[axis + 1 :]))


def _in_order(x: Operand, out: Operand, axis: int) -> tuple[Operand, Operand, int]:
    """Return operands with their axes in the result's order of memory, and where the axis is then."""
    order = sorted(range(len(out.shape)), key=lambda d: -abs(out.strides[d]))
    x, out = (
        o._replace(shape=tuple(o.shape[d] for d in order), strides=tuple(o.strides[d] for d in order)) for o in (x, out)
    )
    return x, out, order.index(axis)


def _part(dtype: DType) -> DType:
    return np.dtype(f"f{dtype.itemsize // 2}")


def _scale(n: int, norm: str | None, inverse: bool) -> float:
    """Return the factor of a transform under one of NumPy's norms."""
    if norm == "ortho":
        return 1 / math.sqrt(n)
    return 1 / n if inverse == (norm != "forward") else 1.0


# Sizes


def _smooth(n: int) -> bool:
    """Whether a size has no prime factor above 7."""
    for prime in (2, 3, 5, 7):
        while n % prime == 0:
            n //= prime
    return n == 1


@lru_cache(maxsize=256)
def _next_smooth(n: int) -> int:
    return next(m for m in range(n, 2 * n + 1) if _smooth(m))


@lru_cache(maxsize=256)
def _sizes(n: int, whole: int, each: int) -> tuple[int, ...]:
    """Return what the passes transform: all `n` at once where they fit, else sizes up to `each`, nearly equal."""
    if n <= whole:
        return (n,)
    primes = [p for p in (7, 5, 3, 2) for _ in range(_power(n, p))]
    count = 2
    while True:
        sizes = [1] * count
        for prime in primes:
            sizes[sizes.index(min(sizes))] *= prime
        if max(sizes) <= each:
            return tuple(sorted(sizes, reverse=True))
        count += 1


def _power(n: int, prime: int) -> int:
    """Return how often a prime divides a number."""
    found = 0
    while n % prime == 0:
        n, found = n // prime, found + 1
    return found


@lru_cache(maxsize=256)
def _radices(size: int) -> int:
    """Return the radices of a size's stages, four bits each."""
    twos = _power(size, 2)
    found = [p for p in (7, 5, 3) for _ in range(_power(size, p))]
    found += [8] * (twos // 3) + [1 << twos % 3] * (twos % 3 > 0)
    return sum(radix << 4 * place for place, radix in enumerate(found))


# Tables, exact to the last bits of double precision


def _turn(numerator: Array, denominator: int) -> Array:
    """Return ``exp(-2 pi i numerator / denominator)`` for ``0 <= numerator < denominator``: by eighths of a turn."""
    eighth, rest = np.divmod(8 * numerator, denominator)
    odd = eighth % 2 == 1
    angle = np.where(odd, denominator - rest, rest) * (math.pi / 4 / denominator)
    c, s = np.cos(angle), np.sin(angle)
    quarter = (eighth + 1) // 2 % 4  # the angle is measured from this multiple of a quarter turn
    s = np.where(odd, -s, s)
    real = np.choose(quarter, [c, -s, -c, s])
    imaginary = np.choose(quarter, [s, c, -s, -c])
    return np.asarray(real - 1j * imaginary)


def _roots(n: int) -> Array:
    return _turn(np.arange(n), n)


def _chirp(n: int) -> Array:
    k = np.arange(n)
    return _turn(k * k % (2 * n), 2 * n)


def _spectrum(n: int) -> Array:
    """Return the transform of the chirp that Bluestein's convolution takes, divided by its length."""
    m = _next_smooth(2 * n - 1)
    wave = np.zeros(m, complex)
    wave[:n] = _chirp(n).conj()
    wave[m - n + 1 :] = wave[n - 1 : 0 : -1]
    return np.fft.fft(wave) / m


def transforms(calls: Calls) -> dict[str, Callable[..., None]]:
    """Return the natives by name."""
    found = Transforms(calls)

    def forward(_: Calls, x: Operand, out: Operand, **parameters: Any) -> None:
        found.complex(x, out, inverse=False, **parameters)

    def backward(_: Calls, x: Operand, out: Operand, **parameters: Any) -> None:
        found.complex(x, out, inverse=True, **parameters)

    def from_real(_: Calls, x: Operand, out: Operand, **parameters: Any) -> None:
        found.from_real(x, out, **parameters)

    def to_real(_: Calls, x: Operand, out: Operand, **parameters: Any) -> None:
        found.to_real(x, out, **parameters)

    return {"fft.fft": forward, "fft.ifft": backward, "fft.rfft": from_real, "fft.irfft": to_real}
