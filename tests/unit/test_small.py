"""Short operations on small arrays, which take the shortest way to NumPy, give what NumPy gives."""

from __future__ import annotations

import operator
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy
import pytest

import gpuxp
from gpuxp.dtypes import NAMES
from gpuxp.testing import assert_matches, outcome

OPERATORS = (
    operator.add, operator.sub, operator.mul, operator.truediv, operator.eq, operator.ne, operator.lt, operator.le,
    operator.gt, operator.ge,
)  # fmt: skip
BITS = (operator.floordiv, operator.mod, operator.and_, operator.or_, operator.xor, operator.lshift, operator.rshift)
EXTREMES = {"b": (0, 1), "i": (-(1 << 62), -3, 0, 7), "u": (0, 5, 255), "f": (-1.5, 0.0, 3.0, numpy.inf, numpy.nan)}


@pytest.mark.parametrize("name", [n for n in NAMES if not n.startswith("complex")])
def test_arithmetic_of_values_is_that_of_arrays(name: str) -> None:
    """Values are computed by NumPy's scalars, arrays by its ufuncs: the results may not differ."""
    dtype = numpy.dtype(name)
    mine = numpy.array([n % (1 << 7) if dtype.itemsize == 1 else n for n in EXTREMES[dtype.kind]]).astype(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for other in ("bool", "int8", "int64", "uint8", "uint64", "float32", "float64"):
            theirs = numpy.array([0, 1, 3]).astype(other)
            exact = numpy.result_type(name, other).kind in "biu"
            for fn in (*OPERATORS, *BITS * exact):
                if fn is operator.sub and name == other == "bool":
                    continue
                grid = gpuxp.asarray(mine)[:, None], gpuxp.asarray(theirs)[None]
                expected = numpy.asarray(fn(*grid))
                for i, x in enumerate(gpuxp.asarray(mine)):
                    for j, y in enumerate(gpuxp.asarray(theirs)):
                        found = fn(x, y)
                        assert found.dtype == expected.dtype
                        numpy.testing.assert_array_equal(numpy.asarray(found), expected[i, j])


@pytest.mark.parametrize("scalar", [0, 3, -1, 2.5, 1 << 70])
@pytest.mark.parametrize("name", ["bool", "int8", "uint8", "int64", "float32", "float64", "complex64"])
def test_values_and_python_scalars(name: str, scalar: Any) -> None:
    for fn in (*OPERATORS, *BITS):
        for turned in (False, True):

            def program(xp: Any, fn: Any = fn, turned: bool = turned) -> Any:
                x = xp.asarray(xp.arange(3), dtype=name)[1]
                return fn(scalar, x) if turned else fn(x, scalar)

            assert_matches(program)


def _overlapping(xp: Any) -> Any:
    a = xp.arange(12.0)
    a[2:] = a[:-2]
    a[::2] += a[1::2]
    a[::-1] = a
    a[1:-1] *= 0.5
    return a


def _mask_of_itself(xp: Any) -> Any:
    a = xp.asarray([True, False, True, True, False])
    a[a] = a[a][::-1] & False
    b = xp.arange(6)
    b[b] = b[::-1]
    b[b > 2] = b[b > 2][::-1]
    return xp.concatenate([a, b])


def _views_see_writes(xp: Any) -> Any:
    m = xp.zeros((3, 4))
    column, row, turned = m[:, 1], m[1], m.T
    column += 1.0
    row[2:] = xp.arange(2.0)
    turned[0, 2] = 7
    m[2][3] -= 2
    return xp.stack([m, m.reshape(-1)[::-1].reshape(3, 4), turned.T])


def _after_recording(xp: Any) -> Any:
    m = xp.arange(10.0)
    part = m[2:6]
    big = xp.zeros(100_000) + m[3]  # recorded: the memory of `m` is introduced
    part += 1
    m[0] = big[5]
    part[...] = part[::-1]
    return m


def _values_keep(xp: Any) -> Any:
    a = xp.arange(4.0)
    s = a[2]
    t = s
    s += 1
    a[2] = -1.0
    return xp.stack([s, t, a[2], s * t, -t, abs(a[2])])


def _joined(xp: Any) -> Any:
    x, y, z = xp.arange(3.0)
    m = xp.arange(6).reshape(2, 3)
    return [
        xp.stack([x, y * 2, z]), xp.stack([m, m], axis=-1), xp.stack((m[0], m[1][::-1]), 1),
        xp.concatenate([m, m[:, ::-1]], 1), xp.concatenate((m, xp.ones((1, 3)))), xp.concatenate([m, m], None),
        xp.roll(m, 1), xp.roll(m, -4, 1), xp.roll(m, (1, 2), (0, 1)), xp.roll(m.T, 1, 0), xp.roll(m, 0, 0),
        xp.where(m > 2, m, 0.5), xp.where(m[:, :1] > 1, x, m), xp.where(x < y, 1, 2),
    ]  # fmt: skip


def _into(xp: Any) -> Any:
    x, out = xp.arange(5.0), xp.zeros(5)
    xp.add(x, 1, out=out)
    xp.exp(x, out=out[:])
    xp.multiply(x[1:], x[:-1], out=x[1:])
    whole = xp.zeros(5, dtype=int)
    xp.greater(x, 2, out=whole)
    return [x, out, whole, xp.sqrt(x, out), out]


def _picked(xp: Any) -> Any:
    m = xp.arange(12.0).reshape(3, 4)
    m[m > 8] = -1
    m[xp.asarray([0, 2])] += 1
    return [m, m[m > 3], m[xp.asarray([2, 0])], m[0][xp.asarray([[1, 2], [3, 0]])], m[m[:, 0] > 3]]


PROGRAMS = [_overlapping, _mask_of_itself, _views_see_writes, _after_recording, _values_keep, _joined, _into, _picked]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__[1:])
@pytest.mark.parametrize("small", [16384, 4, 0])
def test_programs_of_short_operations(program: Callable[[Any], Any], small: int) -> None:
    with gpuxp.configure(small=small):
        assert_matches(program)


@pytest.mark.parametrize(
    "program",
    [
        lambda xp: xp.arange(3.0)[3],
        lambda xp: xp.arange(3.0) + xp.arange(4.0),
        lambda xp: xp.arange(3.0).__setitem__(slice(0, 2), xp.arange(3.0)),
        lambda xp: xp.broadcast_to(xp.ones(1), (3,)).__iadd__(1),
        lambda xp: xp.broadcast_to(xp.ones(1), (3,)).__setitem__(0, 1.0),
        lambda xp: xp.arange(3).__iadd__(0.5),
        lambda xp: xp.ones(3).__iadd__(xp.ones((2, 3))),
        lambda xp: xp.stack([xp.ones(2), xp.ones(3)]),
        lambda xp: xp.stack([xp.ones(2)], 3),
        lambda xp: xp.concatenate([xp.ones(2)[0], xp.ones(3)]),
        lambda xp: xp.concatenate([xp.ones((2, 2)), xp.ones(3)]),
        lambda xp: xp.roll(xp.ones(3), 1, 1),
        lambda xp: xp.ones(6).reshape(4, 2),
        lambda xp: xp.ones(3)[xp.asarray([3])],
        lambda xp: xp.ones(3)[xp.ones(4) > 0],
        lambda xp: xp.add(xp.ones(3), 1.5, out=xp.ones(3, dtype=int)),
    ],
)
def test_what_numpy_refuses_is_refused(program: Callable[[Any], Any]) -> None:
    assert outcome(program, numpy, ())[1] is not None
    assert_matches(program)


def test_values_may_be_shared_by_threads() -> None:
    """A value is a scalar of NumPy's until somebody needs memory: many may need it at once."""
    values = [gpuxp.arange(3.0)[2] for _ in range(200)]
    found: list[Any] = []

    def use() -> None:
        found.extend((float(v), float(v[...]), float((v + gpuxp.zeros(50_000))[7])) for v in values)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(2.0, 2.0, 2.0)] * 800
