"""What a flush does to one tape, ready to be done again: plans bound to geometries, found by all that they depend on.

A plan serves every tape of its structure. A time loop records the same commands on arrays of the same sizes over and
over: then the loops, the places of their operands and the launches are the same too; only buffers and scalars change.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from .backends.base import Joint, Placed
from .config import config
from .schedule import Loop, Step
from .storage import Buffer, View
from .tape import Node
from .tracing import Trace

_KEPT = 1 << 14  # commands of the tapes that are remembered, in all


class Act:
    """One step over one geometry; everything is named by its position on the tape."""

    __slots__ = ("buffers", "dead", "joint", "launch", "loop", "nodes", "scalars", "shared")

    def __init__(self, step: Step, loop: Loop | None, buffers: tuple[int, ...]) -> None:
        self.nodes, self.scalars, self.dead, self.shared = step.nodes, step.scalars, step.dead, step.shared
        self.loop = loop  # None: a library call, of the only node
        self.buffers = buffers  # of the parameters
        self.launch: Placed | None = None  # made when it first runs
        # this act and some that follow as one pass; None: not looked for yet, False: there is none
        self.joint: Joint | Literal[False] | None = None


def bind(trace: Trace, steps: Sequence[Step]) -> list[Act]:
    """Return the steps of a plan over the geometry of a trace."""
    return [
        Act(step, None if step.kernel is None else step.loop(trace), tuple([trace.buffer_of[p] for p in step.params]))
        for step in steps
    ]


class Survey(NamedTuple):
    """What there is to know of a tape before it is planned."""

    key: tuple[Any, ...]  # all that its acts depend on
    buffers: list[Buffer]  # in order of appearance, as a trace numbers them
    wanted: list[bool]  # which of them somebody can still see afterwards


def survey(nodes: Sequence[Node], later: Sequence[Node] = ()) -> Survey:
    """Look over a tape, once; what `later` commands use is wanted.

    A sign stands for all of a command but its buffers. Hazards and loops follow from the views' geometry. The sizes of
    buffers do not matter: where a write covers a shorter buffer, so that earlier ones are dead, nothing on the tape
    touches more of a longer one.
    """
    places: dict[Buffer, int] = {}
    place = places.setdefault
    parts: list[Any] = []
    add = parts.append
    for node in nodes:
        ins, sign = node.ins, node.sign
        if sign is not None:
            add(sign)
            for value in (*ins, *node.outs):
                if type(value) is View:
                    add(place(value.buffer, len(places)))
            continue
        parts += (node.op, node.kind, node.attr, node.loop, node.shape, len(ins))
        for value in (*ins, *node.outs):
            if type(value) is View:
                add(place(value.buffer, len(places)))
                add(value._key or value.key)
            else:
                add(None)
    buffers = list(places)
    wanted = [b.wanted for b in buffers]
    if later:
        used = {view.buffer for node in later for view in (*node.outs, *node.reads())}
        wanted = [w or b in used for w, b in zip(wanted, buffers, strict=True)]
    key = (tuple(parts), tuple(wanted), config.fusion, config.tile, config.tier)
    return tuple.__new__(Survey, (key, buffers, wanted))  # as its class does, with a call less


class Scripts:
    """The acts of the tapes that were run of late."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], list[Act]] = {}
        self._sizes: deque[int] = deque()
        self._held = 0
        self.get = self._known.get  # the acts of a tape that was run before, or None

    def keep(self, key: tuple[Any, ...], acts: list[Act], nodes: int) -> None:
        """Remember the acts of a tape, and forget the oldest: those still in use are soon found again."""
        self._known[key] = acts
        self._sizes.append(nodes)
        self._held += nodes
        while self._held > _KEPT and len(self._known) > 1:
            del self._known[next(iter(self._known))]
            self._held -= self._sizes.popleft()

    def clear(self) -> None:
        """Forget all of them."""
        self._known.clear()
        self._sizes.clear()
        self._held = 0
