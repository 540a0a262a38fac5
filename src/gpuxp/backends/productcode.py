"""The machine code of `gpuxp.backends.product`, and the proof that it gives BLAS's bits."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import lru_cache
from threading import local
from typing import Any

import numpy as np

from ..blas import blas_threads
from ..codegen.llvmproduct import CHUNK, CONTEXT, PRODUCT, Tile, render_product
from ..config import num_threads
from ..dtypes import DType
from ..errors import Unsupported
from ..geometry import address
from .crew import TASKS, Job, crew
from .jit import Code, build, features
from .product import Form

Array = np.ndarray[Any, Any]
_PER_PART = 512  # rows (or columns) for which a panel is worth being packed once more
_DEPTHS = (384, 256, 320, 352, 448, 512, 640, 768, 192, 240, 128)  # longest blocks of terms, as libraries have them
_PAGE = 4096
_ROOM = 1 << 24  # bytes of packed panels: no library cuts a sum into blocks that take more


def prove(form: Form, offsets: Array, threads: int) -> Launch:
    """Return code for products of a form whose matrices are at some offsets, or raise `Unsupported`.

    `threads` is how many BLAS uses: it shall not be asked with others, as a program may have it by now.
    What it gives was compared with BLAS: on one product of random matrices in the same order. All terms of its first
    element are negative and underflow, which shows whether BLAS keeps negative zeros.
    """
    tile = tile_of(form.dtype)
    code = compiled(form.dtype, tile)
    tiny = np.finfo(form.dtype).tiny ** 0.75
    a = _random((form.rows, form.terms), form.first, form.dtype)
    b = _random((form.terms, form.columns), form.second, form.dtype)
    a[0], b[:, 0] = -np.abs(a[0] * tiny), np.abs(b[:, 0] * tiny)
    before = blas_threads()
    wanted = np.matmul(a, b)
    if not before == blas_threads() == threads:
        raise Unsupported("BLAS has another number of threads by now")
    found = np.empty_like(wanted)
    trial = form._replace(first=a.strides, second=b.strides, row=found.strides[0])
    for blocks in _plans(form.terms):
        launch = Launch(code, tile, trial, np.zeros((1, 3), np.int64), blocks, 0.0, 1)
        if launch.room > _ROOM:
            continue
        launch(address(a), address(b), address(found))
        if np.array_equal(found, wanted):
            negative = bool(np.signbit(wanted[0, 0]))
            found[0, 0] = wanted[0, 0]
            if found.tobytes() == wanted.tobytes():
                return Launch(code, tile, form, offsets, blocks, -0.0 if negative else 0.0, num_threads())
    raise Unsupported("BLAS adds these products' terms in another order")


def _random(shape: tuple[int, int], steps: tuple[int, ...], dtype: DType) -> Array:
    """Return random numbers in the order of a matrix."""
    turned = steps[1] != dtype.itemsize
    found = np.random.default_rng(20).random(shape[::-1] if turned else shape, dtype.type)
    found -= dtype.type(0.5)
    return found.T if turned else found


def _plans(terms: int) -> Iterator[Array]:
    """Yield the ways in which BLAS may cut a sum into blocks: not at all, or of a depth as long as two are left."""
    seen = set()
    for depth in (terms, *_DEPTHS):
        blocks, left = [], terms
        while left:
            blocks.append(depth if left >= 2 * depth else -(-left // 2) if left > depth else left)
            left -= blocks[-1]
        if tuple(blocks) not in seen:
            seen.add(tuple(blocks))
            yield np.array(blocks, np.int64)


def tile_of(dtype: DType) -> Tile:
    """Return the tile of this processor's registers, or raise `Unsupported`."""
    found = features()
    if found.get("avx512f"):
        return Tile(64 // dtype.itemsize, 8)
    if found.get("avx2") and found.get("fma"):
        return Tile(32 // dtype.itemsize, 4)
    if found.get("neon"):
        return Tile(16 // dtype.itemsize, 8)
    raise Unsupported("this processor has no fused multiplication of vectors")


@lru_cache(maxsize=8)
def compiled(dtype: DType, tile: Tile) -> Code:
    """Return the machine code of all products of a dtype."""
    crew()  # made here, so that no launch waits for it
    return build(render_product(dtype, tile), PRODUCT)


class Launch:
    """Machine code for products of one geometry; one thread at a time may run it."""

    def __init__(
        self, code: Code, tile: Tile, form: Form, offsets: Array, blocks: Array, nought: float, threads: int
    ) -> None:
        rows, columns, items = form.rows, form.columns, len(offsets)
        down, across = _split(rows, columns, items, threads, tile)
        parts = items * down * across
        self._bands = min(parts, TASKS * threads)
        deepest = int(blocks.max()) * form.dtype.itemsize
        widest = min(-(-columns // tile.lanes // across) + 1, tile.chunk // tile.lanes) * tile.lanes
        packed = deepest * widest  # bytes of the panels of b
        self._share = -(-(packed + CHUNK * deepest) // _PAGE) * _PAGE
        self.room = self._bands * self._share
        self._keep = code, offsets, blocks
        words = (0, 0, 0, address(offsets), *form.first, *form.second, form.row, rows, columns, address(blocks),
                 len(blocks), down, across, parts, self._bands, 0, self._share, packed,
                 int.from_bytes(form.dtype.type(nought).tobytes(), "little", signed=True))  # fmt: skip
        self._words = (ctypes.c_int64 * len(CONTEXT))(*words)
        self._place = CONTEXT.index("scratch")
        self._job = Job(code.address, items * rows * columns, items * rows * columns * form.terms)

    def __call__(self, a: int, b: int, c: int) -> None:
        """Multiply the matrices at some addresses."""
        words = self._words
        words[0], words[1], words[2] = a, b, c
        words[self._place] = _scratch.of(self.room)
        self._job.run(ctypes.addressof(words), self._bands)


def _split(rows: int, columns: int, items: int, threads: int, tile: Tile) -> tuple[int, int]:
    """Return into how many parts rows and columns are cut: the longer ones, and no more than threads have use for."""
    extent, least = (rows, tile.rows) if rows >= columns else (columns, tile.lanes)
    parts = max(min(extent // _PER_PART, TASKS * threads // items), 1)
    while items * parts % threads and items * parts < TASKS * threads:  # as much for each
        parts += 1
    parts = max(min(parts, extent // least), 1)
    return (parts, 1) if rows >= columns else (1, parts)


class _Scratch(local):
    """Memory for packed panels, kept from product to product."""

    memory: Array = np.empty(0, np.uint8)
    start = 0

    def of(self, nbytes: int) -> int:
        """Return the address of so much memory, at the beginning of a page."""
        if self.memory.size < nbytes + _PAGE:
            memory = np.empty(nbytes + _PAGE, np.uint8)
            start = -(-address(memory) // _PAGE) * _PAGE
            self.memory, self.start = memory, start  # both, whenever Ctrl-C is pressed
        return self.start


_scratch = _Scratch()
