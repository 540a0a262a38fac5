"""Programs written once against `np`, run with NumPy and on every device; `python -m gpuxp demo` shows them."""

from __future__ import annotations

from . import finance, learning, physics, pictures

PROGRAMS = (*finance.PROGRAMS, *physics.PROGRAMS, *learning.PROGRAMS, *pictures.PROGRAMS)

__all__ = ["PROGRAMS"]
