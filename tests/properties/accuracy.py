"""How far the devices are from NumPy, row by row of the op table: measured on random operands of the row's domain."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

import mpmath
import numpy

import gpuxp
from gpuxp.ops import ELEMENTWISE, Elementwise
from gpuxp.ufunc import PUBLIC, SPECIAL, UFUNCS

DTYPES = ("float32", "float64", "complex64", "complex128")
NAMES = sorted({function.row.name for function in PUBLIC.values()} | set(SPECIAL))


def loops(row: Elementwise) -> Iterator[Any]:
    """Yield the inexact dtypes that a row computes in."""
    for dtype in map(numpy.dtype, DTYPES):
        try:
            if row.ufunc.resolve_dtypes((dtype,) * row.nin + (None,) * row.ufunc.nout)[0] == dtype:
                yield dtype
        except TypeError:
            continue


def operands(row: Elementwise, dtype: Any, count: int) -> list[Any]:
    """Return random operands from a row's domain."""
    rng = numpy.random.default_rng(count)
    most = min(10, max(map(abs, row.domain)))
    found = []
    for _ in range(row.nin):
        x = rng.uniform(*row.domain, count)
        found.append((x + 1j * rng.uniform(-most, most, count) if dtype.kind == "c" else x).astype(dtype))
    return found


def expected(name: str, arrays: list[Any]) -> Any:
    """Return NumPy's result; SciPy's for what NumPy has not."""
    with numpy.errstate(all="ignore"):
        if name not in SPECIAL:
            return getattr(numpy, name)(*arrays)
        import scipy.special

        return getattr(scipy.special, name)(*(a.astype("float64") for a in arrays)).astype(arrays[0].dtype)


@functools.cache
def _true_power(x: complex, y: complex, below: bool) -> complex:
    """Return ``x ** y``; `below` says on which side of the cut of the logarithm a negative number is."""
    if below:
        return _true_power(x.conjugate(), y.conjugate(), below=False).conjugate()
    with mpmath.workprec(200):
        return complex(mpmath.power(mpmath.mpc(x), mpmath.mpc(y)))


def true_powers(name: str, operands: Any, want: Any) -> Any:
    """Return NumPy's result, but for powers of complex numbers that take a logarithm the true values.

    NumPy multiplies a rounded logarithm by the exponent, and loses as many digits as their product has; devices need
    not.
    """
    if name not in ("power", "float_power") or want.dtype.kind != "c":
        return want
    x, y = numpy.broadcast_arrays(*(numpy.asarray(v).astype(want.dtype).astype("complex128") for v in operands))
    whole = (y.imag == 0) & (abs(y.real) < 100) & (y.real == numpy.rint(y.real))
    logs = numpy.isfinite(x) & numpy.isfinite(y) & (x != 0) & ~whole
    found = numpy.array(want)
    given = zip(x[logs].tolist(), y[logs].tolist(), ((x.imag == 0) & numpy.signbit(x.imag))[logs], strict=True)
    with numpy.errstate(over="ignore"):
        found[logs] = [_true_power(*values) for values in given]
    return found


def near(want: Any, got: Any, ulp: float) -> Any:
    """Return which numbers are within a distance in units in the last place, of complex ones in units of their size."""
    return _apart(want, got) <= ulp


def _apart(want: Any, got: Any) -> Any:
    same = want == got
    if want.dtype.kind == "f":
        same |= numpy.isnan(want) & numpy.isnan(got)
    else:  # where it is not finite: neither is the same part
        ends = [numpy.where(numpy.isfinite(part), 0, part) for v in (want, got) for part in (v.real, v.imag)]
        alike = [(a == b) | (numpy.isnan(a) & numpy.isnan(b)) for a, b in zip(ends[:2], ends[2:], strict=True)]
        same |= alike[0] & alike[1] & ~numpy.isfinite(want)
    with numpy.errstate(all="ignore"):
        unit = 2 * numpy.spacing(numpy.abs(want / 2)).astype("float64")  # the size of a complex number may overflow
        apart = numpy.abs(want.astype("complex128") - got) / unit
    return numpy.where(same, 0, numpy.where(numpy.isfinite(apart), apart, numpy.inf))


def distance(want: Any, got: Any, other: Any = None) -> float:
    """Return the largest distance in units in the last place, from another result where that is nearer."""
    if want.dtype.kind not in "fc":
        return 0.0 if numpy.array_equal(want, got) else numpy.inf
    apart = _apart(want, got)
    return float((apart if other is None else numpy.minimum(apart, _apart(other, got))).max(initial=0))


def worst(device: str, name: str, dtype: Any, count: int) -> tuple[float, bool]:
    """Return the largest distance from NumPy of one row on a device, and whether the host computed it."""
    arrays = operands(ELEMENTWISE[name], dtype, count)
    before = gpuxp.stats()[device]["fallbacks"] if device in gpuxp.stats() else 0
    with gpuxp.configure(fallback="allow"):
        found = UFUNCS[name](*(gpuxp.asarray(a, device=device) for a in arrays))
        got = numpy.asarray(found)
    want = expected(name, arrays)
    apart = distance(want, got, true_powers(name, arrays, want))
    return apart, gpuxp.stats()[device]["fallbacks"] > before


def measure(device: str, count: int) -> dict[str, dict[str, float]]:
    """Return the largest distance of each row and dtype that the device itself computes."""
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        for dtype in loops(ELEMENTWISE[name]):
            apart, by_host = worst(device, name, dtype, count)
            if not by_host:
                found.setdefault(name, {})[dtype.name] = round(apart, 2)
    return found
