"""The fused cases for JAX on the CPU, in double precision: one jitted function each."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy

from gpuxp.demo.learning import softmax

from .case import Array, Case, Inputs, Work

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", True)

_AS_IT_IS = frozenset(
    "chain3 chain2 chain3_f32 chain2_f32 squared_error black_scholes softmax attention n_body k_means".split()
)


def set_threads(count: int) -> None:
    """Do nothing: JAX takes the processors that the process may use."""


def _mandelbrot(x: Array, y: Array, steps: int) -> Array:
    def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        re, im, count = state
        re2, im2 = re * re, im * im
        inside = re2 + im2 <= 4
        return jnp.where(inside, re2 - im2 + x, re), jnp.where(inside, 2 * re * im + y, im), count + inside

    zero = jnp.zeros_like(x)
    return jax.lax.fori_loop(0, steps, step, (zero, zero, jnp.zeros(x.shape, jnp.int32)))[2]


def _stencil(u: Array, steps: int) -> Array:
    def step(_: int, u: Array) -> Array:
        middle = u[1:-1, 1:-1]
        return u.at[1:-1, 1:-1].add(0.2 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * middle))

    return jax.lax.fori_loop(0, steps, step, u)


def _mlp_step(x: Array, wanted: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> tuple[Array, ...]:
    hidden = jnp.tanh(x @ w1 + b1)
    wrong = (softmax(jnp, hidden @ w2 + b2) - wanted) / len(x)
    back = (wrong @ w2.T) * (1 - hidden * hidden)
    slopes = (x.T @ back, back.sum(0), hidden.T @ wrong, wrong.sum(0))
    return tuple(weight - 0.1 * slope for weight, slope in zip((w1, b1, w2, b2), slopes, strict=True))


_OWN: dict[str, Callable[..., Any]] = {"mandelbrot": _mandelbrot, "stencil": _stencil, "mlp_step": _mlp_step}


def work(case: Case, inputs: Inputs) -> Work | None:
    """Return the case for JAX, if it has one; arrays are on its device before the clock starts."""
    run = functools.partial(case.run, jnp) if case.name in _AS_IT_IS else _OWN.get(case.name)
    if run is None:
        return None
    arrays = {k: jnp.asarray(v) for k, v in inputs.items() if isinstance(v, numpy.ndarray)}
    numbers = {k: v for k, v in inputs.items() if k not in arrays}
    jitted = jax.jit(functools.partial(run, **numbers))
    return lambda: jax.block_until_ready(jitted(**arrays))
