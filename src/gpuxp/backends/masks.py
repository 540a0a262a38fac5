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
    """The two functions for elements of one size; all arrays are packed, and as long as the mask."""

    def __init__(self, itemsize: int, threads: int) -> None:
        workers = crew()
        if workers is None or threads < 2:
            raise Unsupported("one thread shares nothing")
        self._workers, self._threads = workers, threads
        self._code = build(render_mask(itemsize), COUNT)

    def read(self, mask: Array, source: Array) -> Array:
        """Return ``source[mask]``."""
        context, counts = self._counted(mask)
        found: Array = np.empty(int(counts[-1]), source.dtype)
        context[1:3] = address(source), address(found)
        if found.size:
            self._run(COMPRESS, context, len(counts) - 1)
        return found

    def write(self, mask: Array, target: Array, values: Array) -> bool:
        """Do ``target[mask] = values``, of the same dtype; tell whether there are as many as needed."""
        context, counts = self._counted(mask)
        if values.shape != (int(counts[-1]),):
            return False
        context[1:3] = address(values), address(target)
        if values.size:
            self._run(EXPAND, context, len(counts) - 1)
        return True

    def _counted(self, mask: Array) -> tuple[Any, Array]:
        """Return the launch's words, and where each block's elements begin, then how many there are."""
        blocks = -(-mask.size // _BLOCK)
        counts = np.zeros(blocks + 1, np.int64)
        context = (ctypes.c_int64 * 6)(address(mask), 0, 0, address(counts), mask.size, _BLOCK)
        self._run(COUNT, context, blocks)
        counts[1:] = np.cumsum(counts[:-1])
        counts[0] = 0
        return context, counts

    def _run(self, entry: str, context: Any, blocks: int) -> None:
        self._workers.run(self._code.at(entry), ctypes.addressof(context), blocks, blocks, self._threads, True)
