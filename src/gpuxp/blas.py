"""How long OpenBLAS's threads stay awake, set before NumPy loads it.

After each product they spin for some 30 ms, by default, and take half of their cores from the kernels that follow. Some
0.2 ms are enough to find them awake for the next product of a series.
"""

from __future__ import annotations

import os
import sys

_NAME = "OPENBLAS_THREAD_TIMEOUT"  # the logarithm of clock cycles; OpenBLAS reads it once


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


load_numpy()
