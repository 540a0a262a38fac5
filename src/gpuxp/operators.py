"""The operators of the array, attached from a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from .array import VALUE, is_direct, ndarray
from .threads import quiet
from .ufunc import PYTHON_SCALARS, UFUNCS, check_writeable, ufunc

_KNOWN = {ndarray, int, float, complex, bool}
_BINARY = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide",
    "mod": "remainder", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "left_shift", "rshift": "right_shift",
}  # fmt: skip
_COMPARE = {"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
_UNARY = {"neg": "negative", "pos": "positive", "invert": "invert", "abs": "absolute"}


def _understood(value: Any) -> bool:
    """Whether an operator may take the other operand; what it does not know answers for itself."""
    return type(value) in _KNOWN or isinstance(value, (np.ndarray, np.generic, list, tuple))


def _apply(fn: ufunc, other: Any, operands: tuple[Any, Any]) -> Any:
    found = fn.small(operands)
    if found is not None:
        return found
    return fn(*operands) if _understood(other) else NotImplemented


def _operators(name: str, fn: ufunc) -> dict[str, Any]:
    def forward(self: ndarray, other: Any) -> Any:
        return _apply(fn, other, (self, other))

    def reflected(self: ndarray, other: Any) -> Any:
        return _apply(fn, other, (other, self))

    def in_place(self: ndarray, other: Any) -> Any:
        if not _understood(other):
            return NotImplemented
        if self._state == VALUE:  # values do not change: the name is bound to a new one, as with NumPy's scalars
            return fn(self, other)
        return inplace(fn, self, other)

    return {f"__{name}__": forward, f"__r{name}__": reflected, f"__i{name}__": in_place}


def inplace(fn: ufunc, target: ndarray, other: Any) -> ndarray:
    """Run ``target op= other``."""
    check_writeable(target, fn.__name__)
    runtime = target._view.buffer.runtime
    if type(other) in PYTHON_SCALARS or (type(other) is ndarray and other._view.buffer.runtime is runtime):
        views = (target._view,) if type(other) is not ndarray else (target._view, other._view)
        if is_direct(runtime, views) and not runtime.pending(target._view) and fn.row.expand is None and not fn.row.ulp:
            values = [runtime.host(v) for v in views]
            quiet(fn.numpy, values[0], *(values[1:] or (other,)), out=values[0])
            runtime.counters["direct_calls"] += 1
            return target
    return fn(target, other, out=target)


def _comparison(fn: ufunc) -> Any:
    def compare(self: ndarray, other: Any) -> Any:
        return _apply(fn, other, (self, other))

    return compare


def _unary(fn: ufunc) -> Any:
    def apply(self: ndarray) -> ndarray:
        return fn(self)

    return apply


def power_operator(x: Any, y: Any) -> ndarray:
    """Return ``x ** y`` as NumPy's operator does: some constant exponents have functions of their own."""
    if type(y) in (int, float) and type(x) is ndarray:
        if x.dtype.kind in "fc" and y in _SHORTCUTS:
            return UFUNCS[_SHORTCUTS[y]](x)
        if x.dtype.kind in "iu" and type(y) is int and y == 2:
            return UFUNCS["square"](x)
        if x.dtype.kind in "iu" and type(y) is int and y < 0:
            raise ValueError("Integers to negative integer powers are not allowed.")
    return UFUNCS["power"](x, y)


_SHORTCUTS = {2: "square", 1: "positive", 0.5: "sqrt", -1: "reciprocal"}


def _pow(self: ndarray, other: Any) -> Any:
    return power_operator(self, other) if _understood(other) else NotImplemented


def _rpow(self: ndarray, other: Any) -> Any:
    return power_operator(other, self) if _understood(other) else NotImplemented


def _ipow(self: ndarray, other: Any) -> Any:
    if self._state == VALUE or not _understood(other):
        return _pow(self, other)
    if type(other) in (int, float) and self.dtype.kind in "fc" and other in _SHORTCUTS:
        return UFUNCS[_SHORTCUTS[other]](self, out=self)
    if type(other) is int and other < 0 and self.dtype.kind in "iu":
        raise ValueError("Integers to negative integer powers are not allowed.")
    return inplace(UFUNCS["power"], self, other)


def divmod_(x: Any, y: Any) -> tuple[ndarray, ndarray]:
    """Return quotient and remainder, as `numpy.divmod`."""
    return UFUNCS["floor_divide"](x, y), UFUNCS["remainder"](x, y)


def _attach() -> None:
    methods: dict[str, Any] = {}
    for name, fn in _BINARY.items():
        methods |= _operators(name, UFUNCS[fn])
    methods |= {f"__{name}__": _comparison(UFUNCS[fn]) for name, fn in _COMPARE.items()}
    methods |= {f"__{name}__": _unary(UFUNCS[fn]) for name, fn in _UNARY.items()}
    methods |= {"__pow__": _pow, "__rpow__": _rpow, "__ipow__": _ipow, "__divmod__": divmod_}
    methods["__rdivmod__"] = lambda self, other: divmod_(other, self)
    for name, method in methods.items():
        if hasattr(method, "__qualname__"):
            method.__name__, method.__qualname__ = name, f"ndarray.{name}"
        setattr(ndarray, name, method)


_attach()
