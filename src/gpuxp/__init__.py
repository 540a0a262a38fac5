"""gpuxp: NumPy's namespace on whatever accelerator there is, and on a software GPU where there is none.

>>> import gpuxp as np
>>> a = np.linspace(0, 1, 5)
>>> (a * a + 1).sum()
np.float64(6.875)
"""

from __future__ import annotations

import importlib as _importlib
from typing import Any as _Any

from . import blas as _blas  # noqa: F401 - before NumPy
from . import namespace as _namespace
from .config import config, configure
from .devices import Device, default_device, device, devices, stats
from .errors import FallbackError, HostFallbackWarning, LinAlgError, MixedDeviceError, UnknownDeviceError

__version__ = "0.1.0"
__array_api_version__ = "2025.12"


def __getattr__(name: str) -> _Any:
    """Load the parts that few programs need when they are asked for."""
    if name == "testing":
        return _importlib.import_module("gpuxp.testing")
    found = globals()[name] = _namespace.member(name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_namespace.names(), "testing"})


globals().update(_namespace.members())

__all__ = [  # noqa: PLE0604 - the namespace is a table
    *sorted(n for n in _namespace.names() if not n.startswith("_")),
    "Device", "FallbackError", "HostFallbackWarning", "LinAlgError", "MixedDeviceError", "UnknownDeviceError",
    "config", "configure", "default_device", "device", "devices", "stats",
]  # fmt: skip
