"""Arrays that move from device to device, and what is counted on the way."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy
import pytest

import gpuxp as np
from tests.conftest import ALWAYS

DEVICES = [*ALWAYS, *(str(d) for d in np.devices() if d != "cpu")]
PAIRS = list(itertools.permutations(DEVICES, 2))
VISIBLE = ("cpu", "reference")


def moved(name: str) -> Any:
    """Return how often a device's memory went to the host and came from it."""
    found = np.stats().get(name, {})
    return numpy.array([found.get("host_reads", 0), found.get("host_writes", 0)])


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_values_and_layout_survive(source: str, target: str) -> None:
    with np.configure(fallback="error"):
        for dtype in ("bool", "int16", "float32", "uint64"):
            data = numpy.arange(24).reshape(2, 3, 4).astype(dtype)
            for make in (lambda x: x, lambda x: x[:, ::2], lambda x: x.T, lambda x: x[::-1, 1:2, 1], lambda x: x[:0]):
                x, want = make(np.asarray(data, device=source)), make(data)
                for y in (x.to_device(target), np.asarray(x, device=target)):
                    assert y.device == target
                    assert y.dtype == want.dtype
                    numpy.testing.assert_array_equal(numpy.asarray(y), want)
                y = x.to_device(target)
                y[...] = 0  # a copy: the source keeps its values
                numpy.testing.assert_array_equal(numpy.asarray(x), want)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_each_trip_through_the_host_is_counted(source: str, target: str) -> None:
    x = np.arange(100.0, device=source) * 2
    np.evaluate(x)
    np.zeros(1, device=target)
    before = moved(source), moved(target)
    x.to_device(target)
    assert (moved(source) - before[0]).tolist() == [int(source not in VISIBLE), 0]
    assert (moved(target) - before[1]).tolist() == [0, int(target not in VISIBLE)]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_devices_do_not_mix(first: str, second: str) -> None:
    a, b = np.ones(3, device=first), np.ones(3, device=second)
    names = ", ".join(sorted((first, second)))
    uses = (lambda: a + b, lambda: np.concatenate([a, b]), lambda: a.__iadd__(b), lambda: np.where(a > 0, a, b))
    for use in uses:
        with pytest.raises(np.MixedDeviceError, match=rf"{names}.*to_device"):
            use()
    assert (a + b.to_device(first)).tolist() == [2, 2, 2]


@pytest.mark.parametrize("name", [d for d in DEVICES if d not in VISIBLE])
def test_what_the_host_does_is_counted_and_named_once(name: str) -> None:
    x = np.asarray([[2.0, 1.0], [1.0, 3.0]], device=name)
    fallbacks, trips = np.stats()[name]["fallbacks"], moved(name)
    with np.configure(fallback="warn"), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            inverse = np.linalg.inv(x)
        numpy.asarray(inverse)
        numpy.asarray(np.linalg.inv(x))
    assert np.stats()[name]["fallbacks"] == fallbacks + 4
    assert (moved(name) - trips >= [1, 1]).all()
    assert [w.filename for w in caught] == [__file__] * 2
    assert len({w.lineno for w in caught}) == 2
    assert all("linalg.inv runs on the host" in str(w.message) and name in str(w.message) for w in caught)
