"""The software GPU's workers for compiled code: threads of Python that never come back to it.

A launch on them costs some microseconds, where `gpuxp.threads.Pool`, whose work is Python, needs the interpreter's lock
several times. Machines without POSIX threads have none: there the pool does it.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import os
import platform
import threading
from time import perf_counter

from ..codegen.llvmcrew import FUNCTIONS, RUN, SERVE, SPLIT, STATE, STOP, place_of, render_crew
from ..config import num_threads
from ..threads import PARALLEL, current_pool, idle, threads_for
from .choice import Choice
from .jit import build

_Run = ctypes.CFUNCTYPE(None, *(ctypes.c_void_p,) * 3, *(ctypes.c_int64,) * 4)
_Serve = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Code = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
_LINE = 64  # bytes of a cache line
TASKS = 4  # for each thread, so that none waits long for another
_STEPS = 3  # instructions of the kernels for which `threads_for` counts elements: a sum of two arrays
_LONG = 1 << 20  # elements x instructions that are worth waking the crew, before a job was ever measured
_WAKE = 60e-6  # seconds of a job that may be worth waking the crew, some three times what that takes
_LONGEST = 5e-3  # seconds from which it surely is


class Crew:
    """Threads that wait for launches; `state` is the memory they share, which is never freed."""

    def __init__(self) -> None:
        self._library = library = ctypes.CDLL(None)
        library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, (ctypes.c_size_t,)
        raw = library.malloc(STATE + _LINE)
        self.state = raw + -raw % _LINE
        self.reset()
        self._code = build(render_crew(platform.machine()), RUN, SPLIT, SERVE, STOP)
        self.address, self.split = self._code.address, self._code.at(SPLIT)
        self._run, self._serve, self._stop = (
            _Run(self.address), _Serve(self._code.at(SERVE)), _Serve(self._code.at(STOP))
        )  # fmt: skip
        self._ended = False
        self._leave = ctypes.c_int64.from_address(self.state + place_of("leave"))

    def reset(self) -> None:
        """Begin without workers; what points to the state stays valid."""
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        ctypes.memset(self.state, 0, STATE)
        self._library.pthread_mutex_init(ctypes.c_void_p(self.state + place_of("mutex")), None)
        self._library.pthread_cond_init(ctypes.c_void_p(self.state + place_of("cond")), None)
        for name in FUNCTIONS:
            function = ctypes.cast(getattr(self._library, name), ctypes.c_void_p)
            ctypes.c_void_p.from_address(self.state + place_of(name)).value = function.value

    def grow(self, helpers: int) -> int:
        """Make workers up to a number; return how many there are."""
        if len(self._threads) < helpers and not self._ended:
            with self._lock, contextlib.suppress(RuntimeError):  # at exit no thread can be made
                while len(self._threads) < helpers:
                    thread = threading.Thread(
                        target=self._serve, args=(self.state,), name="gpuxp-worker", daemon=True
                    )  # fmt: skip
                    thread.start()
                    self._threads.append(thread)
                    ctypes.c_int64.from_address(self.state + place_of("workers")).value += 1
        return min(helpers, len(self._threads))

    def run(self, function: int, context: int, units: int, tasks: int, threads: int, long: bool) -> None:
        """Run machine code ``function(context, low, high)`` over all units, on several threads.

        Workers that sleep are woken for what takes `long`: that takes some 20 microseconds itself.
        """
        self._run(self.state, function, context, units, tasks, self.grow(threads - 1), long)

    def leave(self) -> None:
        """Let workers that wait awake sleep at once."""
        self._leave.value = 1

    def end(self) -> None:
        """Let the workers return, and wait for them: their code must not go while they are in it."""
        self._ended = True
        self._stop(self.state)
        for thread in self._threads:
            thread.join()
        self._threads = []


_crew: Crew | None = None
_impossible = os.name != "posix"
_making = threading.Lock()


def crew() -> Crew | None:
    """Return this process's crew, or None where there can be none."""
    return _crew or _made()


def _made() -> Crew | None:
    global _crew, _impossible
    if num_threads() < 2 or _impossible:
        return None
    with _making:
        if _crew is None:
            try:
                _crew = Crew()
            except (OSError, AttributeError):  # a C library without POSIX threads
                _impossible = True
                return None
            atexit.register(_crew.end)
            idle.append(_crew.leave)
    return _crew


def _after_fork() -> None:
    """Threads do not survive a fork: start with none."""
    global _making
    _making = threading.Lock()
    if _crew is not None:
        _crew.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class Job:
    """Machine code ``function(context, low, high)``, shared by threads as far as that pays.

    Instructions and caches differ more than an estimate knows, and another library's threads may be awake on the other
    cores: runs are timed, with and without waking the crew, and what took less time is done again.
    """

    def __init__(self, code: int, elements: int, work: int) -> None:
        self._code, self._function = code, _Code(code)
        self._worth = max(elements, work // _STEPS)  # in elements, as `threads_for` counts them
        self._wakes = Choice(work >= _LONG)

    def run(self, context: int, units: int) -> None:
        """Run the code over all units."""
        threads = threads_for(self._worth, units)
        workers = crew() if threads > 1 else None
        if workers is None and threads > 1:
            self._run_in_pool(context, units, threads)
            return
        took = self._wakes.took
        tries = took[1] < _LONGEST if self._wakes.second else took[0] > _WAKE
        wakes = threads > 1 and self._wakes.choose(tries)
        begun = perf_counter()
        if workers is None:
            self._function(context, 0, units)
        else:
            workers.run(self._code, context, units, min(units, TASKS * threads), threads, wakes)
        self._wakes.learn(wakes, perf_counter() - begun)
        if took[0] > _WAKE:
            self._worth = max(self._worth, PARALLEL * num_threads())

    def _run_in_pool(self, context: int, units: int, threads: int) -> None:
        numbers, tasks = itertools.count(), min(units, TASKS * threads)

        def work() -> None:
            while (number := next(numbers)) < tasks:
                self._function(context, units * number // tasks, units * (number + 1) // tasks)

        current_pool().run(work, threads)
