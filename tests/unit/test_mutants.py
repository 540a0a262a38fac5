"""The random programs notice every way of breaking the hazard logic: without that, their silence would mean little."""

from __future__ import annotations

import time

import pytest

from tests.properties.fuzz import find_mismatch
from tests.properties.running import SETUPS

from .mutants import MUTANTS, applied

PROGRAMS = 8000


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_dies(name: str) -> None:
    with applied(MUTANTS[name]):
        started = time.perf_counter()
        found = find_mismatch(range(PROGRAMS), SETUPS)
        seconds = time.perf_counter() - started
    assert found is not None, f"{PROGRAMS} programs did not notice ({seconds:.0f} s): {name}"


def test_the_engine_itself_survives() -> None:
    with applied([]):
        assert find_mismatch(range(300), SETUPS) is None
