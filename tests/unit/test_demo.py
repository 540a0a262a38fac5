"""The demo programs match NumPy, and the runner notices when they do not."""

from __future__ import annotations

import json

import numpy as np
import pytest

import gpuxp
from gpuxp.__main__ import main
from gpuxp.demo import PROGRAMS, runner, table
from gpuxp.demo.program import Program

LOST = Program("lost", "wrong on purpose", lambda small: {"x": np.arange(5.0)},
               lambda np, x: (x + (np is gpuxp),), lambda x: "")  # fmt: skip
BROKEN = Program("broken", "raises on purpose", lambda small: {"x": np.arange(5.0)},
                 lambda np, x: (x.sum() if np is not gpuxp else np.log(x, 1, 2, 3, 4),), lambda x: "")  # fmt: skip


def test_there_are_at_least_ten_programs_with_names_of_their_own():
    names = [program.name for program in PROGRAMS]
    assert len(names) == len(set(names)) >= 10


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_program_matches_numpy(program):
    with gpuxp.configure(fallback="allow"):
        outcome = runner.run_program(program, [str(d) for d in gpuxp.devices()], small=True, repeats=1)
    assert outcome.match, {name: found.problem for name, found in outcome.devices.items()}
    assert outcome.result
    assert all(found.milliseconds > 0 for found in outcome.devices.values())


def test_programs_compute_what_they_say():
    chosen, _ = runner.choose(["monte_carlo_pi", "logistic"])
    found = {p.name: p.tell(*p.run(np, **p.prepare(True))) for p in chosen}
    assert found["monte_carlo_pi"].startswith("pi = 3.1")
    assert float(found["logistic"].split("%")[0]) > 90


@pytest.mark.parametrize("program", [LOST, BROKEN], ids=lambda program: program.name)
def test_a_wrong_program_is_reported(program, monkeypatch, capsys):
    monkeypatch.setattr("gpuxp.demo.PROGRAMS", (program,))
    assert main(["demo", "--devices", "cpu", "--repeats", "1"]) == 1
    shown = capsys.readouterr().out
    assert "NO" in shown
    assert f"{program.name} on cpu: " in shown


@pytest.mark.parametrize(
    ("want", "got", "message"),
    [
        (np.zeros(3), np.zeros(3, np.float32), "float32[3] instead of float64[3]"),
        (np.zeros(3), np.zeros((1, 3)), "float64[1, 3] instead of float64[3]"),
        (np.arange(3), np.asarray([0, 1, 1]), "1 of 3 values differ"),
        (np.ones(3), np.asarray([1, 1, 1 + 1e-6]), "off by 5e-07"),
        (np.ones(3), np.asarray([1, 1, np.nan]), "off by inf"),
        (np.asarray([1, np.inf]), np.asarray([2, np.inf]), "off by 0.5"),
        (np.asarray([1, np.inf]), np.asarray([1, -np.inf]), "off by inf"),
    ],
)
def test_difference_names_what_differs(want, got, message):
    assert message in runner.difference((want,), (got,))


@pytest.mark.parametrize("value", [[1.0, np.nan, np.inf], [True], [], 2 + 1j])
def test_equal_results_do_not_differ(value):
    value = np.asarray(value)
    assert runner.difference((value,), (value.copy(),)) == ""


def test_json_has_every_program(capsys):
    assert main("demo --devices cpu --programs life,edges --size small --repeats 1 --json".split()) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [p["name"] for p in printed["programs"]] == ["life", "edges"]
    assert all(p["match"] and p["devices"]["cpu"]["ratio"] > 0 for p in printed["programs"])


def test_a_missing_library_leaves_its_programs_out(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    programs, left_out = runner.choose([])
    assert len(programs) >= 10
    assert "pca: left out, it needs sklearn" in left_out


def test_unknown_names_are_answered_with_the_known_ones(capsys):
    assert main(["demo", "--programs", "nonsense"]) == 2
    assert "black_scholes" in capsys.readouterr().err
    assert main(["demo", "--devices", "nonsense"]) == 2
    assert "this machine has cpu" in capsys.readouterr().err


def test_plain_table_is_aligned():
    shown = table.plain("title", ("name", "ms "), [("a", "1.5"), ("longer", "10.0")])
    assert shown.splitlines() == ["title", "name      ms", "------  ----", "a        1.5", "longer  10.0"]
