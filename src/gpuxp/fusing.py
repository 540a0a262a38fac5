"""Fusion: which commands become one kernel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .geometry import DISJOINT, IDENTICAL
from .tape import LIBRARY, REDUCE, Node
from .tracing import Trace

_LOOK_BACK = 16  # groups that a node may be moved past
_MAX_GROUP = 256  # nodes in one kernel


class _Group:
    """Nodes that become one kernel."""

    def __init__(self, trace: Trace, number: int, last: Sequence[int]) -> None:
        self._trace = trace
        self._last = last  # buffer -> the last node that uses it
        node = trace.nodes[number]
        self.nodes: list[int] = []
        self.shape = trace.shape_of[number]
        self.axes: Any = None
        self.barrier = node.kind == LIBRARY or may_raise(node)
        self.reads: dict[int, set[int]] = {}  # buffer -> views
        self.writes: dict[int, set[int]] = {}
        self.results: dict[int, set[int]] = {}  # views written by reductions
        self._loads: set[int] = set()  # views
        self._made: set[int] = set()  # views that may have to be stored
        self.elsewhere: set[int] = set()  # buffers written here that other groups use
        self.add(number)

    def add(self, number: int) -> None:
        trace, node = self._trace, self._trace.nodes[number]
        self.nodes.append(number)
        if node.kind == REDUCE:
            self.axes = node.attr
        outs = self.results if node.kind == REDUCE else self.writes
        for v in trace.writes[number]:
            outs.setdefault(trace.buffer_of[v], set()).add(v)
        for v in trace.reads[number]:
            self.reads.setdefault(trace.buffer_of[v], set()).add(v)
        self._loads |= set(trace.reads[number]) - self._made
        self._made.update(trace.writes[number])

    def meets(self, number: int) -> tuple[bool, bool]:
        """Say whether a later node depends on this group, and whether it clashes (cannot share its loop)."""
        trace = self._trace
        reduces = trace.nodes[number].kind == REDUCE
        depends = clash = False
        for v in trace.writes[number]:
            buffer = trace.buffer_of[v]
            for other in (*self.reads.get(buffer, ()), *self.writes.get(buffer, ()), *self.results.get(buffer, ())):
                found = trace.relation(v, other)
                if found != DISJOINT:
                    depends = True
                    clash |= found != IDENTICAL or reduces or other in self.results.get(buffer, ())
        for v in trace.reads[number]:
            buffer = trace.buffer_of[v]
            for other in (*self.writes.get(buffer, ()), *self.results.get(buffer, ())):
                found = trace.relation(v, other)
                if found != DISJOINT:
                    depends = True
                    clash |= found != IDENTICAL or other in self.results.get(buffer, ())
        return depends, clash

    def admits(self, number: int, max_params: int) -> bool:
        """Whether the node has this group's loop and the kernel stays small enough."""
        trace, node = self._trace, self._trace.nodes[number]
        if self.barrier or node.kind == LIBRARY or may_raise(node) or trace.shape_of[number] != self.shape:
            return False
        if node.kind == REDUCE and self.axes not in (None, node.attr):
            return False
        return len(self.nodes) < _MAX_GROUP and self._parameters(number) <= max_params

    def _parameters(self, number: int) -> int:
        """Return how many parameters the kernel has if this node is the last to join; the rest stays in registers."""
        trace, last = self._trace, self._last
        loads = self._loads | (set(trace.reads[number]) - self._made)
        uses = {v: number + 1 if (b := trace.buffer_of[v]) in self.elsewhere else last[b] for v in self._made}
        self._made = {v for v, use in uses.items() if use >= number}
        return len(loads.union(trace.writes[number], (v for v, use in uses.items() if use > number)))


def may_raise(node: Node) -> bool:
    """Whether running the node can fail on its data: it then runs alone, so that nothing else is lost."""
    return node.op == "power" and node.loop[-1].kind in "iu"


def group(trace: Trace, live: Sequence[int], fusion: bool, max_params: int) -> list[list[int]]:
    """Join each node to the nearest earlier group that it fits, past groups it does not depend on."""
    groups: list[_Group] = []
    last = [len(trace.nodes) if wanted else -1 for wanted in trace.wanted]
    for number in live:
        for v in (*trace.reads[number], *trace.writes[number]):
            last[trace.buffer_of[v]] = max(last[trace.buffer_of[v]], number)
    writers: dict[int, set[_Group]] = {}  # of each buffer
    for number in live:
        home = None
        if fusion:
            for candidate in reversed(groups[-_LOOK_BACK:]):
                depends, clash = candidate.meets(number)
                if not clash and candidate.admits(number, max_params):
                    home = candidate
                    break
                if depends:
                    break
        if home is None:
            home = _Group(trace, number, last)
            groups.append(home)
        else:
            home.add(number)
        for v in trace.reads[number]:
            for writer in writers.get(trace.buffer_of[v], ()):
                if writer is not home:
                    writer.elsewhere.add(trace.buffer_of[v])
        for v in trace.writes[number]:
            writers.setdefault(trace.buffer_of[v], set()).add(home)
    return [g.nodes for g in groups]
