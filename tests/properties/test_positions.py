"""Indexing by arrays, masks, sets, cumulative results and searches give NumPy's results on every device.

What a device has no native for is counted: here that may be sorting, and no more.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from gpuxp import fallback
from gpuxp.devices import runtime_of
from gpuxp.testing import outcome, public_class

ORDERING = frozenset({"sort", "argsort", "searchsorted"})  # another chapter: what these leave to the host
_rng = numpy.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "a": _rng.integers(-5, 6, (3, 4)),
    "f": _rng.integers(0, 5, (4, 5)).astype("float32"),
    "v": _rng.integers(0, 9, 37),
    "u": _rng.integers(0, 200, 50).astype("uint8"),
    "c": (_rng.integers(0, 3, 20) + 1j * _rng.integers(0, 2, 20)).astype("complex64"),
    "w": _rng.integers(0, 3, 20) + 1j,
    "d": _rng.integers(0, 99, (3, 5)) / 4,
    "nan": numpy.array([1, numpy.nan, 3, numpy.nan, 1, 0.0, -0.0], "float32"),
    "m": _rng.random((3, 4)) > 0.5,
    "i": _rng.integers(-3, 3, (2, 3)),
    "F": numpy.asfortranarray(_rng.integers(0, 50, (5, 6))),
    "big": _rng.integers(-100, 100, 300_000),
    "mb": _rng.random(300_000) > 0.7,
    "z": numpy.zeros((0, 3)),
    "s": numpy.array(5),
}

READS = """
np.take(a, i)
np.take(a, i, axis=0)
np.take(a, i, axis=1)
np.take(F, [1, -1, 0], axis=1)
np.take(F[::2, ::-1], [1, -1, 0], axis=0)
np.take(a, 1, axis=1)
np.take(a, -1)
np.take(a, [20])
np.take(a, np.asarray([0, -13]))
np.take(a, [7], mode='wrap')
np.take(a, [-70, 70, 3], mode='wrap')
np.take(a, np.asarray([-70, 70, 3]), mode='clip')
np.take(a, [1], mode='foo')
np.take(z, [5], axis=1)
np.take(z, [5], axis=0)
np.take(s, 0)
np.take(a, np.asarray([0.5]))
np.take(a, m)
np.take(a, u % 4)
np.take(c, [1, 2])
np.take(w, [1, 2, -1])
np.take_along_axis(a, np.argsort(a, axis=1), axis=1)
np.take_along_axis(F, np.argmax(F, axis=0, keepdims=True), axis=0)
np.take_along_axis(a, i[:, :1], 1)
np.take_along_axis(a[:2], i % 4, 1)
np.take_along_axis(a, i, None)
np.take_along_axis(a, m, 0)
np.take_along_axis(a, v, None)
np.take_along_axis(a, i + 9, 1)
np.nonzero(a)
np.nonzero(v)
np.nonzero(d > .5)
np.nonzero(z)
np.nonzero(F.T)
np.nonzero(mb)
np.nonzero(s)
np.where(a > 0)
np.argwhere(a)
np.argwhere(s)
np.argwhere(z)
np.flatnonzero(F)
a[m]
a[~m, None]
F[F > 20]
F.T[F.T > 20]
w[w.real > 1]
big[mb]
big[big % 1000]
a[[3]]
a[np.asarray([3])]
a[np.asarray([-4])]
a[np.asarray([0]), np.asarray([0, 4])]
a[u > 3]
a[np.asarray([0, 1]), np.asarray([0, 1, 2])]
z[[0]]
z[z[:, :0] > 0]
z[:, [True, False]]
a[a[:0] > 0]
v[v[:0] > 0]
z[:, [3]]
z[:, [1, 2]]
np.unique(a)
np.unique(v, return_index=True, return_inverse=True, return_counts=True)
np.unique(a, return_inverse=True)
np.unique(a, return_counts=True)
np.unique(nan)
np.unique(nan, equal_nan=False)
np.unique(nan, return_index=True, return_inverse=True, return_counts=True)
np.unique(v, axis=0)
np.unique(v, axis=1)
np.unique(s, return_inverse=True)
np.unique(z, return_counts=True)
np.unique(big, return_index=True, return_inverse=True, return_counts=True)
np.unique(m)
np.unique_all(a)
np.unique_counts(nan)
np.unique_inverse(F)
np.sort(np.unique_values(u))
np.isin(a, [1, 2])
np.isin(a, v)
np.isin(nan, nan)
np.isin(nan, np.repeat(nan, 2))
np.isin(v, v[:12], invert=True)
np.isin(u, v)
np.isin(s, v)
np.isin(a, [])
np.isin(a, v, kind='foo')
np.isin(nan, v, kind='table')
np.isin(big, big[:1000])
np.cumsum(a)
np.cumsum(a, axis=0)
np.cumsum(a, axis=1)
np.cumsum(F, axis=0)
np.cumsum(F.T[::-1], axis=1)
np.cumsum(u)
np.cumsum(u, dtype='uint8')
np.cumsum(m)
np.cumsum(m, dtype=bool)
np.cumprod(m, dtype=bool)
np.cumsum(s)
np.cumsum(s, axis=0)
np.cumsum(z, axis=0)
np.cumsum(a, axis=4)
np.cumsum(a, dtype='S3')
np.cumsum(c)
np.cumprod(c)
np.cumsum(d, axis=1)
np.cumsum(f, axis=0)
np.cumprod(f, axis=1)
np.cumsum(big)
np.cumprod(big)
np.cumsum(mb)
np.cumulative_sum(v, include_initial=True)
np.cumulative_sum(a, axis=1, include_initial=True)
np.cumulative_prod(a, axis=-2, include_initial=True)
np.cumulative_sum(a, axis=1)
np.cumulative_sum(a)
np.cumulative_sum(u)
np.maximum.accumulate(a, axis=1)
np.minimum.accumulate(nan)
np.maximum.accumulate(nan)
np.maximum.accumulate(big)
np.add.accumulate(a)
np.add.accumulate(s)
np.multiply.accumulate(u)
np.sqrt.accumulate(v)
np.repeat(a, [1, 2, 0], axis=0)
np.repeat(v[:4], v[4:8])
np.repeat(v, u[:37] % 5)
np.repeat(a, v[:12] % 3)
np.repeat(a, [3])
np.repeat(a, np.asarray([3]))
np.repeat(a, [1, 2], axis=0)
np.repeat(v[:4], a[0])
np.repeat(v[:2], np.asarray([1, -1]))
np.repeat(v[:2], [1, -1])
np.repeat(v, v * .5)
np.repeat(z, v[:0], axis=0)
np.repeat(big, abs(big) % 4)
np.searchsorted(np.sort(v), v)
np.searchsorted(np.sort(v), v, side='right')
np.searchsorted(np.sort(v), a + .5)
np.searchsorted(np.sort(nan), nan)
np.searchsorted(np.sort(nan), nan, side='right')
np.searchsorted(v, v, sorter=np.argsort(v))
np.searchsorted(v, v, side='foo')
np.searchsorted(np.sort(v), 3)
np.searchsorted(a, v)
np.searchsorted(v[:0], v)
np.argmax(a)
np.argmax(a, axis=0)
np.argmin(a, axis=1)
np.argmin(F, axis=0, keepdims=True)
np.argmax(F)
np.argmax(F, keepdims=True)
np.argmax(nan)
np.argmin(nan)
np.argmax(z, axis=0)
np.argmax(z, axis=1)
np.argmax(a, axis=2)
np.argmax(s)
np.argmax(s, axis=0)
np.argmax(m, axis=1)
np.argmin(u)
np.argmax(big)
""".strip().splitlines()

WRITES = """
np.put(a, [0, -1, 5], [7, 8])
np.put(a, i, v)
np.put(a, [100], 1)
np.put(a, np.asarray([100, -100]), [1, 2], mode='wrap')
np.put(a, [100, -100], [1, 2], mode='clip')
np.put(F.T, [1, 2, 1], [7, 8, 9])
np.put(a, [], [1])
np.put(a, [1], [])
np.put(z, [1], [1])
np.put(big, big % 5, big)
np.put_along_axis(a, i[:, :1] % 4, 7, 1)
np.put_along_axis(a[:2], i % 4, 7, 1)
np.put_along_axis(a, np.argmax(a, axis=1, keepdims=True), 99, 1)
np.put_along_axis(F, np.argsort(F, axis=0, kind='stable'), F.copy(), 0)
np.put_along_axis(a, i % 4, v, 1)
np.place(a, m, [1, 2, 3])
np.place(a, m, [])
np.place(a, v > 3, [1])
np.place(F.T, F.T > 20, v)
np.putmask(a, m, [1, 2, 3])
np.putmask(a, v, [1, 2, 3])
np.putmask(F, F > 10, -F)
np.putmask(F[::2], F[::2] > 10, v)
a[m] = v[:m.sum()]
a[m] = v
F[:, [1, 2, 1]] = v[:5, None]
F[[0, 0, 1]] = v[:6]
F[::2, 1:][[0, 1], [2, 2]] = [5, 6]
F[:, ::2][np.asarray([[True] * 3] * 5)] = v[:15]
F.T[[0, 1], 2:4] = 3
big[big % 1000] = np.arange(300000)
big[mb] = -big[mb]
big[[5, 7, 5]] = [1, 2, 3]
v[v[:9]] = v[9:18]
v[v] = v
v[[0, 0, 0, 1]] = [1, 2, 3, 4]
a[[5]] = 1
a[np.asarray([-4])] = 1
a[[0], [0, 1], [0]] = 1
a[[0], [7]] = [[1, 2], [3, 4]]
u[[1, 1, 2]] = [30, 4, 5]
u[[1, 1, 2]] = [300, 4, 5]
c[[3, 1, 3]] = [1, 2j, 3]
w[[3, 1, 3]] = [1, 2j, 3]
d[[0, 2]] = a[[1], :1]
d[:, [0, 0]] += 1
np.putmask(u, u > 3, v)
np.putmask(u, u > 3, [1.5, 2])
np.place(f, f > 2, d)
np.put(u, [1, 2], d)
np.put(u, [1, 2], 300)
np.fill_diagonal(a, 7)
np.fill_diagonal(F, v)
np.fill_diagonal(F.T, [1, 2])
np.fill_diagonal(v, 1)
np.fill_diagonal(d.T, 1, wrap=True)
np.fill_diagonal(big.reshape(100, 30, 100)[:30, :, :30], 5)
np.fill_diagonal(big.reshape(100, 30, 100), 5)
v.flat[3:9] = [1, 2]
a.flat = v
a.flat[[1, 2]] = 9
F.flat[F.flat[:] > 3] = 0
z[z > 0] = 1
""".strip().splitlines()


@pytest.fixture
def on(device: str) -> Iterator[str]:
    with gpuxp.device(device), gpuxp.configure(fallback="allow", small=0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield device


def _on_host(device: str, before: dict[str, int]) -> set[str]:
    """Return what the host has run for a device since."""
    prefix = f"{device}:"
    grown = [k for k, n in fallback.counts.items() if n != before.get(k, 0)]
    return {k.removeprefix(prefix) for k in grown if k.startswith(prefix)}


def _flat(found: Any) -> list[Any]:
    return [part for f in found for part in _flat(f)] if isinstance(found, (list, tuple)) else [found]


def _layout(x: Any) -> Any:
    return tuple(s for n, s in zip(x.shape, x.strides, strict=True) if n > 1) if x.size else ()


def _differs(want: Any, got: Any) -> bool:
    seen = numpy.asarray(got)
    return not (want.dtype == seen.dtype and want.shape == seen.shape and numpy.array_equal(
        want, seen, equal_nan=want.dtype.kind in "fc"))  # fmt: skip


def _run(line: str, xp: Any, arrays: dict[str, Any], statement: bool) -> list[Any]:
    names = {"np": xp, **arrays}
    if not statement:
        return _flat(eval(line, names))
    exec(line, names)
    return list(arrays.values())


def _offers(device: str) -> bool:
    """Whether a device has what its elements are moved with; a bare one has the host do it."""
    runtime = runtime_of(device)
    return runtime.host_visible or "take" in runtime.backend.library


def _policy(device: str) -> Any:
    return gpuxp.configure(fallback="error" if _offers(device) else "allow")


def compare(line: str, device: str, statement: bool) -> None:
    arrays = {k: x.copy("K") for k, x in ARRAYS.items()}
    want, refused = outcome(lambda xp: _run(line, xp, arrays, statement), numpy, ())
    before = dict(fallback.counts)

    def run(xp: Any) -> list[Any]:
        found = _run(line, xp, {k: xp.asarray(x) for k, x in ARRAYS.items()}, statement)
        xp.evaluate()
        return found

    got, failed = outcome(run, gpuxp, ())
    classes = [None if e is None else public_class(e) for e in (refused, failed)]
    assert classes[0] is classes[1], f"NumPy raised {refused!r}, gpuxp raised {failed!r}"
    if refused is None:
        assert len(want) == len(got)
        for place, (w, g) in enumerate(zip(want, got, strict=True)):
            w = numpy.asarray(w)
            assert not _differs(w, g), f"result {place}: {numpy.asarray(g)} instead of {w}"
            if "where" not in line and "nonzero" not in line:
                assert _layout(g) == _layout(w), f"result {place}"
    if _offers(device):
        assert _on_host(device, before) <= ORDERING


@pytest.mark.parametrize("line", READS)
def test_read(on: str, line: str) -> None:
    compare(line, on, statement=False)


@pytest.mark.parametrize("line", WRITES)
def test_write(on: str, line: str) -> None:
    compare(line, on, statement=True)


def test_isin_of_a_scalar_is_an_array(on: str) -> None:
    found = alias = gpuxp.isin(gpuxp.asarray(5), gpuxp.asarray([1, 2]))
    found |= True  # in place: a value would become another
    assert bool(alias)


# Keys of any make


PARTS = (
    slice(None), slice(1, None), slice(None, None, -1), None, Ellipsis, 0, -1, True, False, [0, 1], [1, -1, 1],
    [[0, 1], [1, 0]], [5], [], "mask", "mask of two", "short", "column", "by columns",
)  # fmt: skip
_INDICES = {
    "short": numpy.array([1, 0, 1, 1], "int32"),
    "column": numpy.array([[-1], [0]]),
    "by columns": numpy.asfortranarray([[1, 0, 0], [0, 1, 1]]),
}


def _key(parts: tuple[Any, ...], shape: tuple[int, ...], xp: Any) -> tuple[Any, ...]:
    """Return a key: names become arrays, masks those that fit the dimensions they stand at, where they can."""
    wide = {"mask of two": 2}
    taken = sum(0 if p is None or p is Ellipsis or isinstance(p, bool) else wide.get(str(p), 1) for p in parts)
    key, at = [], 0
    for part in parts:
        if part is Ellipsis:
            at += max(len(shape) - taken, 0)
        if isinstance(part, str):
            count = wide.get(part, 1)
            extents = shape[at : at + count] if at + count <= len(shape) else (3,) * count
            made = _INDICES.get(part)
            if made is None:
                made = (numpy.arange(numpy.prod(extents)) % 3 != 1).reshape(extents)
            at += count
            key.append(xp.asarray(made))
        else:
            at += not (part is None or part is Ellipsis or isinstance(part, bool))
            key.append(part)
    return tuple(key)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (3, 2, 5)])
def test_any_key_reads_and_writes_as_numpys(on: str, shape: tuple[int, ...]) -> None:
    @settings(max_examples=120)
    @given(st.lists(st.sampled_from(PARTS), min_size=1, max_size=len(shape) + 1), st.sampled_from("CF"))
    def check(parts: list[Any], order: Any) -> None:
        a = numpy.asarray(numpy.arange(numpy.prod(shape)).reshape(shape), order=order)
        x = gpuxp.asarray(a)
        want, refused = outcome(lambda xp: a[_key(tuple(parts), shape, xp)], numpy, ())
        got, failed = outcome(lambda xp: x[_key(tuple(parts), shape, xp)], gpuxp, ())
        assert type(refused) is type(failed), (refused, failed)
        if refused is not None:
            return
        want = numpy.asarray(want).copy("K")
        assert not _differs(want, got), (want, got)
        assert _layout(want) == _layout(got)
        value = numpy.arange(100, 100 + want.size).reshape(want.shape)
        if "by columns" in parts:  # which of several values for one place comes last, is NumPy's secret
            value[...] = 100
        a[_key(tuple(parts), shape, numpy)] = value
        x[_key(tuple(parts), shape, gpuxp)] = gpuxp.asarray(value)
        assert numpy.array_equal(numpy.asarray(x), a)

    with _policy(on):
        check()


def test_an_array_of_many_dimensions(on: str) -> None:
    a = numpy.arange(3 * 2**13).reshape((3,) + (2,) * 13)
    x = gpuxp.asarray(a)
    assert numpy.array_equal(numpy.asarray(x[[2, 0], ..., 1]), a[[2, 0], ..., 1])
    assert numpy.array_equal(numpy.asarray(x[:, :, [1, 0, 1]]), a[:, :, [1, 0, 1]])


# The last value stays


@settings(max_examples=60)
@given(st.data())
def _last_value(data: st.DataObject) -> None:
    extent, count = data.draw(st.sampled_from([(5, 40), (1000, 30), (300, 5000)]))
    rng = numpy.random.default_rng(data.draw(st.integers(0, 99)))
    axis = data.draw(st.integers(0, 1))
    shape = (extent, 3) if axis == 0 else (3, extent)
    a, where = numpy.zeros(shape), rng.integers(-extent, extent, count)
    values = rng.random((count, 3) if axis == 0 else (3, count))
    x = gpuxp.asarray(a)
    key = (slice(None),) * axis
    a[(*key, where)] = values
    x[(*key, gpuxp.asarray(where))] = gpuxp.asarray(values)
    assert numpy.array_equal(numpy.asarray(x), a)


def test_the_last_of_several_values_stays(on: str) -> None:
    with _policy(on):
        _last_value()


# What it takes


def test_indices_are_tested_by_one_small_read(on: str) -> None:
    runtime = gpuxp.asarray(0)._runtime
    reads = 0 if runtime.host_visible else 1
    x, i = gpuxp.arange(100_000.0), gpuxp.arange(50_000)
    with _policy(on):
        before = runtime.stats()
        y = x[i] * 2
        after = runtime.stats()
        if _offers(on):
            assert after["host_reads"] - before["host_reads"] == reads
            assert after["host_writes"] == before["host_writes"]
        z = x[[1, 2, 3]] + 1  # the host knows these indices
        assert runtime.stats()["host_reads"] == after["host_reads"]
        assert (float(y[-1]), float(z[2])) == (99998.0, 4.0)


@pytest.mark.parametrize("bad", [-101, 100, 2**40])
def test_an_index_out_of_bounds_raises_at_the_call_and_changes_nothing(on: str, bad: int) -> None:
    x = gpuxp.arange(100)
    with pytest.raises(IndexError, match=rf"index {bad} is out of bounds for axis 0 with size 100"):
        x[gpuxp.asarray([0, bad])]
    with pytest.raises(IndexError, match=rf"index {bad} is out of bounds for axis 0 with size 100"):
        x[gpuxp.asarray([0, bad])] = 7
    assert numpy.array_equal(numpy.asarray(x), numpy.arange(100))


def test_a_long_chain_of_reads_and_writes(on: str) -> None:
    rng = numpy.random.default_rng(1)
    a, b = rng.integers(0, 50, 400), rng.integers(0, 50, (20, 20))
    x, y = gpuxp.asarray(a), gpuxp.asarray(b)
    for _, k in itertools.product(range(3), range(4)):
        a[a % 7 == k] += a[a % 7 == k][::-1]
        x[x % 7 == k] += x[x % 7 == k][::-1]
        b[a[:20] % 20] = b[:, a[20:40] % 20] + k
        y[x[:20] % 20] = y[:, x[20:40] % 20] + k
        a, x = numpy.cumsum(a) % 50, gpuxp.cumsum(x) % 50
    assert numpy.array_equal(numpy.asarray(x), a)
    assert numpy.array_equal(numpy.asarray(y), b)


def test_only_what_needs_data_flushes(on: str) -> None:
    runtime = gpuxp.asarray(0)._runtime
    x, mask = gpuxp.arange(100_000.0), gpuxp.arange(100_000) % 3 == 0
    values = gpuxp.arange(10.0)
    before = runtime.stats()["flushes"]
    y = gpuxp.cumsum(x) + gpuxp.maximum.accumulate(x, axis=0)
    z = gpuxp.argmax(x.reshape(100, 1000), axis=1)
    w = x[[3, 1, 2]] + gpuxp.take(x, [-1], mode="wrap")
    y[[1, 2]] = 5
    gpuxp.put(y, [0], values)
    gpuxp.place(y, mask, values)
    gpuxp.putmask(y, ~mask, values)
    flushed = runtime.stats()["flushes"] - before
    assert (flushed > 0) == runtime.host_visible  # the host needs the data, a device does not
    assert (int(z[3]), float(w[0])) == (999, 100_002.0)
    want = numpy.arange(100_000) % 10.0  # what putmask gives
    third = numpy.arange(100_000) % 3 == 0
    want[third] = numpy.arange(third.sum()) % 10
    assert numpy.array_equal(numpy.asarray(y), want)
