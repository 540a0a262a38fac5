"""Reductions in the canonical order, fast: what `kernel.combine` says lane by lane, done with whole rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kernel import BLOCK, LANES, without_negative_zero
from .ops import ELEMENTWISE

Array = np.ndarray[Any, Any]
_SMALL = 16384  # elements that are transposed at once
_FEW = 64  # so many rows of lanes are transposed before they are halved


def fold(op: str, values: Array) -> Array:
    """Reduce ``(outer, n, inner)`` along the middle axis, n > 0, to ``(outer, inner)``."""
    outer, n, inner = values.shape
    if n <= LANES and (values.size <= _SMALL or (inner == 1 and outer > _FEW)):
        count = max(_SMALL // (n * inner), 1)
        parts = [
            halve(op, np.array(values[start : start + count].transpose(1, 0, 2), order="C"))
            for start in range(0, outer, count)
        ]
        return without_negative_zero(op, parts[0] if len(parts) == 1 else np.concatenate(parts))
    while values.shape[1] > 1:
        values = fold_blocks(op, values)
    return without_negative_zero(op, values[:, 0])


def fold_blocks(op: str, values: Array) -> Array:
    """Reduce each block of ``(outer, n, inner)`` along the middle axis, to ``(outer, blocks, inner)``."""
    outer, n, inner = values.shape
    whole = n // BLOCK if n > BLOCK else 0
    parts = []
    if whole:
        blocks = values[:, : whole * BLOCK].reshape(outer * whole, BLOCK, inner)
        parts.append(_fold_block(op, blocks).reshape(outer, whole, inner))
    if n > whole * BLOCK:
        parts.append(_fold_block(op, values[:, whole * BLOCK :])[:, None])
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)


def _fold_block(op: str, values: Array) -> Array:
    """Reduce ``(count, n, inner)`` with n at most a block, to ``(count, inner)``."""
    count, n, inner = values.shape
    lanes = _add_lanes(op, values.reshape(count, n * inner), LANES * inner).reshape(count, min(n, LANES), inner)
    if count == 1 or inner > 1 or count <= _FEW:
        return halve(op, np.ascontiguousarray(lanes.transpose(1, 0, 2)))
    return _halve_rows(op, lanes[:, :, 0])[:, None]


def packed(values: Array) -> Array:
    """Return values as an op reads them that needs packed operands."""
    return np.ascontiguousarray(values) if values.dtype.kind == "c" or values.dtype.itemsize == 2 else values


def _add_lanes(op: str, values: Array, unit: int) -> Array:
    """Combine the rows of `unit` elements that each of ``(count, width)`` consists of, in order; the result is new."""
    row = ELEMENTWISE[op]
    full, rest = divmod(values.shape[1], unit)
    if full < 2:
        lanes = values[:, :unit].copy()
    else:
        stacked = values[:, : full * unit].reshape(values.shape[0], full, unit)
        if (
            values.dtype.kind == "c" or row.run is not None
        ):  # `reduce` starts from the identity, and inf * 1 is then nan
            lanes = stacked[:, 0].copy()
            for place in range(1, full):
                row.impl(lanes, np.ascontiguousarray(stacked[:, place]), out=lanes)
        else:
            lanes = row.ufunc.reduce(stacked, axis=1, dtype=values.dtype)
    if rest and full:
        into = np.ascontiguousarray(lanes[:, :rest])
        row.impl(into, np.ascontiguousarray(values[:, full * unit :]), out=into)
        lanes[:, :rest] = into
    return lanes


def halve(op: str, lanes: Array) -> Array:
    """Combine the rows of ``(width, ...)`` pairwise until one is left; `lanes` is overwritten."""
    impl = ELEMENTWISE[op].impl
    width = lanes.shape[0]
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        into = lanes[: width - half]
        impl(into, lanes[half:width], out=into)
        width = half
    first: Array = lanes[0]
    return first


def _halve_rows(op: str, lanes: Array) -> Array:
    """Do the same for ``(count, width)`` along the last axis, for many rows."""
    impl = ELEMENTWISE[op].impl
    width = lanes.shape[1]
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        a, b = packed(lanes[:, : width - half]), packed(lanes[:, half:width])
        joined = impl(a, b, out=np.empty(a.shape, a.dtype))
        lanes = joined if 2 * half == width else np.concatenate((joined, lanes[:, width - half : half]), axis=1)
        width = half
    first: Array = lanes[:, 0]
    return first
