"""Rows about fresh processes: imports, first calls with a cold and a warm cache, memory at the peak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import gpuxp

from .case import FULL
from .row import OWN, Row, Spread, spreads

GROUP = "process"
_ROOT = Path(__file__).resolve().parent.parent
_SIZES = (4_000_000, 1_000_000, 200_000)
_MOST = 7  # repeats; a process takes a second

Samples = dict[str, list[float]]


def fresh(*arguments: str, cache: str = "", bytecode: str = "") -> dict[str, float]:
    """Return what a measurement of `fresh` prints in a new process.

    Its kernels are kept in the folder `cache`, and compiled bytecode in `bytecode`, where they are given.
    """
    path = os.pathsep.join([str(Path(gpuxp.__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    settings = {"PYTHONPATH": path, "GPUXP_TIER": gpuxp.config.tier}
    if cache:
        settings["GPUXP_CACHE"] = cache
    environment = os.environ | settings
    if bytecode:
        environment["PYTHONPYCACHEPREFIX"] = bytecode
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "benchmarks.fresh", *arguments]
    done = subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} failed in a fresh process:\n{done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _row(name: str, title: str, unit: str, samples: Samples) -> Row:
    return Row(name, title, GROUP, 0, unit, *spreads(samples))


def _imports(size: int, repeats: int) -> list[Row]:
    samples: Samples = {"numpy": [], OWN: []}
    with tempfile.TemporaryDirectory() as folder:  # both find compiled bytecode, as installed packages do
        for round_ in range(repeats + 1):
            for name, found in samples.items():
                seconds = fresh("import_time", name, bytecode=folder)["seconds"]
                if round_:  # the first fills the caches
                    found.append(seconds)
    return [_row("import", "import", "s", samples)]


def _early(size: int, repeats: int) -> list[Row]:
    found = fresh("compilers_early")["modules"]
    return [_row("compilers_early", "compilers imported before a kernel is hot", "modules", {OWN: [found]})]


_CALLS = {
    "first": "first call of a chain",
    "compiled": "from the first call to compiled code",
    "longest": "longest call on the way there",
}


def _first_calls(size: int, repeats: int) -> list[Row]:
    """Time first calls of NumPy, of gpuxp with nothing in its cache, and of a second process."""
    found: dict[str, list[dict[str, float]]] = {"numpy": [], "cold": [], "warm": []}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as cache:
            found["numpy"].append(fresh("first_calls", "numpy", str(size)))
            for state in ("cold", "warm"):
                found[state].append(fresh("first_calls", OWN, str(size), cache=cache))
    rows = []
    for state in ("cold", "warm"):
        for part, title in _CALLS.items():
            samples = {OWN: [calls[part] for calls in found[state] if part in calls]}
            if part == "first":
                samples["numpy"] = [calls[part] for calls in found["numpy"]]
            if samples[OWN]:  # an interpreter never gets to compiled code
                rows.append(_row(f"{part}[{state}]", f"{title}, {state} cache", "s", samples))
    return rows


def _peaks(size: int, repeats: int) -> list[Row]:
    if not Path("/proc/self/clear_refs").exists():
        return []
    rows = []
    for tier in ("interpreter", "compiled"):
        sides = {"numpy": Spread.of([fresh("peak", "numpy", tier, str(size))["MB"]])}
        sides[OWN] = Spread.of([fresh("peak", OWN, tier, str(size))["MB"] for _ in range(min(repeats, 3))])
        rows.append(Row(f"peak[{tier}]", f"peak beyond inputs and output, {tier}", GROUP, 0, "MB", sides))
    return rows


MEASURES: dict[str, Callable[[int, int], list[Row]]] = {
    "import": _imports,
    "compilers_early": _early,
    "first_calls": _first_calls,
    "peak": _peaks,
}


def measure(name: str, scale: int, repeats: int) -> Sequence[Row]:
    """Return the rows of one of the measures."""
    return MEASURES[name](_SIZES[scale], min(repeats, _MOST if scale == FULL else 2))
