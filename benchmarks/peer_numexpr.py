"""The fused cases for numexpr: expressions as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numexpr
import numpy

from .case import Case, Inputs, Work

_CHAIN = {
    "chain3": "(a * b + c - a / c) * b - a",
    "chain2": "((a + b) * a - b) * 0.5 + a * b",
}
_CHAIN |= {f"{name}_f32": text.replace("0.5", "half") for name, text in _CHAIN.items()}
_TAIL = (
    "(t * (0.319381530 + t*(-0.356563782 + t*(1.781477937 + t*(-1.821255978 + t*1.330274429))))"
    " * exp(-0.5*d*d) * 0.3989422804014327)"
)
_CDF = f"where(d > 0, 1 - {_TAIL}, {_TAIL})"
set_threads = numexpr.set_num_threads


def _chain(text: str) -> Callable[[Inputs], Work]:
    def make(inputs: Inputs) -> Work:
        names = inputs | {"half": numpy.float32(0.5)}
        out = numpy.empty_like(inputs["a"])
        return lambda: numexpr.evaluate(text, names, out=out)

    return make


def _squared_error(inputs: Inputs) -> Work:
    return lambda: numexpr.evaluate("sum((x - m)**2)", inputs)


def _black_scholes(inputs: Inputs) -> Work:
    names: dict[str, Any] = dict(inputs)

    def cdf(text: str) -> Any:
        d = numexpr.evaluate(text, names)
        t = numexpr.evaluate("1 / (1 + 0.2316419 * abs(d))", {"d": d})
        return numexpr.evaluate(_CDF, {"d": d, "t": t})

    d1 = "(log(spot / strike) + (rate + 0.5 * volatility**2) * years) / (volatility * sqrt(years))"

    def work() -> Any:
        more = {"one": cdf(d1), "two": cdf(f"{d1} - volatility * sqrt(years)")} | names
        call = numexpr.evaluate("spot * one - strike * exp(-rate * years) * two", more)
        put = numexpr.evaluate("call - spot + strike * exp(-rate * years)", more | {"call": call})
        return call, put

    return work


_MAKERS: dict[str, Callable[[Inputs], Work]] = {
    "squared_error": _squared_error,
    "black_scholes": _black_scholes,
    **{name: _chain(text) for name, text in _CHAIN.items()},
}


def work(case: Case, inputs: Inputs) -> Work | None:
    """Return the case for numexpr, if it has one."""
    make = _MAKERS.get(case.name)
    return make(inputs) if make else None
