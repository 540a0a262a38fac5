"""A kernel's body in LLVM IR, with its arguments and calls."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..dtypes import DType
from ..kernel import Kernel
from .layout import Layout
from .llvmops import constant, type_of
from .llvmstream import render_stream
from .llvmtext import Emitter, declaration
from .segments import LEAVES, Segments

ENTRY = "gpuxp_kernel"
PIECE = 512  # elements that a call of one of NumPy's loops works on


class Call(NamedTuple):
    """One of NumPy's inner loops: ``ufunc`` for these dtypes."""

    op: str
    dtypes: tuple[DType, ...]


def scalar_words(dtype: DType) -> int:
    """Return how many words of the launch table a scalar takes."""
    return -(-dtype.itemsize // 8)


class Writer(Emitter, ABC):
    """Writes one kernel; the loops around the body are those of `gpuxp.codegen.llvm`."""

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        super().__init__()
        self.kernel, self.layout = kernel, layout
        self.segments = Segments(kernel, frozenset(p for p, how in enumerate(layout.inner) if how == "c"))
        self.calls: list[Call] = []
        self.words = 0
        self.results = {r.param for r in kernel.reductions}
        self.reduced = range(kernel.kept, kernel.ndim)
        loaded = {i.attr for i in kernel.body if i.op == "load"}
        # results that may go past the caches
        self.streamed = [p for p, _ in kernel.stores if layout.streams and p not in loaded and layout.inner[p] == "c"]

    # The whole

    def text(self) -> str:
        """Return the module."""
        self._arguments()
        head, self.lines = self.lines, []
        self._prepare_calls()
        self.loops()
        if self.streamed:
            self.do("fence seq_cst")  # what went past the caches is in no order otherwise
        self.do("ret void")
        body = [*head, *self.allocas, *self.lines]
        declared = sorted({line.split("@")[1].split("(")[0] for line in body if "@llvm." in line})
        lines = [f"define void @{ENTRY}(ptr noalias %a, i64 %low, i64 %high) #0 {{", "entry:", *body, "}"]
        if self.streamed:
            self.metadata.append("!{i32 1}")
            lines.append(render_stream(len(self.metadata) - 1))
            declared = sorted({*declared, "llvm.umin.i64"})
        lines += [declaration(name) for name in declared]
        # whole AVX-512 registers, which LLVM avoids for the sake of older processors; short rows fill no such register
        wide = "" if self.layout.few else ' "prefer-vector-width"="512"'
        lines.append(f'attributes #0 = {{ nounwind "no-trapping-math"="true"{wide} }}')
        lines += [f"!{n} = {what}" for n, what in enumerate(self.metadata)]
        return "\n".join(lines) + "\n"

    @abstractmethod
    def loops(self) -> None:
        """Write the loops over the units."""

    def word(self, type_name: str = "i64") -> str:
        """Return the next word of the launch table."""
        at = self.emit(f"getelementptr i64, ptr %a, i64 {self.words}")
        self.words += 1
        return self.emit(f"load {type_name}, ptr {at}")

    def _arguments(self) -> None:
        kernel = self.kernel
        for value, inst in enumerate(kernel.body):
            if self.segments.is_call(value):
                self.calls.append(Call(inst.op, (*(kernel.body[a].dtype for a in inst.args), inst.dtype)))
        self.callees = {
            value: (self.word("ptr"), self.word("ptr"))
            for value in range(len(kernel.body))
            if self.segments.is_call(value)
        }
        self.step = self.word()
        self.streams = self.word() if self.layout.streams else "0"
        self.shape = [self.word() for _ in range(kernel.ndim)]
        self.base = [self.word("ptr") for _ in kernel.params]
        self.strides = [
            [] if p in self.results else [self.word() for _ in range(kernel.ndim)] for p in range(len(kernel.params))
        ]
        self.scalars = []
        for dtype in kernel.scalars:
            at = self.emit(f"getelementptr i64, ptr %a, i64 {self.words}")
            self.words += scalar_words(dtype)
            self.scalars.append(self.load(dtype, at))

    def _prepare_calls(self) -> None:
        """Reserve the memory in which values wait for a call, or for a later segment."""
        self.buffers = {
            v: self.alloca(i.dtype, PIECE) for v, i in enumerate(self.kernel.body) if self.segments.buffered(v)
        }
        self.stages = {p: self.alloca(self.kernel.params[p], PIECE) for p in self.streamed}
        self.lists: dict[int, tuple[str, str, str]] = {}
        for value in self.callees:
            inst = self.kernel.body[value]
            operands = [*(self.kernel.body[a].dtype for a in inst.args), inst.dtype]
            pointers, sizes, steps = (f"%{self.name()}" for _ in range(3))
            self.allocas += [
                f"  {pointers} = alloca [{len(operands)} x ptr]", f"  {sizes} = alloca i64",
                f"  {steps} = alloca [{len(operands)} x i64]",
            ]  # fmt: skip
            for n, dtype in enumerate(operands):
                self.do(f"store i64 {dtype.itemsize}, ptr {self.at(steps, str(8 * n))}")
            self.lists[value] = pointers, sizes, steps

    def _units(self, unit: Callable[[str], None]) -> None:
        """Run `unit` for each number from %low up to %high."""
        some = self.emit("icmp slt i64 %low, %high")
        run, end = self.name(), self.name()
        self.do(f"br i1 {some}, label %{run}, label %{end}")
        self.label(run)
        count = self.emit("sub i64 %high, %low")
        self.loop(count, lambda n: unit(self.add("%low", n)))
        self.do(f"br label %{end}")
        self.label(end)

    def _split(self, position: str, dims: Sequence[int]) -> dict[int, str]:
        """Return the indices of a position in C order."""
        found: dict[int, str] = {}
        for d in reversed(dims[1:]):
            found[d] = self.emit(f"urem i64 {position}, {self.shape[d]}")
            position = self.emit(f"udiv i64 {position}, {self.shape[d]}")
        if dims:
            found[dims[0]] = position
        return found

    def _size(self, dims: Sequence[int]) -> str:
        size = "1"
        for d in dims:
            size = self.mul(size, self.shape[d])
        return size

    def _used(self) -> list[int]:
        """Return the parameters that the body reads or writes."""
        loads = [i.attr for i in self.kernel.body if i.op == "load"]
        return list(dict.fromkeys([*loads, *(p for p, _ in self.kernel.stores)]))

    def _moved(self, pointers: dict[int, str], indices: dict[int, str]) -> dict[int, str]:
        """Return the parameters' addresses at some indices."""
        found = dict(pointers)
        for p in pointers:
            for d, index in indices.items():
                if index != "0":
                    found[p] = self.at(found[p], self.mul(index, self.strides[p][d]))
        return found

    def _bases(self) -> dict[int, str]:
        return {p: self.base[p] for p in self._used()}

    # The body

    def body(self, pointers: dict[int, str], count: str, index: str, inner: int, finish: Finish | None = None) -> None:
        """Compute `count` neighbours along dimension `inner`, in pieces if there are calls, or results to stream."""
        if not self.callees and not self.streamed:
            self._segment(0, pointers, count, index, inner, finish)
            return
        streams = self.emit(f"icmp ne i64 {self.streams}, 0") if self.streamed else ""
        most = str(PIECE) if self.callees else self.emit(f"select i1 {streams}, i64 {PIECE}, i64 {count}")

        def piece(start: str) -> None:
            here = self._moved(pointers, {inner: start})
            size = self.least(self.emit(f"sub i64 {count}, {start}"), most)
            places = dict(here)
            for p, stage in self.stages.items():
                places[p] = self.emit(f"select i1 {streams}, ptr {stage}, ptr {here[p]}")
            for segment in range(self.segments.count):
                self._segment(segment, places, size, self.add(index, start), inner, finish)
                for value in self.segments.calls(segment):
                    self._call(value, places, size)
            if self.streamed:
                self._stream(streams, here, size)

        self.loop(count, piece, step=most)

    def _stream(self, streams: str, pointers: dict[int, str], size: str) -> None:
        """Move a piece of the results to where it belongs, if they go past the caches."""
        run, end = self.name(), self.name()
        self.do(f"br i1 {streams}, label %{run}, label %{end}")
        self.label(run)
        for p, stage in self.stages.items():
            nbytes = self.mul(size, str(self.kernel.params[p].itemsize))
            self.do(f"call void @stream(ptr {pointers[p]}, ptr {stage}, i64 {nbytes})")
        self.do(f"br label %{end}")
        self.label(end)

    def _call(self, value: int, pointers: dict[int, str], size: str) -> None:
        inst = self.kernel.body[value]
        lists, sizes, steps = self.lists[value]
        places = [self.buffers.get(a) or pointers[self.kernel.body[a].attr] for a in inst.args]
        for n, place in enumerate([*places, self.buffers[value]]):
            self.do(f"store ptr {place}, ptr {self.at(lists, str(8 * n))}")
        self.do(f"store i64 {size}, ptr {sizes}")
        function, data = self.callees[value]
        self.do(f"call void {function}(ptr {lists}, ptr {sizes}, ptr {steps}, ptr {data})")

    def _segment(
        self, segment: int, pointers: dict[int, str], count: str, index: str, inner: int, finish: Finish | None
    ) -> None:
        """Write the loop of one segment."""
        segments, kernel = self.segments, self.kernel
        needed = segments.needed(segment)
        last = segment == segments.count - 1
        stores = [s for s, at in zip(kernel.stores, segments.store_at, strict=True) if at == segment]
        if not needed and not stores and not (last and finish):
            return
        fixed = self._fixed(needed, pointers)

        def point(i: str) -> None:
            group = self.begin_group()
            own = self.group
            values = dict(fixed)
            for v in needed:
                values[v] = self._value(v, values, segment, pointers, i, index, inner, group)
            for v in needed:
                if v in self.buffers and segments.ready[v] == segment and not segments.is_call(v):
                    dtype = kernel.body[v].dtype
                    self.store(dtype, values[v], self.element(dtype, self.buffers[v], i), group)
            for param, value in stores:
                dtype = kernel.params[param]
                self.store(dtype, values[value], self._address(param, pointers, i, inner), group)
            if last and finish is not None:
                finish(i, values, group)
            self.group = own

        self.loop(count, point, parallel=True)

    def _fixed(self, needed: Sequence[int], pointers: dict[int, str]) -> dict[int, str]:
        """Load what is the same all along the innermost loop."""
        body, inner = self.kernel.body, self.layout.inner
        loads = [v for v in needed if body[v].op == "load" and inner[body[v].attr] == "0"]
        return {v: self.load(body[v].dtype, pointers[body[v].attr]) for v in loads}

    def _value(
        self, v: int, values: dict[int, str], segment: int, pointers: dict[int, str], i: str, index: str, inner: int,
        group: str,
    ) -> str:  # fmt: skip
        inst = self.kernel.body[v]
        if v in values:
            return values[v]
        if (
            inst.op not in LEAVES
            and v in self.buffers
            and (self.segments.is_call(v) or self.segments.ready[v] < segment)
        ):
            return self.load(inst.dtype, self.element(inst.dtype, self.buffers[v], i), group)
        if inst.op == "load":
            return self.load(inst.dtype, self._address(inst.attr, pointers, i, inner), group)
        if inst.op == "scalar":
            return self.scalars[inst.attr]
        if inst.op == "literal":
            return constant(inst.attr, inst.dtype)
        if inst.op == "index":
            return self._index(self.add(index, i), inst.dtype)
        steps = self.segments.steps[v]
        assert steps is not None
        source = self.kernel.body[inst.args[0]].dtype
        return self.steps(steps, [values[a] for a in inst.args], source, inst.dtype)

    def _index(self, position: str, dtype: DType) -> str:
        if dtype.kind == "f":
            return self.emit(f"sitofp i64 {position} to {type_of(dtype)}")
        return position if dtype.itemsize == 8 else self.emit(f"trunc i64 {position} to {type_of(dtype)}")

    def _address(self, param: int, pointers: dict[int, str], i: str, inner: int) -> str:
        if self.layout.inner[param] == "c":
            return self.element(self.kernel.params[param], pointers[param], i)
        if self.layout.inner[param] == "p":
            return self.at(pointers[param], self.mul(i, str(self.layout.few * self.kernel.params[param].itemsize)))
        return self.at(pointers[param], self.mul(i, self.strides[param][inner]))


Finish = Callable[[str, dict[int, str], str], None]
