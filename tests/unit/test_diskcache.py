"""The folder of compiled kernels: private, bounded, atomic, and of no harm when it is damaged."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import gpuxp as np
from gpuxp.backends import diskcache


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with np.configure(cache=str(tmp_path / "kernels")):
        yield tmp_path / "kernels"


def test_what_is_written_is_read(folder: Path) -> None:
    diskcache.write("k", b"body")
    assert diskcache.read("k") == b"body"
    assert diskcache.read("other") is None
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [p.name for p in folder.iterdir()] == ["k"]


def test_a_damaged_file_is_dropped(folder: Path) -> None:
    diskcache.write("k", b"body")
    for damage in (b"", b"x", (folder / "k").read_bytes()[:-1], (folder / "k").read_bytes() + b"!"):
        (folder / "k").write_bytes(damage)
        assert diskcache.read("k") is None
        assert not (folder / "k").exists()


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions of POSIX systems")
def test_a_folder_that_others_can_write_is_not_used(folder: Path) -> None:
    diskcache.write("k", b"body")
    folder.chmod(0o770)
    assert diskcache.read("k") is None
    folder.chmod(0o700)
    assert diskcache.read("k") == b"body"
    link = folder.parent / "link"
    link.symlink_to(folder)
    with np.configure(cache=str(link)):
        assert diskcache.read("k") is None


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with np.configure(cache=str(tmp_path / "file" / "kernels")):
        diskcache.write("k", b"body")
        assert diskcache.read("k") is None
    with np.configure(cache="off"):
        assert diskcache.folder() is None


def test_the_least_recently_used_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskcache, "LIMIT", 1000)
    monkeypatch.setattr(diskcache, "_PRUNED_TO", 750)
    for number in range(4):
        diskcache.write(f"k{number}", bytes(200))
        os.utime(folder / f"k{number}", (number, number))
    diskcache.read("k0")
    diskcache.write("k4", bytes(200))
    kept = {p.name for p in folder.iterdir()}
    assert {"k0", "k4"} <= kept
    assert "k1" not in kept
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 1000


PROGRAM = """
import sys, gpuxp as np
with np.configure(small=0):
    a = np.arange(1000.0)
    print(float((a * 2 + np.sin(a)).sum()))
counters = np.stats()["cpu"]
print(counters.get("compiled_kernels", 0), counters.get("compile_errors", 0))
"""


def run(folder: Path) -> list[str]:
    environment = {**os.environ, "GPUXP_CACHE": str(folder), "GPUXP_TIER": "compiled"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_a_second_process_takes_what_the_first_compiled(folder: Path) -> None:
    first = run(folder)
    assert int(first[1]) > 0
    files = {p: p.stat().st_ino for p in folder.iterdir()}
    assert files
    assert run(folder) == first
    assert {p: p.stat().st_ino for p in folder.iterdir()} == files  # nothing was compiled again
    for path in files:
        path.write_bytes(path.read_bytes()[: 60])
    assert run(folder) == first
    assert all(p.stat().st_size > 60 for p in files)
