"""A pytest plugin, loaded into the suite: it notes what the host does for the device, and in which test."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

from . import allowed

FOLDER = "GPUXP_CONFORMANCE_COUNTS"
_needs: allowed.Needs = set()


def pytest_configure() -> None:
    """Let the host do what belongs there under any fallback policy, and note why it was asked."""
    import gpuxp
    from gpuxp import fallback

    by_policy = fallback.on_host

    def on_host(device: str, what: str, reason: str, site: tuple[str, int] | None = None) -> None:
        need, test = allowed.need_of(what, reason), os.environ.get("PYTEST_CURRENT_TEST", "")
        _needs.add((need, test.rpartition(" ")[0].removeprefix("array_api_tests/")))
        with gpuxp.configure(**({"fallback": "allow"} if allowed.kind_of(need) else {})):
            by_policy(device, what, reason, site)

    fallback.on_host = on_host


def pytest_sessionfinish() -> None:
    """Write this process's counts of host fallbacks, and what needed them."""
    from gpuxp import fallback

    folder = os.environ.get(FOLDER)
    if folder:
        noted = {"counts": dict(fallback.counts), "needs": sorted(_needs)}
        Path(folder, f"{os.getpid()}.json").write_text(json.dumps(noted))


def read_notes(folder: Path) -> tuple[dict[str, int], allowed.Needs]:
    """Join the counts and the needs of all processes."""
    total: Counter[str] = Counter()
    needs: allowed.Needs = set()
    for file in sorted(folder.glob("*.json")):
        noted = json.loads(file.read_text())
        total.update(noted["counts"])
        needs.update((need, test) for need, test in noted["needs"])
    return dict(total.most_common()), needs
