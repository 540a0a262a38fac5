"""When memory runs out in the middle, a program gets an error or the right numbers: never wrong ones."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import gpuxp
from gpuxp.backends.software import SoftwareBackend
from gpuxp.runtime import Runtime

from .fuzz import program
from .running import SETUPS, applied, difference, environment, execute, shown

PROGRAMS = 600
RATE = 0.08


class Failing:
    """Makes allocations and launches fail at random."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._random = random.Random(0)
        self.rate = 0.0
        self.failures = 0
        for owner, name in ((SoftwareBackend, "alloc"), (Runtime, "_launch")):
            monkeypatch.setattr(owner, name, self._wrapped(getattr(owner, name)))

    def _wrapped(self, fn: Any) -> Any:
        def call(*args: Any) -> Any:
            if self._random.random() < self.rate:
                self.failures += 1
                raise MemoryError("a failure for the test")
            return fn(*args)

        return call

    def start(self, seed: int) -> None:
        """Begin to fail, in a way that the seed repeats."""
        self._random.seed(seed)
        self.rate = RATE


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Failing]:
    """Allocations and launches that can be made to fail."""
    found = Failing(monkeypatch)
    yield found
    found.rate = 0.0


def run(seed: int, failing: Failing) -> int:
    """Run a program until a statement fails that is no read; return how many errors its reads raised."""
    writer = program(seed)
    raised = 0
    with applied(SETUPS[seed % len(SETUPS)]):
        env = environment(gpuxp)
        failing.start(seed)
        try:
            for statement, want in zip(writer.statements, writer.outcomes, strict=True):
                if want.skipped:
                    continue
                got = execute(statement.text, env)
                if got.error is MemoryError:
                    raised += 1
                    if not statement.text.startswith("read("):
                        break
                    continue
                problem = difference(want, got)
                assert not problem, f"seed {seed}: {statement.text}: {problem}\n{shown(writer.statements)}"
        finally:
            failing.rate = 0.0
    return raised


def test_an_error_or_the_right_numbers(failing: Failing) -> None:
    raised = sum(run(seed, failing) for seed in range(PROGRAMS))
    assert failing.failures > PROGRAMS // 4
    assert raised > PROGRAMS // 4
