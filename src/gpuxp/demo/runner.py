"""Runs programs with NumPy and on devices, compares the results and takes the time of each."""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import gpuxp

from .program import Inputs, Program

_TOLERANCE = {"float32": 1e-4, "complex64": 1e-4, "float64": 1e-9, "complex128": 1e-9}

Results = tuple[np.ndarray[Any, Any], ...]


@dataclass
class OnDevice:
    """How one program went on one device."""

    milliseconds: float
    ratio: float  # NumPy's time over the device's: above 1 the device is faster
    match: bool
    problem: str = ""
    fallbacks: int = 0


@dataclass
class Outcome:
    """How one program went."""

    name: str
    title: str
    result: str
    numpy_milliseconds: float
    devices: dict[str, OnDevice] = field(default_factory=dict)

    @property
    def match(self) -> bool:
        """Whether every device gave NumPy's result."""
        return all(found.match for found in self.devices.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the outcome for JSON."""
        return asdict(self) | {"match": self.match}


def choose(names: Sequence[str]) -> tuple[list[Program], list[str]]:
    """Return the programs of these names (none means all) that can run, and a line about each that cannot."""
    from . import PROGRAMS

    known = {program.name for program in PROGRAMS}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown program {unknown[0]!r}; the programs are {', '.join(sorted(known))}")
    wanted = [program for program in PROGRAMS if not names or program.name in names]
    missing = [p for p in wanted if p.needs and importlib.util.find_spec(p.needs) is None]
    return [p for p in wanted if p not in missing], [f"{p.name}: left out, it needs {p.needs}" for p in missing]


def _on_host(outputs: tuple[Any, ...]) -> Results:
    return tuple(np.asarray(value) for value in outputs)


def _ready(program: Program, inputs: Inputs, device: str | None) -> Callable[[], Results]:
    """Return a call that runs the program, its arrays being on the device already; results come to the host."""
    if device is None:
        return lambda: _on_host(program.run(np, **inputs))
    with gpuxp.device(device):
        moved = {k: gpuxp.asarray(v) if isinstance(v, np.ndarray) else v for k, v in inputs.items()}

    def call() -> Results:
        with gpuxp.device(device):
            return _on_host(program.run(gpuxp, **moved))

    return call


def _distance(want: np.ndarray[Any, Any], got: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return how far apart values are, relative to their size and the largest's; infinite if one is not finite."""
    with np.errstate(all="ignore"):
        finite = np.isfinite(want) & np.isfinite(got)
        size = np.abs(want) + np.abs(want).max(initial=0, where=finite)
        off = np.where(finite, np.abs(want - got) / size, np.inf)
    return np.where((want == got) | (np.isnan(want) & np.isnan(got)), 0, off)


def difference(expected: Results, found: Results, tolerance: float | None = None) -> str:
    """Say how two results differ; nothing if they match within the dtype's tolerance."""
    for number, (want, got) in enumerate(zip(expected, found, strict=True)):
        if want.shape != got.shape or want.dtype != got.dtype:
            return f"output {number}: {got.dtype}{list(got.shape)} instead of {want.dtype}{list(want.shape)}"
        if want.dtype.kind not in "fc":
            wrong = np.count_nonzero(want != got)
            if wrong:
                return f"output {number}: {wrong:,} of {want.size:,} values differ"
            continue
        off = _distance(want, got)
        if np.any(off > (tolerance or _TOLERANCE[want.dtype.name])):
            return f"output {number}: off by {off.max():.3g} of its size"
    return ""


def _clock(call: Callable[[], Results]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1000


def _medians(calls: dict[str, Callable[[], Results]], repeats: int) -> dict[str, float]:
    """Take the times in turn, so that a busy moment of the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(_clock(call))
    return {name: statistics.median(found) for name, found in times.items()}


def run_program(program: Program, devices: Sequence[str], *, small: bool, repeats: int) -> Outcome:
    """Run a program with NumPy and on each device: once to compare, then `repeats` times by the clock."""
    inputs = program.prepare(small)
    calls = {"numpy": _ready(program, inputs, None)}
    with np.errstate(all="ignore"):
        expected = calls["numpy"]()
        found: dict[str, OnDevice] = {}
        for device in devices:
            before = gpuxp.stats().get(device, {}).get("fallbacks", 0)
            problem = ""
            try:
                call = _ready(program, inputs, device)
                problem = difference(expected, call(), program.tolerance)
                calls[device] = call
            except Exception as error:  # a program that fails is a line of the table, not the end of the demo
                problem = f"{type(error).__name__}: {error}"
            fallbacks = gpuxp.stats().get(device, {}).get("fallbacks", 0) - before
            found[device] = OnDevice(float("nan"), float("nan"), not problem, problem, fallbacks)
        times = _medians(calls, repeats)
    for device, record in found.items():
        if device in times:
            record.milliseconds, record.ratio = times[device], times["numpy"] / times[device]
    return Outcome(program.name, program.title, program.tell(*expected), times["numpy"], found)
