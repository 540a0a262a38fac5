"""What OpenCL devices compute by kernels of their own, against NumPy: as GPUs do it and as CPUs do it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from gpuxp.array import wrap
from gpuxp.backends import opencl, openclblas, openclfft
from gpuxp.backends.base import Operand
from gpuxp.backends.openclcalls import Calls
from gpuxp.backends.opencllibrary import natives
from gpuxp.codegen.spelling import DOUBLE, OPENCL, OPENCL_CPU
from gpuxp.dtypes import STANDARD
from gpuxp.errors import FallbackError, Unsupported
from gpuxp.runtime import Runtime
from gpuxp.testing import kernel_count

pytestmark = pytest.mark.skipif(
    not opencl.list_devices(), reason="no OpenCL device: apt-get install pocl-opencl-icd gives one on any machine"
)

DEVICE = "opencl:0"
Array = np.ndarray[Any, Any]
DIALECTS = {"alone": OPENCL_CPU, "group": OPENCL}
# a small GPU, and a CPU with short vectors
MODEST = SimpleNamespace(max_work_group_size=64, local_mem_size=32 << 10, native_vector_width_float=4)
MACHINES = (*DIALECTS, "modest alone", "modest group")
BACKENDS: dict[str, Any] = {}


def backend_of(name: str) -> Any:
    """Return a device that works like a CPU or like a GPU; each is opened once."""
    if name not in BACKENDS:
        BACKENDS[name] = backend = opencl.OpenCLBackend("0", DIALECTS[name.rpartition(" ")[2]])
        if name.startswith("modest"):
            backend.device, backend.local_bytes = MODEST, MODEST.local_mem_size // 2
            backend.library = natives(backend)
    return BACKENDS[name]


@pytest.fixture(params=MACHINES)
def backend(request: pytest.FixtureRequest) -> Any:
    return backend_of(request.param)


@pytest.fixture
def on_device() -> Iterator[None]:
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="error"):
        yield


def call(backend: Any, name: str, ins: Sequence[Array], out: Array, **parameters: Any) -> Array:
    """Run a native on host arrays, each of which may be any view, and return what it wrote into `out`."""
    operands, raws = [], []
    for array in (*ins, out):
        low, high = np.lib.array_utils.byte_bounds(array) if array.size else (0, 0)
        start = array.__array_interface__["data"][0] - low if array.size else 0
        raw = np.full(high - low, 0xA5, np.uint8)
        if array.size:
            np.ndarray(array.shape, array.dtype, raw, start, array.strides)[...] = array
        mem = backend.alloc(raw.nbytes)
        backend.write(mem, 0, raw)
        operands.append(Operand(mem, start, array.strides, array.shape, array.dtype))
        raws.append(raw)
    backend.library[name](parameters, operands[:-1], operands[-1:])
    before = [raw.copy() for raw in raws]
    for operand, raw in zip(operands, raws, strict=True):
        backend.read(operand.mem, 0, raw)
    assert all(np.array_equal(a, b) for a, b in zip(before[:-1], raws[:-1], strict=True)), "an input was changed"
    target = operands[-1]
    seen: Array = np.ndarray(out.shape, out.dtype, raws[-1], target.offset, out.strides)
    return seen


def disguised(draw: Any, array: Array) -> Array:
    """Return the same numbers in another layout: transposed, reversed, with steps, or not aligned."""
    how = draw(st.sampled_from(["plain", "fortran", "reversed", "steps", "unaligned"]))
    if how == "fortran":
        return np.array(array, order="F")
    if how == "reversed" and array.ndim:
        return np.flip(np.flip(array).copy())
    if how == "steps" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1] + 1), array.dtype)
        wide[..., 1::2] = array
        return wide[..., 1::2]
    if how == "unaligned" and array.size:
        raw = np.zeros(array.nbytes + 1, np.uint8)
        view: Array = np.ndarray(array.shape, array.dtype, raw, 1)
        view[...] = array
        return view
    return array


def numbers(draw: Any, shape: tuple[int, ...], dtype: Any) -> Array:
    """Return numbers, some of them special, with many repetitions."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    kind = dtype.kind
    if kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if kind in "iu":
        info = np.iinfo(dtype)
        wide = draw(st.booleans())
        low, high = (info.min, info.max) if wide else (max(info.min, -5), 5)
        return np.asarray(rng.integers(low, high, shape, dtype, True))
    if kind == "c":
        found = np.empty(shape, dtype)
        found.real, found.imag = (numbers(draw, shape, f"f{dtype.itemsize // 2}") for _ in range(2))
        return found
    if draw(st.booleans()):
        return np.asarray(rng.standard_normal(shape)).astype(dtype)
    special = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, np.finfo(dtype).smallest_subnormal], dtype)
    return np.asarray(special[rng.integers(0, len(special), shape)])


# Products of matrices

_SIX = ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2))
_LEADS = [((), ()), ((3,), (3,)), ((2, 1), (1, 3)), ((1,), (4,)), ((), (2, 2)), _SIX]


def product_error(want: Array, got: Array, a: Array, b: Array) -> float:
    """Return the largest error in units of what rounding may do."""
    if want.dtype.kind not in "fc":
        return 0 if np.array_equal(want, got) else math.inf
    size = np.abs(a) @ np.abs(b)
    scale = np.where(size > 0, size, 1) * np.finfo(want.dtype).eps
    return float(np.max(np.abs(want - got) / scale, initial=0))


@settings(max_examples=100)
@given(st.data())
def test_products_match_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(MACHINES)))
    dtypes = [data.draw(st.sampled_from(STANDARD)) for _ in range(2)]
    if data.draw(st.booleans()):
        dtypes[1] = dtypes[0]
    m, n, k = (data.draw(st.sampled_from([1, 2, 5, 8, 16, 31, 64, 65, 100])) for _ in range(3))
    k = data.draw(st.sampled_from([0, k, k, k, 300]))
    lead_a, lead_b = data.draw(st.sampled_from(_LEADS)) if max(m, n, k) < 40 else ((), (2,))
    a_shape, b_shape = (*lead_a, m, k), (*lead_b, k, n)
    if data.draw(st.integers(0, 4)) == 0:
        a_shape = (k,)
    if data.draw(st.integers(0, 4)) == 0:
        b_shape = (k,)
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    a, b = ((rng.standard_normal(s) * 9).astype(d) for s, d in zip((a_shape, b_shape), dtypes, strict=True))
    if a.dtype.kind == "c":
        a.imag = rng.standard_normal(a_shape)
    a, b = disguised(data.draw, a), disguised(data.draw, b)
    want = np.asarray(np.matmul(a, b))
    out = disguised(data.draw, np.ones_like(want))
    got = call(backend, "matmul", [a, b], out)
    assert product_error(want, got, a, b) <= 4 * max(k, 1) ** 0.5


@pytest.mark.parametrize("dtype", STANDARD, ids=str)
@pytest.mark.parametrize(("m", "n", "k"), [(520, 515, 40), (70, 200, 900)])
def test_large_products(backend: Any, dtype: Any, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-9, 9, s).astype(dtype) for s in ((m, k), (k, n)))
    want = a @ b
    assert np.array_equal(want, call(backend, "matmul", [a, b], np.ones_like(want)))
    assert np.array_equal(want.T, call(backend, "matmul", [b.T, a.T], np.ones_like(want.T)))


def test_a_repeated_matrix_is_multiplied_without_a_copy_of_each(backend: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random((60, 40)), rng.random((5, 1, 40, 50))
    want = np.broadcast_to(a, (7, 60, 40)) @ b
    assert np.allclose(want, call(backend, "matmul", [np.broadcast_to(a, (7, 60, 40)), b], np.empty_like(want)), 1e-13)


# Sorting and searching

_SHAPES = [(1,), (2,), (100,), (3000,), (20_000,), (700, 3), (5, 700), (3, 5, 33), (2, 1, 4), (40, 2050), (2, 40_000)]


def same_bits(want: Array, got: Array) -> bool:
    return want.dtype == got.dtype and want.shape == got.shape and want.tobytes() == got.tobytes()


@settings(max_examples=100)
@given(st.data())
def test_sorting_matches_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(MACHINES)))
    shape = data.draw(st.sampled_from(_SHAPES))
    axis = data.draw(st.integers(0, len(shape) - 1))
    x = disguised(data.draw, numbers(data.draw, shape, data.draw(st.sampled_from(STANDARD))))
    want = np.sort(x, axis, "stable")
    assert same_bits(want, call(backend, "sort", [x], disguised(data.draw, np.zeros_like(x)), axis=axis))
    places = disguised(data.draw, np.zeros(shape, np.int64))
    up = np.argsort(x, axis, "stable")
    down = np.flip(shape[axis] - 1 - np.argsort(np.flip(x, axis), axis, "stable"), axis)
    assert same_bits(up, call(backend, "argsort", [x], places, axis=axis, descending=False))
    assert same_bits(down, call(backend, "argsort", [x], places, axis=axis, descending=True))


@settings(max_examples=100)
@given(st.data())
def test_searching_matches_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(MACHINES)))
    dtypes = st.sampled_from(STANDARD)
    a = numbers(data.draw, data.draw(st.sampled_from([(0,), (1,), (7,), (1000,)])), data.draw(dtypes))
    v = numbers(data.draw, data.draw(st.sampled_from([(), (1,), (3, 50)])), data.draw(dtypes))
    side = data.draw(st.sampled_from(["left", "right"]))
    v = disguised(data.draw, v)
    out = disguised(data.draw, np.zeros(v.shape, np.int64))
    want = np.asarray(np.searchsorted(np.sort(a), v, side))
    assert np.array_equal(want, call(backend, "searchsorted", [disguised(data.draw, np.sort(a)), v], out, side=side))
    sorter = np.argsort(a, kind="stable").astype(data.draw(st.sampled_from(["int64", "int32"])))
    ins = [disguised(data.draw, a), v, disguised(data.draw, sorter)]
    assert np.array_equal(want, call(backend, "searchsorted", ins, out, side=side))


# Fourier transforms

_SIZES = [1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 30, 49, 63, 64, 97, 210, 256, 343, 512, 1000, 1024, 1031, 2187, 4096, 6000]
_NAMES = ("fft", "ifft", "rfft", "irfft")


def transform_error(name: str, x: Array, got: Array, n: int, axis: int, norm: Any) -> float:
    """Return the error against extended precision, in units of rounding of the result's size."""
    exact = x.astype(np.clongdouble if x.dtype.kind == "c" or name == "irfft" else np.longdouble)
    want = getattr(np.fft, name)(exact, n, axis, norm)
    size = np.linalg.norm(want.ravel()) * np.finfo(got.dtype).eps
    return float(np.linalg.norm((want - got).ravel()) / size) if size else float(np.abs(got).max(initial=0))


@settings(max_examples=200)
@given(st.data())
def test_transforms_match_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(MACHINES)))
    name = data.draw(st.sampled_from(_NAMES))
    kinds = [d for d in STANDARD if d.kind != "c" or name != "rfft"]
    dtype = data.draw(st.sampled_from([*kinds, *(d for d in kinds if d.kind in "fc")]))
    size, n = (data.draw(st.sampled_from(_SIZES)) for _ in range(2))
    n = data.draw(st.sampled_from([size, size, n]))
    shape = data.draw(st.sampled_from([(size,), (size, 3), (40, size), (2, size, 5), (1, 2, size)]))
    axis, norm = shape.index(size), data.draw(st.sampled_from([None, "backward", "ortho", "forward"]))
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 32)))
    x = (rng.standard_normal(shape) * 9).astype(dtype)
    if dtype.kind == "c":
        x.imag = rng.standard_normal(shape)
    x = disguised(data.draw, x)
    want = getattr(np.fft, name)(x, n, axis, norm)
    got = call(backend, f"fft.{name}", [x], disguised(data.draw, np.ones_like(want)), n=n, axis=axis, norm=norm)
    assert transform_error(name, x, got, n, axis, norm) <= 3 + math.log2(n)


@pytest.mark.parametrize("n", [1 << 17, 3 << 14, 10_007, 2 * 7**5])
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_long_transforms(backend: Any, dtype: str, n: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, n)).astype(dtype) + (1j * rng.standard_normal(n)).astype(dtype)
    there = call(backend, "fft.fft", [x], np.zeros_like(x), n=n, axis=1, norm=None)
    assert transform_error("fft", x, there, n, 1, None) <= math.log2(n) / 2
    back = call(backend, "fft.ifft", [there], np.zeros_like(x), n=n, axis=1, norm=None)
    assert np.linalg.norm(back - x) <= np.linalg.norm(x) * np.finfo(dtype).eps * math.log2(n)


def test_tables_are_exact_to_the_last_bits() -> None:
    for n in (1, 2, 3, 8, 12, 360, 1031):
        for k, root in enumerate(openclfft._roots(n)):
            with mpmath.workdps(40):
                angle = -2 * mpmath.pi * k / n
                assert abs(mpmath.cos(angle) - root.real) <= 2e-16
                assert abs(mpmath.sin(angle) - root.imag) <= 2e-16


def test_tables_that_were_not_used_lately_go(monkeypatch: pytest.MonkeyPatch) -> None:
    found = openclfft.Transforms(Calls(backend_of("alone")))
    monkeypatch.setattr(openclfft, "_CACHED", 100_000)
    for n in range(1000, 1040):
        found.table("roots", openclfft._roots, n, np.dtype(np.complex128))
    assert found._held <= 100_000
    assert [key[1] for key in found._tables] == list(range(1040 - len(found._tables), 1040))
    assert len(found._tables) > 3


# All of them


def _calls(dtype: Any) -> list[tuple[str, list[Array], Array, dict[str, Any]]]:
    """Return a call of every native with arrays of a dtype."""
    x = np.arange(10_000).reshape(100, 100).astype(dtype)
    found: list[tuple[str, list[Array], Array, dict[str, Any]]] = [
        ("matmul", [x, x], x @ x, {}),
        ("sort", [x[::-1]], np.sort(x[::-1], 0), {"axis": 0}),
        ("argsort", [x], np.argsort(-x.astype(float).real, 1, "stable"), {"axis": 1, "descending": True}),
        ("searchsorted", [np.sort(x[0]), x], np.searchsorted(np.sort(x[0]), x), {"side": "left"}),
        ("searchsorted", [x[0], x, np.argsort(x[0])], np.searchsorted(np.sort(x[0]), x), {"side": "left"}),
    ]
    for name in _NAMES:
        if name != "rfft" or np.dtype(dtype).kind != "c":
            want = getattr(np.fft, name)(x, 100, 0, None)
            found.append((f"fft.{name}", [x], want, {"n": 100, "axis": 0, "norm": None}))
    return found


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint64", "float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_sources_compile_without_warnings(dialect: str, dtype: Any) -> None:
    backend = opencl.OpenCLBackend("0", DIALECTS[dialect])
    backend._options = ["-Werror"]
    for name, ins, want, parameters in _calls(dtype):
        got = call(backend, name, ins, np.zeros_like(want), **parameters)
        if want.dtype.kind in "fc":
            assert np.allclose(got, want, 1e-5, 1e-5 * np.abs(want).max()), name
        elif name != "argsort":
            assert np.array_equal(got, want), name


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning")
def test_every_native_is_called(backend: Any) -> None:
    moving = {"take", "put", "accumulate"}  # tests/backend/test_positions.py
    assert {name for name, *_ in _calls("float32")} == set(backend.library) - moving


def test_a_device_without_doubles_leaves_them_to_the_host() -> None:
    single = {name: c_type for name, c_type in OPENCL.types.items() if name not in DOUBLE}
    backend = opencl.OpenCLBackend("0", replace(OPENCL, types=single))
    for name, ins, want, parameters in _calls("float64"):
        with pytest.raises(Unsupported, match=r"opencl:0 has no (float64|complex128)"):
            call(backend, name, ins, want, **parameters)
    x = np.arange(6, dtype=np.int32)
    with pytest.raises(Unsupported, match="complex128"):  # what NumPy makes of integers
        call(backend, "fft.fft", [x], np.fft.fft(x), n=6, axis=0, norm=None)
    with pytest.raises(Unsupported, match="float64"):  # what int64 and uint64 are compared in
        call(backend, "searchsorted", [x.astype("int64"), x.astype("uint64")], np.zeros(6, np.int64), side="left")
    for name, ins, want, parameters in _calls("float32"):
        assert np.allclose(want, call(backend, name, ins, np.zeros_like(want), **parameters), 1e-5, 0.1), name


def test_a_compiler_that_fails_leaves_the_call_to_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: str) -> Any:
        raise Unsupported("its compiler failed: no")

    backend = opencl.OpenCLBackend("0")
    monkeypatch.setattr(backend, "program", refuse)
    runtime = Runtime("opencl:0", backend)
    x = wrap(runtime, np.arange(300.0)[::-1].copy())
    before = runtime.stats()["fallbacks"]
    with gpuxp.configure(fallback="allow"):
        assert np.array_equal(np.asarray(gpuxp.sort(x)), np.arange(300.0))
    assert runtime.stats()["fallbacks"] == before + 1
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="its compiler failed"):
        np.asarray(gpuxp.sort(x))


def test_running_out_of_memory_is_raised_at_the_read(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = opencl.OpenCLBackend("0")
    x = wrap(Runtime("opencl:0", backend), np.arange(300_000.0))
    result = gpuxp.sort(x)

    def refuse(nbytes: int) -> Any:
        raise MemoryError("opencl:0 has no more")

    monkeypatch.setattr(backend, "alloc", refuse)
    with pytest.raises(MemoryError, match="opencl:0 has no more"):
        np.asarray(result)


# Through the namespace


_LINES = """
a @ a.T
a @ a[0]
a[0] @ a.T
a[1] @ a[1]
np.matmul(t, t.swapaxes(1, 2))
np.matmul(i[:, :40], i[:, :40].T)
np.sort(a)
np.sort(a, axis=0)
np.sort(i.T, axis=0, descending=True) if np is gpuxp else np.flip(np.sort(i.T, axis=0), 0).copy()
np.argsort(i, axis=1, stable=True)
np.argsort(t[:, ::-1], axis=0, kind="stable")
np.sort(t, axis=None)
np.searchsorted(np.sort(a[0]), a)
np.searchsorted(np.sort(i[0]), a[0, 0], side="right")
np.searchsorted(i[0], [3, 4.5], sorter=np.argsort(i[0], kind="stable"))
np.fft.fft(a)
np.fft.fft(a.T, 37, axis=0)
np.fft.ifft(i, axis=0, norm="ortho")
np.fft.rfft(t[::-1], axis=1)
np.fft.irfft(z, 51, norm="forward")
np.fft.hfft(z, axis=0)
np.fft.ihfft(a, 20, norm="ortho")
np.fft.fftn(t)
np.fft.ifftn(t, axes=(2, 0))
np.fft.rfftn(t, s=(4, 9), axes=(0, 1))
np.fft.irfftn(z)
np.fft.fft2(z, s=(-1, 6))
np.fft.rfft2(a, norm="forward")
np.fft.ifft2(t)
np.fft.irfft2(t)
np.fft.fft(np.zeros((0, 4)))
np.fft.fftn(np.zeros((3, 0)), s=(3, 2), axes=(0, 1))
np.sort(np.zeros((3, 0)), axis=0)
np.zeros((3, 0)) @ np.zeros((0, 2))
np.searchsorted(np.zeros(0), a[0])
np.vecdot(z, z[0])
np.vecdot(t, t[:, :1], axis=0)
np.linalg.vecdot(i, i)
np.tensordot(t, t, axes=([0, 2], [0, 2]))
np.tensordot(a, i[:, :60].T, axes=(0, 0))
np.tensordot(t[0], z, axes=0)
np.dot(t, t[0].T)
np.linalg.matrix_power(i[:30, :30], 5)
np.linalg.matrix_power(np.ones((2, 3, 3)), 0) @ t[0, :3]
np.linalg.cross(t[..., :3], t[1, :, 3:6]) @ t[0, :3]
""".strip().splitlines()


@pytest.mark.parametrize("line", _LINES)
def test_lines_run_on_the_device_and_give_numpys_results(on_device: None, line: str) -> None:
    rng = np.random.default_rng(0)
    given = {
        "a": rng.standard_normal((60, 45)),
        "i": rng.integers(-9, 9, (33, 70)),
        "t": rng.standard_normal((5, 6, 7)).astype("float32"),
        "z": rng.standard_normal((12, 20)) + 1j * rng.standard_normal((12, 20)),
    }
    want = eval(line, {"np": np, "gpuxp": gpuxp, **given})
    with kernel_count() as counts:
        got = eval(line, {"np": gpuxp, "gpuxp": gpuxp, **{k: gpuxp.asarray(v) for k, v in given.items()}})
        strides, seen = got.strides, np.asarray(got)
    assert counts.library_calls or "vecdot" in line  # which is a kernel
    assert (seen.dtype, seen.shape) == (want.dtype, want.shape)
    assert strides == want.strides or seen.size <= 1 or 1 in seen.shape
    if want.dtype.kind in "fc" and "sort" not in line:
        scale = np.linalg.norm(want.ravel()) * np.finfo(want.dtype).eps
        assert np.linalg.norm((seen - want).ravel()) <= 20 * scale
    else:
        assert np.array_equal(seen, want)


def test_a_place_out_of_range_raises_at_the_call(on_device: None) -> None:
    a = gpuxp.asarray(np.arange(400.0))
    for place in (400, -1):
        sorter = np.arange(400)
        sorter[:] = place
        with pytest.raises(ValueError, match="out of range"):
            gpuxp.searchsorted(a, [3.0], sorter=gpuxp.asarray(sorter))
    assert int(gpuxp.searchsorted(a, 3.0, sorter=gpuxp.arange(400))) == 3


def test_any_byte_but_zero_is_true(backend: Any) -> None:
    a = np.arange(400, dtype=np.uint8).reshape(20, 20)
    want = (a != 0) @ (a.T != 0)
    assert np.array_equal(want, call(backend, "matmul", [a.view(bool), a.T.view(bool)], np.zeros_like(want)))


class StandInBlas:
    """PyCLBlast's face: it multiplies on the host what its arguments describe."""

    def __init__(self, fails: bool) -> None:
        self.fails, self.done = fails, 0

    def gemm(
        self, queue: Any, m: int, n: int, k: int, a: Any, b: Any, c: Any, a_step: int, b_step: int, c_step: int,
        alpha: Any, beta: Any, a_transposed: bool, b_transposed: bool, a0: int, b0: int, c0: int,
    ) -> None:  # fmt: skip
        if self.fails:
            raise RuntimeError("PyCLBlast: 'CLBlastXgemm' failed: no kernel")
        found = []
        for array, rows, columns, step, transposed, start in (
            (a, m, k, a_step, a_transposed, a0), (b, k, n, b_step, b_transposed, b0),
        ):  # fmt: skip
            raw = np.empty(array.base_data.size // array.dtype.itemsize, array.dtype)
            opencl.cl.enqueue_copy(queue, raw, array.base_data)
            assert step >= (rows if transposed else columns)
            strides = (1, step) if transposed else (step, 1)
            in_bytes = [s * raw.itemsize for s in strides]
            found.append(np.lib.stride_tricks.as_strided(raw[start:], (rows, columns), in_bytes))
        assert (alpha, beta, c_step, c0) == (1, 0, n, 0)
        opencl.cl.enqueue_copy(queue, c.base_data, np.ascontiguousarray(found[0] @ found[1]))
        self.done += 1


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "complex128", "int32"])
def test_clblast_multiplies_where_it_is_installed(monkeypatch: pytest.MonkeyPatch, dtype: str, fails: bool) -> None:
    blas = StandInBlas(fails)
    monkeypatch.setattr(openclblas, "library", lambda: blas)
    rng = np.random.default_rng(0)
    wide = rng.integers(-9, 9, (2, 90, 230)).astype(dtype)
    a, b = wide[0, :, 3:73], wide[1, 10:80, 100:]
    layouts = [(a, b), (b.T, a.T), (a[None], b[None]), (a[:, ::-1], b), (np.broadcast_to(a[0], a.shape), b)]
    for group, (x, y) in ((g, pair) for g in ("group", "alone") for pair in layouts):
        want = x @ y
        assert np.array_equal(want, call(backend_of(group), "matmul", [x, y], np.zeros_like(want)))
    assert blas.done == (0 if fails or dtype == "int32" else 3)  # of layouts that it takes, on a GPU


def test_a_clblast_that_does_not_load_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise OSError(f"{name}: libclblast.so.1: cannot open shared object file")

    monkeypatch.setattr(openclblas.importlib, "import_module", fail)
    assert openclblas.library.__wrapped__() is None


@pytest.mark.filterwarnings("ignore::numpy.exceptions.ComplexWarning", "ignore:divide by zero")
@pytest.mark.parametrize("order", [None, 2, 1, 0, 3, 0.5, -1, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", ["int8", "float32", "float64", "complex64", "complex128"])
def test_norms_run_on_the_device(on_device: None, order: Any, dtype: str) -> None:
    rng = np.random.default_rng(0)
    a = (rng.standard_normal((5, 6, 7)) * 4 + 0.1j * rng.standard_normal(7)).astype(dtype)
    x = gpuxp.asarray(a)
    for axis, keepdims in ((0, False), (-1, True), ((0, 2), False), (None, True)):
        want = np.linalg.vector_norm(a, axis=axis, keepdims=keepdims, ord=2 if order is None else order)
        got = np.asarray(gpuxp.linalg.vector_norm(x, axis=axis, keepdims=keepdims, ord=2 if order is None else order))
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        assert np.allclose(got, want, 1e-5)
    if order not in (2, 0, 3, 0.5):  # 2 is by singular values, the others are no norms of matrices
        for axes, keepdims in (((-2, -1), True), ((2, 0), False)):
            want = np.linalg.norm(a, order, axes, keepdims)
            got = np.asarray(gpuxp.linalg.norm(x, order, axes, keepdims))
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            assert np.allclose(got, want, 1e-5)
    assert np.allclose(np.asarray(gpuxp.linalg.matrix_norm(x)), np.linalg.matrix_norm(a), 1e-5)


def test_products_that_do_not_fit_are_refused(on_device: None) -> None:
    x = gpuxp.ones((3, 4))
    for call, why in (
        (lambda: gpuxp.tensordot(x, x, axes=1), "shape-mismatch"),
        (lambda: gpuxp.tensordot(x, x, axes=([0, 0], [0, 0])), "duplicate axes"),
        (lambda: gpuxp.vecdot(x, gpuxp.ones((3, 5))), "mismatch"),
        (lambda: gpuxp.linalg.cross(x, x), "3 elements"),
    ):
        with pytest.raises(ValueError, match=why):
            call()
