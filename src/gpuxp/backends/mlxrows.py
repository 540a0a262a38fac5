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
from . import mlxcomplex
from .mlxmath import copysign, cos, exp, signbit, sin, single
from .mlxtypes import DTYPES, SIGNED, TYPES, UNSIGNED, Fn, MxArray, literal, mx


def _logaddexp(exp: Fn, one: float, scale: float) -> Fn:
    def run(x: MxArray, y: MxArray) -> MxArray:
        more = mx.multiply(mx.log1p(exp(mx.negative(mx.abs(mx.subtract(x, y))))), scale)
        return mx.where(mx.equal(x, y), mx.add(x, one), mx.add(mx.maximum(x, y), more))

    return single(run)


def _exp2(x: MxArray) -> MxArray:
    return mx.power(mx.array(2, dtype=x.dtype), x)


def _cbrt(x: MxArray) -> MxArray:
    size = mx.abs(x)
    root = mx.power(size, 1 / 3)
    root = mx.subtract(root, mx.divide(mx.subtract(root, mx.divide(size, mx.square(root))), 3))  # one step of Newton's
    root = mx.where(mx.logical_or(mx.equal(size, 0), mx.isinf(size)), size, root)
    return copysign(root, x)


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
    return mx.where(signbit(x), mx.negative(size), size)


def _remainder(x: MxArray, y: MxArray) -> MxArray:
    found = mx.remainder(x, y)
    return mx.where(mx.equal(found, 0), copysign(found, y), found)


def _floor_divide(x: MxArray, y: MxArray) -> MxArray:
    rest = _fmod(x, y)
    down = mx.logical_and(mx.not_equal(rest, 0), mx.not_equal(mx.less(y, 0), mx.less(rest, 0)))
    exact = mx.divide(mx.subtract(x, rest), y)
    quotient = mx.where(down, mx.subtract(exact, 1), exact)
    floor = mx.floor(quotient)
    found = mx.where(mx.greater(mx.subtract(quotient, floor), 0.5), mx.add(floor, 1), floor)
    plain = mx.divide(x, y)
    found = mx.where(mx.equal(quotient, 0), copysign(mx.zeros_like(found), plain), found)
    return mx.where(mx.equal(y, 0), plain, found)


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
    found = mx.where(mx.equal(x, 0), copysign(least, y), step)
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


WIDE = {("power", "c")}  # rows that need float64

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
_row("multiply", "c", mlxcomplex.multiply)
_row("square", "c", lambda x: mlxcomplex.multiply(x, x))
_row("divide", "f")
_row("divide", "c", mlxcomplex.divide)
_row("floor_divide", "iu", _int_division(mx.floor_divide, mx.negative))
_row("floor_divide", "f", single(_floor_divide))
_row("remainder", "iu", _int_division(mx.remainder, mx.zeros_like))
_row("remainder", "f", single(_remainder))
_row("fmod", "iu", _int_division(_c_remainder, mx.zeros_like))
_row("fmod", "f", single(_fmod))
_row("power float_power", "f", mx.power)
_row("power", "c", mlxcomplex.power)
_row("power", "iu", mx.power)
_row("positive", "biufc", _SAME)
_row("conjugate", "biuf", _SAME)
_row("absolute", "if", mx.abs)
_row("absolute", "bu", _SAME)
_row("absolute", "c", mlxcomplex.absolute)
_row("fabs", "f", mx.abs)
_row("sign", "iu")
_row("sign", "f", _sign)
_row("square", "iuf")
_row("reciprocal", "f")
_row("sqrt", "f")
_row("cbrt", "f", single(_cbrt))
_row("hypot", "f", single(_hypot))
_row("copysign", "f", copysign)
_row("nextafter", "f", _nextafter)
_row("heaviside", "f", _heaviside)
_row("exp", "f", exp)
_row("exp2", "f", single(_exp2))
_row("expm1 log log2 log10 log1p tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh arctan2", "f")
_row("exp sqrt log log2 log10 log1p sin cos tan sinh cosh tanh", "c")
_row("arcsin arccos arctan arcsinh arccosh arctanh", "c")
_row("exp2", "c", mlxcomplex.exp2)
_row("rint", "c", mx.round)
_row("expm1", "c", mlxcomplex.expm1)
_row("reciprocal", "c", mlxcomplex.reciprocal)
_row("sign", "c", mlxcomplex.sign)
_row("sin", "f", sin)
_row("cos", "f", cos)
_row("logaddexp", "f", _logaddexp(exp, math.log(2), 1.0))
_row("logaddexp2", "f", _logaddexp(_exp2, 1.0, _LOG2_E))
_row("deg2rad", "f", single(lambda x: mx.multiply(x, _in_half_circles(x, 1))))
_row("rad2deg", "f", single(lambda x: mx.multiply(x, _in_half_circles(x, -1))))
_row("floor ceil trunc", "f")
_row("floor ceil trunc", "biu", _SAME)
_row("rint", "f", mx.round)
_row("isfinite isinf isnan", "biufc")
_row("signbit", "f", signbit)
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
