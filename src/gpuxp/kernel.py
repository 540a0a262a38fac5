"""The kernel: one loop nest with a scalar body in SSA form, and its plain meaning.

A kernel says what happens at each point of a loop: load elements, compute, store, and combine along the reduced
dimensions. Sizes, strides and Python scalars are arguments of a launch, so one kernel serves every shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .dtypes import DType
from .ops import ELEMENTWISE, reducible

LANES = 128  # a reduction adds element k of a block to lane k % LANES ...
BLOCK = 16 * LANES  # ... a block is this long, and blocks are combined like elements

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Inst:
    """One SSA instruction; its value is named by its position in the body.

    `op` is a row of the elementwise table, or ``load`` (parameter `attr`), ``scalar`` (scalar `attr`), ``index`` (the
    position in a one-dimensional loop), ``literal`` (the constant `attr`, part of an expansion) or ``cast``.
    """

    op: str
    args: tuple[int, ...]
    dtype: DType
    attr: int = 0


@dataclass(frozen=True, slots=True)
class Reduction:
    """Combine `value` with `op` along the reduced dimensions and store it to `param`."""

    op: str
    value: int
    param: int


@dataclass(frozen=True)
class Kernel:
    """A loop nest of `ndim` dimensions, the first `kept` of them kept and the rest reduced."""

    params: tuple[DType, ...]
    scalars: tuple[DType, ...]
    body: tuple[Inst, ...]
    stores: tuple[tuple[int, int], ...] = ()  # (parameter, value)
    reductions: tuple[Reduction, ...] = ()
    ndim: int = 1
    kept: int = 1
    _key: list[int] = field(default_factory=list, compare=False, repr=False)

    def __hash__(self) -> int:
        if not self._key:
            self._key.append(
                hash((self.params, self.scalars, self.body, self.stores, self.reductions, self.ndim, self.kept))
            )
        return self._key[0]

    def key(self) -> str:
        """Return everything that changes the generated code, as text."""
        return self.pretty()

    def over(self, ndim: int, kept: int) -> Kernel:
        """Return the same body over another number of loop dimensions."""
        return self if (ndim, kept) == (self.ndim, self.kept) else _over(self, ndim, kept)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Parameters that the kernel writes."""
        return tuple(p for p, _ in self.stores) + tuple(r.param for r in self.reductions)

    def pretty(self) -> str:
        """Return the kernel as text, one line an instruction."""
        loop = ", ".join(f"{'i' if d < self.kept else 'r'}{d}" for d in range(self.ndim))
        lines = [f"kernel over ({loop}):"]
        for number, inst in enumerate(self.body):
            what = {"load": f"load p{inst.attr}", "scalar": f"scalar s{inst.attr}", "literal": str(inst.attr)}.get(
                inst.op, inst.op
            )
            lines.append(f"  %{number}: {inst.dtype} = {what} {' '.join(f'%{a}' for a in inst.args)}".rstrip())
        lines += [f"  p{param}: {self.params[param]} <- %{value}" for param, value in self.stores]
        lines += [f"  p{r.param}: {self.params[r.param]} <- {r.op}-reduce %{r.value}" for r in self.reductions]
        return "\n".join(lines)

    def verify(self) -> None:
        """Raise `ValueError` where the kernel is not well formed."""
        for number, inst in enumerate(self.body):
            self._verify_inst(number, inst)
        reduction_params = {r.param for r in self.reductions}
        loads = {inst.attr for inst in self.body if inst.op == "load"}
        outputs = self.outputs
        _require(len(outputs) == len(set(outputs)), "two stores to one parameter")
        _require(not reduction_params & loads, "a reduction's result is loaded in the same kernel")
        _require(bool(self.reductions) or self.kept == self.ndim, "a reduced dimension without a reduction")
        for param, value in self.stores:
            _require(0 <= value < len(self.body), f"store of an unknown value %{value}")
            _require(self.body[value].dtype == self.params[param], f"store of %{value} changes the dtype of p{param}")
        for r in self.reductions:
            _require(reducible(r.op), f"{r.op} is no reduction")
            _require(0 <= r.value < len(self.body), f"reduction of an unknown value %{r.value}")

    def _verify_inst(self, number: int, inst: Inst) -> None:
        _require(all(0 <= a < number for a in inst.args), f"%{number} uses a later value")
        if inst.op == "load":
            _require(inst.dtype == self.params[inst.attr], f"%{number} loads p{inst.attr} with another dtype")
        elif inst.op == "scalar":
            _require(inst.dtype == self.scalars[inst.attr], f"%{number} reads s{inst.attr} with another dtype")
        elif inst.op == "index":
            _require(self.ndim <= 1, f"%{number} reads the index of a loop that is not one-dimensional")
        elif inst.op not in ("cast", "literal"):
            _require(inst.op in ELEMENTWISE, f"%{number} has an unknown op {inst.op!r}")
            _require(len(inst.args) == ELEMENTWISE[inst.op].nin, f"%{number} has the wrong number of arguments")


@lru_cache(maxsize=1024)
def _over(kernel: Kernel, ndim: int, kept: int) -> Kernel:
    return replace(kernel, ndim=ndim, kept=kept, _key=[])


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(f"kernel: {message}")


def execute(kernel: Kernel, shape: tuple[int, ...], params: Sequence[Array], scalars: Sequence[Any]) -> None:
    """Run a kernel the plain way: its meaning, and the oracle of the tests.

    Parameters
    ----------
    kernel
        What to run.
    shape
        The loop, kept dimensions first.
    params
        One array per parameter, broadcast to the loop (to its kept dimensions for a reduction's result).
    scalars
        One 0-d array per scalar.
    """
    values: list[Array] = []
    with np.errstate(all="ignore"):
        for inst in kernel.body:
            values.append(_value(inst, shape, params, scalars, values))
        for param, value in kernel.stores:
            params[param][...] = values[value]
        for r in kernel.reductions:
            outer = shape[: kernel.kept]
            extents = math.prod(outer), math.prod(shape[kernel.kept :])
            flat = np.broadcast_to(values[r.value], shape).reshape(extents)
            params[r.param][...] = combine(r.op, flat).reshape(outer)


def _value(
    inst: Inst, shape: tuple[int, ...], params: Sequence[Array], scalars: Sequence[Any], values: list[Array]
) -> Array:
    if inst.op == "load":
        return params[inst.attr].copy()
    if inst.op == "scalar":
        return np.asarray(scalars[inst.attr])
    if inst.op == "literal":
        return np.asarray(inst.attr, inst.dtype)
    if inst.op == "index":
        return np.arange(shape[0] if shape else 1, dtype=inst.dtype).reshape(shape)
    args = [values[a] for a in inst.args]
    out = np.empty(np.broadcast_shapes(*(a.shape for a in args)), inst.dtype)
    if inst.op == "cast":
        np.copyto(out, args[0], casting="unsafe")
    else:
        ELEMENTWISE[inst.op].impl(*args, out=out)
    return out


def combine(op: str, values: Array) -> Array:
    """Reduce an ``(outer, n)`` array along its last axis in the canonical order.

    Blocks of `BLOCK` elements: element k of a block joins lane ``k % LANES`` in order, the lanes are halved (lane j
    takes lane j + h) until one is left, and the blocks' results are combined in the same way. The order depends on n
    alone.
    """
    fn: Callable[..., Any] = ELEMENTWISE[op].impl
    n = values.shape[1]
    while n > 1:
        partial = np.empty((values.shape[0], -(-n // BLOCK)), values.dtype)
        for block in range(partial.shape[1]):
            part = values[:, block * BLOCK : (block + 1) * BLOCK]
            lanes = part[:, :LANES].copy()
            for start in range(LANES, part.shape[1], LANES):
                row = part[:, start : start + LANES]
                width = row.shape[1]
                lanes[:, :width] = apply(fn, lanes[:, :width], row)
            width = lanes.shape[1]
            while width > 1:
                half = 1 << (width - 1).bit_length() - 1
                lanes[:, : width - half] = apply(fn, lanes[:, : width - half], lanes[:, half:width])
                width = half
            partial[:, block] = lanes[:, 0]
        values, n = partial, partial.shape[1]
    if n == 0:
        return np.full(values.shape[0], ELEMENTWISE[op].neutral(values.dtype))
    return without_negative_zero(op, values[:, 0])


def apply(fn: Callable[..., Any], a: Array, b: Array) -> Array:
    """Return ``fn(a, b)`` in a's dtype, computed on packed memory."""
    out = np.empty(a.shape, a.dtype)
    fn(np.ascontiguousarray(a), np.ascontiguousarray(b), out=out)
    return out


def without_negative_zero(op: str, result: Array) -> Array:
    """Add the identity to a sum, as NumPy does: a sum of negative zeros is zero."""
    return result + result.dtype.type(0) if op == "add" and result.dtype.kind in "fc" else result
