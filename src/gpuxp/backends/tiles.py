"""The tile interpreter: what one thread of the software GPU does with one tile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..dtypes import DType
from ..kernel import Inst, Kernel
from ..ops import ELEMENTWISE

Array = np.ndarray[Any, Any]
Box = tuple[slice, ...]


class Scratch:
    """One thread's registers: blocks of bytes that instructions write tiles into."""

    def __init__(self) -> None:
        self._slots: list[Array] = []
        self._views: dict[tuple[Program, tuple[int, ...]], list[Array]] = {}

    def tiles(self, program: Program, shape: tuple[int, ...]) -> list[Array]:
        """Return a program's slots as arrays of one shape; what they held before is lost."""
        key = (program, shape)
        found = self._views.get(key)
        if found is None:
            if len(self._views) > 64:
                self._views.clear()
            found = [self._tile(slot, dtype, shape) for slot, dtype in program.outs]
            self._views[key] = found
        return found

    def _tile(self, slot: int, dtype: DType, shape: tuple[int, ...]) -> Array:
        nbytes = math.prod(shape) * dtype.itemsize
        while len(self._slots) <= slot:
            self._slots.append(np.empty(0, np.uint8))
        if self._slots[slot].nbytes < nbytes:
            self._slots[slot] = np.empty(nbytes, np.uint8)
            self._views.clear()
        view: Array = np.ndarray(shape, dtype, self._slots[slot])
        return view


class Grid:
    """A loop cut into boxes of at most `tile` elements (whole rows where they fit)."""

    def __init__(self, shape: tuple[int, ...], tile: int) -> None:
        self._shape = shape
        axis, inner = len(shape) - 1, 1
        while axis > 0 and inner * shape[axis] <= tile:
            inner *= shape[axis]
            axis -= 1
        self._whole = tuple(slice(0, extent) for extent in shape[axis + 1 :])
        self._axis = axis  # cut along this axis; those behind it stay whole, those before it go one by one
        self._step = max(1, tile // max(inner, 1))
        self._along = -(-shape[axis] // self._step) if shape else 1
        self.count = self._along * math.prod(shape[:axis] if shape else ())

    def box(self, number: int) -> Box:
        """Return box `number`."""
        if len(self._shape) == 1:
            low = number * self._step
            return (slice(low, min(low + self._step, self._shape[0])),)
        outer, along = divmod(number, self._along)
        low = along * self._step
        box = [slice(low, min(low + self._step, self._shape[self._axis]))]
        for extent in reversed(self._shape[: self._axis]):
            outer, place = divmod(outer, extent)
            box.append(slice(place, place + 1))
        return (*reversed(box), *self._whole)


class Step(NamedTuple):
    """One call on a tile: ``impl(*values of args, out=slot or parameter)``."""

    value: int
    impl: Callable[..., Any]
    args: tuple[int, ...]
    dtype: DType
    slot: int  # scratch slot, or -1
    param: int  # parameter written directly, or -1
    name: str


def _cast(x: Array, out: Array) -> None:
    np.copyto(out, x, casting="unsafe")


_LEAVES = ("load", "scalar", "index", "literal")
_MOVES = (*_LEAVES, "cast", "select")


def needs_packed(op: str, dtype: DType) -> bool:
    """Whether NumPy's result can depend on the operands' strides: it has two code paths for such loops."""
    if op in _MOVES:
        return False
    return (
        dtype.kind == "c"
        or dtype.itemsize == 2
        and dtype.kind == "f"
        or (dtype.kind == "f" and ELEMENTWISE[op].ulp > 0)
    )


class Program:
    """A kernel as steps on tiles, for parameters of which those in `packed` are contiguous."""

    def __init__(self, kernel: Kernel, packed: frozenset[int]) -> None:
        self.kernel = kernel
        self.loads = [(v, inst.attr) for v, inst in enumerate(kernel.body) if inst.op == "load"]
        self.constants = [(v, inst.attr) for v, inst in enumerate(kernel.body) if inst.op == "scalar"]
        self.indexes = [(v, inst.dtype) for v, inst in enumerate(kernel.body) if inst.op == "index"]
        self.literals = {v: np.asarray(i.attr, i.dtype) for v, i in enumerate(kernel.body) if i.op == "literal"}
        self.steps: list[Step] = []
        self._packed = packed
        self._ends = self._last_uses()
        self._free: list[int] = []
        self._lent: dict[int, int] = {}  # value -> output parameter that holds it for now
        self._slot_of: dict[int, int] = {}
        self._slots = 0
        self._alias: dict[int, int] = {}  # loads of parameters that are also stored, and packed copies of strided ones
        self._extra = len(kernel.body)
        self._build()
        self.copies = [
            (param, self._alias.get(value, value))
            for param, value in kernel.stores
            if not any(s.value == value and s.param == param for s in self.steps)
        ]
        self.outs = tuple(dict.fromkeys((s.slot, s.dtype) for s in self.steps if s.slot >= 0))
        self.source = self._generate()
        names: dict[str, Any] = {step.name: step.impl for step in self.steps} | {"copyto": np.copyto}
        names |= {f"c{v}": value for v, value in self.literals.items()}
        exec(compile(self.source, "<gpuxp tile>", "exec"), names)  # built of table names and numbers alone
        self._tile = names["tile"]

    def final(self, value: int) -> int:
        """Return where a run leaves a value of the kernel."""
        return self._alias.get(value, value)

    def _last_uses(self) -> dict[int, int]:
        body = self.kernel.body
        ends = {a: number for number, inst in enumerate(body) for a in inst.args}
        for value in (*(v for _, v in self.kernel.stores), *(r.value for r in self.kernel.reductions)):
            ends[value] = len(body)
        return ends

    def _build(self) -> None:
        body = self.kernel.body
        stored = {param for param, _ in self.kernel.stores}
        load_of = {inst.attr: v for v, inst in enumerate(body) if inst.op == "load"}
        for value, param in self.loads:
            if param in stored and self._ends.get(value, -1) == len(body):
                self._copy_in(value)  # stored elsewhere after this parameter may have been overwritten
        for number, inst in enumerate(body):
            if inst.op in _LEAVES:
                continue
            args = tuple(self._operand(a, number, inst.op) for a in inst.args)
            param = self._direct(number, load_of)
            if inst.op == "cast":
                impl: Callable[..., Any] = _cast
            else:
                impl = ELEMENTWISE[inst.op].impl
            reuse = _may_overwrite(inst) and all(body[a].dtype.itemsize == inst.dtype.itemsize for a in inst.args)
            if reuse:
                self._release(inst.args, number)
            slot = -1
            if param < 0:
                param = self._lend(number, load_of)
            if param < 0:
                slot = self._take(number)
            if not reuse:
                self._release(inst.args, number)
            self.steps.append(Step(number, impl, args, inst.dtype, slot, param, inst.op))

    def _operand(self, value: int, at: int, op: str) -> int:
        """Return the value to read: a packed copy where the op needs one."""
        if value in self._alias:
            return self._alias[value]
        inst = self.kernel.body[value]
        if inst.op == "load" and inst.attr not in self._packed and needs_packed(op, inst.dtype):
            return self._copy_in(value)
        return value

    def _copy_in(self, value: int) -> int:
        dtype = self.kernel.body[value].dtype
        name = self._extra
        self._extra += 1
        slot = self._take(value)
        self.steps.append(Step(name, _cast, (value,), dtype, slot, -1, "copy"))
        self._alias[value] = name
        return name

    def _lend(self, number: int, load_of: dict[int, int]) -> int:
        """Return an output parameter whose tile may hold a value until the output itself is computed, or -1.

        The tile has to come into the cache anyway, so a value held there costs no room.
        """
        dtype, end = self.kernel.body[number].dtype, self._ends[number]
        for param, final in self.kernel.stores:
            if param in load_of or param in self._lent.values() or param not in self._packed:
                continue
            inst = self.kernel.body[final]
            fits = inst.dtype == dtype and inst.op not in _LEAVES and number < final
            if fits and (end < final or (end == final and _may_overwrite(inst))):
                self._lent[number] = param
                return param
        return -1

    def _take(self, value: int) -> int:
        if self._free:
            slot = self._free.pop()
        else:
            slot = self._slots
            self._slots += 1
        self._slot_of[value] = slot
        return slot

    def _release(self, args: tuple[int, ...], at: int) -> None:
        for a in set(args):
            if self._ends[a] == at:
                self._lent.pop(a, None)
                if a in self._slot_of:
                    self._free.append(self._slot_of.pop(a))

    def _direct(self, number: int, load_of: dict[int, int]) -> int:
        """Return a parameter that instruction `number` may write its result to at once, or -1."""
        inst = self.kernel.body[number]
        for param, value in self.kernel.stores:
            if value != number or (needs_packed(inst.op, inst.dtype) and param not in self._packed):
                continue
            load = load_of.get(param)
            if load is None or load in self._alias or self._ends.get(load, -1) <= number and _may_overwrite(inst):
                return param
        return -1

    def _generate(self) -> str:
        """Return the steps as the source of a Python function: the interpreter's inner loop without any bookkeeping."""
        name = {v: f"p{p}" for v, p in self.loads} | {v: f"s{s}" for v, s in self.constants}
        name |= {v: "i" for v, _ in self.indexes}
        name |= {v: f"c{v}" for v in self.literals}
        lines = ["def tile(p, s, t, i):"]
        lines += [f"    {', '.join(names)}, = {what}" for what, names in (
            ("p", [f"p{n}" for n in range(len(self.kernel.params))]),
            ("s", [f"s{n}" for n in range(len(self.kernel.scalars))]),
            ("t", [f"t{n}" for n in range(len(self.outs))]),
        ) if names]  # fmt: skip
        places = {out: n for n, out in enumerate(self.outs)}
        for step in self.steps:
            target = f"p{step.param}" if step.param >= 0 else f"t{places[step.slot, step.dtype]}"
            lines.append(f"    {step.name}({', '.join(name[a] for a in step.args)}, out={target})")
            name[step.value] = target
        lines += [f"    copyto(p{param}, {name[value]})" for param, value in self.copies]
        kept = [name[self.final(r.value)] for r in self.kernel.reductions]
        lines.append(f"    return {', '.join(kept)}," if kept else "    return ()")
        return "\n".join(lines)

    def run(self, params: list[Array], constants: list[Array], scratch: Scratch, box: Box) -> tuple[Array, ...]:
        """Run one tile; return the values to reduce (those in scratch live until the next call)."""
        shape = tuple([s.stop - s.start for s in box])
        index = None
        if self.indexes:
            dtype = self.indexes[0][1]
            index = np.arange(box[0].start, box[0].stop, dtype=dtype) if box else np.zeros((), dtype)
        found: tuple[Array, ...] = self._tile(params, constants, scratch.tiles(self, shape), index)
        return found


def _may_overwrite(inst: Inst) -> bool:
    """Whether the op may write over its own operand: exact ufuncs may.

    Rows with `run` and casts read after they write; of inexact ufuncs on one element NumPy takes another code path.
    """
    return inst.op != "cast" and ELEMENTWISE[inst.op].run is None and not needs_packed(inst.op, inst.dtype)
