"""The fused cases for Numba, by hand: parallel loops, one pass over the data.

Only the sums may be reordered, as NumPy and gpuxp do; divisions follow NumPy, since a check for zero would stop the
loops from being vectorised.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numba
import numpy
from numba import prange

from .case import Array, Case, Inputs, Work

jit = functools.partial(numba.njit, parallel=True, error_model="numpy")
set_threads = numba.set_num_threads


@jit
def chain3(a: Array, b: Array, c: Array, out: Array) -> Array:
    for i in prange(a.size):
        out[i] = (a[i] * b[i] + c[i] - a[i] / c[i]) * b[i] - a[i]
    return out


@jit
def chain2(a: Array, b: Array, out: Array) -> Array:
    half = a.dtype.type(0.5)
    for i in prange(a.size):
        out[i] = ((a[i] + b[i]) * a[i] - b[i]) * half + a[i] * b[i]
    return out


@jit(fastmath={"reassoc", "nsz"})
def squared_error(x: Array, m: float) -> float:
    total = 0.0
    for i in prange(x.size):
        total += (x[i] - m) ** 2
    return total


@jit
def exponential(a: Array, b: Array, out: Array) -> Array:
    for i in prange(a.size):
        out[i] = math.exp(a[i])
    return out


@jit(fastmath={"reassoc", "nsz"})
def total(a: Array, b: Array) -> float:
    found = 0.0
    for i in prange(a.size):
        found += a[i]
    return found


@numba.njit(error_model="numpy", inline="always")
def _cdf(x: float) -> float:
    t = 1 / (1 + 0.2316419 * abs(x))
    series = 0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429)))
    tail = t * series * math.exp(-0.5 * x * x) * 0.3989422804014327
    return 1 - tail if x > 0 else tail


@jit
def black_scholes(
    spot: Array, strike: Array, years: Array, rate: float, volatility: float, call: Array, put: Array
) -> tuple[Array, Array]:
    for i in prange(spot.size):
        spread = volatility * math.sqrt(years[i])
        d1 = (math.log(spot[i] / strike[i]) + (rate + 0.5 * volatility**2) * years[i]) / spread
        discounted = strike[i] * math.exp(-rate * years[i])
        call[i] = spot[i] * _cdf(d1) - discounted * _cdf(d1 - spread)
        put[i] = call[i] - spot[i] + discounted
    return call, put


@jit
def mandelbrot(x: Array, y: Array, steps: int, out: Array) -> Array:
    """Leave each point as soon as it has escaped."""
    rows, columns = x.shape
    for row in prange(rows):
        for column in range(columns):
            re, im, count = 0.0, 0.0, 0
            while count < steps and re * re + im * im <= 4:
                re, im = re * re - im * im + x[row, column], 2 * re * im + y[row, column]
                count += 1
            out[row, column] = count
    return out


@jit
def stencil(u: Array, steps: int, out: Array) -> Array:
    """Take turns between two plates."""
    rows, columns = u.shape
    now, after = u, out
    for _ in range(steps):
        for i in prange(1, rows - 1):
            for j in range(1, columns - 1):
                near = now[i - 1, j] + now[i + 1, j] + now[i, j - 1] + now[i, j + 1]
                after[i, j] = now[i, j] + 0.2 * (near - 4 * now[i, j])
        now, after = after, now
    return now


@jit(fastmath={"reassoc", "nsz"})
def softmax(x: Array, out: Array) -> Array:
    rows, columns = x.shape
    for i in prange(rows):
        top = x[i, 0]
        for j in range(columns):
            top = max(top, x[i, j])
        total = 0.0
        for j in range(columns):
            out[i, j] = math.exp(x[i, j] - top)
            total += out[i, j]
        for j in range(columns):
            out[i, j] /= total
    return out


def _like(name: str, dtype: Any = None) -> Callable[[Inputs], Inputs]:
    return lambda inputs: {"out": numpy.empty_like(inputs[name], dtype)}


# case, or series -> (function, outputs that it writes)
_PORTS: dict[str, tuple[Any, Callable[[Inputs], Inputs]]] = {
    "chain3": (chain3, _like("a")),
    "chain3_f32": (chain3, _like("a")),
    "chain2": (chain2, _like("a")),
    "chain2_f32": (chain2, _like("a")),
    "squared_error": (squared_error, lambda inputs: {}),
    "grow_chain2": (chain2, _like("a")),
    "grow_exp": (exponential, _like("a")),
    "grow_sum": (total, lambda inputs: {}),
    "black_scholes": (
        black_scholes, lambda inputs: {name: numpy.empty_like(inputs["spot"]) for name in ("call", "put")}
    ),
    "mandelbrot": (mandelbrot, _like("x", numpy.int32)),
    "stencil": (stencil, lambda inputs: {"out": inputs["u"].copy()}),
    "softmax": (softmax, _like("x")),
}  # fmt: skip


def work(case: Case, inputs: Inputs) -> Work | None:
    """Return the case for Numba, if it has one."""
    port = _PORTS.get(case.name.partition("[")[0])
    if port is None:
        return None
    function, outputs = port
    arguments = (*inputs.values(), *outputs(inputs).values())
    return lambda: function(*arguments)
