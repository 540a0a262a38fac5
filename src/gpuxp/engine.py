"""How the steps of a plan run on one device: its memory, its kernels, its library, and the host where these lack."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from . import fallback
from .backends.base import Arg, Backend, Joint, Launch, Neighbour, Operand, Placed, Staging, pageable, placed
from .config import config
from .errors import ForkError, Unsupported
from .failures import again, forget_errors, poison, raise_errors
from .geometry import Ghost, Shape
from .gram import Multiplication
from .inspecting import expect, report
from .kernel import Inst, Kernel
from .replay import Act, bind
from .schedule import Loop, make_plan
from .storage import Buffer, View, host_memory
from .tape import Node
from .threads import leave_cores, quiet
from .tracing import Trace

_LAUNCHES = 2048  # compiled kernels kept
_TOGETHER = 16  # acts that may become one pass
_SOON = 1 << 16  # elements of a loop for which that is found out although its tape may never come again
_LOGS = 32  # what compilers said of kernels that they refused
_SPARE = 1 << 22  # bytes of a temporary whose memory the next one takes over

Array = np.ndarray[Any, Any]


class Engine:
    """The memory and the kernels of one device."""

    def __init__(self, name: str, backend: Backend) -> None:
        self.name = name
        self.backend = backend
        self.host_visible = backend.caps.host_visible
        self._memory = backend.caps.memory
        self.lock = threading.RLock()
        self.counters: Counter[str] = Counter()
        self.last_kernels: deque[Kernel] = deque(maxlen=64)
        self.logs: OrderedDict[Kernel, str] = OrderedDict()  # of kernels that the device's compiler refused
        self.stale = False  # a child process has this runtime from its parent
        self.epoch = 1  # of the commands that are being recorded
        self._node: Node | None = None  # the first command of the step that runs
        self._launches: OrderedDict[Kernel, Launch] = OrderedDict()
        self._spare: dict[int, list[tuple[Any, int]]] = {}  # memory of temporaries of this flush, by size; and address

    # Memory

    def fits(self, nbytes: int) -> bool:
        """Whether the device could ever have so much memory."""
        return nbytes <= self._memory

    def ensure(self, buffer: Buffer) -> None:
        """Give a buffer its memory."""
        if buffer.mem is None:
            buffer.mem = self.backend.alloc(buffer.nbytes)
            self._count(buffer)

    def _count(self, buffer: Buffer) -> None:
        self.counters["allocations"] += 1
        if not buffer.wanted:
            self.counters["temporaries"] += 1

    def _provide(self, buffer: Buffer) -> None:
        """Give a buffer its memory in the middle of a flush: that of a temporary which is gone, if one was as large."""
        if self._spare and (spare := self._spare.get(buffer.nbytes)):
            buffer.mem, buffer.address = spare.pop()
        else:
            try:
                buffer.mem = self.backend.alloc(buffer.nbytes)
            except MemoryError:
                if not self._spare:
                    raise
                self._spare.clear()
                buffer.mem = self.backend.alloc(buffer.nbytes)
        self._count(buffer)
        buffer.made = self.epoch

    def _release(self, act: Act, buffers: Sequence[Buffer]) -> None:
        """Give back the memory of what nothing reads any more."""
        for number in act.dead:
            buffer = buffers[number]
            if buffer.mem is not None and not (buffer.foreign or buffer.exports):
                if buffer.made == self.epoch and self.host_visible and buffer.nbytes <= _SPARE:
                    self._spare.setdefault(buffer.nbytes, []).append((buffer.mem, buffer.address))
                buffer.mem, buffer.address = None, 0

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

    # Running

    def run(self, act: Act, nodes: Sequence[Node], buffers: Sequence[Buffer]) -> None:
        """Run one act; a failure is kept with its outputs and raised when they are read."""
        begun = failed = False
        self._node = nodes[act.nodes[0]]
        try:
            if act.loop is None:
                raise_errors([self._node])
                begun = True
                self._call_library(self._node)
                failed = True  # or so it may have been before
            else:
                held = [buffers[n] for n in act.buffers]
                for buffer in held:
                    if buffer.error is not None:
                        failed = True
                    if buffer.mem is None:
                        self._provide(buffer)
                if failed:
                    raise_errors([nodes[n] for n in act.nodes])
                begun = True
                if not act.loop.empty:
                    scalars = act.scalars and [nodes[n].ins[place] for n, place in act.scalars]
                    self._launch(act, act.loop, held, scalars)
            if failed:
                forget_errors([nodes[n] for n in act.nodes])
        except Exception as error:
            spoiled = [nodes[n] for n in act.nodes]
            if len(spoiled) > 1 and not begun:
                self._run_singly(spoiled)
                return
            poison(spoiled, error)
        finally:
            self._node = None
            if act.dead:
                self._release(act, buffers)

    def _run_singly(self, nodes: Sequence[Node]) -> None:
        """Run the commands of a failed kernel one by one, so that only what depends on the failure is lost."""
        for node in nodes:
            trace = Trace([node])
            for act in bind(trace, make_plan(trace, False, self.backend.caps.max_params, everything=True).steps):
                act.dead = ()
                self.run(act, [node], trace.buffers)

    def _launch(self, act: Act, loop: Loop, held: Sequence[Buffer], scalars: Sequence[Any]) -> None:
        """Launch a kernel: compiled by the device if it can, else run by the host under the fallback policy."""
        kernel = loop.kernel
        self.counters["kernels"] += 1
        self.last_kernels.append(kernel)
        launch = act.launch or self._place(act, loop)
        watch = self._watch(loop, held, scalars) if config.verify or config.debug else None
        try:
            launch(held, scalars)
        except Unsupported as refusal:  # the form that this data needs cannot be built; nothing is written yet
            self._launches[kernel] = self._host_launch(kernel, refusal)
            self._place(act, loop)(held, scalars)
        if watch is not None:
            watch()

    def _watch(self, loop: Loop, held: Sequence[Buffer], scalars: Sequence[Any]) -> Callable[[], None]:
        """Return what is to be done after a launch that is verified or listed."""
        kernel = loop.kernel
        args = [Arg(b.mem, *place) for b, place in zip(held, loop.places, strict=True)]
        verify = expect(self.name, self.backend, kernel, loop.shape, args, scalars) if config.verify else None
        started = time.perf_counter()

        def after() -> None:
            seconds = time.perf_counter() - started
            if verify is not None:
                verify()
            if config.debug:
                report(self.name, kernel, loop.shape, args, seconds)

        return after

    def _place(self, act: Act, loop: Loop) -> Placed:
        """Return the launch of an act, which keeps it."""
        launch = self._launches.get(loop.kernel) or self._compiled(loop.kernel)
        found = act.launch = placed(launch, loop.shape, loop.places)
        return found

    def run_joint(self, acts: Sequence[Act], first: int, nodes: Sequence[Node], buffers: Sequence[Buffer]) -> int:
        """Run some acts as one pass over memory; return how many the device did, 0 if it did none."""
        if config.verify or config.debug:
            return 0
        joint = acts[first].joint or self._join(acts, first)
        if not joint:
            return 0
        need = joint.ready()
        if need is None:
            acts[first].joint = joint if joint.launches else False
            return 0
        members = acts[first : first + joint.launches]
        held = [[buffers[n] for n in act.buffers] for act in members]
        if any(b.error is not None for own in held for b in own):
            return 0
        if any(buffers[n].foreign or buffers[n].exports for n in joint.written):  # it may be read by another name
            return 0
        try:
            scratch = self.backend.alloc(need)
            for act, own in zip(members, held, strict=True):
                for number, buffer in zip(act.buffers, own, strict=True):
                    if buffer.mem is None and number not in joint.temporaries:
                        self._provide(buffer)
        except MemoryError:  # the step that needs it says so
            return 0
        joint.run(scratch, held, [[nodes[n].ins[place] for n, place in act.scalars] for act in members])
        for act in members:
            assert act.loop is not None
            self.counters["kernels"] += 1
            self.last_kernels.append(act.loop.kernel)
            self._release(act, buffers)
        return joint.launches

    def _join(self, acts: Sequence[Act], first: int) -> Joint | Literal[False]:
        """Look whether some acts can be one pass; this is asked once, of small ones when they run again."""
        act, join = acts[first], self.backend.caps.joint
        if act.launch is None and act.loop is not None and math.prod(act.loop.shape) < _SOON:
            return False
        act.joint = False
        if join is not None:
            launches, neighbours = [], []
            for member in acts[first : first + _TOGETHER]:
                loop = member.loop
                if loop is None or loop.empty or not loop.shape:
                    break
                launches.append(member.launch or self._place(member, loop))
                neighbours.append(Neighbour(member.buffers, member.dead, member.shared))
            act.joint = (len(launches) > 1 and join(launches, neighbours)) or False
        return act.joint

    def _compiled(self, kernel: Kernel) -> Launch:
        try:
            found = self.backend.compile(kernel)
        except Unsupported as refusal:
            found = self._host_launch(kernel, refusal)
        else:
            power = next((i for i in kernel.body if i.op == "power" and i.dtype.kind == "i"), None)
            if power is not None and not self.host_visible:  # NumPy's loop, which runs otherwise, looks by itself
                found = self._checked(found, kernel, power)
        self._launches[kernel] = found
        self.counters["compiles"] += 1
        if len(self._launches) > _LAUNCHES:
            self._launches.popitem(last=False)
        return found

    def _checked(self, launch: Launch, kernel: Kernel, power: Inst) -> Launch:
        """Return a launch of a power of integers that raises what NumPy does where an exponent is negative."""
        exponent = kernel.body[power.args[1]]
        while exponent.op == "cast":
            exponent = kernel.body[exponent.args[0]]

        def checked(shape: Shape, args: Sequence[Arg], scalars: Sequence[Any]) -> None:
            values: Any = scalars[exponent.attr] if exponent.op == "scalar" else exponent.attr
            if exponent.op == "load":
                arg = args[exponent.attr]
                host = fallback.to_host(self.backend, arg.mem, fallback.size_of(arg.mem))
                values = np.ndarray(shape, exponent.dtype, host, arg.offset, arg.strides)
                self.counters["host_reads"] += 1
            if np.less(values, 0).any():
                np.power(np.ones(1, power.dtype), power.dtype.type(-1))
            launch(shape, args, scalars)

        return checked

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
            site = None if self._node is None else self._node.site
            fallback.on_host(self.name, ops, reason, site)
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
        if type(node.fn) is not Multiplication:  # which may work on them
            leave_cores()
        self.fill_by(node.outs[0], node.fn, arrays)

    def _call_native(self, node: Node) -> str:
        """Run a library command by the device's own; return why that cannot be, or an empty string."""
        native = self.backend.library.get(node.op)
        reads = node.reads()
        if native is None or len(reads) < len(node.ins):
            return "no kernel of its own"
        for view in (*reads, *node.outs):
            self.ensure(view.buffer)
        parameters: Any = node.attr or ()
        try:
            native(dict(parameters), [operand(v) for v in reads], [operand(v) for v in node.outs])
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


def operand(view: View) -> Operand:
    """Return a view as natives see it."""
    geometry = view.ghost
    offset = (view._key or view.key)[0] if geometry.size else 0  # an empty view may begin past the end
    return Operand(view.buffer.mem, offset, geometry.strides, geometry.shape, geometry.dtype)
