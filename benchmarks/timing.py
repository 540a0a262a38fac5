"""Takes times in turn, so that a busy moment of the machine meets NumPy and gpuxp alike."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpuxp
from gpuxp.devices import runtime_of

from .cases import Case

_BATCH_SECONDS = 0.01  # fast calls are repeated until a batch takes this long
_CASE_SECONDS = 3.0  # a slow case gets fewer repeats than asked for, but at least three


@dataclass
class Times:
    """What one library took for one call, in seconds."""

    median: float
    low: float  # first quartile
    high: float  # third quartile


@dataclass
class Timing:
    """One row of the result."""

    name: str
    title: str
    size: int
    numpy: Times
    gpuxp: Times

    @property
    def ratio(self) -> float:
        """NumPy's time over gpuxp's: above 1 gpuxp is faster."""
        return self.numpy.median / self.gpuxp.median


def _finish_on(device: str) -> Callable[[], None]:
    """Return a call that waits for all that was recorded, and costs next to nothing where nothing was."""
    runtime = runtime_of(device)
    wait = not runtime.host_visible

    def finish() -> None:
        if runtime.nodes:
            runtime.flush()
        if wait:
            runtime.backend.sync()

    return finish


def _clock(work: Callable[[], Any], finish: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        result = work()  # alive until it is computed
        finish()
    del result
    return (time.perf_counter() - start) / count


def _quartiles(times: list[float]) -> Times:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return Times(median, low, high)


def measure(case: Case, device: str, *, quick: bool, repeats: int) -> Timing:
    """Time one case."""
    with gpuxp.device(device):
        sides = {
            "numpy": (case.make(np, quick), lambda: None),
            "gpuxp": (case.make(gpuxp, quick), _finish_on(device)),
        }
        counts, slowest = {}, 0.0
        for name, (work, finish) in sides.items():
            _clock(work, finish, 2)
            once = _clock(work, finish, 1)
            counts[name] = max(1, round(_BATCH_SECONDS / max(once, 1e-7)))
            slowest += max(once, _BATCH_SECONDS)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(max(3, min(repeats, round(_CASE_SECONDS / slowest)))):
            for name, (work, finish) in sides.items():
                times[name].append(_clock(work, finish, counts[name]))
    return Timing(case.name, case.title, case.size, _quartiles(times["numpy"]), _quartiles(times["gpuxp"]))


def measure_import(repeats: int) -> Timing:
    """Time ``import numpy`` and ``import gpuxp`` in fresh processes; the start of Python itself is in both.

    Both find compiled bytecode, as installed packages do.
    """
    times: dict[str, list[float]] = {"numpy": [], "gpuxp": []}
    with tempfile.TemporaryDirectory() as folder:
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["PYTHONPYCACHEPREFIX"] = folder
        for round_ in range(max(3, repeats) + 1):
            for name, found in times.items():
                start = time.perf_counter()
                subprocess.run([sys.executable, "-c", f"import {name}"], check=True, env=environment)
                if round_:  # the first fills the caches
                    found.append(time.perf_counter() - start)
    return Timing("import", "start Python and import", 0, _quartiles(times["numpy"]), _quartiles(times["gpuxp"]))
