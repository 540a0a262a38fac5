"""The long tail of NumPy's namespace: functions that NumPy itself runs on the host.

Each name is a row. On the software GPU that is the library at its full speed; for other devices it is a fallback, which
is visible here, counted, and follows the fallback policy.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from .array import host, ndarray
from .convert import as_operand, open_call, runtime_for
from .ufunc import into

# Functions whose arrays are the positional arguments (and nested sequences of them)
ROWS = (
    "append apply_over_axes argpartition bincount choose compress convolve corrcoef correlate cov cross "
    "delete diag diag_indices_from diagflat digitize ediff1d einsum_path extract gradient histogram "
    "histogram2d histogram_bin_edges histogramdd i0 inner insert interp intersect1d ix_ kron lexsort matvec "
    "median nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanpercentile nanprod "
    "nanquantile nanstd nansum nanvar packbits pad partition percentile poly polyadd polyder polydiv polyfit "
    "polyint polymul polysub polyval quantile ravel_multi_index real_if_close roots setdiff1d setxor1d "
    "sort_complex trapezoid tril_indices_from trim_zeros triu_indices_from union1d unpackbits unravel_index "
    "unwrap vdot vecmat"
).split()
# Functions without array arguments
MAKERS = (
    "diag_indices indices mask_indices tril_indices triu_indices loadtxt genfromtxt fromregex load fromfile".split()
)
CHAPTERS = ("emath", "polynomial")
# Functions that return no array: given host arrays they are NumPy's own
PLAIN = (
    "array2string array_repr array_str base_repr binary_repr format_float_positional format_float_scientific save "
    "savetxt savez savez_compressed"
).split()


def _summary(fn: Any) -> str:
    lines = [line.strip() for line in (fn.__doc__ or "").splitlines() if line.strip()]
    return next((line for line in lines if not line.startswith(f"{fn.__name__}(")), fn.__name__)


def _row(name: str, fn: Any) -> Callable[..., Any]:
    def call(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        kwargs.pop("overwrite_input", None)  # it permits, and does not ask
        result = open_call(name, fn, *args, **kwargs)
        return result if out is None else into(result, out, name)

    return _dressed(call, name, fn, f"{_summary(fn)}\n\nThe same as `{fn.__module__}.{name}`; it runs on the host.")


def _plain(fn: Any) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return fn(*(_lower(a) for a in args), **{k: _lower(v) for k, v in kwargs.items()})

    return _dressed(call, fn.__name__, fn, f"{_summary(fn)}\n\nThe same as `numpy.{fn.__name__}`.")


def _dressed(call: Callable[..., Any], name: str, fn: Any, doc: str) -> Callable[..., Any]:
    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    return call


def _lower(value: Any) -> Any:
    return host(value) if type(value) is ndarray else value


def einsum(subscripts: Any, *operands: Any, out: Any = None, **kwargs: Any) -> ndarray:
    """Evaluate the Einstein summation convention on the operands."""
    return into(open_call("einsum", np.einsum, subscripts, *operands, **kwargs), out, "einsum")


def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Any, *args: Any, **kwargs: Any) -> ndarray:
    """Apply a function to 1-D slices along an axis; the function gets NumPy arrays."""
    x = as_operand(arr, runtime_for("apply_along_axis", (arr,)))

    def plain(row: Any) -> Any:
        return _lower(func1d(row, *args, **kwargs))

    found: ndarray = open_call("apply_along_axis", lambda v: np.apply_along_axis(plain, axis, v), x)
    return found


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kwargs: Any) -> ndarray:
    """Evaluate a function defined by pieces; the functions get NumPy arrays."""
    a = as_operand(x, runtime_for("piecewise", (x,)))
    found: ndarray = open_call("piecewise", np.piecewise, a, condlist, funclist, *args, **kwargs)
    return found


def select(condlist: Any, choicelist: Any, default: Any = 0) -> ndarray:
    """Return elements of `choicelist` picked by the first true condition."""
    found: ndarray = open_call("select", np.select, list(condlist), list(choicelist), default)
    return found


class vectorize:  # noqa: N801 - NumPy's name
    """Make a function of scalars work on arrays, one element at a time, on the host."""

    def __init__(self, pyfunc: Any = None, otypes: Any = None, doc: Any = None, excluded: Any = None,
                 cache: bool = False, signature: Any = None) -> None:  # fmt: skip
        self._settings = (otypes, doc, excluded, cache, signature)
        self.pyfunc = pyfunc
        if pyfunc is not None:
            self._inner = np.vectorize(pyfunc, *self._settings)
            self.__doc__ = self._inner.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the function."""
        if self.pyfunc is None:  # used as a decorator with settings
            return vectorize(args[0], *self._settings)
        return open_call("vectorize", self._inner, *args, **kwargs)


class poly1d(np.poly1d):  # noqa: N801 - NumPy's name
    """A polynomial, by its coefficients on the host."""

    def __init__(self, c_or_r: Any, r: bool = False, variable: str | None = None) -> None:
        super().__init__(_lower(c_or_r), r, variable)


class Chapter(types.ModuleType):
    """A part of NumPy whose functions run on the host; its classes are NumPy's own."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner.__name__, inner.__doc__)
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        made = getattr(self._inner, name)
        if isinstance(made, types.ModuleType):
            made = Chapter(made)
        elif callable(made) and not isinstance(made, type):
            made = _row(name, made)
        setattr(self, name, made)
        return made

    def __dir__(self) -> list[str]:
        return dir(self._inner)


class _Indexer:
    """``r_`` and ``c_``: arrays built by index syntax."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getitem__(self, key: Any) -> ndarray:
        parts = key if isinstance(key, tuple) else (key,)
        found: ndarray = open_call("r_", lambda *values: self._inner[values], *parts)
        return found


class _Grid:
    """``mgrid`` and ``ogrid``: coordinate grids built by index syntax."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getitem__(self, key: Any) -> Any:
        return open_call("mgrid", lambda: self._inner[key])


r_, c_ = _Indexer(np.r_), _Indexer(np.c_)
mgrid, ogrid = _Grid(np.mgrid), _Grid(np.ogrid)
s_, index_exp = np.s_, np.index_exp

_WRITTEN = "einsum apply_along_axis piecewise select vectorize poly1d r_ c_ mgrid ogrid s_ index_exp".split()
NAMES = (*(name for name in (*ROWS, *MAKERS) if hasattr(np, name)), *PLAIN, *CHAPTERS, *_WRITTEN)


def __getattr__(name: str) -> Any:
    """Make the function of a row, or a chapter, when it is asked for."""
    if name not in NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: Any = getattr(np, name)
    make: Any = _plain if name in PLAIN else Chapter
    made = globals()[name] = make(found) if name in (*PLAIN, *CHAPTERS) else _row(name, found)
    return made
