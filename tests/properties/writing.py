"""The parts of random programs: choices, shapes, keys, views, expressions, and the rules under which they are exact."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy

from .running import environment, perform

NAMES = "abcdef"
SCALARS = "st"
INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
FLOATS = ("float32", "float64", "float16")
DTYPES = ("float64", "int64", "float32", "int32", "bool", "uint8", "int8", "complex128", "float16", "uint64", "int16")


class Statement(NamedTuple):
    """One line of a program; it is skipped (in every run) where `guard` is false in NumPy's run."""

    text: str
    guard: str = ""


class Source(Protocol):
    """Where the choices come from."""

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1; 0 is the simplest choice."""
        ...


class Seeded:
    """Choices of a seeded generator."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1."""
        return int(self._random.random() * n)


@dataclass(frozen=True)
class Options:
    """What programs may contain."""

    statements: int = 14
    shared: bool = True  # memory shared with NumPy: the device is the host
    library: bool = True  # sort, matmul and the like
    near: bool = True  # reads that are compared with a tolerance
    large: int = 1  # arrays of many tiles and blocks, in a hundred


ARITHMETIC = ("+", "-", "*", "+", "-", "*", "//", "%", "/")
LARGE = ((300,), (3, 150), (200, 2), (17, 5, 3), (2100,), (130, 17), (2, 2049), (4100, 1, 2))
COMPARE = ("<", "<=", "==", "!=", ">", ">=")
BITS = ("&", "|", "^")
BINARY = ("add", "subtract", "multiply", "maximum", "minimum", "fmax", "fmin", "copysign", "logical_and", "logical_or",
          "logical_xor", "greater", "equal", "not_equal", "true_divide", "floor_divide", "remainder", "fmod",
          "left_shift", "right_shift", "bitwise_xor", "heaviside", "nextafter", "gcd", "power")  # fmt: skip
UNARY = ("negative", "absolute", "square", "sign", "positive", "conjugate", "logical_not", "isnan", "isfinite", "isinf",
         "floor", "ceil", "trunc", "rint", "sqrt", "signbit", "invert", "fabs", "reciprocal", "bitwise_count",
         "spacing")  # fmt: skip
INEXACT = ("exp", "log1p", "sin", "cos", "tanh", "arctan", "expm1", "exp2", "cbrt", "sinh")
# functions whose result on a complex or half-rounded argument depends on how NumPy was compiled, or on signed zeros
GUARDS = {
    "*": "products({0}, {1})", "multiply": "products({0}, {1})", "/": "quotients({0}, {1})",
    "true_divide": "quotients({0}, {1})", "//": "finite({0}, {1})", "%": "finite({0}, {1})",
    "floor_divide": "finite({0}, {1})", "remainder": "finite({0}, {1})", "maximum": "ordered({0}, {1})",
    "minimum": "ordered({0}, {1})", "fmax": "ordered({0}, {1})", "fmin": "ordered({0}, {1})",
    "power": "powers({0}, {1})", "square": "products({0}, {0})", "absolute": "real({0})", "sqrt": "real({0})",
    "sign": "real({0})", "reciprocal": "quotients(1, {0})", "copysign": "numbers({1})", "signbit": "numbers({0})",
}  # fmt: skip


class Expressions:
    """Writes expressions over the arrays that NumPy's run of the program has so far."""

    def __init__(self, source: Source, options: Options = Options()) -> None:
        self._source = source
        self.options = options
        self.env = environment(numpy)
        self.guards: list[str] = []

    # Choices

    def pick(self, values: Sequence[Any]) -> Any:
        """Return one of the values; the first is the simplest."""
        return values[self._source.below(len(values))]

    def chance(self, percent: int) -> bool:
        """Return True in so many cases of a hundred."""
        return self._source.below(100) >= 100 - percent

    def between(self, low: int, high: int) -> int:
        """Return an integer, both ends included."""
        return low + self._source.below(high - low + 1)

    # What there is

    def arrays(self) -> list[str]:
        """Return the names of the arrays, 0-d ones too."""
        return [n for n in NAMES if isinstance(self.env.get(n), numpy.ndarray)]

    def value(self, name: str) -> Any:
        """Return what NumPy's run has under a name."""
        return self.env[name]

    # Shapes and keys

    def shape(self) -> tuple[int, ...]:
        """Return a small shape."""
        if self.chance(self.options.large):
            return self.pick(LARGE)
        extents = (3, 4, 2, 5, 1, 6, 7, 9, 12, 0) if self.chance(25) else (3, 4, 2, 5, 6, 1)
        return tuple(self.pick(extents) for _ in range(self.pick((1, 2, 1, 2, 3, 0))))

    def slice(self, extent: int, want: int | None = None) -> str:
        """Return a slice of an axis, of `want` elements where given."""
        if want is None:
            if self.chance(40) or not extent:
                return self.pick((":", "::-1", "1:", ":-1", "::2", "1::2", "::-2", "-2:", ":2"))
            want = self.between(0 if self.chance(5) else 1, extent)
        if want == 0:
            return self.pick(("0:0", ":0"))
        if want == extent and not self.chance(30):
            return ":"
        longest = (extent - 1) // (want - 1) if want > 1 else 1
        step = self.between(1, min(longest, 3))
        reach = (want - 1) * step
        start = self.between(0, extent - 1 - reach)
        if self.chance(30):
            stop = start - 1
            return f"{start + reach}:{stop if stop >= 0 else ''}:-{step}"
        return f"{start}:{start + reach + 1}" + (f":{step}" if step > 1 else "")

    def basic(self, shape: Sequence[int]) -> str:
        """Return a basic key for an array of this shape."""
        parts = []
        for extent in shape:
            if extent and self.chance(12):
                parts.append(str(self.between(-extent, extent - 1)))
            else:
                parts.append(self.slice(extent))
        while parts and parts[-1] == ":" and self.chance(60):
            parts.pop()
        if self.chance(8):
            parts.insert(self.between(0, len(parts)), "None")
        if self.chance(6):
            parts.insert(self.between(0, len(parts)), "...")
        return ", ".join(parts) or "..."

    def view(self) -> str:
        """Return an expression that is a view of some array, or the array."""
        name = self.pick(self.arrays())
        value = self.value(name)
        roll = self.between(0, 9)
        if roll < 4:
            return name
        if roll < 8:
            return f"{name}[{self.basic(value.shape)}]"
        if roll < 9:
            return f"{name}.T"
        return f"{name}[{self.basic(value.shape)}].T"

    def fitting(self, shape: tuple[int, ...]) -> str:
        """Return an expression that broadcasts to `shape`: a name, a part of one, or something new."""
        if self.chance(12):
            return self.number()
        wanted = shape
        if shape and self.chance(12):
            wanted = shape[1:] if self.chance(50) else tuple(1 if self.chance(50) else n for n in shape)
        names = self.arrays()
        for _ in range(3):
            found = self.part(self.pick(names), wanted) if names else None
            if found is not None:
                return found
        count = int(numpy.prod(wanted, dtype=int))
        return f"np.arange({count}, dtype='{self.pick(DTYPES)}').reshape({wanted})" if count > 2 else self.number()

    def part(self, name: str, shape: tuple[int, ...]) -> str | None:
        have = self.value(name).shape
        turned = len(have) == len(shape) and self.chance(15)
        text = f"{name}.T" if turned else name
        have = have[::-1] if turned else have
        extra = len(have) - len(shape)
        if extra < 0 or any(n < m for n, m in zip(have[extra:], shape, strict=True)) or 0 in have[:extra]:
            return None
        keys = [str(self.between(-n, n - 1)) for n in have[:extra]]
        keys += [self.slice(n, m) for n, m in zip(have[extra:], shape, strict=True)]
        if all(k == ":" for k in keys):
            return text
        return f"{text}[{', '.join(keys)}]"

    # Expressions

    def number(self) -> str:
        """Return a Python scalar, or a name bound to one."""
        bound = [n for n in SCALARS if n in self.env]
        if bound and self.chance(25):
            return self.pick(bound)
        return self.pick(("1", "2", "3", "-1", "0", "2.0", "0.5", "-3", "True", "7", "100", "1j", "300"))

    def guard(self, op: str, *args: str) -> None:
        """Note under which condition the operation is exact."""
        rule = GUARDS.get(op)
        if rule is not None:
            self.guards.append(rule.format(*args))

    def expression(self, shape: tuple[int, ...], depth: int) -> str:
        """Return an expression that broadcasts to `shape`."""
        if depth <= 0:
            return self.fitting(shape)
        roll = self.between(0, 11)
        first = self.expression(shape, depth - 1)
        if roll < 5:
            op = self.pick(ARITHMETIC) if roll < 4 else self.pick(COMPARE + BITS)
            second = self.expression(shape, self.between(0, depth - 1))
            self.guard(op, first, second)
            return f"({first} {op} {second})"
        if roll < 7:
            name = self.pick(BINARY)
            second = self.expression(shape, self.between(0, depth - 1))
            self.guard(name, first, second)
            return f"np.{name}({first}, {second})"
        if roll < 9:
            name = self.pick(UNARY)
            self.guard(name, first)
            return f"np.{name}({first})"
        if roll < 10:
            return self.cast(first)
        if roll < 11:
            other = self.fitting(shape)
            return f"np.where({self.mask(shape)}, {first}, {other})"
        low, high = sorted((self.between(-3, 3), self.between(-3, 9)))
        self.guards.append(f"ordered({first}, 0)")
        return f"np.clip({first}, {low}, {high})"

    def cast(self, text: str) -> str:
        """Return a conversion."""
        dtype = self.pick(DTYPES)
        self.guards.append(f"fits({text}, '{dtype}')")
        return f"np.asarray({text}).astype('{dtype}')"

    def mask(self, shape: tuple[int, ...]) -> str:
        """Return a boolean expression."""
        return f"({self.fitting(shape)} {self.pick(COMPARE)} {self.number()})"

    def target(self) -> tuple[str, tuple[int, ...]]:
        name = self.pick(self.arrays())
        shape = self.value(name).shape
        if self.chance(45):
            return name, shape
        text = f"{name}[{self.basic(shape)}]"
        if self.chance(10):
            text = f"{name}.T[{self.basic(shape[::-1])}]"
        found = perform(Statement(f"_found = {text}"), self.env)
        made = self.env.pop("_found", None)
        return text, shape if found.error is not None else numpy.shape(made)
