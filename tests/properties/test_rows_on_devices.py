"""The rows of the op table, and the calls, on other devices: what `test_ops` and `test_calls` ask of the software GPU.

Exact where the table says so, else within the row's bound. What a device leaves to the host is compared as well. Where
each kernel is compiled (OpenCL: 40 ms) only the rows run, and the rest with ``HYPOTHESIS_PROFILE=long``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from hypothesis import settings

import gpuxp
from gpuxp.dtypes import NAMES
from gpuxp.ops import ELEMENTWISE

from . import test_calls, test_ops
from .calls import CALLS

EXACT = [name for name in test_ops.EXACT if not ELEMENTWISE[name].ulp]


OTHERS = ["toy:0", *(str(d) for d in gpuxp.devices() if d != "cpu")]
COMPILING = [] if settings.default is settings.get_profile("long") else ["opencl", "cuda"]
QUICK = [name for name in OTHERS if name.partition(":")[0] not in COMPILING]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each test on the devices that are quick enough for it."""
    names = OTHERS if metafunc.function in (test_unary, test_binary) else QUICK
    metafunc.parametrize("_on_device", names, indirect=True)


@pytest.fixture(autouse=True)
def _on_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    name = str(request.param)
    monkeypatch.setattr(test_ops, "PATHS", (0,))  # a device whose memory the host does not see has one path
    with gpuxp.device(name), gpuxp.configure(fallback="allow"):
        yield


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("name", test_ops.UNARY)
def test_unary(name: str, dtype: str) -> None:
    test_ops.test_unary(name, dtype)


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("name", test_ops.BINARY)
def test_binary(name: str, dtype: str) -> None:
    test_ops.test_binary(name, dtype)


@pytest.mark.parametrize("name", test_ops.BINARY)
def test_mixed_dtypes_and_scalars(name: str) -> None:
    test_ops.test_mixed_dtypes(name)
    test_ops.test_scalars(name)


@pytest.mark.parametrize("dtype", test_ops.DATA)
@pytest.mark.parametrize("name", EXACT)
def test_output_and_mask(name: str, dtype: str) -> None:
    test_ops.test_output_and_mask(name, dtype)


@pytest.mark.parametrize("dtype", test_ops.DTYPES)
@pytest.mark.parametrize("name", test_ops.REDUCTIONS)
def test_reductions(name: str, dtype: str) -> None:
    test_ops.test_reductions(name, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_sums(dtype: str) -> None:
    test_ops.test_sums_of_fractions_are_near(dtype)
    test_ops.test_extremes_and_not_a_number()


@pytest.mark.parametrize("source", NAMES)
def test_casts(source: str) -> None:
    test_ops.test_casts(source)


@pytest.mark.parametrize("line", CALLS)
def test_call(line: str) -> None:
    test_calls.test_call(line)


def test_the_samples_reach_the_device() -> None:
    device: Any = gpuxp.default_device()
    before = gpuxp.stats()[device]["kernels"]
    assert numpy.asarray(gpuxp.add(gpuxp.ones(3), 1)).tolist() == [2, 2, 2]
    assert gpuxp.stats()[device]["kernels"] > before
