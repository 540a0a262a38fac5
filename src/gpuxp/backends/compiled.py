"""The software GPU's second tier: hot kernels as machine code, compiled beside the program and swapped in."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import sys
from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..codegen.llvm import COLUMNS, Layout, render
from ..config import config
from ..errors import Unsupported
from ..folding import fold
from ..geometry import address
from ..kernel import BLOCK, Kernel
from ..threads import current_pool, quiet, threads_for
from ..vectormath import Vectorised
from .base import Arg
from .jit import build
from .loops import find_loop
from .vectors import ensure

HOT = 1 << 25  # elements x instructions that the interpreter does before a kernel is worth a compile (about 10 ms)
_GEOMETRIES = 64  # prepared launches that one kernel keeps
_FEW = 16  # so few reduced elements leave the lanes of a row empty

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Compiled:
    """A kernel's machine code for one layout."""

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        self.kernel, self.layout = kernel, layout
        source = render(kernel, layout)
        self.head: list[int] = []
        for call in source.calls:
            found = find_loop(call.op, call.dtypes)
            if found is None:
                raise Unsupported(f"NumPy has no loop for {call.op} that can be called")
            self.head.extend(found)
        self._code = build(source.text)
        self.function = _Function(self._code.address)

    def over(self, shape: Shape, strides: Sequence[Shape]) -> Prepared:
        """Return a launch over loops of one geometry."""
        return (_Reduction if self.kernel.reductions else Prepared)(self, shape, strides)


class Prepared:
    """A launch with everything in place but addresses and scalars; one thread at a time may run it."""

    def __init__(self, compiled: Compiled, shape: Shape, strides: Sequence[Shape]) -> None:
        kernel = compiled.kernel
        self.kernel, self.shape, self._compiled = kernel, shape, compiled
        self.elements = math.prod(shape)
        step = min(shape[-1], config.tile)
        self.units = self._count(compiled.layout, step)
        results = {r.param for r in kernel.reductions}
        self._first = len(compiled.head) + 1 + len(shape)  # where the addresses begin
        words = [*compiled.head, step, *shape, *(0 for _ in strides)]
        words += [word for param, s in enumerate(strides) if param not in results for word in s]
        self._scalars = len(words)
        words += [0] * len(kernel.scalars)
        self._table = (ctypes.c_int64 * len(words))(*words)
        self._at = ctypes.addressof(self._table)

    def _count(self, layout: Layout, step: int) -> int:
        return self.elements // self.shape[-1] * -(-self.shape[-1] // step)

    def __call__(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        self._run([address(a.mem) + a.offset for a in args], scalars)

    def _run(self, addresses: Sequence[int], scalars: Sequence[Any]) -> None:
        """Hand out the units to the threads."""
        table, at, function, units = self._table, self._at, self._compiled.function, self.units
        for place, value in enumerate(addresses, self._first):
            table[place] = value
        for place, (scalar, dtype) in enumerate(zip(scalars, self.kernel.scalars, strict=True), self._scalars):
            table[place] = _bits(np.asarray(scalar, dtype))
        threads = threads_for(self.elements, units)
        if threads <= 1:
            function(at, 0, units)
            return
        tasks = min(units, 4 * threads)
        numbers = itertools.count()

        def work() -> None:
            while (number := next(numbers)) < tasks:
                function(at, units * number // tasks, units * (number + 1) // tasks)

        current_pool().run(work, threads)


class _Reduction(Prepared):
    """Blocks are reduced by the kernel, then the blocks' results as every tier does it."""

    def _count(self, layout: Layout, step: int) -> int:
        kept = self.shape[: self.kernel.kept]
        self._kept = kept
        self._partial = math.prod(kept), -(-math.prod(self.shape[self.kernel.kept :]) // BLOCK)
        if not layout.columns:
            return math.prod(self._partial)
        return math.prod(kept[:-1]) * -(-kept[-1] // COLUMNS) * self._partial[1]

    def __call__(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel."""
        kernel = self.kernel
        partial = {r.param: np.empty(self._partial, kernel.body[r.value].dtype) for r in kernel.reductions}
        places = [
            address(partial[p]) if p in partial else address(a.mem) + a.offset for p, a in enumerate(args)
        ]  # fmt: skip
        self._run(places, scalars)
        quiet(self._finish, partial, args)

    def _finish(self, partial: dict[int, Array], args: Sequence[Arg]) -> None:
        for r in self.kernel.reductions:
            arg = args[r.param]
            target: Array = np.ndarray(self._kept, self.kernel.params[r.param], arg.mem, arg.offset, arg.strides)
            target[...] = fold(r.op, partial[r.param][:, :, None]).reshape(self._kept)


def _bits(scalar: Array) -> int:
    return int.from_bytes(scalar.tobytes().ljust(8, b"\0"), sys.byteorder, signed=True)


def layout_of(kernel: Kernel, shape: Shape, args: Sequence[Arg]) -> Layout:
    """Return the layout of a launch."""
    results = {r.param for r in kernel.reductions}
    columns = bool(results) and _by_columns(kernel, shape, args)
    inner = kernel.kept - 1 if columns else kernel.ndim - 1
    kinds = []
    for param, (arg, dtype) in enumerate(zip(args, kernel.params, strict=True)):
        stride = None if param in results else arg.strides[inner]
        kinds.append("r" if stride is None else "c" if stride == dtype.itemsize else "s" if stride else "0")
    return Layout("".join(kinds), columns)


def _by_columns(kernel: Kernel, shape: Shape, args: Sequence[Arg]) -> bool:
    """Whether kept elements are closer in memory than reduced ones, or the reduced ones too few to fill lanes."""
    kept, last = kernel.kept - 1, kernel.ndim - 1
    if kept < 0 or last == kept or shape[kept] < 2:
        return False
    loads = [args[i.attr].strides for i in kernel.body if i.op == "load"]
    near = sum(abs(s[kept]) for s in loads) < sum(abs(s[last]) for s in loads)
    return near or math.prod(shape[kernel.kept :]) < _FEW


class Tier:
    """Decides, per layout of one kernel, when to compile it; the rule is in `choose`."""

    def __init__(self, kernel: Kernel, counters: Counter[str]) -> None:
        self._kernel, self._counters = kernel, counters
        self._work: Counter[Layout] = Counter()
        self._compiled: dict[Layout, Compiled | None] = {}  # None: on its way, or impossible
        self._prepared: OrderedDict[Any, Prepared] = OrderedDict()

    def choose(self, shape: Shape, args: Sequence[Arg]) -> Prepared | None:
        """Return compiled code for a launch, or None while the interpreter has to do it.

        A layout of a kernel is compiled, by another thread, once the interpreter has done `HOT` elements times
        instructions of it: as much work as a compile costs. ``GPUXP_TIER`` overrides that.
        """
        if config.tier == "interpreter" or 0 in shape:
            return None
        key = shape, config.tile, tuple([a.strides for a in args])
        ready = self._prepared.get(key)
        if ready is None:
            ready = self._prepare(shape, args)
            if ready is None:
                return None
            self._prepared[key] = ready
            if len(self._prepared) > _GEOMETRIES:
                self._prepared.popitem(last=False)
        self._counters["compiled_launches"] += 1
        return ready

    def _prepare(self, shape: Shape, args: Sequence[Arg]) -> Prepared | None:
        layout = layout_of(self._kernel, shape, args)
        if layout not in self._compiled:
            if config.tier == "compiled":
                self._compile(layout)
            else:
                self._work[layout] += math.prod(shape) * len(self._kernel.body)
                if self._work[layout] >= HOT:
                    self._compiled[layout] = None
                    _compiler().submit(self._compile, layout)
        found = self._compiled.get(layout)
        return found.over(shape, [a.strides for a in args]) if found is not None else None

    def _compile(self, layout: Layout) -> None:
        try:
            self._compiled[layout] = Compiled(self._kernel, layout)
            self._counters["compiled_kernels"] += 1
        except Unsupported:
            self._compiled[layout] = None
            self._counters["not_compiled"] += 1
        except Exception as error:  # a machine without LLVM, say: the interpreter goes on
            self._compiled[layout] = None
            self._counters["compile_errors"] += 1
            if config.debug:
                print(f"gpuxp cpu could not compile a kernel: {error!r}\n{self._kernel.pretty()}", file=sys.stderr)


_executor: list[ThreadPoolExecutor] = []


def _compiler() -> ThreadPoolExecutor:
    """Return the thread that compiles."""
    if not _executor:
        _executor.append(ThreadPoolExecutor(1, "gpuxp-compiler"))
    return _executor[0]


def _compile_function(function: Vectorised) -> None:
    """Compile a vectorised function: by the compiling thread, or at once where everything is."""
    if config.tier == "compiled":
        _ensured(function)
    else:
        _compiler().submit(_ensured, function)


def _ensured(function: Vectorised) -> None:
    try:
        ensure(function)
    except Exception as error:  # its steps still give the result
        if config.debug:
            print(f"gpuxp cpu could not compile {function.ufunc.__name__}: {error!r}", file=sys.stderr)


Vectorised.compiler = staticmethod(_compile_function)


def settle() -> None:
    """Wait until every compile that was asked for is done."""
    if _executor:
        _executor[0].submit(int).result()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.clear)
