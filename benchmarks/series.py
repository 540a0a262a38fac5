"""Cases at many sizes: single operations, growth with size, and the cost of an operation itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy

from .arrays import chain2
from .case import QUICK, Array, Case, Inputs, Namespace, random

SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 4_000_000, 10_000_000)
QUICK_SIZES = (10, 1_000, 100_000, 1_000_000)
GROWTH_SIZES = (1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000)
DEVICE_SIZES = (1_000_000, 10_000_000)  # in single precision, which all devices have
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
DEVICE = tuple(name for name in SINGLE if name not in ("astype", "copy"))  # what libraries of values need not do
_RANGES = {"exp": (-10, 10), "sin": (-100, 100), "cos": (-100, 100), "tanh": (-3, 3)}  # else 0.5 to 1.5
GROWTH: dict[str, Callable[[Namespace, Array, Array], Array]] = {
    "grow_chain2": chain2,
    "grow_exp": SINGLE["exp"],
    "grow_sum": SINGLE["sum"],
}


def _single(name: str, size: int, dtype: Any = numpy.float64) -> Case:
    low, high = _RANGES.get(name, (0.5, 1.5))

    def prepare(n: int) -> Inputs:
        return {"a": random(n, low=low, high=high, dtype=dtype), "b": random(n, seed=1, dtype=dtype)}

    series, group = (name, "single") if dtype == numpy.float64 else (f"{name}_f32", "device")
    return Case(f"{series}[{size}]", f"{series} of {size:,}", prepare, SINGLE[name], (size,) * 3, group, size)


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


def _repeated(elements: int) -> Callable[[int], Inputs]:
    return lambda n: {"x": random(elements), "b": random(elements, seed=1, low=0.3, high=0.7), "n": n}


def _recording(size: int) -> tuple[Case, Case]:
    alone = {"small": 0, "tape": _UNLIMITED}  # even ten numbers are recorded, and nothing is run
    return (
        Case(f"record[{size}]", f"recording alone, {size:,} operations", _repeated(10), _repeat, (size,) * 3,
             "operation", size, size, flush=False, settings=alone),
        Case(f"operations[{size}]", f"{size:,} operations in a row on 40,000 elements", _repeated(40_000), _repeat,
             (size,) * 3, "operation", size, size),
    )  # fmt: skip


def _ten_and_read(np: Namespace, x: Array, b: Array, n: int) -> float:
    return float(_repeat(np, x, b, n)[0])


def _store(np: Namespace, a: Array, b: Array, x: Array) -> Array:
    x[2, 3] = 1.0
    return x


SMALL: dict[str, Callable[[Namespace, Array, Array, Array], Any]] = {
    "add": lambda np, a, b, x: a + b,
    "scale": lambda np, a, b, x: a * 2.0,
    "sqrt": lambda np, a, b, x: np.sqrt(a),
    "compare": lambda np, a, b, x: a < b,
    "where": lambda np, a, b, x: np.where(a < b, a, b),
    "sum": lambda np, a, b, x: a.sum(),
    "max": lambda np, a, b, x: a.max(),
    "mean": lambda np, a, b, x: a.mean(),
    "matmul": lambda np, a, b, x: x @ x,
    "zeros": lambda np, a, b, x: np.zeros(10),
    "slice": lambda np, a, b, x: a[1:],
    "element": lambda np, a, b, x: x[2, 3],
    "read": lambda np, a, b, x: float(x[2, 3]),
    "store": _store,
    "export": lambda np, a, b, x: numpy.asarray(a),
}


def _small(name: str) -> Case:
    def prepare(n: int) -> Inputs:
        return {"a": random(10), "b": random(10, seed=1), "x": random(10, 10), "n": n}

    def run(np: Namespace, a: Array, b: Array, x: Array, n: int) -> Any:
        for _ in range(n):
            found = SMALL[name](np, a, b, x)
        return found

    return Case(f"small_{name}", f"ten elements: {name}", prepare, run, (100,) * 3, "operation", per=100, in_place=True)


def cases(scale: int) -> list[Case]:
    """Return the cases of all series; the larger sizes only at full scale."""
    quick = scale >= QUICK
    sizes = QUICK_SIZES if quick else SIZES
    growth = GROWTH_SIZES[:1] if quick else GROWTH_SIZES
    recorded = RECORDED[:3] if quick else RECORDED
    return [
        *(_single(name, size) for name in SINGLE for size in sizes),
        *(_single(name, size, numpy.float32) for name in DEVICE for size in DEVICE_SIZES[: 1 if quick else 2]),
        Case("ten_op", "an operation on ten numbers", _repeated(10), _repeat, (100,) * 3, "operation", per=100),
        Case("ten_and_read", "ten operations on ten numbers, one read", _repeated(10), _ten_and_read, (10,) * 3,
             "operation"),
        *(_small(name) for name in SMALL),
        *(case for size in recorded for case in _recording(size)),
        *(_growth(name, size) for name in GROWTH for size in growth),
    ]  # fmt: skip
