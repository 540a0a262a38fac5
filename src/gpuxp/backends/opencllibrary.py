"""Library calls that OpenCL devices have kernels for: products of matrices, sorting, Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .base import Native
from .openclcalls import Calls, Device, native
from .openclfft import transforms
from .openclmatmul import matmul
from .openclsort import argsort, searchsorted, sort

_OWN: dict[str, Callable[..., None]] = {
    "matmul": matmul,
    "sort": sort,
    "argsort": argsort,
    "searchsorted": searchsorted,
}


def natives(device: Device) -> Mapping[str, Native]:
    """Return a device's natives by name."""
    calls = Calls(device)
    return {name: native(fn, calls) for name, fn in (_OWN | transforms(calls)).items()}
