"""Commands in program order, and the hazards between them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from .dtypes import DType
from .geometry import CLASH, DISJOINT, IDENTICAL, Shape, relation
from .storage import View
from .threads import quiet_call

_REPEATED = 8  # commands that make a repetition

MAP, REDUCE, LIBRARY = "map", "reduce", "library"
Scalar = np.ndarray[Any, Any]  # a 0-d array in the loop's dtype


class Node:
    """One command: an operation, the view it writes and the views it reads.

    Attributes
    ----------
    op
        A row of the op table, or ``copy`` (with conversion), ``index`` (0, 1, 2, ...), or a library row.
    kind
        `MAP`: one output element per loop point. `REDUCE`: `attr` holds the reduced axes. `LIBRARY`: a call that never
        fuses, `fn` runs it.
    loop
        The dtypes the operation computes in: inputs, then output.
    shape
        The loop: of the output for a map, of the input for a reduction.
    sign
        What stands for all of the command but its buffers and scalars, if there is such an object.
    """

    __slots__ = ("attr", "fn", "ins", "kind", "loop", "op", "outs", "shape", "sign", "site")

    def __init__(
        self,
        op: str,
        kind: str,
        outs: tuple[View, ...],
        ins: tuple[View | Scalar, ...],
        loop: tuple[DType, ...],
        shape: Shape,
        attr: Hashable = None,
        fn: Callable[..., Any] | None = None,
        sign: object = None,
    ) -> None:
        self.op = op
        self.kind = kind
        self.outs = outs
        self.ins = ins
        self.loop = loop
        self.shape = shape
        self.attr = attr
        self.fn = fn
        self.sign = sign
        self.site: tuple[str, int] | None = None  # file and line of the user's

    def reads(self) -> list[View]:
        """Return the views among the inputs."""
        return [v for v in self.ins if type(v) is View]

    def __repr__(self) -> str:
        ins = ", ".join(_show(v) for v in self.ins)
        axes = f", axis={self.attr}" if self.kind == REDUCE else ""
        return f"{', '.join(_show(v) for v in self.outs)} = {self.op}({ins}{axes})"


def constant(value: Any, dtype: DType) -> Scalar:
    """Return a number as commands take it; like all overflow, that of its conversion is silent."""
    found: Scalar = quiet_call(np.asarray, value, dtype) if dtype.kind in "fc" else np.asarray(value, dtype)
    return found


def repeating(nodes: Sequence[Node]) -> int:
    """Return how many commands to run of a tape that is full: up to where it repeats its beginning, if it does.

    In a loop each flush then starts at the same statement, and finds the plan of the one before.
    """
    signs = [(n.op, n.loop, len(n.shape), n.attr) for n in nodes]
    count = len(signs)
    for place in range(count - _REPEATED, count // 2 - 1, -1):
        if signs[place] == signs[0] and signs[place:] == signs[: count - place]:
            return place
    return count


def _show(value: View | Scalar) -> str:
    if type(value) is View:
        shape = "x".join(str(n) for n in value.ghost.shape) or "scalar"
        return f"b{id(value.buffer) % 0xFFFF:04x}[{value.ghost.dtype} {shape}]"
    return str(value)


def relate(a: View, b: View) -> int:
    """Say how two views lie: `IDENTICAL`, `DISJOINT` or `CLASH`."""
    if a is b:
        return IDENTICAL
    if a.buffer is not b.buffer:
        return DISJOINT
    return relation(a.key, b.key)


def clashes(out: View, value: View | Scalar) -> bool:
    """Whether writing `out` element by element would change elements of `value` that are still to be read."""
    if type(value) is not View:
        return False
    if value.buffer is not out.buffer:
        return value.buffer.overlaps(out.buffer)
    found = relate(out, value)
    return found == CLASH or (found == IDENTICAL and value.ghost.shape != out.ghost.shape)
