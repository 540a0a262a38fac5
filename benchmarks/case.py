"""What a case is: inputs of a size, and a program that is run with NumPy, with gpuxp and, as it is, with some peers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy

Namespace = Any
Array = Any
Inputs = dict[str, Any]
Work = Callable[[], Any]

FULL, QUICK, TINY = range(3)  # which of a case's sizes; tiny ones are for tests


@dataclass(frozen=True)
class Case:
    """What to time: `run(np, **prepare(size))`, and then until the result is there."""

    name: str
    title: str
    prepare: Callable[[int], Inputs]  # NumPy arrays and numbers
    run: Callable[..., Any]
    sizes: tuple[int, int, int]  # full, quick, tiny
    group: str = "whole"  # the table that shows it
    elements: int = 0  # of a case that is one of a series of sizes
    per: int = 1  # elements or operations that a call's time is shared among
    in_place: bool = False  # changes its inputs: every side gets its own
    bandwidth: bool = False  # bound by memory: a copy is timed beside it
    flush: bool = True  # False: the time of recording alone
    settings: Mapping[str, Any] = field(default_factory=dict)  # of gpuxp

    @property
    def series(self) -> str:
        """The name without its size."""
        return self.name.split("[")[0]


def random(*shape: int, seed: int = 0, low: float = 0.5, high: float = 1.5, dtype: Any = numpy.float64) -> Array:
    """Return numbers of a range, the same every time."""
    return numpy.random.default_rng(seed).uniform(low, high, shape).astype(dtype)


def vectors(names: str, dtype: Any = numpy.float64) -> Callable[[int], Inputs]:
    """Return a `prepare` that makes an array of the case's size for each letter."""
    return lambda n: {name: random(n, seed=seed, dtype=dtype) for seed, name in enumerate(names)}
