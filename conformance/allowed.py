"""The tests that need the host, one list per backend: ``fallback-allowed-opencl.txt`` and so on.

A run under the fallback policy ``error`` fails a test wherever the host would have had to help. Those that are in the
list are allowed to; a test that is not has lost its kernel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_HERE = Path(__file__).resolve().parent
_ERROR = re.compile(r"FallbackError: (\S+): \S+ cannot run it \((.*?)\) and the fallback policy")
_LAPACK = (
    "cholesky det eig eigh eigvals eigvalsh inv matrix_norm matrix_power matrix_rank pinv qr slogdet solve svd svdvals"
)
_RIGHTLY = re.compile(rf"linalg\.({'|'.join(_LAPACK.split())}):|.*: \S+ has no (float16|float64|complex64|complex128)$")
HEAD = """# Tests of the array API suite that need the host on {kind}, and what the host does in them.
# Made by `python -m conformance --device {device} --fallback error --write-list`; which tests draw a dtype is chance.
"""


def path_of(device: str) -> Path:
    """Return the list of a device's kind."""
    return _HERE / f"fallback-allowed-{device.partition(':')[0]}.txt"


def reasons_of(test: Mapping[str, Any]) -> list[str]:
    """Return what a failed test wanted of the host; nothing if it failed otherwise."""
    text = str(test.get("call", {}).get("longrepr", ""))
    return sorted({f"{op}: {reason}" for op, reason in _ERROR.findall(" ".join(text.split()))})


def is_right(reasons: str) -> bool:
    """Whether the host does only what belongs there: LAPACK's work, and dtypes that the device lacks."""
    return all(_RIGHTLY.match(reason) for reason in reasons.split("; "))


def read(path: Path) -> dict[str, str]:
    """Return the tests of a list, and what the host does in each."""
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = (line.partition("  # ")[::2] for line in lines if line and not line.startswith("#"))
    return {name: reasons for name, reasons in pairs}


def write(path: Path, device: str, found: Mapping[str, str]) -> None:
    """Write a list."""
    head = HEAD.format(kind=device.partition(":")[0], device=device)
    path.write_text(head + "".join(f"{name}  # {reasons}\n" for name, reasons in sorted(found.items())))


def judge(found: Mapping[str, str], listed: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the tests that need the host and are not listed, and those that are listed and do not need it."""
    return sorted(found.keys() - listed.keys()), sorted(listed.keys() - found.keys())
