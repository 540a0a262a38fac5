"""Every case, in the order in which they are run and shown."""

from __future__ import annotations

from collections.abc import Sequence

from . import arrays, programs, series, short
from .case import FULL, Case

GROUPS = {
    "whole": "Chains, expressions and programs",
    "short": "Programs of short steps on small data",
    "single": "Single operations by size",
    "device": "Single operations of a device, in single precision",
    "operation": "The cost of an operation itself",
    "growth": "Time of an element by size",
    "process": "In fresh processes",
}


def all_cases(scale: int) -> list[Case]:
    """Return the cases that are timed in this process."""
    return [*arrays.CASES, *programs.CASES, *short.CASES, *series.cases(scale)]


def for_device(device: str, scale: int) -> list[str]:
    """Return what is timed on a device if nothing is named: all on the software GPU, else what its vendor has too."""
    kind = device.partition(":")[0]
    size = {"mlx": 1_000_000, "cuda": 10_000_000 if scale == FULL else 1_000_000}.get(kind)
    singles = [f"{name}_f32[{size}]" for name in series.DEVICE if size]
    return [] if kind == "cpu" else ["chain3_f32", "chain2_f32", *singles]


def choose(names: Sequence[str], known: dict[str, tuple[str, str]]) -> list[str]:
    """Return the cases of these names, series or groups, from name -> (series, group); none means all."""
    for name in names:
        if not any(name in (case, *labels) for case, labels in known.items()):
            raise ValueError(f"unknown case {name!r}; --list names the cases, their series and groups")
    return [case for case, labels in known.items() if not names or {case, *labels} & set(names)]
