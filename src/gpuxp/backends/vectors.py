"""Compiled forms of `gpuxp.vectormath`: real NumPy ufuncs around loops that LLVM made."""

from __future__ import annotations

from typing import Any

from ..codegen.llvmloop import LOOP, render_loop
from ..dtypes import FLOAT64, DType
from ..kernel import Inst, Kernel
from ..ops import result_dtype
from ..threads import compiling
from ..vectormath import LIMIT, Vectorised
from .jit import build
from .ufuncs import address_of, make_ufunc


class _Body:
    """Writes a sequence as the body of a kernel."""

    def __init__(self) -> None:
        self.body = [Inst("load", (), FLOAT64, 0)]

    def _emit(self, op: str, args: tuple[int, ...], dtype: DType, attr: Any = 0) -> int:
        self.body.append(Inst(op, args, dtype, attr))
        return len(self.body) - 1

    def op(self, name: str, *args: int) -> int:
        """Apply a row."""
        return self._emit(name, args, result_dtype(name, [self.body[a].dtype for a in args]))

    def literal(self, value: Any, like: int) -> int:
        """Return a constant."""
        return self._emit("literal", (), self.body[like].dtype, value)


def _kernel(function: Vectorised) -> Kernel:
    """Return the sequence as a kernel from one parameter to another."""
    body = _Body()
    result = function.sequence(body, 0)
    return Kernel((FLOAT64, FLOAT64), (), tuple(body.body), ((1, result),))


def ensure(function: Vectorised) -> Any:
    """Compile a function unless that is done; return its ufunc."""
    with compiling:
        if function.compiled is None:
            slow = address_of(function.ufunc, (FLOAT64, FLOAT64))
            if slow is None:
                raise RuntimeError(f"NumPy's loop of {function.ufunc.__name__} was not found")
            code = build(render_loop(_kernel(function), LIMIT), LOOP)
            # the loop's data is another loop, for what it leaves to it
            function.compiled = make_ufunc(code, code.address, slow, (FLOAT64, FLOAT64), function.ufunc.__name__)
        return function.compiled
