"""How C-like languages spell types, casts and the rows of the table, with NumPy's meaning where C has none."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..dtypes import BOOL, DType
from ..errors import Unsupported
from ..ops import ELEMENTWISE
from . import complexmath


@dataclass(frozen=True)
class Dialect:
    """How one language spells what C leaves open.

    Attributes
    ----------
    types
        C type by dtype name; a dtype that is missing cannot be used.
    names
        Thread positions and the like, by the names that the renderer uses.
    group
        Whether the threads of a group share the work on one block (GPU), or each thread does whole blocks (CPU).
    parameter_bytes
        What one launch may pass by value; a larger struct comes through constant memory.
    extras
        Definitions that a source begins with if it contains the word they are listed under.
    """

    name: str
    types: Mapping[str, str]
    names: Mapping[str, str]
    prelude: str
    group: bool = True
    parameter_bytes: int = 1024
    extras: Mapping[str, str] = field(default_factory=dict)


_TYPES = {
    "bool": "uchar", "int8": "char", "int16": "short", "int32": "int", "int64": "long",
    "uint8": "uchar", "uint16": "ushort", "uint32": "uint", "uint64": "ulong",
    "float32": "float", "float64": "double", "complex64": "float2", "complex128": "double2",
}  # fmt: skip
DOUBLE = ("float64", "complex128")

OPENCL = Dialect(
    "OpenCL",
    _TYPES,
    {
        "function": "kernel void",
        "device": "",
        "global": "global ",
        "local": "local ",
        "constant": "constant ",
        "scratch": "local uchar* scratch",
        "shared": "",
        "item0": "get_global_id(0)", "items0": "get_global_size(0)",
        "item1": "get_global_id(1)", "items1": "get_global_size(1)",
        "thread0": "get_local_id(0)", "threads0": "get_local_size(0)",
        "thread1": "get_local_id(1)", "threads1": "get_local_size(1)",
        "group0": "get_group_id(0)",
        "barrier": "barrier(CLK_LOCAL_MEM_FENCE);",
        "vectorize": "",
        "complex": "({T})(x, y)",
        "load_bytes": "as_{T}(vload{n}(0, {at}))",
        "store_bytes": "vstore{n}(as_uchar{n}({value}), 0, {at});",
    },
    "#pragma OPENCL FP_CONTRACT OFF\n#ifdef cl_khr_fp64\n#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n#endif\n",
)  # fmt: skip
# on a CPU an element depends on no other: say so, or no loop with a store is vectorised
OPENCL_CPU = Dialect(
    "OpenCL for CPUs",
    _TYPES,
    {**OPENCL.names, "vectorize": "#pragma clang loop vectorize(assume_safety)"},
    OPENCL.prelude,
    group=False,
)

_CUDA_COMPLEX = """__device__ {T} operator+({T} a, {T} b) {{ return make_{T}(a.x + b.x, a.y + b.y); }}
__device__ {T} operator-({T} a, {T} b) {{ return make_{T}(a.x - b.x, a.y - b.y); }}
__device__ {T} operator-({T} a) {{ return make_{T}(-a.x, -a.y); }}
"""
CUDA = Dialect(
    "CUDA C++",
    {**_TYPES, "int8": "schar"},  # plain char has no sign on some processors
    {
        "function": 'extern "C" __global__ void',
        "device": "__device__ ",
        "global": "",
        "local": "",
        "constant": "",
        "scratch": "",
        "shared": "extern __shared__ __align__(16) uchar scratch[];",
        "item0": "((long)blockIdx.x * blockDim.x + threadIdx.x)", "items0": "((long)gridDim.x * blockDim.x)",
        "item1": "((long)blockIdx.y * blockDim.y + threadIdx.y)", "items1": "((long)gridDim.y * blockDim.y)",
        "thread0": "(long)threadIdx.x", "threads0": "(long)blockDim.x",
        "thread1": "(long)threadIdx.y", "threads1": "(long)blockDim.y",
        "group0": "(long)blockIdx.x",
        "barrier": "__syncthreads();",
        "vectorize": "",
        "complex": "make_{T}(x, y)",
        "load_bytes": "load_bytes<{T}>({at})",
        "store_bytes": "store_bytes({at}, {value});",
    },
    # on Windows a long has 32 bits
    "#define long long long\n"
    "typedef signed char schar;\ntypedef unsigned char uchar;\ntypedef unsigned short ushort;\n"
    "typedef unsigned int uint;\ntypedef unsigned long ulong;\n",
    parameter_bytes=4096,
    extras={
        "float2": _CUDA_COMPLEX.format(T="float2"),
        "double2": _CUDA_COMPLEX.format(T="double2"),
        "INFINITY": "#define INFINITY __int_as_float(0x7f800000)\n",
        "popcount": "__device__ int popcount(uint x) { return __popc(x); }\n"
        "__device__ int popcount(int x) { return __popc(x); }\n"  # shorter integers become one
        "__device__ int popcount(ulong x) { return __popcll(x); }\n",
        "load_bytes": "template <typename T>\n__device__ T load_bytes(const uchar* at) {\n"
        "  T x;\n  memcpy(&x, at, sizeof x);\n  return x;\n}\n",
        "store_bytes": "template <typename T>\n__device__ void store_bytes(uchar* at, T x) {\n"
        "  memcpy(at, &x, sizeof x);\n}\n",
    },
)  # fmt: skip
# Contraction off, division and root correctly rounded, subnormal numbers kept
CUDA_OPTIONS = ("--std=c++17", "--fmad=false", "--prec-div=true", "--prec-sqrt=true", "--ftz=false")

# Functions that the table's expressions and the casts below call; only those used are written out. Fields: {T} type,
# {U} its unsigned twin of at least 32 bits, {R} type of a complex number's parts.
_HELPERS = {
    "floordiv:i": "{T} {f}({T} a, {T} b) {{\n"
    "  if (b == 0) return 0;\n"
    "  if (b == -1) return ({T})(0 - ({U})a);\n"
    "  return ({T})(a / b - (a % b != 0 && (a < 0) != (b < 0)));\n}}",
    "mod:i": "{T} {f}({T} a, {T} b) {{\n"
    "  if (b == 0 || b == -1) return 0;\n"
    "  const {T} r = ({T})(a % b);\n"
    "  return ({T})(r != 0 && (r < 0) != (b < 0) ? r + b : r);\n}}",
    "fmod:i": "{T} {f}({T} a, {T} b) {{ return ({T})(b == 0 || b == -1 ? 0 : a % b); }}",
    **dict.fromkeys(
        ("ipow:i", "ipow:u"),
        "{T} {f}({T} a, {T} b) {{\n"
        "  {U} found = 1, base = ({U})a;\n"
        "  for ({U} n = ({U})b; n; n >>= 1, base *= base) if (n & 1) found *= base;\n"
        "  return ({T})found;\n}}",
    ),
    "floordiv:f": "{T} {f}({T} a, {T} b) {{\n"
    "  if (b == 0) return a / b;\n"
    "  const {T} r = fmod(a, b);\n"
    "  {T} q = (a - r) / b;\n"
    "  if (r != 0 && (b < 0) != (r < 0)) q -= 1;\n"
    "  if (q == 0) return copysign(({T})0, a / b);\n"
    "  const {T} down = floor(q);\n"
    "  return q - down > ({T})0.5 ? down + 1 : down;\n}}",
    "mod:f": "{T} {f}({T} a, {T} b) {{\n"
    "  const {T} r = fmod(a, b);\n"
    "  if (b == 0) return r;\n"
    "  if (r == 0) return copysign(({T})0, b);\n"
    "  return (b < 0) != (r < 0) ? r + b : r;\n}}",
    "logaddexp:f": "{T} {f}({T} a, {T} b) {{\n"
    "  if (a == b) return a + ({T})0.693147180559945309417232121458176568;\n"
    "  const {T} d = a - b;\n"
    "  return d > 0 ? a + log1p(exp(-d)) : d <= 0 ? b + log1p(exp(d)) : d;\n}}",
    "logaddexptwo:f": "{T} {f}({T} a, {T} b) {{\n"
    "  if (a == b) return a + 1;\n"
    "  const {T} d = a - b, s = ({T})1.442695040888963407359924681001892137;\n"
    "  return d > 0 ? a + s * log1p(exp2(-d)) : d <= 0 ? b + s * log1p(exp2(d)) : d;\n}}",
    "gcd:i": "{T} {f}({T} a, {T} b) {{\n"
    "  {U} x = a < 0 ? 0 - ({U})a : ({U})a, y = b < 0 ? 0 - ({U})b : ({U})b;\n"
    "  while (y) {{ const {U} r = x % y; x = y; y = r; }}\n"
    "  return ({T})x;\n}}",
    "gcd:u": "{T} {f}({T} a, {T} b) {{\n  while (b) {{ const {T} r = a % b; a = b; b = r; }}\n  return a;\n}}",
    "lcm:i": "{T} {f}({T} a, {T} b) {{\n"
    "  {U} x = a < 0 ? 0 - ({U})a : ({U})a, y = b < 0 ? 0 - ({U})b : ({U})b;\n"
    "  const {U} g = x, h = y;\n"
    "  while (y) {{ const {U} r = x % y; x = y; y = r; }}\n"
    "  return ({T})(x ? g / x * h : 0);\n}}",
    "lcm:u": "{T} {f}({T} a, {T} b) {{\n"
    "  const {T} g = a, h = b;\n"
    "  while (b) {{ const {T} r = a % b; a = b; b = r; }}\n"
    "  return ({T})(a ? (ulong)(g / a) * h : 0);\n}}",
    # NumPy's x86-64 rule for values out of range: the most negative integer
    "int:f": "int {f}({T} x) {{\n"
    "  return x > ({T})-2147483649.0 && x < ({T})2147483648.0 ? (int)x : -2147483647 - 1;\n}}",
    "long:f": "long {f}({T} x) {{\n"
    "  return x >= ({T})-0x1p63 && x < ({T})0x1p63 ? (long)x : -0x7fffffffffffffffL - 1;\n}}",
    "ulong:f": "ulong {f}({T} x) {{\n"
    "  if (x >= ({T})0x1p63) return x < ({T})0x1p64 ? (ulong)(x - ({T})0x1p63) + 0x8000000000000000UL : 0;\n"
    "  return (ulong)(x >= ({T})-0x1p63 ? (long)x : -0x7fffffffffffffffL - 1);\n}}",
    "complex:c": "{T} {f}({R} x, {R} y) {{ return {complex}; }}",
    "cmul:c": "{T} {f}({T} a, {T} b) {{\n  return gpx_complex_{T}(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x);\n}}",
    "cdiv:c": "{T} {f}({T} a, {T} b) {{\n"
    "  if (fabs(b.x) >= fabs(b.y)) {{\n"
    "    if (b.x == 0 && b.y == 0) return gpx_complex_{T}(a.x / fabs(b.x), a.y / fabs(b.x));\n"
    "    const {R} ratio = b.y / b.x, scale = 1 / (b.x + b.y * ratio);\n"
    "    return gpx_complex_{T}((a.x + a.y * ratio) * scale, (a.y - a.x * ratio) * scale);\n"
    "  }}\n"
    "  const {R} ratio = b.x / b.y, scale = 1 / (b.y + b.x * ratio);\n"
    "  return gpx_complex_{T}((a.x * ratio + a.y) * scale, (a.y * ratio - a.x) * scale);\n}}",
    "cabs:c": "{R} {f}({T} a) {{\n"
    "  const {R} x = fabs(a.x), y = fabs(a.y), most = x > y ? x : y;\n"
    "  if (isinf(x) || isinf(y)) return INFINITY;\n"
    "  if (!(most > 0)) return x + y;\n"
    "  const int e = ilogb(most);\n"
    "  const {R} u = ldexp(x, -e), v = ldexp(y, -e);\n"
    "  return ldexp(sqrt(u * u + v * v), e);\n}}",
    **complexmath.HELPERS,
}
_CALL = re.compile(r"gpx_([a-z]+)_(\w+)")
_SIGNED_ONE_WORD = ("int8", "int16", "int32", "uint8", "uint16")  # NumPy converts floats to these through int32


def component(dtype: DType) -> DType:
    """Return what a dtype's memory consists of: the parts of a complex number, else the dtype."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


def expression(name: str, dtype: DType, operands: Sequence[DType], args: Sequence[str], dialect: Dialect) -> str:
    """Return a row of the table applied to named values of these dtypes."""
    first = operands[0]
    if len(operands) == 2 and {operands[0].kind, operands[1].kind} == {"i", "u"} and name in _BELOW:
        return _compare_signs(name, operands, args)
    spelled = ELEMENTWISE[name].c
    template = spelled.get(first.kind) or (spelled.get("*") if first.kind in "biuf" else None)
    if template is None:
        raise Unsupported(f"{name} of {first} has no {dialect.name} spelling")
    return template.format(
        *args,
        T=type_name(dtype, dialect),
        S=type_name(first, dialect),
        U=unsigned(first),
        bits=first.itemsize * 8,
    )


# Comparisons, and what they say of a number below the other one
_BELOW = {"less": 1, "less_equal": 1, "not_equal": 1, "equal": 0, "greater": 0, "greater_equal": 0}
_SIGNS = {"less": "<", "less_equal": "<=", "not_equal": "!=", "equal": "==", "greater": ">", "greater_equal": ">="}


def _compare_signs(name: str, operands: Sequence[DType], args: Sequence[str]) -> str:
    """Compare a signed with an unsigned integer by value, where C would convert the signed one."""
    signed = 0 if operands[0].kind == "i" else 1
    below = _BELOW[name] if signed == 0 or name in ("equal", "not_equal") else 1 - _BELOW[name]
    x, y = (f"({unsigned(operands[1 - signed])}){a}" if k == signed else a for k, a in enumerate(args))
    return f"({args[signed]} < 0 ? {below} : {x} {_SIGNS[name]} {y})"


def type_name(dtype: DType, dialect: Dialect) -> str:
    """Return the C type of a dtype."""
    found = dialect.types.get(dtype.name)
    if found is None:
        raise Unsupported(f"{dtype} is not a type that {dialect.name} has on this device")
    return found


def unsigned(dtype: DType) -> str:
    """Return the unsigned type to compute in: C would widen a smaller one to a signed int, which overflows."""
    return "ulong" if dtype.itemsize == 8 else "uint"


def cast(value: str, source: DType, target: DType, dialect: Dialect) -> str:
    """Return a conversion by NumPy's rules."""
    to, kind = type_name(target, dialect), source.kind
    if kind == "c":
        if target == BOOL:
            return f"({value}.x != 0 || {value}.y != 0)"
        if target.kind == "c":
            part = type_name(component(target), dialect)
            return f"gpx_complex_{to}(({part}){value}.x, ({part}){value}.y)"
        value, source = f"{value}.x", component(source)
    if target == BOOL:
        return f"({value} != 0)"
    if target.kind == "c":
        return f"gpx_complex_{to}(({type_name(component(target), dialect)}){value}, 0)"
    if source.kind == "f" and target.kind in "iu":
        via = "int" if target.name in _SIGNED_ONE_WORD else "ulong" if target.name == "uint64" else "long"
        return f"({to})gpx_{via}_{type_name(source, dialect)}({value})"
    return f"({to}){value}"


def constant(value: int, dtype: DType, dialect: Dialect) -> str:
    """Return a small integer in a dtype."""
    to = type_name(dtype, dialect)
    return f"gpx_complex_{to}({value}, 0)" if dtype.kind == "c" else f"({to}){value}"


def helpers(text: str, dialect: Dialect) -> list[str]:
    """Return the definitions of the helper functions that a text calls, and of those that they call."""
    found: dict[str, str] = {}
    by_type = {c_type: np.dtype(name) for name, c_type in dialect.types.items() if name != "bool"}

    def define(text: str) -> None:
        for name, c_type in dict.fromkeys(_CALL.findall(text)):
            full = f"gpx_{name}_{c_type}"
            if full in found or c_type not in by_type:
                continue
            dtype = by_type[c_type]
            made = _HELPERS[f"{name}:{dtype.kind}"].format(
                f=full,
                T=c_type,
                U=unsigned(dtype),
                R=type_name(component(dtype), dialect),
                complex=dialect.names["complex"].format(T=c_type),
            )
            define(made.replace(full, ""))
            found[full] = dialect.names["device"] + made

    define(text)
    return list(found.values())
