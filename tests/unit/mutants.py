"""Ways to break the engine's reasoning about order, overlap, liveness and layout: the random programs must notice each.

A mutant is a name and a list of (object, attribute, replacement). Functions that a module imports by name are replaced
where they are used.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from typing import Any

from gpuxp import fusing, geometry, recomputing, replay, runtime, schedule, storage, tracing
from gpuxp.backends import reduce, software, tiles
from gpuxp.devices import open_runtimes
from gpuxp.geometry import DISJOINT, IDENTICAL
from gpuxp.kernel import Kernel

# modules whose names the namespace gives to its functions
ufunc: Any = importlib.import_module("gpuxp.ufunc")
small: Any = importlib.import_module("gpuxp.small")

Patch = tuple[Any, str, Any]

_meets = fusing._Group.meets
_live_nodes = schedule.live_nodes
_make_plan = schedule.make_plan
_lower = schedule.lower
_key = tracing.Trace.key
_survey = replay.survey
_emit = schedule._Lowering.emit
_untangled = ufunc._untangled
_relation = geometry.relation
_memory_order = geometry.memory_order
_collapse = geometry.collapse
_box = tiles.Grid.box
_add = fusing._Group.add


class _Facade:
    """A trace of which a node's reads or writes are hidden."""

    def __init__(self, trace: Any, **hidden: Any) -> None:
        self._trace = trace
        self.__dict__.update(hidden)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trace, name)


class _Nothing:
    def __getitem__(self, number: int) -> tuple[int, ...]:
        return ()


def _only(group: Any, number: int, hazard: str) -> tuple[bool, bool]:
    """Return what one kind of hazard says about a node and a group."""
    part = object.__new__(fusing._Group)
    part.__dict__.update(group.__dict__)
    if hazard == "RAW":
        part._trace = _Facade(group._trace, writes=_Nothing())
    else:
        part._trace = _Facade(group._trace, reads=_Nothing())
        hide = ("writes", "results") if hazard == "WAR" else ("reads",)
        part.__dict__.update({name: {} for name in hide})
    return _meets(part, number)


def without_hazard(missing: str) -> Callable[[Any, int], tuple[bool, bool]]:
    """Return a `meets` that overlooks one kind of hazard."""

    def meets(self: Any, number: int) -> tuple[bool, bool]:
        found = [_only(self, number, hazard) for hazard in ("RAW", "WAR", "WAW") if hazard != missing]
        return any(d for d, _ in found), any(c for _, c in found)

    return meets


def _no_clash(self: Any, number: int) -> tuple[bool, bool]:
    return _meets(self, number)[0], False


def _no_dependence(self: Any, number: int) -> tuple[bool, bool]:
    return False, _meets(self, number)[1]


def _blind_to_results(self: Any, number: int) -> tuple[bool, bool]:
    held, self.results = self.results, {}
    try:
        return _meets(self, number)
    finally:
        self.results = held


def _blind_to_partial_reads(trace: Any) -> list[int]:
    """Drop a write that is overwritten later, even if it is read in between."""
    live, overwritten = [], set()
    for number in reversed(_live_nodes(trace)):
        buffers = {trace.buffer_of[v] for v in trace.writes[number]}
        if not buffers <= overwritten:
            live.append(number)
        overwritten |= {trace.buffer_of[v] for v in trace.writes[number] if trace.views[v].covers()}
    return live[::-1]


def _forgetful(trace: Any) -> list[int]:
    """Forget that reading a buffer makes its earlier writes necessary."""
    wanted = [b.wanted for b in trace.buffers]
    return [n for n in range(len(trace.nodes)) if any(wanted[trace.buffer_of[v]] for v in trace.writes[n])]


def _lose_store(trace: Any, nodes: Any, needed: Any) -> Any:
    """Forget the first of several outputs."""
    step = _lower(trace, nodes, needed)
    kernel = step.kernel
    if kernel is None or len(kernel.stores) < 2:
        return step
    shorter = Kernel(kernel.params, kernel.scalars, kernel.body, kernel.stores[1:], kernel.reductions, 1, kernel.kept)
    return schedule.Step(step.nodes, shorter, step.params, step.scalars, step.dead)


def _swap_scalars(trace: Any, nodes: Any, needed: Any) -> Any:
    """Hand the constants of a kernel over in the wrong order, where their dtypes allow it."""
    step = _lower(trace, nodes, needed)
    if step.kernel is None or len(set(step.kernel.scalars)) > 1:
        return step
    return schedule.Step(step.nodes, step.kernel, step.params, step.scalars[::-1], step.dead)


def _dead_too_early(trace: Any, fusion: bool, max_params: int, everything: bool = False) -> Any:
    """Free every buffer that no array holds after its first use."""
    plan = _make_plan(trace, fusion, max_params, everything)
    steps = []
    for step in plan.steps:
        touched = {trace.buffer_of[v] for n in step.nodes for v in (*trace.reads[n], *trace.writes[n])}
        dead = tuple(b for b in touched if not trace.buffers[b].wanted)
        steps.append(schedule.Step(step.nodes, step.kernel, step.params, step.scalars, dead))
    return schedule.Plan(tuple(steps))


def _key_without(place: int) -> Callable[[Any], Any]:
    def key(self: Any) -> Any:
        parts = _key(self)
        return (*parts[:place], *parts[place + 1 :])

    return key


def _key_without_places(self: Any) -> Any:
    """Leave out which operands of a command are no views, the eighth of the nine parts it has in the key."""
    commands, *rest = _key(self)
    return (tuple(part for place, part in enumerate(commands) if place % 9 != 7), *rest)


def _stale_read(self: Any, view: int) -> int:
    """Load from memory what an earlier node of the kernel has just computed."""
    held = dict(self.current)
    self.current.pop(view, None)
    value = _read(self, view)
    self.current.update({v: n for v, n in held.items() if v != view})
    return value


_read = schedule._Lowering._read


def _careless_emit(self: Any, op: str, args: Any, dtype: Any, attr: int = 0) -> int:
    """Take two instructions for the same that differ in dtype."""
    if op in ("load", "scalar", "index", "literal"):
        return _emit(self, op, args, dtype, attr)
    same = next((n for (o, a, d, _), n in self._known.items() if (o, a) == (op, args) and d != dtype), None)
    return _emit(self, op, args, dtype, attr) if same is None else same


def _lost_copies(target: Any, values: Any, copies: Any) -> Any:
    """Do not hold the copies of overlapping inputs until their command is recorded."""
    return tuple(_untangled(target, (value,), [])[0] for value in values)


def _same_start(a: Any, b: Any) -> int:
    """Take views that start at one place for the same."""
    return IDENTICAL if a[0] == b[0] and a[1] == b[1] else _relation(a, b)


def _interleaved(a: Any, b: Any) -> int:
    """Take views that start at different places for disjoint."""
    return DISJOINT if a[0] != b[0] else _relation(a, b)


def _reversed_order(ndim: int, operands: Any) -> tuple[int, ...]:
    return _memory_order(ndim, operands)[::-1]


def _merge_all(shape: Any, operands: Any, kept: int) -> Any:
    """Merge neighbouring dimensions of broadcast operands too."""
    small, strides, kept = _collapse(shape, operands, kept)
    if kept == len(small) == 2 and any(s[0] == 0 for s in strides):
        return (small[0] * small[1],), tuple(s[1:] for s in strides), 1
    return small, strides, kept


def _short_last_box(self: Any, number: int) -> Any:
    """Leave out the last element of the last tile."""
    box = _box(self, number)
    if number == self.count - 1 and number and box:
        axis = self._axis
        return (*box[:axis], slice(box[axis].start, box[axis].stop - 1), *box[axis + 1 :])
    return box


def _first_box(shape: Any, low: int, high: int) -> Any:
    """Leave out what a range of a loop has beyond its first box."""
    return geometry.rectangles(shape, low, high)[:1]


def _never(*_: Any) -> bool:
    return False


def _always(*_: Any) -> bool:
    return True


_no = property(_never)

MUTANTS: dict[str, list[Patch]] = {
    "no overlap between output and inputs": [(ufunc, "clashes", _never)],
    "views never overlap": [(tracing, "relate", lambda a, b: IDENTICAL if a is b else DISJOINT)],
    "views that start together are the same": [(tracing, "relate", lambda a, b: _by_key(a, b, _same_start))],
    "views that start apart are disjoint": [(tracing, "relate", lambda a, b: _by_key(a, b, _interleaved))],
    "read after write overlooked": [(fusing._Group, "meets", without_hazard("RAW"))],
    "write after read overlooked": [(fusing._Group, "meets", without_hazard("WAR"))],
    "write after write overlooked": [(fusing._Group, "meets", without_hazard("WAW"))],
    "clashing views share a loop": [(fusing._Group, "meets", _no_clash)],
    "nodes move past what they depend on": [(fusing._Group, "meets", _no_dependence)],
    "results of reductions are read in their kernel": [(fusing._Group, "meets", _blind_to_results)],
    "every write covers its buffer": [(storage.View, "covers", _always)],
    "reads do not keep writes alive": [(schedule, "live_nodes", _forgetful)],
    "overwritten values are dead": [(schedule, "live_nodes", _blind_to_partial_reads)],
    "nothing is wanted": [(storage.Buffer, "wanted", _no)],
    "arrays do not keep buffers, exports do": [(storage.Buffer, "wanted", storage.Buffer.exported)],
    "exports do not keep commands in step": [(storage.Buffer, "shared", _no)],
    "shared memory under two names": [(storage.Buffer, "overlaps", _never)],
    "a store is forgotten": [(schedule, "lower", _lose_store)],
    "constants change places": [(schedule, "lower", _swap_scalars)],
    "temporaries die too early": [(runtime, "make_plan", _dead_too_early)],
    "commands left on the tape are forgotten": [(runtime, "survey", lambda nodes, later=(): _survey(nodes))],
    "plans ignore hazards": [(tracing.Trace, "key", _key_without(4))],
    "plans ignore what is wanted": [(tracing.Trace, "key", _key_without(3))],
    "plans ignore commands' order of operands": [(tracing.Trace, "key", _key_without_places)],
    "values are loaded again": [(schedule._Lowering, "_read", _stale_read)],
    "instructions of two dtypes are one": [(schedule._Lowering, "emit", _careless_emit)],
    "copies of inputs are dropped by a flush": [(ufunc, "_untangled", _lost_copies)],
    "results lie in C order": [(module, "layout", lambda *a, **k: None) for module in (geometry, ufunc, small)],
    "axes in the wrong order": [(geometry, "memory_order", _reversed_order)],
    "broadcast dimensions are merged": [(schedule, "collapse", _merge_all)],
    "the last element is left out": [(tiles.Grid, "box", _short_last_box)],
    "every op may write over its operands": [(tiles, "_may_overwrite", _always)],
    "a reduction leaves out boxes": [(reduce, "rectangles", _first_box)],
    "operands of what is made again may have changed": [(recomputing._Recomputation, "_unchanged", _always)],
    "pending writes do not flush before an export": [(runtime.Runtime, "pending", _never)],
}


def _by_key(a: Any, b: Any, rule: Callable[[Any, Any], int]) -> int:
    if a is b:
        return IDENTICAL
    return rule(a.key, b.key) if a.buffer is b.buffer else DISJOINT


def forget_everything() -> None:
    """Empty the tapes and the caches that a mutant may have poisoned."""
    for found in open_runtimes():
        found.nodes.clear()
        found.epoch += 1
        found.pending_bytes = 0
        found.forget()
        programs = getattr(found.backend, "_programs", {})
        getattr(programs, "_found", programs).clear()
    geometry.collapse.cache_clear()
    geometry.memory_order.cache_clear()
    schedule._loop_of.cache_clear()
    software._scratch.__dict__.clear()


@contextlib.contextmanager
def applied(patches: list[Patch]) -> Iterator[None]:
    """Break the engine for the length of a block."""
    before = [(target, name, target.__dict__[name]) for target, name, _ in patches]
    forget_everything()
    for target, name, replacement in patches:
        setattr(target, name, replacement)
    try:
        yield
    finally:
        for target, name, original in before:
            setattr(target, name, original)
        forget_everything()
