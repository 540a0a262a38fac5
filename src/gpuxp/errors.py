"""Exception classes. Where NumPy has a class for a mistake, NumPy's is used."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

AxisError = np.exceptions.AxisError
LinAlgError = np.linalg.LinAlgError


class UnknownDeviceError(ValueError):
    """The named device does not exist or is not present on this machine."""


class MixedDeviceError(ValueError):
    """One operation was given arrays of two devices."""


class FallbackError(RuntimeError):
    """A device cannot run an operation and ``GPUXP_FALLBACK=error`` forbids the host."""


class ForkError(RuntimeError):
    """An array of a device that does not survive ``fork`` was used in the child."""


class UnsupportedDtypeError(TypeError):
    """No device has arrays of this dtype."""


class Unsupported(Exception):  # noqa: N818 - an answer, not a mistake
    """Raised by a backend that cannot compile a kernel; the fallback policy decides then.

    `log` is what a compiler said, which `gpuxp.explain` shows.
    """

    def __init__(self, reason: str, log: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.log = log


class HostFallbackWarning(UserWarning):
    """A device handed an operation to the host."""


def unsupported_dtype(dtype: object, function: str = "asarray") -> UnsupportedDtypeError:
    """Build the error for object, string, datetime and extended-precision dtypes."""
    return UnsupportedDtypeError(
        f"{function}: dtype {dtype!s} is not supported; gpuxp arrays hold bool, integers of 8 to 64 bits, "
        "float16/32/64 and complex64/128. Convert the data first (for example `.astype(float)`), "
        "or keep it in a NumPy array."
    )


def mixed_devices(function: str, devices: Iterable[object]) -> MixedDeviceError:
    """Build the error for operands that live on different devices."""
    names = sorted({str(d) for d in devices})
    return MixedDeviceError(
        f"{function}: operands are on different devices ({', '.join(names)}); "
        f"move one of them first, for example `x.to_device({names[0]!r})`"
    )
