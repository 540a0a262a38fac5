"""A row of the result: what each side took for a case, and the ratios of times taken side by side."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

OWN = "gpuxp"


@dataclass(frozen=True)
class Spread:
    """The middle of repeated measurements."""

    median: float
    low: float  # first quartile
    high: float  # third quartile

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the quartiles."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def apart(self, other: Spread) -> bool:
        """Whether the quartiles do not touch the other's."""
        return self.low > other.high or other.low > self.high


@dataclass(frozen=True)
class Row:
    """One case as measured."""

    name: str
    title: str
    group: str
    elements: int  # of a case that is one of a series of sizes
    unit: str  # "s", or what else was measured
    values: dict[str, Spread]  # by side, per call or per element or operation
    ratios: dict[str, Spread] = field(default_factory=dict)  # other side / gpuxp: above 1 gpuxp is faster
    traffic: int = 0  # bytes that a memory-bound case has to move
    compiled: float | None = None  # share of gpuxp's kernels that ran as compiled code; None: it ran none

    @property
    def series(self) -> str:
        """The name without its size."""
        return self.name.split("[")[0]

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Row:
        """Return the row that `dataclasses.asdict` made this of."""
        spreads = {
            part: {side: Spread(**spread) for side, spread in found[part].items()} for part in ("values", "ratios")
        }
        return cls(**{**found, **spreads})


def spreads(samples: Mapping[str, Sequence[float]], per: int = 1) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Return each side's spread, and the spread of its ratios to gpuxp's time of the same round."""
    values = {side: Spread.of([t / per for t in times]) for side, times in samples.items()}
    own = samples.get(OWN)
    if own is None or any(t <= 0 for t in own):
        return values, {}
    ratios = {
        side: Spread.of([other / mine for other, mine in zip(times, own, strict=True)])
        for side, times in samples.items()
        if side != OWN
    }
    return values, ratios
