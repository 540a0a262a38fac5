"""Special functions, under SciPy's names; SciPy dispatches to them for gpuxp arrays."""

from __future__ import annotations

from .ufunc import SPECIAL, UFUNCS

globals().update({name: UFUNCS[name] for name in SPECIAL})

__all__ = [*SPECIAL]  # noqa: PLE0604 - a table
