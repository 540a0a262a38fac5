"""The op table: an elementwise operation is one row.

A row gives the NumPy ufunc that decides its dtypes and runs it on a tile, its C expression per dtype kind, its error
bound on other devices, and, where NumPy and the array API standard disagree, its expansion into other rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from .dtypes import DType
from .vectormath import Vectorised, cosine, sine

Array = np.ndarray[Any, Any]


class Builder(Protocol):
    """What an expansion is written against: a kernel under construction, or arrays."""

    def op(self, name: str, *args: Any) -> Any:
        """Apply a row; its operands already have the row's dtypes."""
        ...

    def literal(self, value: int, like: Any) -> Any:
        """Return a constant in the dtype of another value."""
        ...


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A row of the table.

    Attributes
    ----------
    name
        NumPy's name.
    ufunc
        Decides dtypes, and is the meaning unless `run` is given.
    nin
        Number of inputs.
    c
        C expressions by kind of the first input's dtype (``b i u f c``; ``*`` for the real kinds not named). Fields:
        ``{0}`` ... inputs, ``{T}`` result type, ``{S}`` input type, ``{U}`` its unsigned twin, ``{bits}`` its width.
    ulp
        Largest distance from NumPy on a device that computes for itself, in units in the last place; 0 means equal.
    ulps
        Where that is another: by kind of device (``*`` for those that compute for themselves) and kind of dtype.
    domain
        Interval on which the tests draw finite inputs.
    expand, expand_kinds
        How the row is written in other rows, for these kinds of dtype.
    identity
        Neutral element, for rows that can reduce.
    run, run_kinds
        ``run(*inputs, out=tile)`` where no ufunc does the work; the kinds of dtype for which it differs from `ufunc`.
    """

    name: str
    ufunc: np.ufunc
    nin: int
    c: Mapping[str, str] = field(default_factory=dict)
    ulp: int = 0
    ulps: Mapping[tuple[str, str], int] = field(default_factory=dict)
    domain: tuple[float, float] = (-1e3, 1e3)
    expand: Callable[..., Any] | None = None
    expand_kinds: str = ""
    identity: Any = None
    associative: bool = False
    run: Callable[..., Any] | None = None
    run_kinds: str = "biufc"

    @property
    def impl(self) -> Callable[..., Any]:
        """What runs the row on one tile: called with inputs and ``out=``."""
        return self.run or self.ufunc

    @property
    def direct(self) -> Callable[..., Any]:
        """What runs the row on a small array: called as the ufunc is, for dtypes that are not of `own_kinds`."""
        return self.run if isinstance(self.run, Vectorised) else self.ufunc

    def neutral(self, dtype: DType) -> Any:
        """Return the identity in a dtype; all bits of an unsigned integer, where that is -1."""
        return np.asarray(self.identity).astype(dtype)

    @property
    def own_kinds(self) -> str:
        """Kinds of dtype for which the row does not do what its ufunc does."""
        return self.expand_kinds if self.run is None else self.run_kinds

    def bound(self, device: str, kind: str) -> int:
        """Return how far a result for a kind of dtype may be from NumPy's on a device, in units in the last place.

        Complex numbers are measured by their size. The software GPU calls NumPy's own loops.
        """
        where = "cpu" if device in _NUMPYS else device.partition(":")[0]
        own = 0 if where == "cpu" and self.expand is None else self.ulps.get(("*", kind), self.ulp)
        return self.ulps.get((where, kind), own) if kind in "fc" else 0

    def expands(self, dtype: DType) -> bool:
        """Whether the row is written in other rows for operands of this dtype."""
        return self.expand is not None and dtype.kind in self.expand_kinds


ELEMENTWISE: dict[str, Elementwise] = {}
_NUMPYS = ("cpu", "reference")  # devices whose kernels call NumPy's loops
_REAL = {("*", "f"): 0}  # exact for real numbers
_SIZE = {("*", "c"): 2}  # NumPy fuses products of complex numbers, which moves their smaller part


def elementwise(
    name: str, ufunc: np.ufunc | None = None, *, c: str | Mapping[str, str] | None = None, **rest: Any
) -> None:
    """Add a row."""
    fn: np.ufunc = ufunc if ufunc is not None else getattr(np, name)
    spelled = {"*": c, "c": c} if isinstance(c, str) else dict(c or {})
    ELEMENTWISE[name] = Elementwise(name, fn, rest.pop("nin", fn.nin), spelled, **rest)


def result_dtype(name: str, operands: Sequence[DType]) -> DType:
    """Return the dtype of a row's result for operands that have the row's dtypes already."""
    if name == "select":
        return operands[-1]
    found: DType = ELEMENTWISE[name].ufunc.resolve_dtypes((*operands, None))[-1]
    return found


def reducible(name: str) -> bool:
    """Whether a row may combine the elements of a reduction in any grouping."""
    return ELEMENTWISE[name].associative


class ArrayBuilder:
    """Runs an expansion at once on arrays."""

    def op(self, name: str, *args: Any) -> Any:
        """Apply a row to arrays or scalars of its dtypes."""
        row = ELEMENTWISE[name]
        if row.run is None:
            return row.ufunc(*args)
        arrays = [np.asarray(a) for a in args]
        out = np.empty(np.broadcast_shapes(*(a.shape for a in arrays)), arrays[-1].dtype)
        row.run(*arrays, out=out)
        return out

    def literal(self, value: int, like: Any) -> Any:
        """Return a constant in an array's dtype."""
        return np.asarray(value, like.dtype)


def _floor_divide(b: Builder, x: Any, y: Any) -> Any:
    """Follow the standard at infinities, where Python's divmod (and NumPy) gives NaN and -1."""
    infinite = b.op("logical_or", b.op("isinf", x), b.op("isinf", y))
    return b.op("select", infinite, b.op("divide", x, y), b.op("floor_divide", x, y))


def _expit(b: Builder, x: Any) -> Any:
    """``1 / (1 + exp(-x))``, written so that neither end overflows or cancels."""
    small = b.op("exp", b.op("negative", b.op("absolute", x)))
    share = b.op("reciprocal", b.op("add", b.literal(1, x), small))
    return b.op("select", b.op("signbit", x), b.op("multiply", small, share), share)


def _logit(b: Builder, x: Any) -> Any:
    """``log(x / (1 - x))``; around one half, where that cancels, the difference of two `log1p`, as SciPy has it."""
    one = b.literal(1, x)
    twice = b.op("subtract", b.op("add", x, x), one)
    near = b.op("subtract", b.op("log1p", twice), b.op("log1p", b.op("negative", twice)))
    far = b.op("log", b.op("divide", x, b.op("subtract", one, x)))
    return b.op("select", b.op("less", b.op("absolute", twice), b.op("reciprocal", b.literal(3, x))), near, far)


def _extreme(test: str) -> Callable[..., Any]:
    """Return the expansion of fmax or fmin: NumPy's choice between 0.0 and -0.0 depends on the place in the array."""

    def expand(b: Builder, x: Any, y: Any) -> Any:
        return b.op("select", b.op("logical_or", b.op(test, x, y), b.op("isnan", y)), x, y)

    return expand


def _select(condition: Array, x: Array, y: Array, out: Array) -> None:
    np.copyto(out, y)
    np.copyto(out, x, where=condition)


def _complex_expm1(z: Array, out: Array) -> None:
    """Complex ``exp(z) - 1`` without cancellation, with the standard's special cases.

    Real part ``expm1(x) cos(y) - 2 sin(y / 2)**2``, imaginary part ``exp(x) sin(y)``.
    """
    x, y = z.real, z.imag
    real = np.expm1(x) * np.cos(y) - 2 * np.sin(y / 2) ** 2
    imag = np.exp(x) * np.sin(y)
    on_axis = y == 0
    wild = ~np.isfinite(y)
    real = np.where(
        on_axis, np.expm1(x) + 0.0, np.where(wild & (x == -np.inf), -1, np.where(wild & (x == np.inf), np.inf, real))
    )
    imag = np.where(on_axis, y, np.where(wild & (x == -np.inf), np.copysign(0, np.where(np.isnan(y), 1, y)), imag))
    out.real, out.imag = real, imag


def _expm1(z: Array, out: Array) -> None:
    if z.dtype.kind == "c":
        _complex_expm1(z, out)
    else:
        np.expm1(z, out=out)


def _tanh(z: Array, out: Array) -> None:
    np.tanh(z, out=out)
    if z.dtype.kind == "c":  # at infinity C99 gives the imaginary part the sign of sin(2y), the standard that of y
        at = np.isinf(z.real) & np.isfinite(z.imag)
        out.imag[at] = np.copysign(0, z.imag)[at]


def _frexp_mantissa(x: Array, out: Array) -> None:
    out[...] = np.frexp(x)[0]


def _frexp_exponent(x: Array, out: Array) -> None:
    out[...] = np.frexp(x)[1]


_CMP = {"b": "{0} %s {1}", "i": "{0} %s {1}", "u": "{0} %s {1}", "f": "{0} %s {1}"}
_WRAP = "({T})(({U}){0} %s ({U}){1})"  # signed overflow is undefined in C: wrap in the unsigned type


def _compare(sign: str, complex_c: str) -> dict[str, str]:
    return {k: v % sign for k, v in _CMP.items()} | {"c": complex_c}


def _wrapping(sign: str, boolean: str, complex_c: str) -> dict[str, str]:
    return {"b": boolean, "i": _WRAP % sign, "u": _WRAP % sign, "f": f"{{0}} {sign} {{1}}", "c": complex_c}


def _call(name: str, complex_name: str = "") -> dict[str, str]:
    found = {"f": f"{name}({{0}})"}
    return found | {"c": f"gpx_c{complex_name}_{{S}}({{0}})"} if complex_name else found


# Arithmetic
elementwise("add", c=_wrapping("+", "{0} | {1}", "{0} + {1}"), identity=0, associative=True)
elementwise("subtract", c=_wrapping("-", "{0} ^ {1}", "{0} - {1}"))
elementwise(
    "multiply", c=_wrapping("*", "{0} & {1}", "gpx_cmul_{S}({0}, {1})"), ulps=_SIZE, identity=1, associative=True
)
elementwise("divide", np.true_divide, c={"f": "{0} / {1}", "c": "gpx_cdiv_{S}({0}, {1})"})
elementwise(
    "floor_divide",
    c={"i": "gpx_floordiv_{S}({0}, {1})", "u": "({1} ? {0} / {1} : 0)", "f": "gpx_floordiv_{S}({0}, {1})"},
    expand=_floor_divide,
    expand_kinds="f",
)
elementwise("remainder", c={"i": "gpx_mod_{S}({0}, {1})", "u": "({1} ? {0} % {1} : 0)", "f": "gpx_mod_{S}({0}, {1})"})
elementwise("fmod", c={"i": "gpx_fmod_{S}({0}, {1})", "u": "({1} ? {0} % {1} : 0)", "f": "fmod({0}, {1})"})
_IPOW = "gpx_ipow_{S}({0}, {1})"  # the engine has seen to it that no exponent is negative
_POW = {"f": "pow({0}, {1})", "c": "gpx_cpow_{S}({0}, {1})"}
elementwise("power", c={"i": _IPOW, "u": _IPOW, **_POW}, ulp=4, ulps={("cuda", "f"): 6, ("*", "c"): 8}, domain=(0, 50))
elementwise("float_power", c=_POW, ulp=4, ulps={("*", "c"): 8}, domain=(0, 50))
elementwise("negative", c={"i": "({T})(0 - ({U}){0})", "u": "({T})(0 - {0})", "f": "-{0}", "c": "-{0}"})
elementwise("positive", c="{0}")
elementwise(
    "absolute",
    c={
        "i": "({T})({0} < 0 ? 0 - ({U}){0} : ({U}){0})",
        "u": "{0}",
        "b": "{0}",
        "f": "fabs({0})",
        "c": "gpx_cabs_{S}({0})",
    },
    ulp=2,
    ulps=_REAL,
)
elementwise("fabs", c=_call("fabs"))
elementwise(
    "sign",
    c={
        "i": "(({0} > 0) - ({0} < 0))",
        "u": "({0} > 0)",
        "f": "({0} > 0 ? 1 : {0} < 0 ? -1 : {0} == 0 ? 0 : {0})",
        "c": "gpx_csign_{S}({0})",
    },
    ulp=2,
    ulps={**_REAL, ("*", "c"): 4},
)
elementwise(
    "square",
    c={
        "i": "({T})(({U}){0} * ({U}){0})",
        "u": "({T})(({U}){0} * ({U}){0})",
        "f": "{0} * {0}",
        "c": "gpx_cmul_{S}({0}, {0})",
    },
    ulps=_SIZE,
)
elementwise("reciprocal", c={"f": "1 / {0}", "c": "gpx_cinverse_{S}({0})"})
elementwise("sqrt", c=_call("sqrt", "sqrt"), ulps={("*", "c"): 4}, domain=(0, 1e6))
elementwise("cbrt", c=_call("cbrt"), ulp=4)
elementwise("hypot", c={"f": "hypot({0}, {1})"}, ulp=4)
elementwise("gcd", c={"i": "gpx_gcd_{S}({0}, {1})", "u": "gpx_gcd_{S}({0}, {1})"}, associative=True, identity=0)
elementwise("lcm", c={"i": "gpx_lcm_{S}({0}, {1})", "u": "gpx_lcm_{S}({0}, {1})"})
elementwise("copysign", c={"f": "copysign({0}, {1})"})
elementwise("nextafter", c={"f": "nextafter({0}, {1})"})
elementwise("spacing")
elementwise("ldexp")
elementwise("frexp_mantissa", np.frexp, nin=1, run=_frexp_mantissa)
elementwise("frexp_exponent", np.frexp, nin=1, run=_frexp_exponent)
elementwise("heaviside", c={"f": "(isnan({0}) ? {0} : {0} == 0 ? {1} : {0} < 0 ? 0 : 1)"})

# Exponentials and logarithms
for _name, _c in {
    "exp": "exp", "exp2": "exptwo", "expm1": "expm",
    "log": "log", "log2": "logtwo", "log10": "logten", "log1p": "logp",
}.items():  # fmt: skip
    elementwise(_name, c=_call(_name, _c), ulp=4, domain=(1e-6, 80),
                run=_expm1 if _name == "expm1" else None, run_kinds="c",
                ulps={("*", "c"): 8} | ({("cpu", "c"): 4} if _name == "expm1" else {}))  # fmt: skip
elementwise("logaddexp", c={"f": "gpx_logaddexp_{S}({0}, {1})"}, ulp=8, domain=(0, 50))
elementwise("logaddexp2", c={"f": "gpx_logaddexptwo_{S}({0}, {1})"}, ulp=8, domain=(0, 50))
elementwise("expit", np.cbrt, ulp=8, domain=(-50, 50), expand=_expit, expand_kinds="f")  # np.cbrt: float dtypes alone
elementwise("logit", np.cbrt, ulp=8, domain=(0.001, 0.999), expand=_logit, expand_kinds="f")

# Trigonometry
_RUN = {
    "tanh": _tanh,
    "sin": Vectorised(np.sin, sine, ArrayBuilder),
    "cos": Vectorised(np.cos, cosine, ArrayBuilder),
}
for _name, _c in {
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan",
    "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}.items():  # fmt: skip
    elementwise(
        _name,
        c=_call(_c, _c),
        ulp=5,
        domain=(1, 30) if _name == "arccosh" else (-1, 1),
        run=_RUN.get(_name),
        run_kinds="c" if _name == "tanh" else "",
        ulps={("*", "c"): 8} | ({("cpu", "f"): 1} if _name in ("sin", "cos") else {}),  # `vectormath`
    )
elementwise("arctan2", c={"f": "atan2({0}, {1})"}, ulp=6)
elementwise("deg2rad", c={"f": "{0} * (({T})3.14159265358979323846 / 180)"}, ulp=1)
elementwise("rad2deg", c={"f": "{0} * (180 / ({T})3.14159265358979323846)"}, ulp=1)

# Rounding
for _name in ("floor", "ceil", "trunc"):
    elementwise(_name, c={"f": f"{_name}({{0}})", "*": "{0}"})
elementwise("rint", c=_call("rint", "rint"))

# Tests and comparisons
elementwise("isfinite", c={"f": "isfinite({0}) != 0", "c": "(isfinite({0}.x) && isfinite({0}.y))", "*": "1"})
elementwise("isinf", c={"f": "isinf({0}) != 0", "c": "(isinf({0}.x) || isinf({0}.y))", "*": "0"})
elementwise("isnan", c={"f": "isnan({0}) != 0", "c": "(isnan({0}.x) || isnan({0}.y))", "*": "0"})
elementwise("signbit", c={"f": "signbit({0}) != 0"})
elementwise("equal", c=_compare("==", "({0}.x == {1}.x && {0}.y == {1}.y)"))
elementwise("not_equal", c=_compare("!=", "({0}.x != {1}.x || {0}.y != {1}.y)"))
for _name, _sign in {"less": "<", "less_equal": "<=", "greater": ">", "greater_equal": ">="}.items():
    elementwise(_name, c={k: v % _sign for k, v in _CMP.items()})

# Logic and bits
_TRUE = {"c": "(({0}.x != 0 || {0}.y != 0) %s ({1}.x != 0 || {1}.y != 0))", "*": "(({0} != 0) %s ({1} != 0))"}
for _name, _sign, _identity in (("logical_and", "&", True), ("logical_or", "|", False), ("logical_xor", "^", False)):
    elementwise(_name, c={k: v % _sign for k, v in _TRUE.items()}, identity=_identity, associative=True)
elementwise("logical_not", c={"c": "({0}.x == 0 && {0}.y == 0)", "*": "({0} == 0)"})
for _name, _sign, _bits in (("bitwise_and", "&", -1), ("bitwise_or", "|", 0), ("bitwise_xor", "^", 0)):
    elementwise(_name, c=f"{{0}} {_sign} {{1}}", identity=_bits, associative=True)
elementwise("invert", c={"b": "!{0}", "*": "~{0}"})
_TOO_FAR = "((unsigned long){1} >= {bits} ? "
elementwise("left_shift", c={"*": "({T})" + _TOO_FAR + "0 : ({U}){0} << {1})"})
elementwise("right_shift", c={"i": _TOO_FAR + "({0} < 0 ? -1 : 0) : {0} >> {1})", "u": _TOO_FAR + "0 : {0} >> {1})"})
elementwise("bitwise_count", c={"u": "popcount({0})", "i": "popcount({0} < 0 ? ({U})0 - ({U}){0} : ({U}){0})"})

# Extremes: NaN wins in maximum and minimum, loses in fmax and fmin
for _name, _sign in (("maximum", ">="), ("minimum", "<=")):
    elementwise(
        _name,
        c={
            "f": f"({{0}} {_sign} {{1}} || isnan({{0}}) ? {{0}} : {{1}})",
            "*": f"({{0}} {_sign} {{1}} ? {{0}} : {{1}})",
        },
        associative=True,
    )
for _name, _sign in (("fmax", ">="), ("fmin", "<=")):
    elementwise(
        _name,
        c={
            "f": f"({{0}} {_sign} {{1}} || isnan({{1}}) ? {{0}} : {{1}})",
            "*": f"({{0}} {_sign} {{1}} ? {{0}} : {{1}})",
        },
        expand=_extreme("greater_equal" if _name == "fmax" else "less_equal"),
        expand_kinds="f",
    )

# Complex numbers and choice
elementwise("conjugate", c={"c": "gpx_complex_{T}({0}.x, -{0}.y)", "*": "{0}"})
elementwise("select", np.maximum, nin=3, c="({0} ? {1} : {2})", run=_select)
