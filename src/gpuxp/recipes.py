"""Commands on operands of geometries that were seen before: what follows from these need not be found out again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .array import VALUE, WRITEABLE, make, ndarray
from .config import config
from .dtypes import DType
from .geometry import Ghost, Key, Shape
from .storage import Buffer, View
from .tape import MAP, Node, constant

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

_KEPT = 256  # recipes of one function


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


class Recipes:
    """The recipes of one function, by its operands: whole new buffers (their keys are shared) and Python scalars."""

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
                if view is None:
                    return None
                if runtime is None:
                    runtime = a._runtime
                elif a._runtime is not runtime:
                    return None
                ids.append(id(view.known))
                ins.append(view)
            else:
                ids.append(id(type(a)))
                ins.append(a)
        found = self._known.get(tuple(ids))
        if found is None or runtime is None:
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
        keys = tuple([a._view.known if type(a) is ndarray else type(a) for a in operands])
        if None in keys or target.known is None:
            return
        if len(self._known) >= _KEPT:
            self._known.clear()
        made = target.ghost
        self._known[tuple([id(k) for k in keys])] = _Recipe(
            loop, made.shape, made.size, made.nbytes, made, target.known, WRITEABLE if made.ndim else VALUE, keys
        )
