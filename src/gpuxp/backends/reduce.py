"""Reductions on the software GPU: the loop cut into blocks, the blocks handed to threads, their results combined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..config import config
from ..folding import fold, fold_blocks, halve, packed
from ..geometry import rectangles
from ..kernel import BLOCK, LANES, Reduction
from ..ops import ELEMENTWISE
from .tiles import Box, Program, Scratch

Array = np.ndarray[Any, Any]
_READ_ONLY_FACTOR = 4
Spread = Callable[[Callable[[int, Scratch], None], int, int], None]


def reduce_tiles(
    program: Program, shape: tuple[int, ...], arrays: list[Array], constants: list[Array], spread: Spread
) -> None:
    """Run a kernel with reductions: blocks by the pool, then the blocks' results together."""
    _Reduce(program, shape, arrays, constants).run(spread)


class _Reduce:
    """One launch of a kernel with reductions."""

    def __init__(self, program: Program, shape: tuple[int, ...], arrays: list[Array], constants: list[Array]) -> None:
        kernel = program.kernel
        self.program, self.constants, self.arrays = program, constants, arrays
        self.reductions: tuple[Reduction, ...] = kernel.reductions
        self.kept, self.reduced = shape[: kernel.kept], shape[kernel.kept :]
        self.n_kept, self.n_reduced = math.prod(self.kept), math.prod(self.reduced)
        self.results = {r.param for r in self.reductions}
        self.columns = self._by_columns()
        if self.columns:  # the loop runs over (reduced, kept): kept elements are neighbours in memory
            axes = (*range(len(self.kept), len(shape)), *range(len(self.kept)))
            self.arrays = [a if p in self.results else a.transpose(axes) for p, a in enumerate(arrays)]
        self.blocks = -(-self.n_reduced // BLOCK)
        # a body without steps reads its parameter in place: then tiles need not fit a cache, and larger ones cost less
        self.tile = config.tile if program.steps or len(program.loads) > 1 else config.tile * _READ_ONLY_FACTOR
        self.wide = self.columns and self.n_kept * min(self.n_reduced, BLOCK) > self.tile
        self.chunk, self.span = self._plan()
        self.partial = {
            r.param: np.empty((self.n_kept, self.blocks), kernel.body[r.value].dtype) for r in self.reductions
        }

    def _plan(self) -> tuple[int, int]:
        """Return how many kept elements and how many blocks one task takes."""
        if self.wide:
            return max(1, config.tile // min(self.n_reduced, LANES)), 1
        width = self.n_kept if self.columns else 1
        span = max(1, min(self.tile // (BLOCK * width), self.blocks))
        return (width if self.columns else max(1, self.tile // max(min(self.n_reduced, span * BLOCK), 1))), span

    def _by_columns(self) -> bool:
        """Whether kept elements are closer in memory than reduced ones."""
        if self.n_kept < 2 or not self.reduced:
            return False
        params = (*(p for _, p in self.program.loads), *(p for p, _ in self.program.kernel.stores))
        used = [self.arrays[p] for p in params]
        k, r = len(self.kept) - 1, len(self.kept) + len(self.reduced) - 1
        return sum(abs(a.strides[k]) for a in used) < sum(abs(a.strides[r]) for a in used)

    def run(self, spread: Spread) -> None:
        """Do all tasks, then combine the blocks."""
        chunks = -(-self.n_kept // self.chunk)
        spans = -(-self.blocks // self.span)

        def task(number: int, scratch: Scratch) -> None:
            chunk, span = divmod(number, spans)
            low = chunk * self.chunk
            self._blocks((low, min(low + self.chunk, self.n_kept)), span * self.span, scratch)

        if self.n_kept and self.n_reduced:
            spread(task, chunks * spans, self.n_kept * self.n_reduced)
        for r in self.reductions:
            partial = self.partial[r.param]
            if self.blocks:
                result = fold(r.op, partial[:, :, None])
            else:
                result = np.full(self.n_kept, ELEMENTWISE[r.op].neutral(partial.dtype))
            self.arrays[r.param][...] = result.reshape(self.kept)

    def _blocks(self, kept: tuple[int, int], first: int, scratch: Scratch) -> None:
        """Reduce some blocks of some kept elements into `partial`."""
        last = min(first + self.span, self.blocks)
        low, high = first * BLOCK, min(last * BLOCK, self.n_reduced)
        if self.wide:
            found = self._wide(kept, low, high, scratch)
        elif self.columns:
            found = [fold_blocks(r.op, v[None])[0].T for r, v in self._values((low, high), kept, scratch)]
        else:
            found = [fold_blocks(r.op, v[:, :, None])[:, :, 0] for r, v in self._values(kept, (low, high), scratch)]
        for r, blocks in zip(self.reductions, found, strict=True):
            self.partial[r.param][kept[0] : kept[1], first:last] = blocks

    def _wide(self, kept: tuple[int, int], low: int, high: int, scratch: Scratch) -> list[Array]:
        """Reduce one block whose rows are long: each row of the tile is a lane."""
        lanes: list[Array] = []
        for start in range(low, high, LANES):
            slabs = self._values((start, min(start + LANES, high)), kept, scratch)
            if start == low:
                lanes = [slab.copy() for _, slab in slabs]
                continue
            for (r, slab), acc in zip(slabs, lanes, strict=True):
                into = acc[: slab.shape[0]]
                ELEMENTWISE[r.op].impl(into, packed(slab), out=into)
        return [halve(r.op, acc)[:, None] for r, acc in zip(self.reductions, lanes, strict=True)]

    def _values(
        self, first: tuple[int, int], second: tuple[int, int], scratch: Scratch
    ) -> list[tuple[Reduction, Array]]:
        return list(zip(self.reductions, self._evaluate(first, second, scratch), strict=True))

    def _evaluate(self, first: tuple[int, int], second: tuple[int, int], scratch: Scratch) -> list[Array]:
        """Run the body on a block; return each reduction's values, ``(len(first), len(second))``."""
        outer, inner = (self.reduced, self.kept) if self.columns else (self.kept, self.reduced)
        size = (first[1] - first[0], second[1] - second[0])
        boxes = [(a, b) for a in rectangles(outer, *first) for b in rectangles(inner, *second)]
        if len(boxes) == 1 and math.prod(size) <= self.tile:
            values = self._run((*boxes[0][0], *boxes[0][1]), scratch)
            return [_as_block(value, boxes[0], size) for value in values]
        return self._gather(boxes, outer, inner, first, second, scratch)

    def _gather(
        self,
        boxes: list[tuple[Box, Box]],
        outer: tuple[int, ...],
        inner: tuple[int, ...],
        first: tuple[int, int],
        second: tuple[int, int],
        scratch: Scratch,
    ) -> list[Array]:
        """Run the body box by box, and tile by tile, into packed blocks."""
        kernel = self.program.kernel
        size = (first[1] - first[0], second[1] - second[0])
        blocks = [np.empty(size, kernel.body[r.value].dtype) for r in self.reductions]
        for a, b in boxes:
            rows = _span(outer, a, first[0])
            columns = _span(inner, b, second[0])
            extent = tuple(s.stop - s.start for s in (*a, *b))
            targets = [block[rows, columns].reshape(extent) for block in blocks]
            for low in range(0, math.prod(extent), self.tile):
                for part in rectangles(extent, low, min(low + self.tile, math.prod(extent))):
                    values = self._run(_shift((*a, *b), part), scratch)
                    for value, target in zip(values, targets, strict=True):
                        target[part] = value
        return blocks

    def _run(self, box: Box, scratch: Scratch) -> tuple[Array, ...]:
        params = [a if p in self.results else a[box] for p, a in enumerate(self.arrays)]
        return self.program.run(params, self.constants, scratch, box)


def _shift(box: Box, part: Box) -> Box:
    return tuple(slice(b.start + p.start, b.start + p.stop) for b, p in zip(box, part, strict=True))


def _span(shape: tuple[int, ...], box: Box, start: int) -> slice:
    """Return where a box of a linear range lies in it."""
    low = 0
    size = 1
    for extent, s in zip(shape, box, strict=True):
        low = low * extent + s.start
        size *= s.stop - s.start
    return slice(low - start, low - start + size)


def _as_block(value: Array, box: tuple[Box, Box], size: tuple[int, int]) -> Array:
    extent = tuple(s.stop - s.start for s in (*box[0], *box[1]))
    if value.shape != extent:
        value = np.broadcast_to(value, extent)
    return value.reshape(size)
