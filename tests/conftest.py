"""Fixtures over devices and settings, and how long the property tests take.

``HYPOTHESIS_PROFILE=long`` runs twenty times as many examples, drawn anew each time; the default is repeatable.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

_CACHE = tempfile.TemporaryDirectory(prefix="gpuxp-tests-")
os.environ["GPUXP_CACHE"] = _CACHE.name  # the tests neither read nor fill the user's cache
os.environ["GPUXP_MIDDLING"] = "0"  # and what one counts does not depend on those before it

import gpuxp  # noqa: E402
from gpuxp.config import config  # noqa: E402
from gpuxp.devices import _KINDS, runtime_of  # noqa: E402

from .backend.toy import ToyBackend  # noqa: E402

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

_COMMON = {
    "deadline": None,
    "print_blob": True,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
}
settings.register_profile("default", max_examples=100, derandomize=True, **_COMMON)
settings.register_profile("long", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

_KINDS["toy"] = (lambda which: ToyBackend(), None, "")
ALWAYS = ("cpu", "reference", "toy:0")
# device -> how to get it where it is missing: what this machine has, and what every machine could have
DEVICES = dict.fromkeys((*ALWAYS, *map(str, gpuxp.devices())), "") | {
    "opencl:0": "pip install 'gpuxp[opencl]' and an OpenCL driver (on Debian: apt install pocl-opencl-icd)",
    "mlx:cpu": "pip install 'gpuxp[mlx]'",
    "cuda:0": "an NVIDIA GPU with its driver, and pip install 'gpuxp[cuda]'",
}


def present(name: str) -> str:
    """Return a device's name; one that this machine lacks is skipped, and the reason says how to get it."""
    if name not in ALWAYS and name not in gpuxp.devices():
        pytest.skip(f"no device {name}: {DEVICES[name]}")
    return name


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> str:
    """Each device in turn."""
    return present(str(request.param))


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    """Fail a test that leaves the settings changed, which others would then run under."""
    before = dataclasses.astuple(config)
    yield
    assert dataclasses.astuple(config) == before, "the test leaves gpuxp's settings changed"
    assert not runtime_of("cpu").backend.caps.counters["compile_errors"], "LLVM refused a kernel"
