"""DLPack on a device whose memory the host does not see directly."""

from __future__ import annotations

import gc
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.backends.opencl import list_devices

pytestmark = pytest.mark.skipif(not list_devices(), reason="needs OpenCL: apt-get install pocl-opencl-icd")


@pytest.fixture
def x() -> Any:
    return np.arange(60_000.0, device="opencl:0").reshape(2, -1) * 2


def test_the_device_is_named(x: Any) -> None:
    assert x.__dlpack_device__() == (4, 0)
    assert "dltensor" in repr(x.__dlpack__())
    assert np.from_dlpack(x).device == "opencl:0"
    with pytest.raises((BufferError, RuntimeError), match="Unsupported device"):
        numpy.from_dlpack(x)
    with pytest.raises(BufferError, match=r"cannot export to DLPack device \(2, 0\)"):
        x.__dlpack__(dl_device=(2, 0))


def test_to_the_host_by_copy(x: Any) -> None:
    copied = numpy.from_dlpack(x, device="cpu", copy=True)
    x += 1
    assert copied[0, :3].tolist() == [0, 2, 4]


def test_a_device_on_the_cpu_shares_its_memory(x: Any) -> None:
    if x._view.buffer.runtime.backend.caps.share is None:
        with pytest.raises(BufferError, match="by copy"):
            numpy.from_dlpack(x, device="cpu", copy=False)
        return
    shared = numpy.from_dlpack(x, device="cpu", copy=False)
    x += 1
    assert shared[0, :3].tolist() == [1, 3, 5]
    shared[0, 0] = 99
    assert float((x * 1)[0, 0]) == 99


def test_capsules_that_nobody_takes_are_let_go(x: Any) -> None:
    for _ in range(5):
        x.__dlpack__()
    assert x._view.buffer.exported
    other = np.ones(3, device="opencl:0").__dlpack__()  # the next export looks after the last ones
    gc.collect()
    assert not x._view.buffer.exported
    assert other is not None


def test_strides_that_are_no_whole_elements() -> None:
    pairs = np.zeros((4, 3), dtype="uint8", device="opencl:0")[:, :2]
    assert pairs.view("uint16").__dlpack__(copy=True) is not None
    with pytest.raises(BufferError, match="export a copy"):
        pairs.view("uint16").__dlpack__()
