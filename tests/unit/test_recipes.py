"""Functions whose commands are recorded again from what the first call recorded: only what follows from geometry."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import pytest

import gpuxp as np
from gpuxp import recipes, reductions
from gpuxp.devices import runtime_of
from gpuxp.recipes import recorded

FUNCTIONS = "sum prod max min any all mean var std argmax argmin".split()
RUNNING = "cumulative_sum cumulative_prod".split()  # recorded on devices
ROWS, COLUMNS = 30, 10  # rows of a length that kernels reduce by themselves
# arrays of one shape, whose memory differs
LAYOUTS: dict[str, Callable[[Any, Any], Any]] = {
    "whole": lambda xp, x: x,
    "recorded": lambda xp, x: x * 2 + 1,
    "columns first": lambda xp, x: xp.asarray(x.T, order="C", copy=True).T,
    "part": lambda xp, x: xp.concatenate([x, x])[7 : 7 + ROWS],
    "another part": lambda xp, x: xp.concatenate([x * 3, x - 1])[11 : 11 + ROWS],
    "recorded part": lambda xp, x: (xp.concatenate([x, x]) + 1)[5 : 5 + ROWS],
    "backwards": lambda xp, x: x[::-1],
}


@pytest.fixture(autouse=True)
def _anew() -> Iterator[None]:
    recipes._series.clear()
    yield
    recipes._series.clear()


def _values(turn: int, dtype: str = "f8") -> Any:
    found = numpy.random.default_rng(turn).random((ROWS, COLUMNS)) * 2
    return found.astype(dtype)


@pytest.mark.parametrize(("small", "middling"), [(0, 0), (8, 0), (64, 4096)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_again(name: str, small: int, middling: int, device: str) -> None:
    """The second time gives what the first does, whatever the memory, and so do other axes in between."""
    settings = np.configure(small=small, middling=middling, fallback="allow")
    with settings, numpy.errstate(over="ignore"):
        for turn in range(2):
            for layout in LAYOUTS.values():
                for axis, keepdims in ((None, False), (0, False), (1, True), (-1, False)):
                    values = _values(turn, "f4")
                    x = layout(np, np.asarray(values, device=device))
                    x._runtime._alone = 0  # arrays of middling size are recorded
                    found = getattr(np, name)(x, axis=axis, keepdims=keepdims)
                    recipes._series, known = {}, recipes._series
                    wanted = getattr(np, name)(x, axis=axis, keepdims=keepdims)
                    recipes._series = known
                    like = getattr(numpy, name)(layout(numpy, values), axis=axis, keepdims=keepdims)
                    assert (found.shape, found.dtype) == (like.shape, wanted.dtype)
                    numpy.testing.assert_array_equal(numpy.asarray(found), numpy.asarray(wanted))
                    assert numpy.asarray(found).strides == numpy.asarray(wanted).strides
        assert recipes._series or middling


@pytest.mark.parametrize("name", RUNNING)
def test_running_again(name: str, device: str) -> None:
    with np.configure(small=0, middling=0, fallback="allow"):
        for turn in range(2):
            for layout in LAYOUTS.values():
                for axis, include_initial in ((0, False), (1, False), (-1, True)):
                    values = _values(turn, "i4")
                    found = getattr(np, name)(
                        layout(np, np.asarray(values, device=device)), axis=axis, include_initial=include_initial
                    )
                    like = getattr(numpy, name)(layout(numpy, values), axis=axis, include_initial=include_initial)
                    assert (found.shape, found.dtype) == (like.shape, like.dtype)
                    numpy.testing.assert_array_equal(numpy.asarray(found), like)
        assert bool(recipes._series) == (np.asarray(1, device=device)._runtime.host_visible is False)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_not_called_again(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.configure(small=0, middling=0):
        getattr(np, name)(np.asarray(_values(1)) + 1, axis=1)
        for inner in ("_reduce", "_mean", "_var", "_extreme_place"):
            monkeypatch.setattr(reductions, inner, lambda *_: pytest.fail("called again"))
        found = getattr(np, name)(np.asarray(_values(2)) + 1, axis=1)
        numpy.testing.assert_allclose(numpy.asarray(found), getattr(numpy, name)(_values(2) + 1, axis=1))


@pytest.mark.parametrize("tape", [1, 2, 3, 5])
def test_flushes_on_the_way(tape: int, device: str) -> None:
    """A tape that fills up in the middle of a series runs what is there: the rest still finds its results."""
    with np.configure(small=0, middling=0, fallback="allow"):
        for _ in range(2):
            with np.configure(tape=tape):
                np.evaluate()
                x = np.asarray(_values(3, "f4"), device=device)
                found = [(x + n).var(axis=1, keepdims=True) for n in range(3)] + [(x * n).argmin(1) for n in (1, -1)]
                for n in range(3):
                    numpy.testing.assert_allclose(found[n], (_values(3, "f4") + n).var(axis=1, keepdims=True), 1e-4)
                for n, sign in ((3, 1), (4, -1)):
                    numpy.testing.assert_array_equal(found[n], (_values(3, "f4") * sign).argmin(1))
            np.sum(np.asarray(_values(3, "f4"), device=device) + 1, axis=1)
            np.var(np.asarray(_values(3, "f4"), device=device) + 1, axis=1, keepdims=True)  # learned with a long tape
            np.argmin(np.asarray(_values(3, "f4"), device=device) + 1, axis=1)


def test_exported_memory() -> None:
    """Another library sees what it reads in step with the commands, known or not."""
    with np.configure(small=0, middling=0):
        for turn in range(3):
            x = np.asarray(_values(turn), copy=True) + 1
            seen = numpy.from_dlpack(x)
            numpy.testing.assert_array_equal(numpy.asarray(x.argmin(1)), seen.argmin(1))
            numpy.testing.assert_allclose(x.var(0), seen.var(0))


def test_numbers_stay() -> None:
    """Numbers that the commands read are kept while these are known, though no array holds them."""
    with np.configure(small=64, middling=0):
        for turn in range(20):
            values = numpy.random.default_rng(turn).random((500, COLUMNS))
            found = (np.asarray(values) + 1).argmin(1)
            gc.collect()
            del [numpy.full(COLUMNS, -7) for _ in range(50)][:]  # new memory of that size holds what was here
            numpy.testing.assert_array_equal(numpy.asarray(found), values.argmin(1))


@pytest.mark.parametrize("foreign", ["new", "reads the array", "reads another", "writes the array"])
def test_commands_of_others_are_not_learned(foreign: str) -> None:
    """What a finalizer or another thread records meanwhile is no part of a function."""
    kept: list[Any] = []
    with np.configure(small=0, middling=0):
        other = np.asarray(_values(9)) + 1

        def function() -> Any:
            if foreign == "new":
                kept.append(np.full((5, 5), 3.0))
            elif foreign == "reads the array":
                kept.append(x * 3)
            elif foreign == "reads another":
                kept.append(other * 3)
            else:
                x[...] = 2
            return reductions._reduce(np.add, x, 1, None, None, False)

        for turn in range(2):
            x = np.asarray(_values(turn)) + 1
            result = recorded(x, function, "test")
            assert len(kept) == (foreign != "writes the array") * (turn + 1)
            wanted = numpy.full(ROWS, 20.0) if foreign == "writes the array" else (_values(turn) + 1).sum(1)
            numpy.testing.assert_allclose(result, wanted)


def test_first_buffers_are_not_shared() -> None:
    """Each call has memory of its own."""
    with np.configure(small=0, middling=0):
        x = np.asarray(_values(1)) + 1
        first, second = x.sum(axis=1, keepdims=True), x.sum(axis=1, keepdims=True)
        assert first._view.buffer is not second._view.buffer
        first += 1
        numpy.testing.assert_array_equal(numpy.asarray(first), numpy.asarray(second) + 1)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_places_of_what_is_there(name: str) -> None:
    """What was computed at once on the way is of the first array's contents, and not recorded again."""
    runtime_of("cpu")._alone = 0  # arrays of middling size are recorded
    for turn in range(3):
        values = numpy.random.default_rng(turn).random((20000, 4))
        with np.configure(middling=1 << 18):  # few enough to reduce at once
            found = numpy.asarray(getattr(np, name)(np.asarray(values, device="cpu"), axis=1))
        numpy.testing.assert_array_equal(found, getattr(numpy, name)(values, axis=1))


@pytest.mark.parametrize("shape", [(), (3, 4)])
def test_spread_along_no_axis(shape: tuple[int, ...], device: str) -> None:
    """The same of a mean that was found at once, while what follows is recorded."""
    for turn in range(3):
        x = np.asarray(numpy.full(shape, turn, "i4"), device=device)
        assert not numpy.asarray(np.var(x, axis=())).any()


def test_exponents_that_are_computed(device: str) -> None:
    """Powers of integers refuse negative exponents, also those that no memory would have had to hold."""
    x = np.asarray([2, 3], device=device)
    with np.configure(small=0, middling=0), pytest.raises(ValueError, match="negative integer powers"):
        np.asarray(x ** np.negative(x)).tolist()
