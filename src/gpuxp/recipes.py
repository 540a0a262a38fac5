"""Commands on operands of geometries that were seen before: what follows from these need not be found out again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .array import VALUE, WRITEABLE, make, ndarray
from .config import config
from .dtypes import BOOL, DType
from .geometry import Ghost, Key, Shape
from .storage import Buffer, View
from .tape import MAP, Node, Scalar, constant

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_KEPT = 256  # recipes of one function
_GEOMETRIES = 4096


@dataclass(frozen=True, slots=True, eq=False)
class _Recipe:
    """What follows from the operands' dtypes and geometries."""

    loop: tuple[DType, ...]
    shape: Shape
    size: int
    nbytes: int
    ghost: Ghost
    key: Key
    state: int
    keys: tuple[Any, ...]  # of the operands: while they are held, their `id` is nobody else's


_seen: dict[Any, Any] = {}  # geometries: of equal ones there is one


def _key_of(array: ndarray) -> Any:
    """Return the one object that stands for an array's geometry: of a whole new buffer the key that all such share."""
    view = array._made
    if view is not None and view.known is not None:
        return view.known
    ghost = array._ghost
    if len(_seen) >= _GEOMETRIES:
        _seen.clear()
    geometry = ghost.shape, ghost.strides, ghost.dtype
    return _seen.setdefault(geometry, geometry)


class Recipes:
    """The recipes of one function, by its operands: arrays of some geometry, and Python scalars."""

    def __init__(self, op: str) -> None:
        self._op = op
        self._known: dict[tuple[int, ...], _Recipe] = {}

    def record(self, operands: Sequence[Any]) -> ndarray | None:
        """Record the command if there is a recipe for it, and its arrays are not computed at once."""
        runtime: Runtime | None = None
        ids: list[int] = []
        ins: list[Any] = []
        for a in operands:
            if type(a) is ndarray:
                view = a._made
                if view is None or view.known is None:
                    return self._record_others(operands)
                if runtime is None:
                    runtime = a._runtime
                elif a._runtime is not runtime:
                    return None
                ids.append(id(view.known))
                ins.append(view)
            else:
                ids.append(id(type(a)))
                ins.append(a)
        return None if runtime is None else self._record(runtime, ids, ins, True)

    def _record_others(self, operands: Sequence[Any]) -> ndarray | None:
        """Do the same if some are views, or have no buffer yet: the keys of these are not at hand."""
        for a in operands:
            if type(a) is ndarray and a._made is not None and a._made.ghost.size > config.small:
                runtime = a._runtime
                break
        else:
            return None  # that is a matter of moments for NumPy
        ids: list[int] = []
        for a in operands:
            if type(a) is not ndarray:
                ids.append(id(type(a)))
            elif a._runtime is not runtime or (a._made is None and type(a._own) is not np.ndarray):
                return None
            else:
                ids.append(id(_key_of(a)))
        return self._record(runtime, ids, [a._view if type(a) is ndarray else a for a in operands], False)

    def _record(self, runtime: Runtime, ids: Sequence[int], ins: list[Any], whole: bool) -> ndarray | None:
        found = self._known.get(tuple(ids))
        if found is None or runtime.at_once(found.size) or not runtime.fits(found.nbytes):
            return None
        for n, value in enumerate(ins):
            if type(value) is not View:
                ins[n] = constant(value, found.loop[n])
        target = View(Buffer(runtime, found.nbytes), found.ghost, False, found.key)
        result = make(target, found.state)  # holds the buffer while the tape may run
        sign = found if whole else None
        runtime.record(Node(self._op, MAP, (target,), tuple(ins), found.loop, found.shape, sign=sign), 4)
        return result

    def learn(self, operands: Sequence[Any], loop: tuple[DType, ...], target: View) -> _Recipe | None:
        """Keep a recipe: `target` is the new buffer that a command writes to, in the order of its operands.

        It stands for the command, as its sign, if its operands are whole buffers, too.
        """
        if target.known is None:
            return None
        keys = tuple([_key_of(a) if type(a) is ndarray else type(a) for a in operands])
        if int in keys and loop[0].kind in "iu" and loop[-1] == BOOL:  # a comparison: its value tells if it is in range
            return None
        ids = tuple([id(k) for k in keys])
        found = self._known.get(ids)
        if found is None:  # else it was learned from arrays whose keys are not at hand before they are recorded
            if len(self._known) >= _KEPT:
                self._known.clear()
            made, state = target.ghost, WRITEABLE if target.ghost.ndim else VALUE
            found = _Recipe(loop, made.shape, made.size, made.nbytes, made, target.known, state, keys)
            self._known[ids] = found
        whole = all(type(a) is not ndarray or (a._made is not None and a._made.known is not None) for a in operands)
        return found if whole else None


class _New(NamedTuple):
    """A view that a series makes: of a new buffer, or of the buffer of a view before it."""

    of: int  # the number of that view; -1: a new buffer
    nbytes: int
    ghost: Ghost
    key: Key


class _Step(NamedTuple):
    """A command of a series."""

    op: str
    kind: str
    out: int  # views by their numbers: the array is 0, those that are made follow
    ins: tuple[int | View | Scalar, ...]
    loop: tuple[DType, ...]
    shape: Shape
    attr: Hashable
    fn: Callable[..., Any] | None
    sign: object


class _Series(NamedTuple):
    """The commands that a function of one array records."""

    views: list[_New]
    steps: list[_Step]
    result: int
    state: int
    held: tuple[Any, ...]  # what must not go while they are known: the geometry's key, and memory that they read

    def record(self, runtime: Runtime, array: View) -> ndarray:
        """Record them for an array of the same geometry; return the result."""
        views, lives = [array], []
        for of, nbytes, ghost, key in self.views:
            if of < 0:
                buffer = Buffer(runtime, nbytes)
                buffer.life = life = object()  # so that a flush on the way keeps the contents
                lives.append(life)
                views.append(View(buffer, ghost, False, key))
            else:
                views.append(view := View(views[of].buffer, ghost))
                view._key = key
        result = make(views[self.result], self.state)
        for op, kind, out, ins, *rest in self.steps:
            given = tuple([views[i] if type(i) is int else i for i in ins])
            runtime.record(Node(op, kind, (views[out],), given, *rest))  # type: ignore[arg-type]
        return result


_series: dict[tuple[Any, ...], _Series] = {}


def recorded(array: ndarray, function: Callable[[], ndarray], *call: Hashable) -> ndarray:
    """Return ``function()``, whose commands on an array follow from its geometry and from `call`.

    They are recorded at once if they were before. The array is large, or its contents are not there yet.
    """
    runtime, view = array._runtime, array._view
    known = _key_of(array)
    key = (runtime, id(known), *call)
    found = _series.get(key)
    if found is not None:
        return found.record(runtime, view)
    epoch, count = runtime.epoch, len(runtime.nodes)
    result = function()
    with runtime.lock:
        nodes = runtime.nodes[count:] if runtime.epoch == epoch else []
    if nodes and result._made is not None and result._base is None:
        series = _learned(nodes, view, result, known)
        if series is not None:
            if len(_series) >= _KEPT:
                _series.clear()
            _series[key] = series
    return result


def _learned(nodes: Sequence[Node], array: View, result: ndarray, known: Any) -> _Series | None:
    """Return commands as a series, if they are those of one function of an array and of nothing else."""
    numbers, first, read = {id(array): 0}, {array.buffer: 0}, set()
    views: list[_New] = []
    steps: list[_Step] = []
    held = [known]

    def number_of(view: View) -> int | None:
        found = numbers.get(id(view))
        if found is None and first.get(view.buffer, 0):  # another view of a new buffer
            views.append(_New(first[view.buffer], 0, view.ghost, view.key))
            found = numbers[id(view)] = len(views)
        return found

    for node in nodes:
        ins: list[int | View | Scalar] = []
        for value in node.ins:
            if type(value) is not View:
                ins.append(value)
                continue
            number = number_of(value)
            if number is not None:
                ins.append(number)
            elif value.buffer.fixed:  # not what was computed at once, of the array's contents
                held.append(value.buffer.life)
                ins.append(value)
            else:
                return None
            read.add(value.buffer)
        out = node.outs[0]
        if out.known is None or out.buffer in first:
            return None
        views.append(_New(-1, out.buffer.nbytes, out.ghost, out.known))
        numbers[id(out)] = first[out.buffer] = len(views)
        made = node.op, node.kind, len(views), tuple(ins), node.loop, node.shape, node.attr, node.fn, node.sign
        steps.append(_Step(*made))
    last = number_of(result._view)
    if last is None or not steps or None in held or not read.issuperset(first.keys() - {result._view.buffer}):
        return None  # others have recorded meanwhile, or there is nothing to it
    return _Series(views, steps, last, result._state, tuple(held))
