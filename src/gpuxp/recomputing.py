"""Recomputation: cheap values are made again where they are read, which costs less than to keep them in memory."""

from __future__ import annotations

from collections.abc import Sequence

from .fusing import may_raise
from .tape import LIBRARY, MAP
from .tracing import Trace

_CHEAP = frozenset({
    "copy", "add", "subtract", "multiply", "negative", "positive", "absolute", "conjugate", "square", "where",
    "maximum", "minimum", "fmax", "fmin", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal",
    "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "invert",
    "isnan", "isinf", "isfinite", "signbit", "real", "imag",
})  # fmt: skip
_MOST = 4  # commands that are run again for one value


class _Recomputation:
    """Finds the values that one group stores and others load, although these could make them themselves.

    A value may go if nobody wants its buffer at the end, one command writes all that is ever read of it, and all that
    the value is made from is in memory, unchanged, when it is read.
    """

    def __init__(self, trace: Trace, groups: Sequence[Sequence[int]], max_params: int) -> None:
        self._trace, self._max_params = trace, max_params
        self.groups = [list(nodes) for nodes in groups]
        self._home = {n: g for g, nodes in enumerate(groups) for n in nodes}
        self._writers: dict[int, list[int]] = {}  # buffer -> commands
        self._readers: dict[int, list[tuple[int, int]]] = {}  # buffer -> group and view
        self._first: dict[int, int] = {}  # buffer -> the first command that reads it
        self._again: dict[tuple[int, int], int] = {}  # group and view -> the command that makes it there again
        for number, g in self._home.items():
            for v in trace.writes[number]:
                self._writers.setdefault(trace.buffer_of[v], []).append(number)
            for v in trace.reads[number]:
                self._readers.setdefault(trace.buffer_of[v], []).append((g, v))
                first = self._first.setdefault(trace.buffer_of[v], number)
                self._first[trace.buffer_of[v]] = min(first, number)

    def run(self) -> list[list[int]]:
        """Return the groups with what they make again."""
        for number in sorted(self._home):
            self._consider(number)
        return [nodes for nodes in self.groups if nodes]

    def _consider(self, number: int) -> None:
        trace, home = self._trace, self._home[number]
        value = self._only_value(number)
        if value is None:
            return
        elsewhere = {g for g, _ in self._readers[trace.buffer_of[value]]} - {home}
        made = self._slice(number) if elsewhere else None
        if made is None or not self._unchanged(made, home, max(elsewhere)):
            return
        leaves = {v for n in made for v in trace.reads[n]} - {v for n in made for v in trace.writes[n]}
        if all(self._gains(g, value, leaves, len(elsewhere)) for g in elsewhere):
            for g in elsewhere:
                self._move(made, leaves, g)
            self._leave(number)

    def _only_value(self, number: int) -> int | None:
        """Return the view that a cheap command writes, if nobody reads anything else of its buffer."""
        trace, node = self._trace, self._trace.nodes[number]
        if node.kind != MAP or node.op not in _CHEAP:
            return None
        (view,) = trace.writes[number]
        buffer = trace.buffer_of[view]
        if trace.wanted[buffer] or self._writers[buffer] != [number]:
            return None
        if self._first.get(buffer, number + 1) <= number:  # what it held before is read
            return None
        return view if all(v == view for _, v in self._readers.setdefault(buffer, [])) else None

    def _slice(self, number: int) -> list[int] | None:
        """Return the commands that make a value from what is in memory anyway; None if there are too many."""
        home, found, left = self._home[number], set[int](), [number]
        while left:
            maker = left.pop()
            found.add(maker)
            for v in self._trace.reads[maker]:
                source = self._made_here(v, home, maker)
                if source is None:
                    again = self._again.get((home, v))
                    if again is not None:
                        left.append(again)
                elif not self._is_stored(v, home):
                    if self._only_value(source) is None:
                        return None
                    left.append(source)
            if len(found) > _MOST:
                return None
        return sorted(found)

    def _made_here(self, view: int, home: int, before: int) -> int | None:
        """Return the command of a group that made what a later one reads, or None if it was loaded."""
        made = [n for n in self._writers.get(self._trace.buffer_of[view], ()) if n < before and self._home[n] == home]
        return made[-1] if made else None

    def _is_stored(self, view: int, home: int) -> bool:
        """Whether a value of a group goes to memory whatever is recomputed."""
        buffer = self._trace.buffer_of[view]
        return self._trace.wanted[buffer] or any(g != home for g, _ in self._readers[buffer])

    def _unchanged(self, made: Sequence[int], home: int, last: int) -> bool:
        """Whether what some commands of a group read is the same up to the end of a later group."""
        inside = {v for n in made for v in self._trace.writes[n]}
        for number in made:
            for v in set(self._trace.reads[number]) - inside:
                for n in self._writers.get(self._trace.buffer_of[v], ()):
                    if home < self._home[n] <= last or (self._home[n] == home and n >= number):
                        return False
        return True

    def _gains(self, group: int, value: int, leaves: set[int], readers: int) -> bool:
        """Whether a group can make the value, and what it loads for that is less than a store and what it loads now."""
        trace, nodes = self._trace, self.groups[group]
        first = nodes[0]
        if trace.nodes[first].kind == LIBRARY or trace.shape_of[first] != self._shape_of(value):
            return False
        if may_raise(trace.nodes[nodes[-1]]):  # it runs alone, and what it is given is looked at in memory
            return False
        seen = {v for n in nodes for v in (*trace.reads[n], *trace.writes[n])}
        loads = sum(trace.views[v].ghost.nbytes for v in leaves - seen)
        saved = (readers + 1) * trace.views[value].ghost.nbytes
        return readers * loads <= saved and len(seen | leaves) <= self._max_params

    def _shape_of(self, value: int) -> int:
        return self._trace.shape_of[self._writers[self._trace.buffer_of[value]][0]]

    def _move(self, made: Sequence[int], leaves: set[int], group: int) -> None:
        self.groups[group] = sorted({*made, *self.groups[group]})
        self._again |= {(group, v): n for n in made for v in self._trace.writes[n]}
        for v in leaves:
            self._readers.setdefault(self._trace.buffer_of[v], []).append((group, v))

    def _leave(self, number: int) -> None:
        """Take a command, and what only it needed, out of the group where it is no longer read."""
        trace, home = self._trace, self._home[number]
        buffer = trace.buffer_of[trace.writes[number][0]]
        left = [(g, v) for g, v in self._readers[buffer] if g == home]
        self._readers[buffer] = left
        if left:
            return
        self.groups[home].remove(number)
        for v in trace.reads[number]:
            readers = self._readers[trace.buffer_of[v]]
            if (home, v) in readers:  # else the value is made again here, too
                readers.remove((home, v))
            maker = self._made_here(v, home, number)
            if maker is not None and self._only_value(maker) is not None and not readers:
                self._leave(maker)


def recompute(trace: Trace, groups: Sequence[Sequence[int]], max_params: int) -> list[list[int]]:
    """Return the groups, with cheap values made in the groups that read them where that saves memory traffic."""
    return _Recomputation(trace, groups, max_params).run()
