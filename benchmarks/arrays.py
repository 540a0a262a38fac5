"""Cases of a line or two: chains, reductions of expressions, broadcasting, masks, library calls."""

from __future__ import annotations

from typing import Any

import numpy

from .case import Array, Case, Inputs, Namespace, random, vectors

MILLIONS = (4_000_000, 400_000, 1000)


def chain3(np: Namespace, a: Array, b: Array, c: Array) -> Array:
    """Six operations that every processor rounds alike."""
    return (a * b + c - a / c) * b - a


def chain2(np: Namespace, a: Array, b: Array) -> Array:
    """Six operations on two arrays."""
    return ((a + b) * a - b) * 0.5 + a * b


def squared_error(np: Namespace, x: Array, m: float) -> Array:
    return ((x - m) ** 2).sum()


def _row_norms(np: Namespace, a: Array) -> Array:
    return np.sqrt((a * a).sum(1))


def _column_norms(np: Namespace, a: Array) -> Array:
    return np.sqrt((a * a).sum(0))


def _standardise(np: Namespace, a: Array) -> Array:
    return (a - a.mean(0)) / a.std(0)


def _outer(np: Namespace, x: Array, y: Array) -> Array:
    return x[:, None] * y + x[:, None] - y


def _distances(np: Namespace, x: Array, y: Array) -> Array:
    return np.sqrt(((x[:, None, :] - y[None]) ** 2).sum(-1))


def _where(np: Namespace, a: Array, b: Array) -> Array:
    return np.where((a > b) & (a < 1.2), a - b, a * b)


def _mask_read(np: Namespace, a: Array) -> Array:
    return a[a > 1.0]


def _mask_write(np: Namespace, a: Array) -> Array:
    a[a > 1.0] *= 1.0  # each call does the same work
    return a


def _mask_fill(np: Namespace, a: Array) -> Array:
    a[a > 1.0] = 2.0
    return a


def _grid(columns: int) -> Any:
    return lambda n: {"a": random(n, columns)}


def _points(n: int) -> Inputs:
    return {"x": random(n, 3), "y": random(n, 3, seed=1)}


def _square(n: int) -> Inputs:
    return {"a": random(n, n), "b": random(n, n, seed=1)}


def _complex(n: int) -> Inputs:
    return {"a": random(n) + 1j * random(n, seed=1)}


CASES = (
    Case("chain3", "six exact operations on three arrays", vectors("abc"), chain3, MILLIONS, bandwidth=True),
    Case("chain2", "six exact operations on two arrays", vectors("ab"), chain2, MILLIONS, bandwidth=True),
    Case("chain3_f32", "the same, float32", vectors("abc", numpy.float32), chain3, MILLIONS, bandwidth=True),
    Case("chain2_f32", "the same, float32", vectors("ab", numpy.float32), chain2, MILLIONS, bandwidth=True),
    Case("squared_error", "((x - m)**2).sum()", lambda n: {"x": random(n), "m": 1.0}, squared_error, MILLIONS),
    Case("row_norms", "norms of rows of 1000", _grid(1000), _row_norms, (4000, 400, 3)),
    Case("column_norms", "norms of 1000 columns", _grid(1000), _column_norms, (4000, 400, 3)),
    Case("standardise", "100 columns to mean 0, deviation 1", _grid(100), _standardise, (40_000, 4000, 20)),
    Case("outer", "outer form of two vectors", lambda n: {"x": random(n), "y": random(n, seed=1)}, _outer,
         (2000, 600, 20)),
    Case("distances", "distances of points in space", _points, _distances, (1000, 300, 20)),
    Case("where_mask", "where with two conditions", vectors("ab"), _where, MILLIONS),
    Case("mask_read", "a[a > 1]", vectors("a"), _mask_read, MILLIONS),
    Case("mask_write", "a[a > 1] *= 1.0", vectors("a"), _mask_write, MILLIONS, in_place=True),
    Case("mask_fill", "a[a > 1] = 2.0", vectors("a"), _mask_fill, MILLIONS, in_place=True),
    Case("matmul", "product of 1000 x 1000", _square, lambda np, a, b: a @ b, (1000, 200, 10)),
    Case("sort", "sort a million", vectors("a"), lambda np, a: np.sort(a), (1_000_000, 100_000, 1000)),
    Case("fft", "transform of 2**20 complex", _complex, lambda np, a: np.fft.fft(a), (1 << 20, 1 << 16, 64)),
    Case("svd", "singular values of 400 x 400", lambda n: {"a": random(n, n)},
         lambda np, a: np.linalg.svd(a, compute_uv=False), (400, 100, 8)),
)  # fmt: skip
