"""Products of matrices by CLBlast, a tuned library for GPUs, where PyCLBlast is installed."""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np

from .base import Operand

_WORTH = 64  # rows, columns and steps of a product that is worth the call


@cache
def library() -> Any:
    """Return PyCLBlast, or None where it is not installed or does not load."""
    try:
        return importlib.import_module("pyclblast")
    except Exception:  # its extension can fail in ways of its own, and nothing depends on it
        return None


def multiply(queue: Any, a: Operand, b: Operand, out: Operand) -> bool:
    """Multiply matrices of one dtype into a packed result; return whether CLBlast did."""
    (m, k), n = a.shape[-2:], b.shape[-1]
    if out.dtype.kind not in "fc" or min(m, n, k) < _WORTH or library() is None:
        return False
    first, second = _leading(a), _leading(b)
    if first is None or second is None:
        return False
    (a_step, a_transposed), (b_step, b_transposed) = first, second
    one, zero = out.dtype.type(1), out.dtype.type(0)
    arrays = [_array(queue, o) for o in (a, b, out)]
    size = out.dtype.itemsize
    try:
        library().gemm(
            queue, m, n, k, *arrays, a_step, b_step, n, one, zero, a_transposed, b_transposed,
            a.offset // size, b.offset // size, out.offset // size,
        )  # fmt: skip
    except RuntimeError:  # of a device for which CLBlast has no kernel
        return False
    return True


def _leading(o: Operand) -> tuple[int, bool] | None:
    """Return how far apart the rows are, or the columns of a transposed matrix; None for other layouts."""
    size = o.dtype.itemsize
    (rows, columns), (row, column) = o.shape[-2:], (s // size for s in o.strides[-2:])
    if column == 1 and row >= columns:
        return row, False
    if row == 1 and column >= rows:
        return column, True
    return None


def _array(queue: Any, o: Operand) -> Any:
    """Return an operand as PyOpenCL's array; where it lies is told apart."""
    from pyopencl.array import Array

    return Array(queue, o.shape[-2:], np.dtype(o.dtype), data=o.mem.buffer, allocator=None)
