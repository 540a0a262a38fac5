"""Functions of complex numbers that MLX has not, or not with NumPy's meaning."""

from __future__ import annotations

import math

from .mlxmath import cos, exp, half_turns, join, sin
from .mlxtypes import MxArray, mx

Parts = tuple[MxArray, MxArray]


def divide(x: MxArray, y: MxArray) -> MxArray:
    """Divide by Smith's method, step by step as NumPy does."""
    a, b, c, d = mx.real(x), mx.imag(x), mx.real(y), mx.imag(y)
    wide = mx.greater_equal(mx.abs(c), mx.abs(d))
    most, least = mx.where(wide, c, d), mx.where(wide, d, c)
    ratio = mx.divide(least, most)
    scale = mx.divide(1, mx.add(most, mx.multiply(least, ratio)))
    first, second = mx.where(wide, a, b), mx.where(wide, b, a)
    real = mx.multiply(mx.add(first, mx.multiply(second, ratio)), scale)
    crossed = mx.where(wide, mx.subtract(b, mx.multiply(a, ratio)), mx.subtract(mx.multiply(b, ratio), a))
    imag = mx.multiply(crossed, scale)
    zero = mx.logical_and(mx.equal(c, 0), mx.equal(d, 0))
    size = mx.abs(c)
    return join(mx.where(zero, mx.divide(a, size), real), mx.where(zero, mx.divide(b, size), imag))


def multiply(x: MxArray, y: MxArray) -> MxArray:
    """Multiply part by part, where MLX treats infinities otherwise."""
    return join(*_product(_parts(x), _parts(y)))


def _parts(z: MxArray) -> Parts:
    return mx.real(z), mx.imag(z)


def _product(x: Parts, y: Parts) -> Parts:
    (a, b), (c, d) = x, y
    real = mx.subtract(mx.multiply(a, c), mx.multiply(b, d))
    return real, mx.add(mx.multiply(a, d), mx.multiply(b, c))


def reciprocal(z: MxArray) -> MxArray:
    """Return ``1 / z`` as NumPy does."""
    a, b = mx.real(z), mx.imag(z)
    wide = mx.less_equal(mx.abs(b), mx.abs(a))
    ratio = mx.where(wide, mx.divide(b, a), mx.divide(a, b))
    whole = mx.where(wide, mx.add(a, mx.multiply(b, ratio)), mx.add(mx.multiply(a, ratio), b))
    real, imag = mx.divide(mx.where(wide, 1, ratio), whole), mx.divide(mx.where(wide, ratio, 1), whole)
    return join(real, mx.negative(imag))


def sign(z: MxArray) -> MxArray:
    """Return ``z / abs(z)``, at infinity along an axis."""
    a, b, size = mx.real(z), mx.imag(z), absolute(z)
    endless = mx.isinf(size)
    parts = [mx.where(endless, mx.where(mx.isinf(p), mx.sign(p), 0), mx.divide(p, size)) for p in (a, b)]
    lost = mx.logical_or(mx.isnan(size), mx.logical_and(mx.isinf(a), mx.isinf(b)))
    return join(*(mx.where(lost, math.nan, mx.where(mx.equal(size, 0), 0, p)) for p in parts))


def exp2(z: MxArray) -> MxArray:
    """Return two to a power."""
    return mx.exp(join(*(mx.multiply(part(z), math.log(2)) for part in (mx.real, mx.imag))))


def expm1(z: MxArray) -> MxArray:
    """Return ``expm1(x) cos(y) - 2 sin(y / 2)**2`` and ``exp(x) sin(y)``, with the standard's special cases."""
    x, y = mx.real(z), mx.imag(z)
    mid = sin(mx.multiply(y, 0.5))
    real = mx.subtract(mx.multiply(mx.expm1(x), cos(y)), mx.multiply(2, mx.square(mid)))
    imag = mx.multiply(exp(x), sin(y))
    wild = mx.logical_not(mx.isfinite(y))
    low, high = mx.logical_and(wild, mx.equal(x, -math.inf)), mx.logical_and(wild, mx.equal(x, math.inf))
    real = mx.where(mx.equal(y, 0), mx.expm1(x), mx.where(low, -1, mx.where(high, math.inf, real)))
    imag = mx.where(low, 0, imag)
    return join(real, mx.where(mx.equal(y, 0), y, imag))


def absolute(x: MxArray) -> MxArray:
    """Return the size, infinite where a part is."""
    return mx.where(mx.logical_or(mx.isinf(mx.real(x)), mx.isinf(mx.imag(x))), math.inf, mx.abs(x))


# Powers


def power(x: MxArray, y: MxArray) -> MxArray:
    """Raise to a power by NumPy's rules: whole exponents below 100 by multiplication, others by a logarithm."""
    exponent = mx.real(y)
    whole = mx.logical_and(mx.less(mx.abs(exponent), 100), mx.equal(mx.floor(exponent), y))
    if mx.all(whole).item():
        found = _whole_power(x, exponent)
    elif mx.any(whole).item():
        found = mx.where(whole, _whole_power(x, mx.where(whole, exponent, 0)), _real_power(x, y))
    else:
        found = _real_power(x, y)
    zero = mx.where(mx.greater(exponent, 0), 0, complex(math.nan, math.nan))
    return mx.where(mx.logical_and(mx.equal(x, 0), mx.not_equal(y, 0)), zero, found)


def _whole_power(x: MxArray, exponents: MxArray) -> MxArray:
    """Multiply in NumPy's order, which takes an exponent's bits from the last one on; one exponent needs no choices."""
    signed = mx.astype(exponents, mx.int32) if exponents.size > 1 else int(exponents.item())
    times, most = abs(signed), int(mx.max(mx.abs(exponents)).item())
    one = mx.array(1.0), mx.array(0.0)
    found, base = one, _parts(x)
    square = _product(base, base)
    small = (1, base), (2, square), (3, _product(base, square))  # which are better at infinities
    for bit in range(most.bit_length()):
        base = _product(base, base) if bit else base
        found = _pick(times & 1 << bit != 0, _product(found, base), found)
    for n, parts in small:
        found = _pick(signed == n, parts, found)
    whole = join(*found)
    return join(*_pick(signed < 0, _parts(divide(join(*one), whole)), _parts(whole)))


def _pick(choice: MxArray | bool, x: Parts, y: Parts) -> Parts:
    if isinstance(choice, bool):
        return x if choice else y
    return mx.where(choice, x[0], y[0]), mx.where(choice, x[1], y[1])


def _real_power(x: MxArray, y: MxArray) -> MxArray:
    """Return ``exp(y * log(x))`` in double precision, so that large exponents lose no digits."""
    a, b, c, d = (mx.astype(part(z), mx.float64) for z in (x, y) for part in (mx.real, mx.imag))
    size, angle = mx.multiply(mx.log(mx.add(mx.square(a), mx.square(b))), 0.5), mx.arctan2(b, a)
    turn = mx.add(mx.multiply(angle, c), mx.multiply(size, d))
    scale = exp(mx.clip(mx.subtract(mx.multiply(size, c), mx.multiply(angle, d)), -600, 600))
    tangent, positive = half_turns(turn)
    cosine = mx.divide(mx.where(positive, 1, -1), mx.sqrt(mx.add(mx.square(tangent), 1)))
    parts = (mx.multiply(scale, cosine), mx.multiply(scale, mx.multiply(tangent, cosine)))
    finite = mx.logical_and(mx.isfinite(x), mx.isfinite(y))
    return mx.where(finite, join(*(mx.astype(p, mx.float32) for p in parts)), mx.power(x, y))
