"""Hot kernels of the software GPU as machine code, ready to launch."""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from ..codegen.layout import Layout
from ..codegen.llvm import render
from ..codegen.llvmbody import PIECE, scalar_words
from ..codegen.llvmreduce import neighbours
from ..config import config, num_threads
from ..dtypes import DType
from ..errors import Unsupported
from ..folding import fold
from ..geometry import address
from ..kernel import BLOCK, Kernel
from ..threads import quiet, quiet_call
from .base import Held
from .crew import TASKS, Job, crew
from .direct import make_total
from .jit import build
from .joint import code as drivers
from .loops import find_loop
from .passes import is_result

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_UNIT = 4096  # least elements of a unit, if there are more
_CALL = 8  # instructions that a call of one of NumPy's loops counts for
_STREAM = 64 << 20  # bytes of a launch from which its results are written past the caches: they would not stay there


class Compiled:
    """A kernel's machine code for one layout."""

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        self.kernel, self.layout = kernel, layout
        source = render(kernel, layout)
        self.streams, self.calls = source.streams, len(source.calls)
        self.head: list[int] = []
        for call in source.calls:
            found = find_loop(call.op, call.dtypes)
            if found is None:
                raise Unsupported(f"NumPy has no loop for {call.op} that can be called")
            self.head.extend(found)
        self._code = build(source.text)
        self.address = self._code.address
        if crew() is not None:  # made where kernels are compiled, so that no launch waits for it
            drivers()
        self.folds = [_fold_of(r.op, kernel.body[r.value].dtype) for r in kernel.reductions]

    def over(self, shape: Shape, strides: Sequence[Shape]) -> Prepared:
        """Return a launch over loops of one geometry."""
        return (_Reduction if self.kernel.reductions else Prepared)(self, shape, strides)


class Prepared:
    """A launch with everything in place but addresses and scalars; one thread at a time may run it."""

    def __init__(self, compiled: Compiled, shape: Shape, strides: Sequence[Shape]) -> None:
        kernel = compiled.kernel
        self.kernel, self.shape, self._compiled, self._strides = kernel, shape, compiled, strides
        self.elements = math.prod(shape)
        self.work = self.elements * (len(kernel.body) + _CALL * compiled.calls)
        self._job = Job(compiled.address, self.elements, self.work)
        self.step, self.units = self._units()
        results = {r.param for r in kernel.reductions}
        self.code = compiled.address
        self.streams = compiled.streams and self._traffic(strides) >= _STREAM
        self.extent = len(compiled.head) + 1 + compiled.layout.streams  # where the shape begins in the table
        self.first = self.extent + len(shape)  # where the addresses begin ...
        self._last = self.first + len(strides)  # ... and end
        words = [*compiled.head, self.step, *[self.streams] * compiled.layout.streams, *shape, *(0 for _ in strides)]
        words += [word for param, s in enumerate(strides) if param not in results for word in s]
        self._places = []  # of each scalar, and its dtype
        for dtype in kernel.scalars:
            self._places.append((len(words), dtype))
            words += [0] * scalar_words(dtype)
        self._packed = [b""] * len(kernel.scalars)  # their bytes, as the table holds them
        self.words = len(words)
        self._table = (ctypes.c_int64 * len(words))(*words)
        self.table = ctypes.addressof(self._table)

    def _traffic(self, strides: Sequence[Shape]) -> int:
        """Return the bytes that a launch reads and writes, about."""
        moved = [math.prod(n for n, step in zip(self.shape, s, strict=False) if step) for s in strides]
        return sum(n * dtype.itemsize for n, dtype in zip(moved, self.kernel.params, strict=True))

    def again(self, stays: bool = True) -> Prepared:
        """Return the same launch with a table of its own; what it writes may stay in the cache, for others to read."""
        found = self._compiled.over(self.shape, self._strides)
        if found.streams and stays:
            found._table[found.extent - 1] = 0
        return found

    def _units(self) -> tuple[int, int]:
        """Return how many elements (of a reduction: kept neighbours) a unit has side by side, and how many units."""
        extent = self.shape[-1]
        rows = self.elements // extent
        if self._compiled.layout.few:  # whose code does whole rows
            return extent, rows
        shared = min(-(-TASKS * num_threads() // rows), extent // _UNIT)
        step = -(-extent // max(shared, 1))
        step = min(-(-step // PIECE) * PIECE, extent, config.tile)
        return step, rows * -(-extent // step)

    def __call__(self, held: Sequence[Held], offsets: Sequence[int], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        self._run([(h.address or h.base) + offset for h, offset in zip(held, offsets, strict=True)], scalars)

    def fill(self, addresses: list[int], scalars: Sequence[Any]) -> None:
        """Write addresses and scalars into the table."""
        table = self._table
        table[self.first : self._last] = cast("list[ctypes.c_int64 | int]", addresses)
        for n, (place, dtype) in enumerate(self._places):
            packed = np.asarray(scalars[n], dtype).tobytes()
            if packed != self._packed[n]:  # mostly a constant of the program
                self._packed[n] = packed
                for word, value in enumerate(_words(packed), place):
                    table[word] = value

    def _run(self, addresses: list[int], scalars: Sequence[Any]) -> None:
        """Hand out the units to the threads."""
        self.fill(addresses, scalars)
        self._job.run(self.table, self.units)


class _Reduction(Prepared):
    """Blocks are reduced by the kernel, then the blocks' results as every tier does it."""

    def _units(self) -> tuple[int, int]:
        kept = self.shape[: self.kernel.kept]
        blocks = -(-math.prod(self.shape[self.kernel.kept :]) // BLOCK)
        self._kept, self._partial = kept, (*kept, blocks)
        self._finished = [is_result(self.kernel, self.shape, self._strides, r) for r in self.kernel.reductions]
        layout, across = self._compiled.layout, math.prod(kept[-1:])
        step = neighbours(layout.few > 0, across) if layout.columns else 1
        return step, math.prod(kept[:-1]) * -(-across // step) * blocks

    def __call__(self, held: Sequence[Held], offsets: Sequence[int], scalars: Sequence[Any]) -> None:
        """Run the kernel, then combine what the blocks gave."""
        kernel = self.kernel
        places = [h.base + offset for h, offset in zip(held, offsets, strict=True)]
        partial = [
            None if done else np.empty(self._partial, kernel.body[r.value].dtype)
            for r, done in zip(kernel.reductions, self._finished, strict=True)
        ]
        for r, blocks in zip(kernel.reductions, partial, strict=True):
            if blocks is not None:
                places[r.param] = address(blocks)
        self._run(places, scalars)
        for r, blocks, total in zip(kernel.reductions, partial, self._compiled.folds, strict=True):
            if blocks is None:
                continue
            mem, dtype = held[r.param].mem, kernel.params[r.param]
            target: Array = np.ndarray(self._kept, dtype, mem, offsets[r.param], self._strides[r.param])
            if target.dtype == blocks.dtype:
                quiet_call(total, blocks, target)
            else:
                target[...] = quiet_call(total, blocks)


def _fold_of(op: str, dtype: DType) -> Callable[..., Array]:
    """Return what combines the last axis, the blocks' results, into ``out``, or into a new array."""
    if dtype.kind != "c":
        total: Callable[..., Array] = make_total(op, dtype, 1)
        return total

    def folded(blocks: Array, out: Array | None = None) -> Array:
        kept = blocks.shape[:-1]
        result = quiet(fold, op, blocks.reshape(-1, blocks.shape[-1], 1)).reshape(kept)
        if out is not None:
            out[...] = result
        return result

    return folded


def _words(packed: bytes) -> tuple[int, ...]:
    """Return a scalar's bytes as words of the launch table."""
    count = -(-len(packed) // 8)
    return struct.unpack(f"={count}q", packed.ljust(8 * count, b"\0"))
