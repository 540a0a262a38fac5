"""Sorting: equal elements keep their order, whatever the way to it."""

from __future__ import annotations

import numpy
import pytest

import gpuxp as np

DTYPES = ["int8", "uint16", "int32", "uint64", "int64", "float16", "float32", "float64", "complex128", "bool"]


def numbers(dtype: str, distinct: int, shape: tuple[int, ...], seed: int) -> numpy.ndarray:
    """Return numbers with many or few ties, some of them NaN or of two signs where there are such."""
    draw = numpy.random.default_rng(seed)
    most = {"int8": 120, "float16": 60_000, "uint16": 60_000}.get(dtype, distinct)
    found = draw.integers(0, min(distinct, most), shape).astype(dtype)
    if found.dtype.kind in "fc":
        found[draw.random(shape) < 0.05] = numpy.nan
        found[draw.random(shape) < 0.05] = -0.0
        found[draw.random(shape) < 0.05] = -numpy.inf
    return found


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("distinct", [2, 60, 1 << 30])
@pytest.mark.parametrize(
    ("shape", "axis"), [((255,), 0), ((256,), -1), ((3000,), 0), ((300, 5), 0), ((7, 300), 1), ((2, 257, 3), 1)]
)
def test_argsort_is_stable(dtype: str, distinct: int, shape: tuple[int, ...], axis: int) -> None:
    x = numbers(dtype, distinct, shape, seed=distinct + axis)
    found = np.argsort(np.asarray(x), axis=axis)
    assert found.dtype == numpy.intp
    assert numpy.asarray(found).flags.c_contiguous
    numpy.testing.assert_array_equal(numpy.asarray(found), numpy.argsort(x, axis, stable=True))
    down = numpy.flip(x.shape[axis] - 1 - numpy.argsort(numpy.flip(x, axis), axis, stable=True), axis)
    numpy.testing.assert_array_equal(numpy.asarray(np.argsort(np.asarray(x), axis=axis, descending=True)), down)


@pytest.mark.parametrize("order", ["F", "strided"])
def test_argsort_of_views(order: str) -> None:
    x = numbers("float64", 20, (40, 600), seed=1)
    x = numpy.asfortranarray(x) if order == "F" else x[::2, ::-1]
    numpy.testing.assert_array_equal(numpy.asarray(np.argsort(np.asarray(x))), numpy.argsort(x, stable=True))
