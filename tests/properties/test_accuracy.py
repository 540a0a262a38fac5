"""Every device stays within the bounds that the documentation lists: random operands of each row's domain."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gpuxp.ops import ELEMENTWISE

from .accuracy import NAMES, loops, worst

PAGE = Path(__file__).parents[2] / "docs" / "accuracy.py"


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_within_its_bound(name: str, device: str) -> None:
    row = ELEMENTWISE[name]
    for dtype in loops(row):
        apart, by_host = worst(device, name, dtype, 3000)
        bound = max(row.bound(device, dtype.kind), row.bound("cpu", dtype.kind) if by_host else 0)
        assert apart <= bound, f"{name} of {dtype} on {device}: {apart:.2f} ulp, allowed are {bound}"


def test_what_was_measured_is_within_the_bounds() -> None:
    if not PAGE.exists():
        pytest.skip("needs the repository: the docs are not part of the package")
    for device, found in json.loads(PAGE.with_suffix(".json").read_text()).items():
        for name, row in found["rows"].items():
            for dtype, apart in row.items():
                kind = "c" if dtype.startswith("complex") else "f"
                assert apart <= ELEMENTWISE[name].bound(device, kind), f"{name} of {dtype} on {device}"


def test_the_page_is_up_to_date() -> None:
    if not PAGE.exists():
        pytest.skip("needs the repository: the docs are not part of the package")
    done = subprocess.run([sys.executable, str(PAGE), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
