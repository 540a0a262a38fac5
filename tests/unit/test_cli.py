"""The command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from dataclasses import fields
from pathlib import Path

import pytest

import gpuxp
from gpuxp.__main__ import main
from gpuxp.config import Config

README = Path(__file__).parents[2] / "README.md"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "gpuxp", *arguments], capture_output=True, text=True, check=False)


def test_version():
    done = run("--version")
    assert done.returncode == 0
    assert done.stdout.strip() == f"gpuxp {gpuxp.__version__}"


def test_info_names_devices_and_settings(capsys):
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "cpu (default): software GPU" in shown
    assert "GPUXP_FALLBACK=" in shown


def test_info_as_json():
    start = time.perf_counter()
    done = run("info", "--json")
    assert time.perf_counter() - start < 10  # two seconds on an idle machine
    found = json.loads(done.stdout)
    assert found["devices"]["cpu"]["dtypes"] == sorted(gpuxp.__array_namespace_info__().dtypes(device="cpu"))
    assert found["settings"].keys() == vars(gpuxp.config).keys()
    assert found["libraries"]["numpy"]


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["demo", "--size", "huge"]])
def test_bad_arguments_end_with_usage(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: gpuxp" in capsys.readouterr().err


def test_the_readme_lists_every_setting_with_its_default():
    rows = dict(re.findall(r"^\| `(GPUXP_\w+)` \| `(\w+)` \|", README.read_text(), re.MULTILINE))
    shown = {f"GPUXP_{f.name.upper()}": str(int(f.default) if f.type == "bool" else f.default) for f in fields(Config)}
    assert rows == shown
