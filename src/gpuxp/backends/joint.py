"""What passes of several compiled kernels share: see `gpuxp.codegen.llvmjoint`."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Collection, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..codegen.llvmjoint import FINISH, PAIR, PASS, WORDS, render_joint
from .base import Arg, Held
from .jit import Code, build

if TYPE_CHECKING:
    from .compiled import Prepared


@lru_cache(maxsize=1)
def code() -> Code:
    """Return the drivers; made by the compiling thread."""
    return build(render_joint(), PASS, PAIR, FINISH)


def fits(prepared: Prepared) -> bool:
    """Whether a driver has room for the launch's table."""
    return prepared.words <= WORDS


class Member:
    """A launch that runs as part of a pass, some rows at a time; `each` elements of a single dimension are a row."""

    def __init__(
        self, prepared: Prepared, args: Sequence[Arg], own: Collection[int], each: int = 1, stays: bool = True
    ) -> None:
        self._prepared = prepared = prepared.again(stays)  # with a table of its own: two members may be one kernel
        self._own = frozenset(own)  # parameters that are temporaries, in scratch memory
        self._offsets = [a.offset for a in args]
        dims = prepared.shape[: prepared.kernel.kept] if prepared.kernel.reductions else prepared.shape
        units = math.prod(dims[1:-1]) * -(-dims[-1] // prepared.step) if len(dims) > 1 else 0
        strides = [0 if p in self._own else a.strides[0] * each for p, a in enumerate(args)]
        own_words = [int(p in self._own) for p in range(len(args))]
        self._tables: list[Any] = [(ctypes.c_int64 * len(args))(*words) for words in (strides, own_words)]
        words = (prepared.code, prepared.table, prepared.words, prepared.extent, prepared.first, len(args),
                 *map(ctypes.addressof, self._tables), each, units, prepared.step)  # fmt: skip
        self._description = (ctypes.c_int64 * len(words))(*words)
        self.address = ctypes.addressof(self._description)

    def fill(self, held: Sequence[Held], scalars: Sequence[Any]) -> None:
        """Write addresses and scalars; a temporary's offset is that into scratch memory."""
        places = zip(held, self._offsets, strict=True)
        self._prepared.fill([o if p in self._own else h.base + o for p, (h, o) in enumerate(places)], scalars)
