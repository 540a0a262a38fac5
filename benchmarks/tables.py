"""A run as tables, and what changed between two runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpuxp.demo import table

from .cases import GROUPS
from .results import Run
from .row import OWN, Row, Spread

_LEAST_CHANGE = 0.05  # smaller changes are not worth a line, however sure they are


def shown(value: float, unit: str = "s") -> str:
    """Return a value in the unit that suits it."""
    if unit != "s":
        return f"{value:.3g} {unit}"
    for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if value >= scale:
            return f"{value / scale:.3g} {name}"
    return f"{value * 1e9:.3g} ns"


def _ratio(row: Row, side: str) -> str:
    found = row.ratios.get(side)
    return f"{found.median:.2f}x" if found else ""


def _range(spread: Spread | None) -> str:
    return f"{spread.low:.2f}-{spread.high:.2f}" if spread else ""


def _value(row: Row, side: str) -> str:
    found = row.values.get(side)
    return shown(found.median, row.unit) if found else ""


def _list(title: str, rows: Sequence[Row], peers: Sequence[str]) -> None:
    peers = [peer for peer in peers if any(peer in row.ratios for row in rows)]
    lines = [
        [row.name, row.title, _value(row, "numpy"), _value(row, OWN), _ratio(row, "numpy"),
         _range(row.ratios.get("numpy")), *(_ratio(row, peer) for peer in peers),
         "" if row.compiled is None else f"{row.compiled:.0%}"]
        for row in rows
    ]  # fmt: skip
    columns = ["case", "what", "NumPy ", "gpuxp ", "ratio ", "quartiles ", *(f"{peer} " for peer in peers), "compiled "]
    table.show(title, columns, lines)


def _matrix(title: str, rows: Sequence[Row]) -> None:
    """Show ratios by operation and size."""
    sizes = sorted({row.elements for row in rows})
    found = {(row.series, row.elements): row.ratios["numpy"] for row in rows}
    lines = []
    for series in dict.fromkeys(row.series for row in rows):
        cells = [found.get((series, size)) for size in sizes]
        lines.append([series, *(f"{c.median:.2f} ±{(c.high - c.low) / 2:.2f}" if c else "" for c in cells)])
    table.show(title, ["ratio", *(f"{size:,} " for size in sizes)], lines)


def _bandwidth(rows: Iterable[Row]) -> list[str]:
    """Say how much of a copy's bandwidth the memory-bound cases reach."""
    lines = []
    for row in rows:
        if row.traffic and "copy" in row.ratios:
            own, copy = (row.traffic / row.values[side].median / 1e9 for side in (OWN, "copy"))
            share = row.ratios["copy"]
            lines.append(
                f"{row.name}: {own:.1f} GB/s; a copy on the same threads {copy:.1f} GB/s; "
                f"share {share.median:.2f} ({_range(share)})"
            )
    return lines


def show(run: Run) -> None:
    """Print a run."""
    settings, machine = run.settings, run.machine
    print(f"{machine['processor']}, {machine['threads']} threads, load {machine['load']}; tier {settings['tier']}")
    print("ratio: the other's time / gpuxp's, median of rounds; above 1 gpuxp is faster\n")
    if settings["quick"]:
        print("quick: sizes are smaller than the titles say\n")
    for group, title in GROUPS.items():
        rows = [row for row in run.rows.values() if row.group == group]
        if rows and group == "single":
            _matrix(title, rows)
        elif rows:
            _list(title, rows, settings["peers"])
        print(*_bandwidth(rows), sep="\n", end="\n" if rows else "")
    for name, why in run.skipped.items():
        print(f"{name}: left out, it {why}")
    if settings["compile_errors"]:
        print(f"{settings['compile_errors']} kernels could not be compiled; GPUXP_DEBUG=1 tells why")
    if settings["absent"]:
        print(f"peers that were not timed: {', '.join(settings['absent'])}")


def _change(old: Row, new: Row) -> tuple[float, bool, str]:
    """Return how much faster a case has become, whether that is beyond noise, and from what to what.

    Ratios to NumPy are compared where there are any, since another load or clock changes both sides.
    """
    if "numpy" in old.ratios and "numpy" in new.ratios:
        was, now = old.ratios["numpy"], new.ratios["numpy"]
        gain = now.median / was.median
        text = f"{was.median:.2f}x -> {now.median:.2f}x"
    else:
        was, now = old.values[OWN], new.values[OWN]
        gain = was.median / now.median if now.median > 0 else 1.0
        text = f"{shown(was.median, old.unit)} -> {shown(now.median, new.unit)}"
    return gain, was.apart(now) and abs(gain - 1) >= _LEAST_CHANGE, text


def compare(old: Run, new: Run) -> None:
    """Print the cases that changed beyond noise."""
    common = [name for name in old.rows if name in new.rows]
    changes = {name: _change(old.rows[name], new.rows[name]) for name in common}
    lines = [
        [name, old.rows[name].title, text, f"{gain:.2f}x", "faster" if gain > 1 else "SLOWER"]
        for name, (gain, clear, text) in sorted(changes.items(), key=lambda item: item[1][0])
        if clear
    ]
    for run in (old, new):
        print(f"{run.machine['date']}: gpuxp {run.machine['gpuxp']}, load {run.machine['load']}")
    for key in ("processor", "threads", "numpy"):
        if old.machine[key] != new.machine[key]:
            print(f"not the same {key}: {old.machine[key]} and {new.machine[key]}")
    if lines:
        table.show("Changed beyond noise: quartiles apart", ("case", "what", "change", "gain ", ""), lines)
    only = len(old.rows) + len(new.rows) - 2 * len(common)
    remark = f"; {only} are in one file only" if only else ""
    print(f"{len(lines)} of {len(common)} cases changed beyond noise{remark}")
