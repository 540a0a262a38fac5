"""Reading and writing what a boolean mask selects, on several threads."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from ..codegen.llvmmask import COMPRESS, COUNT, EXPAND, render_mask
from ..errors import Unsupported
from ..geometry import address
from .crew import crew
from .jit import build

Array = np.ndarray[Any, Any]
_BLOCK = 1 << 15  # elements


class Masked:
    """The functions for elements of one size; all arrays are packed, and as long as the mask."""

    def __init__(self, itemsize: int, threads: int) -> None:
        workers = crew()
        if workers is None or threads < 2:
            raise Unsupported("one thread shares nothing")
        self._workers, self._threads = workers, threads
        self._code = build(render_mask(itemsize), COUNT, COMPRESS, EXPAND)

    def select(self, mask: Array) -> Selected:
        """Count what a mask selects."""
        return Selected(self, mask)

    def run(self, entry: str, context: Any, blocks: int) -> None:
        """Run a function over all blocks."""
        self._workers.run(self._code.at(entry), ctypes.addressof(context), blocks, blocks, self._threads, True)


class Selected:
    """What a mask selects: `size` elements."""

    def __init__(self, masked: Masked, mask: Array) -> None:
        self._masked, self._mask = masked, mask
        blocks = -(-mask.size // _BLOCK)
        self._starts = np.zeros(blocks + 1, np.int64)  # where each block's elements begin, then how many there are
        self._context = (ctypes.c_int64 * 6)(address(mask), 0, 0, address(self._starts), mask.size, _BLOCK)
        masked.run(COUNT, self._context, blocks)
        counts = self._starts[:-1].cumsum()
        self._starts[0], self._starts[1:] = 0, counts
        self.size = int(counts[-1]) if blocks else 0

    def read(self, source: Array, found: Array) -> None:
        """Do ``found[...] = source[mask]``; `found` has the size for it."""
        self._move(COMPRESS, source, found)

    def write(self, target: Array, values: Array) -> None:
        """Do ``target[mask] = values``, as many as there are, of the same dtype."""
        self._move(EXPAND, values, target)

    def _move(self, entry: str, source: Array, target: Array) -> None:
        if self.size:
            self._context[1], self._context[2] = address(source), address(target)
            self._masked.run(entry, self._context, self._starts.size - 1)
