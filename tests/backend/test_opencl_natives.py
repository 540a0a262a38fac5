"""What OpenCL devices compute by kernels of their own, against NumPy: as GPUs do it and as CPUs do it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from gpuxp.backends import opencl
from gpuxp.backends.base import Operand
from gpuxp.codegen.spelling import OPENCL, OPENCL_CPU
from gpuxp.dtypes import STANDARD

pytestmark = pytest.mark.skipif(
    not opencl.list_devices(), reason="no OpenCL device: apt-get install pocl-opencl-icd gives one on any machine"
)

DEVICE = "opencl:0"
Array = np.ndarray[Any, Any]
DIALECTS = {"alone": OPENCL_CPU, "group": OPENCL}
BACKENDS: dict[str, Any] = {}


def backend_of(name: str) -> Any:
    """Return a device that works like a CPU or like a GPU; each is opened once."""
    if name not in BACKENDS:
        BACKENDS[name] = opencl.OpenCLBackend("0", DIALECTS[name])
    return BACKENDS[name]


@pytest.fixture(params=DIALECTS)
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

_LEADS = [((), ()), ((3,), (3,)), ((2, 1), (1, 3)), ((1,), (4,)), ((), (2, 2)), ((2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2))]


def product_error(want: Array, got: Array, a: Array, b: Array) -> float:
    """Return the largest error in units of what rounding may do."""
    if want.dtype.kind not in "fc":
        return 0 if np.array_equal(want, got) else math.inf
    size = np.abs(a) @ np.abs(b)
    scale = np.where(size > 0, size, 1) * np.finfo(want.dtype).eps
    return float(np.max(np.abs(want - got) / scale, initial=0))


@settings(max_examples=150)
@given(st.data())
def test_products_match_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(sorted(DIALECTS))))
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

_SHAPES = [(1,), (2,), (9,), (100,), (3000,), (20_000,), (700, 3), (5, 700), (3, 5, 33), (2, 1, 4), (40, 2050), (2, 9000)]


def same_bits(want: Array, got: Array) -> bool:
    return want.dtype == got.dtype and want.shape == got.shape and want.tobytes() == got.tobytes()


@settings(max_examples=150)
@given(st.data())
def test_sorting_matches_numpy(data: Any) -> None:
    backend = backend_of(data.draw(st.sampled_from(sorted(DIALECTS))))
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
    backend = backend_of(data.draw(st.sampled_from(sorted(DIALECTS))))
    a = numbers(data.draw, data.draw(st.sampled_from([(0,), (1,), (7,), (1000,)])), data.draw(st.sampled_from(STANDARD)))
    v = numbers(data.draw, data.draw(st.sampled_from([(), (1,), (3, 50)])), data.draw(st.sampled_from(STANDARD)))
    side = data.draw(st.sampled_from(["left", "right"]))
    v = disguised(data.draw, v)
    out = disguised(data.draw, np.zeros(v.shape, np.int64))
    want = np.asarray(np.searchsorted(np.sort(a), v, side))
    assert np.array_equal(want, call(backend, "searchsorted", [disguised(data.draw, np.sort(a)), v], out, side=side))
    sorter = np.argsort(a, kind="stable").astype(data.draw(st.sampled_from(["int64", "int32"])))
    ins = [disguised(data.draw, a), v, disguised(data.draw, sorter)]
    assert np.array_equal(want, call(backend, "searchsorted", ins, out, side=side))
