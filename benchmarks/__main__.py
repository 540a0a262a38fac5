"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import gpuxp
from gpuxp.config import TIERS
from gpuxp.demo import table

from . import cases, machine, peers, plots, processes, results, tables, targets, timing, vendors
from .case import FULL, QUICK
from .row import Row

_FOLDER = Path("build/benchmarks")  # what git ignores


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Time gpuxp against NumPy and its peers.")
    add = parser.add_argument
    add("--only", nargs="+", metavar="NAME", default=[], help="cases, series or groups, such as chain3 exp single")
    add("--list", action="store_true", help="name the cases with their groups")
    add("--quick", action="store_true", help="smaller sizes, fewer repeats")
    add("--repeats", type=_positive, help="rounds of each case (15, quick 5)")
    add("--tier", choices=TIERS, default=gpuxp.config.tier, help="force a tier of the software GPU")
    add("--device", default="cpu", help="another than cpu is timed against its vendor's library")
    add("--no-peers", action="store_true", help="time NumPy and gpuxp alone")
    add("--json", type=Path, metavar="FILE", help=f"where to save the result ({_FOLDER}/DATE.json)")
    add("--plot", type=Path, metavar="FILE.png", help="where to draw it (beside the JSON)")
    add("--compare", type=Path, nargs=2, metavar=("OLD.json", "NEW.json"), help="print changes beyond noise")
    add("--check", nargs="?", type=Path, const=True, metavar="FILE.json",
        help="print which targets hold, of this run or of a saved one; exit code 1 if one does not")  # fmt: skip
    return parser


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def _measure(names: Sequence[str], options: timing.Options) -> tuple[list[Row], dict[str, str]]:
    """Measure what these names choose; return the rows, and why others were left out."""
    known = {case.name: case for case in cases.all_cases(options.scale)}
    labels = {name: (case.series, case.group) for name, case in known.items()}
    chosen = cases.choose(names, labels | {name: (name, processes.GROUP) for name in processes.MEASURES})
    rows: list[Row] = []
    skipped: dict[str, str] = {}
    with table.progress(len(chosen), "benchmarks") as announce:
        for name in chosen:
            announce(name)
            if name in known:
                try:
                    rows.append(timing.measure(known[name], options))
                except timing.NoRoomError as error:
                    skipped[name] = str(error)
            else:
                rows.extend(processes.measure(name, options.scale, options.repeats))
    return rows, skipped


def _run(arguments: argparse.Namespace) -> results.Run:
    present = [] if arguments.no_peers or arguments.device != "cpu" else peers.installed()
    repeats = arguments.repeats or (5 if arguments.quick else 15)
    scale, warm = (QUICK, 0.1) if arguments.quick else (FULL, 0.3)
    facts = machine.facts()  # the load before, not our own
    with gpuxp.configure(tier=arguments.tier):
        options = timing.Options(arguments.device, scale, repeats, warm, present)
        rows, skipped = _measure(arguments.only or cases.for_device(arguments.device, scale), options)
    settings = {
        "device": arguments.device, "tier": arguments.tier, "quick": arguments.quick, "repeats": repeats,
        "peers": present or list(vendors.NAMES), "absent": [name for name in peers.NAMES if name not in present],
        "compile_errors": gpuxp.stats().get(arguments.device, {}).get("compile_errors", 0),
    }  # fmt: skip
    return results.Run.of(facts, settings, rows, skipped)


def _save(run: results.Run, json: Path | None, picture: Path | None) -> None:
    stamp = run.machine["date"][:19].replace(":", "")
    json = json or _FOLDER / f"{stamp}.json"
    results.save(run, json)
    print(f"saved as {json}")
    if plots.can_plot():
        picture = picture or json.with_suffix(".png")
        plots.plot(run, picture)
        print(f"drawn in {picture}")
    else:
        print("no picture: it needs matplotlib, pip install 'gpuxp[bench]'")


def _command(arguments: argparse.Namespace) -> int:
    if arguments.list:
        for case in cases.all_cases(QUICK if arguments.quick else FULL):
            print(f"{case.name:24} {case.group:10} {case.title}")
        print(*(f"{name:24} {processes.GROUP}" for name in processes.MEASURES), sep="\n")
        return 0
    if arguments.compare:
        tables.compare(*(results.load(path) for path in arguments.compare))
        return 0
    if isinstance(arguments.check, Path):
        return 0 if targets.check(results.load(arguments.check)) else 1
    run = _run(arguments)
    tables.show(run)
    _save(run, arguments.json, arguments.plot)
    return 0 if not arguments.check or targets.check(run) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and return the exit code."""
    try:
        return _command(_parser().parse_args(arguments))
    except (ValueError, RuntimeError, results.NotAResultError, gpuxp.UnknownDeviceError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
