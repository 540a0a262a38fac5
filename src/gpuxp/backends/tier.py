"""The software GPU's second tier: hot kernels are compiled beside the program, and swapped in between launches."""

from __future__ import annotations

import atexit
import math
import os
import queue
import sys
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..codegen.layout import Layout
from ..config import config
from ..errors import Unsupported
from ..kernel import Kernel
from ..threads import compiling
from ..vectormath import Vectorised
from .base import Arg

if TYPE_CHECKING:
    from .compiled import Compiled, Prepared

T = TypeVar("T")
Shape = tuple[int, ...]
HOT = 0.01  # seconds that the interpreter spends on a kernel before a compile is worth as much
_GEOMETRIES = 64  # prepared launches that one kernel keeps
_FEW = 16  # so few reduced elements leave the lanes of a row empty
_UNROLLED = 48  # so few, such as the coordinates of a point or its features, are worth code of their own ...
_LONGEST = 512  # ... unless that would be longer than so many instructions


def layout_of(kernel: Kernel, shape: Shape, args: Sequence[Arg]) -> Layout:
    """Return the layout of a launch."""
    results = {r.param for r in kernel.reductions}
    few = _few(kernel, shape)
    columns = bool(results) and (few > 0 or _by_columns(kernel, shape, args))
    inner = kernel.kept - 1 if columns else kernel.ndim - 1
    kinds = []
    for param, (arg, dtype) in enumerate(zip(args, kernel.params, strict=True)):
        if param in results:
            kinds.append("r")
            continue
        stride, size = arg.strides[inner], dtype.itemsize
        row = columns and few > 1 and (stride, arg.strides[-1]) == (few * size, size)
        kinds.append("p" if row else "c" if stride == size else "s" if stride else "0")
    return Layout("".join(kinds), columns, not (results or few), few)


def _few(kernel: Kernel, shape: Shape) -> int:
    """Return how many elements a row has, or how many are reduced, if they are worth code of their own, else 0."""
    if kernel.ndim < 2 or shape[-2] < _FEW:
        return 0
    if kernel.reductions and (kernel.ndim != kernel.kept + 1 or kernel.kept == 0):
        return 0
    if shape[-1] > _UNROLLED or shape[-1] * len(kernel.body) > _LONGEST:
        return 0
    from ..codegen.segments import has_calls  # which needs the compiler's words

    return 0 if has_calls(kernel) else shape[-1]  # (pieces for NumPy's loops are long)


def _by_columns(kernel: Kernel, shape: Shape, args: Sequence[Arg]) -> bool:
    """Whether kept elements are closer in memory than reduced ones, or the reduced ones too few to fill lanes."""
    kept, last = kernel.kept - 1, kernel.ndim - 1
    if kept < 0 or last == kept or shape[kept] < 2:
        return False
    used = (*(i.attr for i in kernel.body if i.op == "load"), *(p for p, _ in kernel.stores))
    near = sum(abs(args[p].strides[kept]) for p in used) < sum(abs(args[p].strides[last]) for p in used)
    return near or math.prod(shape[kernel.kept :]) < _FEW


class Tier:
    """Decides, per layout of one kernel, when to compile it; the rule is in `choose`."""

    def __init__(self, kernel: Kernel, counters: Counter[str]) -> None:
        self.kernel, self._counters = kernel, counters
        self._spent: dict[Layout, float] = {}  # seconds of the interpreter
        self._compiled: dict[Layout, Compiled | None] = {}  # None: on its way, or impossible
        self._prepared: OrderedDict[Any, Prepared] = OrderedDict()

    def choose(self, shape: Shape, args: Sequence[Arg]) -> Prepared | None:
        """Return compiled code for a launch, or None while the interpreter has to do it.

        A layout of a kernel is compiled, by another thread, once the interpreter has spent `HOT` seconds on it: about
        as long as a compile takes. ``GPUXP_TIER`` overrides that.
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
        return ready

    def _prepare(self, shape: Shape, args: Sequence[Arg]) -> Prepared | None:
        layout = layout_of(self.kernel, shape, args)
        if layout not in self._compiled and config.tier == "compiled":
            self._compile(layout)
        found = self._compiled.get(layout)
        return found.over(shape, [a.strides for a in args]) if found is not None else None

    def spent(self, shape: Shape, args: Sequence[Arg], seconds: float) -> None:
        """Note what the interpreter took for a launch."""
        layout = layout_of(self.kernel, shape, args)
        if layout in self._compiled or config.tier != "auto":
            return
        self._spent[layout] = self._spent.get(layout, 0.0) + seconds
        if self._spent[layout] >= HOT:
            self._compiled[layout] = None
            _compiler.call(partial(self._compile, layout))

    def _compile(self, layout: Layout) -> None:
        with compiling:
            self._compiled[layout] = self._try(layout)

    def _try(self, layout: Layout) -> Compiled | None:
        def make() -> Compiled:
            from .compiled import Compiled

            return Compiled(self.kernel, layout)

        return attempt(make, self.kernel.pretty, self._counters)


def attempt(make: Callable[[], T], what: Callable[[], str], counters: Counter[str]) -> T | None:
    """Return what a compile makes, or None: the interpreter goes on without it, on a machine without LLVM, say."""
    try:
        found = make()
    except Unsupported:
        counters["not_compiled"] += 1
    except Exception as error:
        counters["compile_errors"] += 1
        if config.debug:
            print(f"gpuxp cpu could not compile: {error!r}\n{what()}", file=sys.stderr)
    else:
        counters["compiled_kernels"] += 1
        return found
    return None


class _Compiler:
    """A thread that compiles; made anew in a child process, and still once the program ends.

    It is not one of `concurrent.futures`: their lock is taken by a fork before ours are, and by who submits after.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = False

    def call(self, job: Callable[[], None]) -> None:
        """Have the thread call a function."""
        if self._ended or sys.is_finalizing():
            return
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="gpuxp-compiler", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # at exit no thread can be made: the interpreter goes on
                return
            self._thread = thread
            atexit.register(self._end)
        self._jobs.put(job)

    def _work(self) -> None:
        while True:
            job = self._jobs.get()
            with compiling:
                if not self._ended:
                    job()

    def _end(self) -> None:
        """Let no compile begin, and wait for the one that runs: LLVM must not work while the process is taken down."""
        self._ended = True
        with compiling:
            pass

    def settle(self) -> None:
        """Wait until all jobs are done."""
        if self._thread is not None and not self._ended:
            done = threading.Event()
            self.call(done.set)
            done.wait()


_compiler = _Compiler()


def _after_fork() -> None:
    global _compiler
    _compiler = _Compiler()


def _compile_function(function: Vectorised) -> None:
    """Compile a vectorised function: by the compiling thread, or at once where everything is."""
    if config.tier == "compiled":
        _ensured(function)
    else:
        _compiler.call(partial(_ensured, function))


def _ensured(function: Vectorised) -> None:
    try:
        with compiling:
            from .vectors import ensure

            ensure(function)
    except Exception as error:  # its steps still give the result
        if config.debug:
            print(f"gpuxp cpu could not compile {function.ufunc.__name__}: {error!r}", file=sys.stderr)


Vectorised.compiler = staticmethod(_compile_function)


def compile_later(job: Callable[[], None]) -> None:
    """Have the compiling thread call a function."""
    _compiler.call(job)


def settle() -> None:
    """Wait until every compile that was asked for is done."""
    _compiler.settle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
