"""Whole programs, as a NumPy user writes them."""

from __future__ import annotations

from typing import Any

import numpy

from gpuxp.demo import PROGRAMS
from gpuxp.demo.learning import softmax

from .case import Array, Case, Inputs, Namespace, random


def demo(name: str) -> Any:
    return next(program.run for program in PROGRAMS if program.name == name)


def _options(n: int) -> Inputs:
    return {
        "spot": random(n, low=50, high=150), "strike": random(n, seed=1, low=50, high=150),
        "years": random(n, seed=2, low=0.1, high=3), "rate": 0.03, "volatility": 0.25,
    }  # fmt: skip


black_scholes = demo("black_scholes")


def _window(n: int) -> Inputs:
    y, x = numpy.mgrid[:n, :n] / n
    return {"x": 3 * x - 2.1, "y": 2 * y - 1.0, "steps": 50}


def mandelbrot(np: Namespace, x: Array, y: Array, steps: int) -> Array:
    """Count the steps inside, by where."""
    re, im = np.zeros_like(x), np.zeros_like(x)
    count = np.zeros(x.shape, dtype=np.int32)
    for _ in range(steps):
        re2, im2 = re * re, im * im
        inside = re2 + im2 <= 4
        count += inside
        re, im = np.where(inside, re2 - im2 + x, re), np.where(inside, 2 * re * im + y, im)
    return count


def _mandelbrot_mask(np: Namespace, x: Array, y: Array, steps: int) -> Array:
    """Count the steps inside, by a mask on complex numbers."""
    c = x + 1j * y
    z, count = np.zeros_like(c), np.zeros(c.shape, dtype=np.int32)
    for _ in range(steps):
        inside = np.abs(z) <= 2
        z[inside] = z[inside] ** 2 + c[inside]
        count += inside
    return count


def stencil(np: Namespace, u: Array, steps: int) -> Array:
    """Heat in a plate: each step writes into the slices it reads."""
    for _ in range(steps):
        u[1:-1, 1:-1] += 0.2 * (u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1])
    return u


def _time_loop(np: Namespace, x: Array, y: Array, steps: int) -> Array:
    """Take steps of 42 operations, which no tape holds a whole number of; nothing is read in between."""
    for _ in range(steps):
        for k in range(6):
            force = (x * y + 0.25) * 0.5
            x = x * 0.5 + force * 0.25 + k
    return x


def _states(n: int) -> Inputs:
    return {"x": random(n), "y": random(n, seed=1), "steps": 50}


def _cluster(n: int) -> Inputs:
    return {
        "start": random(n, 3, low=-1, high=1), "speed": random(n, 3, seed=1, low=-0.1, high=0.1),
        "mass": random(n, seed=2) / n, "steps": 5,
    }  # fmt: skip


def _clusters(n: int) -> Inputs:
    centres = random(10, 16, low=-5, high=5)
    points = centres[numpy.arange(n) % 10] + random(n, 16, seed=1, low=-1, high=1)
    return {"points": points, "start": points[:10].copy(), "steps": 10}


def _k_means_broadcast(np: Namespace, points: Array, start: Array, steps: int) -> Any:
    """k-means by distances written out, as textbooks do."""
    centres = start
    for _ in range(steps):
        distance = ((points[:, None, :] - centres[None]) ** 2).sum(-1)
        nearest = distance.argmin(1)
        member = (nearest[:, None] == np.arange(len(start))).astype(points.dtype)
        centres = (member.T @ points) / np.maximum(member.sum(0), 1)[:, None]
    return centres, nearest


def _tokens(n: int) -> Inputs:
    return {name: random(8, n, 64, seed=s, low=-1, high=1) for s, name in enumerate("qkv")}


def attention(np: Namespace, q: Array, k: Array, v: Array) -> Array:
    return softmax(np, q @ np.swapaxes(k, -1, -2) * (1 / q.shape[-1] ** 0.5)) @ v


def _batch(n: int) -> Inputs:
    return {
        "x": random(n, 64, low=0, high=1), "wanted": numpy.eye(10)[numpy.arange(n) % 10],
        "w1": random(64, 128, seed=1, low=-0.1, high=0.1), "b1": numpy.zeros(128),
        "w2": random(128, 10, seed=2, low=-0.1, high=0.1), "b2": numpy.zeros(10),
    }  # fmt: skip


def mlp_step(np: Namespace, x: Array, wanted: Array, w1: Array, b1: Array, w2: Array, b2: Array) -> Any:
    """One step of gradient descent; the weights change in place."""
    hidden = np.tanh(x @ w1 + b1)
    wrong = (softmax(np, hidden @ w2 + b2) - wanted) / len(x)
    back = (wrong @ w2.T) * (1 - hidden * hidden)
    w2 -= 0.1 * (hidden.T @ wrong)
    b2 -= 0.1 * wrong.sum(0)
    w1 -= 0.1 * (x.T @ back)
    b1 -= 0.1 * back.sum(0)
    return w1, b1, w2, b2


CASES = (
    Case("black_scholes", "Black-Scholes, four million options", _options, black_scholes, (4_000_000, 400_000, 1000)),
    Case("mandelbrot", "Mandelbrot by where, 1000 x 1000", _window, mandelbrot, (1000, 200, 20)),
    Case("mandelbrot_mask", "Mandelbrot by complex masks", _window, _mandelbrot_mask, (500, 100, 20)),
    Case("stencil", "heat, ten in-place steps of 2000 x 2000", lambda n: {"u": random(n, n), "steps": 10}, stencil,
         (2000, 500, 20), in_place=True),
    Case("time_loop", "50 steps of 42 operations on 100,000", _states, _time_loop, (100_000, 20_000, 100)),
    Case("n_body", "gravity of 1000 stars, five steps", _cluster, demo("n_body"), (1000, 200, 10)),
    Case("k_means", "k-means by products, 50,000 points", _clusters, demo("k_means"), (50_000, 5000, 100)),
    Case("k_means_broadcast", "k-means by broadcasting, 20,000 points", _clusters, _k_means_broadcast,
         (20_000, 2000, 100)),
    Case("softmax", "softmax of 4096 rows of 1024", lambda n: {"x": random(n, 1024, low=-5, high=5)}, softmax,
         (4096, 400, 2)),
    Case("attention", "attention, 8 heads of 512 x 64", _tokens, attention, (512, 128, 8)),
    Case("mlp_step", "training step, 4096 x 64 to 128 to 10", _batch, mlp_step, (4096, 512, 16), in_place=True),
)  # fmt: skip
