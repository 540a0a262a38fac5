"""The op table in MLX's operations, spelled out where an operation of MLX has not NumPy's meaning.

MLX computes exp, sin, cos and logaddexp of float64 in single precision, is far off for those of large float32, divides
integers by zero with a trap, shifts past the width as the machine does, and gives a zero remainder the wrong sign; none
of that may show.
"""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import DType
from ..errors import Unsupported
from ..ops import ELEMENTWISE
from .mlxtypes import DTYPES, SIGNED, TYPES, UNSIGNED, Fn, MxArray, literal, mx

# Helpers


def _signbit(x: MxArray) -> MxArray:
    return mx.less(mx.view(x, SIGNED[x.dtype.size]), 0)


def _copysign(x: MxArray, y: MxArray) -> MxArray:
    size = mx.abs(x)
    return mx.where(_signbit(y), mx.negative(size), size)


def _single(fn: Fn) -> Fn:
    """Return the function computed in float32 for operands of half precision."""

    def run(*args: MxArray) -> MxArray:
        if args[0].dtype != mx.float16:
            return fn(*args)
        return fn(*(mx.astype(a, mx.float32) for a in args)).astype(mx.float16)

    return run


def _complex(real: MxArray, imag: MxArray) -> MxArray:
    """Join the parts; arithmetic with the imaginary unit would turn infinities into NaN."""
    return mx.squeeze(mx.view(mx.stack(mx.broadcast_arrays(real, imag), axis=-1), mx.complex64), axis=-1)


# Exponentials and trigonometry


def _through_complex(fn: Fn) -> Fn:
    """Return the real part of a complex function: for complex numbers MLX calls the C library's, which is exact."""

    def run(x: MxArray) -> MxArray:
        return mx.real(fn(mx.astype(x, mx.complex64)))

    return run


def _exp(x: MxArray) -> MxArray:
    if x.dtype != mx.float64:
        return _single(_through_complex(mx.exp))(x)
    size = mx.abs(x)  # expm1 is in double precision; in two factors, for results below the smallest normal number
    near = mx.add(mx.expm1(mx.minimum(size, 700)), 1)
    far = mx.add(mx.expm1(mx.maximum(mx.subtract(size, 700), 0)), 1)
    return mx.where(mx.less(x, 0), mx.divide(mx.divide(1, near), far), mx.multiply(near, far))


def _cos_through_complex(x: MxArray) -> MxArray:
    """Return the real part of ``exp(ix)``, which takes less time than a complex cosine."""
    return mx.real(mx.exp(mx.multiply(mx.astype(x, mx.complex64), 1j)))


def _half_turns(x: MxArray) -> tuple[MxArray, MxArray]:
    """Return ``tan(x)`` and whether the cosine is positive, in double precision as `mx.tan` is."""
    whole = mx.tan(x)
    return whole, mx.equal(_signbit(whole), _signbit(mx.tan(mx.multiply(x, 0.5))))


def _sin(x: MxArray) -> MxArray:
    if x.dtype != mx.float64:
        return _single(_through_complex(mx.sin))(x)
    tangent, positive = _half_turns(x)
    size = mx.divide(tangent, mx.sqrt(mx.add(mx.square(tangent), 1)))
    return mx.where(positive, size, mx.negative(size))


def _cos(x: MxArray) -> MxArray:
    if x.dtype != mx.float64:
        return _single(_cos_through_complex)(x)
    tangent, positive = _half_turns(x)
    size = mx.divide(1, mx.sqrt(mx.add(mx.square(tangent), 1)))
    return mx.where(positive, size, mx.negative(size))


def _logaddexp(exp: Fn, one: float, scale: float) -> Fn:
    def run(x: MxArray, y: MxArray) -> MxArray:
        more = mx.multiply(mx.log1p(exp(mx.negative(mx.abs(mx.subtract(x, y))))), scale)
        return mx.where(mx.equal(x, y), mx.add(x, one), mx.add(mx.maximum(x, y), more))

    return _single(run)


def _exp2(x: MxArray) -> MxArray:
    return mx.power(mx.array(2, dtype=x.dtype), x)


def _cbrt(x: MxArray) -> MxArray:
    size = mx.abs(x)
    root = mx.power(size, 1 / 3)
    root = mx.subtract(root, mx.divide(mx.subtract(root, mx.divide(size, mx.square(root))), 3))  # one step of Newton's
    root = mx.where(mx.logical_or(mx.equal(size, 0), mx.isinf(size)), size, root)
    return _copysign(root, x)


def _hypot(x: MxArray, y: MxArray) -> MxArray:
    a, b = mx.abs(x), mx.abs(y)
    most = mx.maximum(a, b)
    ratio = mx.divide(mx.minimum(a, b), most)
    size = mx.where(mx.equal(most, 0), most, mx.multiply(most, mx.sqrt(mx.add(mx.square(ratio), 1))))
    return mx.where(mx.logical_or(mx.isinf(a), mx.isinf(b)), math.inf, size)


# Division


def _int_division(fn: Fn, by_minus_one: Fn) -> Fn:
    """Divide integers where the machine can; by zero NumPy gives zero."""

    def run(x: MxArray, y: MxArray) -> MxArray:
        zero = mx.equal(y, 0)
        if mx.issubdtype(y.dtype, mx.unsignedinteger):
            return mx.where(zero, 0, fn(x, mx.where(zero, 1, y)))
        minus = mx.equal(y, -1)
        found = fn(x, mx.where(mx.logical_or(zero, minus), 1, y))
        return mx.where(zero, 0, mx.where(minus, by_minus_one(x), found))

    return run


def _c_remainder(x: MxArray, y: MxArray) -> MxArray:
    """Return the remainder with the dividend's sign."""
    found = mx.remainder(x, y)
    if mx.issubdtype(x.dtype, mx.unsignedinteger):
        return found
    other = mx.logical_and(mx.not_equal(found, 0), mx.not_equal(mx.less(x, 0), mx.less(y, 0)))
    return mx.where(other, mx.subtract(found, y), found)


def _fmod(x: MxArray, y: MxArray) -> MxArray:
    size = mx.remainder(mx.abs(x), mx.abs(y))
    return mx.where(_signbit(x), mx.negative(size), size)


def _remainder(x: MxArray, y: MxArray) -> MxArray:
    found = mx.remainder(x, y)
    return mx.where(mx.equal(found, 0), _copysign(found, y), found)


def _floor_divide(x: MxArray, y: MxArray) -> MxArray:
    rest = _fmod(x, y)
    down = mx.logical_and(mx.not_equal(rest, 0), mx.not_equal(mx.less(y, 0), mx.less(rest, 0)))
    exact = mx.divide(mx.subtract(x, rest), y)
    quotient = mx.where(down, mx.subtract(exact, 1), exact)
    floor = mx.floor(quotient)
    found = mx.where(mx.greater(mx.subtract(quotient, floor), 0.5), mx.add(floor, 1), floor)
    plain = mx.divide(x, y)
    found = mx.where(mx.equal(quotient, 0), _copysign(mx.zeros_like(found), plain), found)
    return mx.where(mx.equal(y, 0), plain, found)


def _complex_divide(x: MxArray, y: MxArray) -> MxArray:
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
    return _complex(mx.where(zero, mx.divide(a, size), real), mx.where(zero, mx.divide(b, size), imag))


def _complex_multiply(x: MxArray, y: MxArray) -> MxArray:
    a, b, c, d = mx.real(x), mx.imag(x), mx.real(y), mx.imag(y)
    real = mx.subtract(mx.multiply(a, c), mx.multiply(b, d))
    return _complex(real, mx.add(mx.multiply(a, d), mx.multiply(b, c)))


def _complex_reciprocal(z: MxArray) -> MxArray:
    a, b = mx.real(z), mx.imag(z)
    wide = mx.less_equal(mx.abs(b), mx.abs(a))
    ratio = mx.where(wide, mx.divide(b, a), mx.divide(a, b))
    whole = mx.where(wide, mx.add(a, mx.multiply(b, ratio)), mx.add(mx.multiply(a, ratio), b))
    real, imag = mx.divide(mx.where(wide, 1, ratio), whole), mx.divide(mx.where(wide, ratio, 1), whole)
    return _complex(real, mx.negative(imag))


def _complex_sign(z: MxArray) -> MxArray:
    a, b, size = mx.real(z), mx.imag(z), _complex_absolute(z)
    endless = mx.isinf(size)
    parts = [mx.where(endless, mx.where(mx.isinf(p), mx.sign(p), 0), mx.divide(p, size)) for p in (a, b)]
    lost = mx.logical_or(mx.isnan(size), mx.logical_and(mx.isinf(a), mx.isinf(b)))
    return _complex(*(mx.where(lost, math.nan, mx.where(mx.equal(size, 0), 0, p)) for p in parts))


def _complex_exp2(z: MxArray) -> MxArray:
    return mx.exp(_complex(*(mx.multiply(part(z), math.log(2)) for part in (mx.real, mx.imag))))


def _complex_expm1(z: MxArray) -> MxArray:
    """``expm1(x) cos(y) - 2 sin(y / 2)**2`` and ``exp(x) sin(y)``, with the standard's special cases."""
    x, y = mx.real(z), mx.imag(z)
    mid = _sin(mx.multiply(y, 0.5))
    real = mx.subtract(mx.multiply(mx.expm1(x), _cos(y)), mx.multiply(2, mx.square(mid)))
    imag = mx.multiply(_exp(x), _sin(y))
    wild = mx.logical_not(mx.isfinite(y))
    low, high = mx.logical_and(wild, mx.equal(x, -math.inf)), mx.logical_and(wild, mx.equal(x, math.inf))
    real = mx.where(mx.equal(y, 0), mx.expm1(x), mx.where(low, -1, mx.where(high, math.inf, real)))
    imag = mx.where(low, 0, imag)
    return _complex(real, mx.where(mx.equal(y, 0), y, imag))


def _complex_absolute(x: MxArray) -> MxArray:
    return mx.where(mx.logical_or(mx.isinf(mx.real(x)), mx.isinf(mx.imag(x))), math.inf, mx.abs(x))


# Bits, signs and steps


def _left_shift(x: MxArray, y: MxArray) -> MxArray:
    far = mx.greater_equal(mx.view(y, UNSIGNED[y.dtype.size]), 8 * x.dtype.size)
    return mx.where(far, 0, mx.left_shift(x, mx.where(far, 0, y)))


def _right_shift(x: MxArray, y: MxArray) -> MxArray:
    far = mx.greater_equal(mx.view(y, UNSIGNED[y.dtype.size]), 8 * x.dtype.size)
    rest = 0 if mx.issubdtype(x.dtype, mx.unsignedinteger) else mx.where(mx.less(x, 0), -1, mx.zeros_like(x))
    return mx.where(far, rest, mx.right_shift(x, mx.where(far, 0, y)))


def _bitwise_count(x: MxArray) -> MxArray:
    size = x if mx.issubdtype(x.dtype, mx.unsignedinteger) else mx.view(mx.abs(x), UNSIGNED[x.dtype.size])
    v = mx.astype(size, mx.uint64)
    pairs, fours, bytes_, ones = (literal(int(p * 8, 16), np.dtype(np.uint64)) for p in ("55", "33", "0f", "01"))
    v = mx.subtract(v, mx.bitwise_and(mx.right_shift(v, 1), pairs))
    v = mx.add(mx.bitwise_and(v, fours), mx.bitwise_and(mx.right_shift(v, 2), fours))
    v = mx.bitwise_and(mx.add(v, mx.right_shift(v, 4)), bytes_)
    return mx.right_shift(mx.multiply(v, ones), 56).astype(mx.uint8)


def _nextafter(x: MxArray, y: MxArray) -> MxArray:
    line = mx.view(x, SIGNED[x.dtype.size])
    away = mx.equal(mx.greater(y, x), mx.greater(x, 0))
    step = mx.view(mx.where(away, mx.add(line, 1), mx.subtract(line, 1)), x.dtype)
    least = mx.view(mx.array(1, dtype=line.dtype), x.dtype)
    found = mx.where(mx.equal(x, 0), _copysign(least, y), step)
    found = mx.where(mx.equal(x, y), x if x.dtype == mx.float16 else y, found)  # which zero: NumPy's own two ways
    return mx.where(mx.logical_or(mx.isnan(x), mx.isnan(y)), mx.add(x, y), found)


def _heaviside(x: MxArray, y: MxArray) -> MxArray:
    side = mx.where(mx.less(x, 0), mx.zeros_like(x), mx.ones_like(x))
    return mx.where(mx.isnan(x), x, mx.where(mx.equal(x, 0), y, side))


def _sign(x: MxArray) -> MxArray:
    return mx.where(mx.isnan(x), x, mx.sign(x))


def _in_half_circles(x: MxArray, sign: int) -> MxArray:
    """Return pi / 180 or 180 / pi, rounded as NumPy rounds it."""
    dtype = DTYPES[x.dtype]
    pi, half = dtype.type(math.pi), dtype.type(180)
    return literal(pi / half if sign > 0 else half / pi, dtype)


_SAME: Fn = lambda x: x  # noqa: E731
_LOG2_E = 1 / math.log(2)
_ROWS: dict[tuple[str, str], Fn] = {}


def _row(names: str, kinds: str, fn: Fn | None = None) -> None:
    """Spell rows for operands of these kinds of dtype; without a function, by MLX's own of the same name."""
    for name in names.split():
        for kind in kinds:
            _ROWS[name, kind] = fn or getattr(mx, name)


_row("add subtract multiply negative", "iuf")
_row("add subtract negative conjugate", "c")
_row("add", "b", mx.logical_or)
_row("multiply", "b", mx.logical_and)
_row("multiply", "c", _complex_multiply)
_row("square", "c", lambda x: _complex_multiply(x, x))
_row("divide", "f")
_row("divide", "c", _complex_divide)
_row("floor_divide", "iu", _int_division(mx.floor_divide, mx.negative))
_row("floor_divide", "f", _single(_floor_divide))
_row("remainder", "iu", _int_division(mx.remainder, mx.zeros_like))
_row("remainder", "f", _single(_remainder))
_row("fmod", "iu", _int_division(_c_remainder, mx.zeros_like))
_row("fmod", "f", _single(_fmod))
_row("power float_power", "f", mx.power)
_row("power", "iu", mx.power)
_row("positive", "biufc", _SAME)
_row("conjugate", "biuf", _SAME)
_row("absolute", "if", mx.abs)
_row("absolute", "bu", _SAME)
_row("absolute", "c", _complex_absolute)
_row("fabs", "f", mx.abs)
_row("sign", "iu")
_row("sign", "f", _sign)
_row("square", "iuf")
_row("reciprocal", "f")
_row("sqrt", "f")
_row("cbrt", "f", _single(_cbrt))
_row("hypot", "f", _single(_hypot))
_row("copysign", "f", _copysign)
_row("nextafter", "f", _nextafter)
_row("heaviside", "f", _heaviside)
_row("exp", "f", _exp)
_row("exp2", "f", _single(_exp2))
_row("expm1 log log2 log10 log1p tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh arctan2", "f")
_row("exp sqrt log log2 log10 log1p sin cos tan sinh cosh tanh", "c")
_row("arcsin arccos arctan arcsinh arccosh arctanh", "c")
_row("exp2", "c", _complex_exp2)
_row("rint", "c", mx.round)
_row("expm1", "c", _complex_expm1)
_row("reciprocal", "c", _complex_reciprocal)
_row("sign", "c", _complex_sign)
_row("sin", "f", _sin)
_row("cos", "f", _cos)
_row("logaddexp", "f", _logaddexp(_exp, math.log(2), 1.0))
_row("logaddexp2", "f", _logaddexp(_exp2, 1.0, _LOG2_E))
_row("deg2rad", "f", _single(lambda x: mx.multiply(x, _in_half_circles(x, 1))))
_row("rad2deg", "f", _single(lambda x: mx.multiply(x, _in_half_circles(x, -1))))
_row("floor ceil trunc", "f")
_row("floor ceil trunc", "biu", _SAME)
_row("rint", "f", mx.round)
_row("isfinite isinf isnan", "biufc")
_row("signbit", "f", _signbit)
_row("equal not_equal", "biufc")
_row("less less_equal greater greater_equal", "biuf")
_row("logical_and logical_or logical_xor logical_not", "biufc")
_row("bitwise_and bitwise_or bitwise_xor", "biu")
_row("invert", "biu", mx.bitwise_invert)
_row("left_shift", "iu", _left_shift)
_row("right_shift", "iu", _right_shift)
_row("bitwise_count", "iu", _bitwise_count)
_row("maximum minimum", "biuf")
_row("fmax", "biu", mx.maximum)
_row("fmin", "biu", mx.minimum)
_row("select", "b", mx.where)

# What MLX does in one operation that its compiler can join with others
DIRECT = frozenset(
    "add subtract multiply negative divide absolute fabs square reciprocal sqrt positive floor ceil trunc "
    "isfinite isinf isnan equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor "
    "logical_not bitwise_and bitwise_or bitwise_xor invert maximum minimum select expm1 log log2 log10 log1p tan "
    "arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh arctan2 cast literal scalar load".split()
)


def spell(name: str, operands: tuple[DType, ...]) -> Fn:
    """Return a row as a function of MLX arrays of these dtypes, or raise `Unsupported`."""
    first = operands[0]
    for dtype in operands:
        if dtype not in TYPES:
            raise Unsupported(f"MLX has no {dtype}")
    if {d.kind for d in operands} == {"i", "u"}:
        return _compare_signs(name, operands)
    fn = _ROWS.get((name, first.kind))
    if fn is None:
        raise Unsupported(f"{name} of {first} has no spelling in MLX")
    return fn


def _compare_signs(name: str, operands: tuple[DType, ...]) -> Fn:
    """Compare a signed with an unsigned integer by value, where MLX would convert both to floats."""
    if name not in ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"):
        raise Unsupported(f"{name} of {operands[0]} and {operands[1]} has no spelling in MLX")
    fn, signed = getattr(mx, name), 0 if operands[0].kind == "i" else 1
    below = bool(ELEMENTWISE[name].ufunc(*((-1, 0) if signed == 0 else (0, -1))))

    def run(x: MxArray, y: MxArray) -> MxArray:
        negative = mx.less((x, y)[signed], 0)
        found = fn(*(mx.astype(v, mx.uint64) for v in (x, y)))
        return mx.logical_or(negative, found) if below else mx.logical_and(mx.logical_not(negative), found)

    return run
