"""From a kernel to LLVM IR: the software GPU's compiled tier.

A kernel becomes one function over a range of units: pieces of rows for a map, blocks for a reduction. Sizes, strides,
addresses and scalars come in one table of words, so the text depends on the kernel and its `Layout` alone. What LLVM
has no exact instruction for is left to NumPy's own inner loops, called on pieces that stay in the first-level cache:
that keeps the bits of both tiers, and of NumPy, equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ..dtypes import DType
from ..errors import Unsupported
from ..kernel import BLOCK, LANES, Inst, Kernel
from .layout import Layout
from .llvmops import constant, spelling, type_of
from .llvmstream import render_stream
from .llvmtext import Emitter, declaration
from .segments import LEAVES, Segments

ENTRY = "gpuxp_kernel"
PIECE = 512  # elements that a call of one of NumPy's loops works on
COLUMNS = 64  # kept neighbours that are reduced together


class Call(NamedTuple):
    """One of NumPy's inner loops: ``ufunc`` for these dtypes."""

    op: str
    dtypes: tuple[DType, ...]


def scalar_words(dtype: DType) -> int:
    """Return how many words of the launch table a scalar takes."""
    return -(-dtype.itemsize // 8)


class Source(NamedTuple):
    """A rendered kernel: its text, the loops whose addresses it expects, and whether it can stream its results."""

    text: str
    calls: tuple[Call, ...]
    streams: bool


def render(kernel: Kernel, layout: Layout) -> Source:
    """Return the kernel as LLVM IR, or raise `Unsupported`."""
    for dtype in (*kernel.params, *kernel.scalars, *(i.dtype for i in kernel.body)):
        if type_of(dtype) is None:
            raise Unsupported(f"{dtype} is not compiled")
    writer = _Writer(kernel, layout)
    return Source(writer.text(), tuple(writer.calls), bool(writer.streamed))


class _Writer(Emitter):
    """Writes one kernel."""

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
        (self._reduce if self.kernel.reductions else self._map)()
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
        wide = "" if self.kernel.reductions else ' "prefer-vector-width"="512"'
        lines.append(f'attributes #0 = {{ nounwind "no-trapping-math"="true"{wide} }}')
        lines += [f"!{n} = {what}" for n, what in enumerate(self.metadata)]
        return "\n".join(lines) + "\n"

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
        self.loops = {
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
        for value in self.loops:
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

    def body(self, pointers: dict[int, str], count: str, index: str, inner: int, finish: _Finish | None = None) -> None:
        """Compute `count` neighbours along dimension `inner`, in pieces if there are calls, or results to stream."""
        if not self.loops and not self.streamed:
            self._segment(0, pointers, count, index, inner, finish)
            return
        streams = self.emit(f"icmp ne i64 {self.streams}, 0") if self.streamed else ""
        most = str(PIECE) if self.loops else self.emit(f"select i1 {streams}, i64 {PIECE}, i64 {count}")

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
        function, data = self.loops[value]
        self.do(f"call void {function}(ptr {lists}, ptr {sizes}, ptr {steps}, ptr {data})")

    def _segment(
        self, segment: int, pointers: dict[int, str], count: str, index: str, inner: int, finish: _Finish | None
    ) -> None:
        """Write the loop of one segment."""
        segments, kernel = self.segments, self.kernel
        needed = segments.needed(segment)
        last = segment == segments.count - 1
        stores = [s for s, at in zip(kernel.stores, segments.store_at, strict=True) if at == segment]
        if not needed and not stores and not (last and finish):
            return
        fixed = {
            v: self.load(kernel.body[v].dtype, pointers[kernel.body[v].attr])
            for v in needed
            if kernel.body[v].op == "load" and self.layout.inner[kernel.body[v].attr] == "0"
        }

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
        return self.at(pointers[param], self.mul(i, self.strides[param][inner]))

    # Maps

    def _map(self) -> None:
        last = self.kernel.ndim - 1
        extent = self.shape[last]
        pieces = self.emit(f"udiv i64 {self.add(extent, self.emit(f'sub i64 {self.step}, 1'))}, {self.step}")

        def unit(number: str) -> None:
            along, indices = number, {}
            if last:
                along = self.emit(f"urem i64 {number}, {pieces}")
                indices = self._split(self.emit(f"udiv i64 {number}, {pieces}"), range(last))
            start = self.mul(along, self.step)
            pointers = self._moved(self._bases(), {**indices, last: start})
            size = self.least(self.emit(f"sub i64 {extent}, {start}"), self.step)
            self.body(pointers, size, start, last)

        self._units(unit)

    # Reductions

    def _reduce(self) -> None:
        width = COLUMNS if self.layout.columns else 1
        self.lanes = [
            self.alloca(self.kernel.body[r.value].dtype, LANES * width) for r in self.kernel.reductions
        ]  # fmt: skip
        self.extent = self._size(self.reduced)
        self.blocks = self.emit(f"udiv i64 {self.add(self.extent, str(BLOCK - 1))}, {BLOCK}")
        self._units(self._columns if self.layout.columns else self._rows)

    def _block(self, number: str) -> tuple[str, str, str]:
        """Return the start, length and lanes of a block."""
        start = self.mul(number, str(BLOCK))
        length = self.least(self.emit(f"sub i64 {self.extent}, {start}"), str(BLOCK))
        return start, length, self.least(length, str(LANES))

    def _combine(self, op: str, dtype: DType, a: str, b: str) -> str:
        steps = spelling(Inst(op, (0, 1), dtype), [dtype, dtype])
        if steps is None:
            raise Unsupported(f"{op} of {dtype} is not compiled as a reduction")
        return self.steps(steps, [a, b], dtype, dtype)

    def _into_lanes(self, first: str, at: Callable[[str], str]) -> _Finish:
        """Return what puts values into the lanes: the first row as they are, later ones combined."""

        def finish(i: str, values: dict[int, str], group: str) -> None:
            for r, lanes in zip(self.kernel.reductions, self.lanes, strict=True):
                dtype = self.kernel.body[r.value].dtype
                place = self.element(dtype, lanes, at(i))
                joined = self._combine(r.op, dtype, self.load(dtype, place, group), values[r.value])
                kind = type_of(dtype)
                self.store(
                    dtype, self.emit(f"select i1 {first}, {kind} {values[r.value]}, {kind} {joined}"), place, group
                )

        return finish

    def _rows(self, unit: str) -> None:
        """One block of one kept element."""
        kept = range(self.kernel.kept)
        element = self.emit(f"udiv i64 {unit}, {self.blocks}")
        start, length, lanes = self._block(self.emit(f"urem i64 {unit}, {self.blocks}"))
        pointers = self._moved(self._bases(), self._split(element, kept))
        last = self.kernel.ndim - 1
        many = len(self.reduced) > 1
        run_at = f"%{self.name()}"
        self.allocas.append(f"  {run_at} = alloca i64")
        self.do(f"store i64 0, ptr {run_at}")
        head, end = self.name(), self.name()
        self.do(f"br label %{head}")
        self.label(head)
        r = self.emit(f"load i64, ptr {run_at}")
        lane = self.emit(f"and i64 {r}, {LANES - 1}")
        run = self.least(self.emit(f"sub i64 {length}, {r}"), self.emit(f"sub i64 {LANES}, {lane}"))
        position = self.add(start, r)
        indices = self._split(position, self.reduced)
        if many:
            run = self.least(run, self.emit(f"sub i64 {self.shape[last]}, {indices[last]}"))
        first = self.emit(f"icmp ult i64 {r}, {LANES}")
        here = self._moved(pointers, indices)
        self.body(here, run, position, last, self._into_lanes(first, lambda i: self.add(lane, i)))
        following = self.add(r, run)
        self.do(f"store i64 {following}, ptr {run_at}")
        more = self.emit(f"icmp ult i64 {following}, {length}")
        self.do(f"br i1 {more}, label %{head}, label %{end}")
        self.label(end)
        self._halve_lanes(lanes)
        for reduction, memory in zip(self.kernel.reductions, self.lanes, strict=True):
            dtype = self.kernel.body[reduction.value].dtype
            self.store(dtype, self.load(dtype, memory), self.element(dtype, self.base[reduction.param], unit))

    def _halve_lanes(self, lanes: str) -> None:
        """Combine lanes pairwise: in loops of known length where all lanes are there."""
        full, partly, end = self.name(), self.name(), self.name()
        whole = self.emit(f"icmp eq i64 {lanes}, {LANES}")
        self.do(f"br i1 {whole}, label %{full}, label %{partly}")
        self.label(full)
        apart = LANES // 2
        while apart:
            self._halve(str(apart), str(apart), None)
            apart //= 2
        self.do(f"br label %{end}")
        self.label(partly)
        self._halve_some(lanes, None)
        self.do(f"br label %{end}")
        self.label(end)

    def _halve_some(self, lanes: str, count: str | None) -> None:
        for power in range((LANES // 2).bit_length() - 1, -1, -1):
            apart = 1 << power
            run, end = self.name(), self.name()
            left = self.emit(f"sub i64 {lanes}, {apart}")
            some = self.emit(f"icmp sgt i64 {left}, 0")
            self.do(f"br i1 {some}, label %{run}, label %{end}")
            self.label(run)
            self._halve(self.least(left, str(apart)), str(apart), count)
            self.do(f"br label %{end}")
            self.label(end)

    def _halve(self, turns: str, apart: str, count: str | None) -> None:
        """Combine `turns` lanes with those `apart` further on; in columns, `count` elements of each."""

        def point(place: str, other: str, group: str) -> None:
            for r, lanes in zip(self.kernel.reductions, self.lanes, strict=True):
                dtype = self.kernel.body[r.value].dtype
                mine = self.element(dtype, lanes, place)
                theirs = self.load(dtype, self.element(dtype, lanes, other), group)
                self.store(dtype, self._combine(r.op, dtype, self.load(dtype, mine, group), theirs), mine, group)

        def lane(n: str) -> None:
            group = self.begin_group()
            own = self.group
            point(n, self.add(n, apart), group)
            self.group = own

        def row(n: str) -> None:
            low, high = self.mul(n, str(COLUMNS)), self.mul(self.add(n, apart), str(COLUMNS))

            def column(c: str) -> None:
                group = self.begin_group()
                own = self.group
                point(self.add(low, c), self.add(high, c), group)
                self.group = own

            assert count is not None
            self.loop(count, column, parallel=True)

        if count is None:
            self.loop(turns, lane, parallel=True)
        else:
            self.loop(turns, row)

    def _columns(self, unit: str) -> None:
        """One block of up to `COLUMNS` neighbours."""
        kept = range(self.kernel.kept)
        inner = kept[-1]
        block = self.emit(f"urem i64 {unit}, {self.blocks}")
        place = self.emit(f"udiv i64 {unit}, {self.blocks}")
        across = self.emit(f"udiv i64 {self.add(self.shape[inner], str(COLUMNS - 1))}, {COLUMNS}")
        low = self.mul(self.emit(f"urem i64 {place}, {across}"), str(COLUMNS))
        outer = self.emit(f"udiv i64 {place}, {across}")
        count = self.least(self.emit(f"sub i64 {self.shape[inner]}, {low}"), str(COLUMNS))
        pointers = self._moved(self._bases(), {**self._split(outer, kept[:-1]), inner: low})
        start, length, lanes = self._block(block)

        def row(r: str) -> None:
            here = self._moved(pointers, self._split(self.add(start, r), self.reduced))
            lane = self.mul(self.emit(f"and i64 {r}, {LANES - 1}"), str(COLUMNS))
            first = self.emit(f"icmp ult i64 {r}, {LANES}")
            self.body(here, count, "0", inner, self._into_lanes(first, lambda i: self.add(lane, i)))

        self.loop(length, row)
        self._halve_some(lanes, count)
        first = self.add(self.mul(outer, self.shape[inner]), low)

        def result(c: str) -> None:
            for r, memory in zip(self.kernel.reductions, self.lanes, strict=True):
                dtype = self.kernel.body[r.value].dtype
                target = self.add(self.mul(self.add(first, c), self.blocks), block)
                value = self.load(dtype, self.element(dtype, memory, c))
                self.store(dtype, value, self.element(dtype, self.base[r.param], target))

        self.loop(count, result)


_Finish = Callable[[str, dict[int, str], str], None]
