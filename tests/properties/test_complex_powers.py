"""Powers of complex numbers on every device: how exact over wide ranges, NumPy's rules, and that no host is needed."""

from __future__ import annotations

from typing import Any

import numpy
import pytest

import gpuxp
from gpuxp.ops import ELEMENTWISE

from .accuracy import distance, true_powers

COUNT = 300
DTYPES = ("complex64", "complex128")
OWN = ("opencl", "cuda", "mlx")  # devices that do not call NumPy's loops


def _drawn(dtype: str) -> dict[str, tuple[Any, Any]]:
    """Return bases and exponents by what is hard about them; no result overflows, or comes near zero."""
    rng = numpy.random.default_rng(5)
    info = numpy.finfo(dtype)
    decades = 290.0 if dtype == "complex128" else 35.0

    def square(size: float) -> Any:
        return rng.uniform(-size, size, COUNT) + 1j * rng.uniform(-size, size, COUNT)

    def around(e: float) -> Any:
        return 10 ** rng.uniform(-e, e, COUNT) * numpy.exp(1j * rng.uniform(-numpy.pi, numpy.pi, COUNT))

    near = 1 + (rng.standard_normal(COUNT) + 1j * rng.standard_normal(COUNT)) * 1e-3
    steps = 1 + info.eps * (rng.integers(-4, 5, COUNT) + 1j * rng.integers(-4, 5, COUNT))
    wild = {
        "plain": (square(3), square(3)),
        "bases of any size": (around(decades), square(0.4)),
        "subnormal bases": (around(1) * float(info.smallest_normal) / 100, square(0.4)),
        "large exponents": (near, square(6e3)),
        "turning fast": (around(0), rng.uniform(-1e6, 1e6, COUNT)),
        "bases next to one": (steps, square(1e6)),
        "small exponents": (near, square(1e-6)),
        "whole exponents": (around(0.3), rng.integers(100, 120, COUNT) * rng.choice([-1, 1], COUNT)),
        "negative bases": (-rng.uniform(0.2, 5, COUNT), rng.uniform(-30, 30, COUNT)),
        "bases on the axis": (1j * rng.uniform(-5, 5, COUNT), rng.uniform(-20, 20, COUNT) + 0.5j),
    }
    return {name: (a.astype(dtype), b.astype(dtype)) for name, (a, b) in wild.items()}


def _computes(device: str, dtype: str) -> bool:
    """Whether the device has kernels of its own for a dtype."""
    if device.partition(":")[0] not in OWN:
        return False
    with gpuxp.configure(fallback="error"):
        try:
            numpy.asarray(gpuxp.ones(3, dtype, device=device) * 2)
        except gpuxp.FallbackError:
            return False
    return True


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_are_within_their_bound_for_wide_ranges(device: str, dtype: str) -> None:
    """Of the true values where a device computes for itself: it loses no digits to large exponents."""
    own = _computes(device, dtype)
    for name, (a, b) in _drawn(dtype).items():
        with numpy.errstate(all="ignore"):
            want = a**b
        with gpuxp.configure(fallback="allow"):
            got = numpy.asarray(gpuxp.asarray(a, device=device) ** gpuxp.asarray(b, device=device))
        true = true_powers("power", (a, b), want)
        apart = distance(true, got) if own else distance(want, got)
        assert apart <= ELEMENTWISE["power"].bound(device, "c"), f"{name}: {apart:.3g} ulp"


@pytest.mark.parametrize("dtype", DTYPES)
def test_small_whole_exponents_multiply_as_numpy_does(device: str, dtype: str) -> None:
    rng = numpy.random.default_rng(6)
    a = (rng.uniform(-1.5, 1.5, 199) + 1j * rng.uniform(-1.5, 1.5, 199)).astype(dtype)
    b = numpy.arange(-99, 100).astype(dtype)
    x, y = (gpuxp.asarray(v, device=device) for v in (a, b))
    with gpuxp.configure(fallback="allow"), numpy.errstate(all="ignore"):
        for got, want in ((x**y, a**b), (x[::2] ** 7, a[::2] ** 7), (x ** (-3 + 0j), a ** (-3 + 0j))):
            assert distance(want, numpy.asarray(got)) <= 16  # equal, but where NumPy's compiler fuses operations


@pytest.mark.parametrize("dtype", DTYPES)
def test_they_need_no_host(device: str, dtype: str) -> None:
    """Arrays and constants, in place, views, both functions, and fused with what is around them."""
    if not _computes(device, dtype):
        pytest.skip(f"{device} has no kernels of {dtype}")
    rng = numpy.random.default_rng(7)
    a, b = ((rng.uniform(-2, 2, (2, 40, 30)) + 1j * rng.uniform(-2, 2, (2, 40, 30))).astype(dtype) for _ in range(2))
    double = _computes(device, "complex128")

    def raised(p: Any, e: Any) -> Any:
        p = p + 0
        p **= e
        return p

    cases = [
        lambda np, p, q: p**q,
        lambda np, p, q: np.power(p, q[0, ::-1]),
        lambda np, p, q: p ** (1.5 - 0.5j),
        lambda np, p, q: p**2.5,
        lambda np, p, q: p**-4,
        lambda np, p, q: (2 - 1j) ** q,
        lambda np, p, q: p[:, ::2, ::-3].T ** q[:, ::2, ::3].T,
        lambda np, p, q: raised(p, q),
        lambda np, p, q: raised(p, 5),
        lambda np, p, q: np.where(np.abs(p) > 1, (p + q) ** (q * 0.25), q).real,
        lambda np, p, q: ((p * 0.5) ** q).sum(axis=-1),
    ]
    if double:
        cases.append(lambda np, p, q: np.float_power(p, q))
    before = gpuxp.stats()[device]["fallbacks"] if device in gpuxp.stats() else 0
    x, y = (gpuxp.asarray(v, device=device) for v in (a, b))
    with gpuxp.configure(fallback="error", small=0):
        for case in cases:
            got, want = numpy.asarray(case(gpuxp, x, y)), case(numpy, a, b)
            assert got.dtype == want.dtype
            numpy.testing.assert_allclose(got, want, rtol=200 * numpy.finfo(dtype).eps, atol=1e-5 * (not double))
    assert gpuxp.stats()[device]["fallbacks"] == before


@pytest.mark.parametrize("dtype", DTYPES)
def test_zeros_and_the_cut(device: str, dtype: str) -> None:
    """By NumPy's rules; angles have the side of the cut on which a negative number is."""
    inf, nan = numpy.inf, numpy.nan
    pairs = [
        (0, 0), (nan, 0), (inf, -0.0), (0, 2), (0, 2 + 1j), (0, 1j), (0, -1), (0, nan), (-0.0, 0.5),
        (inf, 1), (complex(inf, nan), 1), (complex(nan, 3), 2), (complex(-inf, 1), 3), (complex(1, inf), -2),
        (-4, 0.5), (complex(-4, -0.0), 0.5), (complex(-1, -0.0), 1j), (-1, 1j), (1, inf), (2, complex(-inf, 0)),
    ]  # fmt: skip
    a, b = (numpy.array([p[n] for p in pairs], dtype) for n in (0, 1))
    with gpuxp.configure(fallback="allow"), numpy.errstate(all="ignore"):
        got, want = numpy.asarray(gpuxp.asarray(a, device=device) ** gpuxp.asarray(b, device=device)), a**b
    for p, g, w in zip(pairs, got, want, strict=True):
        assert distance(numpy.array([w]), numpy.array([g])) <= ELEMENTWISE["power"].bound(device, "c"), (p, g, w)
