"""The page of the documentation that shows all results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from . import allowed, suite

HEAD = f"""# Conformance

Made by `python -m conformance --report` from the files in `conformance/results/`; do not edit.

The [official test suite of the array API standard]({suite.URL}), revision `{suite.REVISION[:12]}`, standard 2025.12,
run on each device. There is no list of skipped tests and none of expected failures.

| device | passed | failed | xfailed | skipped | examples per test | fallback policy | gpuxp | NumPy | date | seconds |
|---|---|---|---|---|---|---|---|---|---|---|
"""


def read_results(folder: Path) -> list[dict[str, Any]]:
    """Return all results, cpu first."""
    found = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda result: (result["device"] != "cpu", result["device"]))


def _row(result: dict[str, Any]) -> str:
    counts, versions = result["counts"], result["versions"]
    cells = [
        f"`{result['device']}`", counts["passed"], counts["failed"] + counts["error"],
        counts["xfailed"] + counts["xpassed"], counts["skipped"], result["max_examples"], result["fallback"],
        versions["gpuxp"], versions["numpy"], result["date"], result["seconds"],
    ]  # fmt: skip
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def _details(result: dict[str, Any]) -> list[str]:
    lines = []
    if result["failures"]:
        lines += [f"Failures on `{result['device']}`:", "", *(f"- `{name}`" for name in result["failures"]), ""]
    if result["host_fallbacks"]:
        names = ", ".join(f"{name.removeprefix(result['device'] + ':')}" for name in sorted(result["host_fallbacks"]))
        lines += [f"What the host ran for `{result['device']}`: {names}.", ""]
    return lines


def _lists(results: list[dict[str, Any]]) -> list[str]:
    """Return what is known of each device without its host."""
    lines = []
    for device in (result["device"] for result in results):
        path = allowed.path_of(device)
        listed = allowed.read(path)
        if listed:
            tests = {kind: len({t for need, t in listed if allowed.kind_of(need) == kind}) for kind in allowed.RIGHT}
            kinds = ", ".join(f"{kind} ({count})" for kind, count in tests.items() if count)
            lines.append(
                f"- `{device}`: {len({test for _, test in listed})} tests, for {kinds} "
                f"([{path.name}](../conformance/{path.name}))"
            )
    if lines:
        lines.insert(
            0,
            "Tests that needed the host. With `--fallback error`, any other reason than these is a failure:\n",
        )
        lines.append("")
    return lines


def write(results: list[dict[str, Any]], target: Path) -> None:
    """Write the page."""
    lines = [_row(result) for result in results] + [""]
    skips = {name: reason for result in results for name, reason in result["skips"].items()}
    if skips:
        lines += ["Tests that the suite itself leaves out:", ""]
        lines += [f"- `{name}`: {reason}" for name, reason in sorted(skips.items())] + [""]
    lines += _lists(results)
    for result in results:
        lines += _details(result)
    target.write_text(HEAD + "\n".join(lines).rstrip() + "\n")
