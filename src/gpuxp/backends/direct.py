"""Ufuncs that arrays computed at once need often, made by the compiled tier.

A *total* combines all elements in the canonical order. A *wide* ufunc is NumPy's own, its elements shared out among the
crew. Both are made by the compiling thread, once they pay: the rule is that of `gpuxp.backends.tier`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any

from ..config import config, num_threads
from ..dtypes import FLOAT64, DType
from ..errors import Unsupported
from ..threads import PARALLEL, compiling
from ..vectormath import Vectorised
from .product import Products
from .tier import HOT, attempt, compile_later

_CALL, _ELEMENT, _FOLDED = 5e-6, 3e-10, 3e-9  # seconds that a use saves, about: a call, an element, one along an axis


class Entry:
    """Something that is compiled once it pays: how it is made, and what came of it."""

    __slots__ = ("_counters", "_make", "_name", "_saved", "made")

    def __init__(self, name: str, make: Callable[[], Any], counters: Counter[str]) -> None:
        self._name, self._make, self._counters = name, make, counters
        self._saved = 0.0
        self.made: Any = None

    def wanted(self, size: int, columns: bool = False) -> Any:
        """Return it for arrays of a size (combined along an axis), or None while others have to do the work."""
        if config.tier == "interpreter":
            return None
        if self.made is None and self._saved >= 0:
            self._saved += _CALL + size * (_FOLDED if columns else _ELEMENT)
            if config.tier == "compiled":
                self._ensure()
            elif self._saved >= HOT:
                compile_later(self._ensure)
                self._saved = -1
        return self.made

    def _ensure(self) -> None:
        with compiling:
            self.made = attempt(self._make, lambda: self._name, self._counters)
            self._saved = -1  # not if that was interrupted


class Direct:
    """The ufuncs of one device, by what they do."""

    most = 1 << 23  # elements of a total

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self.products = Products(counters)
        self._entries: dict[tuple[Any, ...], Entry] = {}

    def total(self, op: str, dtype: DType) -> Entry:
        """Return the combination of packed rows, with the signature ``(n)->()``."""
        return self._entry(make_total, op, dtype)

    def columns(self, op: str, dtype: DType, near: bool) -> Entry:
        """Return the combination of at most a block of rows, with the signature ``(n,m)->(m)``."""
        return self._entry(make_columns, op, dtype, near)

    def wide(self, fn: Any, dtypes: tuple[DType, ...]) -> Entry:
        """Return a ufunc, or a function of `gpuxp.vectormath`, on several threads; dtypes are inputs, then output."""
        return self._entry(_make_wide, fn, dtypes)

    def cast(self, source: DType, target: DType) -> Entry:
        """Return the conversion of packed elements, on several threads."""
        return self._entry(_make_cast, source, target)

    def masked(self, itemsize: int) -> Entry:
        """Return `gpuxp.backends.masks.Masked` for elements of a size."""
        return self._entry(_make_masked, itemsize)

    def _entry(self, make: Callable[..., Any], *what: Any) -> Entry:
        key = make, *what, config.num_threads
        found = self._entries.get(key)
        if found is None:
            name = f"{make.__name__}{what}"
            found = self._entries[key] = Entry(name, partial(make, *what, num_threads()), self._counters)
        return found


@lru_cache(maxsize=64)
def make_total(op: str, dtype: DType, threads: int) -> Any:
    """Compile a total of float32 or float64."""
    from ..codegen.llvmtotal import TOTAL, render_total
    from .crew import crew
    from .jit import build
    from .ufuncs import make_ufunc

    code, workers = build(render_total(op, dtype, Direct.most), TOTAL), crew()
    words = (0, 0, PARALLEL // 2, 0)
    if workers is not None:
        words = (workers.address, workers.state, PARALLEL // 2, workers.grow(threads - 1))
    return make_ufunc(code, code.address, words, (dtype, dtype), f"{op}.reduce", "(n)->()")


def make_columns(op: str, dtype: DType, near: bool, threads: int) -> Any:
    """Compile a combination of rows of float32 or float64, on one thread; `near`: their elements lie side by side."""
    from ..codegen.llvmtotal import COLUMNS, render_columns
    from .jit import build
    from .ufuncs import make_ufunc

    code = build(render_columns(op, dtype, near), COLUMNS)
    return make_ufunc(code, code.address, (0,), (dtype, dtype), f"{op}.reduce", "(n,m)->(m)")


def _make_wide(fn: Any, dtypes: tuple[DType, ...], threads: int) -> Any:
    from .ufuncs import address_of
    from .vectors import ensure

    ufunc = fn
    if isinstance(fn, Vectorised):
        ufunc = ensure(fn) if dtypes[0] == FLOAT64 else fn.ufunc
    loop = address_of(ufunc, dtypes)
    if loop is None:
        raise Unsupported(f"{ufunc.__name__} has no loop of its own")
    return _shared(None, loop, dtypes, ufunc.__name__, threads)


def _make_cast(source: DType, target: DType, threads: int) -> Any:
    from ..codegen.llvmtotal import MAP, render_cast
    from .jit import build

    code = build(render_cast(source, target), MAP)
    return _shared(code, (code.address, 0), (source, target), "astype", threads)


def _make_masked(itemsize: int, threads: int) -> Any:
    from .masks import Masked

    return Masked(itemsize, threads)


def _shared(code: Any, loop: tuple[int, int], dtypes: tuple[DType, ...], name: str, threads: int) -> Any:
    """Return a ufunc that has a loop run by the crew; `code` is what has to live as long."""
    from .crew import crew
    from .ufuncs import make_ufunc

    workers = crew()
    if workers is None or threads < 2:
        raise Unsupported("one thread shares nothing")
    words = (*loop, len(dtypes), workers.state, PARALLEL // 2, workers.grow(threads - 1))
    return make_ufunc((code, workers), workers.split, words, dtypes, name)
