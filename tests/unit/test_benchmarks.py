"""The benchmarks measure what they say, and their files can be read, compared, checked and drawn."""

from __future__ import annotations

import dataclasses
import json
import statistics

import numpy as np
import pytest

import gpuxp
from benchmarks import cases, machine, peers, plots, processes, results, tables, targets, timing, vendors
from benchmarks.__main__ import main
from benchmarks.case import FULL, TINY, Case
from benchmarks.row import Row, Spread, spreads
from gpuxp.demo.runner import difference

TINY_CASES = {case.series: case for case in cases.all_cases(TINY)}
WARM = timing.Options(scale=TINY, repeats=3, warm=0.0)


def as_arrays(value):
    return tuple(np.asarray(v) for v in (value if isinstance(value, tuple) else (value,)))


def spread(median, width=0.1):
    return Spread(median, median - width / 2, median + width / 2)


def row(name, ratio=None, group="whole", elements=0, own=1.0, **ratios):
    values = {"numpy": spread(own * (ratio or 1)), "gpuxp": spread(own)}
    found = {"numpy": spread(ratio)} if ratio else {}
    return Row(name, "title", group, elements, "s", values, found | {k: spread(v) for k, v in ratios.items()})


def run_of(*rows, **settings):
    given = {"device": "cpu", "tier": "auto", "quick": False, "peers": [], "absent": list(peers.NAMES),
             "compile_errors": 0}  # fmt: skip
    return results.Run.of(machine.facts(), given | settings, rows, {})


@pytest.mark.parametrize("case", TINY_CASES.values(), ids=TINY_CASES)
def test_every_side_of_a_case_gives_numpys_result(case):
    present = peers.installed()
    with np.errstate(all="ignore"), gpuxp.configure(**case.settings):
        sides = timing.sides_of(case, case.prepare(case.sizes[TINY]), dataclasses.replace(WARM, peers=present))
        found = {name: as_arrays(side.work()) for name, side in sides.items()}
    want = found.pop("numpy")
    for name, got in found.items():
        tolerance = 1e-3 if "f32" in case.name else None  # differences of like numbers
        assert difference(want, got, tolerance) == "", name


def test_every_peer_has_a_version_of_the_chain():
    case = TINY_CASES["chain3"]
    present = peers.installed()
    assert list(peers.works(case, case.prepare(10), present)) == present


@pytest.mark.parametrize("scale", [FULL, TINY])
def test_names_are_unique(scale):
    names = [case.name for case in cases.all_cases(scale)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("device", [d for d in gpuxp.devices() if d != "cpu"])
def test_a_vendors_versions_give_numpys_result(device):
    chosen = {name.split("[")[0] for name in cases.for_device(device, TINY)}
    seen = set()
    for case in (case for case in TINY_CASES.values() if case.series in chosen):
        inputs = case.prepare(1000)
        want = as_arrays(case.run(np, **inputs))
        for name, work in vendors.works(device, case, inputs, 0).items():
            got = work()
            assert difference(want, as_arrays(got.get() if hasattr(got, "get") else got), 1e-3) == "", (case.name, name)
            seen.add(name)
    assert seen <= set(vendors.NAMES)
    assert seen


def test_targets_are_about_cases_that_exist():
    known = {case.name for case in cases.all_cases(FULL)} | set(processes.MEASURES)
    assert set(targets.RATIOS) <= known
    assert {name for device in ("opencl:0", "mlx:cpu", "cuda:0") for name in cases.for_device(device, FULL)} <= known


def test_the_targets_of_a_device_are_its_own(capsys):
    run = run_of(row("chain3_f32", 1.0, mlx=2.0), row("add_f32[1000000]", mlx=0.5), device="mlx:cpu")
    assert not targets.check(run)
    shown = capsys.readouterr().out
    assert "add_f32[1000000] 0.50" in shown
    assert "1 hold, 1 do not" in shown


def test_choose():
    known = {"chain3": ("chain3", "whole"), "exp[10]": ("exp", "single"), "exp[20]": ("exp", "single")}
    assert cases.choose([], known) == list(known)
    assert cases.choose(["exp"], known) == ["exp[10]", "exp[20]"]
    assert cases.choose(["whole", "exp[20]"], known) == ["chain3", "exp[20]"]
    with pytest.raises(ValueError, match="nonsense"):
        cases.choose(["nonsense"], known)


def test_a_call_is_timed_until_its_result_is_there():
    sizes = (2_000_000,) * 3
    case = Case("sin", "slow", lambda n: {"a": np.ones(n)}, lambda np, a: np.sin(a) + np.cos(a), sizes)
    found = timing.measure(case, WARM)
    assert found.values["gpuxp"].median > found.values["numpy"].median / 50
    assert found.values["gpuxp"].low <= found.values["gpuxp"].median <= found.values["gpuxp"].high


@pytest.mark.parametrize(("tier", "share"), [("interpreter", 0.0), ("compiled", 1.0)])
def test_a_forced_tier_runs_every_kernel(tier, share):
    with gpuxp.configure(tier=tier, small=0):
        assert timing.measure(TINY_CASES["chain3"], WARM).compiled == share


def test_recording_alone_runs_nothing():
    found = timing.measure(TINY_CASES["record"], WARM)
    assert found.compiled is None
    assert found.values["gpuxp"].median > 0


def test_a_case_that_does_not_fit_is_refused():
    case = dataclasses.replace(TINY_CASES["grow_sum"], elements=1 << 50)
    with pytest.raises(timing.NoRoomError, match="GiB"):
        timing.measure(case, WARM)


def test_a_copy_moves_the_bytes_of_the_chain():
    found = timing.measure(TINY_CASES["chain3"], WARM)
    assert found.traffic == 4 * 8 * TINY_CASES["chain3"].sizes[TINY]
    assert "copy" in found.ratios


def test_quartiles():
    found = Spread.of([1.0, 2.0, 3.0, 4.0, 5.0])
    assert (found.low, found.median, found.high) == (2, statistics.median(range(1, 6)), 4)


def test_ratios_are_of_the_same_round():
    values, ratios = spreads({"numpy": [2.0, 20.0, 4.0], "gpuxp": [1.0, 10.0, 1.0]}, per=2)
    assert ratios["numpy"].median == 2
    assert values["numpy"].median == 2


def test_saved_runs_are_read_back(tmp_path):
    run = run_of(row("chain3", 4.5, numba=0.9), row("exp[10]", 0.5, "single", 10))
    results.save(run, tmp_path / "new" / "a.json")
    assert results.load(tmp_path / "new" / "a.json") == run


_DAMAGED = '{"format": "gpuxp benchmarks 1", "rows": {"a": {"x": 1}}}'


@pytest.mark.parametrize("text", ["", "[]", '{"cases": {}}', _DAMAGED])
def test_other_files_are_refused(tmp_path, text, capsys):
    path = tmp_path / "a.json"
    path.write_text(text)
    assert main(["--compare", str(path), str(path)]) == 2
    assert main(["--check", str(path)]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_missing_file(tmp_path, capsys):
    assert main(["--check", str(tmp_path / "none.json")]) == 2
    assert "No such file" in capsys.readouterr().err


def test_compare_shows_changes_beyond_noise(capsys):
    old = run_of(row("same", 2.0), row("noisy", 2.0), row("slower", 4.0), row("faster", own=8.0), row("gone", 1.0))
    new = run_of(row("same", 2.01), row("noisy", 2.09), row("slower", 2.0), row("faster", own=1.0))
    tables.compare(old, new)
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line}
    assert "SLOWER" in lines["slower"]
    assert lines["faster"].endswith("faster")
    assert "same" not in lines
    assert "noisy" not in lines
    assert "2 of 4 cases changed" in lines["2"]


def test_check_tells_which_targets_hold(capsys):
    good = run_of(row("chain3", 4.5, numba=0.9, jax=1.5, copy=0.8), row("record[100]", own=1e-6, group="operation"))
    assert targets.check(good)
    assert "NO" not in capsys.readouterr().out
    assert not targets.check(run_of(row("chain3", 4.5, numba=0.9, jax=0.5)))
    assert not targets.check(run_of(row("sum[100000]", 0.5, "single", 100_000)))
    assert targets.check(run_of(row("sum[1000]", 0.5, "single", 1000)))
    assert "sum[100000]" in capsys.readouterr().out


@pytest.mark.parametrize(("costs", "holds"), [((9, 4, 5), True), ((4, 5, 9), False)])
def test_growth_is_the_rise_of_a_cost(costs, holds, capsys):
    sizes = (10, 1000, 100_000)
    rows = [row(f"operations[{n}]", group="operation", elements=n, own=c) for n, c in zip(sizes, costs, strict=True)]
    assert targets.check(run_of(*rows)) == holds
    assert targets.check(run_of(*rows[:2]))  # without the largest size there is nothing to say
    capsys.readouterr()


def test_plot(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'gpuxp[bench]'")
    plots.plot(
        run_of(
            row("chain3", 4.5, numba=0.9),
            row("mask_read", 0.5),
            *(row(f"{name}[{n}]", 2.0, group, n) for name, group in
              (("exp", "single"), ("grow_exp", "growth"), ("record", "operation")) for n in (10, 100)),
        ),
        tmp_path / "plot.png",
    )  # fmt: skip
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_command(tmp_path, capsys):
    file = tmp_path / "a.json"
    arguments = ["--quick", "--repeats", "3", "--no-peers", "--json", str(file), "--only", "sort", "ten_op", "add[10]"]
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "numba" in out.splitlines()[-3]  # named as absent
    assert set(results.load(file).rows) == {"sort", "ten_op", "add[10]"}
    assert json.loads(file.read_text())["machine"]["numpy"] == np.__version__
    assert file.with_suffix(".png").exists() == plots.can_plot()
    assert main(["--compare", str(file), str(file)]) == 0
    assert "0 of 3" in capsys.readouterr().out


def test_unknown_case(capsys):
    assert main(["--only", "nonsense"]) == 2
    assert "nonsense" in capsys.readouterr().err


def test_list(capsys):
    assert main(["--list"]) == 0
    assert {"chain3", "exp[10000000]", "import"} <= {line.split()[0] for line in capsys.readouterr().out.splitlines()}


def test_measures_in_fresh_processes(tmp_path):
    assert processes.fresh("import_time", "numpy")["seconds"] > 0
    assert processes.fresh("compilers_early")["modules"] == 0
    assert abs(processes.fresh("peak", "gpuxp", "interpreter", "100000")["MB"]) < 100
    found = processes.fresh("first_calls", "gpuxp", "500000", cache=str(tmp_path / "cache"))
    assert found["compiled"] >= found["first"] > 0


def test_a_failure_in_a_fresh_process_is_told():
    with pytest.raises(RuntimeError, match="nothing_of_the_kind"):
        processes.fresh("import_time", "nothing_of_the_kind")


@pytest.mark.parametrize(("seconds", "text"), [(2, "2 s"), (0.0123, "12.3 ms"), (4.5e-6, "4.5 µs"), (1e-8, "10 ns")])
def test_times_are_shown_in_a_unit_that_suits(seconds, text):
    assert tables.shown(seconds) == text
