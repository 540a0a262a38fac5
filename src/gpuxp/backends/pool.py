"""Memory of the software GPU, kept for the next result: fresh pages cost more than filling them."""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter, OrderedDict
from typing import Any

import numpy as np

from ..geometry import start_of

Array = np.ndarray[Any, Any]
ALIGNMENT = 64
LEAST = 1 << 16  # below, the C library's allocator is as good


def rounded(nbytes: int) -> int:
    """Return a size at most a sixteenth larger, of few values, so that similar results share memory."""
    grain = max(4096, 1 << max(nbytes.bit_length() - 5, 0))
    return -(-nbytes // grain) * grain


def aligned(nbytes: int) -> Array:
    """Return fresh memory that begins at a cache line."""
    raw = np.empty(nbytes + ALIGNMENT, np.uint8)
    start = -start_of(raw) % ALIGNMENT
    return raw[start : start + nbytes]


_Block = tuple[Array, dict[str, Any]]  # memory, and its array interface, which takes long to ask for


class _Lease:
    """A block in use: every array over it keeps the lease, and the last one gone gives the block back."""

    __slots__ = ("__array_interface__", "_block", "_pool")

    def __init__(self, pool: Pool, block: _Block) -> None:
        self._pool, self._block = pool, block
        self.__array_interface__ = block[1]

    def __del__(self) -> None:
        self._pool.give(self._block)


class Pool:
    """Free blocks by size, the least recently used thrown away beyond `limit` bytes."""

    def __init__(self, limit: int, counters: Counter[str]) -> None:
        self.limit = limit
        self.held = 0
        self._free: OrderedDict[int, list[_Block]] = OrderedDict()
        self._counters = counters
        # the collector may run `give` inside of any of the others, in the same thread; each line leaves things in order
        self._lock = threading.RLock()
        _pools.add(self)

    def take(self, nbytes: int) -> Array:
        """Return memory, old or fresh; `MemoryError` only once nothing is kept any more."""
        if nbytes < LEAST:
            return aligned(nbytes)
        size = rounded(nbytes)
        with self._lock:
            found = self._free.get(size)
            block = found.pop() if found else None
            if block is not None:
                self.held -= size
                self._counters["pool_hits"] += 1
        if block is None:
            try:
                fresh = aligned(size)
            except MemoryError:
                self.clear()
                fresh = aligned(size)
            block = fresh, fresh.__array_interface__
        return np.asarray(_Lease(self, block))[:nbytes]

    def give(self, block: _Block) -> None:
        """Keep a block, as far as the limit allows."""
        size = block[0].nbytes
        if size > self.limit:
            return
        with self._lock:
            self._free.setdefault(size, []).append(block)
            self._free.move_to_end(size)
            self.held += size
            while self.held > self.limit:
                self._drop()
            self._counters["pool_bytes"] = self.held

    def _drop(self) -> None:
        size, blocks = next(iter(self._free.items()))
        if blocks:
            blocks.pop()
            self.held -= size
        if not blocks:
            self._free.pop(size, None)

    def clear(self) -> None:
        """Give everything kept back to the system."""
        with self._lock:
            self._free.clear()
            self.held = 0
            self._counters["pool_bytes"] = 0


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()


def _after_fork() -> None:
    """Another thread may have been giving memory back, which does not come back from that in a child process."""
    for pool in _pools:
        pool._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
