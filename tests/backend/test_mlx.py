"""MLX against NumPy, on its CPU device."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import math
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from gpuxp import fallback
from gpuxp.dtypes import BOOL, SUPPORTED
from gpuxp.errors import FallbackError, Unsupported
from gpuxp.kernel import BLOCK, Inst, Kernel, Reduction, combine, execute
from gpuxp.ops import ELEMENTWISE
from gpuxp.testing import kernel_count

from .test_opencl import LOOPS, launch, mismatches, ulps

mlx = pytest.importorskip("gpuxp.backends.mlx", reason="no MLX: pip install 'gpuxp[mlx]'", exc_type=ImportError)
from gpuxp.backends import mlxcompiler, mlxfold, mlxmemory, mlxrows  # noqa: E402 - they need MLX
from gpuxp.backends.mlxtypes import TYPES  # noqa: E402

DEVICE = "mlx:cpu"
Array = np.ndarray[Any, Any]


@pytest.fixture
def backend() -> Any:
    return mlx.MLXBackend("cpu")


@pytest.fixture
def on_device() -> Iterator[None]:
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="error"):
        yield


# Rows of the table


def spelled(dtype: Any) -> list[tuple[Any, Any]]:
    """Return the rows that MLX has for operands of a dtype, with their result's dtype."""
    found = []
    for row in ELEMENTWISE.values():
        try:
            loop = row.ufunc.resolve_dtypes((dtype,) * row.nin + (None,) * row.ufunc.nout)
            mlxrows.spell(row.name, (dtype,) * row.nin)
        except (TypeError, Unsupported):
            continue
        if row.name != "select" and loop[0] == dtype:
            found.append((row, loop[-1]))
    return found


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_every_spelled_row_matches_numpy(backend: Any, dtype: Any) -> None:
    rows = spelled(dtype)
    assert len(rows) > 16
    assert not list(mismatches(backend, dtype, rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_large_and_tiny_arguments(on_device: None, dtype: str) -> None:
    rng = np.random.default_rng(0)
    info = np.finfo(dtype)
    x = np.concatenate(
        [rng.uniform(-1e6, 1e6, 4000), rng.uniform(-100, 100, 4000), np.arange(1, 300) * np.pi / 2,
         [-0.0, 0.0, info.smallest_subnormal, -info.smallest_subnormal, 1e30, -1e30]]
    ).astype(dtype)  # fmt: skip
    wide = np.concatenate(
        [x, np.linspace(np.log(info.smallest_subnormal) - 1, np.log(info.max) + 1, 4000, dtype=dtype)]
    )
    for name, values in (("sin", x), ("cos", x), ("tan", x), ("tanh", x), ("arctan", x), ("exp", wide), ("exp2", wide)):
        with np.errstate(all="ignore"):
            want = getattr(np, name)(values)
        got = np.asarray(getattr(gpuxp, name)(gpuxp.asarray(values)))
        assert ulps(want, got) <= ELEMENTWISE[name].ulp, name
        assert np.array_equal(np.signbit(want), np.signbit(got)), name


def test_conversions_out_of_range_are_defined(backend: Any) -> None:
    for dtype in ("float32", "float64"):
        x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9, 300, -300, 2.0**63, -(2.0**63)], dtype)
        targets = [np.dtype(d) for d in ("int64", "int32", "uint64", "uint8")]
        body = (Inst("load", (), x.dtype, 0), *(Inst("cast", (0,), d) for d in targets))
        kernel = Kernel((x.dtype, *targets), (), body, ((1, 1), (2, 2), (3, 3), (4, 4)))
        outs = [np.zeros(len(x), d) for d in targets]
        launch(backend, kernel, x.shape, [x, *outs])
        least = np.iinfo(np.int64).min
        assert outs[0].tolist() == [least] * 5 + [int(x[5]), int(x[6]), 300, -300, least, least]
        assert outs[1].tolist() == [np.iinfo(np.int32).min] * 7 + [300, -300] + [np.iinfo(np.int32).min] * 2
        assert outs[2][9] == 2**63
        assert outs[3].tolist() == [0] * 7 + [300 - 256, 256 - 300 % 256] + [0] * 2


# Reductions


@pytest.mark.parametrize("op", ["add", "logical_or", "maximum", "multiply"])
def test_reductions_have_the_canonical_order(backend: Any, op: str) -> None:
    dtype = BOOL if op == "logical_or" else np.dtype(np.float32 if op == "multiply" else np.float64)
    rng = np.random.default_rng(2)
    for (outer, inner), transposed in itertools.product(LOOPS, (False, True)):
        shape = outer + inner
        x = rng.random((*reversed(shape),)).T if transposed else rng.random(shape)
        x = x < 1e-3 if dtype == BOOL else (x + 0.5).astype(dtype)
        y = np.zeros(outer, dtype)
        kernel = Kernel(
            (dtype, dtype), (), (Inst("load", (), dtype, 0),), (), (Reduction(op, 0, 1),), len(shape), len(outer)
        )
        launch(backend, kernel, shape, [x, y])
        want = combine(op, x.reshape(math.prod(outer), -1)).reshape(outer)
        assert y.tobytes() == want.tobytes(), (shape, transposed)


def test_one_kernel_stores_and_reduces(backend: Any) -> None:
    f4, i8 = np.dtype(np.float32), np.dtype(np.int64)
    body = (
        Inst("load", (), f4, 0), Inst("load", (), f4, 1), Inst("multiply", (0, 1), f4), Inst("cast", (2,), i8),
    )  # fmt: skip
    reductions = (Reduction("add", 2, 2), Reduction("maximum", 3, 3), Reduction("add", 3, 4))
    kernel = Kernel((f4, f4, f4, i8, i8), (), body, ((0, 2),), reductions, 2, 1)
    rng = np.random.default_rng(3)
    for shape in ((6, 5000), (300, 40), (4, 1)):
        arrays = [rng.integers(-50, 50, shape).astype(f4), rng.integers(-50, 50, shape).astype(f4)]
        arrays += [np.zeros(shape[0], d) for d in (f4, i8, i8)]
        expected = [a.copy() for a in arrays]
        execute(kernel, shape, expected, ())
        launch(backend, kernel, shape, arrays)
        for got, want in zip(arrays, expected, strict=True):
            assert np.array_equal(got, want)


def test_sums_of_nothing_and_of_negative_zeros(backend: Any) -> None:
    f8 = np.dtype(np.float64)
    kernel = Kernel((f8, f8), (), (Inst("load", (), f8, 0),), (), (Reduction("add", 0, 1),), 2, 1)
    for x in (np.broadcast_to(np.float64(1), (3, 0)), np.full((3, 5), -0.0), np.full((3, 1), -0.0)):
        out = np.full(3, 7.0)
        launch(backend, kernel, x.shape, [x, out])
        assert out.tolist() == [0, 0, 0]
        assert not np.signbit(out).any()


def test_the_device_gives_the_bits_of_the_software_gpu(on_device: None) -> None:
    for dtype, shape in itertools.product(
        ("float16", "float32", "float64", "complex64"), ((70, 900), (3, 2 * BLOCK + 5))
    ):
        x = np.random.default_rng(5).standard_normal(shape).astype(dtype)
        for axis in (None, 0, 1):
            got, want = (np.asarray(gpuxp.asarray(x, device=d).sum(axis=axis)) for d in (DEVICE, "cpu"))
            assert got.tobytes() == want.tobytes()


# Views and places

SLICES = [slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(4, None, -3)]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_views_strides_and_writes(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "complex64", "int8"])))
    host = np.arange(1, math.prod(shape) + 1).reshape(shape).astype(dtype)
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    key = tuple(data.draw(st.sampled_from(SLICES)) for _ in shape)
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="error"):
        device = gpuxp.asarray(host)
        kept = device.copy()
        before = host.copy()
        a, x = host.transpose(order)[key], device.transpose(order)[key]
        assert np.array_equal(np.asarray(x * x[:1] + x), a * a[:1] + a)
        x += 1
        a += 1
        x[:1] = x[-1:] * 2
        a[:1] = a[-1:] * 2
        assert np.array_equal(np.asarray(device), host)
        assert np.array_equal(np.asarray(kept), before)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_write_changes_the_view_and_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 400))
    unit = data.draw(st.sampled_from([1, 2, 8]))
    dtype = np.dtype(f"u{unit}")
    extents, strides, low, high = [], [], 0, 0
    for _ in range(data.draw(st.integers(0, 3))):
        step = data.draw(st.integers(1, 60)) * data.draw(st.sampled_from([1, -1, unit]))
        extent = data.draw(st.integers(1, 5))
        if high - low + abs(step) * (extent - 1) + unit > size:
            continue
        extents.append(extent)
        strides.append(step)
        low, high = low + min(step * (extent - 1), 0), high + max(step * (extent - 1), 0)
    if high - low + unit > size:
        return
    offset = data.draw(st.integers(-low, size - high - unit))
    memory = np.arange(size, dtype=np.uint8)
    view: Array = np.ndarray(tuple(extents), dtype, memory, offset, tuple(strides))
    places = np.ndarray(view.shape, f"V{unit}", np.arange(size, dtype=np.uint8), offset, view.strides)
    if len({p.tobytes() for p in places.reshape(-1)}) < view.size or view.size * unit != len(
        {b for p in places.reshape(-1) for b in p.tobytes()}
    ):
        return  # elements that overlap: no array that can be written has them
    value = np.arange(1, view.size + 1, dtype=dtype).reshape(view.shape)
    mem = mlxmemory.Memory(size)
    mem.array = mlx.mx.array(memory)
    mlxmemory.store(mem, dtype, view.shape, offset, view.strides, mlx.mx.array(value))
    view[...] = value
    assert np.array(mem.array).tobytes() == memory.tobytes()
    found = np.array(mlxmemory.load(mem, dtype, view.shape, offset, view.strides))
    assert np.array_equal(found, value)


def test_overlapping_writes_in_place(on_device: None) -> None:
    a = np.arange(5000.0)
    x = gpuxp.asarray(a)
    for y in (a, x):
        y[1:] += y[:-1]
        y[::2] *= -1
        y[:100] = y[50:150][::-1]
    assert np.array_equal(np.asarray(x), a)


def test_a_diagonal_is_written_element_by_element(on_device: None) -> None:
    a = np.arange(60.0).reshape(3, 4, 5)
    x = gpuxp.asarray(a)
    for y in (a, x):
        y.transpose(2, 0, 1)[1:3, ::-2, 1:3] = 7
        y.reshape(-1)[::6] += 1
        y.reshape(12, 5)[:, 1:4][::5] -= 2
    assert np.array_equal(np.asarray(x), a)


def test_one_memory_seen_as_several_dtypes(on_device: None) -> None:
    a = np.arange(24, dtype=np.int16)
    x = gpuxp.asarray(a)
    for y in (a, x):
        y.view("int32")[::2] += 1 << 16
        y.view("uint8")[3::7] = 9
        y[1:-1].view("int32")[:4] *= 3
    assert np.array_equal(np.asarray(x), a)


def test_values_are_not_shared_between_arrays(on_device: None) -> None:
    a = gpuxp.arange(1000.0)
    b, part = a.copy(), a[10:20].copy()
    a[5:15] = -1
    b[0] = 3
    assert np.asarray(b)[5:15].tolist() == list(range(5, 15))
    assert np.asarray(part).tolist() == list(range(10, 20))
    assert float(a[0]) == 0
    assert part._view.buffer.mem.array.nbytes == 80


def test_indices_out_of_bounds() -> None:
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="allow"):
        x = gpuxp.arange(5.0)
        for bad in (5, -6, 10**12):
            with pytest.raises(IndexError):
                x[bad]
            with pytest.raises(IndexError):
                x[gpuxp.asarray([0, bad])]
            with pytest.raises(IndexError):
                gpuxp.take(x, gpuxp.asarray([bad]))
            with pytest.raises(IndexError):
                x[gpuxp.asarray([bad])] = 1
        x[gpuxp.asarray([1, 3, 1])] = gpuxp.asarray([7.0, 8.0, 9.0])
        assert np.asarray(x).tolist() == [0, 9, 2, 8, 4]


# Whole programs


def test_a_chain_is_one_kernel(on_device: None) -> None:
    a = np.random.default_rng(0).random((200, 300))
    x = gpuxp.asarray(a)
    with kernel_count(DEVICE) as counts:
        y = gpuxp.sqrt(x * x + 2.5) - x / 3
    assert (counts.kernels, counts.temporaries) == (1, 0)
    assert np.array_equal(np.asarray(y), np.sqrt(a * a + 2.5) - a / 3)
    with kernel_count(DEVICE) as counts:
        total = (x * x).sum(axis=0)
    assert counts.kernels == 1
    np.testing.assert_allclose(np.asarray(total), (a * a).sum(axis=0), rtol=1e-13)


def test_double_precision_is_double(on_device: None) -> None:
    x = gpuxp.asarray([1 / 3, 1e300, 2.0**53, -1e-300])
    assert np.asarray(x + 1.0).tolist() == [1 / 3 + 1, 1e300, 2.0**53, 1.0]
    assert np.asarray(x * 0.1).tolist() == [v * 0.1 for v in (1 / 3, 1e300, 2.0**53, -1e-300)]
    assert float(gpuxp.asarray([2.0**53, 2.0, 4.0]).sum()) == 2.0**53 + 6
    large = gpuxp.asarray(np.array([2**64 - 1, 5], np.uint64)) // np.uint64(2)
    assert np.asarray(large).tolist() == [2**63 - 1, 2]


def test_scalars_of_every_dtype(on_device: None) -> None:
    for dtype in TYPES:
        value = dtype.type(1) if dtype.kind == "b" else dtype.type(100)
        x = np.zeros(7, dtype)
        got = np.asarray(gpuxp.where(gpuxp.asarray(np.arange(7) > 2), gpuxp.asarray(x), value))
        assert np.array_equal(got, np.where(np.arange(7) > 2, x, value)), dtype
    big = gpuxp.asarray(np.zeros(3, np.uint64)) + np.uint64(2**64 - 1)
    assert np.asarray(big).tolist() == [2**64 - 1] * 3


def test_what_the_device_cannot_compute_with_it_can_move(on_device: None) -> None:
    a = (np.arange(24) + 1j).reshape(4, 6)
    x = gpuxp.asarray(a)
    y = x[::-2, 1:].T.copy()
    x[1:, ::3] = x[:-1, ::3]
    x[0] = 2 - 3j
    b = a[::-2, 1:].T.copy()
    a[1:, ::3] = a[:-1, ::3].copy()
    a[0] = 2 - 3j
    assert np.array_equal(np.asarray(x), a)
    assert np.array_equal(np.asarray(y), b)
    assert np.array_equal(np.asarray(gpuxp.full((2, 3), 1j)), np.full((2, 3), 1j))


def test_the_host_is_counted_or_refused() -> None:
    z = np.linspace(0, 1, 50) + 1j
    x = gpuxp.asarray(z, device=DEVICE)
    before = fallback.counts[f"{DEVICE}:exp"]
    with gpuxp.configure(fallback="allow"):
        np.testing.assert_array_equal(np.asarray(gpuxp.exp(x)), np.exp(z))
    assert fallback.counts[f"{DEVICE}:exp"] == before + 1
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="complex128"):
        np.asarray(gpuxp.exp(x))
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="gcd of int64"):
        np.asarray(gpuxp.gcd(gpuxp.asarray([4, 6], device=DEVICE), 2))


def test_a_device_without_doubles(backend: Any) -> None:
    narrow = backend
    narrow.caps = replace(narrow.caps, dtypes=narrow.caps.dtypes - {np.dtype(np.float64)})
    f4, f8, c8 = (np.dtype(name) for name in ("float32", "float64", "complex64"))
    for kernel in (
        Kernel((c8, c8), (), (Inst("load", (), c8, 0), Inst("power", (0, 0), c8)), ((1, 1),)),
        Kernel((f4, f8), (), (Inst("load", (), f4, 0), Inst("cast", (0,), f8)), ((1, 1),)),
        Kernel((f4, f4), (), (Inst("load", (), f4, 0), Inst("cast", (0,), f8), Inst("cast", (1,), f4)), ((1, 2),)),
    ):
        with pytest.raises(Unsupported, match="float64"):
            narrow.compile(kernel)
    mem, data, back = narrow.alloc(40), np.arange(5.0) / 3, np.zeros(5)
    narrow.write(mem, 0, data)
    narrow.read(mem, 0, back)
    assert np.array_equal(data, back)


@pytest.mark.parametrize("threads", [2, 3])
def test_long_computations_are_shared_among_streams(backend: Any, threads: int) -> None:
    f4 = np.dtype(np.float32)
    body = (
        Inst("load", (), f4, 0), Inst("scalar", (), f4, 0), Inst("multiply", (0, 1), f4), Inst("sin", (2,), f4),
        Inst("cos", (1,), f4),
    )  # fmt: skip
    kernel = Kernel((f4, f4, f4), (f4,), body, ((1, 3), (2, 4)))
    x = np.random.default_rng(3).uniform(-50, 50, 3 * mlx._PIECE + 7).astype(f4)
    found = {}
    for count in (1, threads):
        with gpuxp.configure(num_threads=count):
            found[count] = [np.zeros_like(x), np.zeros_like(x)]
            launch(backend, kernel, x.shape, [x, *found[count]], [f4.type(1.5)])
        assert len(backend._streams) == count
    for alone, shared in zip(found[1], found[threads], strict=True):
        np.testing.assert_array_equal(alone, shared)
    np.testing.assert_allclose(found[threads][0], np.sin(x * f4.type(1.5)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("op", "name"), [("add", "sum"), ("multiply", "prod")])
def test_a_reduction_in_another_order_is_not_used(
    backend: Any, op: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = getattr(mlxfold.mx, name)
    mlxfold._whole_rows.cache_clear()
    monkeypatch.setattr(mlxfold.mx, name, lambda x, axis: real(x[:, ::-1] if axis == 1 else x[:, :, ::-1], axis=axis))
    assert mlxfold._whole_rows(op) is None
    monkeypatch.undo()
    mlxfold._whole_rows.cache_clear()
    assert mlxfold._whole_rows(op) is real


def test_launches_from_several_threads(on_device: None) -> None:
    x = gpuxp.arange(20000.0)
    failures: list[Any] = []

    def work(number: int) -> None:
        try:
            with gpuxp.device(DEVICE):
                for n in range(20):
                    y = x * number + n
                    if float(y[1]) != number + n:
                        failures.append((number, n))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert float((x + 1).sum()) == 20000 * 20001 / 2


# Calls that MLX has itself


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "float16"])
def test_products_of_matrices(on_device: None, dtype: str) -> None:
    rng = np.random.default_rng(9)
    pairs = ((30, 200), (200, 10)), ((5,), (5,)), ((3, 4, 5), (5,)), ((5,), (2, 5, 6)), ((2, 1, 3, 4), (5, 4, 2))
    for first, second in pairs:
        a, b = rng.standard_normal(first).astype(dtype), rng.standard_normal(second).astype(dtype)
        got = np.asarray(gpuxp.matmul(gpuxp.asarray(a), gpuxp.asarray(b)))
        wide = np.complex128 if dtype[0] == "c" else np.float64
        want, size = a.astype(wide) @ b.astype(wide), abs(a).astype(float) @ abs(b).astype(float)
        assert (got.dtype, got.shape) == (a.dtype, want.shape)
        assert (abs(got - want) <= first[-1] * np.finfo(dtype).eps * size).all()
    square = gpuxp.asarray(np.eye(4, dtype=dtype))
    assert np.array_equal(np.asarray(square.T[::-1] @ square[:, ::-1]), np.eye(4)[::-1] @ np.eye(4)[:, ::-1])


@pytest.mark.parametrize("dtype", ["bool", "int8", "uint16", "int64", "uint64", "float16", "float32", "float64"])
def test_sorting(on_device: None, dtype: str) -> None:
    rng = np.random.default_rng(10)
    x = rng.integers(0, 2 if dtype == "bool" else 30, (12, 3, 50)).astype(dtype)
    if dtype[0] == "f":
        x[::5, 0, ::7], x[0, 0, 0], x[1, 1, 1] = np.nan, np.inf, -np.inf
    for axis, y in itertools.product((None, 0, 1, -1), (x, x.T, x[::-1, :, ::3])):
        device = gpuxp.asarray(x)
        z = device if y is x else device.T if y.shape == x.T.shape else device[::-1, :, ::3]
        want = np.sort(y, axis)
        assert np.array_equal(np.asarray(gpuxp.sort(z, axis=axis)), want, equal_nan=dtype[0] == "f")
        places = np.argsort(y, axis, kind="stable")
        assert np.array_equal(np.asarray(gpuxp.argsort(z, axis=axis)), places)
        falling = np.asarray(gpuxp.argsort(z, axis=axis, descending=True))
        host = np.asarray(gpuxp.argsort(gpuxp.asarray(y, device="cpu"), axis=axis, descending=True))
        assert np.array_equal(falling, host)


@pytest.mark.parametrize("norm", [None, "ortho", "forward", "backward"])
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "irfft"])
def test_transforms(on_device: None, name: str, norm: str | None) -> None:
    rng = np.random.default_rng(11)
    for shape, n in (((64,), None), ((3, 45), None), ((3, 45), 50), ((2, 2, 97), 30), ((5, 2), 1)):
        x = rng.standard_normal(shape).astype(np.float32)
        for y in (x,) if name == "rfft" else (x, (x + 1j * x[..., ::-1]).astype(np.complex64)):
            got = np.asarray(getattr(gpuxp.fft, name)(gpuxp.asarray(y), n, norm=norm))
            want = getattr(np.fft, name)(y, n, norm=norm)
            wide = getattr(np.fft, name)(y.astype(complex if y.dtype.kind == "c" else float), n, norm=norm)
            assert (got.dtype, got.shape) == (want.dtype, want.shape)
            assert np.abs(got - wide).max() <= 20 * np.finfo(np.float32).eps * np.abs(wide).max()
    with gpuxp.configure(fallback="allow"), pytest.raises(ValueError, match="Invalid norm"):
        getattr(gpuxp.fft, name)(gpuxp.ones(4, "float32"), norm="other")
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="none for float64"):
        np.asarray(getattr(gpuxp.fft, name)(gpuxp.ones(4)))


@pytest.mark.parametrize(
    "shapes",
    [
        ((3, 4), (4, 5)),
        ((4,), (4, 5)),
        ((3, 4), (4,)),
        ((4,), (4,)),
        ((2, 1, 3, 4), (5, 4, 2)),
        ((3, 0), (0, 2)),
        ((99, 200), (200, 99)),
    ],
    ids=str,
)
@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "i4", "u4", "i8", "u8"])
def test_products_of_integers_wrap(on_device: None, dtype: str, shapes: tuple[Any, Any]) -> None:
    rng = np.random.default_rng(3)
    a, b = (rng.integers(0, 2 if dtype == "?" else 120, shape).astype(dtype) for shape in shapes)
    got, want = gpuxp.asarray(a) @ gpuxp.asarray(b), a @ b
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    assert np.array_equal(np.asarray(got), want)


@pytest.mark.parametrize("axis", [0, 1])
def test_complex_numbers_are_sorted_as_numpy_does(on_device: None, axis: int) -> None:
    rng = np.random.default_rng(4)
    for _ in range(20):
        parts = rng.choice([0.0, -0.0, 1.0, -2.0, np.nan, np.inf], (2, 6, 9)).astype("float32")
        x = np.empty((6, 9), "complex64")
        x.real, x.imag = parts
        order = np.asarray(gpuxp.argsort(gpuxp.asarray(x), axis=axis, stable=True))
        assert np.array_equal(order, np.argsort(x, axis=axis, stable=True))
        found, want = np.asarray(gpuxp.sort(gpuxp.asarray(x), axis=axis)), np.take_along_axis(x, order, axis)
        assert np.array_equal(found.view("uint32"), want.view("uint32"))


def test_calls_that_mlx_lacks_go_to_the_host() -> None:
    for call, array, why in (
        (lambda x: x @ x, np.ones((2, 2), complex), "no complex128"),
        (gpuxp.sort, np.ones(3, complex), "no complex128"),
        (gpuxp.bitwise_or.accumulate, np.ones(3, int), "no running bitwise_or"),
        (gpuxp.median, np.ones(3), "no kernel of its own"),
    ):
        x = gpuxp.asarray(array, device=DEVICE)
        with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match=why):
            np.asarray(call(x))
        with gpuxp.configure(fallback="allow"):
            assert np.array_equal(np.asarray(call(x)), np.asarray(call(gpuxp.asarray(array, device="cpu"))))


def test_matrices_of_two_dtypes_are_multiplied_on_the_device() -> None:
    x = gpuxp.asarray(np.arange(6.0).reshape(2, 3), device=DEVICE)
    with gpuxp.configure(fallback="error"):
        for dtype in ("float32", "int32", "bool"):
            found = np.asarray(x @ x.astype(dtype).T)
            assert found.dtype == np.float64
            assert np.array_equal(found, np.asarray(x) @ np.asarray(x).astype(dtype).T)


# MLX's own compiler


@pytest.fixture
def hot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any) -> Iterator[Path]:
    """Make every kernel worth compiling, and a new folder for what is compiled."""
    if not backend.can_compile:
        pytest.skip("MLX compiles with g++, which is not there: apt-get install g++ brings it on Debian")
    monkeypatch.setattr(mlx, "_HOT", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    mlxcompiler.compiler_folder.cache_clear()
    yield tmp_path / "gpuxp" / "mlx"
    mlxcompiler.compiler_folder.cache_clear()


def chain(count: int = 1000, dtype: str = "float32") -> tuple[Kernel, list[Array]]:
    d = np.dtype(dtype)
    body = (
        Inst("load", (), d, 0), Inst("load", (), d, 1), Inst("multiply", (0, 1), d), Inst("scalar", (), d, 0),
        Inst("add", (2, 3), d), Inst("less", (4, 1), BOOL), Inst("select", (5, 4, 0), d), Inst("sqrt", (6,), d),
    )  # fmt: skip
    rng = np.random.default_rng(1)
    return Kernel((d, d, d), (d,), body, ((2, 7),)), [*rng.random((2, count)).astype(d), np.zeros(count, d)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_hot_kernels_are_compiled_to_the_same_bits(hot: Path, backend: Any, dtype: str) -> None:
    before = os.environ.get("TMPDIR")
    kernel, arrays = chain(dtype=dtype)
    want = [a.copy() for a in arrays]
    scalar = np.asarray(1.7, dtype)
    execute(kernel, (1000,), want, [scalar])
    launch(backend, kernel, (1000,), arrays, [scalar])
    assert arrays[2].tobytes() == want[2].tobytes()
    assert backend._programs[kernel]._compiled
    libraries = list(hot.rglob("*.so"))
    assert libraries
    assert stat.S_IMODE(hot.stat().st_mode) == 0o700
    assert os.environ.get("TMPDIR") == before
    for count in (1, 7, 50):  # nor is one compiled for a shape or for a constant
        shorter = [a[:count].copy() for a in arrays]
        expected = [a.copy() for a in shorter]
        execute(kernel, (count,), expected, [np.asarray(count, dtype)])
        launch(backend, kernel, (count,), shorter, [np.asarray(count, dtype)])
        assert shorter[2].tobytes() == expected[2].tobytes()
    assert len(list(hot.rglob("*.so"))) <= len(libraries) + 1


def test_a_compiler_that_fails_is_done_without(hot: Path, backend: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(hot))
    kernel, arrays = chain(500, "float16")  # not one that this process has compiled already
    want = [a.copy() for a in arrays]
    scalar = np.float16(0.3)
    execute(kernel, (500,), want, [scalar])
    launch(backend, kernel, (500,), arrays, [scalar])
    assert arrays[2].tobytes() == want[2].tobytes()
    assert not backend._programs[kernel]._compiled


def test_a_folder_that_others_can_write_is_not_used(hot: Path) -> None:
    hot.mkdir(parents=True)
    hot.chmod(0o777)
    found = Path(mlxcompiler.compiler_folder())
    assert found != hot
    assert stat.S_IMODE(found.stat().st_mode) == 0o700


def test_the_folder_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlxcompiler, "_CACHED", 2)
    for n in range(8):
        made = tmp_path / "mlx" / f"kernel{n}"
        made.parent.mkdir(exist_ok=True)
        made.touch()
        if n % 2:
            os.utime(made, (1e9 + n, 1e9 + n))
    mlxcompiler.drop_old(tmp_path)
    assert sorted(p.name for p in (tmp_path / "mlx").iterdir()) == ["kernel0", "kernel2", "kernel4", "kernel6"]


# The device itself


def test_memory(backend: Any) -> None:
    empty = backend.alloc(0)
    backend.write(empty, 0, np.empty(0))
    backend.read(empty, 0, np.empty(0))
    mem = backend.alloc(1000)
    assert mem.size == 1000
    data = np.arange(100, dtype=np.uint8)
    backend.write(mem, 900, data)
    back = np.zeros(50, np.uint8)
    backend.read(mem, 950, back)
    assert np.array_equal(back, data[50:])
    backend.sync()
    for dtype in SUPPORTED:
        values = np.arange(10).astype(dtype)
        mem, back = backend.alloc(values.nbytes), np.empty_like(values)
        backend.write(mem, 0, values)
        backend.read(mem, 0, back)
        assert np.array_equal(values, back)


def test_out_of_memory_names_the_device(backend: Any) -> None:
    with pytest.raises(MemoryError, match=rf"{1 << 50} bytes on mlx:cpu"):
        backend.alloc(1 << 50)
    with pytest.raises(MemoryError, match="mlx:cpu"):
        gpuxp.empty((1 << 20, 1 << 18), device=DEVICE)


def test_devices_that_are_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mlx", "mlx:0", "mlx:tpu", *(() if "mlx:gpu" in gpuxp.devices() else ("mlx:gpu",))):
        with pytest.raises(gpuxp.UnknownDeviceError, match=r"MLX has .*mlx:cpu"):
            gpuxp.ones(2, device=name)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlx" else find(name))
    assert DEVICE not in gpuxp.devices()
    with pytest.raises(gpuxp.UnknownDeviceError, match=r"needs mlx \(pip install 'gpuxp\[mlx\]'\)"):
        gpuxp.ones(2, device="mlx:other")


def test_a_wheel_without_its_library_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(which: str) -> Any:
        raise ImportError("libmlx.so: cannot open shared object file")

    kinds = importlib.import_module("gpuxp.devices")._KINDS  # `gpuxp.devices` is the function
    monkeypatch.setitem(kinds, "mlx", (fail, *kinds["mlx"][1:]))
    with pytest.raises(gpuxp.UnknownDeviceError, match=r"libmlx.so.*pip install 'gpuxp\[mlx\]'"):
        gpuxp.ones(2, device="mlx:other")


def test_it_is_never_chosen_by_itself() -> None:
    with gpuxp.configure(device="auto"):
        assert not str(gpuxp.default_device()).startswith("mlx:cpu")


def test_source_shows_the_calls(backend: Any) -> None:
    text = backend.source(chain()[0])
    assert "v2 = multiply(v0, v1)  # float32" in text
    assert text.endswith("store(p2, v7)")
