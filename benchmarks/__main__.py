"""The command ``python -m benchmarks``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import gpuxp
from gpuxp.demo import table

from . import results, timing
from .cases import all_cases

_IMPORT = "import"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description="Time gpuxp against NumPy.")
    parser.add_argument("--case", nargs="+", metavar="NAME", default=[], help="such as chain64; add: all its sizes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes, few repeats")
    parser.add_argument("--repeats", type=int, help="runs of each (15, quick 5)")
    parser.add_argument("--list", action="store_true", help="name the cases")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the times there")
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the ratios")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("BEFORE", "AFTER"), help="two JSON files")
    return parser


def _run(names: Sequence[str], device: str, *, quick: bool, repeats: int) -> list[timing.Timing]:
    cases = {case.name: case for case in all_cases(quick)}
    known = [*cases, _IMPORT]
    for name in names:
        if not any(name in (case, case.split("[")[0]) for case in known):
            raise ValueError(f"unknown case {name!r}; the cases are {', '.join(known)}")
    chosen = [case for case in known if not names or case in names or case.split("[")[0] in names]
    timings = []
    with gpuxp.configure(fallback="allow"), table.progress(len(chosen), "benchmarks") as announce:
        for name in chosen:
            announce(name)
            if name == _IMPORT:
                timings.append(timing.measure_import(repeats))
            else:
                timings.append(timing.measure(cases[name], device, quick=quick, repeats=repeats))
    return timings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks and return the exit code."""
    options = _parser().parse_args(arguments)
    if options.compare:
        results.compare(*options.compare)
        return 0
    if options.list:
        print(*(case.name for case in all_cases(options.quick)), _IMPORT, sep="\n")
        return 0
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        print("benchmarks: --plot needs matplotlib: pip install 'gpuxp[bench]'", file=sys.stderr)
        return 2
    repeats = options.repeats or (5 if options.quick else 15)
    try:
        timings = _run(options.case, options.device, quick=options.quick, repeats=repeats)
    except (ValueError, gpuxp.UnknownDeviceError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    results.show(timings, options.device)
    run = results.as_dict(timings, options.device, quick=options.quick)
    if options.json:
        options.json.write_text(json.dumps(run, indent=2) + "\n")
    if options.plot:
        results.plot(run, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
