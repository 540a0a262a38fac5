"""Whole random programs do with gpuxp what they do with NumPy: under every setting, and on every device."""

from __future__ import annotations

from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gpuxp
from tests.conftest import DEVICES, present

from .fuzz import check, check_across, report
from .programs import Options, Statement, write_program
from .running import (
    SETUPS,
    Mismatch,
    Near,
    Setup,
    compare,
    disagreement,
    failure,
    minimised,
    reference,
    shown,
    snapshot,
    unequal,
)

# Programs per run, and what they may contain: memory that NumPy cannot see is not shared, and PoCL takes its time to
# compile; `python -m tests.properties.fuzz --device opencl:0` runs more
PROGRAMS = {"reference": (300, Options()), "opencl": (60, Options(shared=False, large=0))}
OTHERS = [name for name in DEVICES if name != "cpu"]


def programs_for(device: str) -> tuple[int, Options]:
    """Return how many programs to run on a device, and their options."""
    return PROGRAMS.get(device.split(":", maxsplit=1)[0], (300, Options(shared=False)))


class Drawn:
    """Choices that Hypothesis makes, and shrinks."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1."""
        return int(self._draw(st.integers(0, n - 1)))


@st.composite
def programs(draw: Any) -> list[Statement]:
    """Random programs."""
    return write_program(Drawn(draw), Options(statements=8)).statements


@pytest.mark.parametrize("setup", SETUPS, ids=str)
@given(program=programs())
@settings(max_examples=max(settings.default.max_examples // 2, 1))
def test_drawn_programs(setup: Setup, program: list[Statement]) -> None:
    problem = failure(program, setup)
    assert problem is None, f"{setup}\n{shown(program)}\n{problem}"


@pytest.mark.parametrize("setup", SETUPS, ids=str)
def test_seeded_programs(setup: Setup) -> None:
    for seed in range(150):
        found = check(seed, setup)
        assert found is None, report(seed, setup, Options(), found)


@pytest.mark.parametrize("name", OTHERS)
def test_seeded_programs_on_other_devices(name: str) -> None:
    count, options = programs_for(present(name))
    for seed in range(count):
        setup = Setup(name, fusion=seed % 3 > 0, tape=(3, 256)[seed % 2])
        found = check(seed, setup, options)
        assert found is None, report(seed, setup, options, found)


@pytest.mark.parametrize("name", [name for name in DEVICES if ":" in name])
def test_devices_agree_with_each_other(name: str) -> None:
    count, options = programs_for(present(name))
    for seed in range(count):
        setup = Setup(fusion=seed % 3 > 0, tape=(3, 256)[seed % 2])
        found = check_across(seed, setup, ("cpu", name), options)
        assert found is None, report(seed, found[0], options, found[1])


def test_a_disagreement_between_devices_is_noticed() -> None:
    statements = [Statement("a = np.arange(3) * 0.1"), Statement("near(np.sum(a, axis=-1), 'sum', a)")]
    wanted = reference(statements)
    found = {name: compare(statements, wanted, Setup(name)) for name in ("cpu", "reference")}
    assert disagreement(statements, wanted, found) is None
    last = found["reference"][1].reads
    last[0] = Near(numpy.nextafter(last[0].value, 1), kind="sum")
    problem = disagreement(statements, wanted, found)
    assert problem is not None
    assert problem.place == 1
    assert "reference" in problem.problem


# Programs that failed once, each with the bug it found
FOUND = {
    "an empty view may begin past the end of its buffer": """
        a = np.full((4, 1), 100, 'int16')
        b = np.tril(a[:2, 1:])
        c = b[1:2, ::2]
        read(c)
    """,
    "a reduction of nothing, whose input is the real part of nothing": """
        b = np.zeros((2, 5, 3), 'complex128', order='F')[0, 4:0:-1, 0:1]
        near(np.std(b[:, 1:], axis=-1), 'std', b[:, 1:])
    """,
    "a mask that does not fit is refused": """
        c = np.ones((3, 2))
        np.copyto(c, np.zeros((3, 2)), where=(np.arange(3) != 1))
    """,
    "copies of two overlapping inputs outlive a flush between them": """
        a = np.arange(3, dtype='int8') + 2
        read(a)
        a[a != 100] = 2
        d = np.floor_divide(a[2::-2], a.T[2::-2], out=a.T[..., :-1])
        read(d)
    """,
    "one memory under two names": """
        a = np.arange(1, dtype='int32').reshape(())
        h = host(a[...])
        d = share(h)
        e = np.array([0, 2, 0, 2, 5], dtype='int16')
        np.multiply(np.bitwise_xor(100, e[-3]), a, out=d)
        read(a)
    """,
    "ravel copies what is not contiguous": """
        a = np.arange(6)[::2]
        b = a.ravel()
        b += 1
        read(a)
    """,
    "reversing a value": """
        b = np.arange(1, dtype='uint8').reshape(())
        read(np.flip(b))
    """,
    "the imaginary part of real numbers cannot be written": """
        a = np.zeros((3, 2), 'int16', order='F')
        c = a.imag
        c[1:2, 1:] *= a[0:1, 0:1]
    """,
    "limits that the dtype cannot hold": """
        read(np.clip(np.arange(5, dtype='uint8'), -2, 300))
        read(np.where(np.arange(3) < 1, np.arange(3, dtype='uint8'), -3))
        read(np.full((2,), 1j, 'int32'))
    """,
    "sums keep the memory layout, and reshape then copies or not": """
        a = np.zeros((4, 6, 5))
        b = a[1::2, 1::2, 2:5:2].T.sum(axis=1)
        c = b.reshape(-1)
        c += 1
        read(b)
    """,
    "which error comes first": """
        a = np.ones((9,), 'uint64')
        a += np.arange(0)
    """,
}


@pytest.mark.parametrize("setup", SETUPS, ids=str)
@pytest.mark.parametrize("what", FOUND)
def test_found_before(what: str, setup: Setup) -> None:
    program = [Statement(line.strip()) for line in FOUND[what].strip().splitlines()]
    compare(program, reference(program), setup)


def test_a_difference_is_noticed_and_the_program_made_short(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ["a = np.arange(5)", "b = a * 2", "c = a + 1", "read(c)", "b[1:] += c[:-1]", "read(b)", "read(a)"]
    program = [Statement(line) for line in lines]
    wrong = gpuxp.ndarray.__add__
    monkeypatch.setattr(gpuxp.ndarray, "__add__", lambda self, other: wrong(self, other) * 1.0)
    with pytest.raises(Mismatch, match="int64"):
        compare(program, reference(program), Setup())
    assert [s.text for s in minimised(program, Setup())] == ["a = np.arange(5)", "c = a + 1", "read(c)"]


@pytest.mark.parametrize(
    ("want", "got"),
    [
        (numpy.float64(1), numpy.float32(1)),
        (numpy.zeros(2), numpy.zeros((1, 2))),
        (numpy.zeros(2), numpy.array([0, numpy.nan])),
        (1, 1.0),
        ((1, 2), [1, 2]),
    ],
)
def test_reads_that_differ_in_any_way_are_noticed(want: Any, got: Any) -> None:
    assert unequal(snapshot(want), snapshot(got))
    assert not unequal(snapshot(want), snapshot(want))
