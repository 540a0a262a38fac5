"""How a C-like device runs its kernels: forms, arguments, grids, and the passes of a long reduction."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from ..codegen.cstyle import COLUMNS, fits_by_value, place_format, render, scalar_format, stride_slots
from ..codegen.spelling import Dialect, component
from ..dtypes import DType
from ..errors import Unsupported
from ..kernel import BLOCK, LANES, Inst, Kernel, Reduction
from .base import Arg, Held, Placed

GROUP = 256  # threads of a group that maps
WORKERS = 128  # threads of a group that reduces
_MOST_GROUPS = 65535  # along one dimension
_TASKS = 64  # of a core at most: they are dealt out, so one that starts late or is interrupted gets fewer
_TASK = 16384  # elements that are worth a task of a CPU's thread
_READY = 64  # geometries that a kernel keeps
_SHORT = 32  # shorter rows than this are reduced many at a time


@dataclass(frozen=True)
class Grid:
    """Groups and threads of a launch."""

    groups: tuple[int, int]
    threads: tuple[int, int]
    scratch: int = 0  # bytes of local memory

    @property
    def items(self) -> tuple[int, int]:
        """All threads along each dimension."""
        return self.groups[0] * self.threads[0], self.groups[1] * self.threads[1]


class Packer:
    """Writes the launch struct of a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self._place = struct.Struct(place_format(kernel))
        self._scalars = struct.Struct("<" + "".join(scalar_format(d) for d in kernel.scalars))
        self._slots = stride_slots(kernel)
        self._units = [component(d).itemsize for d in kernel.params]
        self._kinds = [d.kind for d in kernel.scalars]

    def aligned(self, args: Sequence[Arg]) -> bool:
        """Whether all parameters lie at multiples of their elements' size."""
        return not any(
            a.offset % unit or any(s % unit for s in a.strides) for a, unit in zip(args, self._units, strict=True)
        )

    def place(self, shape: Sequence[int], args: Sequence[Arg], bytewise: bool) -> bytes:
        """Return the struct up to its scalars; strides count elements, or bytes where elements are not aligned."""
        words = [*shape, *(a.offset for a in args)]
        for a, size in zip(args, self._units, strict=True):
            unit = 1 if bytewise else size
            words.extend(s // unit for s in a.strides)
            words.extend([0] * (self._slots - len(a.strides)))
        return self._place.pack(*words)

    def scalars(self, values: Sequence[Any]) -> bytes:
        """Return the rest of the struct."""
        words: list[Any] = []
        for kind, value in zip(self._kinds, values, strict=True):
            if kind == "c":
                words.extend((value.real, value.imag))
            else:
                words.append(value if kind == "f" else int(value))
        return self._scalars.pack(*words)


def map_grid(shape: Sequence[int], group: bool, units: int) -> Grid:
    """Return a grid for a loop without reductions."""
    inner, outer = shape[-1], math.prod(shape[:-1])
    if group:
        x = min(GROUP, _power(inner))
        y = min(GROUP // x, _power(outer))
        groups = (min(-(-inner // x), _MOST_GROUPS), min(-(-outer // y), _MOST_GROUPS))
        return Grid(groups, (x, y))
    tasks = min(_TASKS * units, -(-inner * outer // _TASK))
    rows = min(outer, tasks)
    return Grid((-(-tasks // rows), rows), (1, 1))


def blocks_of(shape: Sequence[int], kept: int) -> int:
    """Return how many blocks the reduced part of a loop has."""
    return max(1, -(-math.prod(shape[kept:]) // BLOCK))


def by_columns(kernel: Kernel, shape: Sequence[int], args: Sequence[Arg]) -> bool:
    """Whether kept neighbours should be reduced together: they are closer in memory, or rows are short."""
    kept = kernel.kept
    if kept == 0 or shape[kept - 1] < 2:
        return False
    if kept == kernel.ndim or math.prod(shape[kept:]) < _SHORT:
        return True
    loads = [args[i.attr].strides for i in kernel.body if i.op == "load"]
    return sum(abs(s[kept - 1]) for s in loads) < sum(abs(s[-1]) for s in loads)


def reduce_grid(kernel: Kernel, shape: Sequence[int], columns: bool, machine: Machine) -> Grid:
    """Return a grid for a loop with reductions: a task is one block, of one or several kept elements."""
    kept, blocks = math.prod(shape[: kernel.kept]), blocks_of(shape, kernel.kept)
    if not machine.dialect.group:
        across = -(-shape[kernel.kept - 1] // COLUMNS) if columns else 1
        tasks = (kept // shape[kernel.kept - 1] * across if columns else kept) * blocks
        worth = -(-kept * math.prod(shape[kernel.kept :]) // _TASK)
        return Grid((min(tasks, _TASKS * machine.units, max(worth, 1)), 1), (1, 1))
    lanes = max(1, min(math.prod(shape[kernel.kept :]), LANES))
    each = sum(1 for _ in kernel.reductions) * max(kernel.body[r.value].dtype.itemsize for r in kernel.reductions)
    width = min(COLUMNS if columns else 1, _power(kept))
    width = max(width, min(WORKERS // _power(lanes), _power(kept)))
    while width > 1 and width * lanes * each > machine.local_bytes:
        width //= 2
    return Grid((-(-kept // width) * blocks, 1), (width, WORKERS // width), lanes * width * each)


def _power(n: int) -> int:
    """Return the smallest power of two that is not below n."""
    return 1 << max(n - 1, 0).bit_length()


def first_pass(kernel: Kernel) -> Kernel:
    """Return the kernel that stores blocks' results unrounded."""
    params = list(kernel.params)
    for r in kernel.reductions:
        params[r.param] = kernel.body[r.value].dtype
    return kernel if tuple(params) == kernel.params else replace(kernel, params=tuple(params), _key=[])


def second_pass(op: str, dtype: DType, target: DType, kept: int) -> Kernel:
    """Return the kernel that reduces blocks' results: parameter 0 into parameter 1."""
    return Kernel((dtype, target), (), (Inst("load", (), dtype),), (), (Reduction(op, 0, 1),), kept + 1, kept)


def packed_strides(shape: Sequence[int], itemsize: int) -> tuple[int, ...]:
    """Return the strides of a C-contiguous array."""
    strides: list[int] = []
    for extent in reversed(shape):
        strides.append(itemsize)
        itemsize *= extent
    return tuple(reversed(strides))


class Machine(Protocol):
    """What a C-like device gives."""

    dialect: Dialect
    units: int  # cores
    local_bytes: int  # memory that a group shares

    def alloc(self, nbytes: int) -> Any:
        """Return memory."""
        ...

    def build(self, source: str) -> Any:
        """Compile source text."""
        ...

    def enqueue(self, built: Any, grid: Grid, mems: Sequence[Any], packed: bytes, by_value: bool) -> None:
        """Start a compiled kernel."""
        ...


class Programs:
    """A device's compiled kernels."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._found: dict[Kernel, Program] = {}

    def get(self, kernel: Kernel) -> Program:
        """Return a kernel ready to launch, or raise `Unsupported`."""
        if not kernel.ndim:
            kernel = kernel.over(1, 0 if kernel.reductions else 1)
        found = self._found.get(kernel)
        if found is None:
            found = self._found[kernel] = Program(self, self._machine, kernel)
        return found


class _Ready(NamedTuple):
    """What a launch needs that follows from its geometry: compiled form, grid, and the struct up to its scalars."""

    built: Any
    grid: Grid
    place: bytes


class Program:
    """One kernel, in the forms in which it has been needed so far."""

    def __init__(self, programs: Programs, machine: Machine, kernel: Kernel) -> None:
        self._programs, self._machine, self._kernel = programs, machine, kernel
        self._built: dict[tuple[bool, bool], Any] = {}
        self._ready: dict[Any, _Ready] = {}  # by shape, and by offset and strides of the parameters
        self._pack = Packer(kernel)
        self._by_value = fits_by_value(kernel, machine.dialect)
        if kernel.reductions and not machine.dialect.group:
            render(kernel, machine.dialect)  # data decides the form, but what is unsupported must show now
        else:
            self._form(False, False)

    def _form(self, columns: bool, bytewise: bool) -> Any:
        built = self._built.get((columns, bytewise))
        if built is None:
            source = render(self._kernel, self._machine.dialect, columns=columns, bytewise=bytewise)
            built = self._built[columns, bytewise] = self._machine.build(source)
        return built

    def __call__(self, shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel over a loop."""
        kernel = self._kernel
        shape = shape or (1,)
        if math.prod(shape[: kernel.kept]):
            blocks = blocks_of(shape, kernel.kept) if kernel.reductions else 1
            if blocks == 1:
                self._start(shape, args, scalars)
            else:
                self._reduce_in_passes(blocks, shape, args, scalars)

    def placed(self, shape: tuple[int, ...], places: Sequence[tuple[int, tuple[int, ...]]]) -> Placed:
        """Return a launch over loops of one geometry."""
        kernel, machine, extents = self._kernel, self._machine, shape or (1,)
        once = not kernel.reductions and 0 not in extents
        ready: list[_Ready] = []  # made by the first launch, which may find that this form cannot be built

        def run(held: Sequence[Held], scalars: Sequence[Any]) -> None:
            if not once:
                self(shape, [Arg(h.mem, *place) for h, place in zip(held, places, strict=True)], scalars)
                return
            if not ready:
                ready.append(self._prepare(extents, [Arg(None, *place) for place in places]))
            built, grid, packed = ready[0]
            if scalars:
                packed += self._pack.scalars(scalars)
            machine.enqueue(built, grid, [h.mem for h in held], packed, self._by_value)

        return run

    def _start(self, shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        key = (shape, *[a[1:] for a in args])
        found = self._ready.get(key)
        if found is None:
            if len(self._ready) >= _READY:
                self._ready.clear()
            found = self._ready[key] = self._prepare(shape, args)
        built, grid, packed = found
        if scalars:
            packed += self._pack.scalars(scalars)
        self._machine.enqueue(built, grid, [a.mem for a in args], packed, self._by_value)

    def _prepare(self, shape: tuple[int, ...], args: Sequence[Arg]) -> _Ready:
        kernel, machine = self._kernel, self._machine
        columns = bool(kernel.reductions) and by_columns(kernel, shape, args)
        if kernel.reductions:
            grid = reduce_grid(kernel, shape, columns, machine)
        else:
            grid = map_grid(shape, machine.dialect.group, machine.units)
        bytewise = not self._pack.aligned(args)
        built = self._form(columns and not machine.dialect.group, bytewise)
        return _Ready(built, grid, self._pack.place(shape, args, bytewise))

    def _reduce_in_passes(
        self, blocks: int, shape: tuple[int, ...], args: Sequence[Arg], scalars: Sequence[Any]
    ) -> None:
        """Reduce blocks into new memory, and then their results."""
        kernel = self._kernel
        outer = shape[: kernel.kept]
        partial = list(args)
        for r in kernel.reductions:
            itemsize = kernel.body[r.value].dtype.itemsize
            strides = packed_strides((*outer, blocks), itemsize)
            partial[r.param] = Arg(self._machine.alloc(math.prod(outer) * blocks * itemsize), 0, strides)
        self._programs.get(first_pass(kernel))._start(shape, partial, scalars)
        try:
            for r in kernel.reductions:
                last = second_pass(r.op, kernel.body[r.value].dtype, kernel.params[r.param], kernel.kept)
                self._programs.get(last)((*outer, blocks), [partial[r.param], args[r.param]], ())
        except Unsupported as error:  # too late for the host: what the first pass stored cannot be taken back
            raise RuntimeError(str(error)) from error
