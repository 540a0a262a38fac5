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
    (tmp_path / "1.json").write_text(json.dumps({"opencl:0:sort": 2}))
    (tmp_path / "2.json").write_text(json.dumps({"opencl:0:sort": 3, "opencl:0:svd": 1}))
    assert plugin.read_counts(tmp_path) == {"opencl:0:sort": 5, "opencl:0:svd": 1}


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


def refused(name: str, *ops: str) -> dict[str, object]:
    reason = "opencl:0 cannot run it (no kernel\n of its own) and the fallback policy"
    lines = [f"E   gpuxp.errors.FallbackError: {op}: {reason}" for op in ops]
    return entry(name, "failed", call={"longrepr": "\n".join(lines)})


def test_tests_that_need_the_host_are_told_from_failures():
    found = summary_of(entry("test_a", "passed"), refused("test_b", "sort", "argsort", "sort"))
    assert found["host"] == {"test_a.py::test_b": "argsort: no kernel of its own; sort: no kernel of its own"}
    assert found["failures"] == []
    assert running.problems(found, 1, whole=True) == []
    failed = summary_of(refused("test_b", "sort"), entry("test_c", "failed", call={"longrepr": "E   assert 0"}))
    assert running.problems(failed, 1, whole=True) == ["1 failed"]


def test_the_list_of_tests_that_need_the_host(tmp_path):
    found = {"test_a.py::test_b": "sort: no kernel of its own", "test_a.py::test_a": "linalg.qr: no kernel of its own"}
    path = tmp_path / "list.txt"
    assert allowed.read(path) == {}
    allowed.write(path, "opencl:0", found)
    assert allowed.read(path) == found
    assert path.read_text().splitlines()[2].startswith("test_a.py::test_a  # linalg.qr")
    assert allowed.judge({"x": "", "y": ""}, {"y": "", "z": ""}) == (["x"], ["z"])


@pytest.mark.parametrize(
    ("reasons", "right"),
    [
        ("linalg.qr: no kernel of its own", True),
        ("exp: mlx:cpu has no complex128; linalg.eigh: no kernel of its own", True),
        ("linalg.qr: no kernel of its own; sort: no kernel of its own", False),
        ("linalg.cross: no kernel of its own", False),
        ("exp: complex64 has no spelling", False),
    ],
)
def test_what_the_host_may_do(reasons, right):
    assert allowed.is_right(reasons) is right


@pytest.mark.parametrize("backend", ["opencl", "mlx"])
def test_the_lists_hold_only_lapack_and_dtypes_that_the_device_lacks(backend):
    listed = allowed.read(allowed.path_of(backend))
    assert listed
    assert [test for test, reasons in listed.items() if not allowed.is_right(reasons)] == []
