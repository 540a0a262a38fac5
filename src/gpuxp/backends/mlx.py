"""Apple's MLX: its GPU, and its CPU device anywhere."""

from __future__ import annotations

import functools
import importlib.metadata
import math
import os
import platform
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..config import num_threads
from ..dtypes import INT64, DType
from ..errors import Unsupported
from ..kernel import Inst, Kernel
from ..ops import ELEMENTWISE
from .base import Arg, Caps, Launch, Native
from .launching import by_columns
from .mlxcompiler import private_compiler
from .mlxfold import fold
from .mlxmemory import Memory, Shape, copied, load, store
from .mlxnatives import natives
from .mlxrows import DIRECT, WIDE, spell
from .mlxtypes import TYPES, Fn, MxArray, cast, literal, mx

Array = np.ndarray[Any, Any]
_WORD, _DOUBLE = np.dtype(np.uint64), np.dtype(np.float64)
_HOT = 1 << 27  # elements times instructions after which a kernel is worth MLX's compiler, which takes half a second
_SHARE = 16  # of the memory that is free: what is given out before that is asked for again
_PIECE = 1 << 17  # elements of a long computation that are worth a thread
_NEARLY = 2  # units in the last place that arithmetic alone may cost
_DEVICES = {"gpu": mx.gpu, "cpu": mx.cpu}


def list_devices() -> list[str]:
    """Return what MLX can use here, the GPU first."""
    return [name for name, device in _DEVICES.items() if mx.is_available(device)]


# Kernels


def _body(kernel: Kernel) -> tuple[Callable[..., list[MxArray]], list[int], tuple[int, ...]]:
    """Return a kernel's instructions as a function of its loads, scalars and index; which these are, and its results.

    It is generated: of what Python does for a launch, all is in the way of what computes.
    """
    body = kernel.body
    inputs = [n for n, i in enumerate(body) if i.op in ("load", "scalar", "index")]
    results = tuple(dict.fromkeys([v for _, v in kernel.stores] + [r.value for r in kernel.reductions]))
    names: dict[str, Any] = {}
    lines = [f"def run({', '.join(f'v{n}' for n in inputs)}):"]
    for n, inst in enumerate(body):
        if n not in inputs:
            names[f"f{n}"], args = _spelled(kernel, inst)
            lines.append(f" v{n} = f{n}({', '.join(f'v{a}' for a in args)})")
    lines.append(f" return [{', '.join(f'v{v}' for v in results)}]")
    exec(compile("\n".join(lines), "<gpuxp kernel>", "exec"), names)  # built of numbers alone
    return names["run"], inputs, results


def _spelled(kernel: Kernel, inst: Inst) -> tuple[Fn, tuple[int, ...]]:
    if inst.op == "literal":
        if inst.dtype not in TYPES:
            raise Unsupported(f"MLX has no {inst.dtype}")
        constant = literal(inst.attr, inst.dtype)
        return (lambda: constant), ()
    operands = tuple(kernel.body[a].dtype for a in inst.args)
    if inst.op == "cast":
        return cast(operands[0], inst.dtype), inst.args
    return spell(inst.op, operands), inst.args


def _joins(kernel: Kernel) -> bool:
    """Whether MLX's compiler can make one loop of the body with the same bits as without it.

    Its source may be compiled to fused multiplications and additions, except for x86-64.
    """
    ops = [i for i in kernel.body if i.op not in ("load", "scalar", "literal")]
    exact = platform.machine() in ("x86_64", "AMD64") or not any(
        i.op in ("multiply", "square") and i.dtype.kind in "fc" for i in ops
    )
    return len(ops) > 1 and exact and all(i.op in DIRECT and i.dtype.kind != "c" for i in ops)


def _long(kernel: Kernel) -> bool:
    """Whether the kernel has a function that takes long for each element: those that are not exact."""
    insts = [i for i in kernel.body if i.op in ELEMENTWISE]
    return any(ELEMENTWISE[i.op].bound("mlx", i.dtype.kind) > _NEARLY for i in insts)


class Program:
    """One kernel, ready to launch."""

    def __init__(self, backend: MLXBackend, kernel: Kernel) -> None:
        used = (*kernel.params, *kernel.scalars, *(inst.dtype for inst in kernel.body))
        self._foreign = frozenset(dtype for dtype in used if not backend.takes(dtype))
        moves = not kernel.reductions and all(i.op in ("load", "scalar") for i in kernel.body)
        if self._foreign and not moves:
            raise Unsupported(f"{backend.name} has no {min(self._foreign, key=str)}")
        if not backend.takes(_DOUBLE) and any((i.op, i.dtype.kind) in WIDE for i in kernel.body):
            raise Unsupported(f"{backend.name} has no {_DOUBLE}")
        self._backend, self._kernel = backend, kernel
        self._body, self._inputs, self._results = _body(kernel)
        self._cool = _HOT if _joins(kernel) and backend.can_compile else -1  # work until it is compiled; below 0, never
        self._compiled = False
        self._units = [(dtype.itemsize,) for dtype in kernel.params]
        loads = [kernel.body[n] for n in self._inputs]
        self._loads = [(i.op == "load", i.attr, i.dtype, TYPES.get(i.dtype)) for i in loads]
        self._shared = backend.shares and _long(kernel)
        self._plain = not kernel.reductions and not self._foreign and all(i.op != "index" for i in kernel.body)
        self._stores = [(p, self._results.index(v)) for p, v in kernel.stores]
        self._bare = [kernel.body[v].attr if kernel.body[v].op == "load" else None for v in self._results]
        self._finish = [
            (r, spell(r.op, (dtype, dtype)), cast(dtype, kernel.params[r.param]))
            for r in kernel.reductions
            for dtype in (kernel.body[r.value].dtype,)
        ]

    def __call__(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Run the kernel over a loop."""
        self.placed(shape, [a[1:] for a in args])(args, scalars)

    def placed(self, shape: Shape, places: Sequence[tuple[int, Shape]]) -> Callable[..., None]:
        """Return a launch over loops of one geometry."""
        backend, elements = self._backend, math.prod(shape)
        packed = all(place == (0, unit) for place, unit in zip(places, self._units, strict=True))
        whole = self._plain and len(shape) == 1 and packed
        sizes = [elements * unit for (unit,) in self._units]
        pieces = elements // _PIECE if self._shared else 1

        def run(held: Sequence[Any], scalars: Sequence[Any]) -> None:
            mems = [h.mem for h in held]
            with backend.lock, backend.inside:
                if self._cool > 0:
                    self._warm(elements)
                if not whole or [m.size for m in mems] != sizes:
                    self._run(shape, [Arg(m, *place) for m, place in zip(mems, places, strict=True)], scalars)
                    return
                # a map over whole allocations: the common case, with little work
                inputs = []
                for loads, at, dtype, kind in self._loads:
                    value = mems[at].array if loads else literal(scalars[at], dtype)
                    inputs.append(value if value is not None and value.dtype == kind else mems[at].flat(dtype))
                if self._compiled:
                    found = self._compute(inputs)
                elif pieces > 1 and num_threads() > 1:
                    found = self._compute_shared(inputs, elements, min(num_threads(), pieces))
                else:
                    found = self._body(*inputs)
                for p, n in self._stores:
                    value = found[n]
                    if value.size != elements or not value.ndim:
                        value = found[n] = mx.contiguous(mx.broadcast_to(value, (elements,)))
                    mems[p].array = value
                backend.start(found)

        return run

    def _warm(self, elements: int) -> None:
        self._cool -= elements * len(self._kernel.body)
        if self._cool <= 0:
            self._body, self._compiled = mx.compile(self._body, shapeless=True), True

    def _run(self, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        kernel = self._kernel
        outer, inner = shape[: kernel.kept], shape[kernel.kept :]
        columns = bool(kernel.reductions) and by_columns(kernel, shape, args)
        first = kernel.kept if columns else 0  # by columns, the reduced dimensions come first

        def turn(dims: Shape) -> Shape:
            return dims[first:] + dims[:first]

        loop = turn(shape)
        if 0 in shape:  # a reduction of nothing: there is nothing to load nor to store
            values = {r.value: mx.zeros(loop, dtype=TYPES[kernel.body[r.value].dtype]) for r in kernel.reductions}
        else:
            values = dict(zip(self._results, self._values(loop, turn, args, scalars), strict=True))
        changed = []
        for p, v in kernel.stores if 0 not in shape else ():
            dtype, places, strides = self._seen(kernel.params[p], loop, turn(args[p].strides))
            store(args[p].mem, dtype, places, args[p].offset, strides, values[v])
            changed.append(args[p].mem)
        for r, fn, finish in self._finish:
            across = (1, math.prod(inner), math.prod(outer)) if columns else (math.prod(outer), math.prod(inner), 1)
            rows = mx.reshape(mx.broadcast_to(values[r.value], loop), across)
            result = mx.reshape(finish(fold(r.op, fn, rows)), outer)
            store(args[r.param].mem, kernel.params[r.param], outer, args[r.param].offset, args[r.param].strides, result)
            changed.append(args[r.param].mem)
        values.clear()
        self._backend.start([m.array for m in changed])

    def _values(
        self, loop: Shape, turn: Callable[[Shape], Shape], args: Sequence[Arg], scalars: Sequence[Any]
    ) -> list[MxArray]:
        inputs = []
        for number in self._inputs:
            inst = self._kernel.body[number]
            if inst.op == "load":
                arg = args[inst.attr]
                dtype, places, strides = self._seen(inst.dtype, loop, turn(arg.strides))
                inputs.append(load(arg.mem, dtype, places, arg.offset, strides))
            elif inst.dtype in self._foreign:
                inputs.append(literal(np.asarray(scalars[inst.attr], inst.dtype).reshape(1).view(_WORD), _WORD))
            elif inst.op == "scalar":
                inputs.append(literal(scalars[inst.attr], inst.dtype))
            else:
                inputs.append(cast(INT64, inst.dtype)(mx.arange(loop[0] if loop else 1, dtype=mx.int64)))
        return [
            value if p is None or value.nbytes == args[p].mem.size else copied(value)
            for value, p in zip(self._compute(inputs), self._bare, strict=True)
        ]

    def _seen(self, dtype: DType, shape: Shape, strides: Shape) -> tuple[DType, Shape, Shape]:
        """Return a view as the device sees it: what is of a dtype that it lacks is moved in words."""
        if dtype not in self._foreign:
            return dtype, shape, strides
        return _WORD, (*shape, dtype.itemsize // _WORD.itemsize), (*strides, _WORD.itemsize)

    def _compute(self, inputs: Sequence[MxArray]) -> list[MxArray]:
        """Run the body; a compiled one at once, for its compiler may fail, and nothing is written yet."""
        if self._compiled:
            try:
                found = self._body(*inputs)
                with private_compiler():
                    self._backend.start(found)
            except (RuntimeError, ValueError):  # MLX's operations one by one give the same
                self._body, self._cool, self._compiled = _body(self._kernel)[0], -1, False
            else:
                return found
        return self._body(*inputs)

    def _compute_shared(self, inputs: Sequence[MxArray], extent: int, pieces: int) -> list[MxArray]:
        """Run the body on pieces of its loads, each by another thread: a stream of MLX's CPU has one."""
        parts = []
        for n, stream in enumerate(self._backend.streams(pieces)):
            piece = slice(n * extent // pieces, (n + 1) * extent // pieces)
            with mx.stream(stream):
                parts.append(self._body(*[x[piece] if x.ndim else x for x in inputs]))
        return [mx.concatenate(of) if of[0].ndim else of[0] for of in zip(*parts, strict=True)]


class MLXBackend:
    """One of MLX's devices."""

    def __init__(self, which: str) -> None:
        if which not in list_devices():
            raise LookupError(f"MLX has {' and '.join('mlx:' + n for n in list_devices())} here, and no 'mlx:{which}'")
        self.name = f"mlx:{which}"
        device = _DEVICES[which]
        # a stream belongs to the thread that made it, unless one asks; launches from many threads take turns
        make_stream: Callable[[Any], Any] = getattr(mx, "new_thread_unsafe_stream", mx.new_stream)
        self._new_stream = functools.partial(make_stream, device)
        self.stream = self._new_stream()
        self.inside: Any = mx.stream(self.stream)  # for launches, which never nest: making one takes long
        self._streams = [self.stream]
        self.shares = which == "cpu"  # long computations among streams
        self.lock = threading.RLock()
        # The CPU's streams have locks of their own, and what Python does after a wait is in no cache any more
        wait = functools.partial(mx.synchronize, self.stream)
        self.sync: Callable[[], None] = wait if which == "cpu" else functools.partial(self._locked, wait)
        self._programs: dict[Kernel, Program] = {}
        self.can_compile = which == "gpu" or shutil.which("g++") is not None
        info = mx.device_info(device) if hasattr(mx, "device_info") else mx.metal.device_info()
        self._capacity = int(info.get("memory_size") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
        self._room = 0
        version = importlib.metadata.version("mlx")
        self.caps = Caps(
            dtypes=frozenset(d for d in TYPES if which == "cpu" or d.name != "float64"),
            memory=self._capacity,
            description=f"MLX {version}, {which.upper()} {info.get('device_name', '')}".rstrip(),
            info={"version": version},
        )
        self.exact_order = which == "cpu"  # the GPU's merge sort makes no promise, nor do its writes
        self.library: Mapping[str, Native] = natives(self)

    def takes(self, dtype: DType) -> bool:
        """Whether the device has a dtype."""
        return dtype in self.caps.dtypes

    def _locked(self, wait: Callable[[], None]) -> None:
        """Wait until everything launched has run, and launch nothing meanwhile."""
        with self.lock:
            wait()

    def streams(self, count: int) -> list[Any]:
        """Return so many of this device's streams, the first one that of its order."""
        self._streams += [self._new_stream() for _ in range(count - len(self._streams))]
        return self._streams[:count]

    def alloc(self, nbytes: int) -> Memory:
        """Return memory; MLX takes it when something is written."""
        self._room -= nbytes
        if self._room < 0:
            self._make_room(nbytes)
        return Memory(nbytes)

    def _make_room(self, nbytes: int) -> None:
        """Look how much memory there is, and what may be given out until it is looked again."""
        free = self._capacity - mx.get_active_memory()
        if nbytes > free:
            mx.clear_cache()
            self.sync()  # what runs may hold memory that nobody needs after it
            free = self._capacity - mx.get_active_memory()
            if nbytes > free:
                raise self._no_room(nbytes)
        self._room = (free - nbytes) // _SHARE

    def _no_room(self, nbytes: int) -> MemoryError:
        return MemoryError(
            f"Unable to allocate {nbytes} bytes on {self.name} ({self.caps.description}): "
            f"{max(self._capacity - mx.get_active_memory(), 0)} of {self._capacity} bytes are free"
        )

    def write(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy a contiguous host array to the device."""
        if not host.nbytes:
            return
        flat = host.reshape(-1)
        with self.lock, mx.stream(self.stream):
            if host.nbytes != mem.size:
                raw = np.zeros(mem.size, np.uint8)
                self.read(mem, 0, raw)
                raw[offset : offset + host.nbytes] = flat.view(np.uint8)
                flat = raw
            if flat.dtype not in self.caps.dtypes:
                flat = flat.view(np.uint8)
            mem.array = mx.array(flat, dtype=TYPES[flat.dtype])
            mx.eval(mem.array)

    def read(self, mem: Memory, offset: int, host: Array) -> None:
        """Copy from the device into a contiguous host array."""
        if not host.nbytes or mem.array is None:
            return
        with self.lock, mx.stream(self.stream):
            mx.eval(mem.array)
            found: Array = np.array(mem.array, copy=False)
            host.reshape(-1).view(np.uint8)[...] = found.view(np.uint8)[offset : offset + host.nbytes]

    def start(self, arrays: Sequence[MxArray]) -> None:
        """Start computing arrays; when memory is out, give back what MLX keeps and try once more."""
        try:
            mx.async_eval(*arrays)
        except RuntimeError as error:
            if "allocate" not in str(error):
                raise
            mx.clear_cache()
            try:
                mx.async_eval(*arrays)
            except RuntimeError:
                raise self._no_room(sum(a.nbytes for a in arrays)) from error

    def compile(self, kernel: Kernel) -> Launch:
        """Return a launch, or raise `Unsupported`."""
        found = self._programs.get(kernel)
        if found is None:
            found = self._programs[kernel] = Program(self, kernel)
        return found

    def source(self, kernel: Kernel) -> str:
        """Return the calls of MLX, a line for each instruction."""
        lines = []
        for number, inst in enumerate(kernel.body):
            given = [f"v{a}" for a in inst.args]
            if inst.op in ("load", "scalar"):
                given = [f"{inst.op[0].replace('l', 'p')}{inst.attr}"]
            elif inst.op == "literal":
                given = [str(inst.attr)]
            lines.append(f"v{number} = {inst.op}({', '.join(given)})  # {inst.dtype}")
        lines += [f"store(p{p}, v{v})" for p, v in kernel.stores]
        lines += [f"store(p{r.param}, reduce({r.op}, v{r.value}))" for r in kernel.reductions]
        return "\n".join(lines)
