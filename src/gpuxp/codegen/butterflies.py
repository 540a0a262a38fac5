"""Straight-line code of small discrete Fourier transforms, as C over the parts of complex numbers."""

from __future__ import annotations

import math

RADICES = (8, 7, 5, 4, 3, 2)

Complex = tuple[str, str]  # names of a real and an imaginary part


class _Lines:
    """Collects statements; each new value has a name of its own."""

    def __init__(self, part: str) -> None:
        self.part = part
        self.text: list[str] = []

    def value(self, real: str, imaginary: str) -> Complex:
        """Name a complex value."""
        n = len(self.text)
        self.text.append(f"const {self.part} r{n} = {real}, i{n} = {imaginary};")
        return f"r{n}", f"i{n}"

    def add(self, a: Complex, b: Complex) -> Complex:
        """Add two values."""
        return self.value(f"{a[0]} + {b[0]}", f"{a[1]} + {b[1]}")

    def subtract(self, a: Complex, b: Complex) -> Complex:
        """Subtract two values."""
        return self.value(f"{a[0]} - {b[0]}", f"{a[1]} - {b[1]}")

    def turned(self, a: Complex, b: Complex) -> tuple[Complex, Complex]:
        """Return ``a - ib`` and ``a + ib``."""
        return (
            self.value(f"{a[0]} + {b[1]}", f"{a[1]} - {b[0]}"),
            self.value(f"{a[0]} - {b[1]}", f"{a[1]} + {b[0]}"),
        )

    def constant(self, value: float) -> str:
        """Spell a number in the parts' type."""
        return f"{value!r}f" if self.part == "float" else repr(value)


def butterfly(radix: int, part: str) -> list[str]:
    """Return the transform of ``x0r, x0i, x1r, ...`` into ``y0r, y0i, ...``, all of type `part`."""
    lines = _Lines(part)
    inputs = [(f"x{k}r", f"x{k}i") for k in range(radix)]
    outputs = _odd(lines, inputs) if radix % 2 else _even(lines, inputs)
    names = (f"{part} y{k}r = {y[0]}, y{k}i = {y[1]};" for k, y in enumerate(outputs))
    return [*lines.text, *(f"const {name}" for name in names)]


def _even(lines: _Lines, x: list[Complex]) -> list[Complex]:
    """Return the transform of 2, 4 or 8 values by halves."""
    if len(x) == 1:
        return x
    half = len(x) // 2
    even, odd = _even(lines, x[::2]), _even(lines, x[1::2])
    root = lines.constant(math.sqrt(0.5))
    found: dict[int, Complex] = {}
    for k in range(half):
        a, b = even[k], odd[k]
        place = 8 * k // len(x)  # the odd part is turned by so many eighths of a turn
        if place == 1:
            b = lines.value(f"{root} * ({b[0]} + {b[1]})", f"{root} * ({b[1]} - {b[0]})")
        elif place == 3:
            b = lines.value(f"{root} * ({b[1]} - {b[0]})", f"-({root} * ({b[0]} + {b[1]}))")
        if place == 2:
            found[k], found[k + half] = lines.turned(a, b)
        else:
            found[k], found[k + half] = lines.add(a, b), lines.subtract(a, b)
    return [found[k] for k in range(len(x))]


def _odd(lines: _Lines, x: list[Complex]) -> list[Complex]:
    """Return the transform of an odd number of values: those that lie opposite share their cosines and sines."""
    radix, half = len(x), len(x) // 2
    sums = [lines.add(x[k], x[radix - k]) for k in range(1, half + 1)]
    differences = [lines.subtract(x[k], x[radix - k]) for k in range(1, half + 1)]
    found: dict[int, Complex] = {0: lines.value(*(" + ".join(v[p] for v in (x[0], *sums)) for p in range(2)))}
    for m in range(1, half + 1):
        angles = [2 * math.pi * (m * k % radix) / radix for k in range(1, half + 1)]
        cosines, sines = ([lines.constant(f(a)) for a in angles] for f in (math.cos, math.sin))
        a = lines.value(*(" + ".join((x[0][p], *_products(cosines, sums, p))) for p in range(2)))
        b = lines.value(*(" + ".join(_products(sines, differences, p)) for p in range(2)))
        found[m], found[radix - m] = lines.turned(a, b)
    return [found[k] for k in range(radix)]


def _products(factors: list[str], values: list[Complex], part: int) -> list[str]:
    return [f"{f} * {v[part]}" for f, v in zip(factors, values, strict=True)]
