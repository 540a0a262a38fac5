"""What the engine is about to do, for people."""

from __future__ import annotations

from typing import Any

from .array import ndarray
from .config import config
from .devices import runtime_of


def explain(x: Any = None) -> str:
    """Return what is recorded for an array's device: the commands, the kernels they become, their generated code.

    Nothing runs. An array whose commands have run already explains the last kernels instead.

    Examples
    --------
    >>> import gpuxp as np
    >>> with np.configure(small=0):
    ...     x = np.ones(3)
    ...     y = x * 2 + x
    ...     print("1 kernel" in np.explain(y))
    True
    """
    from .schedule import make_plan  # a part of the engine
    from .tracing import Trace

    runtime = x._runtime if type(x) is ndarray else runtime_of()
    with runtime.lock:
        nodes = list(runtime.nodes)
        lines = [f"device {runtime.name}: {runtime.backend.caps.description}"]
        if not nodes:
            kernels = list(runtime.last_kernels)[-4:]
            lines.append(f"nothing recorded; the last {len(kernels)} kernels:")
        else:
            trace = Trace(nodes)
            plan = make_plan(trace, config.fusion, runtime.backend.caps.max_params)
            kernels = [s.kernel for s in plan.steps if s.kernel is not None and s.kernel.outputs]
            lines.append(f"{len(nodes)} recorded commands:")
            lines += [f"  {node!r}" for node in nodes]
            lines.append(f"{len(kernels)} kernel{'s' * (len(kernels) != 1)}:")
    for kernel in kernels:
        lines.append(kernel.pretty())
        lines += ["    " + line for line in runtime.backend.source(kernel).splitlines()]
        if kernel in runtime.logs:
            lines += [f"{runtime.name} refused it, and the host runs it:"]
            lines += ["    " + line for line in runtime.logs[kernel].splitlines()]
    return "\n".join(lines)
