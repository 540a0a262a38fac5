"""Random kernels over random memory, for devices whose compiler takes them all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from gpuxp.dtypes import BOOL, STANDARD
from gpuxp.kernel import Inst, Kernel, Reduction
from gpuxp.ops import ELEMENTWISE
from tests.pure.test_cstyle import loops_of

Array = np.ndarray[Any, Any]
ROWS = [(name, loop) for name, row in ELEMENTWISE.items() if row.c for loop in loops_of(name)]
# between zeros NumPy's choice depends on its vector code; complex products are bound by their size
_INEXACT = {"f": ("maximum", "minimum", "fmax", "fmin", "sign"), "c": ("multiply", "square", "divide", "absolute")}
EXACT = [
    (name, loop)
    for name, loop in ROWS
    if (ELEMENTWISE[name].ulp == 0 or loop[0].kind in "biu") and name not in _INEXACT.get(loop[0].kind, ())
]
REDUCTIONS = {"b": ("logical_or", "logical_and"), "c": ("add",)}


@dataclass(frozen=True)
class Case:
    """A kernel, its loop, one array per parameter, and its scalars."""

    kernel: Kernel
    shape: tuple[int, ...]
    arrays: list[Array]
    scalars: list[Any]


def _castable(source: Any, target: Any) -> bool:
    """Whether C defines what NumPy does: floats below zero have no unsigned value."""
    return source.kind not in "fc" or target.name in ("bool", "int32", "int64") or target.kind in "fc"


@st.composite
def cases(draw: st.DrawFn, exact: bool) -> Case:
    """Draw a kernel of a few steps and memory for it."""
    ndim = draw(st.integers(1, 3))
    kept = draw(st.sampled_from([ndim, ndim, draw(st.integers(0, ndim))]))
    dtypes = draw(st.lists(st.sampled_from(STANDARD), min_size=1, max_size=2))
    scalars = draw(st.lists(st.sampled_from(STANDARD), max_size=1))
    body = [Inst("load", (), d, n) for n, d in enumerate(dtypes)]
    body += [Inst("scalar", (), d, n) for n, d in enumerate(scalars)]
    if ndim == 1 and draw(st.booleans()):
        body.append(Inst("index", (), np.dtype(np.int64)))
    for _ in range(draw(st.integers(1, 5))):
        body.append(draw(_steps(body, exact)))
    params, stores, reductions = list(dtypes), [], []
    if kept < ndim:
        value = draw(st.integers(0, len(body) - 1))
        op = draw(st.sampled_from(REDUCTIONS.get(body[value].dtype.kind, ("add", "multiply", "maximum"))))
        reductions.append(Reduction(op, value, len(params)))
        params.append(body[value].dtype)
    if kept == ndim or draw(st.booleans()):
        stores.append((len(params), len(body) - 1))
        params.append(body[-1].dtype)
        if body[-1].dtype == dtypes[0] and draw(st.booleans()):
            stores.append((0, len(body) - 1))
    kernel = Kernel(tuple(params), tuple(scalars), tuple(body), tuple(stores), tuple(reductions), ndim, kept)
    shape = tuple(draw(st.sampled_from([1, 2, 3, 7, 40, 130, 2100 if ndim == 1 else 5])) for _ in range(ndim))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    results = {r.param for r in reductions}
    arrays = []
    for p, dtype in enumerate(params):
        layout = draw(st.sampled_from(LAYOUTS if p not in kernel.outputs else LAYOUTS[:-1]))
        values = np.asarray(_values(rng, shape[:kept] if p in results else shape, dtype), dtype)
        arrays.append(_laid_out(values, layout))
    return Case(kernel, shape, arrays, [dtype.type(_values(rng, (), dtype)) for dtype in scalars])


@st.composite
def _steps(draw: st.DrawFn, body: list[Inst], exact: bool) -> Inst:
    """Draw a row for values that are there, or a conversion of one."""
    there = {inst.dtype for inst in body}
    rows = [(name, loop) for name, loop in (EXACT if exact else ROWS) if there.issuperset(loop[:-1])]
    if not rows or draw(st.integers(0, 3)) == 0:
        value = draw(st.integers(0, len(body) - 1))
        return Inst("cast", (value,), draw(st.sampled_from([d for d in STANDARD if _castable(body[value].dtype, d)])))
    name, loop = draw(st.sampled_from(rows))
    chosen = [draw(st.sampled_from([n for n, inst in enumerate(body) if inst.dtype == d])) for d in loop[:-1]]
    return Inst(name, tuple(chosen), loop[-1])


LAYOUTS = ("plain", "reversed", "transposed", "unaligned", "broadcast")


def _values(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any) -> Any:
    if dtype == BOOL:
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        wide = rng.integers(info.min, info.max, shape, dtype, endpoint=True)
        return np.where(rng.random(shape) < 0.3, wide, rng.integers(0, 9, shape, dtype))
    x = rng.integers(-40, 40, shape) * 0.25
    return x + 1j * rng.integers(-40, 40, shape) if dtype.kind == "c" else x


def _laid_out(values: Array, layout: str) -> Array:
    """Return the values in another order of memory."""
    shape, dtype = values.shape, values.dtype
    if layout == "transposed":
        return np.asfortranarray(values)
    if layout == "reversed" and shape:
        return np.ascontiguousarray(values[::-1])[::-1]
    if layout == "unaligned":
        made = np.zeros(shape, np.dtype([("pad", "u1"), ("x", dtype)]))["x"]
        made[...] = values
        return made
    if layout == "broadcast" and shape:
        return np.broadcast_to(values[:1], shape)
    return values


def drawn(exact: bool) -> list[Case]:
    """Return as many cases as a property test would see."""
    found: list[Case] = []

    @settings(phases=[Phase.generate], database=None)
    @given(cases(exact))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def copies(case: Case) -> Iterator[Array]:
    """Return arrays with the layouts and values of a case's, to write to."""
    for array in case.arrays:
        low, high = np.lib.array_utils.byte_bounds(array)
        raw = np.empty(high - low, np.uint8)
        at = array.__array_interface__["data"][0] - low
        made: Array = np.ndarray(array.shape, array.dtype, raw, at, array.strides)
        if array.size and not any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True)):
            made[...] = array
        elif array.size:
            made[:1] = array[:1]
        yield made
