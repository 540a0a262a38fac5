"""When an operation has one right answer, whatever order or code path computes it. Evaluated on NumPy's values.

Most arithmetic is exact or correctly rounded everywhere. What is not (sums of fractions, products of complex numbers,
conversions out of range, the sign of a zero that `maximum` picks) is left out of the exact comparisons by these rules.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_PRECISION = {np.dtype("float16"): 11, np.dtype("float32"): 24, np.dtype("float64"): 53,
              np.dtype("complex64"): 24, np.dtype("complex128"): 53}  # fmt: skip


def _whole(x: Any) -> bool:
    return bool(np.isfinite(x).all() and (np.rint(x) == x).all())


def _limit(*values: Any) -> float:
    return float(2 ** min(_PRECISION.get(np.asarray(v).dtype, 53) for v in values))


def finite(*values: Any) -> bool:
    """No NaN and no infinity."""
    return all(bool(np.isfinite(v).all()) for v in values)


def small(x: Any) -> bool:
    """Far from overflow, and from the smallest numbers."""
    a = abs(np.asarray(x).astype("complex128"))
    return bool(((a < 1e4) & ((a > 1e-3) | (a == 0))).all())


def numbers(x: Any) -> bool:
    """No NaN: which sign one has depends on the processor."""
    return not bool(np.isnan(np.asarray(x)).any())


def mild(x: Any) -> bool:
    """Real, and where the transcendental functions are tame."""
    x = np.asarray(x)
    return x.dtype.kind in "fiub" and finite(x) and bool((abs(x.astype("float64")) < 10).all())


def real(x: Any) -> bool:
    """Not complex."""
    return np.asarray(x).dtype.kind != "c"


def products(x: Any, y: Any) -> bool:
    """Complex factors are whole and small, so that their product is exact with or without fused operations."""
    if real(x) and real(y):
        return True
    sizes = [float(abs(np.asarray(v)).max(initial=0)) if _whole(v) else np.inf for v in (x, y)]
    return 2 * max(sizes[0], 1) * max(sizes[1], 1) < _limit(x, y) and _no_negative_zero(x, y)


def quotients(x: Any, y: Any) -> bool:
    """No complex division."""
    return real(x) and real(y)


def powers(x: Any, y: Any) -> bool:
    """Integers to powers that are not negative."""
    kinds = np.asarray(x).dtype.kind + np.asarray(y).dtype.kind
    return set(kinds) <= set("biu") and bool((np.asarray(y) >= 0).all())


def _no_negative_zero(*values: Any) -> bool:
    found = False
    for v in values:
        v = np.asarray(v)
        parts = (v.real, v.imag) if v.dtype.kind == "c" else (v,) if v.dtype.kind == "f" else ()
        found = found or any(bool((np.signbit(p) & (p == 0)).any()) for p in parts)
    return not found


def ordered(*values: Any) -> bool:
    """Comparable, and no negative zero, which compares equal to zero but is not the same."""
    return all(real(v) for v in values) and _no_negative_zero(*values)


def fits(x: Any, dtype: Any) -> bool:
    """Converting to `dtype` is defined, and rounds once."""
    target = np.dtype(dtype)
    if type(x) is complex:  # which NumPy's scalars become beside Python's; our values stay arrays, which lose a part
        return target.kind == "c"
    if type(x) in (int, float, bool):
        return type(x) is not float or target.kind != "u" or x >= 0
    if isinstance(x, np.integer) and target.kind in "iu":  # NumPy's scalars are checked, arrays and our values are not
        return np.iinfo(target).min <= int(x) <= np.iinfo(target).max
    x = np.asarray(x)
    if target.kind == "f" and target.itemsize == 2 and x.dtype.kind in "iu":
        return bool((abs(x.astype("float64")) <= 2048).all())
    if x.dtype.kind not in "fc" or target.kind not in "iu":
        return True
    info = np.iinfo(target)
    part = np.trunc(x.real.astype("float64"))
    return finite(x) and bool(((part >= float(info.min)) & (part < float(info.max) + 1) & (part < 2.0**63)).all())


def exact(x: Any, op: str) -> bool:
    """No partial result of this reduction is rounded."""
    x = np.asarray(x)
    if x.dtype.kind in "biu":
        return True
    if not _whole(x) or (x.dtype.kind == "c" and op == "multiply"):
        return False
    sizes = abs(x.astype("complex128"))
    total = sizes.sum() if op == "add" else np.maximum(sizes, 1).prod()
    return bool(4 * total < _limit(x)) and (op == "add" or _no_negative_zero(x))


def dots(x: Any, y: Any) -> bool:
    """No partial result of a matrix product is rounded."""
    x, y = np.asarray(x), np.asarray(y)
    if x.dtype.kind in "biu" and y.dtype.kind in "biu":
        return True
    if not (_whole(x) and _whole(y)):
        return False
    largest = [float(abs(v).max(initial=0)) for v in (x, y)]
    return 4 * max(x.shape[-1:], default=1) * max(largest[0], 1) * max(largest[1], 1, largest[0]) < _limit(x, y)


def whole(x: Any) -> bool:
    """Integers, whose bytes are their value."""
    return np.asarray(x).dtype.kind in "iu"


def tidy(target: Any, value: Any) -> bool:
    """No overlapping copy in one dimension with two different steps, which NumPy gets wrong."""
    if not (isinstance(target, np.ndarray) and isinstance(value, np.ndarray) and target.ndim == 1 == value.ndim):
        return True
    return target.strides == value.strides or not np.shares_memory(target, value)


def isarray(x: Any) -> bool:
    """No scalar."""
    return isinstance(x, np.ndarray)


def held(x: Any, y: Any) -> bool:
    """No Python integer is beyond the other's dtype: NumPy may crash on comparing it (numpy/numpy#28117)."""
    pairs = [(v, np.asarray(o).dtype) for v, o in ((x, y), (y, x)) if type(v) is int]
    return all(d.kind not in "iu" or np.iinfo(d).min <= v <= np.iinfo(d).max for v, d in pairs)


def apart(out: Any, *values: Any) -> bool:
    """No operand may overlap the output."""
    return not any(np.may_share_memory(out, v) for v in values if isinstance(v, np.ndarray))


def bound(kind: str, value: Any, of: Any) -> Any:
    """Return how far a result may be from NumPy's."""
    value = np.asarray(value)
    if value.dtype.kind not in "fc":
        return 0.0
    if kind == "ulp":
        with np.errstate(all="ignore"):
            return 8 * np.spacing(abs(value))
    eps = float(np.finfo(value.dtype).eps)
    sizes = abs(np.asarray(of).astype("complex128"))
    n, total = max(sizes.size, 1), float(sizes.sum())
    if kind in ("sum", "mean"):
        return 2 * n * eps * total
    spread = 8 * n * eps * (total * total + 1)
    return spread if kind == "var" else np.sqrt(spread)


_RULES = (
    finite, small, mild, real, products, quotients, powers, ordered, fits, exact, dots, whole, isarray, apart, tidy,
    held, numbers,
)  # fmt: skip
RULES = {rule.__name__: rule for rule in _RULES}
