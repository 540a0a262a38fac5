"""In-place stencils: two compiled map kernels as one pass over memory, the second some rows behind the first."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..codegen.llvmjoint import FINISH, PAIR
from ..config import num_threads
from ..geometry import c_strides
from ..kernel import Kernel
from .base import Arg, Held
from .crew import Job
from .joint import Member, code, fits

if TYPE_CHECKING:
    from .compiled import Prepared

Shape = tuple[int, ...]
Link = tuple[int, int]  # the temporary among the parameters of each
Both = Sequence[Sequence[Any]]  # of the first kernel and of the second
_BLOCK = 1 << 14  # elements of a block, about
_BANDS = 2  # a thread's
_WORTH = 4  # how many times its scratch memory the temporary has to be


def reach(kernels: tuple[Kernel, Kernel], shape: Shape, args: Both, shared: Link) -> tuple[int, int] | None:
    """Return how many rows the second kernel has to stay behind the first, and how far ahead the first one reads.

    None if the two cannot share a pass: what the second writes and the first reads of one buffer have to be the same
    rows, moved. `shared` is the temporary among the parameters of each; an argument's `mem` is its buffer's number.
    """
    packed = c_strides(shape, kernels[0].params[shared[0]].itemsize)
    if any(i.op == "index" for k in kernels for i in k.body) or args[0][shared[0]].strides != packed:
        return None
    reads, looks = ({i.attr for i in k.body if i.op == "load"} for k in kernels)
    ahead = behind = 0
    for written, _ in kernels[1].stores:
        w = args[1][written]
        if w.strides[0] <= 0 or any(_differs(args[1][p], w) for p in looks - {shared[1]}):
            return None
        inner = sum(abs(s) * (n - 1) for s, n in zip(w.strides[1:], shape[1:], strict=True))
        here = inner + kernels[1].params[written].itemsize  # of a row, in bytes
        for p in reads:
            v, there = args[0][p], inner + kernels[0].params[p].itemsize
            if v.mem != w.mem:
                continue
            if v.strides != w.strides:
                return None
            apart = v.offset - w.offset
            behind = max(behind, -(-(here - apart) // w.strides[0]) - 1)
            ahead = max(ahead, -(-(there + apart) // w.strides[0]) - 1)
    return behind, ahead


def _differs(read: Arg, written: Arg) -> bool:
    """Whether a kernel reads other elements of the buffer than those it writes."""
    return bool(read.mem == written.mem) and (read.offset, read.strides) != (written.offset, written.strides)


def make_pair(prepared: Sequence[Prepared], args: Both, shared: Link) -> Pair | None:
    """Return two launches as one pass, if that can be; the temporary that they share has no memory."""
    shape = prepared[0].shape
    kernels = prepared[0].kernel, prepared[1].kernel
    if prepared[1].shape != shape or not all(map(fits, prepared)):
        return None
    found = reach(kernels, shape, args, shared)
    if found is None:
        return None
    behind, ahead = found
    block = max(_BLOCK // math.prod(shape[1:]), behind, 1)
    if _WORTH * (2 * behind + ahead + block) > shape[0] or ahead + behind + 2 * block > shape[0]:
        return None
    return Pair(prepared, args, shared, block, behind, ahead)


class Pair:
    """Two launches over one geometry, ready to run together; one thread at a time may do so."""

    def __init__(
        self, prepared: Sequence[Prepared], args: Both, shared: Link, block: int, behind: int, ahead: int
    ) -> None:
        shape = prepared[0].shape
        self._members = []
        for launch, own, temporary in zip(prepared, args, shared, strict=True):
            offsets = [a._replace(offset=0) if p == temporary else a for p, a in enumerate(own)]
            self._members.append(Member(launch, offsets, {temporary}))
        self._width = math.prod(shape[1:]) * prepared[0].kernel.params[shared[0]].itemsize
        self.bands = min(_BANDS * num_threads(), shape[0] // (ahead + behind + 2 * block))
        share = -(-(ahead + 2 * behind + block) * self._width // 64) * 64
        self.scratch = self.bands * share  # bytes of memory that a run needs
        words = (*(m.address for m in self._members), shape[0], self.bands, block, ahead, behind,
                 0, share, self._width)  # fmt: skip
        self._context = (ctypes.c_int64 * len(words))(*words)
        work = sum(launch.work for launch in prepared)
        self._jobs = Job(code().at(PAIR), math.prod(shape), work), Job(code().at(FINISH), 0, 0)

    def run(self, scratch: int, held: Sequence[Sequence[Held]], scalars: Sequence[Sequence[Any]]) -> None:
        """Run both kernels; the temporary has no memory."""
        for member, own, given in zip(self._members, held, scalars, strict=True):
            member.fill(own, given)
        self._context[7] = scratch
        for job in self._jobs:
            job.run(ctypes.addressof(self._context), self.bands)
