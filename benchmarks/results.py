"""Results as JSON files, tables and a picture."""

from __future__ import annotations

import dataclasses
import datetime
import json
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import gpuxp
from gpuxp.config import num_threads
from gpuxp.demo import table

from .timing import Timing


def shown(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    for scale, unit in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def show(timings: Sequence[Timing], device: str) -> None:
    """Print the table of a run."""
    rows = []
    for t in timings:
        spread = (t.gpuxp.high - t.gpuxp.low) / t.gpuxp.median
        rows.append([t.name, t.title, shown(t.numpy.median), shown(t.gpuxp.median), f"{spread:.0%}", f"{t.ratio:.2f}x"])
    columns = ("case", "what", "NumPy ", "gpuxp ", "spread ", "ratio ")
    table.show(f"NumPy and gpuxp on {device}: medians of runs taken in turn; above 1x gpuxp is faster", columns, rows)


def as_dict(timings: Sequence[Timing], device: str, *, quick: bool) -> dict[str, Any]:
    """Return a run for its JSON file."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "description": gpuxp.Device(device).description,
        "quick": quick,
        "threads": num_threads(),
        "python": platform.python_version(),
        "numpy": metadata.version("numpy"),
        "gpuxp": gpuxp.__version__,
        "cases": {t.name: dataclasses.asdict(t) | {"ratio": t.ratio} for t in timings},
    }


def compare(before: Path, after: Path) -> None:
    """Print how the cases of two JSON files differ."""
    old, new = (json.loads(path.read_text()) for path in (before, after))
    rows = []
    for name in old["cases"].keys() & new["cases"].keys():
        was, now = old["cases"][name], new["cases"][name]
        gain = was["gpuxp"]["median"] / now["gpuxp"]["median"]
        apart = was["gpuxp"]["low"] > now["gpuxp"]["high"] or now["gpuxp"]["low"] > was["gpuxp"]["high"]
        times = [shown(run["gpuxp"]["median"]) for run in (was, now)]
        ratios = [f"{run['ratio']:.2f}x" for run in (was, now)]
        rows.append([name, *times, f"{gain:.2f}x", "clear" if apart else "within the spread", *ratios])
    rows.sort(key=lambda row: float(row[3].rstrip("x")))
    columns = ("case", "before ", "after ", "gain ", "verdict", "ratio before ", "ratio after ")
    table.show(f"gpuxp before ({before.name}) and after ({after.name}); a gain above 1x is faster", columns, rows)


def plot(run: dict[str, Any], target: Path) -> None:
    """Draw the ratios of a run; needs matplotlib."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    cases = [c for c in run["cases"].values() if not c["size"]]
    sized = [c for c in run["cases"].values() if c["size"]]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 5), layout="constrained")
    left.barh([c["name"] for c in cases], [c["ratio"] for c in cases])
    left.invert_yaxis()
    for kind in dict.fromkeys(c["name"].split("[")[0] for c in sized):
        points = [(c["size"], c["ratio"]) for c in sized if c["name"].startswith(kind + "[")]
        right.plot(*zip(*points, strict=True), marker="o", label=kind)
    if sized:
        right.set_xscale("log")
        right.legend()
    right.axhline(1, color="grey", linewidth=0.8)
    left.axvline(1, color="grey", linewidth=0.8)
    left.set_xlabel("NumPy's time / gpuxp's time")
    right.set_xlabel("elements")
    right.set_ylabel("NumPy's time / gpuxp's time")
    figure.suptitle(f"gpuxp on {run['device']}: above 1 gpuxp is faster")
    figure.savefig(target, dpi=100)
    pyplot.close(figure)
