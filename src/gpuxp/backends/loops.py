"""NumPy's own inner loops, by address: what the compiled tier calls where it has no exact instruction.

A loop is used only after it has given the ufunc's bits.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from ..dtypes import DType
from ..ops import ELEMENTWISE
from ..vectormath import Vectorised
from .ufuncs import address_of
from .vectors import ensure

_CHECKED = 67  # elements of the trial: whole vectors and a remainder
_Loop = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
# rows whose loops need no more than memory: they raise no Python error and take no lock
_PURE_INTEGERS = frozenset(
    {"floor_divide", "remainder", "fmod", "gcd", "lcm", "bitwise_count", "less", "less_equal", "greater",
     "greater_equal", "equal", "not_equal", "reciprocal", "ldexp"}
)  # fmt: skip


@lru_cache(maxsize=1024)
def find_loop(op: str, dtypes: tuple[DType, ...]) -> tuple[int, int] | None:
    """Return address and data of the loop of a row for these dtypes, inputs then output; None if it cannot be used."""
    row = ELEMENTWISE[op]
    if isinstance(row.run, Vectorised) and dtypes[0].char == "d":
        return address_of(ensure(row.run), dtypes)
    if row.ufunc.nout != 1 or row.ufunc.nin != row.nin or row.ufunc.__name__ != op:  # some rows borrow a dtype rule
        return None
    if row.run is not None and dtypes[0].kind in row.own_kinds:
        return None
    if any(d.kind not in "fcb" for d in dtypes) and op not in _PURE_INTEGERS:
        return None
    found = address_of(row.ufunc, dtypes)
    return found if found is not None and _gives_the_same(row.ufunc, dtypes, found) else None


def _gives_the_same(ufunc: Any, dtypes: tuple[DType, ...], loop: tuple[int, int]) -> bool:
    """Run the loop and the ufunc on the same numbers."""
    generator = np.random.default_rng(0)
    inputs = [_trial(generator, d) for d in dtypes[:-1]]
    out = np.empty(_CHECKED, dtypes[-1])
    arrays = [*inputs, out]
    pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
    steps = (ctypes.c_ssize_t * len(arrays))(*(a.itemsize for a in arrays))
    size = ctypes.c_ssize_t(_CHECKED)
    _Loop(loop[0])(ctypes.addressof(pointers), ctypes.addressof(size), ctypes.addressof(steps), loop[1])
    with np.errstate(all="ignore"):
        return bool(ufunc(*inputs).tobytes() == out.tobytes())


def _trial(generator: np.random.Generator, dtype: DType) -> np.ndarray[Any, Any]:
    if dtype.kind == "c":
        found = np.empty(_CHECKED, dtype)
        found.real = _trial(generator, found.real.dtype)
        found.imag = generator.permutation(_trial(generator, found.real.dtype))
        return found
    if dtype.kind == "f":
        values = generator.standard_normal(_CHECKED) * 3
        values[:8] = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 0.5]
        return values.astype(dtype)
    low, high = {"b": (0, 2), "u": (0, 100)}.get(dtype.kind, (-100, 100))
    return generator.integers(low, high, _CHECKED).astype(dtype)
