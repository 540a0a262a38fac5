"""Handlers of signals, finalizers, short stacks: wherever they come in between, values stay right and locks free."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import linecache
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp.devices import runtime_of
from gpuxp.failures import poison
from gpuxp.threads import deferred_signals

_SOURCE = Path(np.__file__).parent
_FILES = {str(_SOURCE / f"{name}.py") for name in ("array", "runtime", "threads")}
BASE = numpy.random.default_rng(0).random(100)


# no signal arrives where a `with` ends, nor between a test and an append
_ATOMIC = ("with ", "self.nodes.append")


class At:
    """Calls a function before one line of what records and runs commands, the n-th that is reached."""

    def __init__(self, n: int, call: Callable[[], object]) -> None:
        self.n, self.lines, self._call = n, 0, call

    def __enter__(self) -> At:
        """Begin to count lines."""
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop counting."""
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self._line if frame.f_code.co_filename in _FILES else None

    def _line(self, frame: FrameType, event: str, arg: Any) -> Any:
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
        if event == "line" and not any(word in text for word in _ATOMIC):
            self.lines += 1
            if self.lines == self.n:
                sys.settrace(None)
                self._call()
                return None
        return self._line


def program(space: Any, x: Any) -> Iterator[Any]:
    """Change an array step by step."""
    y = x * 2 + 1
    x += y
    yield
    x[3:50] += x[2:49]
    yield
    x *= space.sqrt(y)[::-1]
    yield


def states() -> list[Any]:
    """Return what the array is like before and after each step."""
    x = BASE.copy()
    return [BASE.copy(), *(x.copy() for _ in program(numpy, x))]


def at_every_line(call: Callable[[], object], check: Callable[[At, int, Any], None]) -> int:
    """Run the program with a call before one line after the other; return about how many there are."""
    n = 1
    while True:
        x, done = np.asarray(BASE), 0
        with At(n, call) as at, contextlib.suppress(KeyboardInterrupt):
            for _ in program(np, x):
                done += 1
            numpy.asarray(x)
        if at.lines < n:
            return n
        check(at, done, x)
        n += 7  # each line is reached in several ways


def equal(a: Any, b: Any) -> bool:
    return numpy.allclose(numpy.asarray(a), b, rtol=1e-12)


def test_reading_at_any_moment() -> None:
    want, other = states()[-1], numpy.arange(7.0)
    ours = np.asarray(other)
    wrong: list[Any] = []

    def read() -> None:
        with np.configure(small=0):
            found = ours * 2
            try:
                if found.tolist() != (other * 2).tolist():
                    wrong.append(found)
            except RuntimeError:  # in the middle of a computation
                pass

    def check(at: At, done: int, x: Any) -> None:
        assert equal(x, want), at.n

    with np.configure(small=0):
        assert at_every_line(read, check) > 100
    assert not wrong


def test_ctrl_c_at_any_moment() -> None:
    possible, free = states(), []

    def check(at: At, done: int, x: Any) -> None:
        assert any(equal(x, state) for state in possible[done : done + 2]), at.n
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def look() -> None:
        free.append(runtime_of("cpu").lock.acquire(blocking=False))

    with np.configure(small=0):
        assert at_every_line(lambda: signal.raise_signal(signal.SIGINT), check) > 100
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert free == [True]
    runtime_of("cpu").lock = threading.RLock()  # the thread is gone


def test_a_handler_may_wait_for_a_thread_that_computes() -> None:
    stop, ended = threading.Event(), []

    def work() -> None:
        while not stop.is_set():
            float((np.ones(50_000) * 3)[0])

    def end(*_: object) -> None:
        stop.set()
        thread.join(timeout=20)
        ended.append(not thread.is_alive())

    before = signal.signal(signal.SIGTERM, end)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    runtime = importlib.import_module("gpuxp.runtime")
    plan = runtime.make_plan
    try:
        with pytest.MonkeyPatch.context() as patch, np.configure(small=0):
            x = np.asarray(numpy.arange(71))

            def signalled(*args: Any) -> Any:
                if threading.current_thread() is threading.main_thread():
                    os.kill(os.getpid(), signal.SIGTERM)
                return plan(*args)

            patch.setattr(runtime, "make_plan", signalled)
            assert ((x ^ 7) - x // 5 % 3).tolist() == [(k ^ 7) - k // 5 % 3 for k in range(71)]
    finally:
        signal.signal(signal.SIGTERM, before)
        stop.set()
    assert ended == [True]


class Late(Exception):
    """Raised by a handler."""


@pytest.mark.parametrize("moment", ["begins", "ends"])
def test_handlers_are_put_back_whatever_arrives(moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: object) -> None:
        raise Late

    def other(*_: object) -> None:
        pass

    threads = importlib.import_module("gpuxp.threads")
    real = threads._signal
    armed: list[int] = []

    class Signals:
        """The module, with a signal that arrives when a handler is about to be changed."""

        getsignal = staticmethod(real.getsignal)

        @staticmethod
        def signal(number: int, handler: Any) -> Any:
            if armed and real.getsignal(signal.SIGALRM) is late and (number != signal.SIGINT or moment == "ends"):
                armed.clear()
                signal.raise_signal(signal.SIGALRM)
            return real.signal(number, handler)

    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGALRM, signal.SIGTERM)}
    ours = {signal.SIGINT: signal.default_int_handler, signal.SIGALRM: late, signal.SIGTERM: other}
    monkeypatch.setattr(threads, "_signal", Signals)
    try:
        for number, handler in ours.items():
            signal.signal(number, handler)
        if moment == "begins":
            armed.append(1)
        with pytest.raises(Late), deferred_signals():
            armed.append(1)  # not reached where it has begun to
        assert not armed
        assert {n: signal.getsignal(n) for n in ours} == ours
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_stack_that_is_almost_full_loses_nothing() -> None:
    raised = set()

    def deep(frames: int, x: Any) -> float:
        return deep(frames - 1, x) if frames else float(x[0])

    def depth() -> int:
        frame, found = sys._getframe(), 0
        while frame.f_back is not None:
            frame, found = frame.f_back, found + 1
        return found

    with np.configure(small=0):
        for left in range(1, 100):
            x = np.asarray(BASE)
            for _ in program(np, x):
                pass
            try:
                deep(sys.getrecursionlimit() - depth() - left, x)
            except RecursionError:
                raised.add(left)
            assert equal(x, states()[-1]), left
    assert raised >= set(range(1, 60))
    assert 99 not in raised


def test_an_exception_from_another_thread_gives_no_wrong_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = importlib.import_module("gpuxp.runtime")
    plan, found = runtime.make_plan, []

    def interrupted(*args: Any) -> Any:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(threading.get_ident()), ctypes.py_object(SystemExit))
        return plan(*args)

    def work() -> None:
        x = np.asarray(numpy.arange(67))
        y = (x ^ 11) - x // 3 % 7
        for _ in range(2):
            try:
                found.append(y.tolist())
            except SystemExit as error:
                found.append(error)
            monkeypatch.undo()

    with np.configure(small=0):
        monkeypatch.setattr(runtime, "make_plan", interrupted)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert [type(f) for f in found] == [SystemExit] * 2


def test_a_failure_is_kept_where_there_is_no_memory_to_describe_it() -> None:
    class Unspeakable(Exception):
        def add_note(self, note: str) -> None:
            raise MemoryError

    with np.configure(small=0):
        x = np.asarray(numpy.arange(61)) + 1
        with pytest.raises(MemoryError):
            poison(list(runtime_of("cpu").nodes), Unspeakable())
        assert type(x._view.buffer.error) is Unspeakable
        np.evaluate()
