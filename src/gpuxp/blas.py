"""The threads of NumPy's BLAS: how many those are, and how long OpenBLAS's stay awake, set before NumPy loads it.

After each product they spin for some 30 ms, by default, and take half of their cores from the kernels that follow. Some
0.2 ms are enough to find them awake for the next product of a series.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_NAME = "OPENBLAS_THREAD_TIMEOUT"  # the logarithm of clock cycles; OpenBLAS reads it once
# what libraries call the function that returns how many threads they use: that of NumPy's wheels, others' OpenBLAS, MKL
_COUNTS = (
    "scipy_openblas_get_num_threads64_", "scipy_openblas_get_num_threads", "openblas_get_num_threads64_",
    "openblas_get_num_threads", "MKL_Get_Max_Threads",
)  # fmt: skip


def load_numpy() -> None:
    """Import NumPy; where it is loaded already, or the user has said otherwise, nothing changes."""
    ours = "numpy" not in sys.modules and _NAME not in os.environ
    if ours:
        os.environ[_NAME] = "19"
    try:
        import numpy  # noqa: F401
    finally:
        if ours:
            del os.environ[_NAME]


def blas_threads() -> int:
    """Return how many threads BLAS uses by now, which decides in what order it adds; 0: it does not say."""
    return _count()()


@lru_cache(maxsize=1)
def _count() -> Callable[[], int]:
    import ctypes

    module: Any = importlib.import_module("numpy._core._multiarray_umath")
    try:
        libraries = ctypes.PyDLL(module.__file__)  # those that it is linked with, too
    except (OSError, TypeError):
        return int
    found = (getattr(libraries, name, None) for name in _COUNTS)
    return next((f for f in found if f is not None), int)


load_numpy()
