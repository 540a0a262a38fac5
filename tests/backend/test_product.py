"""Products by machine code: right on every tile, to the bit where they stand in for BLAS, and only there."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy
import pytest
import threadpoolctl
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp as np
from gpuxp.backends import product, productcode
from gpuxp.backends.choice import Choice
from gpuxp.backends.product import Form, Products
from gpuxp.blas import blas_threads
from gpuxp.codegen.llvmproduct import Tile
from gpuxp.errors import Unsupported
from gpuxp.geometry import address

Array = Any
_DTYPES = ("f4", "f8")
_EXTENTS = st.integers(2, 20) | st.sampled_from([23, 24, 25, 32, 48, 63, 64, 65, 100, 129, 250])


def matrices(
    rng: numpy.random.Generator, lead: tuple[int, ...], rows: int, columns: int, dtype: str, how: int
) -> Array:
    """Return matrices whose rows or columns lie side by side, with or without gaps."""
    if how % 2:
        return matrices(rng, lead, columns, rows, dtype, how - 1).swapaxes(-1, -2)
    wide = rng.standard_normal((*lead, rows, columns + how)).astype(dtype)
    return wide[..., how // 2 : how // 2 + columns]


def bits(x: Array) -> bytes:
    return numpy.asarray(x).tobytes()


@pytest.fixture(scope="module", autouse=True)
def _everything() -> Iterator[None]:
    """Let products of any size be tried."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "LEAST", 1)
        yield


def compiled_products() -> int:
    return np.stats()["cpu"].get("compiled_products", 0)


@pytest.mark.parametrize("tile", [(64, 8), (32, 4), (16, 8)])
@pytest.mark.parametrize("dtype", _DTYPES)
@given(data=st.data())
@settings(max_examples=60)
def test_every_tile_multiplies(tile: tuple[int, int], dtype: str, data: st.DataObject) -> None:
    """Whatever the extents, orders, blocks and parts are; nothing is written beside the result."""
    size = numpy.dtype(dtype).itemsize
    shape = Tile(tile[0] // size, tile[1])
    rows, terms, columns = (data.draw(_EXTENTS) for _ in range(3))
    items, threads = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    rng = numpy.random.default_rng(data.draw(st.integers(0, 99)))
    a = matrices(rng, (items,), rows, terms, dtype, data.draw(st.integers(0, 3)))
    b = matrices(rng, (items,), terms, columns, dtype, data.draw(st.integers(0, 3)))
    depth = data.draw(st.integers(1, terms))
    blocks = numpy.array([depth] * (terms // depth) + [terms % depth] * (terms % depth > 0))
    around = numpy.full((items, rows + 2, columns + 2), 7, dtype)
    out = around[:, 1:-1, 1:-1]
    offsets = numpy.array([[i * x.strides[0] for x in (a, b, out)] for i in range(items)])
    form = Form(numpy.dtype(dtype), rows, terms, columns, a.strides[1:], b.strides[1:], out.strides[1])
    code = productcode.compiled(numpy.dtype(dtype), shape)
    productcode.Launch(code, shape, form, offsets, blocks, 0.0, threads)(address(a), address(b), address(out))
    exact = numpy.float64 if dtype == "f4" else numpy.longdouble
    wanted = a.astype(exact) @ b.astype(exact)
    bound = numpy.finfo(dtype).eps * terms * (numpy.abs(a).astype(exact) @ numpy.abs(b).astype(exact))
    assert (numpy.abs(out - wanted) <= bound).all()
    around[:, 1:-1, 1:-1] = 7
    assert (around == 7).all()


@given(data=st.data())
@settings(max_examples=150)
def test_nobody_sees_which_code_multiplied(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(_DTYPES))
    rows, terms, columns = (data.draw(_EXTENTS) for _ in range(3))
    leads = data.draw(st.sampled_from([((), ()), ((3,), (3,)), ((), (2,)), ((2,), ()), ((2, 1), (3,)), ((1,), (2,))]))
    rng = numpy.random.default_rng(data.draw(st.integers(0, 99)))
    a = matrices(rng, leads[0], rows, terms, dtype, data.draw(st.integers(0, 3)))
    b = matrices(rng, leads[1], terms, columns, dtype, data.draw(st.integers(0, 3)))
    if data.draw(st.booleans()):
        a[..., 0, 0], b[..., -1, -1] = numpy.inf, numpy.nan
    x, y = np.asarray(a), np.asarray(b)
    with np.configure(tier="interpreter"):
        wanted = bits(x @ y)
    with np.configure(tier="compiled", small=0):
        assert bits(x @ y) == wanted
        target = np.zeros((*numpy.broadcast_shapes(*leads), rows, columns + 1), dtype=dtype)
        np.matmul(x, y, out=target[..., :-1])
        assert bits(target[..., :-1]) == wanted


@pytest.mark.parametrize("dtype", _DTYPES)
def test_the_code_is_used(dtype: str) -> None:
    """For a shape in which OpenBLAS adds in ascending order; where another BLAS does not, nothing is to be seen."""
    rng = numpy.random.default_rng(0)
    a, b = rng.random((512, 64)).astype(dtype), rng.random((64, 512)).astype(dtype)
    form = Form(numpy.dtype(dtype), 512, 64, 512, a.strides, b.strides, b.strides[0])
    try:
        productcode.prove(form, numpy.zeros((1, 3), numpy.int64), blas_threads())
    except Unsupported as reason:
        pytest.skip(f"on this machine: {reason.reason}")
    before = compiled_products()
    with np.configure(tier="compiled"):
        found = np.asarray(a) @ np.asarray(b)
        assert bits(found) == bits(a @ b)
    assert compiled_products() == before + 1
    with np.configure(tier="interpreter"):
        assert bits(np.asarray(a) @ np.asarray(b)) == bits(found)
    assert compiled_products() == before + 1


def test_other_bits_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sum in blocks that BLAS does not have is another one."""
    form = Form(numpy.dtype("f8"), 64, 60, 48, (480, 8), (384, 8), 384)
    monkeypatch.setattr(productcode, "_plans", lambda terms: iter([numpy.array([terms // 2] * 2)]))
    with pytest.raises(Unsupported, match="another order"):
        productcode.prove(form, numpy.zeros((1, 3), numpy.int64), blas_threads())


@pytest.mark.parametrize("terms", [1, 2, 127, 128, 300, 384, 385, 767, 768, 769, 5000])
def test_plans_have_all_terms(terms: int) -> None:
    plans = [tuple(p) for p in productcode._plans(terms)]
    assert plans[0] == (terms,)
    assert len(set(plans)) == len(plans)
    assert all(sum(p) == terms and min(p) > 0 for p in plans)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (numpy.ones((9, 9), "f2"), numpy.ones((9, 9), "f2")),
        (numpy.ones((9, 9), "i8"), numpy.ones((9, 9), "i8")),
        (numpy.ones((9, 9), "c16"), numpy.ones((9, 9), "c16")),
        (numpy.ones((9, 9), "f4"), numpy.ones((9, 9), "f8")),
        (numpy.ones((9, 9)), numpy.ones(9)),
        (numpy.ones((9, 1)), numpy.ones((1, 9))),
        (numpy.ones((1, 9)), numpy.ones((9, 9))),
        (numpy.ones((9, 18))[:, ::2], numpy.ones((9, 9))),
        (numpy.ones((9, 9))[::-1], numpy.ones((9, 9))),
        (numpy.broadcast_to(numpy.ones(9), (9, 9)), numpy.ones((9, 9))),
    ],
)
def test_what_is_none_of_its_own(a: Array, b: Array) -> None:
    asked = []

    def blas(out: Array) -> Array:
        asked.append(out)
        return a @ b

    with np.configure(tier="compiled"):
        assert Products(Counter()).run(a, b, None, blas).tobytes() == (a @ b).tobytes()
    assert asked == [None]


def test_a_matrix_by_itself_is_left_to_blas() -> None:
    """It does half of that, and mirrors it."""
    x = np.asarray(numpy.random.default_rng(0).random((96, 64)))
    before = compiled_products()
    with np.configure(tier="compiled"):
        assert bits(x @ x.T) == bits(numpy.asarray(x) @ numpy.asarray(x).T)
        x @ np.asarray(numpy.ones((64, 96)))
    assert compiled_products() <= before + 1


@pytest.mark.parametrize("terms", [140, 160])
def test_what_does_not_fit_is_refused(terms: int) -> None:
    """Nothing is read beside the matrices."""
    x, y = np.asarray(numpy.ones((600, 150))), np.asarray(numpy.ones((terms, 40)))
    for small in (0, 1 << 20):
        with np.configure(tier="compiled", small=small), pytest.raises(ValueError, match="mismatch"):
            np.matmul(x, y)


def test_what_is_not_aligned_is_left_to_blas() -> None:
    """NumPy copies it first, whose order is another one: of a matrix in column order its rows lie side by side."""
    rng = numpy.random.default_rng(0)
    a = numpy.ndarray((3, 206, 192), "f4", numpy.empty(3 * 206 * 192 * 4 + 1, numpy.uint8), 1)
    a[...] = rng.standard_normal(a.shape)
    left, b = a.swapaxes(-1, -2), rng.standard_normal((3, 206, 17)).astype("f4")
    assert not left.flags.aligned
    counters: Counter[str] = Counter()
    products = Products(counters)
    with np.configure(tier="compiled"):
        found = products.run(left, b, None, lambda out: numpy.matmul(left, b, out=out))
    assert found.tobytes() == numpy.matmul(left, b).tobytes()
    assert not counters["compiled_products"]


def test_other_numbers_of_threads_are_other_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """BLAS cuts sums in another way for several threads; and a proof is none of what it did for fewer."""
    asked: list[Any] = []
    number = [1]
    for module in (product, productcode):
        monkeypatch.setattr(module, "blas_threads", lambda: number[0])
    monkeypatch.setattr(product._Shape, "prove", lambda shape: asked.append(shape._threads))
    a, b, products = numpy.ones((9, 9)), numpy.ones((9, 9)), Products(Counter())
    with np.configure(tier="compiled"):
        for number[0] in (1, 2, 1, 2):
            products.run(a, b, None, lambda out: a @ b)
    assert asked == [1, 2]
    form = Form(numpy.dtype("f8"), 64, 60, 48, (480, 8), (384, 8), 384)
    with pytest.raises(Unsupported, match="another number of threads"):
        productcode.prove(form, numpy.zeros((1, 3), numpy.int64), 1)


def test_blas_says_how_many_threads_it_has() -> None:
    """And it is asked for that of the product, not only once."""
    with threadpoolctl.threadpool_limits(1, "blas"):
        assert blas_threads() in (0, 1)
    if blas_threads():
        known = [x["num_threads"] for x in threadpoolctl.threadpool_info() if x["user_api"] == "blas"]
        assert blas_threads() == max(known)


def test_what_is_used_stays_known() -> None:
    """However many other geometries there are."""
    asked: Counter[Any] = Counter()
    products = Products(Counter())
    with pytest.MonkeyPatch.context() as patch, np.configure(tier="compiled"):
        patch.setattr(product._Shape, "prove", lambda shape: asked.update([shape.result]))
        for n in range(2 * product._KEPT):
            for rows in (9, 10 + n):
                a, b = numpy.ones((rows, 9)), numpy.ones((9, 9))
                products.run(a, b, None, lambda out, a=a, b=b: a @ b)
    assert asked[9, 9] == 1
    assert len(products._known) == product._KEPT


def test_a_proof_takes_little_memory() -> None:
    """Of a long sum, no library packs all terms at once."""
    form = Form(numpy.dtype("f8"), 17, 400_000, 2, (3_200_000, 8), (16, 8), 16)
    productcode._scratch.memory = numpy.empty(0, numpy.uint8)
    with contextlib.suppress(Unsupported):
        productcode.prove(form, numpy.zeros((1, 3), numpy.int64), blas_threads())
    assert productcode._scratch.memory.nbytes <= 2 * productcode._ROOM


def test_an_interruption_leaves_scratch_memory_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = productcode._Scratch()
    scratch.of(100)

    def interrupted(memory: Array) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(productcode, "address", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scratch.of(1 << 20)
    start, begin = scratch.of(1 << 20), address(scratch.memory)
    assert begin <= start <= begin + scratch.memory.nbytes - (1 << 20)


def test_threads_multiply_at_once() -> None:
    rng = numpy.random.default_rng(1)
    a = rng.random((8, 200, 64))
    b, wanted = rng.random((64, 96)), []
    found: list[Any] = [None] * 8
    wanted = [bits(x @ b) for x in a]
    products, counters = Products(Counter()), []

    def work(n: int) -> None:
        with np.configure(tier="compiled"):
            for _ in range(50):
                found[n] = bits(products.run(a[n], b, None, lambda out: numpy.matmul(a[n], b, out=out)))
                counters.append(found[n] == wanted[n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    with np.configure(tier="compiled"):
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert len(counters) == 400
    assert all(counters)


def test_it_is_compiled_once_it_pays_and_used_while_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """In between BLAS is asked now and then, and becomes the one to ask when it is faster."""
    jobs, now, took = [], [0.0], {"ours": 1.0, "blas": 2.0}
    monkeypatch.setattr(product, "compile_later", jobs.append)
    monkeypatch.setattr(product, "perf_counter", lambda: now[0])
    a, b = numpy.ones((9, 9)), numpy.ones((9, 9))
    counters: Counter[str] = Counter()
    products = Products(counters)
    asked: list[str] = []

    def did(which: str) -> None:
        asked.append(which)
        now[0] += took[which] * product.HOT / 8

    def blas(out: Array) -> Array:
        did("blas")
        return a @ b

    def run(times: int) -> list[str]:
        asked.clear()
        for _ in range(times):
            products.run(a, b, None, blas)
        return asked

    with np.configure(tier="auto"):
        assert run(product._TURNS - 2) == ["blas"] * (product._TURNS - 2)
        assert not jobs  # a proof takes as long as some
        run(3)
        assert len(jobs) == 1
        monkeypatch.setattr(product._Shape, "prove", lambda self: lambda *addresses: did("ours"))
        jobs[0]()
        assert run(100).count("blas") in range(1, 4)
        assert counters["compiled_products"] == asked.count("ours")
        took["ours"] = 3.0
        run(100)
        assert run(200).count("ours") in range(1, 8)


def test_the_better_way_is_found_again() -> None:
    choice = Choice(True)
    took = [1.0, 2.0]
    for _ in range(40):
        way = choice.choose()
        choice.learn(way, took[way])
    assert not choice.second
    took[:] = 5.0, 2.0
    for _ in range(200):
        way = choice.choose()
        choice.learn(way, took[way])
    assert choice.second
    assert not any(choice.choose(tries=False) is False for _ in range(2000))
