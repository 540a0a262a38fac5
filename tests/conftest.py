"""Fixtures over devices and settings, and how long the property tests take.

``HYPOTHESIS_PROFILE=long`` runs twenty times as many examples, drawn anew each time; the default is repeatable.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_CACHE = tempfile.TemporaryDirectory(prefix="gpuxp-tests-")
os.environ["GPUXP_CACHE"] = _CACHE.name  # the tests neither read nor fill the user's cache
os.environ["GPUXP_MIDDLING"] = "0"  # and what one counts does not depend on those before it

import gpuxp  # noqa: E402
from gpuxp.config import config  # noqa: E402
from gpuxp.devices import runtime_of  # noqa: E402

_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
settings.register_profile("default", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("long", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# device -> how to get it where it is missing
DEVICES = {
    "cpu": "always there",
    "reference": "always there",
    "opencl:0": "pip install 'gpuxp[opencl]' and an OpenCL driver (on Debian: apt install pocl-opencl-icd)",
    "mlx:cpu": "pip install 'gpuxp[mlx]'",
    "cuda:0": "an NVIDIA GPU with its driver, and pip install 'gpuxp[cuda]'",
}


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn; one that this machine lacks is skipped, and the reason says how to get it."""
    name = str(request.param)
    if name != "reference" and name not in gpuxp.devices():
        pytest.skip(f"no device {name}: {DEVICES[name]}")
    return name


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    """Fail a test that leaves the settings changed, which others would then run under."""
    before = dataclasses.astuple(config)
    yield
    assert dataclasses.astuple(config) == before, "the test leaves gpuxp's settings changed"
    assert not runtime_of("cpu").backend.caps.counters["compile_errors"], "LLVM refused a kernel"
