"""Write docs/accuracy.md: how far each device may be from NumPy, from the op table, and how far it was.

``--measure`` measures the devices of this machine anew (docs/accuracy.json); ``--check`` only compares.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

import gpuxp
from gpuxp.ops import ELEMENTWISE

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.properties import accuracy

TARGET, MEASURED = Path(__file__).with_name("accuracy.md"), Path(__file__).with_name("accuracy.json")
COUNT = 50_000
DEVICES = ("cpu", "opencl:0", "mlx:cpu", "cuda:0")
KINDS = {"f": "real", "c": "complex"}
HEAD = """# How exact each device is

Made from the op table by `python docs/accuracy.py`; do not edit.

The distance allowed from NumPy's result, in units in the last place; of complex numbers, in units of their size. The
property tests use these numbers on every device that they find (`tests/properties/test_accuracy.py`). In brackets: the
largest distance that was measured, on {count:,} random operands of each row's domain. *host*: the device has no such
kernel or dtype, and the host computes it, counted. `expit` and `logit` are compared with SciPy's. `logaddexp` and
`logaddexp2` lose digits where their result is near zero, NumPy's too; the numbers are for operands above zero. NumPy's
powers of complex numbers lose as many digits as ``b * log(a)`` has before its point, here up to some hundred units; a
device may be near NumPy's or near the true value.

{machines}

"""
TAIL = """
**Exact on every device**, bit for bit: all rows for booleans and integers, and of floats {exact}; so are conversions,
movement, masks, sorting and sums of integers.

**Sums, products and means** of floats are added in one order on every device ([how](engine.md#5-the-kernel)), so their
bits are the same on all of them, as the fuzzer checks. Compared with NumPy, sums and means are within 2 n eps times the
sum of the operands' sizes, `var` and `std` within 8 n eps times the square of that sum.

**Matrix products, transforms and LAPACK** are the device's library; the tests ask for 4 units in the last place, or
1e-13, on the documented calls.
"""


def cell(name: str, kind: str, device: str, measured: dict[str, Any]) -> str:
    """Return what one device promises for a row, and what was seen."""
    found = measured.get(device)
    if found is None:
        return str(ELEMENTWISE[name].bound(device, kind))
    seen = [apart for dtype, apart in found.get(name, {}).items() if np.dtype(dtype).kind == kind]
    return f"{ELEMENTWISE[name].bound(device, kind)} ({max(seen):.3g})" if seen else "host"


def page(measured: dict[str, Any], machines: str) -> str:
    """Return the whole page."""
    lines, exact = [], []
    for name in accuracy.NAMES:
        row = ELEMENTWISE[name]
        kinds = {dtype.kind for dtype in accuracy.loops(row)}
        for kind in (k for k in KINDS if k in kinds):
            if any(row.bound(device, kind) for device in DEVICES):
                cells = (cell(name, kind, device, measured) for device in DEVICES)
                lines.append(f"| `{name}` | {KINDS[kind]} | {' | '.join(cells)} |")
            elif kind == "f":
                exact.append(f"`{name}`")
    head = f"| row | of | {' | '.join(f'`{d}`' for d in DEVICES)} |\n|---|---|{'---|' * len(DEVICES)}\n"
    return HEAD.format(count=COUNT, machines=machines) + head + "\n".join(lines) + "\n" + TAIL.format(
        exact=", ".join(exact)
    )  # fmt: skip


def measure() -> dict[str, Any]:
    """Return what the devices of this machine do, beside what is known of others."""
    known = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    for device in DEVICES:
        if device in gpuxp.devices():
            rows = accuracy.measure(device, COUNT)
            known[device] = {"on": gpuxp.Device(device).description, "rows": rows}
    return known


if __name__ == "__main__":
    if "--measure" in sys.argv:
        MEASURED.write_text(json.dumps(measure(), indent=1) + "\n")
    results = json.loads(MEASURED.read_text())
    machines = "\n".join(f"- `{device}`: {found['on']}" for device, found in results.items())
    made = page({device: found["rows"] for device, found in results.items()}, machines)
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == made else "docs/accuracy.md is out of date: run python docs/accuracy.py")
    TARGET.write_text(made)
