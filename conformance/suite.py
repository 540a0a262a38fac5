"""Where the official test suite comes from: a checkout that is given, or a clone of one pinned revision."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

URL = "https://github.com/data-apis/array-api-tests"
REVISION = "55fcc60179efa2680ddd6cd926ddf17b83530e2b"
SUBMODULE = "array-api"


class SuiteError(Exception):
    """There is no suite to run."""


def _git(*arguments: str, where: Path | None = None) -> str:
    command = ["git", *(["-C", str(where)] if where else []), *arguments]
    environment = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, check=True, capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        raise SuiteError("git is not installed; give a checkout with --suite") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.strip().splitlines() or ["no message"]
        raise SuiteError(f"git {arguments[0]} failed: {lines[-1]}") from None
    return done.stdout.strip()


def cache_folder() -> Path:
    """Return the private folder that clones are kept in."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpuxp"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def revision_of(suite: Path) -> str:
    """Return the commit of a checkout, marked if its files were changed; "unknown" without git."""
    try:
        changed = _git("status", "--porcelain", "--untracked-files=no", "--ignore-submodules", where=suite)
        return _git("rev-parse", "HEAD", where=suite) + ("-changed" if changed else "")
    except SuiteError:
        return "unknown"


def _clone(target: Path) -> None:
    """Clone the pinned revision and its submodule; the folder appears only when it is complete."""
    partial = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        _git("clone", "--quiet", "--no-checkout", URL, str(partial))
        _git("checkout", "--quiet", "--detach", REVISION, where=partial)
        _git("submodule", "--quiet", "update", "--init", "--depth", "1", where=partial)
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def find(given: Path | None) -> Path:
    """Return the checkout to run.

    Raises
    ------
    SuiteError
        If what was given is no checkout, or there is none and it cannot be cloned.
    """
    if given is not None:
        if not (given / "array_api_tests" / "__init__.py").is_file():
            raise SuiteError(f"{given} is not a checkout of {URL}")
        if not (given / SUBMODULE / "spec").is_dir() and not (given / SUBMODULE / "src").is_dir():
            raise SuiteError(f"{given} lacks its submodule: run git submodule update --init there")
        return given.resolve()
    target = cache_folder() / f"array-api-tests-{REVISION[:12]}"
    if not target.is_dir():
        try:
            _clone(target)
        except SuiteError as error:
            raise SuiteError(f"cannot clone {URL} ({error}); give a checkout with --suite PATH") from None
    if revision_of(target) != REVISION:
        raise SuiteError(f"{target} is not at revision {REVISION[:12]}, or was changed; delete it to clone it again")
    return target
