"""A run as a JSON file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .row import Row

_FORMAT = "gpuxp benchmarks 1"


class NotAResultError(Exception):
    """A file is not what a run saved."""


@dataclass(frozen=True)
class Run:
    """What a run found."""

    machine: Mapping[str, Any]
    settings: Mapping[str, Any]  # device, tier, scale, repeats, peers that were there and that were not
    rows: Mapping[str, Row]
    skipped: Mapping[str, str]  # case -> why

    @classmethod
    def of(
        cls, machine: Mapping[str, Any], settings: Mapping[str, Any], rows: Sequence[Row], skipped: Mapping[str, str]
    ) -> Run:
        """Return a run of these rows."""
        return cls(machine, settings, {row.name: row for row in rows}, skipped)


def save(run: Run, path: Path) -> None:
    """Write a run to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"format": _FORMAT, **dataclasses.asdict(run)}, indent=1) + "\n")


def load(path: Path) -> Run:
    """Read a run from a file; `NotAResultError` if it is none."""
    try:
        found = json.loads(path.read_text())
    except OSError as error:
        raise NotAResultError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise NotAResultError(f"{path} is not JSON, so no result of python -m benchmarks") from None
    if not isinstance(found, dict) or found.pop("format", None) != _FORMAT:
        raise NotAResultError(f"{path} is no result of this version of python -m benchmarks")
    try:
        rows = {name: Row.from_json(row) for name, row in found.pop("rows").items()}
        return Run(**found, rows=rows)
    except (KeyError, TypeError, AttributeError) as error:
        raise NotAResultError(f"{path} is a damaged result: {error}") from None
