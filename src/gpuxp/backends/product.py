"""Products of matrices by machine code of ours, where it gives BLAS's bits and takes less time.

BLAS is made for large matrices. On narrow ones, and on many small ones, code that packs less and shares its threads
with the kernels around it is up to twice as fast. Nobody shall see which of both did it: a shape's code is used only
after its result was BLAS's, to the bit, for random matrices of that shape and order. What decides about the bits is the
order in which terms are added, which depends on shapes and on how many threads BLAS has, and not on values. Where BLAS
adds in an order that is not ours, or this processor has no fused multiplication, BLAS does it.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from ..blas import blas_threads
from ..config import config
from ..dtypes import DType
from ..geometry import c_strides, start_of
from ..gram import LEAST
from ..threads import compiling
from .choice import Choice
from .tier import HOT, attempt, compile_later

Array = np.ndarray[Any, Any]
Blas = Callable[[Array | None], Array]
_MOST = 1 << 28  # terms of one: BLAS does larger ones as fast
_LARGEST = 1 << 23  # elements of a matrix that a shape is tried with
_KEPT = 64  # geometries
_TURNS = 32  # of BLAS, from which a proof is worth its time: it takes about as long as ten


class Form(NamedTuple):
    """What matrices are multiplied: their extents, and strides in bytes."""

    dtype: DType
    rows: int
    terms: int
    columns: int
    first: tuple[int, ...]  # strides of the first matrix
    second: tuple[int, ...]
    row: int  # from a row of the result to the next


class Products:
    """The products that a device may do by machine code."""

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._known: OrderedDict[Any, _Shape | None] = OrderedDict()

    def run(self, a: Array, b: Array, out: Array | None, blas: Blas) -> Array:
        """Return the product, written into `out` if that is given: by machine code, or by what `blas` calls."""
        if a.ndim < 2 or b.ndim < 2 or max(a.size * b.shape[-1], b.size * a.shape[-2]) < LEAST:
            return blas(out)
        threads = blas_threads()
        target = out is None or out.strides
        key = a.shape, a.strides, b.shape, b.strides, a.dtype, b.dtype, target, threads, config.num_threads
        try:
            known = self._known[key]
            self._known.move_to_end(key)
        except KeyError:
            known = self._known[key] = _shape_of(a, b, out, threads)
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        if known is None or known.refused or config.tier == "interpreter" or not known.lock.acquire(blocking=False):
            return blas(out)
        try:
            if config.tier == "compiled" and not known.tried:
                self._prove(known)
            return self._run(known, a, b, out, blas)
        finally:
            known.lock.release()

    def _run(self, known: _Shape, a: Array, b: Array, out: Array | None, blas: Blas) -> Array:
        ours = known.launch is not None and (config.tier == "compiled" or known.choice.choose())
        # BLAS multiplies a matrix by itself another way, and NumPy copies what is not aligned, in an order of its own
        ours = ours and a.flags.aligned and b.flags.aligned and not np.may_share_memory(a, b)
        started = perf_counter()
        if ours:
            out = np.empty(known.result, a.dtype) if out is None else out
            known.launch(start_of(a), start_of(b), start_of(out))
            self._counters["compiled_products"] += 1
        else:
            out = blas(out)
        seconds = perf_counter() - started
        if known.launch is not None:
            known.choice.learn(ours, seconds)
        elif not known.tried:
            known.spent += seconds
            if known.spent >= max(HOT, _TURNS * seconds):
                known.tried = True
                compile_later(lambda: self._prove(known))
        return out

    def _prove(self, known: _Shape) -> None:
        """Compile a shape's code, and compare its results with those of BLAS."""
        known.tried = True
        with compiling:
            known.launch = attempt(known.prove, lambda: f"products that give {known.result}", self._counters)
            known.refused = known.launch is None


def _shape_of(a: Array, b: Array, out: Array | None, threads: int) -> _Shape | None:
    """Return what is known about products of this geometry, or None where they are none of ours."""
    if a.dtype != b.dtype or a.dtype.char not in "fd" or not a.dtype.isnative:
        return None
    (rows, terms), columns = a.shape[-2:], b.shape[-1]
    one = rows * columns * terms
    if min(rows, columns, terms) < 2 or b.shape[-2] != terms or not (_is_matrix(a) and _is_matrix(b)):
        return None
    if one > _MOST or max(rows * terms, terms * columns, rows * columns) > _LARGEST:
        return None
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    target = c_strides((*lead, rows, columns), a.itemsize) if out is None else out.strides
    if one * math.prod(lead) < LEAST or target[-1] != a.itemsize or target[-2] < columns * a.itemsize:
        return None
    form = Form(a.dtype, rows, terms, columns, a.strides[-2:], b.strides[-2:], target[-2])
    shared = [np.broadcast_to(x, (*lead, *x.shape[-2:])).strides for x in (a, b)]
    offsets = [_offsets(strides[:-2], lead) for strides in (*shared, target)]
    return _Shape(form, (*lead, rows, columns), np.stack(offsets, axis=-1), threads)


def _is_matrix(a: Array) -> bool:
    """Whether BLAS takes the array as it is: its rows lie side by side, or its columns do."""
    size = a.itemsize
    steps, (rows, columns) = a.strides[-2:], a.shape[-2:]
    if any(s % size for s in steps):
        return False
    return (steps[1] == size and steps[0] >= columns * size) or (steps[0] == size and steps[1] >= rows * size)


class _Shape:
    """Products of one geometry: what they took, and the code for them."""

    def __init__(self, form: Form, result: tuple[int, ...], offsets: Array, threads: int) -> None:
        self.form, self.result, self._offsets = form, result, offsets
        self._threads = threads  # of BLAS
        self.lock = threading.Lock()  # held by the thread that runs the code
        self.choice = Choice(True)
        self.launch: Any = None
        self.spent = 0.0  # seconds of BLAS
        self.tried = self.refused = False

    def prove(self) -> Any:
        """Return code that gives BLAS's bits, or raise `Unsupported`."""
        from .productcode import prove

        return prove(self.form, self._offsets, self._threads)


def _offsets(strides: tuple[int, ...], lead: tuple[int, ...]) -> Array:
    """Return where each of an operand's matrices begins, in bytes."""
    found = np.zeros(lead, np.int64)
    for numbers, step in zip(np.indices(lead, sparse=True), strides, strict=True):
        found += numbers * step
    return found.reshape(-1)
