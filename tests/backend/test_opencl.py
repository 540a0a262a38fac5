"""OpenCL against NumPy, on whatever OpenCL device there is (PoCL gives one on any machine)."""

from __future__ import annotations

import itertools
import math
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from gpuxp import fallback
from gpuxp.backends import opencl
from gpuxp.backends.base import Arg
from gpuxp.codegen.spelling import DOUBLE, OPENCL, OPENCL_CPU
from gpuxp.dtypes import BOOL, STANDARD
from gpuxp.errors import FallbackError, Unsupported
from gpuxp.kernel import BLOCK, Inst, Kernel, Reduction, combine, execute
from gpuxp.ops import ELEMENTWISE, Elementwise
from gpuxp.testing import kernel_count
from tests.properties.accuracy import true_powers

pytestmark = pytest.mark.skipif(
    not opencl.list_devices(), reason="no OpenCL device: apt-get install pocl-opencl-icd gives one on any machine"
)

DEVICE = "opencl:0"
Array = np.ndarray[Any, Any]
DIALECTS = {"alone": OPENCL_CPU, "group": OPENCL}


@pytest.fixture(scope="module")
def backends() -> dict[str, Any]:
    return {name: opencl.OpenCLBackend("0", dialect) for name, dialect in DIALECTS.items()}


@pytest.fixture(params=DIALECTS)
def backend(request: pytest.FixtureRequest, backends: dict[str, Any]) -> Any:
    return backends[request.param]


@pytest.fixture
def on_device() -> Iterator[None]:
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="error"):
        yield


def launch(
    backend: Any, kernel: Kernel, shape: tuple[int, ...], arrays: Sequence[Array], scalars: Sequence[Any] = ()
) -> None:
    """Run a kernel on host arrays, in place; each array may be any view of any buffer."""
    kernel.verify()
    args, back = [], []
    for array in arrays:
        low, high = np.lib.array_utils.byte_bounds(array)
        raw = np.empty(high - low, np.uint8)
        offset = array.__array_interface__["data"][0] - low
        np.ndarray(array.shape, array.dtype, raw, offset, array.strides)[...] = array
        mem = backend.alloc(raw.nbytes)
        backend.write(mem, 0, raw)
        args.append(Arg(mem, offset, array.strides))
        back.append((mem, raw, offset))
    backend.compile(kernel)(shape, args, scalars)
    for p in kernel.outputs:
        mem, raw, offset = back[p]
        backend.read(mem, 0, raw)
        array = arrays[p]
        array[...] = np.ndarray(array.shape, array.dtype, raw, offset, array.strides)


def ulps(want: Array, got: Array) -> float:
    """Return the largest distance in units in the last place; infinite where only one is NaN or infinite."""
    if want.dtype.kind == "c":
        finite = np.isfinite(want)
        if not np.array_equal(want[~finite], got[~finite], equal_nan=True) or not np.isfinite(got[finite]).all():
            return math.inf
        size = np.maximum(np.abs(want), np.finfo(want.dtype).tiny)[finite] * np.finfo(want.dtype).eps
        return float(np.max(np.abs(want[finite] - got[finite]) / size, initial=0))
    if want.dtype.kind != "f":
        return 0 if np.array_equal(want, got) else math.inf
    if not np.array_equal(np.isnan(want), np.isnan(got)):
        return math.inf
    whole = np.dtype(f"i{want.itemsize}")
    lines = []
    for x in (want, got):
        bits = np.where(np.isnan(x), 0, x).view(whole)
        lines.append(np.where(bits < 0, np.iinfo(whole).min - bits, bits).astype(object))
    return float(max(np.abs(lines[0] - lines[1]), default=0))


# Rows of the table


def spellings(dtype: Any) -> list[tuple[Elementwise, Any]]:
    """Return the rows that have C for operands of a dtype, with their result's dtype."""
    found = []
    for row in ELEMENTWISE.values():
        if row.name == "select" or not (dtype.kind in row.c or ("*" in row.c and dtype.kind in "biuf")):
            continue
        try:
            loop = row.ufunc.resolve_dtypes((dtype,) * row.nin + (None,) * row.ufunc.nout)
        except TypeError:
            continue
        if loop[0] == dtype:
            found.append((row, loop[-1]))
    return found


def operands(dtype: Any, domain: tuple[float, float], exact: bool) -> tuple[Array, Array]:
    """Return special values against each other, and random ones from a row's domain."""
    rng = np.random.default_rng(7)
    if dtype.kind == "b":
        special = np.array([False, True])
    elif dtype.kind in "iu":
        info = np.iinfo(dtype)
        special = np.array([info.min, info.min + 1, 0, 1, 2, 3, 7, 31, 64, info.max - 1, info.max], dtype)
        special = np.concatenate([special, np.array([-1, -2, -7, -64], dtype)]) if dtype.kind == "i" else special
    else:
        part = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
        info = np.finfo(part)
        special = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan], part)
        if exact:
            more = [0.5, -1.5, 2.5, 3, -7, info.max, info.min, info.tiny, info.smallest_subnormal]
            special = np.concatenate([special, np.array(more, part)])
        if dtype.kind == "c":
            special = np.array([0, 1, -1, 1j, -2j, 3 + 4j], dtype)
    a, b = (x.ravel() for x in np.meshgrid(special, special))
    size = 400
    if dtype.kind == "c":
        extra = [(rng.uniform(-9, 9, (2, size)) + 1j * rng.uniform(-9, 9, (2, size))).astype(dtype)]
    elif dtype.kind == "f":
        extra = [rng.uniform(*domain, (2, size)).astype(dtype)]
    elif dtype.kind == "b":
        extra = [rng.random((2, size)) < 0.5]
    else:
        extra = [
            rng.integers(info.min, info.max, (2, size), dtype, endpoint=True),
            rng.integers(0, 20, (2, size)).astype(dtype),
        ]
    return np.concatenate([a, *(e[0] for e in extra)]), np.concatenate([b, *(e[1] for e in extra)])


def row_kernel(dtype: Any, rows: Sequence[tuple[Elementwise, Any]]) -> Kernel:
    """Return one kernel that applies several rows, each with an output of its own."""
    body = [Inst("load", (), dtype, 0), Inst("load", (), dtype, 1)]
    body += [Inst(row.name, (0, 1)[: row.nin], out) for row, out in rows]
    outs = tuple(out for _, out in rows)
    return Kernel((dtype, dtype, *outs), (), tuple(body), tuple((2 + n, 2 + n) for n in range(len(rows))))


EXTREMES = ("maximum", "minimum", "fmax", "fmin")  # between zeros NumPy's own choice depends on its vector code


def mismatches(backend: Any, dtype: Any, batch: Sequence[tuple[Elementwise, Any]]) -> Iterator[str]:
    """Run rows in one kernel (compiling is what takes long) on each row's own operands."""
    kernel = row_kernel(dtype, batch)
    for domain, exact in dict.fromkeys((row.domain, row.ulp == 0) for row, _ in batch):
        a, b = operands(dtype, domain, exact)
        outs = [np.zeros(len(a), out) for _, out in batch]
        launch(backend, kernel, a.shape, [a, b, *outs])
        for (row, out), got in zip(batch, outs, strict=True):
            if (row.domain, row.ulp == 0) == (domain, exact):
                # the engine lets no negative power of integers come so far
                whole = slice(None) if row.name != "power" or dtype.kind != "i" else b >= 0
                x, y, got = a[whole], b[whole], got[whole]
                want = np.zeros(len(x), out)
                with np.errstate(all="ignore"):
                    row.impl(*(x, y)[: row.nin], out=want)
                distance = ulps(true_powers(row.name, (x, y), want) if row.nin == 2 else want, got)
                if distance > row.bound(backend.name, dtype.kind):
                    yield f"{row.name}: {distance:.3g} ulp"
                if (
                    out.kind == "f"
                    and row.name not in EXTREMES
                    and (np.signbit(want) != np.signbit(got))[want == 0].any()
                ):
                    yield f"{row.name}: sign of zero"


@pytest.mark.parametrize("dtype", STANDARD, ids=str)
def test_every_spelled_row_matches_numpy(backends: dict[str, Any], dtype: Any) -> None:
    rows = spellings(dtype)
    assert len(rows) > 8
    batches = [rows[start : start + 28] for start in range(0, len(rows), 28)]
    assert not [wrong for batch in batches for wrong in mismatches(backends["alone"], dtype, batch)]


def test_select_takes_every_dtype(backends: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    choice = rng.random(500) < 0.5
    for dtype in STANDARD:
        a, b = (rng.integers(0, 2, (2, 500)) * 3).astype(dtype)
        out = np.zeros_like(a)
        body = (
            Inst("load", (), BOOL, 0),
            Inst("load", (), dtype, 1),
            Inst("load", (), dtype, 2),
            Inst("select", (0, 1, 2), dtype),
        )
        launch(backends["alone"], Kernel((BOOL, dtype, dtype, dtype), (), body, ((3, 3),)), (500,), [choice, a, b, out])
        assert np.array_equal(out, np.where(choice, a, b))


@pytest.mark.parametrize("source", STANDARD, ids=str)
def test_casts_follow_numpy(backends: dict[str, Any], source: Any) -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.integers(0, 2, 300), rng.integers(-120, 120, 300), [-1, 0, 1]])
    if source.kind in "iu":
        info = np.iinfo(source)
        x = np.concatenate([values.astype(source), np.array([info.min, info.max, info.max - 1], source)])
    else:
        x = (values * (1.25 if source.kind in "fc" else 1)).astype(source)
    outs = [np.zeros(len(x), d) for d in STANDARD]
    body = (Inst("load", (), source, 0), *(Inst("cast", (0,), d) for d in STANDARD))
    kernel = Kernel((source, *STANDARD), (), body, tuple((1 + n, 1 + n) for n in range(len(STANDARD))))
    launch(backends["alone"], kernel, x.shape, [x, *outs])
    for target, got in zip(STANDARD, outs, strict=True):
        y = np.where(x.real < 0, 0, x) if target.kind == "u" and source.kind in "fc" else x  # C leaves these open
        with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
            want = np.zeros(len(x), target)
            np.copyto(want, y, casting="unsafe")
        keep = y == x
        assert np.array_equal(want[keep], got[keep]), target


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_conversions_out_of_range_are_defined(backends: dict[str, Any], dtype: str) -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9, 300, -300, 2.0**63, -(2.0**63)], dtype)
    kernel = Kernel(
        (x.dtype, np.dtype("int64"), np.dtype("int32"), np.dtype("uint64")), (),
        (Inst("load", (), x.dtype, 0), *(Inst("cast", (0,), np.dtype(d)) for d in ("int64", "int32", "uint64"))),
        ((1, 1), (2, 2), (3, 3)),
    )  # fmt: skip
    outs = [np.zeros(len(x), d) for d in ("int64", "int32", "uint64")]
    launch(backends["alone"], kernel, x.shape, [x, *outs])
    least = np.iinfo(np.int64).min
    assert outs[0].tolist() == [least] * 5 + [int(x[5]), int(x[6]), 300, -300, least, least]
    assert outs[1].tolist() == [np.iinfo(np.int32).min] * 7 + [300, -300] + [np.iinfo(np.int32).min] * 2
    assert outs[2][9] == 2**63


# Reductions

LOOPS = [
    ((), (1,)), ((), (5,)), ((), (129,)), ((), (3 * BLOCK + 77,)), ((), (50, 60)),
    ((4,), (3,)), ((40,), (200,)), ((17,), (BLOCK + 1,)), ((2, 5), (4, 70)), ((5,), ()), ((500,), (2, 2)),
]  # fmt: skip


@pytest.mark.parametrize("op", ["add", "logical_or"])
def test_reductions_have_the_canonical_order(backend: Any, op: str) -> None:
    dtype = BOOL if op == "logical_or" else np.dtype(np.float64)
    rng = np.random.default_rng(2)
    for (outer, inner), transposed in itertools.product(LOOPS, (False, True)):
        shape = outer + inner
        x = rng.random((*reversed(shape),)).T if transposed else rng.random(shape)
        x = x < 1e-3 if dtype == BOOL else x + 0.5
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
    for shape in ((6, 5000), (300, 40)):
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
    out = np.full(3, 7.0)
    launch(backend, kernel, (3, 0), [np.broadcast_to(np.float64(1), (3, 0)), out])
    assert out.tolist() == [0, 0, 0]
    out = np.full(3, 7.0)
    launch(backend, kernel, (3, 5), [np.full((3, 5), -0.0), out])
    assert not np.signbit(out).any()


@pytest.mark.parametrize("name", ["sum", "prod", "max", "min", "any", "all"])
def test_reductions_over_all_axes(on_device: None, name: str) -> None:
    rng = np.random.default_rng(4)
    dtype = {"sum": np.int16, "prod": np.float32, "any": np.complex64, "all": np.float64}.get(name, np.int32)
    for shape in ((4, 5, 6), (3, 0, 4)):
        x = rng.integers(-3, 4, shape).astype(dtype)
        for axes in (axes for n in range(4) for axes in itertools.combinations(range(3), n)):
            if name in ("max", "min") and 1 in axes and not x.size:
                continue
            want = getattr(np, name)(x, axis=axes)
            got = np.asarray(getattr(gpuxp, name)(gpuxp.asarray(x), axis=axes))
            assert got.dtype == want.dtype
            assert np.array_equal(got, want), (shape, axes)


def test_nan_wins_in_maximum(on_device: None) -> None:
    x = np.arange(10_000.0)
    x[4321] = np.nan
    assert np.isnan(float(gpuxp.asarray(x).max()))


def test_the_device_gives_the_bits_of_the_software_gpu(on_device: None) -> None:
    x = np.random.default_rng(5).standard_normal((700, 900)).astype(np.float32)
    for axis in (None, 0, 1):
        got, want = (np.asarray(gpuxp.asarray(x, device=d).sum(axis=axis)) for d in (DEVICE, "cpu"))
        assert got.tobytes() == want.tobytes()


# Views and places


SLICES = [slice(None), slice(1, None), slice(None, None, 2), slice(None, None, -1), slice(None, None, -3)]


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_views_strides_and_broadcasts(data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=4)))
    dtype = np.dtype(data.draw(st.sampled_from(["float32", "complex128"])))
    host = np.arange(1, math.prod(shape) + 1).reshape(shape).astype(dtype)
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    key = tuple(data.draw(st.sampled_from(SLICES)) for _ in shape)
    with gpuxp.device(DEVICE), gpuxp.configure(fallback="error"):
        device = gpuxp.asarray(host)
        a, x = host.transpose(order)[key], device.transpose(order)[key]
        assert np.array_equal(np.asarray(x * x[:1] + x), a * a[:1] + a)
        x += 1
        a += 1
        x[:1] = x[-1:] * 2
        a[:1] = a[-1:] * 2
        assert np.array_equal(np.asarray(device), host)


def test_overlapping_writes_in_place(on_device: None) -> None:
    a = np.arange(5000.0)
    x = gpuxp.asarray(a)
    for y in (a, x):
        y[1:] += y[:-1]
        y[::2] *= -1
        y[:100] = y[50:150][::-1]
    assert np.array_equal(np.asarray(x), a)


def test_parameters_off_their_alignment(backend: Any) -> None:
    rng = np.random.default_rng(6)
    for dtype in (np.dtype(d) for d in ("int16", "float32", "complex64", "int64", "float64", "complex128")):
        raw = rng.integers(0, 60, (3, 20 * 20 + 7)).astype(np.uint8)
        raw[:, 3::4] = 0x40
        x, y, z = (np.ndarray((19,), dtype, r, 3, (20,)) for r in raw)
        body = (Inst("load", (), dtype, 0), Inst("load", (), dtype, 1), Inst("add", (0, 1), dtype))
        with np.errstate(all="ignore"):
            want = x + y
        launch(backend, Kernel((dtype, dtype, dtype), (), body, ((2, 2),)), (19,), [x, y, z])
        assert np.array_equal(z, want, equal_nan=True)


def test_many_scalars_do_not_fit_by_value(backend: Any) -> None:
    f4, count = np.dtype(np.float32), 300
    body = [Inst("load", (), f4, 0)]
    for n in range(count):
        body += [Inst("scalar", (), f4, n), Inst("add", (len(body) - 1, len(body)), f4)]
    kernel = Kernel((f4, f4), (f4,) * count, tuple(body), ((1, len(body) - 1),))
    x, y = np.arange(10, dtype=f4), np.zeros(10, f4)
    launch(backend, kernel, (10,), [x, y], [np.float32(n) for n in range(count)])
    assert np.array_equal(y, x + sum(range(count)))


def test_many_parameters_split_into_kernels(on_device: None) -> None:
    many = [np.full((3, 4), float(n)) for n in range(80)]
    xs = [gpuxp.asarray(m)[:, ::2] for m in many]
    total = xs[0]
    for x in xs[1:]:
        total = total + x
    assert np.array_equal(np.asarray(total), np.full((3, 2), sum(range(80))))


def test_scalars_of_every_dtype(on_device: None) -> None:
    for dtype in STANDARD:
        value = dtype.type(1) if dtype.kind == "b" else dtype.type(100)
        x = np.zeros(7, dtype)
        got = np.asarray(gpuxp.where(gpuxp.asarray(np.arange(7) > 2), gpuxp.asarray(x), value))
        assert np.array_equal(got, np.where(np.arange(7) > 2, x, value)), dtype
    big = gpuxp.asarray(np.zeros(3, np.uint64)) + np.uint64(2**64 - 1)
    assert np.asarray(big).tolist() == [2**64 - 1] * 3


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


def test_shapes_and_constants_do_not_recompile(on_device: None) -> None:
    with kernel_count(DEVICE) as first:
        np.asarray(gpuxp.asarray(np.arange(6.0)) * 3 - 7)
    with kernel_count(DEVICE) as later:
        for n in (1, 10, 100_000):
            np.asarray(gpuxp.asarray(np.arange(float(n))) * n - 1)
    assert first.compiles <= 1
    assert later.compiles == 0


def test_programs_match_numpy() -> None:
    def stencil(xp: Any, a: Any) -> Any:
        u = xp.asarray(a)
        for _ in range(5):
            u[1:-1, 1:-1] += 0.1 * (u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2] - 4 * u[1:-1, 1:-1])
        return u

    def masks(xp: Any, a: Any) -> Any:
        x = xp.asarray(a)
        x = xp.where(x > 0.5, x, -x)
        x[x < -0.25] = 9
        return x.sum(axis=1) + xp.sort(x, axis=1)[:, 3] + x[xp.asarray([0])].max()

    def standardise(xp: Any, a: Any) -> Any:
        x = xp.asarray(a)
        return (x - x.mean(axis=0)) / x.std(axis=0)

    a = np.random.default_rng(8).random((64, 80))
    for program in (stencil, masks, standardise):
        with gpuxp.device(DEVICE), gpuxp.configure(fallback="allow"):
            got = np.asarray(program(gpuxp, a.copy()))
        np.testing.assert_allclose(got, program(np, a.copy()), rtol=1e-12, atol=1e-14)


def test_the_host_is_counted_or_refused() -> None:
    x = gpuxp.asarray(np.linspace(0, 1, 50), device=DEVICE)
    before = fallback.counts[f"{DEVICE}:spacing"]
    with gpuxp.configure(fallback="allow"):
        np.testing.assert_array_equal(np.asarray(gpuxp.spacing(x)), np.spacing(np.linspace(0, 1, 50)))
    assert fallback.counts[f"{DEVICE}:spacing"] == before + 1
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="spacing of float64"):
        np.asarray(gpuxp.spacing(x))
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError):
        np.asarray(gpuxp.linalg.inv(gpuxp.asarray(np.eye(3), device=DEVICE)))
    half = gpuxp.asarray(np.ones(9, np.float16), device=DEVICE)
    with gpuxp.configure(fallback="error"), pytest.raises(FallbackError, match="float16"):
        np.asarray(half + half)


# The device itself


def test_memory(backend: Any) -> None:
    empty = backend.alloc(0)
    backend.write(empty, 0, np.empty(0))
    backend.read(empty, 0, np.empty(0))
    assert empty.size == 0
    mem = backend.alloc(1000)
    assert mem.size == 1000
    data = np.arange(100, dtype=np.uint8)
    backend.write(mem, 900, data)
    back = np.zeros(50, np.uint8)
    backend.read(mem, 950, back)
    assert np.array_equal(back, data[50:])
    backend.sync()


def test_out_of_memory_names_the_device(backend: Any) -> None:
    with pytest.raises(MemoryError, match=rf"{1 << 50} bytes on opencl:0"):
        backend.alloc(1 << 50)
    with pytest.raises(MemoryError, match="opencl:0"):
        gpuxp.empty((1 << 20, 1 << 18), device=DEVICE)


def test_a_device_without_doubles() -> None:
    single = {name: c_type for name, c_type in OPENCL.types.items() if name not in DOUBLE}
    backend = opencl.OpenCLBackend("0", replace(OPENCL, types=single))
    assert np.dtype(np.float64) not in backend.caps.dtypes
    f4, f8 = np.dtype(np.float32), np.dtype(np.float64)
    with pytest.raises(Unsupported, match="float64"):
        backend.compile(Kernel((f4, f8), (), (Inst("load", (), f4, 0), Inst("cast", (0,), f8)), ((1, 1),)))
    x, y = np.arange(-4, 4, dtype=f4), np.zeros(8, np.int64)
    body = (Inst("load", (), f4, 0), Inst("cast", (0,), y.dtype))
    launch(backend, Kernel((f4, y.dtype), (), body, ((1, 1),)), (8,), [x, y])
    assert np.array_equal(y, x)


def test_devices_that_are_not_there() -> None:
    for name in ("opencl:99", "opencl:0:99", "opencl:7:0", "opencl:x", "opencl:0:0:0", "opencl:-1"):
        with pytest.raises(gpuxp.UnknownDeviceError):
            gpuxp.ones(2, device=name)
    assert np.asarray(gpuxp.ones(2, device="opencl:0:0")).tolist() == [1, 1]


def test_broken_drivers_count_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise opencl.cl.LogicError("clGetPlatformIDs", -1001, "no platforms")

    monkeypatch.setattr(opencl.cl, "get_platforms", fail)
    assert opencl.list_devices() == []
    monkeypatch.setattr(opencl, "cl", None)
    assert opencl.list_devices() == []


def test_compiled_kernels_are_kept_in_private(tmp_path: Any) -> None:
    code = (
        "import os; from gpuxp.backends import opencl; opencl.list_devices();"
        "print(os.environ.get('POCL_CACHE_DIR'), os.environ.get('POCL_KERNEL_CACHE'))"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("POCL_")} | {"XDG_CACHE_HOME": str(tmp_path)}

    def run() -> list[str]:
        return subprocess.run(
            [sys.executable, "-c", code], env=clean, capture_output=True, text=True, check=True
        ).stdout.split()

    folder = tmp_path / "gpuxp" / "pocl"
    assert run() == [str(folder), "None"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert run() == ["None", "0"]


def test_the_cache_of_compiled_kernels_is_bounded(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opencl, "_CACHED", 4)
    for n in range(8):
        stamp = tmp_path / "AB" / f"program{n}" / "last_accessed"
        stamp.parent.mkdir(parents=True)
        stamp.touch()
        if n % 2:
            os.utime(stamp, (1e9 + n, 1e9 + n))
    opencl._drop_old(tmp_path)
    assert sorted(p.name for p in (tmp_path / "AB").iterdir()) == ["program0", "program2", "program4", "program6"]


def test_a_process_waits_for_its_device_before_it_ends() -> None:
    """A driver that still compiled what nobody had read was taken down under it: one process in five crashed."""
    code = (
        "import os, sys, gpuxp as np\n"
        "from gpuxp.backends.opencl import OpenCLBackend\n"
        "sync = OpenCLBackend.sync\n"
        "OpenCLBackend.sync = lambda self: (print('waited', flush=True), sync(self))\n"
        "x = np.zeros(100_000, device='opencl:0')\n"
        "x += 1\n"
        "x._runtime.flush()\n"
        "child = os.fork()\n"
        "if not child: sys.exit()\n"
        "os.waitpid(child, 0)\n"
        "print('end', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["end", "waited"]
