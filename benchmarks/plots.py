"""A run as a picture; needs matplotlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .peers import NAMES
from .results import Run
from .row import OWN, Row
from .targets import RATIOS

_MARKS = dict(zip(NAMES, "^sD", strict=True))


def can_plot() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def plot(run: Run, target: Path) -> None:
    """Draw bars for the cases, and lines for what is measured at many sizes."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure = pyplot.figure(figsize=(15, 11), layout="constrained")
    grid = figure.add_gridspec(3, 2, height_ratios=(5, 3, 3))
    places = (grid[:, 0], grid[0, 1], grid[1, 1], grid[2, 1])
    bars, ratios, elements, operations = (figure.add_subplot(place) for place in places)
    groups: dict[str, list[Row]] = {}
    for row in run.rows.values():
        groups.setdefault(row.group, []).append(row)
    _bars(bars, groups.get("whole", []))
    _lines(ratios, groups.get("single", []), "NumPy's time / gpuxp's", [])
    ratios.axhline(1, color="grey", linewidth=0.8)
    _lines(elements, groups.get("growth", []), "ns an element", ["numpy", OWN], 1e9)
    recorded = [row for row in groups.get("operation", []) if row.elements]
    _lines(operations, recorded, "µs an operation", ["numpy", OWN], 1e6)
    elements.set_xlabel("elements")
    operations.set_xlabel("operations")
    where = f"{run.machine['processor']}, {run.machine['threads']} threads, tier {run.settings['tier']}"
    figure.suptitle(f"gpuxp on {run.settings['device']} ({where}), {run.machine['date'][:10]}")
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, dpi=100)
    pyplot.close(figure)


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    """Draw ratios to NumPy with quartiles, the peers' beside them, and the targets."""
    for place, row in enumerate(rows):
        found = row.ratios["numpy"]
        spread = [[found.median - found.low], [found.high - found.median]]
        colour = "tab:blue" if found.median >= 1 else "tab:red"
        axes.barh(place, found.median - 1, left=1, xerr=spread, color=colour, height=0.6)
        if row.name in RATIOS:
            axes.plot([RATIOS[row.name]] * 2, [place - 0.45, place + 0.45], color="black")
        for peer, mark in _MARKS.items():
            if peer in row.ratios:  # the peer's own speed on the same scale
                axes.plot(found.median / row.ratios[peer].median, place, mark, color="tab:orange", markersize=6)
    for peer, mark in _MARKS.items():
        axes.plot([], [], mark, color="tab:orange", label=peer)
    axes.plot([], [], color="black", label="target")
    axes.set_yticks(range(len(rows)), [row.name for row in rows])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="grey", linewidth=0.8)
    axes.set_xlabel("NumPy's time / the other's: bars gpuxp, marks peers; above 1 is faster than NumPy")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(_MARKS) + 1)


def _lines(axes: Any, rows: Sequence[Row], label: str, sides: Sequence[str], scale: float = 1.0) -> None:
    """Draw a line for each series: ratios to NumPy where no sides are named, else the sides' times."""
    for number, series in enumerate(dict.fromkeys(row.series for row in rows)):
        points = [row for row in rows if row.series == series]
        for side in sides or ["numpy"]:
            drawn = [row.values[side] if sides else row.ratios[side] for row in points]
            middle, low, high = ([getattr(s, part) * scale for s in drawn] for part in ("median", "low", "high"))
            sizes, name = [row.elements for row in points], f"{series} {side}" if len(sides) > 1 else series
            style = "--" if len(sides) > 1 and side != OWN else ("-", "-.")[number // 10 % 2]
            axes.plot(sizes, middle, style, marker="o", markersize=3, label=name, color=f"C{number % 10}")
            axes.fill_between(sizes, low, high, alpha=0.12, color=f"C{number % 10}")
    axes.set_ylabel(label)
    if rows:
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
