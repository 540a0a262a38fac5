"""Peers: the fused cases as somebody would port them by hand, where the libraries are installed.

Each has what helps it most: outputs allocated before the clock starts (numexpr, Numba), one compiled function for the
whole case (Numba, JAX), the threads that gpuxp has.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import Any

from gpuxp.config import num_threads

from .case import Case, Inputs, Work

# OpenMP threads that spin after their work would slow down the side that is timed next
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

NAMES = ("numexpr", "numba", "jax")
PORTS = ("numba", "jax")  # those that a program has to be ported to


def installed() -> list[str]:
    """Return the peers that are there."""
    return [name for name in NAMES if importlib.util.find_spec(name) is not None]


def works(case: Case, inputs: Inputs, names: Sequence[str]) -> dict[str, Work]:
    """Return the peers' versions of a case."""
    found = {name: _module(name).work(case, inputs) for name in names}
    return {name: work for name, work in found.items() if work is not None}


def _module(name: str) -> Any:
    module = importlib.import_module(f"{__package__}.peer_{name}")
    module.set_threads(num_threads())
    return module
