"""The benchmarks time what they say, and their files can be compared and drawn."""

from __future__ import annotations

import json
import statistics

import numpy as np
import pytest

import gpuxp
from benchmarks import results, timing
from benchmarks.__main__ import main
from benchmarks.cases import WHOLE, Case, all_cases


def as_tuple(value):
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_a_case_computes_the_same_with_numpy_and_gpuxp(case):
    want, got = (as_tuple(case.make(xp, True)()) for xp in (np, gpuxp))
    for w, g in zip(want, got, strict=True):
        np.testing.assert_allclose(np.asarray(g), w, rtol=1e-5)


def test_names_are_unique():
    names = [case.name for case in all_cases(False)]
    assert len(names) == len(set(names))


def test_a_call_is_timed_until_its_result_is_there():
    n = 2_000_000
    case = Case("sin", "slow", lambda np, quick: lambda a=np.ones(n): np.sin(a) + np.cos(a))
    timed = timing.measure(case, "cpu", quick=True, repeats=3)
    assert timed.gpuxp.median > timed.numpy.median / 50
    assert timed.gpuxp.low <= timed.gpuxp.median <= timed.gpuxp.high


def test_run_json_compare(tmp_path, capsys):
    files = [tmp_path / "a.json", tmp_path / "b.json"]
    for file in files:
        assert main(["--quick", "--repeats", "3", "--case", "small", "add", "--json", str(file)]) == 0
    found = json.loads(files[0].read_text())["cases"]
    assert {"small", "add[10]"} <= found.keys()
    small = found["small"]
    assert small["ratio"] == pytest.approx(small["numpy"]["median"] / small["gpuxp"]["median"])
    capsys.readouterr()
    assert main(["--compare", *map(str, files)]) == 0
    assert capsys.readouterr().out.count("small") == 1


def test_plot(tmp_path):
    run = {"device": "cpu", "cases": {n: {"name": n, "size": s, "ratio": 2.0} for n, s in (("a", 0), ("b[10]", 10))}}
    results.plot(run, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_unknown_case(capsys):
    assert main(["--case", "nonsense"]) == 2
    assert "chain64" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "text"), [(2, "2 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.5 µs"), (1e-8, "10 ns")])
def test_times_are_shown_in_a_unit_that_suits(seconds, text):
    assert results.shown(seconds) == text


def test_quartiles():
    found = timing._quartiles([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.median, found.high) == (2, statistics.median(range(1, 6)), 4)
