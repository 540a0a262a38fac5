"""One runtime per device: it records commands, flushes them as kernels, and gives the host its results."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import fallback
from .backends.base import Backend, Staging, pageable
from .config import config
from .dtypes import DType
from .engine import Engine, operand
from .failures import again, poison
from .geometry import Shape, key_of, placed
from .gram import Multiplication
from .replay import Act, Scripts, Survey, bind, survey
from .schedule import Plan, make_plan
from .storage import Buffer, View, host_memory
from .tape import Node, repeating
from .threads import deferred_signals, need_stack
from .tracing import Trace

_PLANS = 512  # plans kept
_ALONE = 4  # so many flushes of one or two commands a kernel show that recording does not pay ...
_LINKS = 2  # ... and so many operations on the last one's result that it does
_PENDING_BYTES = 1 << 31  # memory that recorded commands may keep alive
_FRAMES = 64  # of the stack, which a flush may need

Array = np.ndarray[Any, Any]


class Runtime(Engine):
    """The tape and the plans of one device."""

    def __init__(self, name: str, backend: Backend) -> None:
        super().__init__(name, backend)
        self.direct = backend.caps.direct
        self.multiply = Multiplication(self.direct)
        self.nodes: list[Node] = []
        self.done = 0  # the last epoch whose commands have run
        self.pending_bytes = 0
        self.direct_calls = 0  # counted apart, for speed
        self._busy = False  # while commands run
        self._alone = 0  # flushes in a row that ran one or two commands
        self._links = 0  # operations in a row, each on the result of the last
        self._latest: Callable[[], object] = lambda: None  # the last array of middling size that was computed at once
        self._plans: OrderedDict[Any, Plan] = OrderedDict()
        self._scripts = Scripts()

    def forget(self) -> None:
        """Forget plans and launches: all that is found again."""
        for known in (self._plans, self._scripts, self._launches):
            known.clear()

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

    # Recording

    def at_once(self, size: int) -> bool:
        """Whether arrays of a size are computed at once: small ones, and middling ones while deferring does not pay.

        Recording pays when several commands become one kernel. Four flushes in a row with one or two commands a kernel
        tell that this program reads its results as it goes; three operations, each on the last one's, that it does not.
        A device has nothing to compute with at once.
        """
        if not self.host_visible:
            return False
        return size <= config.small or (size <= config.middling and self._alone >= _ALONE and config.small > 0)

    def watch(self, result: object, *operands: object) -> None:
        """Note that an array of middling size was computed at once; record again if such results make a chain."""
        self._links = self._links + 1 if any(o is self._latest() for o in operands) else 0
        if self._links >= _LINKS:
            self._alone = 0
        self._latest = weakref.ref(result)

    def record(self, node: Node, inside: int = 1) -> None:
        """Append a command to the tape; so many frames around are known to be gpuxp's."""
        if not self.host_visible or config.debug:  # it may be needed: a device may be unable to do this
            node.site = fallback.user_site(inside + 1)
        with self.lock:
            epoch = 0
            while epoch != self.epoch:  # once more if a finalizer, or a handler of signals, has read results meanwhile
                epoch, shared = self.epoch, False
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
            self.nodes.append(node)
            if self._busy:
                return
            full = len(self.nodes) >= config.tape or (self.pending_bytes > _PENDING_BYTES and self._keeps_much())
        if shared:
            self.flush()
            self.backend.sync()
            for view in node.outs:  # the other library would see nothing of a failure
                if view.buffer.error is not None:
                    raise again(view.buffer.error)
        elif full:
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

    # Flushing

    def flush(self, count: int | None = None) -> None:
        """Run every recorded command, or the first `count`."""
        need_stack(_FRAMES)
        left = count
        while left is None or left:
            signals = deferred_signals()
            try:
                with self.lock:  # another thread may be at it: then wait
                    if self._busy:
                        raise RuntimeError("gpuxp: a finalizer asked for a result in the middle of a computation")
                    if not self.nodes:
                        return
                    with signals as arrived:
                        left = self._flush(len(self.nodes) if left is None else left, arrived)
            finally:
                if signals.arrived:
                    signals.handle()  # without the lock, for they may wait for threads; they may raise, read or record

    def _flush(self, count: int, arrived: Sequence[int]) -> int:
        """Run the first commands until a signal arrives; return how many of them are left."""
        self._busy = True  # from here on finalizers may record, but not read
        nodes, self.nodes = self.nodes, []
        rest: Sequence[Node] = ()
        if count < len(nodes):
            rest = nodes[count:]
            del nodes[count:]
        self.epoch += 1
        self.pending_bytes = 0
        self.counters["flushes"] += 1
        self.counters["nodes"] += len(nodes)
        left: Sequence[Node] = ()
        try:
            left = self._execute(nodes, rest, arrived)
        except BaseException as error:  # which another thread raised in this one, say
            poison(nodes, error)
            raise
        finally:
            if self._spare:
                self._spare.clear()
            if left or rest:
                self._put_back([*left, *rest])
            self.done, self._busy = self.epoch - 1, False
        return len(left)

    def _execute(self, nodes: Sequence[Node], rest: Sequence[Node], arrived: Sequence[int]) -> Sequence[Node]:
        """Plan and run commands, until `arrived` fills; return those that have not run."""
        try:
            found = survey(nodes, rest)
            acts = self._scripts.get(found.key)
            if acts is None:
                acts = self._scripted(nodes, found)
        except Exception as error:
            poison(nodes, error)
            return ()
        self.counters["plan_hits"] += 1
        self._alone = self._alone + 1 if len(nodes) <= _LINKS * len(acts) else 0
        done, buffers = 0, found.buffers
        while done < len(acts):
            if arrived and done:  # a step at least, so that a program with a fast timer gets on
                return [nodes[n] for n in sorted({n for left in acts[done:] for n in left.nodes})]
            together = 0 if acts[done].joint is False else self.run_joint(acts, done, nodes, buffers)
            if not together:
                self.run(acts[done], nodes, buffers)
            done += together or 1
        return ()

    def _put_back(self, nodes: Sequence[Node]) -> None:
        """Return commands that have not run to the tape, before those that finalizers recorded meanwhile."""
        for node in nodes:
            for view in node.outs:
                view.buffer.write_epoch = self.epoch
            for view in node.reads():
                self.pending_bytes += view.buffer.nbytes
                view.buffer.read_epoch = self.epoch
        self.nodes[:0] = nodes

    def _scripted(self, nodes: Sequence[Node], found: Survey) -> list[Act]:
        """Return the acts of a tape that was not run before; a plan may be known all the same."""
        trace, limit = Trace(nodes, found.wanted), self.backend.caps.max_params
        key = (trace.key(), config.fusion, limit)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = make_plan(trace, config.fusion, limit)
            self.counters["plans"] += 1
            self.counters["plan_hits"] -= 1
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        acts = bind(trace, plan.steps)
        self._scripts.keep(found.key, acts, len(nodes))
        return acts

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
