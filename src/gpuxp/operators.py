"""The operators of the array, attached from a table."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from .array import VALUE, ndarray
from .convert import open_call
from .small import augmented, binary, unary
from .ufunc import UFUNCS, check_writeable, ufunc

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


def _taken(fn: ufunc, self: Any, other: Any) -> bool:
    """Do the same for one ufunc: a sequence is repeated by a value, as by NumPy's scalars."""
    repeats = fn.__name__ == "multiply" and isinstance(other, (list, tuple)) and self._state == VALUE
    return not repeats and _understood(other)


def _forward(fn: ufunc) -> Any:
    def otherwise(self: Any, other: Any) -> Any:
        return fn.plain(self, other) if type(other) in _KNOWN or _taken(fn, self, other) else NotImplemented

    return binary(fn.row, otherwise)


def _equality(fn: ufunc, compared: Any) -> Any:
    """Return an operator that takes anything: `None`, strings and objects are compared by NumPy, one by one."""

    def otherwise(self: Any, other: Any) -> Any:
        return fn.plain(self, other) if _understood(other) else open_call(fn.__name__, compared, self, other)

    return binary(fn.row, otherwise)


def _reflected(fn: ufunc) -> Any:
    def otherwise(other: Any, self: Any) -> Any:
        return fn.plain(other, self) if _taken(fn, self, other) else NotImplemented

    apply = binary(fn.row, otherwise)

    def reflected(self: Any, other: Any) -> Any:
        return apply(other, self)

    return reflected


def _in_place(fn: ufunc, forward: Any) -> Any:
    def otherwise(self: ndarray, other: Any) -> Any:
        if self._state == VALUE:  # values do not change: the name is bound to a new one, as with NumPy's scalars
            return forward(self, other)
        if not _understood(other):
            return NotImplemented
        check_writeable(self, fn.__name__)
        return fn.into_first(self, other)

    return augmented(fn.row, forward, otherwise)


def power_operator(x: Any, y: Any) -> ndarray:
    """Return ``x ** y`` as NumPy's operator does: some constant exponents have functions of their own."""
    if type(y) in (int, float) and type(x) is ndarray:
        if x.dtype.kind in "fc" and y in _SHORTCUTS:
            return UFUNCS[_SHORTCUTS[y]](x)
        if type(y) is int and y == 2 and x.dtype.kind in ("iu" if x._state == VALUE else "biu"):
            return UFUNCS["square"](x)
        _check_power(x, y)
    return UFUNCS["power"](x, y)


def _check_power(x: ndarray, y: Any) -> None:
    """Raise at the call what NumPy says of negative powers of integers."""
    if type(y) is int and y < 0 and x.dtype.kind in "iu":
        np.power(np.ones(min(x.size, 1), x.dtype), y)


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
    _check_power(self, other)
    check_writeable(self, "power")
    return UFUNCS["power"].into_first(self, other)


def divmod_(x: Any, y: Any) -> tuple[ndarray, ndarray]:
    """Return quotient and remainder, as `numpy.divmod`."""
    return UFUNCS["floor_divide"](x, y), UFUNCS["remainder"](x, y)


def _attach() -> None:
    methods: dict[str, Any] = {}
    for name, fn in _BINARY.items():
        methods[f"__{name}__"] = forward = _forward(UFUNCS[fn])
        methods[f"__r{name}__"] = _reflected(UFUNCS[fn])
        methods[f"__i{name}__"] = _in_place(UFUNCS[fn], forward)
    methods |= {f"__{name}__": _forward(UFUNCS[fn]) for name, fn in _COMPARE.items()}
    methods |= {f"__{name}__": _equality(UFUNCS[_COMPARE[name]], getattr(operator, name)) for name in ("eq", "ne")}
    methods |= {f"__{name}__": unary(UFUNCS[fn].row, UFUNCS[fn].plain) for name, fn in _UNARY.items()}
    methods |= {"__pow__": _pow, "__rpow__": _rpow, "__ipow__": _ipow, "__divmod__": divmod_}
    methods["__rdivmod__"] = lambda self, other: divmod_(other, self)
    for name, method in methods.items():
        if hasattr(method, "__qualname__"):
            method.__name__, method.__qualname__ = name, f"ndarray.{name}"
        setattr(ndarray, name, method)


_attach()
