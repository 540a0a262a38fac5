"""The command ``python -m conformance``."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gpuxp
from gpuxp.demo import table

from . import allowed, report, running, suite

_HERE = Path(__file__).resolve().parent
_PAGE = _HERE.parent / "docs" / "conformance.md"
_NEEDS = ("pytest", "pytest_jsonreport", "xdist", "hypothesis", "ndindex")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="conformance", description="Run the official array API test suite.")
    parser.add_argument("--device", default="cpu", help="such as cpu or opencl:0")
    parser.add_argument("--suite", type=Path, metavar="PATH", help="a checkout; else the pinned revision is cloned")
    parser.add_argument("--max-examples", type=int, default=100, help="examples per test (100)")
    parser.add_argument("--workers", type=int, default=2, help="processes (2)")
    parser.add_argument(
        "--fallback",
        choices=("allow", "error"),
        default="allow",
        help="error: no help from the host, but for reasons that are known (conformance/allowed.py)",
    )
    parser.add_argument("--write-list", action="store_true", help="with it, write fallback-allowed-BACKEND.txt anew")
    parser.add_argument("--only", metavar="EXPRESSION", default="", help="as pytest's -k; nothing is written then")
    parser.add_argument("--results", type=Path, default=_HERE / "results", metavar="FOLDER")
    parser.add_argument("--report", action="store_true", help="only write docs/conformance.md from the results")
    return parser


def _show(summary: dict[str, Any]) -> None:
    columns = ("file", "passed ", "failed ", "xfailed ", "skipped ")
    rows = []
    for name, found in [*summary["files"].items(), ("all", summary["counts"])]:
        failed = found.get("failed", 0) + found.get("error", 0)
        expected = found.get("xfailed", 0) + found.get("xpassed", 0)
        rows.append([name, *(str(n) for n in (found.get("passed", 0), failed, expected, found.get("skipped", 0)))])
    table.show(f"Array API {summary['standard']} on {summary['device']}", columns, rows)
    for name, reason in summary["skips"].items():
        print(f"skipped {name}: {reason}")
    for name in summary["failures"]:
        print(f"FAILED {name}")
    if summary["host_fallbacks"]:
        print("on the host:", ", ".join(f"{name} ({count})" for name, count in summary["host_fallbacks"].items()))


def _judge_needs(options: running.Options, summary: dict[str, Any], found: allowed.Needs, *, write: bool) -> None:
    """Name what needed the host without a right to it, and how the rest differs from the list."""
    path = allowed.path_of(options.device)
    if write and not options.only:
        allowed.write(path, options.device, found)
        print(f"wrote {path.name}: {len({test for _, test in found})} tests need the host")
    wrong, new, gone = allowed.judge(found, allowed.read(path))
    for need, test in sorted(new):
        print(f"note: needs the host, and is not in {path.name}: {test} ({need})")
    for need, test in () if options.only else sorted(gone):
        print(f"note: is in {path.name}, and did not need the host: {test} ({need})")
    for need, test in sorted(wrong):
        print(f"NEEDS THE HOST and must not: {test} ({need})")
    if wrong:
        summary["problems"].append(f"{len({test for _, test in wrong})} tests need the host and must not")


def _check_device(name: str) -> None:
    with gpuxp.device(name):
        missing = [module for module in _NEEDS if importlib.util.find_spec(module) is None]
    if missing:
        raise suite.SuiteError(f"{', '.join(missing)} not installed: pip install 'gpuxp[conformance]'")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite and return 0 if every test passed."""
    given = _parser().parse_args(arguments)
    if given.report:
        report.write(report.read_results(given.results), _PAGE)
        print(f"wrote {_PAGE.relative_to(_HERE.parent)}")
        return 0
    options = running.Options(given.device, given.max_examples, given.workers, given.fallback, given.only)
    try:
        _check_device(options.device)
        checkout = suite.find(given.suite)
    except (suite.SuiteError, gpuxp.UnknownDeviceError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 2
    summary, needs = running.run(options, checkout)
    _show(summary)
    if options.fallback == "error":
        _judge_needs(options, summary, needs, write=given.write_list)
    elif not options.only:
        given.results.mkdir(parents=True, exist_ok=True)
        file = given.results / f"{options.device.replace(':', '_')}.json"
        file.write_text(json.dumps(summary, indent=2) + "\n")
    verdict = "FAILED, " + ", ".join(summary["problems"]) if summary["problems"] else "passed"
    print(f"conformance on {options.device}: {verdict} ({summary['counts']['passed']} tests in {summary['seconds']} s)")
    return 1 if summary["problems"] else 0


if __name__ == "__main__":
    sys.exit(main())
