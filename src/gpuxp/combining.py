"""Reductions at once: of arrays that are there, along any axes, to the bits of the kernels.

Sums and products of real numbers keep the canonical order (`gpuxp.kernel.combine`): by compiled code, or by whole rows.
Where no order shows in the result, NumPy combines.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtypes
from .array import HostArray, adopted, contents, ndarray, wrap
from .config import config
from .dtypes import BOOL, FLOAT32, FLOAT64, INTP, DType
from .folding import fold
from .geometry import Ghost, Shape, memory_order, strides_in_order
from .kernel import BLOCK, LANES
from .ops import ELEMENTWISE, Elementwise
from .threads import PARALLEL, quiet, quiet_call

if TYPE_CHECKING:
    from .runtime import Runtime  # the engine is loaded with the first array

Axis = int | Sequence[int] | None
_ADD = ELEMENTWISE["add"]
_EXTREMES = ("maximum", "minimum")
_OPERATORS = {"add": operator.add, "multiply": operator.mul}
_COMPILED = frozenset({*_EXTREMES, *_OPERATORS})
_SCALARS = 16
_ROW = 48  # elements of a row, up to which many rows are combined side by side
_PLAIN = 1 << 20  # elements of what NumPy combines on one thread


def normalize_axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    """Return the axes as sorted non-negative integers; errors are NumPy's."""
    if axis is None:
        return tuple(range(ndim))
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    return tuple(sorted(np.lib.array_utils.normalize_axis_tuple(tuple(operator.index(a) for a in axes), ndim)))


def there(a: Any) -> HostArray | None:
    """Return the contents of an array that is reduced at once: it is there, and not large. Seldom would much fuse."""
    if type(a) is not ndarray or config.small == 0:
        return None
    x = contents(a)
    if x is None:
        return None
    size = x.size
    return x if 0 < size <= config.small or 0 < size <= config.middling else None


def reduced(row: Elementwise, a: Any, axis: Axis, dtype: Any, keepdims: bool) -> ndarray | None:
    """Reduce an array at once; None: others do it, or refuse it."""
    x = there(a)
    if x is None or x.size >= PARALLEL:
        found = _large_total(row, a) if axis is None and dtype is None and not keepdims else None
        if found is not None or x is None:
            return found
    if not row.associative or not (x.ndim or axis is None):
        return None
    axes = normalize_axes(axis, x.ndim)
    if (len(axes) > 1 and row.name == "gcd") or (x.ndim and not axes):
        return None
    runtime = a._runtime
    acc = dtypes.resolve_reduction(row.ufunc, x.dtype) if dtype is None else dtypes.check(dtype, f"{row.name}.reduce")
    runtime.direct_calls += 1
    return adopted(runtime, combined(row, runtime, x, axes, acc, keepdims))


@lru_cache(maxsize=1024)
def _way(name: str, source: DType, acc: DType, whole: bool) -> tuple[str, DType]:
    """Return how to combine elements into a dtype, and the one that it is done in."""
    if whole and name == "add" and source == BOOL and acc.itemsize == 8:
        return "counted", acc
    if dtypes.is_exact(acc) or name.startswith("logical"):
        return "any order", acc
    inner = FLOAT32 if acc == np.float16 else acc
    return "extreme" if name in _EXTREMES and inner.kind == "f" else "canonical", inner


def combined(
    row: Elementwise, runtime: Runtime, x: HostArray, axes: tuple[int, ...], acc: DType, keepdims: bool = False
) -> Any:
    """Combine elements (there are some) along sorted axes into `acc`: a scalar or an array."""
    whole = len(axes) == x.ndim
    way, inner = _way(row.name, x.dtype, acc, whole)
    if way == "counted":
        return _kept(acc.type(np.count_nonzero(x)), x, keepdims)
    if way == "any order":
        loop = None if row.name.startswith("logical") else acc
        found = quiet_call(row.ufunc.reduce, x, axes, loop, None, keepdims)
        return found if found.dtype == acc else found.astype(acc)
    if x.dtype != inner:
        x = quiet_call(x.astype, inner)
    if way == "extreme":
        found = quiet_call(row.ufunc.reduce, x, axes, None, None, keepdims)
        if _is_decided(found, x):
            return found if inner is acc else found.astype(acc)
    if whole:
        return _kept(quiet_call(acc.type, _total(row, runtime, x)), x, keepdims)
    found = _along(row.name, runtime, _columns(x, axes))
    if inner is not acc:
        found = quiet_call(found.astype, acc)
    return found if x.ndim == 2 and not keepdims else _laid_out(found, x, axes, keepdims)


def _kept(value: Any, x: HostArray, keepdims: bool) -> Any:
    """Return a total, with the dimensions it was taken over if those are to be kept."""
    return np.array(value, ndmin=x.ndim) if keepdims else value


def _is_decided(found: Any, x: HostArray) -> bool:
    """Whether extremes are the same in any order: else the order decides which NaN, or which of two zeros."""
    if type(found) is not np.ndarray:
        if found > 0 or found < 0:
            return True
    elif np.count_nonzero(np.absolute(found) > 0) == found.size:
        return True
    if (found != found).any():
        return False
    zeros = x == 0
    below = np.count_nonzero(zeros & np.signbit(x))
    return bool(below == 0 or below == np.count_nonzero(zeros))


def _columns(x: HostArray, axes: tuple[int, ...]) -> HostArray:
    """Return an array as ``(n, m)`` or ``(outer, n, m)``, in which n counts the elements along some of its axes."""
    shape, first, last = x.shape, axes[0], axes[-1]
    if x.ndim == 2:
        return x.T if last else x
    if x.flags.c_contiguous and last - first == len(axes) - 1:
        n = math.prod(shape[first : last + 1])
        if last == x.ndim - 1:
            return x.reshape(-1, n).T
        return x.reshape(math.prod(shape[:first]), n, math.prod(shape[last + 1 :]))
    kept = [a for a in range(x.ndim) if a not in axes]
    return x.transpose((*kept, *axes)).reshape(math.prod(shape[a] for a in kept), -1).T


def _along(op: str, runtime: Runtime, values: HostArray) -> HostArray:
    """Combine ``(..., n, m)`` along n in the canonical order."""
    direct, dtype, size = runtime.direct, values.dtype, values.size
    down, across = values.strides[-2:]
    rows = values.ndim == 2 and abs(down) < abs(across)
    if direct is not None and dtype.char in "fd" and size <= direct.most and op in _COMPILED:
        if rows and values.shape[0] > _ROW:
            total = direct.total(op, dtype).wanted(size, columns=True)
            if total is not None:
                combined_rows: HostArray = quiet_call(total, np.ascontiguousarray(values.T))
                return combined_rows
        else:
            columns = direct.columns(op, dtype, across == dtype.itemsize).wanted(size, columns=True)
            if columns is not None:
                return quiet_call(columns, values) if values.shape[-2] <= BLOCK else _by_blocks(columns, values)
    found = quiet(fold, op, values.T[:, :, None] if rows else values.reshape(-1, *values.shape[-2:]))
    return found.flatten() if values.ndim == 2 else found.copy()  # of memory that may be as large as `values`


def _by_blocks(columns: Any, values: HostArray) -> HostArray:
    """Combine ``(..., n, m)`` along n by compiled code that takes at most a block."""
    *outer, n, m = values.shape
    while n > BLOCK:
        full = n // BLOCK
        blocks = quiet_call(columns, values[..., : full * BLOCK, :].reshape(*outer, full, BLOCK, m))
        if full * BLOCK < n:
            rest = quiet_call(columns, values[..., full * BLOCK :, :])
            blocks = np.concatenate((blocks, rest[..., None, :]), axis=-2)
        values, n = blocks, blocks.shape[-2]
    found: HostArray = quiet_call(columns, values)
    return found


def _laid_out(found: HostArray, x: HostArray, axes: tuple[int, ...], keepdims: bool) -> HostArray:
    """Return what came of the kept elements, in C order, as the result of a reduction of `x`."""
    if keepdims and (x.ndim == 2 or x.flags.c_contiguous):
        return found.reshape([1 if a in axes else n for a, n in enumerate(x.shape)])
    kept = tuple([n for a, n in enumerate(x.shape) if a not in axes])
    strides = result_strides(x, axes, kept, found.itemsize)
    found = found.reshape(kept)
    if strides is not None:
        result: HostArray = np.ndarray(kept, found.dtype, strides=strides)
        result[...] = found
        found = result
    return np.expand_dims(found, axes) if keepdims else found


def result_strides(x: Ghost, axes: tuple[int, ...], kept: Shape, itemsize: int) -> Shape | None:
    """Return the strides of a result: its axes lie in memory as those of `x`; None means C order."""
    if len(kept) < 2 or x.flags.c_contiguous:
        return None
    own = tuple(0 if n == 1 else s for a, (n, s) in enumerate(zip(x.shape, x.strides, strict=True)) if a not in axes)
    return strides_in_order(kept, memory_order(len(kept), (own,)), itemsize)


# Totals


def _large_total(row: Elementwise, a: Any) -> ndarray | None:
    """Combine all elements of a large array that is there at once: by compiled code, or by NumPy's on one thread."""
    if type(a) is not ndarray or config.small == 0 or not row.associative:
        return None
    x, runtime = contents(a), a._runtime
    if x is None or not x.size or runtime.direct is None or x.size > runtime.direct.most:
        return None
    compiled = _compiled_total(row.name, runtime, x)
    if compiled is not None:
        found = quiet_call(compiled, x.ravel())
    else:
        acc = dtypes.resolve_reduction(row.ufunc, x.dtype)
        if x.size > _PLAIN or _way(row.name, x.dtype, acc, True)[0] == "canonical":
            return None
        found = combined(row, runtime, x, tuple(range(x.ndim)), acc)
    runtime.direct_calls += 1
    return adopted(runtime, found)


def _compiled_total(op: str, runtime: Runtime, x: HostArray) -> Any:
    """Return compiled code that combines all elements, or None."""
    direct = runtime.direct
    if direct is None or x.dtype.char not in "fd" or x.size > direct.most or op not in _COMPILED:
        return None
    return direct.total(op, x.dtype).wanted(x.size)


def _total(row: Elementwise, runtime: Runtime, x: HostArray) -> Any:
    """Combine all elements in the canonical order."""
    flat = x if x.ndim == 1 and x.flags.c_contiguous else x.ravel()
    compiled = _compiled_total(row.name, runtime, x)
    if compiled is not None:
        return quiet_call(compiled, flat)
    if flat.size <= BLOCK and row.name in _OPERATORS and flat.dtype.kind == "f":
        return quiet(_block, row, flat)
    return quiet(fold, row.name, flat[None, :, None])[0, 0]


def _block(row: Elementwise, flat: HostArray) -> Any:
    """Combine at most a block: its rows of lanes in order, then the lanes."""
    if flat.size <= LANES:
        return _halved(row, flat if flat.size <= _SCALARS else flat.copy())
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


# Statistics


def mean_dtypes(dtype: DType) -> tuple[DType, DType]:
    """Return the dtype that a mean is summed in, and its own."""
    if dtype.kind in "biu":
        return FLOAT64, FLOAT64
    return (FLOAT32 if dtype == np.float16 else dtype), dtype


def mean(a: Any, axis: Axis, keepdims: bool) -> ndarray | None:
    """Return the mean at once; None: others find it."""
    return _statistic(_mean, a, axis, keepdims)


def variance(a: Any, axis: Axis, keepdims: bool, ddof: float, root: bool) -> ndarray | None:
    """Return the variance, or its square root, at once; None: others find it."""
    return _statistic(_variance, a, axis, keepdims, ddof, root)


def root_of_squares(a: Any, axis: Axis, keepdims: bool) -> ndarray | None:
    """Return the square root of the sum of squares at once; None: others find it."""
    return _statistic(_root_of_squares, a, axis, keepdims)


def _statistic(fn: Any, a: Any, axis: Axis, keepdims: bool, *settings: Any) -> ndarray | None:
    x = there(a)
    if x is None or not x.ndim:
        return None
    axes = normalize_axes(axis, x.ndim)
    if not axes:
        return None
    runtime = a._runtime
    n = x.size if len(axes) == x.ndim else math.prod([x.shape[d] for d in axes])
    runtime.direct_calls += 1
    return adopted(runtime, fn(runtime, x, axes, n, keepdims, *settings))


def _mean(runtime: Runtime, x: HostArray, axes: tuple[int, ...], n: int, keepdims: bool) -> Any:
    inner, final = mean_dtypes(x.dtype)
    found = quiet_call(np.true_divide, combined(_ADD, runtime, x, axes, inner, keepdims), n)
    return found if inner is final else quiet_call(found.astype, final)


def _variance(
    runtime: Runtime, x: HostArray, axes: tuple[int, ...], n: int, keepdims: bool, ddof: float, root: bool
) -> Any:
    inner, final = mean_dtypes(x.dtype)
    centre = quiet_call(np.true_divide, combined(_ADD, runtime, x, axes, inner, True), n)
    apart = quiet_call(np.subtract, x if x.dtype == inner else quiet_call(x.astype, inner), centre)
    square = quiet(_squares, apart) if inner.kind == "c" else quiet_call(np.multiply, apart, apart, apart)
    count = float(n - ddof)
    total = combined(_ADD, runtime, square, axes, square.dtype, keepdims)
    found = quiet_call(np.true_divide, total, count if count > 0 else 0.0)
    if root:
        found = quiet_call(np.sqrt, found)
    final = square.dtype if final.kind == "c" else final
    return found if found.dtype == final else quiet_call(found.astype, final)


def _root_of_squares(runtime: Runtime, x: HostArray, axes: tuple[int, ...], n: int, keepdims: bool) -> Any:
    squares = quiet_call(np.multiply, x, x)
    return quiet_call(np.sqrt, combined(_ADD, runtime, squares, axes, x.dtype, keepdims))


def _squares(x: HostArray) -> HostArray:
    """Return the squares of complex numbers' distances from zero."""
    found: HostArray = x.real * x.real + x.imag * x.imag
    return found


# Others


def counted(a: Any, axis: Axis, keepdims: bool) -> ndarray | None:
    """Return how many elements are not zero at once; None: others count them."""
    x = there(a)
    if x is None or not (x.ndim or axis is None):
        return None
    axes = normalize_axes(axis, x.ndim)
    runtime = a._runtime
    runtime.direct_calls += 1
    if len(axes) == x.ndim:
        return adopted(runtime, _kept(INTP.type(np.count_nonzero(x)), x, keepdims))
    flags = x if x.dtype == BOOL else x != 0
    return adopted(runtime, combined(_ADD, runtime, flags, axes, INTP, keepdims))


def method(name: str, a: Any, *args: Any) -> ndarray | None:
    """Call a method of NumPy's that reduces, or keeps all intermediate results, at once; None: others do it."""
    x = there(a)
    if x is None or not a._runtime.at_once(x.size):
        return None
    a._runtime.counters["library_calls"] += 1
    return wrap(a._runtime, quiet_call(getattr(x, name), *args))
