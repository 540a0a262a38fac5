"""Where MLX's compiler for the CPU may write."""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_CACHED = 2000  # compiled kernels kept on disk, of some 20 kB each


@contextlib.contextmanager
def private_compiler() -> Iterator[None]:
    """Let MLX's CPU compiler write where nobody else can: it uses predictable names in the folder for temporary files.

    Only the process's own environment is changed, and not `os.environ`: Python's temporary files stay where they are.
    """
    os.putenv("TMPDIR", compiler_folder())
    try:
        yield
    finally:
        before = os.environ.get("TMPDIR")
        if before is None:
            os.unsetenv("TMPDIR")
        else:
            os.putenv("TMPDIR", before)


@functools.cache
def compiler_folder() -> str:
    """Return a folder of our own: one that stays, or one for this process."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    folder = Path(base) / "gpuxp" / "mlx"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        if not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not stat.S_IMODE(found.st_mode) & 0o077):
            drop_old(folder)
            return str(folder)
    except OSError:  # a home that cannot be written
        pass
    made = tempfile.mkdtemp(prefix="gpuxp-mlx-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


def drop_old(folder: Path) -> None:
    """Keep the folder bounded: of too many files the older half goes, but none of the last hour."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    if len(files) > 2 * _CACHED:  # a source and a library for each kernel
        for path in sorted(files, key=lambda p: p.stat().st_mtime)[: len(files) // 2]:
            if path.stat().st_mtime < time.time() - 3600:
                path.unlink(missing_ok=True)
