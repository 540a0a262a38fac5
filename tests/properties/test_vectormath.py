"""Vectorised functions against exact arithmetic: within 0.8 ulp, special cases by the standard, both forms equal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mpmath
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuxp as np
from gpuxp.backends.vectors import ensure
from gpuxp.ops import ELEMENTWISE
from gpuxp.vectormath import LIMIT, Vectorised

FUNCTIONS = [name for name, row in ELEMENTWISE.items() if isinstance(row.run, Vectorised)]


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    with numpy.errstate(all="ignore"):
        yield


def compiled(name: str) -> Any:
    function = ELEMENTWISE[name].run
    assert isinstance(function, Vectorised)
    return ensure(function)


def by_steps(name: str, x: Any) -> Any:
    with np.configure(tier="interpreter"):
        return ELEMENTWISE[name].run(x)  # type: ignore[misc]


def arguments(count: int) -> Any:
    """Return numbers over the whole range, near multiples of pi/2, and around the limit of the sequences."""
    rng = numpy.random.default_rng(0)
    near = numpy.rint(rng.uniform(-3e5, 3e5, count)) * (numpy.pi / 2)
    return numpy.concatenate([
        rng.uniform(-7, 7, count), rng.standard_normal(count) * 10.0 ** rng.integers(-300, 300, count),
        near, numpy.nextafter(near, rng.choice([-1e9, 1e9], count)), rng.uniform(0.99 * LIMIT, 1.01 * LIMIT, count),
        [LIMIT, -LIMIT, numpy.nextafter(LIMIT, 0), numpy.nextafter(LIMIT, 1e9), 5e-324, 1.7e308],
        [6381956970095103 * 2.0**797],  # the float64 nearest to a multiple of pi/2
    ])  # fmt: skip


def error_in_ulp(name: str, x: float, found: float) -> float:
    with mpmath.workprec(1300):  # enough for the largest argument
        true = getattr(mpmath, {"sin": "sin", "cos": "cos"}[name])(mpmath.mpf(x))
        return float(abs(mpmath.mpf(found) - true) / mpmath.mpf(float(numpy.spacing(abs(float(true))))))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_close_to_the_true_value(name: str) -> None:
    x = arguments(1500)
    y = compiled(name)(x)
    near = abs(x) <= LIMIT
    errors = map(lambda a, b: error_in_ulp(name, a, b), x[near].tolist(), y[near].tolist())
    assert max(errors) < 0.8
    assert (y[~near] == getattr(numpy, name)(x[~near])).all()  # NumPy's own, which the C library may round worse


@pytest.mark.parametrize("name", FUNCTIONS)
def test_both_forms_give_the_same_bits(name: str) -> None:
    x = numpy.concatenate([arguments(3000), [0.0, -0.0, numpy.inf, -numpy.inf, numpy.nan]])
    want = by_steps(name, x)
    fn = compiled(name)
    for found in (fn(x), fn(numpy.repeat(x, 3)[::3]), numpy.array([fn(v) for v in x])):
        numpy.testing.assert_array_equal(found, want)
        assert (numpy.signbit(found) == numpy.signbit(want))[~numpy.isnan(want)].all()
    assert fn(x[:0]).shape == (0,)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_cases(name: str) -> None:
    for fn in (compiled(name), lambda x: by_steps(name, numpy.asarray(x))):
        assert numpy.isnan(fn(numpy.array([numpy.inf, -numpy.inf, numpy.nan]))).all()
        zeros = fn(numpy.array([0.0, -0.0]))
        want = getattr(numpy, name)(numpy.array([0.0, -0.0]))
        assert (zeros == want).all()
        assert (numpy.signbit(zeros) == numpy.signbit(want)).all()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_argument(x: float) -> None:
    for name in FUNCTIONS:
        found = float(compiled(name)(x))
        assert abs(x) > LIMIT or error_in_ulp(name, x, found) < 0.8
        assert float(by_steps(name, numpy.asarray(x))) == found


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arrays_of_every_size_agree(name: str) -> None:
    x = numpy.random.default_rng(1).uniform(-100, 100, 70_000)
    want = by_steps(name, x)
    for size in (1, 10, 1000, 70_000):
        for settings in ({}, {"small": 0, "tier": "interpreter"}, {"small": 0, "tier": "compiled"}):
            with np.configure(**settings):
                assert (numpy.asarray(getattr(np, name)(np.asarray(x[:size]))) == want[:size]).all()
