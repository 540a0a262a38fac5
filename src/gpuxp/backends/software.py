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
from itertools import count as counting
from typing import Any

import numpy as np

from ..config import config, num_threads
from ..dtypes import SUPPORTED
from ..geometry import address, start_of
from ..kernel import Kernel
from ..threads import current_pool, quiet, threads_for
from .base import Arg, Caps, Held, Joint, Launch, Native, Neighbour, Placed
from .direct import Direct
from .passes import find
from .pool import Pool
from .reduce import reduce_tiles
from .tier import HOT, Tier
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
            joint=self._joint,
            description=f"software GPU, {num_threads()} threads",
            counters=counters,
        )
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

    def _joint(self, launches: Sequence[Any], neighbours: Sequence[Neighbour]) -> Joint | None:
        """Return the first launches as one pass: an in-place stencil, or row by row."""
        count = next((n for n, launch in enumerate(launches) if type(launch) is not _Placed), len(launches))
        return _Together(launches[:count], neighbours[:count], self.caps.counters) if count > 1 else None


class _TieredLaunch:
    """A launch of the tile interpreter, and of compiled code once the kernel is hot."""

    def __init__(self, interpret: Launch, tier: Tier, counters: Counter[str]) -> None:
        self.interpret, self.tier, self.counters = interpret, tier, counters

    def placed(self, shape: Shape, places: Sequence[tuple[int, Shape]]) -> Placed:
        """Return a launch over loops of one geometry."""
        return _Placed(self, shape, places)

    def __call__(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        self.placed(shape, [a[1:] for a in args])([_Block(a.mem) for a in args], scalars)


class _Block:
    """Memory that no buffer holds."""

    def __init__(self, mem: Array) -> None:
        self.mem = mem
        self.address = self.base = address(mem)


class _Placed:
    """A launch over loops of one geometry; one thread at a time may run it."""

    def __init__(self, launch: _TieredLaunch, shape: Shape, places: Sequence[tuple[int, Shape]]) -> None:
        self._launch, self.shape, self.kernel = launch, shape, launch.tier.kernel
        self.offsets = [offset for offset, _ in places]
        self.args = [Arg(None, *place) for place in places]
        self.compiled: Any = None  # what a launch has found

    def ready(self) -> Any:
        """Return compiled code, or None while the interpreter has to do it."""
        if self.compiled is None:
            self.compiled = self._launch.tier.choose(self.shape, self.args)
        return self.compiled

    def hurry(self) -> None:
        """Have the kernel compiled, whatever it has cost so far: others wait for it."""
        if self.compiled is None:
            self._launch.tier.spent(self.shape, self.args, HOT)

    def __call__(self, held: Sequence[Held], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        ready = self.compiled or self.ready()
        if ready is not None:
            self._launch.counters["compiled_launches"] += 1
            ready(held, self.offsets, scalars)
            return
        args = [arg._replace(mem=h.mem) for arg, h in zip(self.args, held, strict=True)]
        started = time.perf_counter()
        self._launch.interpret(self.shape, args, scalars)
        self._launch.tier.spent(self.shape, args, time.perf_counter() - started)


class _Together:
    """The first launches as one pass, from when they are compiled, if they can be: what is compiled knows that."""

    def __init__(self, launches: Sequence[_Placed], neighbours: Sequence[Neighbour], counters: Counter[str]) -> None:
        self._launches, self._neighbours, self._counters = launches, neighbours, counters
        self._make: Callable[[Sequence[Any]], Any] | None = None
        self._pass: Any = None
        self.launches = len(launches)
        self.temporaries: frozenset[int] = frozenset()
        self.written: frozenset[int] = frozenset()
        for launch in launches[:2]:
            launch.ready()  # later they find it out by themselves

    def ready(self) -> int | None:
        """Return the bytes of memory that a run needs, if all are compiled and can be one pass.

        What others wait for is compiled soon. Nothing is planned as long as the interpreter does it all.
        """
        if self._pass is None and (self._launches[0].compiled or self._launches[1].compiled):
            if self._make is None:
                self._find()
            found = [launch.ready() for launch in self._launches]
            if self._make is None:
                self.launches = 0
            elif None not in found:
                self._pass = self._make(found)
                self.launches = len(found) if self._pass is not None else 0
            else:
                for launch in self._launches:
                    launch.hurry()
        return None if self._pass is None else self._pass.scratch

    def _find(self) -> None:
        """Look which launches can be one pass, and how that is made."""
        # which parameters lie in one buffer is part of the geometry
        args = [[a._replace(mem=b) for a, b in zip(p.args, n.buffers, strict=True)]
                for p, n in zip(self._launches, self._neighbours, strict=True)]  # fmt: skip
        first, shared = self._neighbours[0], self._neighbours[0].shared
        if shared is not None:
            shapes = [p.shape for p in self._launches[:2]]
            if shapes[0] != shapes[1] or math.prod(shapes[0]) < _PAIRED:
                return
            count, temporaries, self._name = 2, {first.buffers[shared[0]]}, "paired_launches"

            def make(prepared: Sequence[Any]) -> Any:
                from .pair import make_pair  # the compiler is there by now

                return make_pair(prepared, args[:2], shared)

        else:
            dead = [n.dead for n in self._neighbours]
            plan = find([p.kernel for p in self._launches], [p.shape for p in self._launches], args, dead)
            if plan is None:
                return
            count, temporaries, self._name = len(plan.each), set(plan.temporaries), "row_passes"

            def make(prepared: Sequence[Any]) -> Any:
                from .joint import make_pass

                return make_pass(prepared, plan)

        self._make, self._launches = make, self._launches[:count]
        self.temporaries = frozenset(temporaries)
        self.written = frozenset(
            own[p].mem for launch, own in zip(self._launches, args, strict=False) for p in launch.kernel.outputs
        )

    def run(self, scratch: Array, held: Sequence[Sequence[Held]], scalars: Sequence[Sequence[Any]]) -> None:
        """Run all."""
        self._pass.run(start_of(scratch), held, scalars)
        self._counters[self._name] += 1
        self._counters["compiled_launches"] += len(self._launches)


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
    numbers = counting()

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
