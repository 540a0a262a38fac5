"""Settings: read once from ``GPUXP_*`` variables, changed with `configure`."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import UnknownDeviceError

POLICIES = ("allow", "warn", "error")
TIERS = ("auto", "interpreter", "compiled")


@dataclass
class Config:
    """All settings of the library, one attribute each.

    Every field is also an environment variable, ``GPUXP_`` plus the name in capitals, read when gpuxp is imported.
    """

    device: str = "auto"  # default device; "auto" takes a real GPU, else the software GPU
    fallback: str = "warn"  # what a device may do with an operation it lacks: allow, warn or error
    num_threads: int = 0  # threads of the software GPU and of mlx:cpu; 0 means one per core
    tile: int = 49152  # elements that the tile interpreter works on at once
    small: int = 32768  # arrays up to this size run at once instead of being recorded
    middling: int = 1 << 18  # and arrays up to this one, as long as every recorded operation is read before the next
    tape: int = 256  # recorded operations that force a flush
    tier: str = "auto"  # software GPU: kernels compiled when hot (auto), never (interpreter) or always (compiled)
    cache: str = "user"  # folder of compiled kernels; "user" means the user's cache folder, "off" none
    fusion: bool = True  # join operations into kernels
    debug: bool = False  # list every kernel with its time and bytes on stderr
    verify: bool = False  # run every kernel on the reference too, and compare


def _natural(text: str, least: int) -> int:
    value = int(text)
    if value < least:
        raise ValueError
    return value


def _boolean(text: str) -> bool:
    return {"0": False, "false": False, "off": False, "1": True, "true": True, "on": True}[text.lower()]


def _one_of(text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise ValueError
    return text


# field -> (parser, what a good value looks like)
_PARSERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "device": (str, "a device name"),
    "fallback": (lambda t: _one_of(t, POLICIES), "one of " + ", ".join(POLICIES)),
    "num_threads": (lambda t: _natural(t, 0), "an integer of 0 or more"),
    "tile": (lambda t: _natural(t, 1), "an integer of 1 or more"),
    "small": (lambda t: _natural(t, 0), "an integer of 0 or more"),
    "middling": (lambda t: _natural(t, 0), "an integer of 0 or more"),
    "tape": (lambda t: _natural(t, 1), "an integer of 1 or more"),
    "tier": (lambda t: _one_of(t, TIERS), "one of " + ", ".join(TIERS)),
    "cache": (lambda t: t or "user", "a folder, user or off"),  # empty is unset, not the working folder
    "fusion": (_boolean, "0 or 1"),
    "debug": (_boolean, "0 or 1"),
    "verify": (_boolean, "0 or 1"),
}


def _check(name: str, value: object, shown: str) -> Any:
    parse, expected = _PARSERS[name]
    try:
        return parse(str(value).strip())
    except (ValueError, KeyError):
        raise ValueError(f"{shown}={value!r} is not valid: expected {expected}") from None


def read_environment(environ: Mapping[str, str]) -> Config:
    """Build the settings from `environ`; a bad value raises `ValueError` naming its variable."""
    values = Config()
    for field in dataclasses.fields(Config):
        variable = "GPUXP_" + field.name.upper()
        if variable in environ:
            setattr(values, field.name, _check(field.name, environ[variable], variable))
    return values


config = read_environment(os.environ)


class configure:  # noqa: N801 - used as a function
    """Change settings: for good, or for the length of a ``with`` block.

    Parameters
    ----------
    **settings
        Fields of `Config`, such as ``fallback="error"`` or ``num_threads=1``.

    Examples
    --------
    >>> import gpuxp as np
    >>> with np.configure(num_threads=1):
    ...     float(np.ones(3).sum())
    3.0
    """

    def __init__(self, **settings: Any) -> None:
        for name in settings:
            if name not in _PARSERS:
                raise TypeError(f"configure: unknown setting {name!r}; the settings are {', '.join(_PARSERS)}")
        checked = {name: _check(name, value, name) for name, value in settings.items()}
        self._before = {name: getattr(config, name) for name in checked}
        for name, value in checked.items():
            setattr(config, name, value)

    def __enter__(self) -> Config:
        """Return the settings."""
        return config

    def __exit__(self, *_: object) -> None:
        """Restore what was changed."""
        for name, value in self._before.items():
            setattr(config, name, value)


@functools.lru_cache(maxsize=1)
def _cores() -> int:
    """Return how many processors this process may use; asking costs more than a small kernel."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def num_threads() -> int:
    """Return how many threads the devices that are processors use."""
    return config.num_threads or _cores()


__all__ = ["Config", "UnknownDeviceError", "config", "configure", "num_threads", "read_environment"]
