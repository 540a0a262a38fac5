"""Products of matrices on OpenCL devices: tiles in local memory on a GPU, packed panels on a CPU."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ..dtypes import BOOL, DType
from ..geometry import broadcast_strides, collapse
from ..kernel import Inst, Kernel, Reduction
from . import openclblas
from .base import Arg, Operand
from .launching import packed_strides
from .openclcalls import Calls, is_aligned

_LEAD = 4  # leading dimensions that a kernel takes
_NARROW = 8  # with fewer rows or columns a product is limited by memory, and a reduction does it
_LITTLE = 16  # small matrices do not fill a tile
_DEPTH = 256  # products that are added up before they join the result, which keeps the error small
_BLOCK = 4  # panels along each side of a CPU's task

# element type, and the type of its parts: integers without sign, whose overflow C defines
_TYPES = {
    "bool": "uchar", "int8": "uchar", "uint8": "uchar", "int16": "ushort", "uint16": "ushort", "int32": "uint",
    "uint32": "uint", "int64": "ulong", "uint64": "ulong", "float32": "float", "float64": "double",
    "complex64": "float", "complex128": "double",
}  # fmt: skip

_COMMON = """#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
long at(long batch, long4 extents, long4 strides) {
  long sum = 0;
  sum += batch % extents.w * strides.w; batch /= extents.w;
  sum += batch % extents.z * strides.z; batch /= extents.z;
  sum += batch % extents.y * strides.y; batch /= extents.y;
  return sum + batch * strides.x;
}
"""


def _value(name: str) -> str:
    """Return what is read of an element: of a bool whether it is not zero, whatever its byte."""
    return "((X) != 0)" if name == "bool" else "(X)"


class _Product(NamedTuple):
    """What is multiplied: all strides and offsets count elements."""

    a: Operand  # (lead..., m, k)
    b: Operand  # (lead..., k, n)
    out: Operand  # (lead..., m, n), packed, at the beginning of its memory
    extents: tuple[int, ...]  # of the leading dimensions, `_LEAD` of them
    leads: tuple[tuple[int, ...], ...]  # strides of a, b and out along them

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows, columns, and what is summed over."""
        return self.a.shape[-2], self.b.shape[-1], self.a.shape[-1]


def matmul(calls: Calls, a: Operand, b: Operand, out: Operand) -> None:
    """Multiply as `numpy.matmul` does, for every dtype of the device."""
    if len(a.shape) == 1:
        a = a._replace(shape=(1, *a.shape), strides=(0, *a.strides))
        out = _widened(out, len(out.shape) - (len(b.shape) > 1))
    if len(b.shape) == 1:
        b = b._replace(shape=(*b.shape, 1), strides=(*b.strides, 0))
        out = _widened(out, len(out.shape))
    lead = out.shape[:-2]
    a, b = (_broadcast(o, lead) for o in (a, b))
    (m, k), n = a.shape[-2:], b.shape[-1]
    if min(m, n) < _NARROW or max(m, n, k) <= _LITTLE or not k:
        _reduce(calls, a, b, out)
        return
    a, b = (_taken(calls, o, out.dtype) for o in (a, b))
    made = calls.target(out)
    group = calls.device.dialect.group
    if not (group and math.prod(lead) == 1 and openclblas.multiply(calls.device.queue, a, b, made)):
        (_by_tiles if group else _by_panels)(calls, _product(calls, a, b, made))
    calls.copy(made, out)


def _widened(o: Operand, axis: int) -> Operand:
    """Return a view with a dimension of one element put before `axis`."""
    return o._replace(shape=(*o.shape[:axis], 1, *o.shape[axis:]), strides=(*o.strides[:axis], 0, *o.strides[axis:]))


def _broadcast(o: Operand, lead: tuple[int, ...]) -> Operand:
    shape = (*lead, *o.shape[-2:])
    return o._replace(shape=shape, strides=broadcast_strides(o.shape, o.strides, shape))


def _taken(calls: Calls, o: Operand, dtype: DType) -> Operand:
    """Return a factor in a dtype, aligned; what is repeated is converted once."""
    if o.dtype == dtype and is_aligned(o):
        return o
    shape = tuple(1 if s == 0 else n for n, s in zip(o.shape, o.strides, strict=True))
    made = calls.packed(o._replace(shape=shape), dtype)
    return made._replace(shape=o.shape, strides=broadcast_strides(shape, made.strides, o.shape))


def _product(calls: Calls, a: Operand, b: Operand, out: Operand) -> _Product:
    """Return the product with few leading dimensions."""
    lead = out.shape[:-2]
    extents, leads, _ = collapse(lead, tuple(o.strides[:-2] for o in (a, b, out)), len(lead))
    if len(extents) > _LEAD:  # then nothing is repeated any more, and one dimension is left
        a, b = (calls.packed(o) for o in (a, b))
        extents, leads = (math.prod(lead),), tuple((math.prod(o.shape[-2:]) * o.dtype.itemsize,) for o in (a, b, out))
    missing = _LEAD - len(extents)
    size = out.dtype.itemsize
    a, b, out = (o._replace(offset=o.offset // size, strides=tuple(s // size for s in o.strides)) for o in (a, b, out))
    return _Product(
        a, b, out, (1,) * missing + extents, tuple((0,) * missing + tuple(s // size for s in lead) for lead in leads)
    )


def _four(numbers: Sequence[int]) -> bytes:
    return struct.pack("4q", *numbers)


# By reduction


@lru_cache(maxsize=256)
def _reduction(a: DType, b: DType, out: DType) -> Kernel:
    """Return the kernel that multiplies and adds up."""
    multiply, add = ("logical_and", "logical_or") if out == BOOL else ("multiply", "add")
    body: list[Inst] = [Inst("load", (), a, 0), Inst("load", (), b, 1)]
    places = [0, 1]
    for place, dtype in enumerate((a, b)):
        if dtype != out:
            places[place] = len(body)
            body.append(Inst("cast", (place,), out))
    body.append(Inst(multiply, tuple(places), out))
    return Kernel((a, b, out), (), tuple(body), (), (Reduction(add, len(body) - 1, 2),))


def _reduce(calls: Calls, a: Operand, b: Operand, out: Operand) -> None:
    loop = (*out.shape, a.shape[-1])
    strides = (
        (*a.strides[:-1], 0, a.strides[-1]),
        (*b.strides[:-2], 0, b.strides[-1], b.strides[-2]),
        (*out.strides, 0),
    )
    shape, operands, kept = collapse(loop, strides, len(out.shape))
    args = [Arg(o.mem, o.offset, s) for o, s in zip((a, b, out), operands, strict=True)]
    if shape:
        args[2] = args[2]._replace(strides=args[2].strides[:kept])
    else:  # a single product
        shape, kept = (1,), 0
        args = [arg._replace(strides=s) for arg, s in zip(args, ((0,), (0,), ()), strict=True)]
    calls.device.compile(_reduction(a.dtype, b.dtype, out.dtype).over(len(shape), kept))(shape, args, ())


# On a GPU


@lru_cache(maxsize=64)
def _tiles(name: str, side: int, each: int, depth: int) -> str:
    """Return the source for groups of side x side threads, each with each x each results."""
    part, pair = _TYPES[name], name.startswith("complex")
    element = f"{part}2" if pair else part
    add = "C[i][j] |= a[i] & b[j];" if name == "bool" else "C[i][j] += a[i] * b[j];"
    if pair:
        add = (
            "C[i][j].x += a[i].x * b[j].x; C[i][j].x -= a[i].y * b[j].y; "
            "C[i][j].y += a[i].x * b[j].y; C[i][j].y += a[i].y * b[j].x;"
        )
    return f"""{_COMMON}typedef {element} T;
#define SIDE {side}
#define EACH {each}
#define TILE (SIDE * EACH)
#define DEPTH {depth}
#define VALUE(X) {_value(name)}
kernel __attribute__((reqd_work_group_size(SIDE * SIDE, 1, 1)))
void multiply(global const T* A, global const T* B, global T* out, long a0, long b0,
    long m, long n, long k, long a_row, long a_step, long b_step, long b_column, long out_row,
    long4 extents, long4 a_lead, long4 b_lead, long4 out_lead) {{
  local T As[DEPTH][TILE + 1], Bs[DEPTH][TILE + 1];
  const long across = (n + TILE - 1) / TILE, down = (m + TILE - 1) / TILE;
  const long group = get_group_id(0), batch = group / (across * down);
  const long row0 = group / across % down * TILE, column0 = group % across * TILE;
  const int thread = get_local_id(0), x = thread % SIDE, y = thread / SIDE;
  A += a0 + at(batch, extents, a_lead) + row0 * a_row;
  B += b0 + at(batch, extents, b_lead) + column0 * b_column;
  out += at(batch, extents, out_lead) + row0 * out_row + column0;
  const int rows = min(m - row0, (long)TILE), columns = min(n - column0, (long)TILE);
  T C[EACH][EACH];
  for (int i = 0; i < EACH; i++) for (int j = 0; j < EACH; j++) C[i][j] = 0;
  for (long k0 = 0; k0 < k; k0 += DEPTH) {{
    const int steps = min(k - k0, (long)DEPTH);
    for (int e = thread; e < TILE * DEPTH; e += SIDE * SIDE) {{ /* neighbours read neighbours */
      const bool by_step = a_step == 1, by_column = b_column == 1;
      const int ka = by_step ? e % DEPTH : e / TILE, r = by_step ? e / DEPTH : e % TILE;
      const int kb = by_column ? e / TILE : e % DEPTH, c = by_column ? e % TILE : e / DEPTH;
      As[ka][r] = ka < steps && r < rows ? VALUE(A[r * a_row + (k0 + ka) * a_step]) : (T)(0);
      Bs[kb][c] = kb < steps && c < columns ? VALUE(B[c * b_column + (k0 + kb) * b_step]) : (T)(0);
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int s = 0; s < DEPTH; s++) {{
      T a[EACH], b[EACH];
      #pragma unroll
      for (int i = 0; i < EACH; i++) a[i] = As[s][y + i * SIDE];
      #pragma unroll
      for (int j = 0; j < EACH; j++) b[j] = Bs[s][x + j * SIDE];
      #pragma unroll
      for (int i = 0; i < EACH; i++)
        #pragma unroll
        for (int j = 0; j < EACH; j++) {{ {add} }}
    }}
    barrier(CLK_LOCAL_MEM_FENCE);
  }}
  for (int i = 0; i < EACH; i++) for (int j = 0; j < EACH; j++)
    if (y + i * SIDE < rows && x + j * SIDE < columns) out[(y + i * SIDE) * out_row + x + j * SIDE] = C[i][j];
}}
"""


def _by_tiles(calls: Calls, p: _Product) -> None:
    (m, n, k), size = p.sizes, p.out.dtype.itemsize
    side = 16 if calls.most_threads >= 256 else 8
    each = 8 if min(m, n) >= 512 and size <= 8 and side == 16 else 4
    source = _tiles(p.out.dtype.name, side, each, 8 if size > 4 or each > 4 else 16)
    tile = side * each
    groups = -(-m // tile) * -(-n // tile) * math.prod(p.extents)
    calls.start(
        source, "multiply", groups, side * side, p.a.mem, p.b.mem, p.out.mem, p.a.offset, p.b.offset,
        m, n, k, *p.a.strides[-2:], *p.b.strides[-2:], p.out.strides[-2], _four(p.extents), *map(_four, p.leads),
    )  # fmt: skip


# On a CPU


class _Panel(NamedTuple):
    """How results are kept in registers."""

    rows: int
    vectors: int
    width: int  # of a vector

    @property
    def columns(self) -> int:
        """Columns of a panel."""
        return self.vectors * self.width


@lru_cache(maxsize=64)
def _panel(name: str, bits: int) -> _Panel:
    """Return the largest block of results that the vector registers hold."""
    part = np.dtype(name).itemsize // (2 if name.startswith("complex") else 1)
    width = max(2, min(16, bits // 8 // part))
    many = bits >= 512  # 32 registers
    if name.startswith("complex"):
        return _Panel(6 if many else 3, 2, width)
    return _Panel(12 if many else 6, 2, width)


@lru_cache(maxsize=64)
def _panels(name: str, panel: _Panel) -> str:
    """Return the source whose threads multiply panels of packed rows and columns."""
    part, planes = _TYPES[name], 2 if name.startswith("complex") else 1
    element = f"{part}2" if planes == 2 else part
    rows, columns = range(panel.rows), range(panel.vectors)
    vector, width = f"{part}{panel.width}", panel.width
    join = "|=" if name == "bool" else "+="
    names = [f"c{q}_{i}_{j}" for q in range(planes) for i in rows for j in columns]
    loads = [
        f"const {vector} b{q}_{j} = vload{width}(0, b + {q * panel.columns + j * width});"
        for q in range(planes) for j in columns
    ]  # fmt: skip
    steps = []
    for i in rows:
        steps += [f"const {vector} a{q}_{i} = ({vector})(a[{q * panel.rows + i}]);" for q in range(planes)]
        for j in columns:
            if name == "bool":
                steps.append(f"c0_{i}_{j} |= a0_{i} & b0_{j};")
            else:
                steps.append(f"c0_{i}_{j} += a0_{i} * b0_{j};")
            if planes == 2:
                steps += [
                    f"c0_{i}_{j} -= a1_{i} * b1_{j};", f"c1_{i}_{j} += a0_{i} * b1_{j};",
                    f"c1_{i}_{j} += a1_{i} * b0_{j};",
                ]  # fmt: skip
    tile = panel.rows * panel.columns
    stores = [
        f"vstore{width}(c{q}_{i}_{j}, 0, tile + {q * tile + i * panel.columns + j * width});"
        for q in range(planes) for i in rows for j in columns
    ]  # fmt: skip
    value = f"({element})(tile[e], tile[{tile} + e])" if planes == 2 else "tile[e]"
    newline = "\n    "
    return f"""{_COMMON}typedef {element} T;
#define ROWS {panel.rows}
#define COLUMNS {panel.columns}
#define DEPTH {_DEPTH}
#define VALUE(X) {_value(name)}
/* pack rows into panels of `rows`, step by step, and fill up with zeros */
kernel void pack(global const T* from, global {part}* to, long from0, long rows, long extent, long k, long row,
    long step, long4 extents, long4 lead, long count) {{
  const long item = get_global_id(0), chunks = (k + DEPTH - 1) / DEPTH, panels = (extent + rows - 1) / rows;
  if (item >= count) return;
  const long chunk = item % chunks, panel = item / chunks % panels, batch = item / chunks / panels;
  const long first = chunk * DEPTH, last = min(k, first + DEPTH), real = min(rows, extent - panel * rows);
  from += from0 + at(batch, extents, lead) + panel * rows * row;
  to += ((batch * panels + panel) * k + first) * rows * {planes};
  for (long s = first; s < last; s++, to += rows * {planes}) {{
    for (long r = 0; r < real; r++) {{
      const T value = VALUE(from[r * row + s * step]);
      {"to[r] = value.x; to[rows + r] = value.y;" if planes == 2 else "to[r] = value;"}
    }}
    for (long r = real; r < rows; r++) {{ to[r] = 0; {"to[rows + r] = 0;" if planes == 2 else ""} }}
  }}
}}
void block(global const {part}* a, global const {part}* b, global T* out, long out_row, int steps, int rows,
    int columns, bool first) {{
  {vector} {", ".join(f"{c} = 0" for c in names)};
  for (int s = 0; s < steps; s++, a += ROWS * {planes}, b += COLUMNS * {planes}) {{
    {newline.join(loads + steps)}
  }}
  {part} tile[{tile * planes}];
    {newline.join(stores)}
  for (int r = 0; r < rows; r++, out += out_row)
    if (first) for (int c = 0; c < columns; c++) {{ const int e = r * COLUMNS + c; out[c] = {value}; }}
    else for (int c = 0; c < columns; c++) {{ const int e = r * COLUMNS + c; out[c] {join} {value}; }}
}}
kernel void multiply(global const {part}* A, global const {part}* B, global T* out, long m, long n, long k,
    long high, long wide, long out_row, long4 extents, long4 a_lead, long4 b_lead, long4 out_lead) {{
  const long panels_a = (m + ROWS - 1) / ROWS, panels_b = (n + COLUMNS - 1) / COLUMNS;
  const long across = (panels_b + wide - 1) / wide, down = (panels_a + high - 1) / high;
  const long group = get_group_id(0), batch = group / (across * down);
  const long i0 = group / across % down * high, j0 = group % across * wide;
  A += at(batch, extents, a_lead) * panels_a * ROWS * k * {planes};
  B += at(batch, extents, b_lead) * panels_b * COLUMNS * k * {planes};
  out += at(batch, extents, out_lead);
  for (long k0 = 0; k0 < k; k0 += DEPTH)
    for (long j = j0; j < min(panels_b, j0 + wide); j++)
      for (long i = i0; i < min(panels_a, i0 + high); i++)
        block(A + (i * k + k0) * ROWS * {planes}, B + (j * k + k0) * COLUMNS * {planes},
            out + i * ROWS * out_row + j * COLUMNS, out_row, min(k - k0, (long)DEPTH),
            min(m - i * ROWS, (long)ROWS), min(n - j * COLUMNS, (long)COLUMNS), k0 == 0);
}}
"""


def _by_panels(calls: Calls, p: _Product) -> None:
    (m, n, k), dtype = p.sizes, p.out.dtype
    part = np.dtype(f"u{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    planes = 2 if dtype.kind == "c" else 1
    panel = _panel(dtype.name, 32 * calls.device.device.native_vector_width_float)
    source = _panels(dtype.name, panel)
    packed, leads = [], []
    factors = (
        (p.a, panel.rows, m, p.a.strides[-2], p.a.strides[-1]),
        (p.b, panel.columns, n, p.b.strides[-1], p.b.strides[-2]),
    )
    for (o, rows, extent, row, step), lead in zip(factors, p.leads, strict=False):
        own = tuple(e if s else 1 for e, s in zip(p.extents, lead, strict=True))  # what is repeated is packed once
        panels, chunks = -(-extent // rows), -(-k // _DEPTH)
        mem = calls.temporary((math.prod(own) * panels * rows * k * planes,), part).mem
        calls.each(
            source, "pack", math.prod(own) * panels * chunks, o.mem, mem, o.offset, rows, extent, k, row, step,
            _four(own), _four(lead),
        )  # fmt: skip
        packed.append(mem)
        leads.append(tuple(0 if e == 1 else s for e, s in zip(own, packed_strides(own, 1), strict=True)))
    high, wide = (_BLOCK * 2, _BLOCK) if m * n > 512 * 512 else (_BLOCK, 2)
    groups = -(-m // (panel.rows * high)) * -(-n // (panel.columns * wide)) * math.prod(p.extents)
    calls.start(
        source, "multiply", groups, 1, *packed, p.out.mem, m, n, k, high, wide, p.out.strides[-2],
        _four(p.extents), *map(_four, leads), _four(p.leads[2]),
    )  # fmt: skip
