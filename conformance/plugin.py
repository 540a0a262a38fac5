"""A pytest plugin, loaded into the suite: it counts what the host ran for the device."""

from __future__ import annotations

import json
import os
from pathlib import Path

FOLDER = "GPUXP_CONFORMANCE_COUNTS"


def pytest_sessionfinish() -> None:
    """Write this process's counts of host fallbacks."""
    from gpuxp import fallback

    folder = os.environ.get(FOLDER)
    if folder:
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(dict(fallback.counts)))


def read_counts(folder: Path) -> dict[str, int]:
    """Add up the counts of all processes."""
    total: dict[str, int] = {}
    for file in sorted(folder.glob("*.json")):
        for name, count in json.loads(file.read_text()).items():
            total[name] = total.get(name, 0) + count
    return dict(sorted(total.items(), key=lambda item: -item[1]))
