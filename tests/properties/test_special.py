"""Special functions against SciPy's, on every device."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import gpuxp as np
from gpuxp.ops import ELEMENTWISE
from gpuxp.ufunc import SPECIAL


def distance(a: Any, b: Any) -> Any:
    """Return how far two arrays are apart, in units in the last place."""
    same = (a == b) | (numpy.isnan(a) & numpy.isnan(b))
    with numpy.errstate(all="ignore"):
        return numpy.where(same, 0, abs(a - b) / numpy.spacing(abs(b)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECIAL)
def test_values(name: str, dtype: str, device: str) -> None:
    row = ELEMENTWISE[name]
    x = numpy.random.default_rng(0).uniform(*row.domain, 1000).astype(dtype)
    x[:6] = [0, 1, 0.5, numpy.nan, numpy.inf, -numpy.inf]
    with np.configure(fallback="allow"):
        found = numpy.asarray(getattr(np.special, name)(np.asarray(x, device=device)))
    with numpy.errstate(all="ignore"):
        want = getattr(scipy.special, name)(x.astype("float64")).astype(dtype)
    assert found.dtype == x.dtype
    assert distance(found, want).max() <= row.ulp


@given(arrays("float64", 5, elements=st.floats(0, 1)))
def test_logit_undoes_expit(x: Any) -> None:
    back = numpy.asarray(np.special.expit(np.special.logit(np.asarray(x))))
    numpy.testing.assert_allclose(back, x, rtol=1e-12, atol=1e-300)
