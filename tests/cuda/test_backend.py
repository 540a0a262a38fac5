"""The CUDA backend's own logic, over a stand-in for CuPy (see `tests.cuda.standin_cupy`); nothing here sees a GPU."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gpuxp
from gpuxp.backends.base import Operand
from gpuxp.backends.cupy import CudaBackend
from gpuxp.errors import Unsupported
from tests.backend import test_opencl as clike
from tests.cuda import compilers
from tests.cuda.compilers import Host
from tests.cuda.standin_cupy import StandIn, Stream, installed
from tests.properties import test_positions as positions
from tests.properties.fuzz import check, report
from tests.properties.programs import Options
from tests.properties.running import SETUPS

pytestmark = pytest.mark.skipif(not compilers.have_gxx(), reason=compilers.NO_GXX)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    return Host(tmp_path_factory.mktemp("cuda"))


@pytest.fixture
def standin(host: Host) -> Iterator[StandIn]:
    with installed(host) as found, gpuxp.configure(fallback="error"):
        yield found


@pytest.fixture
def backend(host: Host) -> CudaBackend:
    return CudaBackend("0", StandIn(host))


def test_programs_give_numpys_results(standin: StandIn) -> None:
    a = np.random.default_rng(3).random((40, 50))
    with gpuxp.device("cuda:0"):
        x = gpuxp.asarray(a)
        x[1:-1, 1:-1] += x[:-2, 1:-1] - x[2:, 1:-1]
        y = gpuxp.where(x > 0.5, gpuxp.sqrt(gpuxp.abs(x)), -x)
        total, sums = y.sum(), (y * 2).max(axis=0)
    b = a.copy()
    b[1:-1, 1:-1] += a[:-2, 1:-1] - a[2:, 1:-1]
    c = np.where(b > 0.5, np.sqrt(np.abs(b)), -b)
    assert np.array_equal(np.asarray(y), c)
    assert np.array_equal(np.asarray(sums), (c * 2).max(axis=0))
    np.testing.assert_allclose(float(total), c.sum(), rtol=1e-13)


def test_random_programs_match_numpy(standin: StandIn) -> None:
    options = Options(shared=False, large=0)
    with gpuxp.configure(fallback="allow"):
        for seed in range(8):
            setup = replace(SETUPS[seed % len(SETUPS)], device="cuda:0")
            found = check(seed, setup, options)
            assert found is None, report(seed, setup, options, found)


def test_natives_sort_multiply_and_transform(standin: StandIn) -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, 9, (6, 40)).astype(np.float32), rng.random((40, 3)).astype(np.float32)
    with gpuxp.device("cuda:0"):
        x, y = gpuxp.asarray(a), gpuxp.asarray(b)
        assert np.array_equal(np.asarray(gpuxp.sort(x, axis=0)), np.sort(a, axis=0))
        for descending in (False, True):
            got = np.asarray(gpuxp.argsort(x, axis=1, descending=descending, stable=True))
            assert np.array_equal(got, np.argsort(-a if descending else a, axis=1, kind="stable"))
        np.testing.assert_allclose(np.asarray(x @ y), a @ b, rtol=1e-6)
        for name in ("fft", "ifft", "rfft", "irfft"):
            want, got = getattr(np.fft, name)(a[::2], norm="ortho"), getattr(gpuxp.fft, name)(x[::2], norm="ortho")
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5)


def test_indexing_sets_and_running_results(standin: StandIn) -> None:
    with gpuxp.device("cuda:0"), gpuxp.configure(fallback="allow"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for line in positions.READS[::8]:
            positions.compare(line, "cuda:0", statement=False)
        for line in positions.WRITES[::5]:
            positions.compare(line, "cuda:0", statement=True)


def test_natives_refuse_what_they_do_not_take(backend: CudaBackend) -> None:
    def operand(dtype: Any, offset: int = 0, shape: tuple[int, ...] = (4, 4)) -> Operand:
        d = np.dtype(dtype)
        return Operand(backend.alloc(400), offset, (4 * d.itemsize, d.itemsize), shape, d)

    matmul = backend.library["matmul"]
    for ins, reason in (
        ([operand("int32"), operand("int32")], "int32"),
        ([operand("float32"), operand("float64")], "two dtypes"),
        ([operand("float32", 2), operand("float32")], "aligned"),
        ([operand("float32", 0, (0, 4)), operand("float32")], "nothing"),
    ):
        with pytest.raises(Unsupported, match=reason):
            matmul({}, ins, [operand("float32")])


def test_memory(backend: CudaBackend) -> None:
    clike.test_memory(backend)
    assert backend.alloc(8).handle


def test_out_of_memory_frees_the_pools_and_then_says_so(backend: CudaBackend) -> None:
    with pytest.raises(MemoryError, match=rf"{1 << 40} bytes on cuda:0 \(Stand-in.*123 of {1 << 30} bytes are free"):
        backend.alloc(1 << 40)
    assert backend.cupy.get_default_memory_pool().freed == 2  # that of the device, and that of pinned memory


def test_a_failure_that_is_not_memory_is_passed_on(backend: CudaBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(size: int) -> Any:
        raise RuntimeError("the GPU has fallen off the bus")

    monkeypatch.setattr(backend.cupy.cuda, "alloc", fail)
    with pytest.raises(RuntimeError, match="bus"):
        backend.alloc(8)


def test_another_stream_waits_for_the_one_before(backend: CudaBackend) -> None:
    for ptr in (0, 0, 7, 7, 0):
        backend.cupy.stream = Stream(ptr, backend.cupy.waits)
        backend.sync()
    assert backend.cupy.waits == [(7, 0), (0, 7)]


def test_compiled_code_is_kept(backend: CudaBackend, host: Host) -> None:
    f4 = np.dtype(np.float32)
    kernel = clike.row_kernel(f4, clike.spellings(f4)[:3])
    backend.compile(kernel)
    again = CudaBackend("0", StandIn(host))
    again.compile(kernel)
    assert (len(backend.cupy.compiled), len(again.cupy.compiled)) == (1, 0)


def test_what_the_compiler_refuses_is_unsupported(backend: CudaBackend) -> None:
    with pytest.raises(Unsupported, match="its compiler failed: refused"):
        backend.build("refuse this")


@pytest.mark.parametrize("which", ["1", "-1", "x", "0:0", "²"])
def test_devices_that_are_not_there(which: str, host: Host) -> None:
    with pytest.raises(LookupError, match="cuda:0 to cuda:0"):
        CudaBackend(which, StandIn(host))


def test_dlpack_takes_a_stream(standin: StandIn) -> None:
    x = gpuxp.asarray(np.arange(6.0).reshape(2, 3), device="cuda:0") + 1
    assert x.__dlpack_device__() == (2, 0)
    for stream in (None, 1, 2, -1, 4096):
        capsule = x[:, ::2].__dlpack__(stream=stream, max_version=(1, 0))
        assert "dltensor" in repr(capsule)
    for stream in (0, "1"):
        with pytest.raises(ValueError, match="CUDA stream"):
            x.__dlpack__(stream=stream)
    assert np.array_equal(np.from_dlpack(x, device="cpu", copy=True), np.arange(6.0).reshape(2, 3) + 1)
    foreign = SimpleNamespace(__dlpack__=x.__dlpack__, __dlpack_device__=x.__dlpack_device__)
    assert np.array_equal(np.asarray(gpuxp.from_dlpack(foreign, device="cpu")), np.asarray(x))
    with pytest.raises(ValueError, match="stream must be None"):
        gpuxp.ones(3, device="cpu").__dlpack__(stream=1)


class Foreign:
    """An array of another library on the same GPU."""

    def __init__(self, values: Any) -> None:
        self._values, self.dtype, self.shape = values, values.dtype, values.shape

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, **keywords: Any) -> Any:
        raise AssertionError("CuPy's own from_dlpack takes it")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self._values


@pytest.mark.parametrize("make", [gpuxp.asarray, gpuxp.from_dlpack, gpuxp.array])
def test_arrays_of_cupy_stay_on_the_device(standin: StandIn, make: Any) -> None:
    x = Foreign(np.arange(6.0).reshape(2, 3))
    before = gpuxp.stats()["cuda:0"]
    got = make(x, device="cuda:0")
    after = gpuxp.stats()["cuda:0"]
    assert standin.taken == [x]
    assert (after["device_copies"] - before["device_copies"], after["host_writes"] - before["host_writes"]) == (1, 0)
    assert np.array_equal(np.asarray(got * 2), np.arange(6.0).reshape(2, 3) * 2)
    assert gpuxp.asarray(x, dtype="float32", device="cuda:0").dtype == np.float32
    with pytest.raises(BufferError, match="by a copy"):
        gpuxp.from_dlpack(x, device="cuda:0", copy=False)


def test_transfers_between_devices_use_pinned_memory(standin: StandIn) -> None:
    x = gpuxp.arange(10, dtype="float32", device="toy:0") * 2
    assert np.array_equal(np.asarray(x.to_device("cuda:0")), np.arange(10) * 2)
    assert standin.pinned == [40]
