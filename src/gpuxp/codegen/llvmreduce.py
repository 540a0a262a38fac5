"""Reductions in LLVM IR: the loops over blocks, in the canonical order."""

from __future__ import annotations

from collections.abc import Callable

from ..dtypes import DType
from ..errors import Unsupported
from ..kernel import BLOCK, LANES, Inst
from .llvmbody import Finish, Writer
from .llvmops import spelling, type_of

WHOLE = 128  # so many kept neighbours are reduced together, and else ...
PART = 32  # (lanes of that width stay in the first-level cache)
_WIDE = 1024  # where each has few elements


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

    def _combine(self, op: str, dtype: DType, a: str, b: str) -> str:
        steps = spelling(Inst(op, (0, 1), dtype), [dtype, dtype])
        if steps is None:
            raise Unsupported(f"{op} of {dtype} is not compiled as a reduction")
        return self.steps(steps, [a, b], dtype, dtype)

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
            value = self._rounded_up(reduction.op, dtype, self.load(dtype, memory))
            self.store(dtype, value, self.element(dtype, self.base[reduction.param], unit))

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
            low, high = self.mul(n, self.step), self.mul(self.add(n, apart), self.step)

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

        self.loop(length, row)
        self._halve_some(lanes, count)
        first = self.add(self.mul(outer, self.shape[inner]), low)

        def result(c: str) -> None:
            for r, memory in zip(self.kernel.reductions, self.lanes, strict=True):
                dtype = self.kernel.body[r.value].dtype
                target = self.add(self.mul(self.add(first, c), self.blocks), block)
                value = self._rounded_up(r.op, dtype, self.load(dtype, self.element(dtype, memory, c)))
                self.store(dtype, value, self.element(dtype, self.base[r.param], target))

        self.loop(count, result)

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
        rows, fixed = [], []
        for r in range(few):
            steps = {
                p: str(r * kernel.params[p].itemsize) if self.layout.inner[p] == "p"
                else self.mul(str(r), self.strides[p][last]) for p in pointers
            }  # fmt: skip
            rows.append({p: self.at(pointer, steps[p]) for p, pointer in pointers.items()})
            fixed.append(self._fixed(needed, rows[-1]))

        def point(i: str) -> None:
            group = self.begin_group()
            own = self.group
            found = []
            for row, known in zip(rows, fixed, strict=True):
                values = dict(known)
                for v in needed:
                    values[v] = self._value(v, values, 0, row, i, "0", inner, group)
                found.append(values)
            for row, values in zip(rows, found, strict=True):
                for param, value in kernel.stores:
                    dtype = kernel.params[param]
                    self.store(dtype, values[value], self._address(param, row, i, inner), group)
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
