"""The op table in LLVM's words: one instruction sequence per row and kind of dtype.

Steps are separated by ``;``. ``{0}`` ... are operands, ``{p[0]}`` ... the results of the steps before, ``{T}`` is the
result's type, ``{S}`` the operands', ``{X}`` that one's name in intrinsics, ``{bits}`` its width. No step has flags
that would let LLVM reassociate or contract: every result is the IEEE result of the very operation that was written.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..dtypes import DType
from ..kernel import Inst

# complex numbers are pairs: what is done to each part alone is an instruction, the rest is left to NumPy's loops
_F = {"f": "float", "d": "double", "F": "<2 x float>", "D": "<2 x double>"}


def type_of(dtype: DType) -> str | None:
    """Return the LLVM type of a value, or None where kernels are not compiled for the dtype."""
    if dtype.kind == "b":
        return "i1"
    if dtype.kind in "iu":
        return f"i{dtype.itemsize * 8}"
    return _F.get(dtype.char)


def memory_type(dtype: DType) -> str:
    """Return the LLVM type of an element in memory."""
    found = "i8" if dtype.kind == "b" else type_of(dtype)
    assert found is not None
    return found


def constant(value: int | float, dtype: DType) -> str:
    """Return a constant as LLVM writes it: floats by their bits."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind in "iu":
        return str(int(np.asarray(value).astype(dtype)))
    if dtype.kind == "c":
        part = dtype.type(0).real.dtype
        return f"<{type_of(part)} {constant(value, part)}, {type_of(part)} 0.0>"
    bits = int(np.asarray(float(np.asarray(value, dtype)), np.float64).view(np.uint64))
    return f"0x{bits:016X}"


_INFINITY = "0x7FF0000000000000"
_SAME = "select i1 true, {T} {0}, {T} {0}"
_NEVER, _ALWAYS = "and i1 false, false", "or i1 true, true"


def _unary(name: str) -> str:
    return f"call {{T}} @llvm.{name}.{{X}}({{T}} {{0}})"


def _truth(word: str) -> dict[str, str]:
    """Return a logical operation on what is not zero."""
    tests = {"f": "fcmp une {S} {%d}, 0.0", "i": "icmp ne {S} {%d}, 0"}
    both = {k: f"{t % 0}; {t % 1}; {word} i1 {{p[0]}}, {{p[1]}}" for k, t in tests.items()}
    return {"f": both["f"], "i": both["i"], "u": both["i"], "b": f"{word} i1 {{0}}, {{1}}"}


def _compared(floats: str, signed: str, unsigned: str) -> dict[str, str]:
    return {
        "f": f"fcmp {floats} {{S}} {{0}}, {{1}}",
        "i": f"icmp {signed} {{S}} {{0}}, {{1}}",
        "u": f"icmp {unsigned} {{S}} {{0}}, {{1}}",
        "b": f"icmp {unsigned} i1 {{0}}, {{1}}",
    }


def _arithmetic(word: str, boolean: str | None = None) -> dict[str, str]:
    floats = f"f{word} {{T}} {{0}}, {{1}}"
    found = {
        "f": floats,
        "i": f"{word} {{T}} {{0}}, {{1}}",
        "u": f"{word} {{T}} {{0}}, {{1}}",
    }
    if word != "mul":
        found["c"] = floats
    return found | ({"b": f"{boolean} i1 {{0}}, {{1}}"} if boolean else {})


def _bitwise(word: str) -> dict[str, str]:
    return dict.fromkeys("iub", f"{word} {{T}} {{0}}, {{1}}")


def _shift(word: str, beyond: str) -> str:
    return (
        f"icmp ult {{S}} {{1}}, {{bits}}; {word} {{T}} {{0}}, {{1}}; {beyond}; "
        "select i1 {p[0]}, {T} {p[1]}, {T} {p[2]}"
    )


def _extreme(floats: str, signed: str, unsigned: str, boolean: str) -> dict[str, str]:
    """NaN wins; of two equal operands the second is taken, which shows in the sign of a zero: so do NumPy's vectors."""
    whole = "icmp {} {{S}} {{0}}, {{1}}; select i1 {{p[0]}}, {{T}} {{0}}, {{T}} {{1}}"
    return {
        # without `freeze` LLVM joins the conditions, and misses that the first two steps are one instruction
        "f": f"fcmp {floats} {{S}} {{0}}, {{1}}; select i1 {{p[0]}}, {{T}} {{0}}, {{T}} {{1}}; freeze {{T}} {{p[1]}}; "
        "fcmp uno {S} {0}, {0}; select i1 {p[3]}, {T} {0}, {T} {p[2]}",
        "i": whole.format(signed),
        "u": whole.format(unsigned),
        "b": f"{boolean} i1 {{0}}, {{1}}",
    }


_ZERO_SHIFT = "add {T} 0, 0"
SPELLED: dict[str, dict[str, str]] = {
    "add": _arithmetic("add", "or"),
    "subtract": _arithmetic("sub"),
    "multiply": _arithmetic("mul", "and"),
    "divide": {"f": "fdiv {T} {0}, {1}"},
    "negative": {"f": "fneg {T} {0}", "c": "fneg {T} {0}", "i": "sub {T} 0, {0}", "u": "sub {T} 0, {0}"},
    "positive": dict.fromkeys("fciu", _SAME),
    "conjugate": dict.fromkeys("fiu", _SAME),
    "absolute": {
        "f": _unary("fabs"),
        "i": "icmp slt {T} {0}, 0; sub {T} 0, {0}; select i1 {p[0]}, {T} {p[1]}, {T} {0}",
        "u": _SAME,
        "b": _SAME,
    },
    "fabs": {"f": _unary("fabs")},
    "sign": {
        "f": "fcmp olt {S} {0}, 0.0; select i1 {p[0]}, {T} -1.0, {T} {0}; fcmp oeq {S} {0}, 0.0; "
        "select i1 {p[2]}, {T} 0.0, {T} {p[1]}; fcmp ogt {S} {0}, 0.0; select i1 {p[4]}, {T} 1.0, {T} {p[3]}",
        "i": "icmp sgt {S} {0}, 0; icmp slt {S} {0}, 0; select i1 {p[1]}, {T} -1, {T} 0; "
        "select i1 {p[0]}, {T} 1, {T} {p[2]}",
        "u": "icmp ugt {S} {0}, 0; select i1 {p[0]}, {T} 1, {T} 0",
    },
    "square": {"f": "fmul {T} {0}, {0}", "i": "mul {T} {0}, {0}", "u": "mul {T} {0}, {0}"},
    "reciprocal": {"f": "fdiv {T} 1.0, {0}"},
    "sqrt": {"f": _unary("sqrt")},
    "copysign": {"f": "call {T} @llvm.copysign.{X}({T} {0}, {T} {1})"},
    "floor": {"f": _unary("floor"), **dict.fromkeys("iub", _SAME)},
    "ceil": {"f": _unary("ceil"), **dict.fromkeys("iub", _SAME)},
    "trunc": {"f": _unary("trunc"), **dict.fromkeys("iub", _SAME)},
    "rint": {"f": _unary("rint")},
    "isnan": {"f": "fcmp uno {S} {0}, {0}", **dict.fromkeys("iub", _NEVER)},
    "isinf": {
        "f": f"call {{S}} @llvm.fabs.{{X}}({{S}} {{0}}); fcmp oeq {{S}} {{p[0]}}, {_INFINITY}",
        **dict.fromkeys("iub", _NEVER),
    },
    "isfinite": {
        "f": f"call {{S}} @llvm.fabs.{{X}}({{S}} {{0}}); fcmp olt {{S}} {{p[0]}}, {_INFINITY}",
        **dict.fromkeys("iub", _ALWAYS),
    },
    "signbit": {"f": "bitcast {S} {0} to i{bits}; icmp slt i{bits} {p[0]}, 0"},
    "equal": _compared("oeq", "eq", "eq"),
    "not_equal": _compared("une", "ne", "ne"),
    "less": _compared("olt", "slt", "ult"),
    "less_equal": _compared("ole", "sle", "ule"),
    "greater": _compared("ogt", "sgt", "ugt"),
    "greater_equal": _compared("oge", "sge", "uge"),
    "logical_and": _truth("and"),
    "logical_or": _truth("or"),
    "logical_xor": _truth("xor"),
    "logical_not": {"f": "fcmp oeq {S} {0}, 0.0", "i": "icmp eq {S} {0}, 0", "u": "icmp eq {S} {0}, 0",
                    "b": "xor i1 {0}, true"},
    "bitwise_and": _bitwise("and"),
    "bitwise_or": _bitwise("or"),
    "bitwise_xor": _bitwise("xor"),
    "invert": dict.fromkeys("iub", "xor {T} {0}, -1"),
    "left_shift": dict.fromkeys("iu", _shift("shl", _ZERO_SHIFT)),
    "right_shift": {
        "i": "icmp ult {S} {1}, {bits}; ashr {T} {0}, {1}; icmp slt {T} {0}, 0; select i1 {p[2]}, {T} -1, {T} 0; "
        "select i1 {p[0]}, {T} {p[1]}, {T} {p[3]}",
        "u": _shift("lshr", _ZERO_SHIFT),
    },
    "maximum": _extreme("ogt", "sgt", "ugt", "or"),
    "minimum": _extreme("olt", "slt", "ult", "and"),
    "fmax": {k: v for k, v in _extreme("", "sgt", "ugt", "or").items() if k != "f"},
    "fmin": {k: v for k, v in _extreme("", "slt", "ult", "and").items() if k != "f"},
    "select": dict.fromkeys("fiub", "select i1 {0}, {T} {1}, {T} {2}"),
}  # fmt: skip


@lru_cache(maxsize=1)
def _numpys_extremes() -> bool:
    """Whether this machine's NumPy picks the second of two zeros in maximum and minimum, as `SPELLED` does."""
    zeros = [np.full(9, z) for z in (0.0, -0.0)]
    picks = [np.signbit(fn(*pair)) for fn in (np.maximum, np.minimum) for pair in (zeros, zeros[::-1])]
    return all(bool((p == second).all()) for p, second in zip(picks, (True, False, True, False), strict=True))


def spelling(inst: Inst, operands: list[DType]) -> str | None:
    """Return the steps for an instruction, or None where it is left to NumPy's own loop."""
    if inst.op == "select":
        return SPELLED["select"]["f"]
    if len({d for d in operands}) != 1:
        return None
    if inst.op in ("maximum", "minimum") and operands[0].kind == "f" and not _numpys_extremes():
        return None
    return SPELLED.get(inst.op, {}).get(operands[0].kind)


def cast(value: str, source: DType, target: DType) -> str | None:
    """Return the steps of a conversion with C's meaning on this machine, or None."""
    a, b = type_of(source), type_of(target)
    if a is None or b is None:
        return None
    if source == target:
        return f"select i1 true, {b} {value}, {b} {value}"
    if source.kind == "c" or target.kind == "c":
        return _complex_cast(value, source, target)
    if target.kind == "b":
        return f"fcmp une {a} {value}, 0.0" if source.kind == "f" else f"icmp ne {a} {value}, 0"
    if source.kind == "f":
        return _from_float(value, a, b, target)
    word = "sext" if source.kind == "i" else "zext"
    if target.kind == "f":
        return f"{'sitofp' if source.kind == 'i' else 'uitofp'} {a} {value} to {b}"
    if source.itemsize == target.itemsize and source.kind != "b":
        return f"select i1 true, {b} {value}, {b} {value}"
    wider = source.kind == "b" or source.itemsize < target.itemsize
    return f"{word if wider else 'trunc'} {a} {value} to {b}"


def _complex_cast(value: str, source: DType, target: DType) -> str | None:
    """Return the steps of a conversion to complex numbers; NumPy's to real ones is rare, and warns."""
    if target.kind != "c":
        return None
    a, b = type_of(source), type_of(target)
    if source.kind == "c":
        return f"{'fpext' if target.itemsize > source.itemsize else 'fptrunc'} {a} {value} to {b}"
    part = target.type(0).real.dtype
    real = cast(value, source, part)
    return None if real is None else f"{real}; insertelement {b} zeroinitializer, {type_of(part)} {{p[0]}}, i32 0"


def _from_float(value: str, a: str, b: str, target: DType) -> str | None:
    if target.kind == "f":
        return f"{'fpext' if target.itemsize == 8 else 'fptrunc'} {a} {value} to {b}"
    if target.itemsize == 8:  # C gives an unsigned result out of range by several instructions: NumPy's are not known
        return f"fptosi {a} {value} to {b}" if target.kind == "i" else None
    through = "i64" if target.itemsize == 4 and target.kind == "u" else "i32"
    first = f"fptosi {a} {value} to {through}"
    return first if through == b else f"{first}; trunc {through} {{p[0]}} to {b}"
