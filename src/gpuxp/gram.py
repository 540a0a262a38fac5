"""Matrix products on the host, those of few rows and columns over many terms in pieces.

Such are the products of features over all samples: Gram matrices, regressions, means of clusters. OpenBLAS packs and
shares out products of more than a million terms, which costs these more than it gives them: pieces below that limit are
1.3 to 2.5 times as fast (float64 and float32 of 4 x 4 to 16 x 16, on AVX-512), and run side by side.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from .config import num_threads
from .threads import current_pool, leave_cores

Array = np.ndarray[Any, Any]
LEAST = 1 << 20  # terms of all products together from which threads pay, and the device has a say
_MOST = 16  # rows and columns
_SMALL = 10**6  # terms of the products that OpenBLAS does not pack
_PIECE = 1024  # terms of an element in each piece
_PARALLEL = 10**7  # terms that are worth another thread
_TASKS = 4


class Multiplication:
    """`np.matmul` on the host, as the backend does it if it can: `direct` has its ways."""

    def __init__(self, direct: Any) -> None:
        self._products = None if direct is None else direct.products

    def __call__(self, a: Array, b: Array, room: Callable[[], Array | None] = lambda: None) -> Array:
        """Return the product of two arrays, in the memory that `room` returns if it does."""
        if not _is_long(a, b):
            return self._product(a, b, room(), partial(_matmul, a, b))
        (rows, terms), columns = a.shape, b.shape[1]
        pieces = terms // _PIECE
        cut = pieces * _PIECE
        left = a[:, :cut].reshape(rows, pieces, _PIECE).swapaxes(0, 1)
        right = b[:cut].reshape(pieces, _PIECE, columns)
        parts = np.empty((pieces + 1, rows, columns), a.dtype)
        self._product(left, right, parts[:pieces], partial(_in_pieces, left, right))
        np.matmul(a[:, cut:], b[cut:], out=parts[pieces])
        total: Array = np.add.reduce(parts, 0, out=room())
        return total

    def _product(self, a: Array, b: Array, out: Array | None, blas: Callable[[Array | None], Array]) -> Array:
        found: Array = blas(out) if self._products is None else self._products.run(a, b, out, blas)
        return found


def _matmul(a: Array, b: Array, out: Array | None) -> Array:
    """Have BLAS do it, whose threads need the cores."""
    leave_cores()
    found: Array = np.matmul(a, b, out=out)
    return found


def _in_pieces(left: Array, right: Array, out: Array) -> Array:
    """Share many small products among threads."""
    leave_cores()
    pieces = len(left)
    tasks = _TASKS if math.prod(left.shape) * right.shape[-1] >= _PARALLEL and num_threads() > 1 else 1
    numbers = itertools.count()

    def work() -> None:
        while (n := next(numbers)) < tasks:
            some = slice(pieces * n // tasks, pieces * (n + 1) // tasks)
            np.matmul(left[some], right[some], out=out[some])

    if tasks > 1:
        current_pool().run(work, min(num_threads(), tasks))
    else:
        work()
    return out


def _is_long(a: Array, b: Array) -> bool:
    """Whether a product has few elements of many terms; that of an array with itself is done by half anyway."""
    if a.ndim != 2 or b.ndim != 2 or a.dtype != b.dtype or a.dtype.char not in "fd":
        return False
    (rows, terms), columns = a.shape, b.shape[1]
    few = 1 < rows <= _MOST and 1 < columns <= _MOST
    return few and rows * columns * terms > _SMALL and not np.may_share_memory(a, b)
