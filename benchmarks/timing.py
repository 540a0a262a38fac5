"""Takes times in turn, so that a busy moment of the machine meets all sides alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import gpuxp
from gpuxp.backends.tier import settle
from gpuxp.config import num_threads
from gpuxp.devices import runtime_of
from gpuxp.threads import current_pool

from . import peers, vendors
from .case import FULL, Case, Inputs, Work
from .peers import NAMES as PEERS
from .row import OWN, Row, Spread, spreads

_BATCH_SECONDS = 0.01  # fast calls are repeated until a batch takes this long
_LEAD_SECONDS = 0.02  # of calls before those that count: the threads of the side before (OpenBLAS's, OpenMP's) still
# spin, and the caches hold its data: it takes a dozen passes over 64 MB until the last level holds the side's own
_CASE_SECONDS = 5.0  # a slow case gets fewer repeats than asked for, but five
_MOST_WARM_SECONDS = 5.0  # most time until the compiled tier has taken over
_WARM_WHOLE = 5  # a program has many kernels, and each has to become hot
_ENDS = ("compiled_kernels", "not_compiled", "compile_errors")  # counters of compiles that are over


class NoRoomError(Exception):
    """A case does not fit into the memory that is free."""


@dataclass(frozen=True)
class Options:
    """How to time."""

    device: str = "cpu"
    scale: int = FULL
    repeats: int = 15
    warm: float = 0.3  # least seconds of warming up
    peers: Sequence[str] = ()


@dataclass(frozen=True)
class Side:
    """One way to compute a case."""

    work: Work
    finish: Callable[[], None]
    timed_finish: bool = True


def _nothing() -> None:
    """Wait for nothing: NumPy and most peers are done when the call returns."""


def finish_on(device: str) -> Callable[[], None]:
    """Return a call that waits for all that was recorded, and costs next to nothing where nothing was."""
    runtime = runtime_of(device)
    wait = not runtime.host_visible

    def finish() -> None:
        if runtime.nodes:
            runtime.flush()
        if wait:
            runtime.backend.sync()

    return finish


def clock(side: Side, count: int) -> float:
    """Return the seconds that a call takes."""
    work, finish = side.work, side.finish
    if not side.timed_finish:
        return sum(_recording(work, finish) for _ in range(count)) / count
    start = time.perf_counter()
    for _ in range(count):
        result = work()  # alive until it is computed
        finish()
    del result
    return (time.perf_counter() - start) / count


def _recording(work: Work, finish: Callable[[], None]) -> float:
    """Return the seconds until everything is recorded; the results are dropped, so there is nothing to run."""
    start = time.perf_counter()
    result = work()
    spent = time.perf_counter() - start
    del result
    finish()
    return spent


def _on(np: Any, case: Case, inputs: Inputs) -> Work:
    copy = True if case.in_place else None
    moved = {k: np.asarray(v, copy=copy) if hasattr(v, "dtype") else v for k, v in inputs.items()}
    return lambda: case.run(np, **moved)


def _copy(nbytes: int) -> Work:
    """Return a copy that moves so many bytes, read and written, by the threads of the software GPU."""
    threads = num_threads()
    source = np.ones(nbytes // 2, np.uint8)
    target = np.zeros_like(source)
    pairs = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))

    def work() -> None:
        todo = list(pairs)
        current_pool().run(lambda: np.copyto(*todo.pop()), threads)

    return work


def _traffic(case: Case, inputs: Inputs) -> int:
    """Return the bytes that a case has to read and write."""
    arrays = [v for v in inputs.values() if isinstance(v, np.ndarray)]
    return sum(a.nbytes for a in arrays) + np.asarray(case.run(np, **inputs)).nbytes if case.bandwidth else 0


def sides_of(case: Case, inputs: Inputs, options: Options, traffic: int = 0) -> dict[str, Side]:
    """Return all ways to compute a case."""
    found = {
        "numpy": Side(_on(np, case, inputs), _nothing, case.flush),
        OWN: Side(_on(gpuxp, case, inputs), finish_on(options.device), case.flush),
    }
    if traffic and options.device == "cpu":
        found["copy"] = Side(_copy(traffic), _nothing)
    own_inputs = {k: v.copy() if case.in_place and isinstance(v, np.ndarray) else v for k, v in inputs.items()}
    works = peers.works(case, own_inputs, options.peers) | dict(vendors.works(options.device, case, inputs, traffic))
    return found | {name: Side(work, _nothing) for name, work in works.items()}


def _counted(device: str, *counters: str) -> list[int]:
    found = gpuxp.stats().get(device, {})
    return [found.get(counter, 0) for counter in counters]


def warm_up(side: Side, device: str, least: float) -> None:
    """Run gpuxp until the compiled tier has nothing more to take over."""
    start = time.perf_counter()
    while True:
        before, begun = _counted(device, *_ENDS), time.perf_counter()
        while time.perf_counter() - begun < least / 3:
            clock(side, 1)
        settle()
        spent = time.perf_counter() - start
        if (spent >= least and _counted(device, *_ENDS) == before) or spent >= _MOST_WARM_SECONDS:
            return


def _spreads(case: Case, sides: dict[str, Side], options: Options) -> tuple[dict[str, Spread], dict[str, Spread]]:
    """Time gpuxp beside NumPy, then beside its peers, whose threads would be there between the two otherwise."""
    others = {name: side for name, side in sides.items() if name in (OWN, *PEERS)}
    alone = {name: side for name, side in sides.items() if name not in PEERS}
    values, ratios = spreads(_samples(case, alone, options), case.per)
    if len(others) > 1:
        theirs = spreads(_samples(case, others, options), case.per)
        values, ratios = theirs[0] | values, ratios | theirs[1]
    return values, ratios


def _samples(case: Case, sides: dict[str, Side], options: Options) -> dict[str, list[float]]:
    counts, round_seconds = {}, 0.0
    for name, side in sides.items():
        clock(side, 2)
        once = clock(side, 1)
        counts[name] = max(1, round(_BATCH_SECONDS / max(once, 1e-7)))
        round_seconds += max(once, _BATCH_SECONDS) + max(once, _LEAD_SECONDS)
    samples: dict[str, list[float]] = {name: [] for name in sides}
    for round_ in range(min(options.repeats, max(5, round(_CASE_SECONDS / round_seconds)))):
        for name in list(sides)[:: -1 if round_ % 2 else 1]:  # nobody always runs after the same other
            _lead_in(sides[name])
            samples[name].append(clock(sides[name], counts[name]))
    return samples


def _lead_in(side: Side) -> None:
    """Run a side until the one before it has left the machine."""
    start = time.perf_counter()
    while time.perf_counter() - start < _LEAD_SECONDS:
        clock(side, 1)


def _require_memory(case: Case) -> None:
    """Raise if a large case would not fit: two inputs, a result and NumPy's temporaries, and gpuxp's own result."""
    needed = 8 * 8 * case.elements
    free = _free_memory()
    if needed > free:
        raise NoRoomError(f"needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} are free")


def _free_memory() -> int:
    try:
        with open("/proc/meminfo") as lines:
            return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return 1 << 62  # unknown: try


def measure(case: Case, options: Options) -> Row:
    """Time one case."""
    _require_memory(case)
    with np.errstate(all="ignore"), gpuxp.device(options.device), gpuxp.configure(fallback="allow", **case.settings):
        inputs = case.prepare(case.sizes[options.scale])
        traffic = _traffic(case, inputs)
        sides = sides_of(case, inputs, options, traffic)
        warm_up(sides[OWN], options.device, options.warm * (_WARM_WHOLE if case.group in ("whole", "short") else 1))
        before = _counted(options.device, "kernels", "compiled_launches")
        values, ratios = _spreads(case, sides, options)
        after = _counted(options.device, "kernels", "compiled_launches")
    kernels, compiled = (now - was for now, was in zip(after, before, strict=True))
    share = compiled / kernels if kernels else None
    return Row(case.name, case.title, case.group, case.elements, "s", values, ratios, traffic, share)
