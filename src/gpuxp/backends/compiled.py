"""The software GPU's second tier: hot kernels as machine code, compiled beside the program and swapped in."""

from __future__ import annotations

import ctypes
import itertools
import math
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ..codegen.llvm import COLUMNS, Layout, render
from ..config import config, num_threads
from ..errors import Unsupported
from ..folding import fold
from ..geometry import address
from ..kernel import BLOCK, Kernel
from ..threads import current_pool, quiet
from .base import Arg
from .jit import build
from .loops import find_loop

HOT = 1 << 25  # elements x instructions that the interpreter does before a kernel is worth a compile (about 10 ms)
_STEP = 1 << 15  # longest piece of a row that one unit takes
_GRAIN = 1 << 16  # least elements that are worth another thread
_FEW = 16  # so few reduced elements leave the lanes of a row empty

Array = np.ndarray[Any, Any]
Shape = tuple[int, ...]
_Function = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


class Compiled:
    """A kernel's machine code for one layout, ready to launch."""

    def __init__(self, kernel: Kernel, layout: Layout) -> None:
        self.kernel, self.layout = kernel, layout
        source = render(kernel, layout)
        self._head: list[int] = []
        for call in source.calls:
            found = find_loop(call.op, call.dtypes)
            if found is None:
                raise Unsupported(f"NumPy has no loop for {call.op} that can be called")
            self._head.extend(found)
        self._code = build(source.text)
        self._function = _Function(self._code.address)

    def launch(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel over a loop."""
        if self.kernel.reductions:
            self._reduce(shape, args, scalars)
        else:
            rows, inner = math.prod(shape[:-1]), shape[-1]
            step = min(inner, _STEP)
            addresses = [address(a.mem) + a.offset for a in args]
            self._run(rows * -(-inner // step), rows * inner, step, shape, args, addresses, scalars)

    def _run(
        self, units: int, elements: int, step: int, shape: Shape, args: Sequence[Arg], addresses: Sequence[int],
        scalars: Sequence[Any],
    ) -> None:  # fmt: skip
        """Hand out the units to the threads."""
        kernel = self.kernel
        words = [*self._head, step, *shape, *addresses]
        for param, arg in enumerate(args):
            if self.layout.inner[param] != "r":
                words += arg.strides
        words += [_bits(np.asarray(s, d)) for s, d in zip(scalars, kernel.scalars, strict=True)]
        table = (ctypes.c_int64 * len(words))(*words)
        function, at = self._function, ctypes.addressof(table)
        threads = min(num_threads(), units, max(1, elements // _GRAIN))
        if threads <= 1:
            function(at, 0, units)
            return
        tasks = min(units, 4 * threads)
        numbers = itertools.count()

        def work() -> None:
            while (number := next(numbers)) < tasks:
                function(at, units * number // tasks, units * (number + 1) // tasks)

        current_pool().run(work, threads)

    def _reduce(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Reduce blocks by the kernel, then the blocks' results as every tier does."""
        kernel = self.kernel
        kept = shape[: kernel.kept]
        n_kept, n_reduced = math.prod(kept), math.prod(shape[kernel.kept :])
        blocks = -(-n_reduced // BLOCK)
        partial = {r.param: np.empty((n_kept, blocks), kernel.body[r.value].dtype) for r in kernel.reductions}
        units = n_kept * blocks
        if self.layout.columns:
            units = n_kept // kept[-1] * -(-kept[-1] // COLUMNS) * blocks
        addresses = [
            address(partial[p]) if p in partial else address(a.mem) + a.offset for p, a in enumerate(args)
        ]  # fmt: skip
        self._run(units, n_kept * n_reduced, 1, shape, args, addresses, scalars)
        for r in kernel.reductions:
            arg, result = args[r.param], quiet(fold, r.op, partial[r.param][:, :, None])
            target: Array = np.ndarray(kept, kernel.params[r.param], arg.mem, arg.offset, arg.strides)
            with np.errstate(all="ignore"):
                target[...] = result.reshape(kept)


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

    def choose(self, shape: Shape, args: Sequence[Arg]) -> Callable[..., None] | None:
        """Return compiled code for a launch, or None while the interpreter has to do it.

        A layout of a kernel is compiled, by another thread, once the interpreter has done `HOT` elements times
        instructions of it: as much work as a compile costs. ``GPUXP_TIER`` overrides that.
        """
        if config.tier == "interpreter" or 0 in shape:
            return None
        layout = layout_of(self._kernel, shape, args)
        if layout in self._compiled:
            found = self._compiled[layout]
            if found is not None:
                self._counters["compiled_launches"] += 1
            return found.launch if found is not None else None
        if config.tier == "compiled":
            self._compile(layout)
            return self.choose(shape, args)
        self._work[layout] += math.prod(shape) * len(self._kernel.body)
        if self._work[layout] >= HOT:
            self._compiled[layout] = None
            _compiler().submit(self._compile, layout)
        return None

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


def settle() -> None:
    """Wait until every compile that was asked for is done."""
    if _executor:
        _executor[0].submit(int).result()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_executor.clear)
