"""Helpers for tests of programs that use gpuxp: compare with NumPy, count kernels, forbid the host."""

from __future__ import annotations

import contextlib
import functools
import inspect
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .array import host, ndarray
from .config import configure
from .convert import asarray, lowered
from .devices import runtime_of

Function = Callable[..., Any]
_COMPARED = ("actual", "x", "a")  # what the first parameter of a comparison is called


def __getattr__(name: str) -> Any:
    """Return what `numpy.testing` has under this name; its functions take gpuxp arrays."""
    import numpy.testing  # slow to import, and few programs need it

    found = getattr(numpy.testing, name, None)
    if found is None:
        raise AttributeError(f"module 'gpuxp.testing' has no attribute {name!r}")
    if inspect.isfunction(found) and next(iter(inspect.signature(found).parameters), "") in _COMPARED:
        return _on_host(found)
    return found


def _on_host(compare: Function) -> Function:
    """Return a comparison that gets our arrays as NumPy's, and our values as its scalars."""

    @functools.wraps(compare)
    def call(*args: Any, **kwargs: Any) -> Any:
        return compare(*(lowered(a) for a in args), **{k: lowered(v) for k, v in kwargs.items()})

    return call


@contextlib.contextmanager
def no_fallback() -> Iterator[None]:
    """Make every operation that would run on the host raise `FallbackError`.

    Examples
    --------
    >>> import gpuxp as np
    >>> from gpuxp.testing import no_fallback
    >>> with no_fallback():
    ...     float((np.ones(3) * 2).sum())
    6.0
    """
    with configure(fallback="error"):
        yield


@dataclass
class Counts:
    """What a device did in a block; filled when the block ends."""

    nodes: int = 0  # recorded commands
    flushes: int = 0
    kernels: int = 0  # kernels launched
    plans: int = 0  # schedules made anew
    plan_hits: int = 0  # schedules taken from the cache
    compiles: int = 0
    allocations: int = 0  # buffers given memory
    temporaries: int = 0  # those of them that no array holds
    library_calls: int = 0
    direct_calls: int = 0  # small operations run at once
    host_reads: int = 0
    host_writes: int = 0


@contextlib.contextmanager
def kernel_count(device: str | None = None) -> Iterator[Counts]:
    """Count what a device does in a ``with`` block; everything recorded in the block runs before it ends.

    Examples
    --------
    >>> import gpuxp as np
    >>> from gpuxp.testing import kernel_count
    >>> x = np.ones(100_000)
    >>> with kernel_count() as counts:
    ...     y = (x * 2 + 1) * x
    >>> counts.kernels, counts.temporaries
    (1, 0)
    """
    runtime = runtime_of(device)
    runtime.flush()
    before = runtime.stats()
    counts = Counts()
    yield counts
    runtime.flush()
    for name, value in runtime.stats().items():
        if hasattr(counts, name):
            setattr(counts, name, value - before[name])


def public_class(error: BaseException) -> type[BaseException]:
    """Return the class of an error that programs catch: the nearest one that is not private to a library."""
    public = (c for c in type(error).__mro__ if c.__module__ in ("builtins", "numpy.exceptions", "numpy.linalg"))
    found: type[BaseException] = next(public)
    return found


def to_numpy(value: Any) -> Any:
    """Return a result with its arrays, and NumPy's scalars, as NumPy arrays."""
    if type(value) is ndarray:
        return np.array(host(value))
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        return [to_numpy(v) for v in value]
    return value


def to_gpuxp(value: Any, device: str | None = None) -> Any:
    """Return an argument with its NumPy arrays as gpuxp arrays of the same memory layout."""
    if isinstance(value, np.ndarray):
        return asarray(value, order="K", device=device)
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(to_gpuxp(v, device) for v in value)
    return value


def compare(want: Any, got: Any, ulp: float = 0, atol: float = 0) -> str:
    """Return how two results differ, or an empty string: in kind, dtype, shape or value.

    Parameters
    ----------
    want, got
        Results, in NumPy's form (see `to_numpy`).
    ulp
        Distance allowed, in units in the last place of `want`.
    atol
        Absolute distance allowed.
    """
    if isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            return f"{len(got)} results, not {len(want)}"
        return next(filter(None, (compare(w, g, ulp, atol) for w, g in zip(want, got, strict=True))), "")
    if not isinstance(want, np.ndarray):
        if isinstance(got, np.ndarray) or (want != got and not (want != want and got != got)):
            return f"{got!r}, not {want!r}"
        return ""
    if not isinstance(got, np.ndarray):
        return f"{got!r} is no array, expected {want!r}"
    if want.dtype != got.dtype:
        return f"dtype {got.dtype}, not {want.dtype}"
    if want.shape != got.shape:
        return f"shape {got.shape}, not {want.shape}"
    return _unequal_values(want, got, ulp, atol)


def _unequal_values(want: Any, got: Any, ulp: float, atol: float) -> str:
    if want.dtype.kind == "c":
        parts = (_unequal_values(w, g, ulp, atol) for w, g in ((want.real, got.real), (want.imag, got.imag)))
        return next(filter(None, parts), "")
    same = want == got
    if want.dtype.kind == "f":
        with np.errstate(all="ignore"):
            same |= np.isnan(want) & np.isnan(got)
            if ulp or atol:
                apart = abs(want.astype(np.float64) - got.astype(np.float64))
                same |= apart <= ulp * np.spacing(abs(want)).astype(np.float64) + atol
    if same.all():
        return ""
    place = np.unravel_index(int(np.argmin(same)), same.shape)
    where = tuple(int(p) for p in place)
    return f"{got[place]!r} at {where}, not {want[place]!r} ({int((~same).sum())} of {same.size} differ)"


def outcome(fn: Function, xp: Any, args: Sequence[Any]) -> tuple[Any, BaseException | None]:
    """Call ``fn(xp, *args)``; return its result in NumPy's form, or the error it raised."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return to_numpy(fn(xp, *args)), None
        except Exception as error:
            return None, error


def assert_matches(fn: Function, *args: Any, device: str | None = None, ulp: float = 0, atol: float = 0) -> None:
    """Check that ``fn(xp, *args)`` does with gpuxp what it does with NumPy: values, dtypes, shapes, class of the error.

    Parameters
    ----------
    fn
        Takes the namespace and the arguments, and returns an array, a scalar, or a sequence of these.
    *args
        NumPy arrays and other values; arrays are handed over as arrays of the namespace.
    device
        Where gpuxp runs.
    ulp, atol
        Allowed distance from NumPy; none by default.

    Examples
    --------
    >>> import numpy
    >>> from gpuxp.testing import assert_matches
    >>> assert_matches(lambda xp, a: xp.cumsum(a * 2, axis=0), numpy.arange(6).reshape(2, 3))
    """
    import gpuxp  # the package that this module is a part of

    plain = [np.array(a, order="K") if isinstance(a, np.ndarray) else a for a in args]
    want, refused = outcome(fn, np, plain)
    with gpuxp.device(device or runtime_of().name):
        got, failed = outcome(fn, gpuxp, [to_gpuxp(a, device) for a in args])
    if refused is not None or failed is not None:
        classes = [None if e is None else public_class(e) for e in (refused, failed)]
        if classes[0] is not classes[1]:
            raise AssertionError(f"NumPy raised {refused!r}, gpuxp raised {failed!r}") from (failed or refused)
        return
    problem = compare(want, got, ulp, atol)
    if problem:
        raise AssertionError(f"gpuxp gives {problem}")


__all__ = [
    "Counts", "assert_matches", "compare", "kernel_count", "no_fallback", "outcome", "public_class", "to_gpuxp",
    "to_numpy",
]  # fmt: skip
