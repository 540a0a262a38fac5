"""What a command that fails leaves behind: an error, which stays with the buffers that it spoils."""

from __future__ import annotations

from collections.abc import Sequence

from .tape import Node


def again(error: BaseException) -> BaseException:
    """Return the error to raise for a result that could not be computed."""
    fresh: BaseException
    try:
        fresh = type(error)(*error.args)
    except Exception:  # a class of a library's, made by other means
        fresh = RuntimeError(str(error))
    fresh.__cause__ = error
    return fresh


def raise_errors(nodes: Sequence[Node]) -> None:
    """Raise the error of what some commands read."""
    for node in nodes:
        for view in node.reads():
            if view.buffer.error is not None:
                raise again(view.buffer.error)


def forget_errors(nodes: Sequence[Node]) -> None:
    """Forget the errors of what some commands have written anew."""
    for node in nodes:
        for view in node.outs:
            if view.buffer.error is not None and view.covers():
                view.buffer.error = None


def poison(nodes: Sequence[Node], error: BaseException) -> None:
    """Keep an error with all that some commands were to write, and say where it came from."""
    for node in nodes:  # first, for memory may be too short to say anything
        for view in node.outs:
            view.buffer.error = error
    ops = ", ".join(dict.fromkeys(n.op for n in nodes))
    sites = ", ".join(dict.fromkeys("{}:{}".format(*n.site) for n in nodes if n.site))
    if not getattr(error, "__notes__", None):
        error.add_note(f"raised while gpuxp ran: {ops}" + (f" (recorded at {sites})" if sites else ""))
