"""One result: its bits do not depend on tier, tile, threads, fusion, memory layout, or on what else is computed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

import gpuxp as np
from gpuxp.ops import ELEMENTWISE
from gpuxp.ufunc import PUBLIC

FLOATS = ["float32", "float64", "complex64", "complex128", "float16"]
UNARY = sorted({f.row.name for f in PUBLIC.values() if f.nin == 1})
BINARY = sorted({f.row.name for f in PUBLIC.values() if f.nin == 2})
SPECIAL = [0.0, -0.0, 1.0, -1.0, numpy.inf, -numpy.inf, numpy.nan, 1e-300, 1e300, 5e-324, 0.5, 2.0]


def values(dtype: str, size: int, seed: int = 0) -> Any:
    """Return numbers over many magnitudes, with special ones among them."""
    rng = numpy.random.default_rng(seed)
    kind = numpy.dtype(dtype).kind
    if kind in "iu":
        info = numpy.iinfo(dtype)
        return rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True)
    if kind == "b":
        return rng.random(size) < 0.5
    with numpy.errstate(all="ignore"):
        found = rng.standard_normal(size) * numpy.exp(rng.standard_normal(size) * 3)
        found[:: max(size // 40, 1)] = numpy.resize(SPECIAL, len(found[:: max(size // 40, 1)]))
        if kind == "c":
            found = found + 1j * rng.standard_normal(size)
        return found.astype(dtype)


def bits(array: Any) -> bytes:
    """Return the bits of a result; all NaNs are one."""
    found = numpy.atleast_1d(numpy.array(array, order="C"))
    if found.dtype.kind == "f":
        found[numpy.isnan(found)] = numpy.nan
    elif found.dtype.kind == "c":
        parts = found.view(found.real.dtype)
        parts[numpy.isnan(parts)] = numpy.nan
    return found.tobytes() + str((found.shape, found.dtype)).encode()


SETTINGS = [
    {"small": 0, "tier": "interpreter", "tile": 49152, "num_threads": 1},
    {"small": 0, "tier": "interpreter", "tile": 1, "num_threads": 1},
    {"small": 0, "tier": "interpreter", "tile": 7, "num_threads": 2},
    {"small": 0, "tier": "interpreter", "tile": 49152, "num_threads": 1, "fusion": False},
    {"small": 0, "tier": "compiled"},
    {"small": 1 << 20, "num_threads": 1},
]


def everywhere(program: Callable[..., Any], *arrays: Any, settings: list[dict[str, Any]] = SETTINGS) -> bytes:
    """Check that the plain interpreter and all settings of the software GPU give the same bits; return them."""
    with np.device("reference"), np.configure(small=0):
        want = bits(program(*(np.asarray(a, order="K") for a in arrays)))
    for setting in settings:
        with np.configure(**setting):
            found = bits(program(*(np.asarray(a, order="K") for a in arrays)))
        assert found == want, setting
    return want


def supported(name: str, *dtypes: str) -> bool:
    try:
        ELEMENTWISE[name].ufunc.resolve_dtypes(
            (*(numpy.dtype(d) for d in dtypes), *(None,) * ELEMENTWISE[name].ufunc.nout)
        )
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    if not supported(name, dtype):
        return
    x = values(dtype, 219)
    f = PUBLIC[name]
    whole = everywhere(f, x)
    with np.configure(small=0):
        y = np.asarray(x)
        assert bits(f(y)[:10]) == bits(f(y[:10]))
        assert bits(f(y)[3::4]) == bits(f(y[3::4]))
        assert bits(f(y)[::-1]) == bits(f(y[::-1]))
        assert bits(f(np.stack([y, y], axis=1)[:, 0])) == whole


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex128"])
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str) -> None:
    if not supported(name, dtype, dtype):
        return
    x, y = values(dtype, 60), values(dtype, 60, seed=1)
    f = PUBLIC[name]
    everywhere(f, x, y)
    everywhere(lambda a, b: f(a[:, None], b), x[:12], y[:17])
    everywhere(lambda a, b: f(a.reshape(6, 10).T, b.reshape(10, 6)), x, y)
    everywhere(lambda a: f(a, 3.0), x)
    with np.configure(small=0):
        a, b = np.asarray(x), np.asarray(y)
        assert bits(f(a, b)[:10]) == bits(f(a[:10], b[:10]))


@pytest.mark.parametrize("dtype", ["bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_integers(dtype: str) -> None:
    x, y = values(dtype, 131), values(dtype, 131, seed=1)
    small = (y % numpy.dtype(dtype).type(9)) if dtype != "bool" else y
    if dtype != "bool":
        x[:4], y[:4] = [0, 0, numpy.iinfo(dtype).min, numpy.iinfo(dtype).max], [0, 1, numpy.iinfo(dtype).max, 0]
    for name in UNARY:
        if supported(name, dtype):
            everywhere(PUBLIC[name], x)
    for name in BINARY:
        if supported(name, dtype, dtype):
            everywhere(PUBLIC[name], x, small if name == "power" else y)
    if dtype != "bool":
        for name in ("left_shift", "right_shift"):
            everywhere(PUBLIC[name], x, small + small)
    everywhere(lambda a, b: np.where(a > b, a, b)[3:] == a[:-3], x, y)
    everywhere(lambda a: a.astype("float32"), x)


@pytest.mark.parametrize("source", ["bool", "int8", "int64", "uint8", "uint32", "uint64", "float32", "float64"])
def test_conversions(source: str) -> None:
    x = values(source, 131)
    if x.dtype.kind == "f":
        x = numpy.clip(numpy.nan_to_num(x), 0, 100)  # out of range, the result depends on NumPy's build
    for target in ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint64", "float32", "float64"):
        everywhere(lambda a, t=target: a.astype(t), x)
        everywhere(lambda a, t=target: a.astype(t)[::3].sum(), x)


CHAINS: dict[str, Callable[..., Any]] = {
    "exact": lambda a, b: (a * b + a) * (a - b) / (b + 2),
    "mixed": lambda a, b: np.exp(-abs(a)) * np.sin(b) + np.sqrt(abs(a)) ** 1.5,
    "where": lambda a, b: np.where(a > b, np.log1p(abs(a)), np.tanh(b)) // 0.25,
    "strided": lambda a, b: np.exp(a[::-2]) + b[::2] * np.cos(a[::2]),
    "in place": lambda a, b: _in_place(a + 0, b),
    "columns": lambda a, b: np.arctan2(a.reshape(-1, 4).T, b.reshape(-1, 4)[:4].T[:, :1]) * 2,
}


def _in_place(a: Any, b: Any) -> Any:
    """Writes that later calls of NumPy's loops read around."""
    c = np.exp(a)
    a *= 0.5
    a[...], d = np.sin(c) + a, np.exp(a)
    b = b + d
    a[1:-1] += b[2:]
    a[...] = np.cos(a) * c
    return a + b


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CHAINS)
def test_chains(name: str, dtype: str) -> None:
    everywhere(CHAINS[name], values(dtype, 236), values(dtype, 236, seed=2))


BIG = [
    *({"small": 0, "tier": "interpreter", "tile": n, "num_threads": t} for n in (1000, 49152) for t in (1, 2)),
    *({"small": 0, "tier": "compiled", "num_threads": t} for t in (1, 2, 3)),
]


@pytest.mark.parametrize("name", ["exact", "mixed", "where"])
def test_large_chains_on_one_and_two_threads(name: str) -> None:
    everywhere(CHAINS[name], values("float64", 300_000), values("float64", 300_000, seed=2), settings=BIG)


SHAPES = [(1000,), (40, 30), (30, 40), (3, 500), (500, 3), (7, 11, 13)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "max"])
def test_reductions(name: str, shape: tuple[int, ...]) -> None:
    size = int(numpy.prod(shape))
    x = (1 + numpy.random.default_rng(5).standard_normal(size) / 8).reshape(shape)
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            for order in ("C", "F"):
                everywhere(lambda a, axes=axes: getattr(a * 1.5, name)(axis=axes), numpy.asarray(x, order=order))
    with np.configure(small=0):
        y = np.asarray(x)
        if len(shape) > 1:
            assert bits(y.sum(axis=-1)[:2]) == bits(y[:2].sum(axis=-1))
            assert bits(y.sum(axis=0)[:2]) == bits(y[:, :2].sum(axis=0))


@pytest.mark.parametrize("dtype", ["float16", "float32", "complex64", "complex128", "int32", "bool"])
def test_sums_of_other_dtypes(dtype: str) -> None:
    x = (numpy.random.default_rng(6).standard_normal(5000) * 3).astype(dtype)
    everywhere(lambda a: a.sum(), x)
    everywhere(lambda a: a.reshape(50, 100).sum(axis=0), x)
    everywhere(lambda a: a.reshape(50, 100).prod(axis=1), x[:5000])


@pytest.mark.parametrize("shape", [(400_000,), (500, 900), (900, 500), (200_000, 3)], ids=str)
def test_large_reductions_on_one_and_two_threads(shape: tuple[int, ...]) -> None:
    x = numpy.random.default_rng(7).standard_normal(shape)
    for axis in (None, *range(len(shape))):
        everywhere(lambda a, axis=axis: (a * a).sum(axis=axis), x, settings=BIG)
        everywhere(lambda a, axis=axis: a.sum(axis=axis), x, settings=BIG)


@given(st.integers(1, 400), st.integers(0, 400), st.integers(1, 9), st.sampled_from(["exact", "mixed", "where"]))
def test_a_part_is_computed_as_the_whole(size: int, start: int, step: int, name: str) -> None:
    a, b = (np.asarray(values("float64", size, seed)) for seed in (8, 9))
    part = slice(start, None, step)
    with np.configure(small=0):
        assert bits(CHAINS[name](a, b)[part]) == bits(CHAINS[name](a[part], b[part]))


def test_a_live_intermediate_changes_nothing() -> None:
    x = values("float64", 500)
    with np.configure(small=0):
        a = np.asarray(x)
        alone = bits(np.exp(a * 2) + 1)
        t = a * 2
        u = np.exp(t)
        assert bits(u + 1) == alone
        assert bits(t) == bits(np.asarray(x) * 2)
