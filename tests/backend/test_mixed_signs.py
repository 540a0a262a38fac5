"""Comparisons of signed with unsigned 64-bit integers go by value; C would convert the signed one."""

from __future__ import annotations

import numpy
import pytest

import gpuxp as np
from gpuxp.backends.opencl import list_devices

NAMES = ["less", "less_equal", "greater", "greater_equal", "equal", "not_equal"]
DEVICES = ["cpu", "opencl:0"] if list_devices() else ["cpu"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", NAMES)
def test_compare(name: str, device: str) -> None:
    signed = numpy.array([-(2**63), -3, -1, 0, 1, 5, 2**63 - 1], numpy.int64)
    unsigned = numpy.array([0, 1, 5, 2**63 - 1, 2**63, 2**64 - 3, 2**64 - 1], numpy.uint64)
    fn, want = getattr(np, name), getattr(numpy, name)
    with np.configure(small=0):
        s, u = np.asarray(signed, device=device), np.asarray(unsigned, device=device)
        assert (numpy.asarray(fn(s[:, None], u)) == want(signed[:, None], unsigned)).all()
        assert (numpy.asarray(fn(u[:, None], s)) == want(unsigned[:, None], signed)).all()
