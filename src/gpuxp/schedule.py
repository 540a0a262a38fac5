"""From the tape to kernels: what is dead goes, what fits together becomes one kernel.

The passes, in order: `tracing.Trace` (number views, find hazards), `live_nodes` (dead code), `fusing.group` (fusion),
`recomputing.recompute` (what is made again instead of stored), `lower` (kernel per group). A plan refers to views and
scalars by position, so it serves every tape of the same structure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

from .dtypes import DType
from .fusing import group
from .geometry import Shape, broadcast_strides, collapse
from .kernel import Inst, Kernel, Reduction
from .ops import ELEMENTWISE, result_dtype
from .recomputing import recompute
from .storage import View
from .tape import LIBRARY, REDUCE, Node
from .tracing import Trace


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

    def loop(self, trace: Trace) -> Loop:
        """Return the loop of this step's kernel over a trace."""
        kernel = self.kernel
        assert kernel is not None
        views = [trace.views[p] for p in self.params]
        shape = trace.nodes[self.nodes[0]].shape
        axes: Any = next((trace.nodes[n].attr for n in self.nodes if trace.nodes[n].kind == REDUCE), ())
        small, strides, kept = loop_of(shape, views, axes, frozenset([r.param for r in kernel.reductions]))
        empty = 0 in small[:kept] or (not kernel.reductions and 0 in small) or not kernel.outputs
        offsets = [v.offset if v.ghost.size else 0 for v in views]  # an empty view may begin past the end
        return Loop(kernel.over(len(small), kept), small, tuple(zip(offsets, strides, strict=True)), empty)


@dataclass(frozen=True)
class Plan:
    """What a flush does."""

    steps: tuple[Step, ...]


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
    if fusion:
        groups = recompute(trace, groups, max_params)
    steps: list[Step] = []
    later = {number for number, wanted in enumerate(trace.wanted) if everything or wanted}
    for nodes in reversed(groups):
        touched = {trace.buffer_of[v] for n in nodes for v in (*trace.reads[n], *trace.writes[n])}
        step = lower(trace, nodes, later)
        dead = tuple(sorted(touched - later))
        steps.append(Step(step.nodes, step.kernel, step.params, step.scalars, dead))
        later |= {trace.buffer_of[v] for v in _loaded(trace, step)}
    steps.reverse()
    for place, (step, following) in enumerate(pairwise(steps)):
        steps[place] = replace(step, shared=_shared(trace, step, following))
    return Plan(tuple(steps))


def _loaded(trace: Trace, step: Step) -> list[int]:
    """Return the views whose memory a step reads."""
    if step.kernel is None:
        return list(trace.reads[step.nodes[0]])
    return [step.params[i.attr] for i in step.kernel.body if i.op == "load"]


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
