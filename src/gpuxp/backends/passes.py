"""Row by row: kernels in a row that need the same rows of one another, as one pass over memory.

The rows of a softmax need their largest element, exponentials, the sum of these, and quotients: four kernels that each
go through all of the array. Run for some rows after the other, they find each other's results in the cache, and results
that nobody else wants never leave it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..config import num_threads
from ..geometry import c_strides
from ..kernel import BLOCK, Kernel, Reduction
from .base import Arg
from .pool import ALIGNMENT

Shape = tuple[int, ...]
_BLOCK = 1 << 17  # bytes that the kernels touch in a block of rows, about: they stay in the second-level cache
_WIDEST = 1 << 19  # bytes of a row that would not
_FEWEST = 8  # rows


class Row(NamedTuple):
    """Where the rows of an argument lie in its buffer, in bytes."""

    period: int  # from one to the next
    low: int
    high: int  # of the first one
    dense: bool  # all bytes between are its own


class Use(NamedTuple):
    """That a kernel reads or writes a buffer."""

    member: int
    writes: bool
    row: Row


@dataclass(frozen=True)
class Plan:
    """How some launches become one pass."""

    each: tuple[int, ...]  # elements of a launch's first dimension that are a row
    rows: int
    block: int  # rows at a time
    temporaries: dict[int, int]  # buffers that nobody else sees; where their blocks lie in the scratch memory
    share: int  # bytes of that, for a thread
    args: tuple[tuple[Arg, ...], ...]  # of each launch; a temporary's offset is that into the scratch memory
    stays: tuple[bool, ...]  # whether others in the pass use what a launch writes


def is_result(kernel: Kernel, shape: Shape, strides: Sequence[Shape], r: Reduction) -> bool:
    """Whether what a kernel writes for a row of one block is what is wanted, at its place."""
    dtype, kept = kernel.params[r.param], shape[: kernel.kept]
    if math.prod(shape[kernel.kept :]) > BLOCK or kernel.body[r.value].dtype != dtype or dtype.kind == "c":
        return False
    packed = c_strides(kept, dtype.itemsize)
    return all(n == 1 or own == step for n, own, step in zip(kept, strides[r.param], packed, strict=False))


def find(
    kernels: Sequence[Kernel], shapes: Sequence[Shape], args: Sequence[Sequence[Arg]], dead: Sequence[Collection[int]]
) -> Plan | None:
    """Return how the first launches, as many as can be, become one pass; None if there are not even two.

    An argument's `mem` is its buffer's number; `dead` are the buffers that nothing uses after each launch.
    """
    launches = list(zip(kernels, shapes, args, strict=True))
    found = _Found(0, {}, ())
    for number, (_, shape, own) in enumerate(launches):
        if number and not any(arg.mem in found.uses for arg in own):
            break  # it has nothing to do with the others
        if number and shape[0] >= found.rows:
            longer = found.with_launches(number, launches[number : number + 1])
        else:  # the others' rows are longer now
            longer = _Found(shape[0], {}, ()).with_launches(0, launches[: number + 1])
        if longer is None:
            break
        found = longer
    count = len(found.each)
    return found.plan(args[:count], {b for own in dead[:count] for b in own}) if count > 1 else None


class _Found(NamedTuple):
    """Launches that can be one pass."""

    rows: int
    uses: dict[int, list[Use]]  # of each buffer
    each: tuple[int, ...]

    def with_launches(self, first: int, launches: Sequence[tuple[Kernel, Shape, Sequence[Arg]]]) -> _Found | None:
        """Return these and some more, or None if they cannot be one pass."""
        each = [_each(*launch, self.rows) for launch in launches] if self.rows >= _FEWEST else [0]
        if not all(each):
            return None
        uses, changed = dict(self.uses), set()
        for number, (kernel, shape, own) in enumerate(launches):
            read = {i.attr for i in kernel.body if i.op == "load"}
            written = [*(p for p, _ in kernel.stores), *(r.param for r in kernel.reductions)]
            for writes, params in ((False, sorted(read)), (True, written)):
                for p in params:
                    row = _row(shape, own[p], kernel.params[p].itemsize, each[number], writes and p not in read)
                    buffer = own[p].mem
                    uses[buffer] = [*uses.get(buffer, ()), Use(first + number, writes, row)]
                    changed.add(buffer)
        if not all(_keeps_apart(uses[buffer]) for buffer in changed) or _touched(uses) > _WIDEST:
            return None
        return _Found(self.rows, uses, (*self.each, *each))

    def plan(self, args: Sequence[Sequence[Arg]], dead: Collection[int]) -> Plan:
        """Return how the launches become a pass."""
        rows, uses, each = self
        block = min(max(_BLOCK // _touched(uses), 1), -(-rows // num_threads()))
        temporaries, share = {}, 0
        for buffer, users in uses.items():
            if buffer in dead and _is_temporary(users):
                temporaries[buffer] = share
                share += -(-users[0].row.period * block // ALIGNMENT) * ALIGNMENT
        return Plan(
            each=each, rows=rows, block=block, temporaries=temporaries, share=share,
            args=tuple(
                tuple(a._replace(offset=temporaries[a.mem] + a.offset - uses[a.mem][0].row.low)
                      if a.mem in temporaries else a for a in own)
                for own in args
            ),
            stays=tuple(
                any(u.member != number for own in uses.values() if _writes(own, number) for u in own)
                for number in range(len(each))
            ),
        )  # fmt: skip


def _touched(uses: Mapping[int, Sequence[Use]]) -> int:
    """Return the bytes of a row of all buffers."""
    return sum(max([u.row.high for u in users]) - min([u.row.low for u in users]) for users in uses.values())


def _writes(uses: Iterable[Use], number: int) -> bool:
    return any(u.member == number and u.writes for u in uses)


def _each(kernel: Kernel, shape: Shape, args: Sequence[Arg], rows: int) -> int:
    """Return how many elements of a launch's first dimension are a row of it; 0 if it does not go by rows."""
    dims = shape[: kernel.kept] if kernel.reductions else shape
    strides = [a.strides for a in args]
    if not dims or any(i.op == "index" for i in kernel.body):
        return 0
    if not all(is_result(kernel, shape, strides, r) for r in kernel.reductions):
        return 0
    return 0 if dims[0] % rows else dims[0] // rows


def _row(shape: Shape, arg: Arg, itemsize: int, each: int, fills: bool) -> Row:
    """Return where the rows of an argument lie; `fills`: every element of the loop is its own."""
    first = arg.strides[0]
    steps = [(each, first), *zip(shape[1:], arg.strides[1:], strict=False)]  # a result has kept dimensions alone
    reach = [(n - 1) * step for n, step in steps]
    low, high = arg.offset + sum(min(r, 0) for r in reach), arg.offset + sum(max(r, 0) for r in reach) + itemsize
    elements = math.prod(n for n, step in steps if step)
    return Row(first * each, low, high, fills and high - low == elements * itemsize)


def _keeps_apart(uses: Sequence[Use]) -> bool:
    """Whether no kernel needs another's work on other rows of a buffer than its own."""
    if len({u.member for u in uses}) == 1 or not any(u.writes for u in uses):
        return True
    period = uses[0].row.period
    span = max(u.row.high for u in uses) - min(u.row.low for u in uses)
    return all(u.row.period == period for u in uses) and span <= abs(period)


def _is_temporary(uses: Sequence[Use]) -> bool:
    """Whether a kernel writes all that others read, before they do."""
    first = uses[0]
    inside = all(first.row.low <= u.row.low and u.row.high <= first.row.high for u in uses)
    return first.writes and first.row.dense and first.row.period > 0 and inside
