"""Prices, chance and time series."""

from __future__ import annotations

import math

import numpy

from .program import Array, Inputs, Namespace, Outputs, Program

_TAIL = (0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429)  # Abramowitz and Stegun 26.2.17


def _options(small: bool) -> Inputs:
    rng = numpy.random.default_rng(3)
    count = 20_000 if small else 1_000_000
    return {
        "spot": rng.uniform(50, 150, count), "strike": rng.uniform(50, 150, count),
        "years": rng.uniform(0.1, 3, count), "rate": 0.03, "volatility": 0.25,
    }  # fmt: skip


def normal_cdf(np: Namespace, x: Array) -> Array:
    """Return the normal distribution's cumulative probability, to seven digits."""
    t = 1 / (1 + 0.2316419 * np.abs(x))
    series = t * (_TAIL[0] + t * (_TAIL[1] + t * (_TAIL[2] + t * (_TAIL[3] + t * _TAIL[4]))))
    tail = series * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return np.where(x > 0, 1 - tail, tail)


def _black_scholes(
    np: Namespace, spot: Array, strike: Array, years: Array, rate: float, volatility: float
) -> Outputs:
    spread = volatility * np.sqrt(years)
    d1 = (np.log(spot / strike) + (rate + 0.5 * volatility**2) * years) / spread
    discounted = strike * np.exp(-rate * years)
    call = spot * normal_cdf(np, d1) - discounted * normal_cdf(np, d1 - spread)
    put = call - spot + discounted
    return call, put


def _monte_carlo_pi(np: Namespace, rounds: int, count: int) -> Outputs:
    rng = np.random.default_rng(7)
    inside = 0
    for _ in range(rounds):
        x, y = rng.random(count), rng.random(count)
        inside += int(np.count_nonzero(x * x + y * y <= 1))
    return (4 * inside / (rounds * count),)


def _walk(small: bool) -> Inputs:
    rng = numpy.random.default_rng(11)
    count = 20_000 if small else 1_000_000
    return {"returns": 0.01 * rng.standard_normal(count) + 1e-5, "window": 250}


def _time_series(np: Namespace, returns: Array, window: int) -> Outputs:
    zero = np.zeros(1)
    price = np.exp(np.cumsum(returns))
    first = np.concatenate((zero, np.cumsum(price)))
    mean = (first[window:] - first[:-window]) / window
    sums = np.concatenate((zero, np.cumsum(returns * returns)))
    volatility = np.sqrt((sums[window:] - sums[:-window]) / window * 252)
    above = price[window - 1 :] > mean
    crossings = np.count_nonzero(above[1:] != above[:-1])
    centred = returns - returns.mean()
    lags = np.asarray([float((centred[k:] * centred[:-k]).mean()) for k in (1, 5, 20)])
    return mean, volatility, crossings, lags / centred.var()


PROGRAMS = (
    Program(
        "black_scholes", "Black-Scholes option prices", _options, _black_scholes,
        lambda call, put: f"{call.size:,} options, mean call {call.mean():.3f}, put {put.mean():.3f}",
    ),
    Program(
        "monte_carlo_pi", "pi by Monte Carlo",
        lambda small: {"rounds": 2, "count": 20_000} if small else {"rounds": 4, "count": 1_000_000},
        _monte_carlo_pi, lambda pi: f"pi = {float(pi):.4f}",
    ),
    Program(
        "time_series", "Rolling mean and volatility of prices", _walk, _time_series,
        lambda mean, volatility, crossings, lags: f"volatility {volatility.mean():.1%}, {int(crossings):,} crossings",
        tolerance=1e-6,
    ),
)  # fmt: skip
