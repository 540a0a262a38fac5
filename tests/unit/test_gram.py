"""Matrix products of few rows and columns over many terms."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp import gram

TERMS = 130_000  # more than a million products of each element count


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return the shapes of the left operands that NumPy multiplies."""
    seen: list[tuple[int, ...]] = []
    real = numpy.matmul

    class Watched:
        def __getattr__(self, name: str) -> Any:
            return getattr(numpy, name)

        @staticmethod
        def matmul(a: Any, b: Any, out: Any = None) -> Any:
            seen.append(a.shape)
            return real(a, b, out=out)

    monkeypatch.setattr(gram, "np", Watched())
    return seen


@pytest.mark.parametrize("dtype", ["f8", "f4"])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("rows", "columns", "terms"), [(2, 5, TERMS), (16, 16, TERMS), (10, 16, 7000), (3, 16, 131_072)]
)
@pytest.mark.parametrize("turned", [False, True])
def test_long_products(
    dtype: str, threads: int, rows: int, columns: int, terms: int, turned: bool, pieces: list[Any]
) -> None:
    """They are made in pieces, in order, and are as good as NumPy's."""
    generator = numpy.random.default_rng(0)
    a, b = (generator.standard_normal((terms, n)).astype(dtype) for n in (rows, columns))
    left = a.T if turned else numpy.ascontiguousarray(a.T)
    right = numpy.asfortranarray(b) if turned else b
    with np.configure(num_threads=threads):
        found = [numpy.asarray(np.asarray(left, copy=False) @ np.asarray(right, copy=False)) for _ in range(2)]
    assert len(pieces) >= 4
    assert {shape[1:] for shape in pieces if len(shape) == 3} == {(rows, gram._PIECE)}
    assert found[0].dtype == dtype
    numpy.testing.assert_array_equal(*found)
    exact = a.T.astype("f8") @ b.astype("f8")
    bound = numpy.abs(a.T).astype("f8") @ numpy.abs(b).astype("f8") * numpy.finfo(dtype).eps
    assert (numpy.abs(found[0] - exact) <= bound * 40).all()


def test_whole_numbers_are_exact_whatever_the_order() -> None:
    generator = numpy.random.default_rng(1)
    a, b = generator.integers(-50, 50, (TERMS, 7)), generator.integers(-50, 50, (TERMS, 9))
    x, y = np.asarray(a.astype(float)), np.asarray(b.astype(float))
    numpy.testing.assert_array_equal(numpy.asarray(x.T @ y), a.T @ b)
    out = np.zeros((7, 9), dtype="f4")
    assert np.matmul(x.T, y, out=out) is out
    numpy.testing.assert_array_equal(numpy.asarray(out), (a.T @ b).astype("f4"))


@pytest.mark.parametrize(
    ("shape", "other", "dtype"),
    [
        ((17, TERMS), (TERMS, 4), "f8"),
        ((1, TERMS), (TERMS, 16), "f8"),
        ((4, 40_000), (40_000, 4), "f8"),
        ((10, 6000), (6000, 16), "c16"),
        ((2, 4, TERMS), (TERMS, 4), "f8"),
    ],
)
def test_other_products_are_left_whole(
    shape: tuple[int, ...], other: tuple[int, ...], dtype: str, pieces: list[Any]
) -> None:
    numpy.asarray(np.ones(shape, dtype=dtype) @ np.ones(other, dtype=dtype))
    assert pieces == [shape]


def test_products_of_an_array_with_itself_are_symmetric(pieces: list[Any]) -> None:
    """NumPy makes only half of those."""
    x = np.asarray(numpy.random.default_rng(2).standard_normal((TERMS, 6)))
    found = numpy.asarray(x.T @ x)
    assert pieces == [(6, TERMS)]
    numpy.testing.assert_array_equal(found, found.T)


def test_what_is_no_number_spreads() -> None:
    a = numpy.ones((TERMS, 4))
    a[77, 1] = numpy.nan
    a[-1, 2] = numpy.inf
    with numpy.errstate(all="raise"):
        found = numpy.asarray(np.asarray(a).T @ np.ones((TERMS, 3)))
    with numpy.errstate(all="ignore"):
        numpy.testing.assert_array_equal(found, a.T @ numpy.ones((TERMS, 3)))
