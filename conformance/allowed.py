"""What the host may do for a device, and the tests that were seen to need it: ``fallback-allowed-opencl.txt`` and more.

Under the fallback policy ``error`` a run fails where the host is needed for another reason than those below, which
`docs/differences.md` names. So it is judged alike whichever dtypes its tests draw; the lists are for people.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

Needs = set[tuple[str, str]]  # why the host was needed, and the test

_HERE = Path(__file__).resolve().parent
_LACKING = "(float16|float64|complex64|complex128)"
_LAPACK = (
    "cholesky det eig eigh eigvals eigvalsh inv matrix_norm matrix_power matrix_rank pinv qr slogdet solve svd svdvals"
)
RIGHT = {  # what belongs on the host, and how a refusal says so
    "dtypes that it lacks": rf"\S+ has no {_LACKING}|{_LACKING} is not a type that \S+ has on this device",
    "LAPACK's work": rf"linalg\.({'|'.join(_LAPACK.split())}): .*",
    "transforms in double precision": r"fft\.\w+: \S+ has none for (float64|complex128)",
}
HEAD = """# Tests of the array API suite that needed the host on {kind}, by reason: reasons are judged, not this list.
# Made by `python -m conformance --device {device} --fallback error --write-list`; which tests draw a dtype is chance.
"""


def path_of(device: str) -> Path:
    """Return the list of a device's kind."""
    return _HERE / f"fallback-allowed-{device.partition(':')[0]}.txt"


def need_of(op: str, reason: str) -> str:
    """Return why an operation needs the host: its name does not matter where the reason is right by itself."""
    return reason if kind_of(reason) else f"{op}: {reason}"


def kind_of(need: str) -> str:
    """Return which of the right reasons a need has; nothing if it has none."""
    return next((kind for kind, pattern in RIGHT.items() if re.fullmatch(pattern, need)), "")


def read(path: Path) -> Needs:
    """Return what a list holds."""
    found, need = set(), ""
    for line in path.read_text().splitlines() if path.exists() else ():
        if line.startswith("  "):
            found.add((need, line.strip()))
        elif not line.startswith("#"):
            need = line
    return found


def write(path: Path, device: str, found: Iterable[tuple[str, str]]) -> None:
    """Write a list."""
    lines = []
    for need, tests in groupby(sorted(found), key=lambda pair: pair[0]):
        lines += [need, *(f"  {test}" for _, test in tests)]
    head = HEAD.format(kind=device.partition(":")[0], device=device)
    path.write_text(head + "".join(f"{line}\n" for line in lines))


def judge(found: Needs, listed: Needs) -> tuple[Needs, Needs, Needs]:
    """Return what needs the host and must not, what does rightly but is not listed, and what is listed and does not."""
    wrong = {(need, test) for need, test in found if not kind_of(need)}
    return wrong, found - wrong - listed, listed - found
