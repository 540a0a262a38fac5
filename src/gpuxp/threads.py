"""The software GPU's worker threads, NumPy calls that stay silent about floating-point events, and signals."""

from __future__ import annotations

import contextlib
import contextvars
import importlib
import os
import queue
import sys
import threading
from collections.abc import Callable
from threading import get_ident
from typing import Any, TypeVar

import numpy as np

from .config import num_threads

_signal: Any = importlib.import_module("_signal")  # what `signal` wraps in enums that cost more than a small flush
_handler_of = _signal.getsignal
_main = threading.main_thread().ident  # the thread that handles signals

T = TypeVar("T")
PARALLEL = 65536  # least elements that are worth another thread


def threads_for(elements: int, tasks: int) -> int:
    """Return how many threads share some tasks of this size together."""
    worth = elements // PARALLEL
    return min(num_threads(), tasks, worth) if worth > 1 and tasks > 1 else 1


compiling = threading.RLock()  # held by whoever imports or runs a compiler, whose own locks no child may inherit taken


idle: list[Callable[[], None]] = []  # how threads of ours that wait for work awake are sent to sleep


def leave_cores() -> None:
    """Have threads that wait awake sleep at once: a library of the host is about to need their cores."""
    for rest in idle:
        rest()


class _Quiet(threading.local):
    """A context of this thread in which NumPy neither warns nor raises on overflow, division and the like."""

    def __init__(self) -> None:
        self.context = contextvars.Context()
        self.run = self.context.run
        self.run(np.seterr, all="ignore")
        self.active = False


quietly = _Quiet()  # `quietly.run(fn, ...)` runs a C function


def quiet(fn: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call `fn` with NumPy's floating-point warnings off: a result's timing must never show, and warnings would."""
    state = quietly
    if state.active:
        return fn(*args, **kwargs)
    state.active = True
    try:
        return state.run(fn, *args, **kwargs)
    finally:
        state.active = False


def quiet_call(*call: Any) -> Any:
    """Do the same for a C function, which calls no Python: the cheapest way, for a tuple is passed on as it is."""
    try:
        return quietly.run(*call)
    except RuntimeError:  # this thread is in the context already (or the function raises it again)
        fn, *args = call
        return fn(*args)


class Pool:
    """Daemon threads that run one function together with the caller."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._threads = 0
        self._lock = threading.Lock()

    def _work(self) -> None:
        np.seterr(all="ignore")
        while True:
            self._tasks.get()()

    def _grow(self, count: int) -> int:
        """Make threads up to a number; return how many can help."""
        if sys.is_finalizing():  # daemon threads have stopped: a finalizer is on its own
            return 0
        with self._lock, contextlib.suppress(RuntimeError):  # at exit no thread can be made
            while self._threads < count:
                threading.Thread(target=self._work, name="gpuxp-worker", daemon=True).start()
                self._threads += 1
        return min(count, self._threads)

    def run(self, fn: Callable[[], None], threads: int) -> None:
        """Run `fn` on `threads` threads, the caller's among them, and raise the first error any of them met."""
        helpers = self._grow(threads - 1)
        if helpers <= 0:
            fn()
            return
        errors: list[BaseException] = []
        done = threading.Semaphore(0)

        def guarded() -> None:
            try:
                fn()
            except BaseException as error:
                errors.append(error)
            finally:
                done.release()

        for _ in range(helpers):
            self._tasks.put(guarded)
        try:
            fn()
        finally:
            for _ in range(helpers):
                done.acquire()
        if errors:
            raise errors[0]


pool = Pool()


def _after_fork() -> None:
    """Threads do not survive a fork: start with none but the one that is here."""
    global pool, _main
    pool = Pool()
    _main = threading.get_ident()


def current_pool() -> Pool:
    """Return this process's pool."""
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


# what programs handle: asking for all of them would cost more than a small flush
_NAMES = ("INT", "ALRM", "TERM", "USR1", "USR2", "HUP", "QUIT", "VTALRM", "PROF", "CHLD", "CONT", "WINCH", "IO")
_SIGNALS = tuple(number for name in _NAMES if (number := getattr(_signal, "SIG" + name, None)) is not None)


class deferred_signals:  # noqa: N801 - used as a function
    """Hold signal handlers back until a flush is in a state that can be left; gives a list of what has arrived.

    A handler is Python code: it may raise, and it may read results that are half computed.
    """

    __slots__ = ("arrived", "handlers")

    def __init__(self) -> None:
        self.arrived: list[int] = []
        self.handlers: dict[int, Any] = {}

    def __enter__(self) -> list[int]:
        """Begin to collect signals; only the main thread handles any."""
        if get_ident() == _main:
            try:
                for number in _SIGNALS:
                    handler = _handler_of(number)
                    if handler.__class__ is not int and handler is not None:  # else the system handles it
                        self.handlers[number] = handler
                        _signal.signal(number, self._note)
            except BaseException:  # of a handler that is still in its place
                self.__exit__()
                raise
        return self.arrived

    def _note(self, number: int, frame: Any) -> None:
        self.arrived.append(number)

    def __exit__(self, *_: object) -> None:
        """Put the handlers back."""
        try:
            for number, handler in self.handlers.items():
                _signal.signal(number, handler)
        except BaseException:  # of one that is back
            self.__exit__()
            raise

    def handle(self) -> None:
        """Call the handlers of what has arrived, all of them even if one raises."""
        while self.arrived:
            number = self.arrived.pop(0)
            try:
                self.handlers[number](number, sys._getframe())
            finally:
                self.handle()


def need_stack(frames: int) -> None:
    """Raise `RecursionError` now if the stack has no room for so many frames: what it cuts short would be lost."""
    try:
        sys._getframe(sys.getrecursionlimit() - frames)
    except ValueError:
        return
    raise RecursionError("maximum recursion depth exceeded: gpuxp needs some room to compute a result")
