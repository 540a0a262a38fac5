"""What a step leaves behind: errors that stay with the buffers they spoil, and memory that nothing reads any more."""

from __future__ import annotations

from collections.abc import Sequence

from .schedule import Step
from .tape import Node
from .tracing import Trace


def again(error: BaseException) -> BaseException:
    """Return the error to raise for a result that could not be computed."""
    fresh: BaseException
    try:
        fresh = type(error)(*error.args)
    except Exception:  # a class of a library's, made by other means
        fresh = RuntimeError(str(error))
    fresh.__cause__ = error
    return fresh


def release(trace: Trace, step: Step) -> None:
    """Give back the memory of what nothing reads any more."""
    for number in step.dead:
        buffer = trace.buffers[number]
        if not (buffer.foreign or buffer.exports):
            buffer.mem = None


def raise_errors(trace: Trace, step: Step) -> None:
    """Raise the error of what a step reads."""
    for number in step.nodes:
        for view in trace.nodes[number].reads():
            if view.buffer.error is not None:
                raise again(view.buffer.error)


def forget_errors(trace: Trace, step: Step) -> None:
    """Forget the errors of what a step has written anew."""
    for number in step.nodes:
        for view in trace.nodes[number].outs:
            if view.buffer.error is not None and view.covers():
                view.buffer.error = None


def poison(nodes: Sequence[Node], error: BaseException) -> None:
    """Keep an error with all that some commands were to write, and say where it came from."""
    ops = ", ".join(dict.fromkeys(n.op for n in nodes))
    sites = ", ".join(dict.fromkeys("{}:{}".format(*n.site) for n in nodes if n.site))
    if not getattr(error, "__notes__", None):
        error.add_note(f"raised while gpuxp ran: {ops}" + (f" (recorded at {sites})" if sites else ""))
    for node in nodes:
        for view in node.outs:
            view.buffer.error = error
