"""Reductions at once: no kernel, and the bits, dtypes and layouts of the kernels, whoever combines."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuxp as np
from gpuxp.backends import tier as tiers
from gpuxp.backends.direct import HOT, Direct, make_columns
from gpuxp.devices import runtime_of
from gpuxp.kernel import combine

RUNTIME = runtime_of("cpu")
FUNCTIONS = ("sum", "prod", "max", "min", "any", "all", "mean", "var", "std", "count_nonzero")
PLACES = ("argmax", "argmin")
RUNNING = ("cumsum", "cumprod", "cumulative_sum", "cumulative_prod")
SHAPES = (
    (1,), (9,), (300,), (2100,), (5, 3), (1, 7), (7, 1), (200, 30), (30, 200), (3, 2500), (2500, 3), (70, 70),
    (5, 6, 7), (40, 3, 20), (3, 130, 9), (2, 2100, 2), (2, 3, 4, 5),
)  # fmt: skip
DTYPES = "?bHilqefdFD"
ORDERS = ("C", "F", "strided", "reversed")


@pytest.fixture(autouse=True)
def _at_once() -> Iterator[None]:
    with np.configure(small=16384, middling=1 << 18):
        RUNTIME.flush()
        yield


def values(shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    """Return small numbers, zeros of both signs and sometimes a NaN among them."""
    random = numpy.random.default_rng(seed)
    if dtype not in "efdFD":
        return random.integers(0 if dtype in "?H" else -3, 4, shape).astype(dtype)
    x = random.standard_normal(shape).astype(dtype)
    flat = x.reshape(-1)
    flat[seed % 3 :: 5] = 0
    flat[seed % 7 :: 10] *= -1
    if seed % 4 == 0:
        flat[seed % flat.size] = numpy.nan
    return x


def laid_out(x: Any, order: str) -> Any:
    """Return an array of these values whose memory lies in another way."""
    if order == "F":
        return np.asarray(numpy.asfortranarray(x))
    if order == "strided":
        large = np.asarray(numpy.repeat(x, 2, axis=-1))
        return large[..., ::2]
    if order == "reversed":
        return np.asarray(x[::-1].copy())[::-1]
    return np.asarray(x)


def told(result: Any) -> tuple[Any, ...]:
    """Return what can be told of a result; which NaN it is, is not."""
    found = numpy.asarray(result)
    steps = [s for s, n in zip(found.strides, found.shape, strict=True) if n > 1]
    plain = numpy.where(found == found, found, numpy.ones((), found.dtype) * 77)
    return found.dtype, found.shape, steps, result._state, plain.tobytes()


def launched(call: Callable[[], Any]) -> tuple[tuple[Any, ...], int]:
    """Return what is told of a result, and how many kernels it took."""
    before = RUNTIME.counters["kernels"]
    found = told(call())
    return found, RUNTIME.counters["kernels"] - before


def axes_of(ndim: int) -> list[Any]:
    """Return ways to say along which axes."""
    pairs = [*itertools.combinations(range(ndim), 2), (-1, 0)] if ndim > 1 else []
    return [None, *range(-ndim, ndim), *pairs, tuple(range(ndim))]


@given(
    st.sampled_from(FUNCTIONS), st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.integers(0, 99),
    st.sampled_from(ORDERS), st.booleans(), st.sampled_from(["interpreter", "compiled"]), st.data(),
)  # fmt: skip
def test_no_kernel_and_its_bits(
    name: str, shape: tuple[int, ...], dtype: str, seed: int, order: str, keepdims: bool, tier: Any, data: st.DataObject
) -> None:
    a, axis = laid_out(values(shape, dtype, seed), order), data.draw(st.sampled_from(axes_of(len(shape))))

    def call() -> Any:
        return getattr(np, name)(a, axis=axis, keepdims=keepdims)

    with np.configure(tier=tier):
        found, kernels = launched(call)
    assert kernels == 0
    with np.configure(small=0, tier="interpreter"):
        want, kernels = launched(call)
    assert kernels > 0 or a.ndim == 0
    assert found == want


@pytest.mark.parametrize("dtype", "iefd")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("keepdims", [False, True])
def test_norms(dtype: str, order: str, axis: Any, keepdims: bool) -> None:
    a = laid_out(values((30, 40), dtype, 1), order)
    found, kernels = launched(lambda: np.linalg.norm(a, axis=axis, keepdims=keepdims))
    assert kernels == 0
    with np.configure(small=0):
        want, _ = launched(lambda: np.linalg.norm(a, axis=axis, keepdims=keepdims))
    assert found == want


@pytest.mark.parametrize("name", [*PLACES, *RUNNING])
@pytest.mark.parametrize("dtype", "?ild")
@pytest.mark.parametrize("order", ORDERS)
def test_what_numpy_does_whole(name: str, dtype: str, order: str) -> None:
    for shape in ((9,), (30, 40)):
        a = laid_out(values(shape, dtype, 1), order)
        for axis in (0, -1, *([None] if len(shape) == 1 or "cumulative" not in name else [])):
            before = RUNTIME.counters["kernels"]
            found, want = getattr(np, name)(a, axis=axis), getattr(numpy, name)(numpy.asarray(a), axis=axis)
            assert RUNTIME.counters["kernels"] == before
            assert numpy.asarray(found).dtype == want.dtype
            assert (numpy.asarray(found) == want).all()
            assert found.shape == want.shape


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("small", [0, 16384])
def test_places_lie_in_c_order(name: str, axis: int, small: int) -> None:
    x = values((6, 4, 5), "i", 1)
    with np.configure(small=small):
        found = getattr(np, name)(np.asarray(numpy.asfortranarray(x)), axis=axis)
        assert found.strides == getattr(numpy, name)(x, axis=axis).strides
        assert (numpy.asarray(found) == getattr(numpy, name)(x, axis=axis)).all()


@given(
    st.sampled_from(["add", "multiply", "maximum", "minimum"]), st.sampled_from("fd"), st.booleans(),
    st.integers(1, 140) | st.sampled_from([255, 256, 257, 2047, 2048]), st.integers(1, 140), st.integers(0, 99),
)  # fmt: skip
def test_columns_have_the_canonical_order(op: str, dtype: str, near: bool, n: int, m: int, seed: int) -> None:
    x = values((3, n, m), dtype, seed)
    columns = make_columns(op, numpy.dtype(dtype), near, 1)
    with numpy.errstate(all="ignore"):
        found = columns(x if near else numpy.repeat(x, 2, axis=2)[:, :, ::2])
        want = combine(op, x.transpose(0, 2, 1).reshape(3 * m, n)).reshape(3, m)
    numpy.testing.assert_array_equal(found, want)
    assert (numpy.signbit(found) == numpy.signbit(want))[want == want].all()


@pytest.mark.parametrize(("shape", "axis"), [((300, 90), 0), ((300, 30), 1), ((300, 90), 1), ((5, 60, 20), 1)])
@pytest.mark.parametrize("dtype", "fd")
def test_what_is_summed_often_is_compiled(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    direct = Direct(Counter())
    a = np.asarray(values(shape, dtype, 1))
    with patched(direct), np.configure(tier="auto"):
        want = told(np.sum(a, axis=axis))
        for _ in range(int(HOT / 5e-6)):
            np.sum(a, axis=axis)
        tiers.settle()
        assert [e.made is not None for e in direct._entries.values()] == [True]
        assert told(np.sum(a, axis=axis)) == want


@contextmanager
def patched(direct: Direct) -> Iterator[None]:
    before, RUNTIME.direct = RUNTIME.direct, direct
    try:
        yield
    finally:
        RUNTIME.direct = before


@pytest.mark.parametrize("name", ["sum", "max", "mean", "std", "count_nonzero"])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_middling_arrays_that_are_there(name: str, axis: Any) -> None:
    a = np.asarray(values((1000, 200), "d", 1))
    found, kernels = launched(lambda: getattr(np, name)(a, axis=axis))
    assert kernels == 0
    with np.configure(small=0):
        want, _ = launched(lambda: getattr(np, name)(a, axis=axis))
    assert found == want


def test_what_is_recorded_is_not_waited_for() -> None:
    with np.configure(small=10):
        a = np.asarray(numpy.ones((300, 300))) + 1
        flushes = RUNTIME.counters["flushes"]
        results = [
            np.sum(a, axis=0),
            np.mean(a, axis=1),
            np.max(a, axis=0, keepdims=True),
            np.std(a),
            np.count_nonzero(a),
        ]
        assert RUNTIME.counters["flushes"] == flushes
        assert [numpy.asarray(r).reshape(-1)[0] for r in results] == [600, 2, 2, 0, 90000]


@pytest.mark.parametrize("call", [
    lambda n, x: n.sum(x, axis=2), lambda n, x: n.mean(x, axis=-3), lambda n, x: n.std(x, axis=(0, 0)),
    lambda n, x: n.max(x, axis=(0, 5)), lambda n, x: n.argmax(x, axis=2), lambda n, x: n.cumsum(x, axis=2),
    lambda n, x: n.count_nonzero(x, axis=2), lambda n, x: n.max(x[:0], axis=0), lambda n, x: n.sum(x, axis="a"),
])  # fmt: skip
def test_errors_are_numpys(call: Callable[..., Any]) -> None:
    x = numpy.ones((3, 4))
    with pytest.raises((ValueError, TypeError)) as wanted:
        call(numpy, x)
    with pytest.raises(wanted.type):
        call(np, np.asarray(x))


def test_a_dtype_and_a_place_for_the_result() -> None:
    x = values((20, 30), "f", 1)
    a, out = np.asarray(x), np.zeros(30)
    assert np.sum(a, axis=0, dtype="f8").dtype == numpy.float64
    assert numpy.asarray(np.sum(a, axis=0, dtype="f8")) == pytest.approx(x.sum(0, dtype="f8"))
    assert np.sum(a, axis=0, out=out) is out
    assert numpy.asarray(out) == pytest.approx(x.sum(0), rel=1e-5, abs=1e-5)
    assert numpy.asarray(np.sum(np.asarray([200, 100], dtype="u1"), dtype="u1")) == 44
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert float(np.sum(np.asarray([6e4, 6e4], dtype="f2"))) == numpy.inf
        assert numpy.asarray(np.prod(np.full((3, 2), 1e300), axis=0)).tolist() == [numpy.inf] * 2
