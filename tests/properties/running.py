"""Running a program with NumPy and with gpuxp, statement by statement, and comparing everything that can be seen."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy

import gpuxp
from gpuxp import runtime, threads
from gpuxp.backends import compiled, pair, software
from gpuxp.devices import runtime_of
from gpuxp.testing import public_class

from . import guards


@dataclass
class Outcome:
    """What one statement did."""

    error: type[BaseException] | None = None
    message: str = ""
    reads: list[Any] = field(default_factory=list)
    skipped: bool = False


@dataclass(frozen=True)
class Near:
    """A value that is compared with a tolerance."""

    value: Any
    bound: Any = 0.0
    kind: str = ""


@dataclass(frozen=True)
class Setup:
    """One way to run gpuxp."""

    device: str = "cpu"
    tile: int = 65536
    fusion: bool = True
    small: int = 0
    num_threads: int = 1
    tape: int = 256
    tier: str = "interpreter"
    middling: int = 0
    large: bool = False  # as if all arrays were: kernels share a pass where two can, results go past the caches
    cut: bool = False  # a full tape runs only half of its commands, as if it repeated its beginning

    def __str__(self) -> str:
        return (f"{self.device} tile={self.tile} fusion={int(self.fusion)} small={self.small} "
                f"threads={self.num_threads} tape={self.tape} tier={self.tier}"
                + f" middling={self.middling}" * bool(self.middling)
                + " cut" * self.cut + " large" * self.large)  # fmt: skip


SETUPS = (
    Setup(),
    Setup(tile=1),
    Setup(tile=7),
    Setup(small=4096),
    Setup(fusion=False),
    Setup(tile=7, fusion=False),
    Setup(tile=7, num_threads=2),
    Setup(tile=1, fusion=False, tape=3),
    Setup(tape=3),
    Setup(tile=7, tape=3),
    Setup(small=4096, tape=3, tile=7),
    Setup(tile=1, num_threads=2, fusion=False),
    Setup(small=5, tile=1),
    Setup(small=12),
    Setup(tile=1, tape=2),
    Setup(small=12, middling=4096, tier="auto"),
    Setup(tier="compiled"),
    Setup(tier="compiled", tile=1, num_threads=2, tape=7),
    Setup(tier="compiled", num_threads=2, large=True),
    Setup(tape=6, cut=True),
    Setup(tile=7, tape=2, cut=True),
    Setup(small=5, middling=40),
    Setup(tier="compiled", small=5, middling=40, tape=7),
)


class Mismatch(AssertionError):
    """gpuxp did something that NumPy did not."""

    def __init__(self, place: int, text: str, problem: str) -> None:
        super().__init__(f"statement {place}: {text}\n    {problem}")
        self.place = place
        self.problem = problem


def snapshot(value: Any) -> Any:
    """Return what a read saw, as something that later statements cannot change."""
    if isinstance(value, (numpy.ndarray, numpy.generic, gpuxp.ndarray)):
        return numpy.array(value)
    return value


def environment(np: Any) -> dict[str, Any]:
    """Return the names that a program starts with."""
    log: list[Any] = []

    def read(value: Any) -> None:
        log.append(snapshot(value))

    def near(value: Any, kind: str, *of: Any) -> None:
        seen = snapshot(value)
        log.append(Near(seen, guards.bound(kind, seen, *of) if np is numpy else 0.0, kind))

    def evaluate() -> None:
        if np is gpuxp:
            gpuxp.evaluate()

    return {
        "np": np, "read": read, "near": near, "evaluate": evaluate, "host": numpy.asarray, "_log": log,
        "share": lambda h: np.asarray(h, copy=False), "layout": _layout,
    }  # fmt: skip


def _layout(x: Any) -> Any:
    """Return the strides that matter."""
    return tuple(s for n, s in zip(x.shape, x.strides, strict=True) if n > 1) if x.size else ()


@functools.lru_cache(maxsize=4096)
def _code(text: str, mode: str = "exec") -> Any:
    return compile(text, f"<{text}>", mode)


def perform(statement: Any, env: dict[str, Any]) -> Outcome:
    """Run a statement with NumPy; its guard decides whether it is run at all."""
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if statement.guard:
            try:
                if not eval(_code(statement.guard, "eval"), guards.RULES, env):
                    return Outcome(skipped=True)
            except Exception:
                return Outcome(skipped=True)
        return execute(statement.text, env)


def execute(text: str, env: dict[str, Any]) -> Outcome:
    """Run a statement and say what happened."""
    log = env["_log"]
    log.clear()
    try:
        exec(_code(text), env)
    except Exception as error:
        return Outcome(public_class(error), str(error), list(log))
    return Outcome(reads=list(log))


def reference(statements: Sequence[Any]) -> list[Outcome]:
    """Run a whole program with NumPy."""
    env = environment(numpy)
    return [perform(s, env) for s in statements]


@contextlib.contextmanager
def applied(setup: Setup) -> Iterator[None]:
    """Run a block under a setup; with two threads even the smallest loop uses both."""
    before, repeating = threads.PARALLEL, runtime.repeating
    limits = software._PAIRED, pair._BLOCK, pair._WORTH, compiled._STREAM
    threads.PARALLEL = 1 if setup.num_threads > 1 else before
    if setup.large:
        software._PAIRED, pair._BLOCK, pair._WORTH, compiled._STREAM = 1, 1, 0, 0
    if setup.cut:
        runtime.repeating = lambda nodes: (len(nodes) + 1) // 2
    settings = {**dataclasses.asdict(setup), "fallback": "allow"}
    del settings["cut"], settings["large"]
    try:
        with gpuxp.configure(**settings), gpuxp.device(setup.device), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            runtime_of(setup.device).flush()
            if setup.large:
                runtime_of(setup.device).forget()  # they were prepared for small arrays
            yield
    finally:
        threads.PARALLEL, runtime.repeating = before, repeating
        software._PAIRED, pair._BLOCK, pair._WORTH, compiled._STREAM = limits
        if setup.large:
            runtime_of(setup.device).forget()


def compare(statements: Sequence[Any], wanted: Sequence[Outcome], setup: Setup) -> list[Outcome]:
    """Run a program with gpuxp and return what it did; raise `Mismatch` at the first difference from NumPy."""
    found = []
    with applied(setup):
        env = environment(gpuxp)
        for place, (statement, want) in enumerate(zip(statements, wanted, strict=True)):
            found.append(want if want.skipped else execute(statement.text, env))
            problem = difference(want, found[-1])
            if problem:
                raise Mismatch(place, statement.text, problem)
    return found


def difference(want: Outcome, got: Outcome) -> str:
    """Return how two outcomes of a statement differ, or an empty string."""
    if want.error is not got.error:
        return f"{_raised('NumPy', want)}, {_raised('gpuxp', got)}"
    for expected, found in zip(want.reads, got.reads, strict=True):
        problem = unequal(expected, found)
        if problem:
            return problem
    return ""


def disagreement(
    statements: Sequence[Any], wanted: Sequence[Outcome], found: Mapping[str, Sequence[Outcome]]
) -> Mismatch | None:
    """Return the first difference between devices whose outcomes all are within NumPy's bounds, or None.

    All devices reduce in one order, so even rounded sums have the same bits on all of them.
    """
    (first, ones), *rest = found.items()
    for other, outcomes in rest:
        for place, (want, one, two) in enumerate(zip(wanted, ones, outcomes, strict=True)):
            for expected, a, b in zip(want.reads, one.reads, two.reads, strict=True):
                if isinstance(expected, Near):
                    a, b = Near(a.value, 2 * expected.bound if expected.kind == "ulp" else 0.0), b.value
                problem = unequal(a, b, (first, other))
                if problem:
                    return Mismatch(place, statements[place].text, problem)
    return None


def _raised(who: str, outcome: Outcome) -> str:
    if outcome.error is None:
        return f"{who} raised nothing"
    return f"{who} raised {outcome.error.__name__} ({outcome.message})"


def unequal(want: Any, got: Any, names: tuple[str, str] = ("NumPy", "gpuxp")) -> str:
    """Return how two reads differ, or an empty string."""
    bound, (wanted, found) = 0.0, names
    if isinstance(want, Near):
        want, bound = want.value, want.bound
        got = got.value if isinstance(got, Near) else got
    if not isinstance(want, numpy.ndarray):
        same = type(want) is type(got) and (want == got or repr(want) == repr(got))
        return "" if same else f"{wanted} has {want!r}, {found} {got!r}"
    if not isinstance(got, numpy.ndarray) or (want.dtype, want.shape) != (got.dtype, got.shape):
        return f"{wanted} has {want!r} ({want.dtype} {want.shape}), {found} {got!r}"
    if want.tobytes() == got.tobytes() or numpy.array_equal(want, got, equal_nan=want.dtype.kind in "fc"):
        return ""
    if numpy.any(bound):
        with numpy.errstate(all="ignore"):
            apart = abs(want.astype("complex128") - got)
            if ((want == got) | (numpy.isnan(want) & numpy.isnan(got)) | (apart <= bound)).all():
                return ""
    return f"{wanted} has\n{want!r}\n{found}\n{got!r}"


def failure(statements: Sequence[Any], setup: Setup) -> Mismatch | None:
    """Return how gpuxp departs from NumPy on this program, or None."""
    try:
        compare(statements, reference(statements), setup)
    except Mismatch as found:
        return found
    return None


def minimised(statements: Sequence[Any], setup: Setup) -> list[Any]:
    """Return a shorter program that fails too: statements are left out one by one while it still does."""
    kept = list(statements)
    found = failure(kept, setup)
    if found is None:
        return kept
    kept = kept[: found.place + 1]
    place = len(kept) - 2
    while place >= 0:
        shorter = kept[:place] + kept[place + 1 :]
        if failure(shorter, setup) is not None:
            kept = shorter
        place -= 1
    return kept


def shown(statements: Sequence[Any]) -> str:
    """Return a program as text that can be pasted into a file."""
    return "\n".join(f"    {s.text}" + (f"  # where {s.guard}" if s.guard else "") for s in statements)
