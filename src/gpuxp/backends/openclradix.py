"""Sorting of numbers by their digits on OpenCL devices that are CPUs: stable, and no element is compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from ..codegen.spelling import DOUBLE, type_name
from ..dtypes import DType
from .base import Operand
from .openclcalls import Calls, chosen

_LEAST, _MOST = 512, 1 << 31  # lengths of rows that are sorted so
_WORTH = 2048  # elements that are worth the launches for one byte of theirs
_DIGITS = 256  # a pass sorts by one byte: with more digits, more places are written to than caches hold
_CHUNK = 1 << 14  # elements that are worth a task ...
_TASKS = 32  # ... of which a row has so many at most

# An unsigned number in NumPy's order: NaN comes last, both zeros are one
_KEYS = {
    "b": "return x;",
    "u": "return x;",
    "i": "return as_K(x) ^ TOP;",
    "f": "if (x != x) return ~(K)0;\n"
    "  const K bits = x == 0 ? (K)0 : as_K(x);\n"
    "  return bits & TOP ? ~bits : bits | TOP;",
}
_UNSIGNED = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}

# Lines that begin with @ are there if places are sorted along with the elements
_SORT = """
/* count the digits of a chunk */
kernel void count(global const T* from, global uint* counts, long from0, long n, long chunks, long shift) {
  const long group = get_group_id(0), row = group / chunks, chunk = group % chunks, each = (n + chunks - 1) / chunks;
  const long last = min(n, (chunk + 1) * each);
  uint seen[DIGITS];
  for (int d = 0; d < DIGITS; d++) seen[d] = 0;
  for (long e = chunk * each; e < last; e++) seen[key(from[from0 + row * n + e]) >> shift & (DIGITS - 1)]++;
  for (int d = 0; d < DIGITS; d++) counts[(row * DIGITS + d) * chunks + chunk] = seen[d];
}

/* replace a row's counts by where the elements begin */
kernel void begin(global uint* counts, long chunks) {
  global uint* mine = counts + get_group_id(0) * DIGITS * chunks;
  uint sum = 0;
  for (long k = 0; k < DIGITS * chunks; k++) {
    const uint found = mine[k];
    mine[k] = sum;
    sum += found;
  }
}

/* move a chunk's elements to where their digits belong */
kernel void move(global const T* from, global T* to, global const uint* begins,
@   global const P* from_places, global P* to_places,
    long from0, long n, long chunks, long shift) {
  const long group = get_group_id(0), row = group / chunks, chunk = group % chunks, each = (n + chunks - 1) / chunks;
  const long last = min(n, (chunk + 1) * each);
  uint next[DIGITS];
  for (int d = 0; d < DIGITS; d++) next[d] = begins[(row * DIGITS + d) * chunks + chunk];
  for (long e = chunk * each; e < last; e++) {
    const T x = from[from0 + row * n + e];
    const long at = row * n + next[key(x) >> shift & (DIGITS - 1)]++;
    to[at] = x;
@   to_places[at] = shift ? from_places[row * n + e] : (P)e;
  }
}
"""


@lru_cache(maxsize=64)
def _source(dtype: DType, c_type: str, place: str, descending: bool) -> str:
    """Return the source that sorts elements, and their places if `place` is a type for them."""
    unsigned = _UNSIGNED[dtype.itemsize]
    body = _KEYS[dtype.kind].replace("as_K", f"as_{unsigned}")
    return (
        ("#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n" if dtype.name in DOUBLE else "")
        + f"typedef {c_type} T;\ntypedef {unsigned} K;\n#define P {place}\n#define DIGITS {_DIGITS}\n"
        + f"#define TOP ((K)1 << {8 * dtype.itemsize - 1})\n"
        + f"K ascending(T x) {{\n  {body}\n}}\n"
        + f"K key(T x) {{ return {'~' if descending else ''}ascending(x); }}\n"
        + chosen(_SORT, bool(place))
    )


def sorts(calls: Calls, rows: Operand) -> bool:
    """Whether rows are sorted so."""
    if calls.device.dialect.group or rows.dtype.kind not in _KEYS:
        return False
    return _LEAST <= rows.shape[-1] < _MOST and math.prod(rows.shape) >= _WORTH * rows.dtype.itemsize


def sort_rows(calls: Calls, rows: Operand, outs: Sequence[Operand], descending: bool) -> None:
    """Sort packed rows into the first of `outs`, and the places of their elements into the second."""
    dialect, dtype = calls.device.dialect, rows.dtype
    n, count = rows.shape[-1], math.prod(rows.shape[:-1])
    chunks = max(1, min(_TASKS, n // _CHUNK))
    place = type_name(outs[1].dtype, dialect) if len(outs) > 1 else ""
    source = _source(dtype, type_name(dtype, dialect), place, descending)
    counts = calls.device.alloc(4 * count * chunks * _DIGITS)
    ends = [[o.mem for o in outs]]  # what the passes write in turn; the last one writes here
    if dtype.itemsize > 1:
        ends.append([calls.temporary(o.shape, o.dtype).mem for o in outs])
    mem, offset, places = rows.mem, rows.offset // dtype.itemsize, ends[-1][1:]
    for done in range(dtype.itemsize):
        to, *to_places = ends[(dtype.itemsize - 1 - done) % 2]
        numbers = (offset, n, chunks, 8 * done)
        calls.start(source, "count", count * chunks, 1, mem, counts, *numbers)
        calls.start(source, "begin", count, 1, counts, chunks)
        calls.start(source, "move", count * chunks, 1, mem, to, counts, *places, *to_places, *numbers)
        mem, offset, places = to, 0, to_places
