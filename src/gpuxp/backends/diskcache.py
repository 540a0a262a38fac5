"""A folder of compiled kernels: private, bounded, written atomically, checked when read."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import stat
import tempfile
from functools import lru_cache
from pathlib import Path

from ..config import config

LIMIT = 64 << 20  # bytes kept; the least recently used files go first
_PRUNED_TO = LIMIT * 3 // 4
_MAGIC = b"gpuxp-kernel-1\n"
_OURS = re.compile(r"[0-9a-f]{64}|\.new-.*")  # names of our files: a setting may point to a folder with others


def key_of(*parts: str) -> str:
    """Return the name under which a result for these texts is kept."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()


@lru_cache(maxsize=8)
def _folder(setting: str) -> Path | None:
    """Return the cache folder, made if need be; None where it cannot be private or is turned off."""
    if setting == "off":
        return None
    try:
        if setting == "user":
            import platformdirs

            path = Path(platformdirs.user_cache_dir("gpuxp", appauthor=False)) / "kernels"
        else:
            path = Path(setting).expanduser().absolute()
        if not path.is_absolute():  # a user without a home
            return None
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path if _is_private(path) else None
    except (OSError, RuntimeError):  # which Python raises for a home that is not there
        return None


def folder() -> Path | None:
    """Return the cache folder, or None where there is none."""
    return _folder(config.cache)


def _is_private(path: Path) -> bool:
    """Whether nobody else can write what is read and run from here."""
    if not hasattr(os, "getuid"):  # pragma: no cover - Windows: the profile folder is the user's own
        return True
    found = path.stat(follow_symlinks=False)
    shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not shared


def read(key: str) -> bytes | None:
    """Return what is kept under a key, or None if it is missing or damaged."""
    where = folder()
    if where is None:
        return None
    path = where / key
    try:
        if not _is_private(where):
            return None
        data = path.read_bytes()
    except OSError:
        return None
    with contextlib.suppress(OSError):  # on a disk that is only read
        os.utime(path)
    head = len(_MAGIC)
    body = data[head + 32 :]
    if data[:head] == _MAGIC and hashlib.sha256(body).digest() == data[head : head + 32]:
        return body
    with contextlib.suppress(OSError):
        path.unlink()
    return None


def write(key: str, body: bytes) -> None:
    """Keep a result; a cache that cannot be written is no error."""
    where = folder()
    if where is None:
        return
    try:
        handle, name = tempfile.mkstemp(dir=where, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(body).digest() + body)
            Path(name).replace(where / key)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _prune(where)
    except OSError:
        return


def _prune(where: Path) -> None:
    """Remove the files that were not used for longest, once there is too much."""
    entries = []
    for path in (p for p in where.iterdir() if _OURS.fullmatch(p.name)):
        with contextlib.suppress(OSError):
            found = path.stat()
            entries.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in entries)
    if total <= LIMIT:
        return
    for _, size, path in sorted(entries, key=lambda e: e[0]):
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
        if total <= _PRUNED_TO:
            return
