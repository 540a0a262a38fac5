"""Write docs/coverage.md: how each public name is carried out, read off the code itself."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import numpy as np

import gpuxp
from gpuxp import hostnames, namespace
from gpuxp.ops import ELEMENTWISE
from gpuxp.ufunc import PUBLIC, ufunc

TARGET = Path(__file__).with_name("coverage.md")
HEAD = """# Coverage

Made from the code by `python docs/coverage.py`; do not edit.

*kernel*: recorded, fused, run by the device's own kernels. *view*: geometry alone. *composed*: written in other
functions of the namespace. *library*: a recorded call that never fuses (the device's library, NumPy's on `cpu`).
*derived*: NumPy's on `cpu`; elsewhere made of the device's `take`, `put`, `accumulate` and sorting, and of recorded
operations.
*host*: NumPy on the host, which on `cpu` is the device and elsewhere a counted fallback. *shared*: needs no device.

"""
VIEWS = "view_of("
DERIVED = ("derived.", "products.", "_cumulative(", "_running(", "_arg(", "_unique_row(", "_unique(")
HOST = ("host_call(", "_call(", "update(", "_draw(")


def kind_of(name: str, member: object) -> str:
    """Say how a member of the namespace is carried out."""
    if isinstance(member, ufunc):
        return "kernel"
    if name in hostnames.NAMES:
        return "host"
    if not inspect.isfunction(member) or not member.__module__.startswith("gpuxp"):
        return "shared"
    source = inspect.getsource(member).replace("quiet_call(", "")  # small arrays of functions of any kind
    if "library(" in source:
        return "library"
    if any(mark in source for mark in DERIVED):
        return "derived"
    if any(mark in source for mark in HOST):
        return "host"
    if "reduce(" in source or "_record" in source or "select(" in source or "fresh(" in source or "_unset(" in source:
        return "kernel"
    return "view" if VIEWS in source else "composed"


def spelled(row_name: str) -> str:
    """Return the dtype kinds for which C-like devices have an expression."""
    row = ELEMENTWISE[row_name]
    kinds = set(row.c) | ({"b", "i", "u", "f"} if "*" in row.c else set())
    if row.expand is not None:
        kinds |= set(row.expand_kinds)
    return "".join(k for k in "biufc" if k in kinds) or "-"


def table() -> str:
    """Return the whole page."""
    members = {n: namespace.member(n) for n in namespace.names() if not n.startswith("_")}
    members = {n: m for n, m in members.items() if not inspect.ismodule(m)}
    kinds = {name: kind_of(name, member) for name, member in members.items()}
    counts = {
        kind: sum(k == kind for k in kinds.values())
        for kind in ("kernel", "view", "composed", "library", "derived", "host", "shared")
    }
    lines = [HEAD + ", ".join(f"{n} {kind}" for kind, n in counts.items()) + f": {len(kinds)} names.\n"]
    lines += ["## Main namespace\n", "| name | how | spelled in C for kinds |", "|---|---|---|"]
    for name in sorted(kinds, key=str.lower):
        c = spelled(members[name].row.name) if name in PUBLIC else ""
        lines.append(f"| `{name}` | {kinds[name]} | {c} |")
    for part in ("linalg", "fft", "random", "special"):
        module = getattr(gpuxp, part)
        lines += [f"\n## {part}\n", ", ".join(f"`{n}`" for n in sorted(module.__all__))]
    missing = [n for n in dir(np) if not n.startswith("_") and not hasattr(gpuxp, n)]
    lines += ["\n## NumPy's names that are absent\n", ", ".join(f"`{n}`" for n in missing)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    page = table()
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text() == page else "docs/coverage.md is out of date: run python docs/coverage.py")
    TARGET.write_text(page)
