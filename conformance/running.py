"""Runs the suite in processes of its own and sums up what pytest reports."""

from __future__ import annotations

import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from . import allowed, plugin, suite

STANDARD = "2025.12"
EXPECTED = {suite.REVISION: 1379}  # tests of a revision that must run; the suite itself skips five more
_ROOT = Path(__file__).resolve().parent.parent
_GOOD = ("passed", "skipped")


@dataclass(frozen=True)
class Options:
    """How to run the suite."""

    device: str
    max_examples: int = 100
    workers: int = 2
    fallback: str = "allow"
    only: str = ""


def environment(options: Options, folder: Path) -> dict[str, str]:
    """Return the environment that the suite runs in."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ARRAY_API_TESTS_", "PYTEST_"))}
    return kept | {
        "ARRAY_API_TESTS_MODULE": "gpuxp",
        "ARRAY_API_TESTS_VERSION": STANDARD,
        "GPUXP_DEVICE": options.device,
        "GPUXP_FALLBACK": options.fallback,
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "hypothesis"),
        plugin.FOLDER: str(folder / "counts"),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")])),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "1",  # the processes share the cores already
    }


def command(options: Options, folder: Path) -> list[str]:
    """Return the command line: no cache, and empty lists of skips and expected failures."""
    made = [
        sys.executable, "-m", "pytest", "array_api_tests", "-q", "--no-header", "--tb=short", "--disable-warnings",
        "-p", "no:cacheprovider", "-p", "conformance.plugin", "-n", str(options.workers),
        "--json-report", "--json-report-omit=collectors,log,streams", f"--json-report-file={folder / 'report.json'}",
        "--disable-deadline", f"--max-examples={options.max_examples}",
        f"--skips-file={folder / 'none.txt'}", f"--xfails-file={folder / 'none.txt'}",
    ]  # fmt: skip
    return [*made, "-k", options.only] if options.only else made


def reason_of(test: dict[str, Any]) -> str:
    """Return why a test was skipped."""
    for phase in ("setup", "call"):
        text = str(test.get(phase, {}).get("longrepr", ""))
        if "Skipped: " in text:
            return text.rsplit("Skipped: ", 1)[1].rstrip("')\n")
    return "no reason given"


def summarise(report: dict[str, Any]) -> dict[str, Any]:
    """Sum up pytest's report: counts, counts per file, what failed and why tests were skipped."""
    counts: Counter[str] = Counter({"passed": 0, "failed": 0, "error": 0, "xfailed": 0, "xpassed": 0, "skipped": 0})
    files: dict[str, Counter[str]] = {}
    failures, skips = [], {}
    for test in report["tests"]:
        outcome = test["outcome"]
        counts[outcome] += 1
        name = test["nodeid"].removeprefix("array_api_tests/")
        files.setdefault(name.split("::")[0], Counter())[outcome] += 1
        if outcome == "skipped":
            skips[name] = reason_of(test)
        elif outcome not in _GOOD:
            failures.append(name)
    return {
        "counts": dict(counts), "failures": sorted(failures), "skips": dict(sorted(skips.items())),
        "files": {name: dict(found) for name, found in sorted(files.items())},
    }  # fmt: skip


def problems(summary: dict[str, Any], exitcode: int, *, whole: bool) -> list[str]:
    """Say what keeps a run from being a success; nothing if it is one."""
    found = [f"{count} {outcome}" for outcome, count in summary["counts"].items() if count and outcome not in _GOOD]
    expected = EXPECTED.get(summary["suite"]["revision"].removesuffix("-changed"), 1) if whole else 1
    passed = summary["counts"]["passed"]
    if not found and passed < expected:
        found.append(f"only {passed} tests ran, of {expected}")
    if not found and exitcode:
        found.append(f"pytest ended with code {exitcode}")
    return found


def _about(options: Options, checkout: Path) -> dict[str, Any]:
    return {
        "device": options.device,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {"gpuxp": metadata.version("gpuxp"), "numpy": metadata.version("numpy"),
                     "python": platform.python_version()},
        "suite": {"url": suite.URL, "revision": suite.revision_of(checkout),
                  "array_api": suite.revision_of(checkout / suite.SUBMODULE)},
        "standard": STANDARD,
        "max_examples": options.max_examples,
        "fallback": options.fallback,
    }  # fmt: skip


def run(options: Options, checkout: Path) -> tuple[dict[str, Any], allowed.Needs]:
    """Run the suite on a device; return the summary and what needed the host. Pytest's own output is shown."""
    with tempfile.TemporaryDirectory(prefix="gpuxp-conformance-") as name:
        folder = Path(name)
        (folder / "counts").mkdir()
        (folder / "none.txt").touch()
        start = time.perf_counter()
        done = subprocess.run(
            command(options, folder), cwd=checkout, env=environment(options, folder), check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        report = folder / "report.json"
        tests = json.loads(report.read_text()) if report.is_file() else {"tests": []}
        summary = _about(options, checkout) | summarise(tests)
        counts, needs = plugin.read_notes(folder / "counts")
        summary |= {"seconds": round(seconds, 1), "host_fallbacks": counts}
    summary["problems"] = problems(summary, done.returncode, whole=not options.only)
    return summary, needs
