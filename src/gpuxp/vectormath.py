"""Functions that NumPy computes one element at a time, written as exact steps that vectorise.

Each is a sequence of IEEE operations without branches. NumPy's ufuncs can run it step by step, and LLVM can compile it
to a loop: the bits are the same, because every step is exact or correctly rounded. At most 1 ulp from the true value.

The sequences follow fdlibm (Sun Microsystems, 1993): `e_rem_pio2.c`, `k_sin.c`, `k_cos.c`, with the reduction of Cody
and Waite (Software Manual for the Elementary Functions, 1980) always carried to its last part, and with the errors of
its subtractions kept (Knuth's two-sum, The Art of Computer Programming 2, 4.2.2).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from .config import config
from .dtypes import FLOAT64, resolve

Array = np.ndarray[Any, Any]

LIMIT = 5e5  # beyond, the reduction's products are not exact any more: NumPy's own loop takes over

_TWO_OVER_PI = 6.36619772367581382433e-01
# pi/2 in parts of 33 bits, so that products with numbers of up to 20 bits are exact, and what is left
_PARTS = (1.57079632673412561417e00, 6.07710050630396597660e-11, 2.02226624871116645580e-21)
_REST = 8.47842766036889956997e-32
_SINE = (1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
         -1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)  # fmt: skip
_COSINE = (-1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
           2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02)  # fmt: skip


class _Steps:
    """Infix operations on the values of a builder."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.b, self.v = builder, value

    def of(self, name: str, *others: Any) -> _Steps:
        """Apply a row of the table; numbers become constants."""
        plain = [o.v if isinstance(o, _Steps) else self.b.literal(o, self.v) for o in others]
        return _Steps(self.b, self.b.op(name, self.v, *plain))

    def __add__(self, other: Any) -> _Steps:
        return self.of("add", other)

    def __sub__(self, other: Any) -> _Steps:
        return self.of("subtract", other)

    def __mul__(self, other: Any) -> _Steps:
        return self.of("multiply", other)

    def choose(self, x: _Steps, y: _Steps) -> _Steps:
        """Return x where this is true, else y."""
        return _Steps(self.b, self.b.op("select", self.v, x.v, y.v))


def _polynomial(z: _Steps, coefficients: tuple[float, ...]) -> _Steps:
    """Return a polynomial by Horner's rule, the highest coefficient first."""
    found = z * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        found = found * z + c
    return found


def _minus(a: _Steps, b: _Steps) -> tuple[_Steps, _Steps]:
    """Return a - b, rounded, and the error of that."""
    s = a - b
    back = s - a
    return s, (a - (s - back)) - (b + back)


def _reduced(x: _Steps) -> tuple[_Steps, _Steps, _Steps]:
    """Return n, and x - n pi/2 as a sum of two numbers, the first at most pi/4."""
    n = (x * _TWO_OVER_PI).of("rint")
    r = x - n * _PARTS[0]
    r, e1 = _minus(r, n * _PARTS[1])
    r, e2 = _minus(r, n * _PARTS[2])
    rest = (e1 + e2) - n * _REST
    y = r + rest
    return n, y, (r - y) + rest


def _kernels(y: _Steps, low: _Steps) -> tuple[_Steps, _Steps]:
    """Return sine and cosine of ``y + low``."""
    z = y * y
    v = z * y
    inner = _polynomial(z, _SINE[:-1])
    sine = y - ((z * (low * 0.5 - v * inner) - low) - v * _SINE[-1])
    half = z * 0.5
    one = _Steps(y.b, y.b.literal(1, y.v))
    w = one - half
    cosine = w + (((one - w) - half) + (z * (z * _polynomial(z, _COSINE)) - y * low))
    return sine, cosine


def _is_odd(n: _Steps) -> _Steps:
    half = n * 0.5
    return half.of("not_equal", half.of("floor"))


def sine(builder: Any, value: Any) -> Any:
    """Sine of |x| up to `LIMIT`."""
    x = _Steps(builder, value)
    n, y, low = _reduced(x)
    s, c = _kernels(y, low)
    found = _is_odd(n).choose(c, s)
    found = _is_odd((n * 0.5).of("floor")).choose(found.of("negative"), found)
    return x.of("equal", 0).choose(x, found).v  # keeps the sign of zero


def cosine(builder: Any, value: Any) -> Any:
    """Cosine of |x| up to `LIMIT`."""
    n, y, low = _reduced(_Steps(builder, value))
    s, c = _kernels(y, low)
    found = _is_odd(n).choose(s, c)
    return _is_odd(((n + 1) * 0.5).of("floor")).choose(found.of("negative"), found).v


class Vectorised:
    """A row's function: NumPy's for most dtypes, a sequence for float64, compiled once it is used.

    Attributes
    ----------
    compiled
        A ufunc that runs the sequence in one loop; None until there is one.
    compiler
        What is told of a function that is used and not compiled; the software GPU sets it.
    """

    compiler: ClassVar[Callable[[Vectorised], None] | None] = None

    def __init__(self, ufunc: Any, sequence: Callable[[Any, Any], Any], builder: Callable[[], Any]) -> None:
        self.ufunc, self.sequence, self._builder = ufunc, sequence, builder
        self.compiled: Any = None
        self.asked = False

    def __call__(self, x: Any, out: Array | None = None) -> Any:
        """Compute the function; `out` must not overlap the operand."""
        if type(x) is not np.ndarray:
            x = np.asarray(x)
        if x.dtype.char != "d":
            if resolve(self.ufunc, (x.dtype,))[0].char != "d":
                return self.ufunc(x, out=out)
            x = x.astype(FLOAT64)  # long integers are computed in float64
        if config.tier != "interpreter":
            if self.compiled is None and not self.asked and Vectorised.compiler is not None:
                self.asked = True
                Vectorised.compiler(self)
            if self.compiled is not None:
                return self.compiled(x, out=out)
        return self._by_steps(x, out)

    def _by_steps(self, x: Array, out: Array | None) -> Any:
        with np.errstate(all="ignore"):
            found = np.asarray(self.sequence(self._builder(), x))
            far = ~(np.absolute(x) <= LIMIT)
            if far.any():
                found[far] = self.ufunc(x[far])
        if out is None:
            return found
        out[...] = found
        return out
