"""The software GPU: kernels run tile by tile, the tiles handed out to a pool of threads.

This is the first tier, an interpreter: each instruction of a kernel is one NumPy ufunc call on a tile that stays in the
cache. Ufuncs release the interpreter lock, so tiles run side by side. No compiler is needed.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np

from ..config import config, num_threads
from ..dtypes import SUPPORTED
from ..kernel import Kernel
from ..threads import current_pool, quiet, threads_for
from .base import Arg, Caps, Launch, Native
from .direct import Direct
from .pool import Pool
from .reduce import reduce_tiles
from .tier import Tier
from .tiles import Grid, Program, Scratch

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_PAIRED = 1 << 17  # elements from which a temporary leaves the cache, so that two kernels had better share a pass
_KEPT = 1 << 30  # bytes of free memory that are kept for new results, on a large machine


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # pragma: no cover - Windows
        return 1 << 46


class SoftwareBackend:
    """A device made of the CPU's cores and caches; it is always there."""

    def __init__(self, library: Mapping[str, Native] | None = None) -> None:
        self.library: Mapping[str, Native] = library or {}
        counters: Counter[str] = Counter()
        self.caps = Caps(
            dtypes=frozenset(SUPPORTED),
            host_visible=True,
            max_params=64,
            memory=_physical_memory(),
            survives_fork=True,
            direct=Direct(counters),
            pair=self._pair,
            description=f"software GPU, {num_threads()} threads",
            counters=counters,
        )
        self._pairs: Any = None
        self.pool = Pool(min(_KEPT, self.caps.memory // 16), self.caps.counters)

    def alloc(self, nbytes: int) -> Array:
        """Return cache-line aligned memory."""
        return self.pool.take(nbytes)

    def write(self, mem: Array, offset: int, host: Array) -> None:
        """Copy into the device's memory."""
        np.ndarray(host.shape, host.dtype, mem, offset)[...] = host

    def read(self, mem: Array, offset: int, host: Array) -> None:
        """Copy out of the device's memory."""
        host[...] = np.ndarray(host.shape, host.dtype, mem, offset)

    def sync(self) -> None:
        """Do nothing: a launch returns when it is done."""

    def source(self, kernel: Kernel) -> str:
        """Return what the interpreter does on each tile."""
        return Program(kernel, frozenset(range(len(kernel.params)))).source

    def compile(self, kernel: Kernel) -> Launch:
        """Return a launch of the tile interpreter, and of compiled code once the kernel is hot."""
        return _TieredLaunch(_interpreted(kernel), Tier(kernel, self.caps.counters), self.caps.counters)

    def _pair(
        self, launches: tuple[Any, Any], shape: Shape, args: tuple[Any, Any], scalars: tuple[Any, Any],
        shared: tuple[int, int],
    ) -> bool:  # fmt: skip
        """Run two launches as one pass, if both are compiled and their geometry lets them."""
        if math.prod(shape) < _PAIRED:
            return False
        found = [launch.tier.choose(shape, a) for launch, a in zip(launches, args, strict=True)]
        if None in found:
            return False
        if self._pairs is None:
            from .pair import Pairs  # the compiler is there by now

            self._pairs = Pairs(self.caps.counters)
        done: bool = self._pairs.run(tuple(found), args, scalars, shared)
        return done


class _TieredLaunch:
    """A launch of the tile interpreter, and of compiled code once the kernel is hot."""

    def __init__(self, interpret: Launch, tier: Tier, counters: Counter[str]) -> None:
        self._interpret, self.tier, self._counters = interpret, tier, counters

    def __call__(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        compiled = self.tier.choose(shape, args)
        if compiled is not None:
            self._counters["compiled_launches"] += 1
            compiled(shape, args, scalars)
            return
        started = time.perf_counter()
        self._interpret(shape, args, scalars)
        self.tier.spent(shape, args, time.perf_counter() - started)


def _interpreted(kernel: Kernel) -> Launch:
    """Return a launch of the tile interpreter."""
    programs: dict[frozenset[int], Program] = {}
    reduced_params = {r.param for r in kernel.reductions}

    def launch(shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        outer = shape[: kernel.kept]
        arrays = [
            np.ndarray(outer if p in reduced_params else shape, dtype, arg.mem, arg.offset, arg.strides)
            for p, (dtype, arg) in enumerate(zip(kernel.params, args, strict=True))
        ]
        packed = frozenset(p for p, a in enumerate(arrays) if a.ndim <= 1 and a.flags.c_contiguous)
        program = programs.get(packed)
        if program is None:
            program = programs[packed] = Program(kernel, packed)
        constants = [np.asarray(s) for s in scalars]
        if kernel.reductions:
            quiet(reduce_tiles, program, shape, arrays, constants, _spread)
        else:
            quiet(_map_tiles, program, shape, arrays, constants)

    return launch


_scratch = threading.local()


def _own_scratch() -> Scratch:
    """Return this thread's scratch memory, kept from launch to launch."""
    found: Scratch | None = getattr(_scratch, "value", None)
    if found is None:
        found = _scratch.value = Scratch()
    return found


def _spread(task: Callable[[int, Scratch], None], tasks: int, elements: int) -> None:
    """Run ``task(0) ... task(tasks - 1)``, on several threads when there is enough to do."""
    threads = threads_for(elements, tasks)
    if threads <= 1:
        scratch = _own_scratch()
        for number in range(tasks):
            task(number, scratch)
        return
    numbers = count()

    def work() -> None:
        scratch = _own_scratch()
        while (number := next(numbers)) < tasks:
            task(number, scratch)

    current_pool().run(work, threads)


def _map_tiles(program: Program, shape: tuple[int, ...], arrays: list[Array], constants: list[Array]) -> None:
    grid = Grid(shape, config.tile)

    def task(number: int, scratch: Scratch) -> None:
        box = grid.box(number)
        program.run([a[box] for a in arrays], constants, scratch, box)

    _spread(task, grid.count, math.prod(shape))
