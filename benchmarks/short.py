"""Programs of many short steps on small data: what an operation costs beside its work shows here."""

from __future__ import annotations

from functools import partial

import numpy

from .case import Array, Case, Inputs, Namespace, random
from .programs import demo


def _string(np: Namespace, u: Array, steps: int) -> Array:
    for _ in range(steps):
        u[1:-1] += 0.25 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def _life(np: Namespace, cells: Array, steps: int) -> Array:
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    for _ in range(steps):
        near = sum(np.roll(np.roll(cells, i, 0), j, 1) for i, j in shifts)
        cells = ((near == 3) | ((cells == 1) & (near == 2))).astype(cells.dtype)
    return cells


def _logistic(np: Namespace, x: Array, y: Array, w: Array, steps: int) -> Array:
    for _ in range(steps):
        w = w - 0.1 * (x.T @ (1 / (1 + np.exp(-(x @ w))) - y)) / len(y)
    return w


def _digits(n: int) -> Inputs:
    points = random(n, 64)
    return {"points": points, "start": points[:10].copy(), "steps": 10}


def _lorenz(np: Namespace, state: Array, steps: int) -> Array:
    def speed(s: Array) -> Array:
        x, y, z = s
        return np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])

    h = 0.01
    for _ in range(steps):
        one = speed(state)
        two = speed(state + h / 2 * one)
        three = speed(state + h / 2 * two)
        state = state + h / 6 * (one + 2 * two + 2 * three + speed(state + h * three))
    return state


def _standardise(np: Namespace, x: Array) -> Array:
    return (x - x.mean(0)) / x.std(0)


def _jacobi(np: Namespace, u: Array, steps: int) -> Array:
    for _ in range(steps):
        new = u.copy()
        new[1:-1, 1:-1] = 0.25 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2])
        if float(abs(new - u).max()) < 1e-9:
            break
        u = new
    return u


def _orthogonal(np: Namespace, a: Array) -> Array:
    """Gram and Schmidt's way."""
    for k in range(a.shape[1]):
        a[:, k] /= np.sqrt((a[:, k] ** 2).sum())
        for j in range(k + 1, a.shape[1]):
            a[:, j] -= (a[:, j] @ a[:, k]) * a[:, k]
    return a


def _samples(n: int) -> Inputs:
    return {"x": random(n, 30), "y": numpy.arange(n) % 2.0, "w": numpy.zeros(30), "steps": 50}


short = partial(Case, group="short")
CASES = (
    short("heat_rod", "heat along 1000 points, 200 steps", lambda n: {"u": random(n), "steps": 200}, _string,
          (1000, 1000, 20), in_place=True),
    short("life", "game of life, 30 steps of 128 x 128",
          lambda n: {"cells": numpy.arange(n * n).reshape(n, n) % 5 // 3, "steps": 30}, _life, (128, 128, 8)),
    short("logistic", "logistic regression, 50 steps, 569 x 30", _samples, _logistic, (569, 569, 20)),
    short("k_means_digits", "k-means by products, 1797 x 64", _digits, demo("k_means"), (1797, 1797, 30)),
    short("lorenz", "Lorenz by Runge-Kutta, 100 steps of 3", lambda n: {"state": random(3), "steps": n}, _lorenz,
          (100, 100, 5)),
    short("lorenz_many", "the same, 5000 at once, 20 steps", lambda n: {"state": random(3, n), "steps": 20}, _lorenz,
          (5000, 5000, 5)),
    short("standardise_small", "20 columns of 1000 to mean 0, deviation 1", lambda n: {"x": random(n, 20)},
          _standardise, (1000, 1000, 10)),
    short("jacobi", "Jacobi, 100 steps of 100 x 100, each looked at", lambda n: {"u": random(n, n), "steps": 100},
          _jacobi, (100, 100, 8)),
    short("gram_schmidt", "20 columns of 200 made orthogonal", lambda n: {"a": random(n, 20)}, _orthogonal,
          (200, 200, 25), in_place=True),
)  # fmt: skip
