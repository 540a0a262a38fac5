"""Cases at many sizes: single operations, growth with size, and the cost of an operation itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .arrays import chain2
from .case import QUICK, Array, Case, Inputs, Namespace, random

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000, 10_000_000)
QUICK_SIZES = (10, 1_000, 100_000, 1_000_000)
GROWTH_SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
RECORDED = (10, 100, 1_000, 10_000, 100_000)
_UNLIMITED = 1 << 40  # a tape that no case fills

SINGLE: dict[str, Callable[[Namespace, Array, Array], Array]] = {
    "add": lambda np, a, b: a + b,
    "multiply": lambda np, a, b: a * b,
    "divide": lambda np, a, b: a / b,
    "sqrt": lambda np, a, b: np.sqrt(a),
    "exp": lambda np, a, b: np.exp(a),
    "log": lambda np, a, b: np.log(a),
    "sin": lambda np, a, b: np.sin(a),
    "cos": lambda np, a, b: np.cos(a),
    "tanh": lambda np, a, b: np.tanh(a),
    "power": lambda np, a, b: a**b,
    "where": lambda np, a, b: np.where(a > 1, a, b),
    "less": lambda np, a, b: a < b,
    "equal": lambda np, a, b: a == b,
    "sum": lambda np, a, b: a.sum(),
    "max": lambda np, a, b: a.max(),
    "cumsum": lambda np, a, b: a.cumsum(),
    "astype": lambda np, a, b: a.astype(np.float32),
    "copy": lambda np, a, b: a.copy(),
}
_RANGES = {"exp": (-10, 10), "sin": (-100, 100), "cos": (-100, 100), "tanh": (-3, 3)}  # else 0.5 to 1.5
GROWTH: dict[str, Callable[[Namespace, Array, Array], Array]] = {
    "grow_chain2": chain2,
    "grow_exp": SINGLE["exp"],
    "grow_sum": SINGLE["sum"],
}


def _single(name: str, size: int) -> Case:
    low, high = _RANGES.get(name, (0.5, 1.5))

    def prepare(n: int) -> Inputs:
        return {"a": random(n, low=low, high=high), "b": random(n, seed=1)}

    return Case(f"{name}[{size}]", f"{name} of {size:,}", prepare, SINGLE[name], (size,) * 3, "single", size)


def _growth(name: str, size: int) -> Case:
    def prepare(n: int) -> Inputs:
        return {"a": random(n), "b": random(n, seed=1)}

    return Case(
        f"{name}[{size}]", f"time of an element of {size:,}", prepare, GROWTH[name], (size,) * 3, "growth", size, size
    )  # fmt: skip


def _repeat(np: Namespace, x: Array, b: Array, n: int) -> Array:
    for _ in range(n // 2):
        x = x * b
        x = x + b
    return x


def _ten(n: int) -> Inputs:
    return {"x": random(10), "b": random(10, seed=1), "n": n}


def _recording(size: int) -> tuple[Case, Case]:
    settings: dict[str, Any] = {"small": 0}
    return (
        Case(f"record[{size}]", f"recording alone, {size:,} operations", _ten, _repeat, (size,) * 3, "operation",
             size, size, flush=False, settings=settings | {"tape": _UNLIMITED}),
        Case(f"flush[{size}]", f"recorded and run, {size:,} operations", _ten, _repeat, (size,) * 3, "operation",
             size, size, settings=settings),
    )  # fmt: skip


def _ten_and_read(np: Namespace, x: Array, b: Array, n: int) -> float:
    return float(_repeat(np, x, b, n)[0])


def _index(np: Namespace, x: Array, n: int) -> Array:
    for _ in range(n):
        found = x[1, 2]
    return found


def _read(np: Namespace, x: Array, n: int) -> float:
    for _ in range(n):
        found = float(x[1, 2])
    return found


def _pair(n: int) -> Inputs:
    return {"x": random(2, 5), "n": n}


SMALL = (
    Case("ten_op", "an operation on ten numbers", _ten, _repeat, (100,) * 3, "operation", per=100),
    Case("ten_and_read", "ten operations on ten numbers, one read", _ten, _ten_and_read, (10,) * 3, "operation"),
    Case("index", "x[i, j]", _pair, _index, (100,) * 3, "operation", per=100),
    Case("read", "float(x[i, j])", _pair, _read, (100,) * 3, "operation", per=100),
)  # fmt: skip


def cases(scale: int) -> list[Case]:
    """Return the cases of all series; the larger sizes only at full scale."""
    quick = scale >= QUICK
    sizes = QUICK_SIZES if quick else SIZES
    growth = GROWTH_SIZES[:1] if quick else GROWTH_SIZES
    recorded = RECORDED[:3] if quick else RECORDED
    return [
        *(_single(name, size) for name in SINGLE for size in sizes),
        *SMALL,
        *(case for size in recorded for case in _recording(size)),
        *(_growth(name, size) for name in GROWTH for size in growth),
    ]
