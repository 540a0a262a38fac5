"""A tape that was run before is run again as it was: only if nothing differs that its launches depend on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp import engine, recipes, replay, runtime
from gpuxp.backends import compiled
from gpuxp.devices import runtime_of
from gpuxp.tracing import Trace

RUNTIME = runtime_of("cpu")
N = 1000
RUNS: list[int] = []  # each on numbers of its own


@pytest.fixture(autouse=True, params=["interpreter", "compiled"])
def _recorded(request: pytest.FixtureRequest) -> Iterator[None]:
    with np.configure(small=0, middling=0, tier=request.param):
        np.evaluate()
        RUNTIME.forget()
        yield


def data(xp: Any, *shape: int, dtype: str = "f8") -> Any:
    start = numpy.random.default_rng([len(RUNS), *shape]).random(shape or (N,)) * 9
    return xp.asarray(start.astype(dtype))


def _scaled(factor: float) -> Callable[[Any], Any]:
    return lambda xp: data(xp) * factor + 1


def _subtracted(left: bool) -> Callable[[Any], Any]:
    return lambda xp: data(xp) - 2.0 if left else 2.0 - data(xp)


def _shifted(own: bool) -> Callable[[Any], Any]:
    """Add a part of an array, or of another, to an array in place."""

    def run(xp: Any) -> Any:
        u, v = data(xp), data(xp)
        u[1:] += (u if own else v)[:-1]
        u[1:] += (u if own else v)[:-1]
        return u

    return run


def _part(start: int) -> Callable[[Any], Any]:
    return lambda xp: data(xp)[start : start + 500] * 2


def _rows(transposed: bool) -> Callable[[Any], Any]:
    return lambda xp: (data(xp, 30, 30).T if transposed else data(xp, 30, 30)) + data(xp, 30)


def _kept(middle: bool) -> Callable[[Any], Any]:
    """Keep the value in the middle of a computation, or only the last one."""

    def run(xp: Any) -> Any:
        x = data(xp)
        y = x * 3
        z = y + 1
        return (y, z) if middle else z

    return run


def _minus(itself: bool) -> Callable[[Any], Any]:
    def run(xp: Any) -> Any:
        x, y = data(xp), data(xp) + 1
        return (x if itself else y) - x

    return run


def _held(longer: bool) -> Callable[[Any], Any]:
    """Overwrite all that a view of an array shows: all there is, or a part."""

    def run(xp: Any) -> Any:
        x = xp.asarray(numpy.zeros(N + 100 * longer))
        xp.asarray(x[:1])
        view = x[:N]
        x += 1
        view[...] = 5
        return x

    return run


def _typed(dtype: str) -> Callable[[Any], Any]:
    return lambda xp: data(xp, dtype=dtype) + data(xp, dtype=dtype)


PAIRS = [
    (_scaled(2.0), _scaled(3.0)), (_subtracted(True), _subtracted(False)), (_shifted(True), _shifted(False)),
    (_part(0), _part(7)), (_rows(True), _rows(False)), (_kept(True), _kept(False)), (_minus(True), _minus(False)),
    (_held(False), _held(True)), (_typed("f4"), _typed("f8")), (_typed("i4"), _typed("u4")),
]  # fmt: skip


def differs(program: Callable[[Any], Any]) -> bool:
    """Whether a program's results are not NumPy's, to the bit."""
    RUNS.append(1)
    found, wanted = program(np), program(numpy)
    pairs = zip(*((r if isinstance(r, tuple) else (r,)) for r in (found, wanted)), strict=True)
    return any(f.dtype != w.dtype or not numpy.array_equal(numpy.asarray(f), w) for f, w in pairs)


@pytest.mark.parametrize("pair", PAIRS)
def test_what_looks_alike_is_told_apart(pair: Any) -> None:
    one, two = pair
    assert not any(differs(program) for program in (one, one, two, two, one, two))


def test_the_second_time_nothing_is_planned() -> None:
    def run() -> Any:
        return numpy.asarray(_shifted(True)(np))

    first, calls = run(), list[int]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "Trace", lambda *_: calls.append(1))
        assert (run() == first).all()
    assert not calls


def _key_without(
    forgets: Callable[[Any], bool], outer: Callable[[Any], bool], signed: bool = False
) -> Callable[..., Any]:
    def blind(nodes: Any, later: Any = ()) -> Any:
        for node in nodes:
            node.sign = node.sign if signed else None
        found = replay.survey(nodes, later)
        parts, *rest = found.key
        key = (tuple(p for p in parts if not forgets(p)), *(p for p in rest if not outer(p)))
        return found._replace(key=key)

    return blind


def _is_key(part: Any) -> bool:
    return isinstance(part, tuple) and len(part) == 4 and isinstance(part[1], tuple)


BLIND = {
    "signs": _key_without(lambda p: type(p) is recipes._Recipe, lambda p: False, signed=True),
    "signed buffers": _key_without(lambda p: type(p) is int, lambda p: False, signed=True),
    "geometry": _key_without(_is_key, lambda p: False),
    "buffers": _key_without(lambda p: type(p) is int, lambda p: False),
    "scalars": _key_without(lambda p: p is None, lambda p: False),
    "wanted": _key_without(lambda p: False, lambda p: type(p) is tuple),
}


@pytest.mark.parametrize("name", BLIND)
def test_whatever_the_key_forgets_shows(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "survey", BLIND[name])
    try:
        assert any(_fails(*pair) or _fails(*pair[::-1]) for pair in PAIRS)
    finally:
        RUNTIME.forget()


def _fails(*programs: Callable[[Any], Any]) -> bool:
    RUNTIME.forget()
    try:
        return any(differs(program) for program in programs)
    except Exception:
        return True


@pytest.mark.parametrize("pair", PAIRS)
def test_a_tape_is_numbered_as_its_trace_is(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def both(nodes: Any, later: Any = ()) -> Any:
        found = replay.survey(nodes, later)
        seen.append((found.buffers, Trace(nodes).buffers))
        return found

    monkeypatch.setattr(runtime, "survey", both)
    assert not any(differs(program) for program in pair)
    assert seen
    assert all(a == b for a, b in seen)


def test_settings_that_change_the_launches() -> None:
    run, counters = _scaled(2.0), RUNTIME.backend.caps.counters
    assert not differs(run)
    for settings, kernels in (({"fusion": False}, 2), ({"tile": 7}, 1), ({"verify": True}, 1)):
        before = RUNTIME.stats()["kernels"]
        with np.configure(**settings):  # type: ignore[arg-type]
            assert not differs(run)
        assert RUNTIME.stats()["kernels"] - before == kernels
    for tier, compiled_launches in (("compiled", 1), ("interpreter", 0), ("compiled", 1)):
        launched = counters["compiled_launches"]
        with np.configure(tier=tier):
            assert not differs(run)
        assert counters["compiled_launches"] - launched == compiled_launches


def test_a_failure_is_not_repeated() -> None:
    """The same tape with memory that runs out, with an operand that is lost, and then without."""

    def run(x: Any) -> Any:
        return (x * 2 + 1).reshape(20, 50).max(0) * 3

    x = data(np)
    wanted = run(data(numpy))
    assert (numpy.asarray(run(x)) == wanted).all()

    def refuse(nbytes: int) -> Any:
        raise MemoryError("none left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RUNTIME.backend, "alloc", refuse)
        lost = run(x)
        np.evaluate()
    with pytest.raises(MemoryError, match="none left"):
        numpy.asarray(lost)
    x._view.buffer.error = MemoryError("lost")
    with pytest.raises(MemoryError, match="lost"):
        numpy.asarray(run(x))
    x._view.buffer.error = None
    assert (numpy.asarray(run(x)) == wanted).all()


def test_memory_of_a_temporary_is_taken_over() -> None:
    """Temporaries between kernels share memory; what can still be seen has its own."""

    def run(xp: Any) -> Any:
        x = data(xp, 300, 300)
        kept = []
        for n in range(4):
            x = x[::-1] * 0.5 + x.max(0)
            y = x.T.copy()
            x = y[::-1] + n
            kept.append(x.max(1))
        return x, *kept

    hits = RUNTIME.backend.caps.counters
    for _ in range(3):
        before = hits["pool_hits"], RUNTIME.counters["allocations"]
        assert not differs(run)
        gc.collect()
    assert hits["pool_hits"] - before[0] < RUNTIME.counters["allocations"] - before[1]


def test_memory_of_what_an_array_holds_is_never_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    provide = engine.Engine._provide

    def watched(self: Any, buffer: Any) -> None:
        provide(self, buffer)
        given.append(id(buffer.mem))

    monkeypatch.setattr(engine.Engine, "_provide", watched)
    x = data(np, 100, 100)
    seen = numpy.asarray(x + 1)  # a view of memory that its array leaves behind
    before = seen.copy()
    for _ in range(3):
        y = x + 1
        z = (y.T.copy()[::-1] + y.max(0)).T.copy()
        assert (numpy.asarray(z) == (before.T[::-1] + before.max(0)).T).all()
        del y, z
    assert given
    assert (seen == before).all()


def test_constants_of_a_program_are_written_when_they_change() -> None:
    words: list[Any] = []
    own = compiled._words
    with np.configure(tier="compiled"), pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "_words", lambda packed: words.append(packed) or own(packed))
        for factor in (2.0, 2.0, 3.0, -0.0, 0.0, 0.0):
            assert not differs(_scaled(factor))
    assert len(words) == 5  # 2 and 1, then 3, -0, 0


def test_what_is_kept_is_bounded() -> None:
    for n in range(40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(replay, "_KEPT", 30)
            numpy.asarray(data(np, n + 1) * 2 + 1)
    assert len(RUNTIME._scripts._known) == 15
    assert RUNTIME._scripts._held == 30
    for _ in range(3):
        data(np) + 1  # nobody wants it: there is nothing to do, which is remembered too
        np.evaluate()
    assert len(RUNTIME._scripts._known) == 16
    assert RUNTIME._scripts._held == 31
    RUNTIME.forget()
    assert not RUNTIME._scripts._held
