"""The cases, as a table: a name, and a function that makes the work for a namespace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy

from gpuxp.demo import finance, learning

Work = Callable[[], Any]
SIZES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
QUICK_SIZES = (10, 1_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Case:
    """What to time: `make(np, quick)` returns a call without arguments whose result is then waited for."""

    name: str
    title: str
    make: Callable[[Any, bool], Work]
    size: int = 0  # elements, where the case has a size


def _random(np: Any, *shape: int, seed: int = 0, dtype: Any = numpy.float64) -> Any:
    return np.asarray(numpy.random.default_rng(seed).random(shape).astype(dtype) + dtype(0.5))


def _chain(dtype: Any) -> Callable[[Any, bool], Work]:
    def make(np: Any, quick: bool) -> Work:
        n = 400_000 if quick else 4_000_000
        a, b, c = (_random(np, n, seed=s, dtype=dtype) for s in range(3))
        return lambda: (a * b + c - a / c) * b - a

    return make


def _black_scholes(np: Any, quick: bool) -> Work:
    program = next(p for p in finance.PROGRAMS if p.name == "black_scholes")
    inputs = program.prepare(quick)
    moved = {k: np.asarray(v) if isinstance(v, numpy.ndarray) else v for k, v in inputs.items()}
    return lambda: program.run(np, **moved)


def _squared_error(np: Any, quick: bool) -> Work:
    a, b = (_random(np, 400_000 if quick else 4_000_000, seed=s) for s in range(2))
    return lambda: np.mean((a - b) * (a - b))


def _row_norms(np: Any, quick: bool) -> Work:
    a = _random(np, 200 if quick else 2000, 1000)
    return lambda: np.sqrt((a * a).sum(1))


def _standardise(np: Any, quick: bool) -> Work:
    a = _random(np, 2000 if quick else 20_000, 100)
    return lambda: (a - a.mean(0)) / a.std(0)


def _stencil(np: Any, quick: bool) -> Work:
    n = 256 if quick else 1500
    u = _random(np, n, n)
    middle = u[1:-1, 1:-1]

    def step() -> Any:
        middle[...] = 0.25 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:])
        return u

    return step


def _where(np: Any, quick: bool) -> Work:
    a, b = (_random(np, 400_000 if quick else 4_000_000, seed=s) for s in range(2))
    return lambda: np.where((a > b) & (a < 1.2), a - b, a * b)


def _mask_read(np: Any, quick: bool) -> Work:
    a = _random(np, 400_000 if quick else 4_000_000)
    return lambda: a[a > 1.0]


def _mask_write(np: Any, quick: bool) -> Work:
    a, factor = _random(np, 400_000 if quick else 4_000_000), 1.0  # each call does the same work

    def step() -> Any:
        a[a > 1.0] *= factor
        return a

    return step


def _k_means_step(np: Any, quick: bool) -> Work:
    points, centres = _random(np, 2_000 if quick else 20_000, 16), _random(np, 8, 16, seed=1)

    def step() -> Any:
        nearest = ((points[:, None, :] - centres[None]) ** 2).sum(-1).argmin(1)
        member = (nearest[:, None] == np.arange(8)).astype(numpy.float64)
        return (member.T @ points) / np.maximum(member.sum(0), 1)[:, None]

    return step


def _softmax(np: Any, quick: bool) -> Work:
    a = _random(np, 100 if quick else 2000, 1000, dtype=numpy.float32)
    return lambda: learning.softmax(np, a)


def _matmul(np: Any, quick: bool) -> Work:
    n = 128 if quick else 1000
    a, b = _random(np, n, n), _random(np, n, n, seed=1)
    return lambda: a @ b


def _sort(np: Any, quick: bool) -> Work:
    a = _random(np, 100_000 if quick else 1_000_000)
    return lambda: np.sort(a)


def _small_program(np: Any, quick: bool) -> Work:
    """Twenty operations on ten numbers: what the wrapper costs."""
    a, b = _random(np, 10), _random(np, 10, seed=1)

    def step() -> Any:
        x = a
        for _ in range(5):
            x = np.sqrt(x * b + a) + b
        return x

    return step


def _ten_and_a_read(np: Any, quick: bool) -> Work:
    a, b = _random(np, 10), _random(np, 10, seed=1)

    def step() -> float:
        x = a
        for _ in range(5):
            x = x * b + a
        return float(x.sum())

    return step


def _recording(np: Any, quick: bool) -> Work:
    """A hundred additions of which one is wanted: for gpuxp, what recording and dropping the others costs."""
    a, b = (_random(np, 100_000 if quick else 1_000_000, seed=s) for s in range(2))

    def step() -> Any:
        for _ in range(100):
            x = a + b
        return x

    return step


def _time_loop(np: Any, quick: bool) -> Work:
    """Steps of 42 operations, which the tape does not hold a whole number of; nothing is read in between."""
    u, v = (_random(np, 20_000 if quick else 100_000, seed=s) for s in range(2))

    def run() -> Any:
        x, y = u, v
        for _ in range(10 if quick else 50):
            for k in range(6):
                f = (x * y + 0.25) * 0.5
                x = x * 0.5 + f * 0.25 + k
        return x

    return run


def _operations(count: int) -> Case:
    def make(np: Any, quick: bool) -> Work:
        a, b = (_random(np, 20_000, seed=s) * 0.5 for s in range(2))

        def run() -> Any:
            x = a
            for k in range(count):
                x = x * b if k % 2 else x + 0.5
            return x

        return run

    return Case(f"operations[{count}]", f"{count:,} operations in a row on 20,000 elements", make, count)


def _small(name: str, work: Callable[..., Any]) -> Case:
    def make(np: Any, quick: bool) -> Work:
        a, b, x = _random(np, 10), _random(np, 10, seed=1), _random(np, 10, 10)
        return lambda: work(np, a, b, x)

    return Case(f"small_{name}", f"ten elements: {name}", make)


def _store(target: Any, key: Any, value: Any) -> Any:
    target[key] = value
    return target


def _sized(name: str, size: int, work: Callable[[Any, Any, Any], Any]) -> Case:
    def make(np: Any, quick: bool) -> Work:
        a, b = _random(np, size), _random(np, size, seed=1)
        return lambda: work(np, a, b)

    return Case(f"{name}[{size}]", f"{name} of {size:,} float64", make, size)


SINGLE: dict[str, Callable[[Any, Any, Any], Any]] = {
    "add": lambda np, a, b: a + b,
    "exp": lambda np, a, b: np.exp(a),
    "sum": lambda np, a, b: a.sum(),
}


SMALL: dict[str, Callable[..., Any]] = {
    "add": lambda np, a, b, x: a + b,
    "scale": lambda np, a, b, x: a * 2.0,
    "sqrt": lambda np, a, b, x: np.sqrt(a),
    "compare": lambda np, a, b, x: a < b,
    "element": lambda np, a, b, x: x[2, 3],
    "slice": lambda np, a, b, x: a[1:],
    "store": lambda np, a, b, x: _store(x, (2, 3), 1.0),
    "sum": lambda np, a, b, x: a.sum(),
    "max": lambda np, a, b, x: a.max(),
    "mean": lambda np, a, b, x: a.mean(),
    "zeros": lambda np, a, b, x: np.zeros(10),
    "where": lambda np, a, b, x: np.where(a < b, a, b),
    "matmul": lambda np, a, b, x: x @ x,
    "export": lambda np, a, b, x: numpy.asarray(a),
}
OPERATIONS, QUICK_OPERATIONS = (10, 100, 1_000, 10_000, 100_000), (10, 100, 1_000)


def all_cases(quick: bool) -> list[Case]:
    """Return every case."""
    sizes = QUICK_SIZES if quick else SIZES
    small = [_small(name, work) for name, work in SMALL.items()]
    counts = [_operations(n) for n in (QUICK_OPERATIONS if quick else OPERATIONS)]
    return [*WHOLE, *small, *counts, *(_sized(name, size, work) for name, work in SINGLE.items() for size in sizes)]


WHOLE = (
    Case("chain64", "six exact operations, 4 million float64", _chain(numpy.float64)),
    Case("chain32", "six exact operations, 4 million float32", _chain(numpy.float32)),
    Case("black_scholes", "Black-Scholes, a million options", _black_scholes),
    Case("squared_error", "mean of squared differences", _squared_error),
    Case("row_norms", "norms of rows", _row_norms),
    Case("standardise", "columns to mean 0, deviation 1", _standardise),
    Case("stencil", "five-point stencil in place", _stencil),
    Case("where", "where with two conditions", _where),
    Case("mask_read", "a[a > 1]", _mask_read),
    Case("mask_write", "a[a > 1] *= factor", _mask_write),
    Case("k_means", "one step of k-means", _k_means_step),
    Case("softmax", "softmax of rows, float32", _softmax),
    Case("matmul", "matrix product", _matmul),
    Case("sort", "sort a million", _sort),
    Case("small", "twenty operations on ten numbers", _small_program),
    Case("small_read", "ten operations on ten numbers and a read", _ten_and_a_read),
    Case("recording", "a hundred additions, one of them wanted", _recording),
    Case("time_loop", "steps of 42 operations", _time_loop),
)
