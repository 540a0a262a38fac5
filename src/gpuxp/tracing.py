"""A tape as the planner sees it: views, buffers and shapes by number, and the hazards between views."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .geometry import DISJOINT, IDENTICAL
from .storage import Buffer, View
from .tape import Node, relate


class Trace:
    """A tape with its views, buffers and shapes numbered in order of appearance.

    Parameters
    ----------
    nodes
        The commands.
    wanted
        Which buffers, in order of appearance, can still be seen after the commands; unless given, those that somebody
        holds.
    """

    def __init__(self, nodes: Sequence[Node], wanted: Sequence[bool] | None = None) -> None:
        self.nodes = nodes
        self.views: list[View] = []
        self.buffers: list[Buffer] = []
        self.buffer_of: list[int] = []  # view -> buffer
        self.reads: list[tuple[int, ...]] = []  # node -> views
        self.writes: list[tuple[int, ...]] = []
        self.shape_of: list[int] = []  # node -> shape
        self._commands: list[Any] = []  # what each is, the views it uses, which inputs are no views (as bits)
        self._crowded: dict[int, list[int]] = {}  # buffers of several views -> these
        self._hazards: dict[tuple[int, int], int] = {}
        self._numbers: dict[int, int] = {}  # id of a view -> its number
        self._places: dict[int, int] = {}  # id of a buffer -> its number
        self._geometries: dict[tuple[int, Any], int] = {}
        self._number()
        self.wanted = [b.wanted for b in self.buffers] if wanted is None else wanted

    def _number(self) -> None:
        shapes: dict[tuple[int, ...], int] = {}
        numbers, number, commands = self._numbers, self._number_view, self._commands
        for node in self.nodes:
            found, scalars, place = [], 0, 1
            for value in node.ins:
                if type(value) is View:
                    known = numbers.get(id(value))
                    found.append(number(value) if known is None else known)
                else:
                    scalars += place
                place += place
            reads, writes = tuple(found), tuple([number(v) for v in node.outs])
            shape = shapes.setdefault(node.shape, len(shapes))
            self.reads.append(reads)
            self.writes.append(writes)
            self.shape_of.append(shape)
            commands += (node.op, node.kind, node.attr, node.loop, reads, writes, shape, scalars, place)
        self.written = {v for views in self.writes for v in views}

    def _number_view(self, view: View) -> int:
        """Return the number of a view; equal views of one buffer share it."""
        found = self._numbers.get(id(view))
        if found is not None:
            return found
        number = len(self.views)
        place = self._places.get(id(view.buffer))
        if place is None:
            place = self._places[id(view.buffer)] = len(self.buffers)
            self.buffers.append(view.buffer)
        else:
            siblings = self._crowded.get(place)
            if siblings is None:  # the second view: only now the geometry matters
                siblings = self._crowded[place] = [self.buffer_of.index(place)]
                self._geometries[place, self.views[siblings[0]].key] = siblings[0]
            found = self._geometries.setdefault((place, view.key), number)
            if found != number:
                self._numbers[id(view)] = found
                return found
            siblings.append(number)
        self._numbers[id(view)] = number
        self.views.append(view)
        self.buffer_of.append(place)
        return number

    def key(self) -> tuple[Any, ...]:
        """Return the structure: all that a plan depends on, and neither sizes nor constants."""
        views = (*self.buffer_of, *[v.ghost.dtype for v in self.views])
        covers = tuple([self.views[v].covers() for v in sorted(self.written)])
        return tuple(self._commands), views, covers, tuple(self.wanted), self._hazard_key()

    def _hazard_key(self) -> tuple[tuple[int, int, int], ...]:
        found = []
        for views in self._crowded.values():
            if not self.written.isdisjoint(views):
                for place, a in enumerate(views):
                    for b in views[place + 1 :]:
                        if a in self.written or b in self.written:
                            found.append((a, b, self.relation(a, b)))
        return tuple(found)

    def relation(self, a: int, b: int) -> int:
        """Say how two views lie."""
        if a == b:
            return IDENTICAL
        if self.buffer_of[a] != self.buffer_of[b]:
            return DISJOINT
        pair = (a, b) if a < b else (b, a)
        found = self._hazards.get(pair)
        if found is None:
            found = self._hazards[pair] = relate(self.views[a], self.views[b])
        return found
