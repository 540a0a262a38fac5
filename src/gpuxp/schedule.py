"""From the tape to kernels: what is dead goes, what fits together becomes one kernel.

The passes, in order: `trace` (number views, find hazards), `live_nodes` (dead code), `group` (fusion), `lower` (kernel
per group). A plan refers to views and scalars by position, so it serves every tape of the same structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from .dtypes import DType
from .geometry import DISJOINT, IDENTICAL, Shape, broadcast_strides, collapse
from .kernel import Inst, Kernel, Reduction
from .ops import ELEMENTWISE, result_dtype
from .storage import Buffer, View
from .tape import LIBRARY, REDUCE, Node, relate

_LOOK_BACK = 16  # groups that a node may be moved past
_MAX_GROUP = 256  # nodes in one kernel
_LOOPS = 16  # geometries that a step keeps


class Loop(NamedTuple):
    """What a kernel runs over: the collapsed shape, and where each parameter lies in its buffer."""

    kernel: Kernel
    shape: Shape
    places: tuple[tuple[int, tuple[int, ...]], ...]  # offset and strides
    empty: bool  # there is nothing to do


@dataclass(frozen=True)
class Step:
    """One launch (or library call) of a plan; everything is named by its position in the trace."""

    nodes: tuple[int, ...]
    kernel: Kernel | None  # None: a library call, of the only node
    params: tuple[int, ...]  # views
    scalars: tuple[tuple[int, int], ...]  # (node, input)
    dead: tuple[int, ...]  # buffers that nothing reads after this step
    shared: tuple[int, int] | None = None  # the only result, which the next step alone reads: parameter here and there
    _loops: dict[Any, Loop] = field(default_factory=dict, compare=False, repr=False)

    def loop(self, trace: Trace) -> Loop:
        """Return the loop of this step's kernel over a trace, found again where the geometry is the same."""
        views = [trace.views[p] for p in self.params]
        shape = trace.nodes[self.nodes[0]].shape
        key = (shape, *[v.key for v in views])
        found = self._loops.get(key)
        if found is None:
            if len(self._loops) >= _LOOPS:
                self._loops.clear()
            found = self._loops[key] = self._collapsed(trace, shape, views)
        return found

    def _collapsed(self, trace: Trace, shape: Shape, views: Sequence[View]) -> Loop:
        kernel = self.kernel
        assert kernel is not None
        axes: Any = next((trace.nodes[n].attr for n in self.nodes if trace.nodes[n].kind == REDUCE), ())
        small, strides, kept = loop_of(shape, views, axes, frozenset([r.param for r in kernel.reductions]))
        empty = 0 in small[:kept] or (not kernel.reductions and 0 in small) or not kernel.outputs
        offsets = [v.offset if v.ghost.size else 0 for v in views]  # an empty view may begin past the end
        return Loop(kernel.over(len(small), kept), small, tuple(zip(offsets, strides, strict=True)), empty)


@dataclass(frozen=True)
class Plan:
    """What a flush does."""

    steps: tuple[Step, ...]


class Trace:
    """A tape with its views, buffers and shapes numbered in order of appearance.

    Parameters
    ----------
    nodes
        The commands.
    later
        Commands that follow, but are no part of it: what they use is wanted.
    """

    def __init__(self, nodes: Sequence[Node], later: Sequence[Node] = ()) -> None:
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
        used = {id(v.buffer) for node in later for v in (*node.outs, *node.reads())}
        self.wanted = [b.wanted or id(b) in used for b in self.buffers]

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


def live_nodes(trace: Trace) -> list[int]:
    """Drop the nodes whose results nobody reads, nor can still see afterwards."""
    wanted = list(trace.wanted)
    live: list[int] = []
    for number in range(len(trace.nodes) - 1, -1, -1):
        writes = trace.writes[number]
        if not any(wanted[trace.buffer_of[v]] for v in writes):
            continue
        live.append(number)
        for v in writes:
            if trace.views[v].covers():
                wanted[trace.buffer_of[v]] = False
        for v in trace.reads[number]:
            wanted[trace.buffer_of[v]] = True
    return live[::-1]


class _Group:
    """Nodes that become one kernel."""

    def __init__(self, trace: Trace, number: int) -> None:
        self._trace = trace
        node = trace.nodes[number]
        self.nodes: list[int] = []
        self.shape = trace.shape_of[number]
        self.axes: Any = None
        self.barrier = node.kind == LIBRARY or _may_raise(node)
        self.reads: dict[int, set[int]] = {}  # buffer -> views
        self.writes: dict[int, set[int]] = {}
        self.results: dict[int, set[int]] = {}  # views written by reductions
        self.views: set[int] = set()
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
        self.views.update(trace.writes[number], trace.reads[number])

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
        if self.barrier or node.kind == LIBRARY or _may_raise(node) or trace.shape_of[number] != self.shape:
            return False
        if node.kind == REDUCE and self.axes not in (None, node.attr):
            return False
        added = self.views.union(trace.reads[number], trace.writes[number])
        return len(added) <= max_params and len(self.nodes) < _MAX_GROUP


def _may_raise(node: Node) -> bool:
    """Whether running the node can fail on its data: it then runs alone, so that nothing else is lost."""
    return node.op == "power" and node.loop[-1].kind in "iu"


def group(trace: Trace, live: Sequence[int], fusion: bool, max_params: int) -> list[list[int]]:
    """Join each node to the nearest earlier group that it fits, past groups it does not depend on."""
    groups: list[_Group] = []
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
            groups.append(_Group(trace, number))
        else:
            home.add(number)
    return [g.nodes for g in groups]


class _Lowering:
    """Builds one kernel from the nodes of a group."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self.body: list[Inst] = []
        self._known: dict[tuple[Any, ...], int] = {}
        self.current: dict[int, int] = {}  # view -> value it holds now
        self.loads: dict[int, int] = {}  # view -> value loaded
        self.scalars: list[tuple[int, int]] = []
        self.scalar_dtypes: list[DType] = []
        self.reductions: list[tuple[str, int, int, DType]] = []
        self.dirty: list[int] = []

    def emit(self, op: str, args: tuple[int, ...], dtype: DType, attr: int = 0) -> int:
        """Append an instruction, or return an equal earlier one."""
        key = (op, args, dtype, attr)
        if key not in self._known:
            self._known[key] = len(self.body)
            self.body.append(Inst(op, args, dtype, attr))
        return self._known[key]

    def op(self, name: str, *args: int) -> int:
        """Apply a row to values of its dtypes (the builder's side of an expansion)."""
        return self.emit(name, tuple(args), result_dtype(name, [self.body[a].dtype for a in args]))

    def literal(self, value: int, like: int) -> int:
        """Return a constant in the dtype of another value."""
        return self.emit("literal", (), self.body[like].dtype, value)

    def cast(self, value: int, dtype: DType) -> int:
        return value if self.body[value].dtype == dtype else self.emit("cast", (value,), dtype)

    def _read(self, view: int) -> int:
        value = self.current.get(view)
        if value is None:
            value = self.loads[view] = self.current[view] = self.emit(
                "load", (), self._trace.views[view].ghost.dtype, len(self.loads)
            )
        return value

    def add(self, number: int) -> None:
        """Lower one node."""
        node = self._trace.nodes[number]
        reads = iter(self._trace.reads[number])
        args: list[int] = []
        for place, operand in enumerate(node.ins):
            if type(operand) is View:
                args.append(self._read(next(reads)))
            else:
                self.scalars.append((number, place))
                self.scalar_dtypes.append(node.loop[place])
                args.append(self.emit("scalar", (), node.loop[place], len(self.scalars) - 1))
        out = self._trace.writes[number][0]
        if node.kind == REDUCE:
            value = self.cast(args[0], node.loop[0])
            self.reductions.append((node.op, value, out, node.loop[0]))
            return
        value = self._apply(node, args)
        self.current[out] = self.cast(value, self._trace.views[out].ghost.dtype)
        if out not in self.dirty:
            self.dirty.append(out)

    def _apply(self, node: Node, args: list[int]) -> int:
        if node.op == "index":
            return self.emit("index", (), node.loop[-1])
        args = [self.cast(a, d) for a, d in zip(args, node.loop, strict=False)]
        if node.op == "copy":
            return args[0]
        row = ELEMENTWISE[node.op]
        if row.expand is not None and row.expands(node.loop[0]):
            expanded: int = row.expand(self, *args)
            return expanded
        return self.emit(node.op, tuple(args), node.loop[-1])


def lower(trace: Trace, nodes: Sequence[int], needed: set[int]) -> Step:
    """Build the kernel of a group; `needed` holds the buffers that somebody reads later."""
    if trace.nodes[nodes[0]].kind == LIBRARY:
        return Step(tuple(nodes), None, (), (), ())
    build = _Lowering(trace)
    for number in nodes:
        build.add(number)
    stores = [
        (view, build.current[view])
        for view in build.dirty
        if trace.buffer_of[view] in needed and build.loads.get(view) != build.current[view]
    ]
    used = _used(build.body, [v for _, v in stores] + [r[1] for r in build.reductions])
    renumber: dict[int, int] = {}
    params: dict[int, int] = {}
    scalars: list[tuple[int, int]] = []
    scalar_dtypes: list[DType] = []
    views = {value: view for view, value in build.loads.items()}
    body: list[Inst] = []
    for number in used:
        inst = build.body[number]
        attr = inst.attr
        if inst.op == "load":
            attr = params.setdefault(views[number], len(params))
        elif inst.op == "scalar":
            attr = len(scalars)
            scalars.append(build.scalars[inst.attr])
            scalar_dtypes.append(inst.dtype)
        renumber[number] = len(body)
        body.append(Inst(inst.op, tuple(renumber[a] for a in inst.args), inst.dtype, attr))
    placed = tuple((params.setdefault(view, len(params)), renumber[value]) for view, value in stores)
    reductions = []
    result_params = list(params)
    for op, value, view, _ in build.reductions:
        reductions.append(Reduction(op, renumber[value], len(result_params)))
        result_params.append(view)
    kernel = Kernel(
        tuple(trace.views[v].ghost.dtype for v in result_params),
        tuple(scalar_dtypes),
        tuple(body),
        placed,
        tuple(reductions),
        1,
        0 if reductions else 1,
    )
    kernel.verify()
    return Step(tuple(nodes), kernel, tuple(result_params), tuple(scalars), ())


def _used(body: Sequence[Inst], roots: Sequence[int]) -> list[int]:
    seen: set[int] = set()
    stack = list(roots)
    while stack:
        value = stack.pop()
        if value not in seen:
            seen.add(value)
            stack.extend(body[value].args)
    return sorted(seen)


def make_plan(trace: Trace, fusion: bool, max_params: int, everything: bool = False) -> Plan:
    """Run all passes; `everything` keeps results that nobody seems to want."""
    live = list(range(len(trace.nodes))) if everything else live_nodes(trace)
    groups = group(trace, live, fusion, max_params)
    steps: list[Step] = []
    later = {number for number, wanted in enumerate(trace.wanted) if everything or wanted}
    for nodes in reversed(groups):
        touched = {trace.buffer_of[v] for n in nodes for v in (*trace.reads[n], *trace.writes[n])}
        step = lower(trace, nodes, later)
        dead = tuple(sorted(touched - later))
        steps.append(Step(step.nodes, step.kernel, step.params, step.scalars, dead))
        later |= {trace.buffer_of[v] for n in nodes for v in trace.reads[n]}
    steps.reverse()
    for place, (step, following) in enumerate(pairwise(steps)):
        steps[place] = replace(step, shared=_shared(trace, step, following))
    return Plan(tuple(steps))


def _shared(trace: Trace, step: Step, following: Step) -> tuple[int, int] | None:
    """Return the parameters by which a step hands a temporary to the next, if that is all the two have to do."""
    one, two = step.kernel, following.kernel
    if one is None or two is None or one.reductions or two.reductions or len(one.stores) != 1:
        return None
    if trace.shape_of[step.nodes[0]] != trace.shape_of[following.nodes[0]]:
        return None
    param = one.stores[0][0]
    view = step.params[param]
    if trace.buffer_of[view] not in following.dead or view not in following.params:
        return None
    buffers = [trace.buffer_of[v] for v in (*step.params, *following.params)]
    there = following.params.index(view)
    return (param, there) if buffers.count(trace.buffer_of[view]) == 2 and there not in two.outputs else None


def loop_of(
    shape: Shape, views: Sequence[View], axes: tuple[int, ...], results: frozenset[int]
) -> tuple[Shape, Sequence[tuple[int, ...]], int]:
    """Return the collapsed loop and each operand's strides over it."""
    return _loop_of(shape, tuple([v.key[1:3] for v in views]), axes, results)


@lru_cache(maxsize=4096)
def _loop_of(
    shape: Shape, geometries: tuple[tuple[Shape, Shape], ...], axes: tuple[int, ...], results: frozenset[int]
) -> tuple[Shape, Sequence[tuple[int, ...]], int]:
    kept_axes = tuple(d for d in range(len(shape)) if d not in axes)
    order = kept_axes + tuple(axes)
    operands = []
    for place, (extents, steps) in enumerate(geometries):
        if place in results:
            operands.append(steps + (0,) * len(axes))
        else:
            strides = broadcast_strides(extents, steps, shape)
            operands.append(tuple(strides[d] for d in order) if axes else strides)
    loop = tuple(shape[d] for d in order)
    if loop:
        small, strides_of, kept = collapse(loop, tuple(operands), len(kept_axes))
        if small:
            return small, [s[:kept] if p in results else s for p, s in enumerate(strides_of)], kept
    kept = 0 if axes else 1  # a single point: a loop of one dimension all the same
    return (1,), [() if p in results else (0,) for p in range(len(geometries))], kept
