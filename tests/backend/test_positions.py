"""The natives that move elements by position and compute running results, on each device and in each of its forms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from gpuxp.backends import opencl
from gpuxp.backends.base import Operand
from gpuxp.codegen.spelling import OPENCL, OPENCL_CPU
from gpuxp.dtypes import STANDARD
from gpuxp.errors import Unsupported
from gpuxp.geometry import address
from tests.cuda import compilers

Array = np.ndarray[Any, Any]
SIZES = ("bool", "int16", "float16", "float32", "int64", "complex64", "complex128")  # of elements, and parts of them
FORMS = ("opencl alone", "opencl group", "mlx", "mlx in any order", "cupy")


@pytest.fixture(scope="module", params=FORMS)
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    name = str(request.param)
    if name.startswith("mlx"):
        mlx = pytest.importorskip("gpuxp.backends.mlx", reason="pip install 'gpuxp[mlx]'", exc_type=ImportError)
        found = mlx.MLXBackend("cpu")
        if name != "mlx":  # as the GPU
            found.exact_order = False
            found.library = mlx.natives(found)
        yield found
    elif name == "cupy":
        if not compilers.have_gxx():
            pytest.skip(compilers.NO_GXX)
        from gpuxp.backends.cupy import CudaBackend
        from tests.cuda.standin_cupy import StandIn

        yield CudaBackend("0", StandIn(compilers.Host(tmp_path_factory.mktemp("cuda"))))
    else:
        if not opencl.list_devices():
            pytest.skip("no OpenCL device: apt-get install pocl-opencl-icd gives one on any machine")
        yield opencl.OpenCLBackend("0", OPENCL if name.endswith("group") else OPENCL_CPU)


def base_of(x: Array) -> Array:
    while isinstance(x.base, np.ndarray):
        x = x.base
    return x


def call(backend: Any, name: str, parameters: dict[str, Any], ins: Sequence[Array], out: Array) -> None:
    """Call a native on host arrays, which may be any views; the result is written to `out`, in place."""
    memory: dict[int, tuple[Any, Array]] = {}

    def operand(x: Array) -> Operand:
        base = base_of(x)
        if id(base) not in memory:
            mem = backend.alloc(base.nbytes)
            raw = np.ndarray((base.nbytes,), np.uint8, base if base.flags.c_contiguous else base.T)
            backend.write(mem, 0, raw.copy())
            memory[id(base)] = (mem, raw)
        return Operand(memory[id(base)][0], address(x) - address(base), x.strides, x.shape, x.dtype)

    operands = [operand(x) for x in ins]
    result = operand(out)
    backend.library[name](parameters, operands, [result])
    mem, raw = memory[id(base_of(out))]
    backend.read(mem, 0, raw)


def random(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Array:
    d = np.dtype(dtype)
    if d.kind == "c":
        return (rng.integers(-9, 9, shape) + 1j * rng.integers(-9, 9, shape)).astype(d)
    return rng.integers(-9 if d.kind in "if" else 0, 9, shape).astype(d)


VIEWS = (
    lambda x: x,
    lambda x: x.T,
    lambda x: x[::2, ::-1],
    lambda x: x[1:, 2:5].T,
    lambda x: np.broadcast_to(x[:1], x.shape),
)


@pytest.mark.parametrize("dtype", SIZES)
def test_take(backend: Any, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    for number, view in enumerate(VIEWS):
        for axis in (0, 1):
            x = view(random(rng, (9, 14), dtype))
            for shape in ((), (5,), (3, 2), (0,)):
                places = rng.integers(0, x.shape[axis], shape)
                want = np.take(x, places, axis)
                out = np.zeros(want.shape[::-1], dtype).T if number % 2 else np.zeros(want.shape, dtype)
                call(backend, "take", {"axis": axis}, [x, places], out)
                assert np.array_equal(out, want), (number, axis, shape)


@pytest.mark.parametrize("dtype", SIZES)
def test_put_keeps_the_last(backend: Any, dtype: Any) -> None:
    rng = np.random.default_rng(2)
    for number, view in enumerate(VIEWS[:4]):
        for axis in (0, 1):
            for shape in ((1,), (3,), (6, 5)):
                target = view(random(rng, (9, 14), dtype))
                places = rng.integers(0, target.shape[axis], shape)
                values = random(rng, target.shape[:axis] + shape + target.shape[axis + 1 :], dtype)
                want = target.copy()
                for at in np.ndindex(shape):
                    want[(slice(None),) * axis + (places[at],)] = values[(slice(None),) * axis + at]
                call(backend, "put", {"axis": axis, "unique": False}, [target, places, values], target)
                assert np.array_equal(target, want), (number, axis, shape)


@pytest.mark.parametrize(("extent", "count"), [(1_000_000, 300), (50, 20_000), (3000, 70_000)])
def test_put_of_many(backend: Any, extent: int, count: int) -> None:
    """Few places in a large array, and many values for each place."""
    rng = np.random.default_rng(3)
    target, values = np.zeros(extent), rng.random(count)
    places = rng.integers(0, min(extent, 100), count)
    want = target.copy()
    last = {int(p): n for n, p in enumerate(places)}
    for place, n in last.items():
        want[place] = values[n]
    call(backend, "put", {"axis": 0, "unique": False}, [target, places, values], target)
    assert np.array_equal(target, want)


def test_put_where_no_place_comes_twice(backend: Any) -> None:
    rng = np.random.default_rng(4)
    target, places = np.zeros((3, 700)), rng.permutation(700)
    values = rng.random((3, 700))
    call(backend, "put", {"axis": 1, "unique": True}, [target, places, values], target)
    assert np.array_equal(target[:, places], values)


LENGTHS = (1, 2, 64, 65, 127, 128, 129, 2047, 2048, 2049, 6000)


@pytest.mark.parametrize(
    ("op", "dtype"),
    [*(("add", d.name) for d in STANDARD if d.kind in "iu"), ("multiply", "int64"), ("maximum", "int64"),
     ("minimum", "uint8"), ("maximum", "bool")],
)  # fmt: skip
def test_running_results_of_integers_are_exact(backend: Any, op: str, dtype: Any) -> None:
    rng = np.random.default_rng(5)
    for n in (*LENGTHS, 140_001, 200_000):
        x = random(rng, (n,), dtype)
        out = np.empty_like(x)
        call(backend, "accumulate", {"op": op, "axis": 0}, [x], out)
        assert np.array_equal(out, getattr(np, op).accumulate(x, dtype=dtype)), n


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_running_sums_of_floats_are_within_their_bound(backend: Any, dtype: str) -> None:
    rng = np.random.default_rng(6)
    for n in (*LENGTHS, 140_001):
        x = rng.standard_normal((2, n)).astype(dtype)
        out = np.empty_like(x)
        try:
            call(backend, "accumulate", {"op": "add", "axis": 1}, [x], out)
        except Unsupported:
            assert (backend.name, dtype) == ("mlx:cpu", "complex128")
            return
        want = np.cumsum(x.astype(np.clongdouble), axis=1)
        bound = np.finfo(dtype).eps * np.arange(1, n + 1) * np.cumsum(np.abs(x), axis=1)
        assert (np.abs(out - want) <= bound).all(), n


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_running_results_along_any_axis_of_any_view(backend: Any, axis: int) -> None:
    rng = np.random.default_rng(7)
    whole = rng.integers(-99, 99, (6, 150, 8))
    for view in (whole, whole.transpose(2, 0, 1), whole[::-2, 1::3, ::-1], whole[:, :1]):
        out = np.empty(view.shape, view.dtype)
        call(backend, "accumulate", {"op": "add", "axis": axis}, [view], out)
        assert np.array_equal(out, np.cumsum(view, axis=axis))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_running_extremes_keep_nan(backend: Any, dtype: str) -> None:
    x = np.random.default_rng(8).standard_normal(5000).astype(dtype)
    x[[70, 3000]] = np.nan
    for op in ("maximum", "minimum"):
        out = np.empty_like(x)
        try:
            call(backend, "accumulate", {"op": op, "axis": 0}, [x], out)
        except Unsupported:
            assert dtype == "float16"
        else:
            assert np.array_equal(out, getattr(np, op).accumulate(x), equal_nan=True)


def test_what_is_not_associative_runs_in_order_or_not_at_all(backend: Any) -> None:
    x = np.arange(5000)
    out = np.empty_like(x)
    try:
        call(backend, "accumulate", {"op": "subtract", "axis": 0}, [x], out)
    except Unsupported:
        assert not backend.name.startswith("opencl")
    else:
        assert np.array_equal(out, np.subtract.accumulate(x))
