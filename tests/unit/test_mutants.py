"""The random programs notice every way of breaking the hazard logic: without that, their silence would mean little."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

import gpuxp
from tests.properties.fuzz import find_mismatch
from tests.properties.running import SETUPS

from .device_mutants import ENGINE, FIRST, dies_on, mutants
from .mutants import MUTANTS, applied

PROGRAMS = 8000
ROOT = Path(__file__).parents[2]
DEVICES = [str(name) for name in gpuxp.devices() if name.split(":")[0] in ENGINE]
CASES = [(device, name) for device in DEVICES for name in mutants(device)]


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_dies(name: str) -> None:
    with applied(MUTANTS[name]):
        started = time.perf_counter()
        found = find_mismatch(range(PROGRAMS), SETUPS)
        seconds = time.perf_counter() - started
    assert found is not None, f"{PROGRAMS} programs did not notice ({seconds:.0f} s): {name}"


@pytest.mark.parametrize(("device", "name"), CASES)
def test_mutant_dies_on_other_devices(device: str, name: str) -> None:
    command = [sys.executable, "-m", "tests.unit.device_mutants", device, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 or done.returncode < 0, f"{name} was not noticed on {device}"
    assert "Traceback" not in done.stderr, done.stderr


@pytest.mark.parametrize("device", DEVICES)
def test_the_devices_themselves_survive(device: str) -> None:
    assert not dies_on(device, [], FIRST)


def test_the_engine_itself_survives() -> None:
    with applied([]):
        assert find_mismatch(range(300), SETUPS) is None
