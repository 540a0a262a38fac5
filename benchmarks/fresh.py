"""What is measured in a fresh process: ``python -m benchmarks.fresh NAME ...`` prints a JSON object.

Nothing is imported here that a measurement could be about.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import sys
import time
from typing import Any

_LIMIT = 10.0  # seconds to wait for the compiled tier
_COMPILERS = ("numba", "llvmlite")


def import_time(name: str) -> dict[str, float]:
    """Return how long an import takes."""
    start = time.perf_counter()
    importlib.import_module(name)
    return {"seconds": time.perf_counter() - start}


def compilers_early() -> dict[str, float]:
    """Return how many compilers are imported by a program that is too short to need one."""
    import gpuxp as np

    x = np.ones(100_000)
    float((x * 2 + 1).sum())
    return {"modules": float(sum(name in sys.modules for name in _COMPILERS))}


def first_calls(name: str, size: str) -> dict[str, float]:
    """Time the first calls of a kernel, until one of them is compiled code."""
    from .arrays import chain3
    from .case import vectors
    from .timing import finish_on

    np: Any = importlib.import_module(name)
    finish = finish_on("cpu") if name == "gpuxp" else lambda: None
    inputs = {k: np.asarray(v) for k, v in vectors("abc")(int(size)).items()}
    calls: list[float] = []
    start = time.perf_counter()
    while True:
        begun = time.perf_counter()
        result = chain3(np, **inputs)
        finish()
        calls.append(time.perf_counter() - begun)
        del result
        spent = time.perf_counter() - start
        if name == "gpuxp" and np.stats()["cpu"].get("compiled_launches"):
            return {"first": calls[0], "compiled": spent - calls[-1], "longest": max(calls[1:], default=calls[0])}
        if spent > _LIMIT or (name != "gpuxp" and len(calls) > 3):
            return {"first": calls[0]}


def peak(name: str, tier: str, size: str) -> dict[str, float]:
    """Return the MB that a fused chain takes at its peak, beyond its inputs and its output."""
    from .arrays import chain3
    from .case import vectors
    from .timing import finish_on, settle

    np: Any = importlib.import_module(name)
    own = name == "gpuxp"
    finish = finish_on("cpu") if own else lambda: None
    if own:
        np.config.tier, np.config.small = tier, 0

    def run(n: int) -> int:
        inputs = {k: np.asarray(v) for k, v in vectors("abc")(n).items()}
        _memory(reset=True)
        before = _memory()
        for _ in range(4):
            result = chain3(np, **inputs)
            finish()
            del result
        settle()
        return _memory() - before

    run(1000)  # the compiler's own memory is not the chain's
    return {"MB": (run(int(size)) - 8 * int(size)) / 1e6}


def _memory(reset: bool = False) -> int:
    """Return the most memory that this process had since the last reset."""
    if reset:
        with contextlib.suppress(AttributeError):  # what the C library keeps of freed memory is no use to measure
            ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


_MEASUREMENTS = {f.__name__: f for f in (import_time, compilers_early, first_calls, peak)}

if __name__ == "__main__":
    print(json.dumps(_MEASUREMENTS[sys.argv[1]](*sys.argv[2:])))
