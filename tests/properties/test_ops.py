"""Every row of the op table does what NumPy's function does: values, dtypes, shapes, errors, for all dtypes.

The tests are generated from the table; what differs on purpose is listed in `DIFFERENCES`.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.dtypes import NAMES
from gpuxp.testing import compare, outcome, public_class, to_gpuxp
from gpuxp.ufunc import PUBLIC

from .accuracy import near, true_powers

ROWS = {name: function.row for name, function in PUBLIC.items()}
UNARY = sorted({f.row.name for f in PUBLIC.values() if f.nin == 1})
BINARY = sorted({f.row.name for f in PUBLIC.values() if f.nin == 2})
PATHS = (16384, 0)  # at once through NumPy, and recorded

FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 2.0, -2.5, 3.0, 7.25, numpy.nan, numpy.inf, -numpy.inf)
PARTS = (0.0, -0.0, 1.0, -1.0, 0.5, 3.0, numpy.nan, numpy.inf, -numpy.inf)
INTEGERS = (0, 1, 2, 3, 5, 7, 8, 31, 32, 63, 64, 100)

# (name, kinds) -> operands for which gpuxp is to differ, and why
DIFFERENCES = {
    ("floor_divide", "f"): (lambda x, y: numpy.isinf(x) | numpy.isinf(y), "the standard's quotient at infinity"),
    ("expm1", "c"): (
        lambda z: ~numpy.isfinite(z) | (z.imag == 0),
        "the standard's special cases, without cancellation",
    ),
    ("tanh", "c"): (lambda z: ~numpy.isfinite(z), "the standard's special cases"),
}
# Which of two zeros wins depends on NumPy's build
EITHER_ZERO = {"maximum", "minimum", "fmax", "fmin"}


def samples(dtype: str) -> Any:
    """Return the interesting values of a dtype."""
    kind = numpy.dtype(dtype).kind
    if kind == "b":
        return numpy.array([False, True])
    if kind in "iu":
        info = numpy.iinfo(dtype)
        negative = (-1, -2, -7, -64, info.min + 1) if kind == "i" else ()
        return numpy.array([*INTEGERS, *negative, info.min, info.max, info.max - 1], dtype)
    if kind == "f":
        info = numpy.finfo(dtype)
        extremes = (info.max, -info.max, info.tiny, info.smallest_subnormal, -info.smallest_subnormal, info.eps)
        return numpy.array([*FLOATS, *extremes], dtype)
    return numpy.array([complex(a, b) for a in PARTS for b in PARTS], dtype)


def signs_differ(want: Any, got: Any) -> bool:
    """Tell whether some zero has the wrong sign."""
    if want.dtype.kind == "c":
        return signs_differ(want.real, got.real) or signs_differ(want.imag, got.imag)
    return want.dtype.kind == "f" and bool(((want == 0) & (numpy.signbit(want) != numpy.signbit(got))).any())


def bits(array: Any) -> bytes:
    """Return the bits, with one NaN for all."""
    found = numpy.array(array, order="C").reshape(-1)
    parts = found.view(found.real.dtype)
    if parts.dtype.kind == "f":
        parts[numpy.isnan(parts)] = numpy.nan
    return parts.tobytes()


def check(name: str, *operands: Any, **keywords: Any) -> None:
    """Compare a ufunc with NumPy's on both paths; where both give values, the paths must agree to the bit."""
    # NumPy's transcendental functions have other last bits for strided operands; ours do not: compare with packed ones
    packed = [numpy.array(o, order="C") if isinstance(o, numpy.ndarray) else o for o in operands]
    want, refused = outcome(lambda xp: getattr(xp, name)(*packed, **keywords), numpy, ())
    found = []
    for small in PATHS:
        with np.configure(small=small):
            got, failed = outcome(lambda xp: getattr(xp, name)(*map(to_gpuxp, operands), **keywords), np, ())
        shown = f"{name}{tuple(getattr(o, 'dtype', o) for o in operands)} small={small}"
        if refused is not None or failed is not None:
            classes = [None if e is None else public_class(e) for e in (refused, failed)]
            assert classes[0] is classes[1], f"{shown}: NumPy raised {refused!r}, gpuxp raised {failed!r}"
            continue
        problem = _problem(name, operands, want, got)
        assert not problem, f"{shown}: {problem}"
        found.append(got)
    assert len({bits(f) for f in found}) <= 1, f"{name}: recorded and direct results differ"


def _problem(name: str, operands: Any, want: Any, got: Any) -> str:
    kinds = {getattr(o, "dtype", numpy.dtype(type(o))).kind for o in operands}
    kind = "c" if "c" in kinds else "f"
    ulp = ROWS[name].bound(np.default_device(), kind)
    if (name, kind) in DIFFERENCES and want.dtype == got.dtype and want.shape == got.shape:
        with numpy.errstate(all="ignore"):
            different = numpy.broadcast_to(DIFFERENCES[name, kind][0](*operands), want.shape)
        want, got = want[~different], got[~different]
    if ulp and want.dtype == got.dtype and want.shape == got.shape and want.dtype.kind == "c":
        got = numpy.where(near(want, got, ulp) | near(true_powers(name, operands, want), got, ulp), want, got)
    problem = compare(want, got, ulp=ulp)
    if not problem and name not in EITHER_ZERO and not ulp and signs_differ(want, got):
        return f"a zero of the wrong sign in {got!r}, not {want!r}"
    return problem


def views(x: Any) -> Iterator[Any]:
    """Return arrays of the same dtype with other layouts."""
    yield x[::2]
    yield x[::-1]
    yield numpy.stack([x, x])[:, 1:]
    yield numpy.stack([x, x]).T
    yield x[:1].reshape(())
    yield x[:0]
    yield numpy.broadcast_to(x[:3], (2, min(len(x), 3)))


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str, dtype: str) -> None:
    x = samples(dtype)
    check(name, x)
    for view in views(x):
        check(name, view)


def _reduced(name: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Leave out powers that only the device can refuse: `test_errors` has them."""
    if name == "power" and x.dtype.kind in "iu" and y.dtype.kind == "i":
        return x, y[y >= 0]
    return x, y


@pytest.mark.parametrize("dtype", NAMES)
@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str, dtype: str) -> None:
    x, y = _reduced(name, samples(dtype), samples(dtype))
    left, right = (numpy.ascontiguousarray(v).reshape(-1) for v in numpy.broadcast_arrays(x[:, None], y))
    check(name, left, right)
    check(name, x[:, None], y[None, :])
    check(name, x[: len(y)][::-1], y[: len(x)])
    check(name, x[:1].reshape(()), y)
    check(name, x[:0], y[:1])
    check(name, left[::3], right[::3])


@pytest.mark.parametrize("name", BINARY)
def test_mixed_dtypes(name: str) -> None:
    for first, second in itertools.permutations(NAMES, 2):
        x, y = _reduced(name, samples(first)[:6], samples(second)[:6])
        check(name, x[:, None], y)


SCALARS = (
    True,
    2,
    3,
    -1,
    300,
    2**40,
    0.5,
    2.0,
    numpy.inf,
    1j,
    numpy.float32(2),
    numpy.int8(3),
    numpy.uint64(2),
    [1, 2],
)


@pytest.mark.parametrize("name", BINARY)
def test_scalars(name: str) -> None:
    for dtype in NAMES:
        x = samples(dtype)[:2]
        for scalar in SCALARS:
            if name == "power" and (x.dtype.kind in "iub" or scalar == -1):
                continue
            check(name, x, scalar)
            check(name, scalar, x)
    check(name, 3, 2)
    check(name, 2.5, 2)


EXACT = ("add", "subtract", "multiply", "maximum", "minimum", "logical_and", "logical_or", "logical_xor", "bitwise_and",
         "bitwise_or", "bitwise_xor", "gcd", "lcm", "fmax", "fmin", "divide", "floor_divide", "remainder", "power",
         "greater", "equal", "left_shift", "copysign", "hypot", "arctan2", "logaddexp", "heaviside")  # fmt: skip


def both(fn: Any, *args: Any, ulp: float = 0) -> None:
    """Compare a function of the namespace on both paths."""
    want, refused = outcome(fn, numpy, [numpy.array(a, order="K") if isinstance(a, numpy.ndarray) else a for a in args])
    for small in PATHS:
        with np.configure(small=small):
            got, failed = outcome(fn, np, [to_gpuxp(a) for a in args])
        classes = [None if e is None else public_class(e) for e in (refused, failed)]
        assert classes[0] is classes[1], f"small={small}: NumPy raised {refused!r}, gpuxp raised {failed!r}"
        if refused is None:
            problem = compare(want, got, ulp=ulp)
            assert not problem, f"small={small}: {problem}"


DATA = {
    "int64": numpy.array([[3, 1, 2, 7], [5, 9, 4, 6]]),
    "uint8": numpy.array([[3, 1, 2, 7], [5, 9, 4, 6]], "uint8"),
    "bool": numpy.array([[True, False, True, True], [False, False, True, True]]),
    "float64": numpy.array([[3.0, 1.0, -2.0, 7.0], [5.0, 9.0, 4.0, -6.0]]),
    "float32": numpy.array([[3, 1, 2, 7], [5, 9, 4, 6]], "float32"),
    "complex128": numpy.array([[3, 1, 2j, 7], [5, 9j, 4, 6]]),
}


@pytest.mark.parametrize("dtype", DATA)
@pytest.mark.parametrize("name", EXACT)
def test_output_and_mask(name: str, dtype: str) -> None:
    x = DATA[dtype]
    y = x[:, ::-1].copy()
    mask = numpy.array([True, False, True, False])
    for target in ("float64", "int64", "bool", "complex128", "float32"):
        both(lambda xp, a, b, t=target: getattr(xp, name)(a, b, out=xp.ones((2, 4), t)), x, y)
        both(lambda xp, a, b, t=target: getattr(xp, name)(a, b, xp.ones((2, 4), t)), x, y)
        both(lambda xp, a, b, t=target: getattr(xp, name)(a, b, out=(xp.ones((3, 2, 4), t),)), x, y)
        both(lambda xp, a, b, m, t=target: getattr(xp, name)(a, b, out=xp.ones((2, 4), t), where=m), x, y, mask)
        both(lambda xp, a, b, m, t=target: getattr(xp, name)(a, b, out=xp.ones((4, 2), t).T, where=m), x, y, mask)
        both(lambda xp, a, b, t=target: getattr(xp, name)(a, b, dtype=t), x, y)
    both(lambda xp, a, b: getattr(xp, name)(a, b, out=xp.ones(4)), x, y)
    both(lambda xp, a, b: getattr(xp, name)(a, b, out=xp.ones((2, 5))), x, y)
    both(lambda xp, a: getattr(xp, name)(a, a[:, ::-1], out=a), x)
    both(lambda xp, a: getattr(xp, name)(a[:, 1:], a[:, :-1], out=a[:, :-1]), x)
    both(lambda xp, a, b: getattr(xp, name)(a, b, casting="no"), x, y)
    both(lambda xp, a: getattr(xp, name)(a), x)


@pytest.mark.parametrize("dtype", DATA)
@pytest.mark.parametrize("name", EXACT)
def test_methods(name: str, dtype: str) -> None:
    x = DATA[dtype]
    ulp = {"hypot": 4, "arctan2": 8, "logaddexp": 16}.get(name, 0)
    for axis in (0, 1, -1, None, (0, 1), (), 2):
        both(lambda xp, a, axis=axis: getattr(xp, name).reduce(a, axis=axis), x, ulp=ulp)
        both(lambda xp, a, axis=axis: getattr(xp, name).reduce(a, axis=axis, keepdims=True, initial=2), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).reduce(a), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).reduce(a[:0]), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).reduce(a, out=xp.zeros(4, a.dtype)), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).accumulate(a, axis=1), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).outer(a[0], a[1, :3]), x, ulp=ulp)
    both(lambda xp, a: getattr(xp, name).reduceat(a, [0, 2, 1], axis=1), x, ulp=ulp)

    def at(xp: Any, a: Any) -> Any:
        getattr(xp, name).at(a, ([0, 1, 0], [2, 2, 2]), a[0, :3].copy())
        return a

    both(at, x, ulp=ulp)


REDUCTIONS = ("sum", "prod", "max", "min", "any", "all", "mean", "var", "std", "argmax", "argmin", "count_nonzero",
              "ptp", "cumsum", "cumprod", "median", "nansum", "nanmax")  # fmt: skip
SHAPES = ((4,), (2, 3), (3, 1, 4), (0,), (2, 0), (0, 3), ())
DTYPES = ("bool", "int8", "uint16", "int64", "float32", "float64", "complex64", "float16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name: str, dtype: str) -> None:
    for shape in SHAPES:
        x = (numpy.arange(numpy.prod(shape, dtype=int)) % 5 - (dtype[0] not in "ub")).astype(dtype).reshape(shape)
        axes: list[Any] = [None, 0, -1, len(shape), (0, len(shape) - 1)]
        for axis in axes:
            _reduction(name, x, axis)


def _reduction(name: str, x: Any, axis: Any) -> None:
    # NumPy adds squares of half precision in half precision; ours are more exact
    ulp = 4 if name in ("mean", "var", "std", "median") else 0
    both(lambda xp, a: getattr(xp, name)(a, axis=axis), x, ulp=ulp)
    if x.ndim == 2 and name not in ("median", "nansum"):
        both(lambda xp, a: getattr(xp, name)(a.T, axis=axis), x, ulp=ulp)
        both(lambda xp, a: getattr(xp, name)(a[:, ::-2], axis=axis), x, ulp=ulp)
    if name in ("cumsum", "cumprod"):
        return
    both(lambda xp, a: getattr(xp, name)(a, axis=axis, keepdims=True), x, ulp=ulp)
    if name in ("sum", "prod", "mean", "var", "std"):
        both(lambda xp, a: getattr(xp, name)(a, axis=axis, dtype="float64"), x, ulp=ulp)
    if name in ("sum", "prod", "max", "min"):
        both(lambda xp, a: getattr(xp, name)(a, axis=axis, initial=2), x)
        both(lambda xp, a: getattr(xp, name)(a, axis=axis, initial=2, where=a > 1), x)
    if name in ("sum", "prod", "max", "min", "any", "all", "mean", "var"):
        both(lambda xp, a: getattr(xp, name)(a, axis=axis, where=a != 1), x, ulp=ulp)
    if name in ("var", "std"):
        both(lambda xp, a: getattr(xp, name)(a, axis=axis, ddof=1), x, ulp=ulp)


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_sums_of_fractions_are_near(dtype: str) -> None:
    rng = numpy.random.default_rng(3)
    for shape in ((1000,), (40, 70), (5, 6, 7)):
        x = (rng.standard_normal(shape) * 1e3).astype(dtype)
        for axis in (None, *range(len(shape))):
            count = x.size if axis is None else shape[axis]
            bound = 2 * count * numpy.finfo(dtype).eps * abs(x).sum()
            for name in ("sum", "mean"):
                want = getattr(numpy, name)(x.astype("complex128"), axis=axis)
                got = numpy.asarray(getattr(np, name)(np.asarray(x), axis=axis))
                assert got.dtype == x.dtype
                assert (abs(got - want) <= bound).all()


def test_extremes_and_not_a_number() -> None:
    for values in ([1.0, numpy.nan, 2.0], [numpy.nan], [-0.0, 0.0], [numpy.inf, -numpy.inf], [numpy.nan, numpy.inf]):
        for name in ("max", "min", "argmax", "argmin", "sum", "mean", "any", "all", "ptp", "nanmax", "nansum"):
            both(lambda xp, a, name=name: getattr(xp, name)(a), numpy.array(values))


@pytest.mark.parametrize("source", NAMES)
def test_casts(source: str) -> None:
    for target in NAMES:
        x = samples(source)
        if numpy.dtype(source).kind in "fc" and numpy.dtype(target).kind in "iu":
            x = numpy.array([0, 1, 2.5, 3, 100], source)  # out of range, the result depends on NumPy's build
        both(lambda xp, a, t=target: a.astype(t), x)
        both(lambda xp, a, t=target: xp.asarray(a, dtype=t), x)
        both(lambda xp, a, t=target: a[::-2].astype(t), x)
        both(lambda xp, a, t=target: a.astype(t, casting="safe"), x)


def test_the_differences_are_real() -> None:
    x = numpy.array([1.0, -1.0, numpy.inf, 7.0])
    y = numpy.array([numpy.inf, numpy.inf, 2.0, -numpy.inf])
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        assert not numpy.array_equal(numpy.floor_divide(x, y), x / y, equal_nan=True)
    for small in PATHS:
        with np.configure(small=small):
            assert numpy.array_equal(np.floor_divide(np.asarray(x), np.asarray(y)), x / y)
            got = numpy.asarray(np.expm1(np.asarray([complex(-numpy.inf, numpy.inf), 1e-20 + 1e-20j])))
            assert got[0] == -1
            assert got[1] == 1e-20 + 1e-20j
            assert numpy.asarray(np.tanh(np.asarray([complex(numpy.inf, 2.0)])))[0] == 1
