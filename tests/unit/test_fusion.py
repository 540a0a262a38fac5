"""What is recorded becomes as few kernels as the hazards allow, and temporaries never reach memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.devices import runtime_of
from gpuxp.testing import kernel_count

N = 1000


@pytest.fixture(autouse=True)
def _record_everything() -> Iterator[None]:
    with np.configure(small=0, tile=256):
        yield


def vectors(count: int) -> list[Any]:
    """Return evaluated arrays."""
    found = [np.asarray(numpy.random.default_rng(k).integers(-4, 5, N) * 1.0) for k in range(count)]
    np.evaluate(*found)
    return found


def grids(count: int) -> list[Any]:
    found = [np.asarray(numpy.random.default_rng(k).integers(-4, 5, (40, 30)) * 1.0) for k in range(count)]
    np.evaluate(*found)
    return found


def _chain(a: Any, b: Any, c: Any) -> Any:
    return (a * b + c) * (a - b)


def _scalars(a: Any) -> Any:
    return ((a * 2 + 1) / 3 - a) ** 2


def _in_place_slices(a: Any, b: Any) -> None:
    a[1:-1] += b[1:-1]


def _even_odd(a: Any) -> None:
    a[::2] += a[1::2]


def _overlap(a: Any) -> None:
    a[1:] += a[:-1]


def _square_sum(x: Any, m: Any) -> Any:
    return ((x - m) ** 2).sum()


def _two_reductions(x: Any) -> Any:
    y = x * 2
    return y.sum(), y.max()


def _live_intermediate(a: Any, b: Any) -> Any:
    t = a * b
    return t, t + 1


def _dead(a: Any) -> Any:
    unused = a * 3
    del unused
    return a + 1


def _overwritten(a: Any) -> Any:
    out = np.zeros(N)
    out[:] = a
    return out


def _masked(a: Any) -> None:
    a[a < 0] = 0


def _stencil(new: Any, old: Any) -> None:
    new[1:-1, 1:-1] = 0.25 * (old[:-2, 1:-1] + old[2:, 1:-1] + old[1:-1, :-2] + old[1:-1, 2:])


def _two_stencils(u: Any, v: Any) -> None:
    _stencil(u, v)
    _stencil(v, u)


def _where(a: Any, b: Any) -> Any:
    return np.where(a > b, a, b) * 2


def _softmax(x: Any) -> Any:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _created(a: Any) -> Any:
    return a + np.arange(N) * np.ones(N)


def _independent(a: Any, b: Any) -> Any:
    return (a + 1) * 2, (b - 1) / 2


def _repeated_in_place(a: Any, b: Any) -> None:
    for _ in range(10):
        a += b


def _chained_copies(a: Any) -> Any:
    return a.copy().astype(numpy.float32).astype(numpy.float64) + 1


def _long(a: Any, b: Any) -> Any:
    for _ in range(60):  # 120 results, of which one is wanted
        a = a * 0.5 + b
    return a


def _scaled_softmax(x: Any) -> Any:
    return _softmax(x * 0.5)


def _slope(x: Any, y: Any) -> Any:
    h = np.tanh(x)
    return (y - h.sum(axis=1, keepdims=True)) * (1 - h * h), h


def _all_pairs(a: Any) -> Any:
    apart = a[:100] - a[100:200, None]
    return (apart / (apart * apart + 1).sum(1)[:, None]).sum(1)


def _made_from_products(x: Any, y: Any) -> Any:
    """The value is made of one that a kernel before it stores."""
    p = np.exp(x)
    q = p * 2
    return (q / q.sum(axis=1, keepdims=True)) * (y - p.sum(axis=1, keepdims=True))


def _too_much_to_make_again(x: Any) -> Any:
    t = (((x * 2 + 1) * 3 + 2) * x - 4) * x
    return t / t.sum(axis=1, keepdims=True)


def _operand_changes(x: Any) -> Any:
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    x -= s
    return t * s


def _operand_changes_at_once(x: Any) -> Any:
    t = x * 2
    x += 1
    return t * t.sum(axis=1, keepdims=True)


def _operand_changes_between(x: Any, y: Any) -> Any:
    t = x * 2
    x += y
    t2 = t - x
    return t2 * t2.sum(axis=1, keepdims=True)


def _written_twice(x: Any) -> Any:
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    t += 1
    return t * s


def _partly_written(x: Any) -> Any:
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    t[3:] = 7
    return t * s


def _read_in_parts(x: Any) -> Any:
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    return t[1:] * s[1:], t + s


def _read_backwards(x: Any) -> Any:
    t = x - 1
    s = t.sum(axis=1, keepdims=True)
    return t[::-1] * s


def _made_again_twice(x: Any) -> Any:
    """A value made again in a kernel is part of one that the next kernel might make."""
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    u = t + s
    r = u.sum(axis=1, keepdims=True)
    return u * r, t * r


def _made_again_elsewhere(x: Any) -> Any:
    """What a kernel makes of a value that it makes again is made by the next kernel alone."""
    t = x * 2
    s = t.sum(axis=1, keepdims=True)
    u = t + s
    r = (t * s).sum(axis=1, keepdims=True)
    return u * r


# name, program, inputs, kernels, temporaries
CASES: list[tuple[Callable[..., Any], list[Any] | str, int, int]] = [
    (_chain, "vvv", 1, 0),
    (_scalars, "v", 1, 0),
    (_in_place_slices, "vv", 1, 0),
    (_even_odd, "v", 1, 0),
    (_overlap, "v", 2, 1),  # the overlapped input is copied first
    (_square_sum, "vs", 1, 0),
    (_two_reductions, "v", 1, 0),
    (_live_intermediate, "vv", 1, 0),
    (_dead, "v", 1, 0),
    (_overwritten, "v", 1, 0),
    (_masked, "v", 1, 0),
    (_stencil, "gg", 1, 0),
    (_two_stencils, "gg", 2, 0),
    (_where, "vv", 1, 0),
    (_softmax, "g", 3, 3),  # the maximum; exponentials with their sum; the quotient
    (_scaled_softmax, "g", 3, 3),  # the scaled values are made twice
    (_slope, "gg", 2, 1),  # so is the slope, from what is stored anyway
    (_all_pairs, "v", 2, 1),
    (_made_from_products, "gg", 3, 4),
    (_too_much_to_make_again, "g", 2, 2),
    (_operand_changes, "g", 2, 2),
    (_operand_changes_at_once, "g", 2, 2),
    (_operand_changes_between, "gg", 2, 2),
    (_written_twice, "g", 2, 2),
    (_partly_written, "g", 3, 2),
    (_read_in_parts, "g", 3, 2),
    (_read_backwards, "g", 2, 2),
    (_made_again_twice, "g", 3, 2),
    (_made_again_elsewhere, "g", 3, 2),
    (_created, "v", 1, 0),
    (_long, "vv", 1, 0),
    (_independent, "vv", 1, 0),
    (_repeated_in_place, "vv", 1, 0),
    (_chained_copies, "v", 1, 0),
]


def inputs(kinds: str) -> list[Any]:
    made = {"v": iter(vectors(3)), "g": iter(grids(2))}
    return [np.asarray(0.5) if k == "s" else next(made[k]) for k in kinds]


@pytest.mark.parametrize(
    ("program", "kinds", "kernels", "temporaries"), CASES, ids=lambda c: getattr(c, "__name__", None)
)
def test_counts(program: Callable[..., Any], kinds: str, kernels: int, temporaries: int) -> None:
    arrays = inputs(kinds)
    mirror = [numpy.array(a) for a in arrays]
    with kernel_count() as counts:
        result = program(*arrays)
    assert (counts.kernels, counts.temporaries) == (kernels, temporaries)
    expected = _on_numpy(program, mirror)
    found = result if isinstance(result, tuple) else (result,)
    for got, want in zip(found, expected, strict=True):
        if got is not None:
            numpy.testing.assert_allclose(numpy.asarray(got), want, rtol=1e-12)
    for array, want in zip(arrays, mirror, strict=True):
        numpy.testing.assert_allclose(numpy.asarray(array), want, rtol=1e-12)


def _on_numpy(program: Callable[..., Any], arrays: list[Any]) -> tuple[Any, ...]:
    replaced = dict(program.__globals__, np=numpy)
    for helper in (_stencil, _softmax):
        replaced[helper.__name__] = type(program)(helper.__code__, replaced)
    result = type(program)(program.__code__, replaced)(*arrays)  # type: ignore[call-arg]
    return result if isinstance(result, tuple) else (result,)


def test_fusion_can_be_turned_off() -> None:
    a, b, c = vectors(3)
    with np.configure(fusion=False), kernel_count() as counts:
        _chain(a, b, c)
    assert counts.kernels == 0  # nobody wants the result: dead code
    with np.configure(fusion=False), kernel_count() as counts:
        kept = _chain(a, b, c)
    assert (counts.kernels, counts.temporaries) == (4, 3)
    del kept


def test_nothing_runs_before_somebody_looks() -> None:
    (a,) = vectors(1)
    before = np.stats()["cpu"]["kernels"]
    b = a * 2 + 1
    assert np.stats()["cpu"]["kernels"] == before
    assert float(b[0]) == float(a[0]) * 2 + 1
    assert np.stats()["cpu"]["kernels"] > before


def test_same_structure_is_planned_and_compiled_once() -> None:
    def step(n: int, k: float) -> Any:
        x = np.asarray(numpy.arange(n) * 1.0)
        y = x[1:-1] * k + x[2:]
        y -= k
        return float(y.sum())

    step(100, 1.5)
    with kernel_count() as counts:
        for n, k in ((50, 2.5), (977, -1.0), (10_000, 3.25)):
            x = numpy.arange(n) * 1.0
            assert step(n, k) == pytest.approx((x[1:-1] * k + x[2:] - k).sum(), rel=1e-12)
    assert counts.plans == 0
    assert counts.compiles == 0
    assert counts.plan_hits >= 3


def test_a_loop_is_planned_once_wherever_the_tape_is_full() -> None:
    u, v = vectors(2)

    def run(steps: int) -> Any:
        x, y = u, v
        for _ in range(steps):
            for k in range(7):  # 42 commands, of which the tape does not hold a whole number
                f = (x * y + 0.25) * 0.5
                x = x * 0.5 + f * 0.25 + k
        return x

    with np.configure(small=0):
        run(20)
        with kernel_count() as counts:
            found = numpy.array(run(200))
        assert counts.plans <= 2
        assert counts.plan_hits >= 25
        with np.configure(tape=1):
            assert (found == numpy.array(run(200))).all()


def test_a_long_loop_needs_no_stack_and_no_memory() -> None:
    (a,) = vectors(1)
    start = numpy.array(a)
    for _ in range(2000):
        a += 1
    np.evaluate(a)
    tracemalloc.start()
    for _ in range(20_000):
        a += 1
    np.evaluate(a)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert (numpy.asarray(a) == start + 22_000).all()


def test_million_small_in_place_operations() -> None:
    with np.configure(small=16384):
        a = np.zeros(3)
        for _ in range(1_000_000):
            a += 1
        assert a.tolist() == [1e6] * 3


def test_explain_shows_commands_kernels_and_code() -> None:
    a, b = vectors(2)
    c = a * b + 1
    text = np.explain(c)
    for part in ("multiply", "add", "1 kernel", "kernel over (i0)", "float64 = load p0", "def tile"):
        assert part in text
    assert (numpy.asarray(c) == numpy.asarray(a) * numpy.asarray(b) + 1).all()


def test_a_kernel_has_only_so_many_parameters() -> None:
    """Results that are wanted, and those that another kernel reads, count; those that stay in registers do not."""
    runtime = runtime_of("cpu")
    limit = runtime.backend.caps.max_params
    for shared in (False, True):
        a, b = vectors(2)
        kept = []
        for _ in range(100):
            a = a * 0.5 + b
            kept.append(a[:500] + 1 if shared else a)  # of another shape: another kernel
        runtime.last_kernels.clear()
        np.evaluate(a, *kept)
        sizes = [len(kernel.params) for kernel in runtime.last_kernels]
        assert len(sizes) > 1
        assert max(sizes) <= limit
        assert max(sizes) > limit // 2


def test_what_is_known_of_results_is_no_more_than_what_numpy_says() -> None:
    """Recipes are found again by geometry: other layouts, dtypes and scalars have their own."""
    a, b = numpy.arange(12.0).reshape(3, 4), numpy.arange(12, dtype="u1").reshape(3, 4)
    operands: list[tuple[Any, Any]] = [
        (a, a), (a, a.copy("F")), (a.copy("F"), a.copy("F")), (a.T, a.T), (a, b), (b, b), (b, 3), (b, 3.5), (b, True),
        (a, 3), (3, a), (b, 300), (300, b), (b[:, :1], 2), (a[0], a[0]), (a[:, 0], a[:, 0]), (a[:0], a[:0]),
    ]  # fmt: skip
    ours = [[np.asarray(p) if isinstance(p, numpy.ndarray) else p for p in pair] for pair in operands]
    for _ in range(3):
        for name in ("add", "less", "equal", "divide", "maximum"):
            fn = getattr(numpy, name)
            for pair, mine in zip(operands, ours, strict=True):
                try:
                    with numpy.errstate(all="ignore"):
                        wanted = fn(*pair)
                except OverflowError:
                    with pytest.raises(OverflowError):
                        getattr(np, name)(*mine)
                    continue
                found = getattr(np, name)(*mine)
                assert (found.dtype, found.shape, found.strides) == (wanted.dtype, wanted.shape, wanted.strides)
                numpy.testing.assert_array_equal(numpy.asarray(found), wanted)


def test_what_is_changed_in_place_is_not_made_again() -> None:
    start = numpy.arange(3.0)
    with np.configure(small=0, middling=0):
        u, v = np.asarray(start), np.asarray(start * 2)
        np.evaluate()
        u += v
        found = u - np.max(u, axis=-1, keepdims=True)
        del u
        assert (numpy.asarray(found) == start * 3 - 6).all()
