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
from .array import HostArray, adopted, contents, is_pending, layout, ndarray
from .config import config
from .dtypes import FLOAT64
from .folding import fold
from .geometry import broadcast_shapes, c_strides
from .kernel import BLOCK, LANES
from .ops import ArrayBuilder, Elementwise
from .threads import PARALLEL, quiet, quiet_call, quietly

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

PYTHON_SCALARS = (int, float, complex)
_EXTREMES = ("maximum", "minimum")
_OPERATORS = {"add": operator.add, "multiply": operator.mul}
_TOTALS = frozenset({*_EXTREMES, *_OPERATORS})  # what compiled code combines
_SCALARS = 16
_PLAIN = 1 << 20  # elements of what NumPy combines on one thread


def unary(row: Elementwise, otherwise: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function that applies a row to a small array by the ufunc that runs its tiles."""
    fn, special = row.direct, bool(row.own_kinds)

    def apply(a: Any) -> Any:
        if type(a) is not ndarray:
            return otherwise(a)
        x = a._own
        if x is None or a._owner is not None:
            x = _packed(row, a)
        if x is None or (x.size > config.small and not a._runtime.at_once(x.size)):
            return otherwise(a)
        runtime = a._runtime
        if special and _differs(row, x):
            if not x.flags.c_contiguous:
                return otherwise(a)
            runtime.direct_calls += 1
            return adopted(runtime, quiet(apply_row, row, [x]))
        runtime.direct_calls += 1
        call = fn if x.size < PARALLEL else _shared(runtime, fn, row.ufunc, x)
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
    fn, special = row.ufunc, bool(row.own_kinds)

    def apply(a: Any, b: Any) -> Any:
        x, y, first = a, b, a
        if type(a) is ndarray:
            x = a._own
            if x is None or a._owner is not None:
                x = _packed(row, a)
            if x is None or (x.size > config.small and not a._runtime.at_once(x.size)):
                return otherwise(a, b)
        elif type(a) in PYTHON_SCALARS and type(b) is ndarray:
            first = b
        else:
            return otherwise(a, b)
        if type(b) is ndarray:
            y = b._own
            if y is None or b._owner is not None:
                y = _packed(row, b)
            if y is None or b._runtime is not first._runtime:
                return otherwise(a, b)
            if y.size > config.small and not b._runtime.at_once(y.size):
                return otherwise(a, b)
            if first is a and x.shape != y.shape and not _broadcasts(row, x, y):
                return otherwise(a, b)
        elif type(b) not in PYTHON_SCALARS:
            return otherwise(a, b)
        if special and _differs(row, x, y):
            return otherwise(a, b)
        runtime = first._runtime
        runtime.direct_calls += 1
        call = fn if type(x) is not np.ndarray or x.size < PARALLEL else _shared(runtime, fn, fn, x, y)
        try:
            found = adopted(runtime, quietly.run(call, x, y))
        except RuntimeError:  # as in `quiet_call`
            found = adopted(runtime, call(x, y))
        if found.size > config.small:
            runtime.watch(found, a, b)
        return found

    return apply


def _shared(runtime: Runtime, fn: Any, ufunc: Any, *operands: Any) -> Any:
    """Return `fn` on several threads if there is such a thing for operands of these dtypes, else `fn`."""
    if runtime.direct is None:
        return fn
    found = [o.dtype if isinstance(o, np.ndarray) else type(o) for o in operands]
    loop = dtypes.resolve(ufunc, tuple(found))
    if any(own != wanted for own, wanted in zip(found, loop, strict=False)):  # to be converted
        return fn
    return runtime.direct.wide(fn, loop).wanted(operands[0].size) or fn


def in_place(row: Elementwise, target: ndarray, other: Any) -> bool:
    """Do ``target op= other`` for small arrays; tell whether it was done."""
    x, y = _packed(row, target), other
    if x is None or not target._runtime.at_once(x.size) or row.ulp or row.own_kinds or is_pending(target):
        return False
    if type(other) is ndarray:
        y = _packed(row, other)
        if y is None or other._runtime is not target._runtime:
            return False
        if x.shape != y.shape and not _broadcasts(row, x, y):
            return False
    elif type(other) not in PYTHON_SCALARS:
        return False
    target._runtime.direct_calls += 1
    quiet_call(row.ufunc, x, y, x)
    return True


def total(row: Elementwise, a: ndarray) -> ndarray | None:
    """Combine all elements of an array that is there, to the bits of `gpuxp.kernel.combine`; None: others do it."""
    x = contents(a)
    if x is None or not x.size or not row.associative:
        return None
    runtime = a._runtime
    if not _totals_now(runtime, x.size):
        return None
    kind = x.dtype.kind
    if kind == "f":
        found = _float_total(row, runtime, x)
    elif (kind in "biu" or row.name.startswith("logical")) and x.size <= _PLAIN:
        found = quiet_call(row.ufunc.reduce, x, None)
    else:
        found = None
    if found is None:
        return None
    runtime.direct_calls += 1
    return adopted(runtime, found)


def _totals_now(runtime: Runtime, size: int) -> bool:
    """Whether an array that is there is combined at once: seldom would anything fuse with that."""
    if config.small == 0:
        return False
    return size <= max(config.small, config.middling) or (
        runtime.direct is not None and size <= runtime.direct.most and runtime.reads_along()
    )


def _float_total(row: Elementwise, runtime: Runtime, x: HostArray) -> Any:
    """Combine real numbers: by compiled code, or where the order cannot matter, or what is at most a block."""
    if row.name.startswith("logical"):
        return quiet_call(row.ufunc.reduce, x, None) if x.size <= _PLAIN else None
    if x.dtype.itemsize == 2:
        return None
    if row.name in _EXTREMES and x.size <= max(config.small, config.middling):  # NumPy's code is fast, on one thread
        found = quiet_call(row.ufunc.reduce, x, None)
        if found == found and (found != 0 or not _zeros_differ(x)):  # else the order decides which NaN, or which zero
            return found
    compiled = _compiled_total(row.name, runtime, x)
    if compiled is not None:
        return quiet_call(compiled, x if x.ndim == 1 and x.flags.c_contiguous else x.ravel())
    return quiet(_block, row, x) if x.size <= BLOCK and row.name in _OPERATORS else None


def _compiled_total(op: str, runtime: Runtime, x: HostArray) -> Any:
    """Return compiled code that combines rows as long as `x`, or None."""
    direct = runtime.direct
    if direct is None or x.dtype.char not in "fd" or x.size > direct.most or op not in _TOTALS:
        return None
    return direct.total(op, x.dtype).wanted(x.size)


def rows(op: str, runtime: Runtime, values: HostArray) -> HostArray:
    """Combine each row of a matrix in the canonical order."""
    compiled = _compiled_total(op, runtime, values)
    if compiled is None:
        return fold(op, values[:, :, None])[:, 0]
    found: HostArray = quiet_call(compiled, np.ascontiguousarray(values))
    return found


def _zeros_differ(x: HostArray) -> bool:
    signs = np.signbit(x[x == 0])
    return bool(signs.any() != signs.all())


def _block(row: Elementwise, x: HostArray) -> Any:
    """Combine at most a block: its rows of lanes in order, then the lanes."""
    if x.size <= LANES:
        return _halved(row, x.flatten())
    flat = x.ravel()
    whole = flat.size // LANES * LANES
    lanes = row.ufunc.reduce(flat[:whole].reshape(-1, LANES), 0)
    if whole < flat.size:
        into = lanes[: flat.size - whole]
        row.ufunc(into, flat[whole:], into)
    return _halved(row, lanes)


def _halved(row: Elementwise, lanes: HostArray) -> Any:
    """Combine one row of lanes; the last few as scalars, which costs less than calls on arrays."""
    width = lanes.size
    while width > _SCALARS:
        half = 1 << (width - 1).bit_length() - 1
        into = lanes[: width - half]
        row.ufunc(into, lanes[half:width], into)
        width = half
    lanes = lanes[:width]
    values: list[Any] = lanes.tolist() if lanes.dtype == FLOAT64 else list(lanes)  # a Python float is a float64
    combine = _OPERATORS[row.name]
    while width > 1:
        half = 1 << (width - 1).bit_length() - 1
        for j in range(width - half):
            values[j] = combine(values[j], values[half + j])
        width = half
    return values[0] + 0.0 if row.name == "add" else values[0]  # (never a negative zero)


def _packed(row: Elementwise, a: ndarray) -> HostArray | None:
    """Return the contents, if they are there and NumPy's loop for their layout gives the bits of a tile."""
    made = a._made
    if made is not None and made.buffer.mem is None:  # recorded: the common case of what is large
        return None
    x = contents(a)
    if x is None or not (x.flags.c_contiguous or (not row.ulp and x.dtype.kind != "c")):
        return None
    return x


def _broadcasts(row: Elementwise, x: HostArray, y: HostArray) -> bool:
    """Whether NumPy's loop over arrays of two shapes gives the bits of a tile, and a small result."""
    return not row.ulp and x.dtype.kind != "c" != y.dtype.kind and not too_large((x, y))


def _differs(row: Elementwise, *values: Any) -> bool:
    """Whether the row is not its ufunc for operands of these kinds."""
    loop = dtypes.resolve(row.ufunc, tuple([v.dtype if isinstance(v, np.ndarray) else type(v) for v in values]))
    return loop[0].kind in row.own_kinds


def too_large(values: Sequence[HostArray]) -> bool:
    """Whether the result of broadcasting small arrays is not small, or there is none."""
    if len(values) < 2 or math.prod([v.size for v in values]) <= config.small:
        return False
    try:
        return math.prod(broadcast_shapes(*(v.shape for v in values))) > config.small
    except ValueError:  # refused where commands are recorded, after what NumPy refuses first
        return True


def in_order(values: Sequence[HostArray], result: Any) -> Any:
    """Return a result laid out in memory as its operands are; packing them may have changed that."""
    if result.ndim < 2:
        return result
    strides = layout(values, result.shape, result.itemsize) or c_strides(result.shape, result.itemsize)
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
    loop = dtypes.resolve(row.ufunc, tuple(v.dtype if isinstance(v, np.ndarray) else type(v) for v in values))
    inputs = [np.asarray(v, dtype=d) for v, d in zip(values, loop, strict=False)]
    out = np.empty(np.broadcast_shapes(*(v.shape for v in inputs)), loop[-1])
    row.run(*inputs, out=out)
    return out if out.ndim else out[()]


def _expand_direct(row: Elementwise, values: Sequence[Any]) -> Any:
    loop = dtypes.resolve(row.ufunc, tuple(v.dtype if isinstance(v, np.ndarray) else type(v) for v in values))
    if not row.expands(loop[0]) or row.expand is None:
        return row.ufunc(*values)
    inputs = [np.asarray(v, dtype=d) for v, d in zip(values, loop, strict=False)]
    result = row.expand(ArrayBuilder(), *inputs)
    return result if result.ndim else result[()]
