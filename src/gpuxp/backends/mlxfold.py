"""Reductions in the canonical order of `gpuxp.kernel.combine`, with MLX's elementwise operations on whole rows."""

from __future__ import annotations

import numpy as np

from ..kernel import BLOCK, LANES
from ..ops import ELEMENTWISE
from .mlxtypes import DTYPES, Fn, MxArray, literal, mx


def fold(op: str, fn: Fn, values: MxArray) -> MxArray:
    """Reduce ``(outer, n, inner)`` along the middle axis, to ``(outer, inner)``."""
    if not values.shape[1]:
        dtype = DTYPES[values.dtype]
        identity = np.asarray(ELEMENTWISE[op].identity).astype(dtype)
        return mx.broadcast_to(literal(identity, dtype), (values.shape[0], values.shape[2]))
    while values.shape[1] > 1:
        values = _fold_blocks(fn, values)
    result = values[:, 0]
    # a sum of negative zeros is zero
    return mx.add(result, 0) if op == "add" and mx.issubdtype(result.dtype, mx.inexact) else result


def _fold_blocks(fn: Fn, values: MxArray) -> MxArray:
    """Reduce each block, to ``(outer, blocks, inner)``."""
    outer, n, inner = values.shape
    whole = n // BLOCK if n > BLOCK else 0
    parts = []
    if whole:
        blocks = mx.reshape(values[:, : whole * BLOCK], (outer * whole, BLOCK, inner))
        parts.append(mx.reshape(_fold_block(fn, blocks), (outer, whole, inner)))
    if n > whole * BLOCK:
        parts.append(mx.expand_dims(_fold_block(fn, values[:, whole * BLOCK :]), 1))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


def _fold_block(fn: Fn, values: MxArray) -> MxArray:
    """Reduce ``(count, n, inner)`` with n at most a block, to ``(count, inner)``."""
    n = values.shape[1]
    lanes = values[:, :LANES]
    for start in range(LANES, n, LANES):
        lanes = _joined(fn, lanes, values[:, start : start + LANES])
    width = min(n, LANES)
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        lanes = _joined(fn, lanes[:, :half], lanes[:, half:])
        width = half
    return lanes[:, 0]


def _joined(fn: Fn, lanes: MxArray, more: MxArray) -> MxArray:
    """Combine the first lanes with as many as there are more."""
    width = more.shape[1]
    if width == lanes.shape[1]:
        return fn(lanes, more)
    return mx.concatenate([fn(lanes[:, :width], more), lanes[:, width:]], axis=1)
