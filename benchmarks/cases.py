"""Every case, in the order in which they are run and shown."""

from __future__ import annotations

from collections.abc import Sequence

from . import arrays, programs, series
from .case import Case

GROUPS = {
    "whole": "Chains, expressions and programs",
    "single": "Single operations by size",
    "operation": "The cost of an operation itself",
    "growth": "Time of an element by size",
    "process": "In fresh processes",
}


def all_cases(scale: int) -> list[Case]:
    """Return the cases that are timed in this process."""
    return [*arrays.CASES, *programs.CASES, *series.cases(scale)]


def choose(names: Sequence[str], known: dict[str, tuple[str, str]]) -> list[str]:
    """Return the cases of these names, series or groups, from name -> (series, group); none means all."""
    for name in names:
        if not any(name in (case, *labels) for case, labels in known.items()):
            raise ValueError(f"unknown case {name!r}; --list names the cases, their series and groups")
    return [case for case, labels in known.items() if not names or {case, *labels} & set(names)]
