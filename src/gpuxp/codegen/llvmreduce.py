"""Reductions in LLVM IR: the loops over blocks, in the canonical order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from ..dtypes import DType
from ..errors import Unsupported
from ..kernel import BLOCK, LANES, Inst
from .llvmbody import Finish, Writer
from .llvmops import spelling, type_of
from .segments import LEAVES

WHOLE = 128  # so many kept neighbours are reduced together, and else ...
PART = 32  # (lanes of that width stay in the first-level cache)
_WIDE = 1024  # where each has few elements
_TOGETHER = 2  # so many rows of lanes are combined in registers ...
_SHORT = 4  # where a body has so few steps: memory is read in the order in which it lies by others
_LINE = 64  # bytes of a cache line


class _Row(NamedTuple):
    """A row of elements that is computed beside others."""

    pointers: dict[int, str]
    fixed: dict[int, str]  # values that are the same all along
    start: str  # its first element's index


def neighbours(few: bool, extent: int) -> int:
    """Return how many kept neighbours a unit takes on, where it does not take one: the step of its launch table."""
    if few:
        return _WIDE
    return -(-extent // 8) * 8 if extent <= WHOLE else PART


class Reducer(Writer):
    """Writes a kernel that reduces."""

    def loops(self) -> None:
        """Write the loops over the blocks."""
        if self.layout.few:
            self._units(self._unrolled)
            return
        self.lanes = [
            self.alloca(self.kernel.body[r.value].dtype, LANES * (WHOLE if self.layout.columns else 1))
            for r in self.kernel.reductions
        ]  # fmt: skip
        self.extent = self._size(self.reduced)
        self.blocks = self.emit(f"udiv i64 {self.add(self.extent, str(BLOCK - 1))}, {BLOCK}")
        self._units(self._columns if self.layout.columns else self._rows)

    def _block(self, number: str) -> tuple[str, str, str]:
        """Return the start, length and lanes of a block."""
        start = self.mul(number, str(BLOCK))
        length = self.least(self.emit(f"sub i64 {self.extent}, {start}"), str(BLOCK))
        return start, length, self.least(length, str(LANES))

    def _combine(self, op: str, dtype: DType, a: str, b: str, width: int = 0) -> str:
        steps = spelling(Inst(op, (0, 1), dtype), [dtype, dtype])
        if steps is None:
            raise Unsupported(f"{op} of {dtype} is not compiled as a reduction")
        return self.steps(steps, [a, b], dtype, dtype, width)

    def _rounded_up(self, op: str, dtype: DType, value: str) -> str:
        """Return a block's result as a result: a sum is never a negative zero."""
        return self.emit(f"fadd {type_of(dtype)} {value}, 0.0") if op == "add" and dtype.kind == "f" else value

    def _into_lanes(self, first: str, at: Callable[[str], str]) -> Finish:
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
        self.do(f"store i64 {'0' if many else self._together(pointers, start, length)}, ptr {run_at}")
        self.single = True
        head, some, end = (self.name() for _ in range(3))
        self.do(f"br label %{head}")
        self.label(head)
        r = self.emit(f"load i64, ptr {run_at}")
        more = self.emit(f"icmp ult i64 {r}, {length}")
        self.do(f"br i1 {more}, label %{some}, label %{end}")
        self.label(some)
        lane = self.emit(f"and i64 {r}, {LANES - 1}")
        run = self.least(self.emit(f"sub i64 {length}, {r}"), self.emit(f"sub i64 {LANES}, {lane}"))
        position = self.add(start, r)
        indices = self._split(position, self.reduced)
        if many:
            run = self.least(run, self.emit(f"sub i64 {self.shape[last]}, {indices[last]}"))
        first = self.emit(f"icmp ult i64 {r}, {LANES}")
        here = self._moved(pointers, indices)
        self.body(here, run, position, last, self._into_lanes(first, lambda i: self.add(lane, i)))
        self.do(f"store i64 {self.add(r, run)}, ptr {run_at}")
        self.do(f"br label %{head}")
        self.label(end)
        self._halve_lanes(lanes)
        for reduction, memory in zip(self.kernel.reductions, self.lanes, strict=True):
            dtype = self.kernel.body[reduction.value].dtype
            value = self._rounded_up(reduction.op, dtype, self.load(dtype, memory))
            self.store(dtype, value, self.element(dtype, self.base[reduction.param], unit))

    def _together(self, pointers: dict[int, str], start: str, length: str) -> str:
        """Combine whole rows of lanes, several in registers at a time; return how many elements that were."""
        kernel, inner, size = self.kernel, self.kernel.ndim - 1, _TOGETHER * LANES
        steps = [i for i in kernel.body if i.op not in LEAVES]
        if self.callees or self.streamed or len(steps) > _SHORT:
            return "0"
        passes = self.emit(f"udiv i64 {length}, {size}")
        some, end = self.name(), self.name()
        self.do(f"br i1 {self.emit(f'icmp ne i64 {passes}, 0')}, label %{some}, label %{end}")
        self.label(some)
        fixed = self._fixed(self.segments.needed(0), pointers)

        def turn(n: str) -> None:
            position = self.add(start, self.mul(n, str(size)))
            rows = []
            for number in range(_TOGETHER):
                index = self.add(position, str(number * LANES))
                rows.append(_Row(self._moved(pointers, {inner: index}), fixed, index))
            self._announce(rows)
            first, later, done = (self.name() for _ in range(3))
            self.do(f"br i1 {self.emit(f'icmp eq i64 {n}, 0')}, label %{first}, label %{later}")
            for name in (first, later):
                self.label(name)
                self.loop(str(LANES), partial(self._into_lane, rows, name == later), parallel=True)
                self.do(f"br label %{done}")
            self.label(done)

        self.loop(passes, turn)
        self.do(f"br label %{end}")
        self.label(end)
        return self.mul(passes, str(size))

    def _announce(self, rows: Sequence[_Row]) -> None:
        """Ask for what the next turn will read: large squared errors take 7 to 20% less time."""
        for p in dict.fromkeys(i.attr for i in self.kernel.body if i.op == "load"):
            if self.layout.inner[p] != "c":
                continue
            nbytes = LANES * self.kernel.params[p].itemsize
            for row in rows:
                for line in range(0, nbytes, _LINE):
                    at = self.at(row.pointers[p], str(len(rows) * nbytes + line))
                    self.do(f"call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)")

    def _into_lane(self, rows: Sequence[_Row], later: bool, i: str) -> None:
        """Combine an element of each row, and with `later` what is in the lane."""
        group = self.begin_group()
        own = self.group
        found = self._beside(rows, i, self.kernel.ndim - 1, group)
        for r, lanes in zip(self.kernel.reductions, self.lanes, strict=True):
            dtype = self.kernel.body[r.value].dtype
            place = self.element(dtype, lanes, i)
            values = [self.load(dtype, place, group)] * later + [values[r.value] for values in found]
            self.store(dtype, reduce(partial(self._combine, r.op, dtype), values), place, group)
        self.group = own

    def _beside(self, rows: Sequence[_Row], i: str, inner: int, group: str) -> list[dict[int, str]]:
        """Return the values of an element of each row; write what is stored of them."""
        found = []
        needed = self.segments.needed(0)
        for row in rows:
            values = dict(row.fixed)
            for v in needed:
                values[v] = self._value(v, values, 0, row.pointers, i, row.start, inner, group)
            found.append(values)
        for row, values in zip(rows, found, strict=True):
            for param, value in self.kernel.stores:
                dtype = self.kernel.params[param]
                self.store(dtype, values[value], self._address(param, row.pointers, i, inner), group)
        return found

    def _halve_lanes(self, lanes: str) -> None:
        """Combine lanes pairwise: those beyond a power of two in a loop, the others in registers."""
        powers = [1 << n for n in range(LANES.bit_length())]
        most = "1"
        for power in powers[1:]:
            enough = self.emit(f"icmp uge i64 {lanes}, {power}")
            most = self.emit(f"select i1 {enough}, i64 {power}, i64 {most}")
        beyond = self.emit(f"sub i64 {lanes}, {most}")
        some, whole = self.name(), self.name()
        self.do(f"br i1 {self.emit(f'icmp eq i64 {beyond}, 0')}, label %{whole}, label %{some}")
        self.label(some)
        self._halve(beyond, most, None)
        self.do(f"br label %{whole}")
        self.label(whole)
        names = {power: self.name() for power in powers}
        cases = " ".join(f"i64 {power}, label %{name}" for power, name in names.items())
        self.do(f"switch i64 {most}, label %{names[1]} [ {cases} ]")
        for power in reversed(powers[1:]):
            self.label(names[power])
            for r, memory in zip(self.kernel.reductions, self.lanes, strict=True):
                self._halve_registers(r.op, self.kernel.body[r.value].dtype, memory, power // 2)
            self.do(f"br label %{names[power // 2]}")
        self.label(names[1])

    def _halve_registers(self, op: str, dtype: DType, memory: str, apart: int) -> None:
        """Combine so many lanes with those as many further on."""
        high = self.element(dtype, memory, str(apart))
        part = np.dtype(dtype.type(0).real.dtype)  # a complex number is two elements of LLVM's vectors
        width = apart * (dtype.itemsize // part.itemsize)
        a, b = self.load(part, memory, width=width), self.load(part, high, width=width)
        self.store(part, self._combine(op, part, a, b, width), memory, width=width)

    def _halve_some(self, lanes: str, count: str, pitch: str) -> None:
        for power in range((LANES // 2).bit_length() - 1, -1, -1):
            apart = 1 << power
            run, end = self.name(), self.name()
            left = self.emit(f"sub i64 {lanes}, {apart}")
            some = self.emit(f"icmp sgt i64 {left}, 0")
            self.do(f"br i1 {some}, label %{run}, label %{end}")
            self.label(run)
            self._halve(self.least(left, str(apart)), str(apart), count, pitch)
            self.do(f"br label %{end}")
            self.label(end)

    def _halve(self, turns: str, apart: str, count: str | None, pitch: str = "") -> None:
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
            low, high = self.mul(n, pitch), self.mul(self.add(n, apart), pitch)

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

    def _across(self, inner: int) -> str:
        """Return how many units lie side by side."""
        return self.emit(f"udiv i64 {self.add(self.shape[inner], self.emit(f'sub i64 {self.step}, 1'))}, {self.step}")

    def _columns(self, unit: str) -> None:
        """One block of some neighbours."""
        kept = range(self.kernel.kept)
        inner = kept[-1]
        block = self.emit(f"urem i64 {unit}, {self.blocks}")
        place = self.emit(f"udiv i64 {unit}, {self.blocks}")
        across = self._across(inner)
        low = self.mul(self.emit(f"urem i64 {place}, {across}"), self.step)
        outer = self.emit(f"udiv i64 {place}, {across}")
        count = self.least(self.emit(f"sub i64 {self.shape[inner]}, {low}"), self.step)
        pointers = self._moved(self._bases(), {**self._split(outer, kept[:-1]), inner: low})
        start, length, lanes = self._block(block)

        def row(r: str) -> None:
            here = self._moved(pointers, self._split(self.add(start, r), self.reduced))
            lane = self.mul(self.emit(f"and i64 {r}, {LANES - 1}"), self.step)
            first = self.emit(f"icmp ult i64 {r}, {LANES}")
            self.body(here, count, "0", inner, self._into_lanes(first, lambda i: self.add(lane, i)))

        def lanes_of_rows(number: str) -> None:
            r = self.mul(number, str(LANES))
            here = self._moved(pointers, {self.reduced[0]: self.add(start, r)})
            some = self.mul(self.least(self.emit(f"sub i64 {length}, {r}"), str(LANES)), count)
            first = self.emit(f"icmp eq i64 {number}, 0")
            self.body(here, some, "0", inner, self._into_lanes(first, lambda i: i))

        pitch = self.step  # from the elements of a lane to those of the next
        solid = self._solid(count)
        if solid is None:
            self.loop(length, row)
        else:
            pitch = self.emit(f"select i1 {solid}, i64 {count}, i64 {pitch}")
            groups = self.emit(f"udiv i64 {self.add(length, str(LANES - 1))}, {LANES}")
            run, others, end = (self.name() for _ in range(3))
            self.do(f"br i1 {solid}, label %{run}, label %{others}")
            for name, turns, turn in ((run, groups, lanes_of_rows), (others, length, row)):
                self.label(name)
                self.loop(turns, turn)
                self.do(f"br label %{end}")
            self.label(end)
        self._halve_some(lanes, count, pitch)
        first = self.add(self.mul(outer, self.shape[inner]), low)

        def result(c: str) -> None:
            for r, memory in zip(self.kernel.reductions, self.lanes, strict=True):
                dtype = self.kernel.body[r.value].dtype
                target = self.add(self.mul(self.add(first, c), self.blocks), block)
                value = self._rounded_up(r.op, dtype, self.load(dtype, self.element(dtype, memory, c)))
                self.store(dtype, value, self.element(dtype, self.base[r.param], target))

        self.loop(count, result)

    def _solid(self, count: str) -> str | None:
        """Return whether the rows of all operands lie without gaps, as one row: a lane's follow the last one's.

        None: they never do.
        """
        inner, last = self.kernel.kept - 1, self.kernel.ndim - 1
        used = self._used()
        if self.callees or self.streamed or len(self.reduced) > 1 or any(i.op == "index" for i in self.kernel.body):
            return None
        if any(self.layout.inner[p] not in "c0" for p in used):
            return None
        found = self.emit(f"icmp eq i64 {count}, {self.shape[inner]}")
        for p in used:
            row = self.mul(count, str(self.kernel.params[p].itemsize)) if self.layout.inner[p] == "c" else "0"
            follows = self.emit(f"icmp eq i64 {self.strides[p][last]}, {row}")
            found = self.emit(f"and i1 {found}, {follows}")
        return found

    def _unrolled(self, unit: str) -> None:
        """All of few elements of some neighbours: each neighbour's are combined in registers."""
        kernel, few, last = self.kernel, self.layout.few, self.kernel.ndim - 1
        kept = range(kernel.kept)
        inner = kept[-1]
        across = self._across(inner)
        low = self.mul(self.emit(f"urem i64 {unit}, {across}"), self.step)
        outer = self.emit(f"udiv i64 {unit}, {across}")
        count = self.least(self.emit(f"sub i64 {self.shape[inner]}, {low}"), self.step)
        pointers = self._moved(self._bases(), {**self._split(outer, kept[:-1]), inner: low})
        first = self.add(self.mul(outer, self.shape[inner]), low)
        needed = self.segments.needed(0)
        rows = []
        for r in range(few):
            steps = {
                p: str(r * kernel.params[p].itemsize) if self.layout.inner[p] == "p"
                else self.mul(str(r), self.strides[p][last]) for p in pointers
            }  # fmt: skip
            here = {p: self.at(pointer, steps[p]) for p, pointer in pointers.items()}
            rows.append(_Row(here, self._fixed(needed, here), "0"))

        def point(i: str) -> None:
            group = self.begin_group()
            own = self.group
            found = self._beside(rows, i, inner, group)
            for r in kernel.reductions:
                dtype = kernel.body[r.value].dtype
                total = self._combined(r.op, dtype, [values[r.value] for values in found])
                self.store(dtype, total, self.element(dtype, self.base[r.param], self.add(first, i)), group)
            self.group = own

        self.loop(count, point, parallel=True)

    def _combined(self, op: str, dtype: DType, lanes: list[str]) -> str:
        """Combine lanes pairwise until one is left."""
        while len(lanes) > 1:
            half = 1 << (len(lanes) - 1).bit_length() - 1
            pairs = zip(lanes, lanes[half:], strict=False)
            lanes = [self._combine(op, dtype, a, b) for a, b in pairs] + lanes[len(lanes) - half : half]
        return self._rounded_up(op, dtype, lanes[0])
