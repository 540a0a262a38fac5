"""Reductions in the canonical order of `gpuxp.kernel.combine`, with MLX's elementwise operations on whole rows."""

from __future__ import annotations

import functools

import numpy as np

from ..kernel import BLOCK, LANES
from ..ops import ELEMENTWISE
from .mlxtypes import DTYPES, Fn, MxArray, literal, mx

_ORDERED = {"add": "sum", "multiply": "prod"}  # MLX's reductions that may be in the order of the lanes
_ROWS = BLOCK // LANES


def fold(op: str, fn: Fn, values: MxArray) -> MxArray:
    """Reduce ``(outer, n, inner)`` along the middle axis, to ``(outer, inner)``."""
    if not values.shape[1]:
        dtype = DTYPES[values.dtype]
        identity = ELEMENTWISE[op].neutral(dtype)
        return mx.broadcast_to(literal(identity, dtype), (values.shape[0], values.shape[2]))
    ordered = op in _ORDERED and values.dtype in (mx.float32, mx.float64) and mx.default_device() == mx.cpu
    whole = _whole_rows(op) if ordered else None
    while values.shape[1] > 1:
        values = _fold_blocks(fn, whole, values)
    result = mx.squeeze(values, axis=1)
    # a sum of negative zeros is zero
    return mx.add(result, 0) if op == "add" and mx.issubdtype(result.dtype, mx.inexact) else result


def _fold_blocks(fn: Fn, whole: Fn | None, values: MxArray) -> MxArray:
    """Reduce each block, to ``(outer, blocks, inner)``."""
    outer, n, inner = values.shape
    blocks = n // BLOCK if n > BLOCK else 0
    parts = []  # (outer, blocks, lanes, inner)
    if blocks:
        parts.append(_lanes(fn, whole, mx.reshape(values[:, : blocks * BLOCK], (outer, blocks, BLOCK, inner))))
    if n > blocks * BLOCK:
        rest = mx.expand_dims(values[:, blocks * BLOCK :] if blocks else values, 1)
        parts.append(_lanes(fn, whole, rest))
    if len(parts) > 1 and parts[0].shape[2] == parts[1].shape[2]:
        parts = [mx.concatenate(parts, axis=1)]
    halved = [_halved(fn, lanes) for lanes in parts]
    return halved[0] if len(halved) == 1 else mx.concatenate(halved, axis=1)


def _lanes(fn: Fn, whole: Fn | None, values: MxArray) -> MxArray:
    """Add up the lanes of blocks, ``(outer, blocks, n, inner)`` with n at most a block."""
    outer, blocks, n, inner = values.shape
    rows, rest = divmod(n, LANES)
    if whole is None or rows < 2:
        lanes, *more = mx.split(values, [*range(LANES, n, LANES)], axis=2)
    else:
        first, *more = mx.split(values, [rows * LANES], axis=2) if rest else (values,)
        lanes = whole(mx.reshape(first, (outer, blocks, rows, LANES, inner)), axis=2)
    for row in more:
        lanes = _joined(fn, lanes, row)
    return lanes


def _halved(fn: Fn, lanes: MxArray) -> MxArray:
    """Combine lanes, to ``(outer, blocks, inner)``."""
    width = lanes.shape[2]
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        lanes = _joined(fn, *mx.split(lanes, [half], axis=2))
        width = half
    return mx.squeeze(lanes, axis=2)


def _joined(fn: Fn, lanes: MxArray, more: MxArray) -> MxArray:
    """Combine the first lanes with as many as there are more."""
    width = more.shape[2]
    if width == lanes.shape[2]:
        return fn(lanes, more)
    first, rest = mx.split(lanes, [width], axis=2)
    return mx.concatenate([fn(first, more), rest], axis=2)


@functools.cache
def _whole_rows(op: str) -> Fn | None:
    """Return MLX's reduction, if along an axis that is not the last it takes row by row.

    On the CPU it does, one call for a block's sixteen rows; as nothing promises that, it is tried.
    """
    found: Fn = getattr(mx, _ORDERED[op])
    fn: Fn = getattr(mx, op)
    values = mx.array(np.random.default_rng(0).uniform(0.5, 1.5, (3, _ROWS, LANES, 1)), dtype=mx.float32)
    for shape in ((3, _ROWS, LANES, 1), (1, _ROWS, LANES, 3)):
        rows = mx.reshape(values, shape)
        expected = functools.reduce(fn, [rows[:, n] for n in range(_ROWS)])
        if not mx.array_equal(found(rows, axis=1), expected).item():
            return None
    return found
