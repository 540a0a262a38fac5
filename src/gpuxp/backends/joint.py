"""Several compiled kernels as one pass over memory: see `gpuxp.codegen.llvmjoint`."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..codegen.llvmjoint import FINISH, PAIR, PASS, WORDS, render_joint
from ..config import num_threads
from .base import Arg, Held
from .crew import TASKS, Job
from .jit import Code, build
from .passes import Plan

if TYPE_CHECKING:
    from .compiled import Prepared


@lru_cache(maxsize=1)
def code() -> Code:
    """Return the drivers; made by the compiling thread."""
    return build(render_joint(), PASS, PAIR, FINISH)


def fits(prepared: Prepared) -> bool:
    """Whether a driver has room for the launch's table."""
    return prepared.words <= WORDS


class Member:
    """A launch that runs as part of a pass, some rows at a time; `each` elements of its first dimension are a row."""

    def __init__(
        self, prepared: Prepared, args: Sequence[Arg], own: Collection[int], each: int = 1, stays: bool = True
    ) -> None:
        self._prepared = prepared = prepared.again(stays)  # with a table of its own: two members may be one kernel
        self._own = frozenset(own)  # parameters that are temporaries, in scratch memory
        self._offsets = [a.offset for a in args]
        dims = prepared.shape[: prepared.kernel.kept] if prepared.kernel.reductions else prepared.shape
        units = each * math.prod(dims[1:-1]) * -(-dims[-1] // prepared.step) if len(dims) > 1 else 0
        strides = [0 if p in self._own else a.strides[0] * each for p, a in enumerate(args)]
        own_words = [int(p in self._own) for p in range(len(args))]
        self._tables: list[Any] = [(ctypes.c_int64 * len(args))(*words) for words in (strides, own_words)]
        words = (prepared.code, prepared.table, prepared.words, prepared.extent, prepared.first, len(args),
                 *map(ctypes.addressof, self._tables), each, units, prepared.step)  # fmt: skip
        self._description = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self._description)

    def fill(self, held: Sequence[Held], scalars: Sequence[Any]) -> None:
        """Write addresses and scalars; a temporary's offset is that into scratch memory."""
        places = zip(held, self._offsets, strict=True)
        self._prepared.fill([o if p in self._own else h.base + o for p, (h, o) in enumerate(places)], scalars)


def make_pass(prepared: Sequence[Prepared], plan: Plan) -> Pass | None:
    """Return launches as one pass, if that can be."""
    return Pass(prepared, plan) if all(map(fits, prepared)) else None


class Pass:
    """Launches that run together, block by block of rows; one thread at a time may do so."""

    def __init__(self, prepared: Sequence[Prepared], plan: Plan) -> None:
        self._members = []
        for launch, own, each, stays in zip(prepared, plan.args, plan.each, plan.stays, strict=True):
            temporaries = {p for p, a in enumerate(own) if a.mem in plan.temporaries}
            self._members.append(Member(launch, own, temporaries, each, stays))
        self._bands = min(TASKS * num_threads(), -(-plan.rows // plan.block))
        self.scratch = self._bands * plan.share  # bytes of memory that a run needs
        self._list = (ctypes.c_int64 * len(prepared))(*(m.address for m in self._members))
        words = (ctypes.addressof(self._list), len(prepared), plan.rows, self._bands, plan.block, 0, plan.share)
        self._context = (ctypes.c_int64 * len(words))(*words)
        elements = sum(launch.elements for launch in prepared)
        self._job = Job(code().address, elements, sum(launch.work for launch in prepared))

    def run(self, scratch: int, held: Sequence[Sequence[Held]], scalars: Sequence[Sequence[Any]]) -> None:
        """Run all kernels; the temporaries have no memory."""
        for member, own, given in zip(self._members, held, scalars, strict=True):
            member.fill(own, given)
        self._context[5] = scratch
        self._job.run(ctypes.addressof(self._context), self._bands)
