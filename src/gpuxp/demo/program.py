"""What a demo program is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The namespace that a program runs on, and its arrays: NumPy's, or gpuxp's
Namespace = Any
Array = Any

Inputs = dict[str, Any]
Outputs = tuple[Any, ...]


@dataclass(frozen=True)
class Program:
    """A program written once against `np`, and run with NumPy and on every device."""

    name: str
    title: str
    prepare: Callable[[bool], Inputs]  # small? -> inputs; NumPy arrays are moved to the device before the clock starts
    run: Callable[..., Outputs]  # run(np, **inputs) -> arrays or numbers, which are compared
    tell: Callable[..., str]  # tell(*outputs, as NumPy arrays) -> the result in words
    tolerance: float | None = None  # relative; None takes the dtype's
    needs: str = ""  # module that the inputs come from
