"""Arrays of middling size: computed at once while every operation is read, recorded once they become a chain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.devices import runtime_of
from gpuxp.runtime import _ALONE
from gpuxp.threads import PARALLEL

RUNTIME = runtime_of("cpu")
SIZE = 40_000


@pytest.fixture
def a() -> Iterator[Any]:
    with np.configure(small=1000, middling=100_000):
        RUNTIME.flush()
        RUNTIME._alone = 0
        yield np.asarray(numpy.arange(float(SIZE)))
    RUNTIME._alone = 0


def kernels() -> int:
    return RUNTIME.counters["kernels"]


def read_alone(a: Any) -> None:
    for _ in range(_ALONE):
        np.evaluate(a + 1)


def test_results_that_are_read_one_by_one_are_computed_at_once(a: Any) -> None:
    before = kernels()
    read_alone(a)
    assert kernels() == before + _ALONE
    for _ in range(5):
        np.evaluate(a + 1)
        np.evaluate(np.sqrt(a))
    assert kernels() == before + _ALONE


def test_a_chain_is_recorded_again(a: Any) -> None:
    read_alone(a)
    before = kernels()
    x = a * 2  # at once: nothing tells yet that this is a chain
    x = x + a
    x = x * x  # this one tells
    assert kernels() == before
    x = x - a
    x = x / 2
    np.evaluate(x)
    assert kernels() == before + 1
    want = ((numpy.asarray(a) * 2 + numpy.asarray(a)) ** 2 - numpy.asarray(a)) / 2
    assert (numpy.asarray(x) == want).all()


def test_large_and_small_arrays_are_not_concerned(a: Any) -> None:
    read_alone(a)
    large = np.asarray(numpy.ones(200_000))
    before = kernels()
    np.evaluate(large + 1)
    assert kernels() == before + 1


def test_it_can_be_turned_off(a: Any) -> None:
    for settings in ({"middling": 0}, {"small": 0}):
        with np.configure(**settings):
            read_alone(a)
            before = kernels()
            np.evaluate(a + 1)
            assert kernels() == before + 1


@pytest.mark.parametrize("order", ["C", "F"])
def test_values_and_layouts_are_the_same(a: Any, order: str) -> None:
    x = np.asarray(numpy.arange(float(SIZE)).reshape(200, 200), order=order)
    programs = [lambda: x + x.T, lambda: np.sin(x)[::2], lambda: x[::3] * 2, lambda: np.maximum(x, 7), lambda: x.sum(0),
                x.max, lambda: x.astype("float32"), lambda: np.concatenate([x, x])]  # fmt: skip
    recorded = []
    for program in programs:
        RUNTIME._alone = 0
        recorded.append(program())
        np.evaluate(recorded[-1])
    for program, want in zip(programs, recorded, strict=True):
        RUNTIME._alone = _ALONE
        found = program()
        assert (numpy.asarray(found) == numpy.asarray(want)).all()
        assert (found.dtype, found.strides) == (want.dtype, want.strides)


def test_small_arrays_stay_so_through_broadcasting_and_masks() -> None:
    nodes = RUNTIME.counters["nodes"]
    weights = np.asarray(numpy.linspace(-1, 1, 3200).reshape(100, 32))
    hidden = weights @ weights.T @ weights
    hidden -= hidden.max(axis=1, keepdims=True)
    hidden[hidden <= -1] = 0
    hidden[np.asarray(numpy.arange(100) % 2 == 0)] = weights[0]
    hidden += weights[1]
    RUNTIME.flush()
    expected = numpy.asarray(weights) @ numpy.asarray(weights).T @ numpy.asarray(weights)
    expected -= expected.max(axis=1, keepdims=True)
    expected[expected <= -1] = 0
    expected[numpy.arange(100) % 2 == 0] = numpy.asarray(weights)[0]
    expected += numpy.asarray(weights)[1]
    assert (numpy.asarray(hidden) == expected).all()
    assert RUNTIME.counters["nodes"] == nodes


@pytest.mark.parametrize("zeros", [[0.0], [-0.0], [0.0, -0.0], [-0.0, 0.0]])
def test_extremes_that_are_zeros(zeros: list[float]) -> None:
    values = numpy.asarray([5.0, 3.0] * 200 + zeros + [7.0])
    signs = []
    for small in (0, 1000):
        with np.configure(small=small):
            signs += [bool(np.signbit(np.asarray(values).min())), bool(np.signbit(np.asarray(-values).max()))]
    assert signs[:2] == signs[2:]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool", "complex128"])
@pytest.mark.parametrize("scalar", [True, 3, 2.5, 1j, numpy.float32(0.5), numpy.int8(3), "value"])
def test_scalars_on_either_side(dtype: str, scalar: Any) -> None:
    size = 2 * PARALLEL  # enough to be shared out
    mirror = (numpy.arange(size) % 100).astype(dtype)
    with np.configure(small=1000, middling=1 << 20), numpy.errstate(all="ignore"):
        ours = np.asarray(mirror)
        theirs = np.asarray(numpy.float64(1.5))[()] if scalar == "value" else scalar
        scalar = numpy.float64(1.5) if scalar == "value" else scalar
        for of in (lambda x, s: s * x, lambda x, s: x + s, lambda x, s: s == x, lambda x, s: x / s):
            RUNTIME._alone = _ALONE
            before = kernels()
            found = of(ours, theirs)
            assert kernels() == before
            want = of(mirror, scalar)
            assert found.dtype == want.dtype
            numpy.testing.assert_array_equal(numpy.asarray(found), want)
    RUNTIME._alone = 0
