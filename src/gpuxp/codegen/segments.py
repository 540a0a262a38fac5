"""A kernel's body cut at its calls of NumPy's loops."""

from __future__ import annotations

from functools import lru_cache

from ..errors import Unsupported
from ..kernel import Inst, Kernel
from .llvmops import cast, spelling

LEAVES = ("load", "scalar", "literal", "index")


@lru_cache(maxsize=512)
def has_calls(kernel: Kernel) -> bool:
    """Whether NumPy's loops do a part of the kernel, or it is not compiled at all."""
    try:
        return Segments(kernel, frozenset()).count > 1
    except Unsupported:
        return True


class Segments:
    """The body cut at its calls: which segment computes what, and which values pass from one to a later one."""

    def __init__(self, kernel: Kernel, packed: frozenset[int]) -> None:
        self.kernel, self._packed = kernel, packed
        body = kernel.body
        self.steps = [self._spelled(inst) for inst in body]
        self.ready: list[int] = []  # the segment from which on a value can be used
        for inst, steps in zip(body, self.steps, strict=True):
            at = max((self.ready[a] for a in inst.args), default=0)
            self.ready.append(at + (steps is None))
        self.count = 1 + max(self.ready, default=0)
        last_load = [0] * len(kernel.params)
        for value, inst in enumerate(body):
            for load in (body[a] for a in inst.args if body[a].op == "load"):
                last_load[load.attr] = max(last_load[load.attr], self._at(inst) + self.is_call(value))
        for r in kernel.reductions:  # they come last
            if body[r.value].op == "load":
                last_load[body[r.value].attr] = self.count - 1
        self.store_at = [max(self.ready[value], last_load[param]) for param, value in kernel.stores]
        if any(body[value].op == "load" for _, value in kernel.stores):  # read before any other store
            self.store_at = [self.count - 1] * len(kernel.stores)
        self.uses = self._uses()

    def _spelled(self, inst: Inst) -> str | None:
        """Return the steps of an instruction; None for one that is a call."""
        if inst.op in LEAVES:
            return ""
        operands = [self.kernel.body[a].dtype for a in inst.args]
        if inst.op != "cast":
            return spelling(inst, operands)
        steps = cast("{0}", operands[0], inst.dtype)
        if steps is None:
            raise Unsupported(f"{operands[0]} to {inst.dtype} is not compiled")
        return steps

    def _at(self, inst: Inst) -> int:
        """Return the segment that computes an instruction; a call follows its segment."""
        return max((self.ready[a] for a in inst.args), default=0)

    def is_call(self, value: int) -> bool:
        """Whether one of NumPy's loops computes the value."""
        return self.steps[value] is None

    def calls(self, segment: int) -> list[int]:
        """Return the calls that follow a segment."""
        return [v for v, i in enumerate(self.kernel.body) if self.is_call(v) and self._at(i) == segment]

    def _uses(self) -> list[set[int]]:
        """Return, for every value, the segments that read it; a call reads between segments, counted as a half."""
        kernel = self.kernel
        uses: list[set[int]] = [set() for _ in kernel.body]
        for value, inst in enumerate(kernel.body):
            for a in inst.args:
                uses[a].add(2 * self._at(inst) + self.is_call(value))
        for (_, value), at in zip(kernel.stores, self.store_at, strict=True):
            uses[value].add(2 * at)
        for r in kernel.reductions:
            uses[r.value].add(2 * (self.count - 1))
        return uses

    def buffered(self, value: int) -> bool:
        """Whether the value has to be put into memory between segments."""
        inst = self.kernel.body[value]
        if inst.op in LEAVES:
            direct = inst.op == "load" and inst.attr in self._packed
            return not direct and any(u % 2 for u in self.uses[value])
        return self.is_call(value) or any(u > 2 * self.ready[value] for u in self.uses[value])

    def needed(self, segment: int) -> list[int]:
        """Return the values that a segment computes or loads, in order."""
        body, wanted = self.kernel.body, set()
        for value in range(len(body) - 1, -1, -1):
            inst = body[value]
            leaf = inst.op in LEAVES
            made_here = leaf or (not self.is_call(value) and self.ready[value] == segment)
            first = segment == 0 if leaf else True
            if 2 * segment in self.uses[value] or (made_here and first and self.buffered(value)):
                wanted.add(value)
        return sorted(wanted)
