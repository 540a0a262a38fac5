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
from gpuxp.config import read_environment


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
    with np.configure(cache="~gpuxp-nobody/kernels"):
        assert diskcache.folder() is None


@pytest.mark.parametrize("home", [RuntimeError("no home"), "~/.cache/gpuxp"])
def test_a_user_without_a_home_has_no_cache(home: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def folder_of(*_: object, **__: object) -> object:
        if isinstance(home, Exception):
            raise home
        return home

    monkeypatch.setattr("platformdirs.user_cache_dir", folder_of)
    monkeypatch.chdir(tmp_path)
    diskcache._folder.cache_clear()
    try:
        with np.configure(cache="user"):
            diskcache.write("k", b"body")
            assert diskcache.folder() is None
    finally:
        diskcache._folder.cache_clear()
    assert not list(tmp_path.iterdir())


def test_a_disk_that_is_only_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diskcache.write("k", b"body")

    def refused(*_: object) -> None:
        raise OSError("read-only file system")

    monkeypatch.setattr("os.utime", refused)
    assert diskcache.read("k") == b"body"


def test_the_least_recently_used_go_first(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskcache, "LIMIT", 1000)
    monkeypatch.setattr(diskcache, "_PRUNED_TO", 750)
    keys = [diskcache.key_of(str(number)) for number in range(5)]
    for number, key in enumerate(keys[:4]):
        diskcache.write(key, bytes(200))
        os.utime(folder / key, (number, number))
    diskcache.read(keys[0])
    diskcache.write(keys[4], bytes(200))
    kept = {p.name for p in folder.iterdir()}
    assert {keys[0], keys[4]} <= kept
    assert keys[1] not in kept
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 1000


def test_files_of_others_are_never_removed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diskcache, "LIMIT", 100)
    monkeypatch.setattr(diskcache, "_PRUNED_TO", 50)
    folder.mkdir(mode=0o700)
    (folder / "thesis").write_bytes(bytes(500))
    os.utime(folder / "thesis", (1, 1))
    for number in range(3):
        diskcache.write(diskcache.key_of(str(number)), bytes(60))
    assert (folder / "thesis").exists()


def test_an_empty_setting_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_environment({"GPUXP_CACHE": ""}).cache == "user"
    with np.configure(cache="here"):
        assert diskcache.folder() == tmp_path / "here"


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
        path.write_bytes(path.read_bytes()[:60])
    assert run(folder) == first
    assert all(p.stat().st_size > 60 for p in files)
