"""How far the devices are from NumPy, row by row of the op table: measured on random operands of the row's domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

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


def distance(want: Any, got: Any) -> float:
    """Return the largest distance in units in the last place of the number, for complex ones of its size."""
    if want.dtype.kind not in "fc":
        return 0.0 if numpy.array_equal(want, got) else numpy.inf
    same = (want == got) | (numpy.isnan(want) & numpy.isnan(got))
    with numpy.errstate(all="ignore"):
        unit = numpy.spacing(numpy.abs(want)).astype("float64")
        apart = numpy.abs(want.astype("complex128") - got) / unit
    return float(numpy.where(same, 0, numpy.where(numpy.isfinite(apart), apart, numpy.inf)).max(initial=0))


def worst(device: str, name: str, dtype: Any, count: int) -> tuple[float, bool]:
    """Return the largest distance from NumPy of one row on a device, and whether the host computed it."""
    arrays = operands(ELEMENTWISE[name], dtype, count)
    before = gpuxp.stats()[device]["fallbacks"] if device in gpuxp.stats() else 0
    with gpuxp.configure(fallback="allow"):
        found = UFUNCS[name](*(gpuxp.asarray(a, device=device) for a in arrays))
        got = numpy.asarray(found)
    return distance(expected(name, arrays), got), gpuxp.stats()[device]["fallbacks"] > before


def measure(device: str, count: int) -> dict[str, dict[str, float]]:
    """Return the largest distance of each row and dtype that the device itself computes."""
    found: dict[str, dict[str, float]] = {}
    for name in NAMES:
        for dtype in loops(ELEMENTWISE[name]):
            apart, by_host = worst(device, name, dtype, count)
            if not by_host:
                found.setdefault(name, {})[dtype.name] = round(apart, 2)
    return found
