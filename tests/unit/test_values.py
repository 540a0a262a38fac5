"""Values, NumPy's scalars, do not change; and numbers that overflow where they are converted do so in silence."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np


@pytest.fixture(autouse=True, params=[0, 32768])
def _small(request: pytest.FixtureRequest) -> Iterator[None]:
    with np.configure(small=request.param):
        yield


@pytest.mark.parametrize(
    "view",
    [
        lambda s: s[...],
        lambda s: s[None],
        lambda s: s.reshape(1),
        lambda s: s.ravel(),
        np.atleast_2d,
        lambda s: np.expand_dims(s, 0),
        lambda s: s.T,
        np.squeeze,
        lambda s: s.view(),
        lambda s: s.view(np.int64),
    ],
)
@pytest.mark.parametrize(
    "value", [lambda: np.arange(4.0).sum(), lambda: np.arange(4.0)[2], lambda: np.ones(300000).sum()]
)
def test_views_of_values_are_copies(view: Callable[[Any], Any], value: Callable[[], Any]) -> None:
    s = value()
    want = float(value())
    y = view(s)
    y[...] = 7
    y += 1
    assert float(s) == want
    assert (y == 8).all()


def test_a_part_of_a_value_is_a_copy() -> None:
    s = (np.arange(3.0) * (1 + 2j)).sum()
    part = s.imag[...]
    part[...] = 0
    assert complex(s) == 3 + 6j


CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    "operand": lambda np: np.ones(3, "f") * 1e300,
    "reflected": lambda np: 70000 - np.ones(3, "e"),
    "in place": lambda np: np.ones(3, "f").__iadd__(1e300),
    "where": lambda np: np.where(np.arange(3) > 1, np.ones(3, "f"), 1e300),
    "full": lambda np: np.full(3, 1e300, "f"),
    "asarray": lambda np: np.asarray([1e300], "f"),
    "array": lambda np: np.asarray(numpy.full(3, 1e300), "F"),
    "arange": lambda np: np.arange(0, 1e39, 1e38, "f"),
    "linspace": lambda np: np.linspace(0, 1e300, 3, dtype="f"),
    "logspace": lambda np: np.logspace(0, 300, 3, dtype="f"),
    "initial": lambda np: np.sum(np.ones(3, "f"), initial=1e300),
    "where and initial": lambda np: np.max(np.ones(3, "f"), initial=1e300, where=np.ones(3, "?")),
}


def _stored(np: Any) -> Any:
    x = np.ones(3, "f")
    x[0], x[1:] = 1e300, [-1e300, 1]
    return x


@pytest.mark.parametrize("case", [*CONVERSIONS.values(), _stored], ids=[*CONVERSIONS, "stored"])
def test_numbers_overflow_in_silence(case: Callable[[Any], Any]) -> None:
    with numpy.errstate(all="ignore"):
        want = case(numpy)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = numpy.asarray(case(np))
    assert found.dtype == want.dtype
    assert numpy.array_equal(found, want, equal_nan=True)


@pytest.mark.parametrize("initial", [1e300, 300, -1])
def test_initial_has_to_fit(initial: Any) -> None:
    for module in (numpy, np):
        with pytest.raises(OverflowError):
            module.sum(module.ones(3, "B"), dtype="B", initial=initial)


@pytest.mark.parametrize("in_place", [False, True])
def test_powers_of_integers_are_refused_as_in_numpy(in_place: bool) -> None:
    def power(x: Any, y: int) -> Any:
        return x.__ipow__(y) if in_place else x**y

    for module in (numpy, np):
        with pytest.raises(ValueError, match="negative integer powers"):
            power(module.ones(3, "b"), -1)
        with pytest.raises(OverflowError):
            power(module.ones(3, "b"), -129)
        with pytest.raises(OverflowError):
            power(module.ones(3, "B"), -1)
        assert power(module.ones(0, "b"), -1).dtype == numpy.int8


def test_squares_of_truth_values() -> None:
    x = numpy.asarray([True, False])
    assert (np.asarray(x) ** 2).dtype == (x**2).dtype
    assert (np.asarray(x)[0] ** 2).dtype == (x[0] ** 2).dtype


@pytest.mark.parametrize("name", ["bitwise_and", "bitwise_or", "add", "multiply", "maximum", "gcd"])
def test_the_neutral_element_of_what_does_not_count(name: str) -> None:
    x, mask = numpy.arange(1, 7, dtype="uint8").reshape(2, 3), numpy.array([True, False, True])
    initial = {"initial": 1} if name == "maximum" else {}
    want = getattr(numpy, name).reduce(x, axis=0, where=mask, **initial)
    found = getattr(np, name).reduce(np.asarray(x), axis=0, where=np.asarray(mask), **initial)
    assert found.dtype == want.dtype
    assert numpy.asarray(found).tolist() == want.tolist()
    empty = getattr(np, name).reduce(np.asarray(x)[:0], axis=0, **initial)
    assert numpy.asarray(empty).tolist() == getattr(numpy, name).reduce(x[:0], axis=0, **initial).tolist()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["exp", "negative", "invert", "isnan", "abs", "floor", "square", "sign"])
@pytest.mark.parametrize("number", [True, 3, -2, 2.5, 1j, 2**63])
def test_functions_of_python_numbers(name: str, number: Any) -> None:
    """They are computed at once, like those of small arrays."""
    with np.configure(small=1):
        try:
            wanted = getattr(numpy, name)(number)
        except TypeError:
            with pytest.raises(TypeError):
                getattr(np, name)(number)
            return
        before = np.stats()["cpu"]["nodes"]
        found = getattr(np, name)(number)
        assert np.stats()["cpu"]["nodes"] == before
        assert found.dtype == wanted.dtype
        numpy.testing.assert_allclose(numpy.asarray(found), wanted, rtol=1e-15)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ["add", "power", "hypot", "less", "logical_and", "divide", "left_shift"])
@pytest.mark.parametrize("pair", [(3, 2), (2.5, 2), (True, False), (3, 2**63), (1j, 2)])
def test_functions_of_two_python_numbers(name: str, pair: tuple[Any, Any]) -> None:
    with np.configure(small=1):
        try:
            wanted = getattr(numpy, name)(*pair)
        except (TypeError, OverflowError) as error:
            with pytest.raises(OverflowError if isinstance(error, OverflowError) else TypeError):
                getattr(np, name)(*pair)
            return
        found = getattr(np, name)(*pair)
        assert found.dtype == wanted.dtype
        numpy.testing.assert_allclose(numpy.asarray(found), wanted, rtol=1e-15)
