"""One runtime per device: it records commands, flushes them as kernels, and gives the host its results."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import fallback
from .backends.base import Arg, Backend, Launch, Operand, Staging, pageable
from .config import config
from .dtypes import DType
from .errors import ForkError, Unsupported
from .failures import again, forget_errors, poison, raise_errors, release
from .geometry import Ghost, Shape, key_of, placed
from .inspecting import expect, report
from .kernel import Kernel
from .schedule import Loop, Plan, Step, make_plan
from .storage import Buffer, View, host_memory
from .tape import Node, repeating
from .threads import deferred_signals, leave_cores, quiet
from .tracing import Trace

_PLANS = 512  # plans kept
_LOGS = 32  # what compilers said of kernels that they refused
_ALONE = 4  # so many flushes of one or two commands a kernel show that recording does not pay ...
_LINKS = 2  # ... and so many operations on the last one's result that it does
_PENDING_BYTES = 1 << 31  # memory that recorded commands may keep alive

Array = np.ndarray[Any, Any]


class Runtime:
    """The tape, the plans and the memory of one device."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend
        self.host_visible = backend.caps.host_visible
        self.direct = backend.caps.direct
        self._memory = backend.caps.memory
        self.lock = threading.RLock()
        self.nodes: list[Node] = []
        self.epoch = 1  # of the commands that are being recorded
        self.done = 0  # the last one whose commands have run
        self.pending_bytes = 0
        self.counters: Counter[str] = Counter()
        self.direct_calls = 0  # counted apart, for speed
        self._busy = False  # while commands run
        self._alone = 0  # flushes in a row that ran one or two commands
        self._links = 0  # operations in a row, each on the result of the last
        self._latest: Callable[[], object] = lambda: None  # the last array of middling size that was computed at once
        self.last_kernels: deque[Kernel] = deque(maxlen=64)
        self.logs: OrderedDict[Kernel, str] = OrderedDict()  # of kernels that the device's compiler refused
        self._site: tuple[str, int] | None = None  # the user's line of the command that runs
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._launches: OrderedDict[Kernel, Launch] = OrderedDict()
        self.stale = False  # a child process has this runtime from its parent

    # Memory

    def new_buffer(self, shape: Shape, dtype: DType, strides: Shape | None = None) -> View:
        """Return a view of a new buffer that has no memory yet; impossible sizes raise here."""
        made, key = placed(shape, dtype, strides)
        nbytes = made.nbytes
        if not self.fits(nbytes):
            raise MemoryError(
                f"Unable to allocate {nbytes / 2**30:.3g} GiB for an array with shape {shape} and data type {dtype}: "
                f"{self.name} has {self.backend.caps.memory / 2**30:.3g} GiB"
            )
        return View(Buffer(self, nbytes), made, False, key)

    def fits(self, nbytes: int) -> bool:
        """Whether the device could ever have so much memory."""
        return nbytes <= self._memory

    def take(self, source: Any, shape: Shape, dtype: DType, strides: Shape) -> View:
        """Return a copy of an array that offers DLPack on a device which this one can copy from."""
        view = self.new_buffer(shape, dtype, strides)
        with self.lock:
            self.ensure(view.buffer)
            assert self.backend.caps.take is not None
            self.backend.caps.take(source, operand(view))
        self.counters["device_copies"] += 1
        return view

    def adopt(self, array: Array) -> View:
        """Return a view of a host array, whose memory becomes the buffer where the device can use it."""
        if not self.host_visible:
            packed = array if array.flags.forc else array.copy(order="K")  # in the order of memory that NumPy chose
            view = self.new_buffer(array.shape, array.dtype, packed.strides if array.size else None)
            view.buffer.mem = self.backend.alloc(view.buffer.nbytes)
            if array.size:
                self.backend.write(view.buffer.mem, 0, host_memory(packed))
                self.counters["host_writes"] += 1
            return view
        if array.flags.c_contiguous:
            key = placed(array.shape, array.dtype, None)[1] if array.size else key_of(0, array)
            return View(Buffer(self, array.nbytes, array), array, True, key)
        mem = host_memory(array)
        return View(Buffer(self, mem.nbytes, mem), array, real=True)

    def ensure(self, buffer: Buffer) -> None:
        """Give a buffer its memory."""
        if buffer.mem is None:
            buffer.mem = self.backend.alloc(buffer.nbytes)
            self.counters["allocations"] += 1
            if not buffer.wanted:
                self.counters["temporaries"] += 1

    # Recording

    def at_once(self, size: int) -> bool:
        """Whether arrays of a size are computed at once: small ones, and middling ones while deferring does not pay.

        Recording pays when several commands become one kernel. Four flushes in a row with one or two commands a kernel
        tell that this program reads its results as it goes; three operations, each on the last one's, that it does not.
        """
        return size <= config.small or (size <= config.middling and self._alone >= _ALONE and config.small > 0)

    def reads_along(self) -> bool:
        """Whether this program has read its results one by one of late."""
        return self._alone >= _ALONE and config.small > 0

    def watch(self, result: object, *operands: object) -> None:
        """Note that an array of middling size was computed at once; record again if such results make a chain."""
        self._links = self._links + 1 if any(o is self._latest() for o in operands) else 0
        if self._links >= _LINKS:
            self._alone = 0
        self._latest = weakref.ref(result)

    def record(self, node: Node) -> None:
        """Append a command to the tape."""
        shared = False
        with self.lock:
            epoch = self.epoch
            for view in node.outs:
                buffer = view.buffer
                buffer.write_epoch = epoch
                if buffer.foreign or buffer.exports:
                    shared = shared or buffer.shared
            for value in node.ins:
                if type(value) is View:
                    buffer = value.buffer
                    if buffer.read_epoch != epoch and buffer.mem is not None:
                        self.pending_bytes += buffer.nbytes
                    buffer.read_epoch = epoch
                    if buffer.foreign or buffer.exports:
                        shared = shared or buffer.shared
            if not self.host_visible or config.debug:  # it may be needed: a device may be unable to do this
                node.site = fallback.user_site()
            self.nodes.append(node)
            if self._busy:
                return
            if shared:
                self.flush()
                self.backend.sync()
                for view in node.outs:  # the other library would see nothing of a failure
                    if view.buffer.error is not None:
                        raise again(view.buffer.error)
            elif len(self.nodes) >= config.tape or (self.pending_bytes > _PENDING_BYTES and self._keeps_much()):
                self.flush(repeating(self.nodes))

    def _keeps_much(self) -> bool:
        """Whether the tape keeps much memory that nobody else does; what is recorded itself has none yet."""
        read = {id(v.buffer): v.buffer for node in self.nodes for v in node.reads()}
        self.pending_bytes = sum(b.nbytes for b in read.values() if b.mem is not None and not b.wanted)
        return self.pending_bytes > _PENDING_BYTES

    def pending(self, view: View) -> bool:
        """Whether a recorded command is still to read or write the view's buffer."""
        buffer = view.buffer
        return buffer.write_epoch > self.done or buffer.read_epoch > self.done

    # Reading

    def host(self, view: View, staging: Staging = pageable) -> Array:
        """Return the view's contents as a host array: the device's own memory where the host sees it, else a copy."""
        if view.buffer.write_epoch > self.done:
            self.flush()
        return self._contents(view, staging)

    def _contents(self, view: View, staging: Staging = pageable) -> Array:
        buffer = view.buffer
        if self.stale:
            raise ForkError(f"an array on {self.name} was made before fork(); make it in the child process")
        if buffer.error is not None:
            raise again(buffer.error)
        if view.real:
            return view.ghost
        with self.lock:
            self.ensure(buffer)
            if self.host_visible:
                return self._reground(view)
            return self._read(view, staging)

    def _reground(self, view: View) -> Array:
        """Put the view's ghost over its buffer's own memory."""
        if not view.real:
            buffer = view.buffer
            geometry = view.ghost
            start = view.offset if geometry.size else 0  # an empty view may begin past the end
            real: Ghost = np.ndarray(geometry.shape, geometry.dtype, buffer.mem, start, geometry.strides)
            view.ghost = real
            view.real = True
        return view.ghost

    def _read(self, view: View, staging: Staging) -> Array:
        geometry = view.ghost
        if not geometry.size:
            return np.empty(geometry.shape, geometry.dtype)
        low, high = view.extent()
        raw = staging(high - low)
        self.backend.read(view.buffer.mem, low, raw)
        self.counters["host_reads"] += 1
        seen: Array = np.ndarray(geometry.shape, geometry.dtype, raw, view.offset - low, geometry.strides)
        return seen

    # Flushing

    def flush(self, count: int | None = None) -> None:
        """Run every recorded command, or the first `count`."""
        with self.lock:  # another thread may be at it: then wait
            if self._busy:
                raise RuntimeError("gpuxp: a finalizer asked for a result in the middle of a computation")
            left = len(self.nodes) if count is None else count
            while left and self.nodes:
                with deferred_signals() as arrived:  # their handlers run at the end: they may raise, read or record
                    left = self._flush(left, arrived)

    def _flush(self, count: int, arrived: Sequence[int]) -> int:
        """Run the first commands until a signal arrives; return how many of them are left."""
        nodes, rest, self.nodes, self._busy = self.nodes[:count], self.nodes[count:], [], True
        self.epoch += 1
        self.pending_bytes = 0
        self.counters["flushes"] += 1
        self.counters["nodes"] += len(nodes)
        left: Sequence[Node] = ()
        try:
            left = self._execute(nodes, rest, arrived)
        finally:
            recorded, self.nodes, self._busy = self.nodes, [], False  # by finalizers that ran meanwhile
            self._put_back([*left, *rest])
            self.nodes, self.done = self.nodes + recorded, self.epoch - 1
        return len(left)

    def _execute(self, nodes: Sequence[Node], rest: Sequence[Node], arrived: Sequence[int]) -> Sequence[Node]:
        """Plan and run commands, until `arrived` fills; return those that have not run."""
        try:
            trace = Trace(nodes, rest)
            plan = self._plan(trace)
        except Exception as error:
            poison(nodes, error)
            return ()
        self._alone = self._alone + 1 if len(nodes) <= _LINKS * len(plan.steps) else 0
        done = 0
        while done < len(plan.steps):
            if arrived and done:  # a step at least, so that a program with a fast timer gets on
                return [nodes[n] for n in sorted({n for left in plan.steps[done:] for n in left.nodes})]
            if plan.steps[done].shared is not None and self._run_pair(trace, *plan.steps[done : done + 2]):
                done += 2
            else:
                self._run(trace, plan.steps[done])
                done += 1
        return ()

    def _put_back(self, nodes: Sequence[Node]) -> None:
        """Return commands that have not run to the tape."""
        for node in nodes:
            self.nodes.append(node)
            for view in node.outs:
                view.buffer.write_epoch = self.epoch
            for view in node.reads():
                self.pending_bytes += view.buffer.nbytes
                view.buffer.read_epoch = self.epoch

    def _plan(self, trace: Trace) -> Plan:
        limit = self.backend.caps.max_params
        key = (trace.key(), config.fusion, limit)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make_plan(trace, config.fusion, limit)
            self.counters["plans"] += 1
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        else:
            self.counters["plan_hits"] += 1
            self._plans.move_to_end(key)
        return plan

    def _run(self, trace: Trace, step: Step) -> None:
        """Run one step; a failure is kept with its outputs and raised when they are read."""
        begun = failed = False
        self._site = trace.nodes[step.nodes[0]].site
        try:
            if step.kernel is None:
                raise_errors(trace, step)
                begun = True
                self._call_library(trace.nodes[step.nodes[0]])
                failed = True  # or so it may have been before
            else:
                for param in step.params:
                    buffer = trace.views[param].buffer
                    if buffer.error is not None:
                        failed = True
                    if buffer.mem is None:
                        self.ensure(buffer)
                if failed:
                    raise_errors(trace, step)
                begun = True
                self._launch(trace, step)
            if failed:
                forget_errors(trace, step)
        except Exception as error:
            nodes = [trace.nodes[n] for n in step.nodes]
            if len(nodes) > 1 and not begun:
                self._run_singly(nodes)
                return
            poison(nodes, error)
        finally:
            release(trace, step)

    def _run_pair(self, trace: Trace, step: Step, following: Step) -> bool:
        """Run two steps as one pass over memory; tell whether the device did."""
        pair, loops = self.backend.caps.pair, (step.loop(trace), following.loop(trace))
        if pair is None or loops[0].shape != loops[1].shape or loops[0].empty or config.verify or config.debug:
            return False
        assert step.shared is not None
        temporary = trace.views[step.params[step.shared[0]]].buffer
        buffers = {id(b): b for b in (trace.views[p].buffer for p in (*step.params, *following.params))}
        if any(b.error is not None or b.foreign or b.exports for b in buffers.values()):
            return False
        try:
            for buffer in buffers.values():
                if buffer is not temporary:
                    self.ensure(buffer)
        except MemoryError:  # the step that needs it says so
            return False
        args, scalars = zip(*(self._operands(trace, s, loop) for s, loop in zip((step, following), loops, strict=True)),
                            strict=True)  # fmt: skip
        launches = tuple(self._launches.get(loop.kernel) or self._compiled(loop.kernel) for loop in loops)
        if not pair(launches, loops[0].shape, args, scalars, step.shared):
            return False
        self.counters["kernels"] += 2
        self.last_kernels += [loop.kernel for loop in loops]
        release(trace, step)
        release(trace, following)
        return True

    def _operands(self, trace: Trace, step: Step, loop: Loop) -> tuple[list[Arg], list[Any]]:
        """Return a step's arguments and scalars."""
        views, nodes = trace.views, trace.nodes
        args = [Arg(views[p].buffer.mem, *place) for p, place in zip(step.params, loop.places, strict=True)]
        return args, [nodes[n].ins[place] for n, place in step.scalars]

    def _run_singly(self, nodes: Sequence[Node]) -> None:
        """Run the commands of a failed kernel one by one, so that only what depends on the failure is lost."""
        for node in nodes:
            trace = Trace([node])
            for step in make_plan(trace, False, self.backend.caps.max_params, everything=True).steps:
                self._run(trace, Step(step.nodes, step.kernel, step.params, step.scalars, ()))

    def _launch(self, trace: Trace, step: Step) -> None:
        loop = step.loop(trace)
        if loop.empty:
            return
        self.launch(loop.kernel, loop.shape, *self._operands(trace, step, loop))

    def launch(self, kernel: Kernel, shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
        """Launch a kernel: compiled by the device if it can, else run by the host under the fallback policy."""
        self.counters["kernels"] += 1
        self.last_kernels.append(kernel)
        launch = self._launches.get(kernel) or self._compiled(kernel)
        verify = expect(self.name, self.backend, kernel, shape, args, scalars) if config.verify else None
        started = time.perf_counter() if config.debug else 0.0
        try:
            launch(shape, args, scalars)
        except Unsupported as refusal:  # the form that this data needs cannot be built; nothing is written yet
            found = self._launches[kernel] = self._host_launch(kernel, refusal)
            found(shape, args, scalars)
        seconds = time.perf_counter() - started if config.debug else 0.0
        if verify is not None:
            verify()
        if config.debug:
            report(self.name, kernel, shape, args, seconds)

    def _compiled(self, kernel: Kernel) -> Launch:
        try:
            found = self.backend.compile(kernel)
        except Unsupported as refusal:
            found = self._host_launch(kernel, refusal)
        self._launches[kernel] = found
        self.counters["compiles"] += 1
        if len(self._launches) > 4 * _PLANS:
            self._launches.popitem(last=False)
        return found

    def _host_launch(self, kernel: Kernel, refusal: Unsupported) -> Launch:
        """Return a launch that runs on the host's copy of the buffers."""
        reason = refusal.reason
        if refusal.log:
            self.logs[kernel] = refusal.log
            if len(self.logs) > _LOGS:
                self.logs.popitem(last=False)
        ops = "+".join(dict.fromkeys(i.op for i in kernel.body if i.op not in ("load", "scalar"))) or "copy"
        from .backends.software import SoftwareBackend

        inner = SoftwareBackend().compile(kernel)

        def launch(shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
            fallback.on_host(self.name, ops, reason, self._site)
            fallback.run_kernel(self.backend, self.counters, inner, kernel, shape, args, scalars)

        return launch

    def _call_library(self, node: Node) -> None:
        """Run a library command: the device's native, else NumPy on the host."""
        assert node.fn is not None
        self.counters["library_calls"] += 1
        if not self.host_visible:
            reason = self._call_native(node)
            if not reason:
                return
            fallback.on_host(self.name, node.op, reason, node.site)
        arrays = [self._contents(v) if type(v) is View else v for v in node.ins]
        leave_cores()
        self.fill_by(node.outs[0], node.fn, arrays)

    def _call_native(self, node: Node) -> str:
        """Run a library command by the device's own; return why that cannot be, or an empty string."""
        native = self.backend.library.get(node.op)
        if native is None or len(node.reads()) < len(node.ins):
            return "no kernel of its own"
        for view in (*node.reads(), *node.outs):
            self.ensure(view.buffer)
        parameters: Any = node.attr or ()
        try:
            native(dict(parameters), [operand(v) for v in node.reads()], [operand(v) for v in node.outs])
        except Unsupported as reason:
            return reason.reason
        return ""

    def fill_by(self, view: View, fn: Callable[..., Any], arrays: Sequence[Any]) -> None:
        """Put a library's result into a view; its last argument returns the memory, if the view has that to itself."""

        def room() -> Array | None:
            if not self.host_visible or view.buffer.mem is not None or not view.covers():
                return None
            self.ensure(view.buffer)
            return self._reground(view)

        result = quiet(fn, *arrays, room)
        if not view.real or result is not view.ghost:
            self.fill(view, np.asarray(result, dtype=view.ghost.dtype))

    def fill(self, view: View, result: Array) -> None:
        """Put a host array into a view; a fresh buffer takes over the array's memory where it can."""
        buffer = view.buffer
        if not self.host_visible:
            self.ensure(buffer)
            host = np.empty(buffer.nbytes, np.uint8)
            if buffer.nbytes and not view.covers():
                self.backend.read(buffer.mem, 0, host)
                self.counters["host_reads"] += 1
            seen: Array = np.ndarray(view.ghost.shape, result.dtype, host, view.offset, view.ghost.strides)
            seen[...] = result
            if buffer.nbytes:
                self.backend.write(buffer.mem, 0, host)
                self.counters["host_writes"] += 1
            return
        if buffer.mem is None and view.covers() and result.flags.owndata and result.strides == view.ghost.strides:
            buffer.mem = host_memory(result)
            return
        self.ensure(buffer)
        self._reground(view)[...] = result

    def stats(self) -> dict[str, int]:
        """Return the counters."""
        names = (
            "nodes", "flushes", "kernels", "plans", "plan_hits", "compiles", "allocations", "temporaries",
            "library_calls", "host_reads", "host_writes", "device_copies",
        )  # fmt: skip
        found = {name: self.counters[name] for name in names} | {"direct_calls": self.direct_calls}
        found["fallbacks"] = sum(n for what, n in fallback.counts.items() if what.startswith(f"{self.name}:"))
        return found | self.backend.caps.counters

    def before_fork(self) -> None:
        """Take the lock, so that the child does not inherit a half-run flush."""
        self.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Release what `before_fork` took."""
        self.lock.release()

    def after_fork_in_child(self) -> None:
        """Start with a fresh lock; recorded commands stay, for the child has its own copy of their memory."""
        self.lock = threading.RLock()
        self.stale = not self.backend.caps.survives_fork


def operand(view: View) -> Operand:
    """Return a view as natives see it."""
    geometry = view.ghost
    offset = view.offset if geometry.size else 0  # an empty view may begin past the end
    return Operand(view.buffer.mem, offset, geometry.strides, geometry.shape, geometry.dtype)

