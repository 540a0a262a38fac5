"""Small arrays: what is there, and small, goes straight to NumPy with as little around it as possible.

The functions made here know one row of the table each; whatever is not of this kind they hand on to `otherwise`.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .array import VALUE, WRITEABLE, HostArray, adopted, contents, is_pending, ndarray, root
from .config import config
from .dtypes import DType
from .geometry import broadcast_shapes, c_strides, layout
from .ops import ArrayBuilder, Elementwise
from .threads import PARALLEL, quiet, quiet_call, quietly

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

PYTHON_SCALARS = (float, int, complex)
_HOST = np.ndarray  # found faster so
# NumPy's arithmetic on its scalars, an order of magnitude faster than by ufuncs: of the rows and types without a choice
_ON_SCALARS: dict[str, Any] = {
    "add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv,
    "equal": operator.eq, "not_equal": operator.ne, "less": operator.lt, "less_equal": operator.le,
    "greater": operator.gt, "greater_equal": operator.ge, "negative": operator.neg, "absolute": operator.abs,
}  # fmt: skip
_ON_INTEGERS: dict[str, Any] = {
    "floor_divide": operator.floordiv, "remainder": operator.mod, "bitwise_and": operator.and_,
    "bitwise_or": operator.or_, "bitwise_xor": operator.xor, "invert": operator.invert,
    "left_shift": operator.lshift, "right_shift": operator.rshift,
}  # fmt: skip
_INTEGERS = frozenset({int, *(np.dtype(c).type for c in "?bhilqBHILQ")})
_REAL = _INTEGERS | {float, np.float32, np.float64}
_setitem: Any = operator.setitem


def _on_scalars(row: Elementwise) -> tuple[Any, frozenset[type]]:
    """Return a row's operator on scalars, and the types that it is for."""
    if row.name in _ON_INTEGERS:
        return _ON_INTEGERS[row.name], _INTEGERS
    return _ON_SCALARS.get(row.name), _REAL if row.name in _ON_SCALARS else frozenset()


def unary(row: Elementwise, otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that applies a row to a small array by the ufunc that runs its tiles."""
    fn, special, (on_scalar, known) = row.direct, bool(row.own_kinds), _on_scalars(row)

    def apply(a: Any) -> Any:
        if type(a) is not ndarray:
            return otherwise(a)
        x, call = a._own, fn
        if x is None or a._owner is not None:
            x = _packed(row, a)
            if x is None:
                return otherwise(a)
        runtime = a._runtime
        if type(x) is _HOST:
            if x.size > config.small and not runtime.at_once(x.size):
                return otherwise(a)
            if x.size >= PARALLEL:
                call = _shared(runtime, fn, row.ufunc, x.size, x)
        elif type(x) in known:
            call = on_scalar
        if special and _differs(row, x):
            x = contents(a)
            if x is None or not x.flags.c_contiguous:
                return otherwise(a)
            runtime.direct_calls += 1
            return adopted(runtime, quiet(apply_row, row, [x]))
        runtime.direct_calls += 1
        try:
            found = adopted(runtime, quietly.run(call, x))
        except RuntimeError:  # as in `quiet_call`
            found = adopted(runtime, call(x))
        if x.size > config.small:
            runtime.watch(found, a)
        return found

    return apply


def binary(row: Elementwise, otherwise: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Do the same for two operands, of which one may be a Python scalar."""
    fn, special, (on_scalars, known) = row.ufunc, bool(row.own_kinds), _on_scalars(row)
    strict = bool(row.ulp)  # the bits depend on the layout
    complexes = not strict and any(loop[-1] in "FD" for loop in row.ufunc.types)  # as they do for complex results

    def apply(a: Any, b: Any) -> Any:
        if type(a) is ndarray:
            x, runtime = a._own, a._runtime
            if x is None or ((owner := a._owner) is not None and (strict or owner._own is None)):
                x = _packed(row, a)
                if x is None:
                    return otherwise(a, b)
            if type(b) is ndarray:
                y = b._own
                if y is None or ((owner := b._owner) is not None and (strict or owner._own is None)):
                    y = _packed(row, b)
                if y is None or b._runtime is not runtime:
                    return otherwise(a, b)
                size, most = x.size, y.size
                size *= most  # the result has at most so many elements
            elif type(b) in PYTHON_SCALARS:
                y, size = b, x.size
                most = size
            else:
                return otherwise(a, b)
        elif type(a) in PYTHON_SCALARS and type(b) is ndarray:
            x, y, runtime = a, b._own, b._runtime
            if y is None or ((owner := b._owner) is not None and (strict or owner._own is None)):
                y = _packed(row, b)
                if y is None:
                    return otherwise(a, b)
            size = most = y.size
        else:
            return otherwise(a, b)
        if size == 1 and type(x) in known and type(y) in known:
            runtime.direct_calls += 1
            try:
                return adopted(runtime, quietly.run(on_scalars, x, y))
            except RuntimeError:  # as in `quiet_call`
                return adopted(runtime, on_scalars(x, y))
        call, large = fn, False
        if size > config.small or strict:
            if type(a) is ndarray is type(b) and x.shape != y.shape:
                if strict or too_large((x, y)):
                    return otherwise(a, b)
            else:
                large = most > config.small
                if large and not runtime.at_once(most):
                    return otherwise(a, b)
                if most >= PARALLEL:
                    call = _shared(runtime, fn, fn, most, x, y)
        if special and _differs(row, x, y):
            return otherwise(a, b)
        try:
            result = quietly.run(call, x, y)
        except RuntimeError:  # as in `quiet_call`
            result = call(x, y)
        if complexes and result.dtype.kind == "c" and not _alike(x, y):
            return otherwise(a, b)
        runtime.direct_calls += 1
        found = adopted(runtime, result)
        if large:
            runtime.watch(found, a, b)
        return found

    return apply


def _shared(runtime: Runtime, fn: Any, ufunc: Any, size: int, *operands: Any) -> Any:
    """Return `fn` on several threads if there is such a thing for operands of these dtypes, else `fn`."""
    if runtime.direct is None:
        return fn
    loop = _loop(ufunc, operands)
    found = [getattr(o, "dtype", type(o)) for o in operands]
    if any(own != wanted for own, wanted in zip(found, loop, strict=False)):  # to be converted
        return fn
    return runtime.direct.wide(fn, loop).wanted(size) or fn


def augmented(
    row: Elementwise, forward: Callable[[ndarray, Any], Any], otherwise: Callable[[ndarray, Any], Any]
) -> Callable[[ndarray, Any], Any]:
    """Return a function that does ``a op= b`` for small arrays, and ``a op b`` for values."""
    fn = row.ufunc
    if row.ulp or row.own_kinds:
        return otherwise

    def apply(a: ndarray, b: Any) -> Any:
        x, y = a._own, b
        if a._state != WRITEABLE:
            return (forward if a._state == VALUE else otherwise)(a, b)
        if x is None or ((owner := a._owner) is not None and owner._own is None):
            x = _packed(row, a)
            if x is None or is_pending(a):
                return otherwise(a, b)
        runtime = a._runtime
        if type(b) is ndarray:
            y = b._own
            if y is None or ((owner := b._owner) is not None and owner._own is None):
                y = _packed(row, b)
            if y is None or b._runtime is not runtime:
                return otherwise(a, b)
        elif type(b) not in PYTHON_SCALARS:
            return otherwise(a, b)
        if x.size > config.small and not runtime.at_once(x.size):
            return otherwise(a, b)
        if x.dtype.kind == "c" and not _alike(x, y):
            return otherwise(a, b)
        runtime.direct_calls += 1
        try:
            quietly.run(fn, x, y, x)
        except RuntimeError:  # as in `quiet_call`
            fn(x, y, x)
        return a

    return apply


def _packed(row: Elementwise, a: ndarray) -> HostArray | None:
    """Return the contents, if they are there and NumPy's loop for their layout gives the bits of a tile."""
    made = a._made
    if made is not None and (made.buffer.mem is None or not a._runtime.host_visible):  # recorded, or a device's
        return None
    x = contents(a)
    if x is None or not (x.flags.c_contiguous or (not row.ulp and x.dtype.kind != "c")):
        return None
    return x


def _alike(*values: Any) -> bool:
    """Whether the arrays among operands are contiguous and of one shape: all loops of NumPy agree then."""
    shape = None
    for value in values:
        if type(value) not in PYTHON_SCALARS:
            own = value.shape
            if (shape is not None and own != shape) or not value.flags.c_contiguous:
                return False
            shape = own
    return True


def _differs(row: Elementwise, *values: Any) -> bool:
    """Whether the row is not its ufunc for operands of these kinds."""
    return _loop(row.ufunc, values)[0].kind in row.own_kinds


def _loop(ufunc: np.ufunc, values: Sequence[Any]) -> tuple[DType, ...]:
    """Return the dtypes of a ufunc's loop for arrays, scalars of NumPy's and Python's."""
    return dtypes.resolve(ufunc, tuple([type(v) if type(v) in PYTHON_SCALARS else v.dtype for v in values]))


def plain_operands(
    values: Sequence[Any], weak: tuple[type, ...] = PYTHON_SCALARS, most: int = 0
) -> tuple[Runtime, list[Any]] | None:
    """Return the runtime of some operands, and them as NumPy takes them; None if not all are small and there.

    Python scalars (`weak`) and values stay scalars. Up to `most` elements are small in any case.
    """
    runtime: Runtime | None = None
    found: list[Any] = []
    for value in values:
        if type(value) is not ndarray:
            if type(value) not in weak:
                return None
            found.append(value)
            continue
        own, owner = value._own, value._owner
        if own is None or (owner is not None and owner._own is None):
            own = contents(value)
        if own is None or (runtime is not None and runtime is not value._runtime):
            return None
        runtime = value._runtime
        if own.size > config.small and own.size > most and not runtime.at_once(own.size):
            return None
        found.append(own)
    return None if runtime is None else (runtime, found)


def into(row: Elementwise, operands: Sequence[Any], out: ndarray) -> bool:
    """Apply a row to small arrays, into another one; tell whether it was done."""
    found = None if row.own_kinds or out._state != WRITEABLE else plain_operands((*operands, out))
    if found is None or is_pending(out):
        return False
    runtime, values = found
    if row.ulp and any(getattr(v, "dtype", None) != values[-1].dtype for v in values):
        return False  # what is converted is packed first
    if (row.ulp or values[-1].dtype.kind == "c") and not _alike(*values):
        return False
    runtime.direct_calls += 1
    quiet_call(row.ufunc, *values)
    return True


def write(target: ndarray, key: Any, value: Any) -> bool:
    """Do ``target[key] = value`` where both are small and there; tell whether it was done."""
    runtime, memory, owner = target._runtime, target._own, target._owner
    if type(memory) is not _HOST or (owner is not None and owner._own is None):
        memory = contents(target)
        if memory is None or is_pending(target):
            return False
    if memory.size > config.small and not runtime.at_once(memory.size):
        return False
    plain: Any = value
    if type(value) is ndarray:
        plain, owner = value._own, value._owner
        if plain is None or (owner is not None and owner._own is None):
            plain = contents(value)
        if plain is None or value._runtime is not runtime:
            return False
        if type(plain) is not _HOST:
            if type(plain) is not memory.dtype.type:
                plain = contents(value)  # an array, for which NumPy does not ask whether the dtype can hold it
        elif root(value) is root(target):
            spot = None if type(key) is _HOST else memory[key]
            if type(spot) is not _HOST or (spot.ndim == 1 and spot.strides != plain.strides):
                plain = plain.copy()  # there NumPy does not look for overlaps
            else:
                memory, key = spot, ...
    elif type(value) not in PYTHON_SCALARS and type(value) is not bool:
        return False
    try:
        quietly.run(_setitem, memory, key, plain)
    except RuntimeError:  # as in `quiet_call`
        memory[key] = plain
    return True


def too_large(values: Sequence[Any]) -> bool:
    """Whether the result of broadcasting small arrays (and Python scalars) is not small, or there is none."""
    shape = None
    for value in values:
        if type(value) not in PYTHON_SCALARS and value.shape != shape:
            if shape is not None:
                break
            shape = value.shape
    else:
        return False
    arrays = [v for v in values if type(v) not in PYTHON_SCALARS]
    if math.prod([a.size for a in arrays]) <= config.small:
        return False
    try:
        return math.prod(broadcast_shapes(*(a.shape for a in arrays))) > config.small
    except ValueError:  # refused where commands are recorded, after what NumPy refuses first
        return True


def in_order(values: Sequence[HostArray], result: Any) -> Any:
    """Return a result laid out in memory as its operands are; packing them may have changed that."""
    if result.ndim < 2:
        return result
    own = layout([v for v in values if type(v) is _HOST], result.shape, result.itemsize)
    strides = own or c_strides(result.shape, result.itemsize)
    if strides == result.strides:
        return result
    ordered: HostArray = np.ndarray(result.shape, result.dtype, strides=strides)
    ordered[...] = result
    return ordered


def apply_row(row: Elementwise, values: Sequence[Any]) -> Any:
    """Apply a row to host arrays and Python scalars, to the same bits as the tiles."""
    arrays = [v for v in values if type(v) is np.ndarray]
    first = arrays[0] if arrays else None
    if first is not None and (row.ulp or first.dtype.kind == "c") and not all(a.flags.c_contiguous for a in arrays):
        values = [np.ascontiguousarray(v) if type(v) is np.ndarray and v.ndim else v for v in values]
    if row.expand is not None:
        return _expand_direct(row, values)
    if row.run is None:
        return row.ufunc(*values)
    if row.name.startswith("frexp"):
        return np.frexp(values[0])[int(row.name == "frexp_exponent")]
    loop = _loop(row.ufunc, values)
    inputs = [np.asarray(v, dtype=d) for v, d in zip(values, loop, strict=False)]
    out = np.empty(np.broadcast_shapes(*(v.shape for v in inputs)), loop[-1])
    row.run(*inputs, out=out)
    return out if out.ndim else out[()]


def _expand_direct(row: Elementwise, values: Sequence[Any]) -> Any:
    loop = _loop(row.ufunc, values)
    if not row.expands(loop[0]) or row.expand is None:
        return row.ufunc(*values)
    inputs = [np.asarray(v, dtype=d) for v, d in zip(values, loop, strict=False)]
    result = row.expand(ArrayBuilder(), *inputs)
    return result if result.ndim else result[()]
