"""The runner of the official suite: what it counts as a success, and what it writes."""

from __future__ import annotations

import json

import pytest

from conformance import allowed, plugin, report, running, suite
from conformance.__main__ import main


def entry(name: str, outcome: str, **more: object) -> dict[str, object]:
    return {"nodeid": f"array_api_tests/test_a.py::{name}", "outcome": outcome, **more}


SKIPPED = entry("test_s", "skipped", setup={"longrepr": "('/x.py', 12, 'Skipped: flaky')"})


def summary_of(*tests: dict[str, object], revision: str = "another") -> dict[str, object]:
    return running.summarise({"tests": list(tests)}) | {"suite": {"revision": revision}}


def test_summary_counts_names_and_reasons():
    found = running.summarise({"tests": [entry("test_a", "passed"), entry("test_b", "failed"), SKIPPED]})
    assert found["counts"] == {"passed": 1, "failed": 1, "error": 0, "xfailed": 0, "xpassed": 0, "skipped": 1}
    assert found["failures"] == ["test_a.py::test_b"]
    assert found["skips"] == {"test_a.py::test_s": "flaky"}
    assert found["files"] == {"test_a.py": {"passed": 1, "failed": 1, "skipped": 1}}


@pytest.mark.parametrize("outcome", ["failed", "error", "xfailed", "xpassed"])
def test_every_outcome_but_passed_and_skipped_is_a_problem(outcome):
    found = summary_of(entry("test_a", "passed"), entry("test_b", outcome))
    assert running.problems(found, 0, whole=True) == [f"1 {outcome}"]


def test_too_few_tests_are_a_problem():
    found = summary_of(entry("test_a", "passed"), revision=suite.REVISION)
    assert running.problems(found, 0, whole=True) == ["only 1 tests ran, of 1379"]
    assert running.problems(found, 0, whole=False) == []
    assert running.problems(summary_of(), 5, whole=True) == ["only 0 tests ran, of 1"]


def test_the_exit_code_of_pytest_is_believed():
    found = summary_of(entry("test_a", "passed"))
    assert running.problems(found, 0, whole=True) == []
    assert running.problems(found, 3, whole=True) == ["pytest ended with code 3"]


def test_the_environment_chooses_device_standard_and_policy(tmp_path, monkeypatch):
    monkeypatch.setenv("ARRAY_API_TESTS_SKIP_DTYPES", "float32")
    monkeypatch.setenv("PYTEST_ADDOPTS", "-k nothing")
    made = running.environment(running.Options("opencl:0", fallback="error"), tmp_path)
    assert made["ARRAY_API_TESTS_MODULE"] == "gpuxp"
    assert made["ARRAY_API_TESTS_VERSION"] == "2025.12"
    assert made["GPUXP_DEVICE"] == "opencl:0"
    assert made["GPUXP_FALLBACK"] == "error"
    assert not {"ARRAY_API_TESTS_SKIP_DTYPES", "PYTEST_ADDOPTS"} & made.keys()


def test_lists_of_skips_and_expected_failures_are_replaced(tmp_path):
    made = running.command(running.Options("cpu"), tmp_path)
    assert f"--skips-file={tmp_path / 'none.txt'}" in made
    assert f"--xfails-file={tmp_path / 'none.txt'}" in made


def test_what_is_no_checkout_is_refused(tmp_path, capsys):
    assert main(["--suite", str(tmp_path)]) == 2
    assert "is not a checkout" in capsys.readouterr().err
    (tmp_path / "array_api_tests").mkdir()
    (tmp_path / "array_api_tests" / "__init__.py").touch()
    assert main(["--suite", str(tmp_path)]) == 2
    assert "lacks its submodule" in capsys.readouterr().err


def test_an_unknown_device_is_refused(capsys):
    assert main(["--device", "nonsense"]) == 2
    assert "this machine has cpu" in capsys.readouterr().err


def test_without_network_the_message_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(suite, "URL", str(tmp_path / "nowhere"))
    assert main([]) == 2
    assert "give a checkout with --suite PATH" in capsys.readouterr().err
    assert list((tmp_path / "gpuxp").iterdir()) == []


def test_a_changed_clone_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (suite.cache_folder() / f"array-api-tests-{suite.REVISION[:12]}").mkdir()
    with pytest.raises(suite.SuiteError, match="delete it"):
        suite.find(None)


def test_counts_of_all_processes_are_added(tmp_path):
    for name, counts, needs in (
        ("1", {"opencl:0:sort": 2}, [["sort: why", "test_a"]]),
        ("2", {"opencl:0:svd": 1, "opencl:0:sort": 3}, [["sort: why", "test_a"], ["sort: why", "test_b"]]),
    ):
        (tmp_path / f"{name}.json").write_text(json.dumps({"counts": counts, "needs": needs}))
    counts, needs = plugin.read_notes(tmp_path)
    assert counts == {"opencl:0:sort": 5, "opencl:0:svd": 1}
    assert needs == {("sort: why", "test_a"), ("sort: why", "test_b")}


def test_the_report_has_a_row_per_device(tmp_path):
    common = {
        "versions": {"gpuxp": "0.1.0", "numpy": "2.4"}, "date": "2026-01-01", "seconds": 1.5, "max_examples": 100,
        "fallback": "allow",
    }  # fmt: skip
    good = running.summarise({"tests": [entry("test_a", "passed"), SKIPPED]}) | common | {"device": "cpu"}
    bad = running.summarise({"tests": [entry("test_a", "failed")]}) | common | {"device": "opencl:0"}
    for name, result, host in (("cpu", good, {}), ("opencl_0", bad, {"opencl:0:sort": 2})):
        (tmp_path / f"{name}.json").write_text(json.dumps(result | {"host_fallbacks": host}))
    report.write(report.read_results(tmp_path), tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| `cpu` | 1 | 0 | 0 | 1 | 100 | allow |" in page
    assert "| `opencl:0` | 0 | 1 |" in page
    assert "- `test_a.py::test_s`: flaky" in page
    assert "What the host ran for `opencl:0`: sort." in page
    assert "[fallback-allowed-opencl.txt](../conformance/fallback-allowed-opencl.txt)" in page


RIGHT = ("linalg.qr: no kernel of its own", "test_a.py::test_qr")
WRONG = ("sort: no kernel of its own", "test_a.py::test_sort")


def test_the_list_of_tests_that_need_the_host(tmp_path):
    found = {
        RIGHT,
        ("mlx:cpu has no complex128", "test_a.py::test_exp[x; y # z]"),
        ("linalg.qr: other", "test_b.py::t"),
    }
    path = tmp_path / "list.txt"
    assert allowed.read(path) == set()
    allowed.write(path, "mlx:cpu", found)
    assert allowed.read(path) == found
    assert path.read_text().splitlines()[2:4] == [RIGHT[0], f"  {RIGHT[1]}"]


def test_reasons_judge_a_run_and_not_the_list():
    listed = ("mlx:cpu has no complex128", "test_a.py::test_exp")
    drawn = ("mlx:cpu has no complex128", "test_a.py::test_sin")
    assert allowed.judge({RIGHT, drawn, WRONG}, {listed, RIGHT}) == ({WRONG}, {drawn}, {listed})
    assert allowed.judge({WRONG}, {WRONG})[0] == {WRONG}  # to be listed is no excuse


@pytest.mark.parametrize(
    ("op", "reason", "kind"),
    [
        ("linalg.qr", "no kernel of its own", "LAPACK's work"),
        ("exp+add", "mlx:cpu has no complex128", "dtypes that it lacks"),
        ("exp", "float64 is not a type that OpenCL has on this device", "dtypes that it lacks"),
        ("cast+power", "power of int64 has no spelling in MLX", ""),
        ("fft.ifft", "mlx:cpu has none for complex128", "transforms in double precision"),
        ("power", "power of float32 has no spelling in MLX", ""),
        ("fft.ifft", "mlx:cpu has none for complex64", ""),
        ("exp", "mlx:cpu has no int32", ""),
        ("sort", "no kernel of its own", ""),
        ("linalg.cross", "no kernel of its own", ""),
        ("exp", "complex64 has no spelling", ""),
    ],
)
def test_what_the_host_may_do(op, reason, kind):
    assert allowed.kind_of(allowed.need_of(op, reason)) == kind


SUITE_OF_TWO = """
import gpuxp

def test_sorts():  # a test that swallows the error needs the host all the same
    try:
        gpuxp.testing_refusal("sort")
    except gpuxp.FallbackError:
        pass

def test_decomposes():
    gpuxp.testing_refusal("linalg.qr")
"""


OPTIONS_OF_THE_SUITE = """
import gpuxp
from gpuxp import fallback

gpuxp.testing_refusal = lambda op: fallback.on_host("cpu", op, "no kernel of its own")

def pytest_addoption(parser):
    for name in ("--max-examples", "--skips-file", "--xfails-file"):
        parser.addoption(name)
    parser.addoption("--disable-deadline", action="store_true")
"""


@pytest.fixture
def run_of_two(tmp_path):
    """Run a suite of two tests under the policy `error`, with the command line as a user gives it."""
    folder = tmp_path / "array_api_tests"
    folder.mkdir()
    (tmp_path / "array-api" / "spec").mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "test_two.py").write_text(SUITE_OF_TWO)
    (tmp_path / "conftest.py").write_text(OPTIONS_OF_THE_SUITE)

    def run(only):
        return main(["--device=cpu", "--fallback=error", f"--suite={tmp_path}", "--workers=1", f"--only={only}"])

    return run


def test_a_reason_that_is_not_right_fails_the_run(run_of_two, capfd):
    assert run_of_two("sorts") == 1
    shown = capfd.readouterr().out
    assert "NEEDS THE HOST and must not: test_two.py::test_sorts (sort: no kernel of its own)" in shown
    assert "FAILED, 1 tests need the host and must not" in shown


def test_a_right_reason_that_is_not_listed_is_a_note(run_of_two, capfd):
    assert run_of_two("decomposes") == 0
    shown = capfd.readouterr().out
    assert "note: needs the host, and is not in fallback-allowed-cpu.txt: test_two.py::test_decomposes" in shown
    assert "passed (1 tests" in shown


@pytest.mark.parametrize("backend", ["opencl", "mlx"])
def test_the_lists_hold_only_what_belongs_on_the_host(backend):
    listed = allowed.read(allowed.path_of(backend))
    assert listed
    assert allowed.judge(listed, listed)[0] == set()
