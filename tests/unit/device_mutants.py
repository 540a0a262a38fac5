"""Ways to break what is a device's own: where its kernels begin and end, and how it sees memory.

Beside them each device is to notice the mutants of the engine (`tests.unit.mutants`), but for those that are not about
it. ``python -m tests.unit.device_mutants DEVICE NAME`` ends with an error if the mutant is noticed; a mutant may also
make kernels write beyond their memory, and crash.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

from gpuxp.backends import launching
from tests.properties.fuzz import check
from tests.properties.programs import Options
from tests.properties.running import Setup, failure
from tests.properties.writing import Statement

from .mutants import MUTANTS, Patch, applied

FIRST = 25  # programs that run on a device whatever a quicker one says ...
SCOUTED = 4000  # ... and of so many those that the reference notices

# of the interpreter of the software GPU, and of memory that NumPy shares with it
_SOFTWARE = {
    "the last element is left out",
    "every op may write over its operands",
    "a reduction leaves out boxes",
    "exports do not keep commands in step",
    "shared memory under two names",
    "pending writes do not flush before an export",
}
# a kernel of MLX reads values, which later writes do not change: there is no such hazard
_BY_VALUE = {"no overlap between output and inputs"}
ENGINE = {
    "opencl": [name for name in MUTANTS if name not in _SOFTWARE],
    "mlx": [name for name in MUTANTS if name not in _SOFTWARE | _BY_VALUE],
}

# random programs seldom drop a value between its uses
_DROPPED = (
    "x = np.arange(20.0).reshape(4, 5)", "t = x * 2", "s = t.sum(axis=1, keepdims=True)", "x[1:] = 7", "u = t * s",
    "del t", "read(u)",
)  # fmt: skip

_render = launching.render


def _written(pattern: str, replacement: str) -> Callable[..., str]:
    """Return a renderer that writes something else."""

    def render(*args: Any, **keywords: Any) -> str:
        return re.sub(pattern, replacement, _render(*args, **keywords))

    return render


def _opencl() -> dict[str, list[Patch]]:
    return {
        name: [(launching, "render", _written(*change))]
        for name, change in {
            "a task leaves out its last element": (r"(i\d) < high", r"\1 + 1 < high"),
            "a view begins where its buffer does": (r"a\.at\[(\d)\]\);", r"0 * a.at[\1]);"),
            "a view has the strides of the next": (r"a\.by\[0\]", "a.by[1]"),
            "a reduction leaves out its last element": (r"LEAST\(reduced - start,", "LEAST(reduced - start - 1,"),
        }.items()
    }


def _mlx() -> dict[str, list[Patch]]:
    from gpuxp.backends import mlx, mlxmemory

    load, upright = mlx.load, mlxmemory._upright

    def not_turned(value: Any, steps: Any, start: int) -> Any:
        low = sum(step * (extent - 1) for step, extent in zip(steps, value.shape, strict=True) if step < 0)
        return upright(value, [abs(step) for step in steps], start + low)

    def from_zero(mem: Any, dtype: Any, shape: Any, offset: int, strides: Any) -> Any:
        return load(mem, dtype, shape, 0, strides)

    return {
        "reversed views are written in memory's order": [(mlxmemory, "_upright", not_turned)],
        "a view is read from where its buffer begins": [(mlx, "load", from_zero)],
        "a view is written to where its buffer begins": [
            (mlxmemory, "_upright", lambda value, steps, start: (*upright(value, steps, start)[:2], 0))
        ],
        "a write to a part is lost": [(mlxmemory, "_updated", _lost)],
    }


def _lost(flat: Any, grid: Any, key: Any, value: Any) -> Any:
    """Forget a write to a part."""
    return flat


OWN: dict[str, Callable[[], dict[str, list[Patch]]]] = {"opencl": _opencl, "mlx": _mlx}


def mutants(device: str) -> dict[str, list[Patch]]:
    """Return all mutants that a device is to notice."""
    kind = device.partition(":")[0]
    return {name: MUTANTS[name] for name in ENGINE[kind]} | OWN[kind]()


def setups(device: str) -> tuple[Setup, ...]:
    """Return the ways to run a device."""
    return (
        Setup(device),
        Setup(device, fusion=False),
        Setup(device, tape=3),
        Setup(device, tape=6, cut=True),
        Setup(device, tape=2, cut=True),
    )


def dies_on(device: str, patches: list[Patch], programs: int = SCOUTED) -> bool:
    """Whether a program fails on a device; the reference, which compiles nothing, scouts for those that may."""
    options = Options(shared=False, large=0)
    with applied(patches):
        if failure([Statement(line) for line in _DROPPED], setups(device)[0]) is not None:
            return True
        for seed in range(programs):
            place = seed % len(setups(device))
            if seed >= FIRST and check(seed, setups("reference")[place], options) is None:
                continue
            if check(seed, setups(device)[place], options) is not None:
                return True
    return False


if __name__ == "__main__":
    sys.exit(dies_on(sys.argv[1], mutants(sys.argv[1])[sys.argv[2]]))
