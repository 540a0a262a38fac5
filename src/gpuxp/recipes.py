"""Commands on operands of geometries that were seen before: what follows from these need not be found out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .array import VALUE, WRITEABLE, make, ndarray
from .config import config
from .dtypes import BOOL, DType
from .geometry import Ghost, Key, Shape
from .storage import Buffer, View
from .tape import MAP, Node, constant

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_KEPT = 256  # recipes of one function
_GEOMETRIES = 4096


class _Recipe(NamedTuple):
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
        return None if runtime is None else self._record(runtime, ids, ins)

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
        return self._record(runtime, ids, [a._view if type(a) is ndarray else a for a in operands])

    def _record(self, runtime: Runtime, ids: Sequence[int], ins: list[Any]) -> ndarray | None:
        found = self._known.get(tuple(ids))
        if found is None:
            return None
        loop, shape, size, nbytes, ghost, key, state, _ = found
        if size <= config.small or runtime.at_once(size) or not runtime.fits(nbytes):
            return None
        for n, value in enumerate(ins):
            if type(value) is not View:
                ins[n] = constant(value, loop[n])
        target = View(Buffer(runtime, nbytes), ghost, False, key)
        result = make(target, state)  # holds the buffer while the tape may run
        runtime.record(Node(self._op, MAP, (target,), tuple(ins), loop, shape))
        return result

    def learn(self, operands: Sequence[Any], loop: tuple[DType, ...], target: View) -> None:
        """Keep a recipe: `target` is the new buffer that a command writes to, in the order of its operands."""
        if target.known is None:
            return
        keys = tuple([_key_of(a) if type(a) is ndarray else type(a) for a in operands])
        if int in keys and loop[0].kind in "iu" and loop[-1] == BOOL:  # a comparison: its value tells if it is in range
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        made = target.ghost
        self._known[tuple([id(k) for k in keys])] = _Recipe(
            loop, made.shape, made.size, made.nbytes, made, target.known, WRITEABLE if made.ndim else VALUE, keys
        )
