"""Sorting and searching on OpenCL devices: a stable merge sort whose threads share each merge evenly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from ..codegen.spelling import DOUBLE, Dialect, type_name
from ..dtypes import INTP, DType
from . import openclradix
from .base import Operand
from .openclcalls import Calls, chosen, moved_last

_RUN = 8  # a thread sorts so many elements by insertion
_GROUP = 128  # threads of a group on a GPU
_MOST = {True: 2048, False: 8192}  # elements that a group sorts in local memory, on a GPU and on a CPU

# NumPy's order: NaN comes last, and of complex numbers the real part decides first
_LESS = {
    "b": "return a < b;",
    "i": "return a < b;",
    "u": "return a < b;",
    "f": "return a < b || (b != b && a == a);",
    "c": "if (a.x < b.x) return a.y == a.y || b.y != b.y;\n"
    "  if (a.x > b.x) return b.y != b.y && a.y == a.y;\n"
    "  if (a.x == b.x || (a.x != a.x && b.x != b.x)) return a.y < b.y || (b.y != b.y && a.y == a.y);\n"
    "  return b.x != b.x;",
}


def _order(dtype: DType, dialect: Dialect, descending: bool) -> str:
    """Return the type of the elements and their order."""
    head = "#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n" if dtype.name in DOUBLE else ""
    names = "T b, T a" if descending else "T a, T b"
    return f"{head}typedef {type_name(dtype, dialect)} T;\nbool less({names}) {{\n  {_LESS[dtype.kind]}\n}}\n"


# Lines that begin with @ are there if places are sorted along with the elements
_SORT = """
/* how many of the first `d` elements of a merge come from the first run: a has na elements, b has nb */
#define CUT(NAME, SPACE, N) \\
N NAME(SPACE const T* a, N na, SPACE const T* b, N nb, N d) { \\
  N low = max((N)0, d - nb), high = min(d, na); \\
  while (low < high) { \\
    const N middle = low + (high - low) / 2; \\
    if (less(b[d - 1 - middle], a[middle])) high = middle; else low = middle + 1; \\
  } \\
  return low; \\
}
CUT(cut, local, int)
CUT(cut_global, global, long)

/* write elements first..last of merging neighbouring runs of `width` in segments of `segment` elements */
void merge_range(local const T* from, local T* to,
@   local const P* from_places, local P* to_places,
    int first, int last, int width, int segment) {
  for (int at = first; at < last;) {
    const int start = at / segment * segment, base = start + (at - start) / (2 * width) * (2 * width);
    const int middle = min(base + width, start + segment), end = min(base + 2 * width, start + segment);
    const int stop = min(end, last);
    int i = base + cut(from + base, middle - base, from + middle, end - middle, at - base);
    int j = middle + (at - base) - (i - base);
    while (at < stop && i < middle && j < end) {
      const bool second = less(from[j], from[i]);
      const int taken = second ? j : i;
      to[at] = from[taken];
@     to_places[at] = from_places[taken];
      i += !second; j += second; at++;
    }
    for (; at < stop && i < middle; at++, i++) {
      to[at] = from[i];
@     to_places[at] = from_places[i];
    }
    for (; at < stop; at++, j++) {
      to[at] = from[j];
@     to_places[at] = from_places[j];
    }
  }
}

/* sort blocks of SPAN elements, or several short rows at once */
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void blocks(global const T* from, global T* to,
@   global P* to_places,
    long from0, long n, long rows) {
  local T first_keys[SPAN], second_keys[SPAN];
@ local P first_places[SPAN], second_places[SPAN];
  const int thread = get_local_id(0), threads = THREADS;
  const long group = get_group_id(0), per_row = (n + SPAN - 1) / SPAN;
  long start, origin;
  int count, segment;
  if (n >= SPAN) {
    origin = group % per_row * SPAN;
    start = group / per_row * n + origin;
    count = segment = min(n - origin, (long)SPAN);
  } else {
    const long each = SPAN / n;
    origin = 0;
    start = group * each * n;
    segment = n;
    count = min(each, rows - group * each) * n;
  }
  local T* keys = first_keys;
  local T* other = second_keys;
@ local P* places = first_places;
@ local P* other_places = second_places;
  for (int e = thread; e < count; e += threads) {
    keys[e] = from[from0 + start + e];
@   places[e] = origin + e % segment;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const int per = (segment + RUN - 1) / RUN, runs = count / segment * per;
  for (int r = thread; r < runs; r += threads) {
    const int row = r / per * segment, low = row + r % per * RUN, high = min(low + RUN, row + segment);
    for (int e = low + 1; e < high; e++) {
      const T key = keys[e];
@     const P place = places[e];
      int at = e;
      for (; at > low && less(key, keys[at - 1]); at--) {
        keys[at] = keys[at - 1];
@       places[at] = places[at - 1];
      }
      keys[at] = key;
@     places[at] = place;
    }
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const int chunk = (count + threads - 1) / threads;
  for (int width = RUN; width < segment; width *= 2) {
    merge_range(keys, other,
@     places, other_places,
      thread * chunk, min(count, (thread + 1) * chunk), width, segment);
    barrier(CLK_LOCAL_MEM_FENCE);
    local T* swap = keys; keys = other; other = swap;
@   local P* swap_places = places; places = other_places; other_places = swap_places;
  }
  for (int e = thread; e < count; e += threads) {
    to[start + e] = keys[e];
@   to_places[start + e] = places[e];
  }
}

/* merge neighbouring runs of `width` elements of each row; a group writes SPAN elements */
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void merge(global const T* from, global T* to,
@   global const P* from_places, global P* to_places,
    long n, long width) {
  local T keys[SPAN], merged[SPAN];
@ local P places[SPAN], merged_places[SPAN];
  local long limits[2];
  const int thread = get_local_id(0), threads = THREADS;
  const long per_row = (n + SPAN - 1) / SPAN, row = get_group_id(0) / per_row * n;
  const long first = get_group_id(0) % per_row * SPAN, last = min(n, first + SPAN);
  const long base = first / (2 * width) * (2 * width), middle = min(n, base + width), end = min(n, base + 2 * width);
  for (int side = thread; side < 2; side += threads)
    limits[side] = cut_global(from + row + base, middle - base, from + row + middle, end - middle,
        (side ? last : first) - base);
  barrier(CLK_LOCAL_MEM_FENCE);
  const long i = base + limits[0], j = middle + (first - base) - limits[0];
  const int count = last - first, left = limits[1] - limits[0];
  for (int e = thread; e < count; e += threads) {
    const long at = row + (e < left ? i + e : j + e - left);
    keys[e] = from[at];
@   places[e] = from_places[at];
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  const int chunk = (count + threads - 1) / threads;
  const int low = min(count, thread * chunk), high = min(count, low + chunk);
  int a = cut(keys, left, keys + left, count - left, low), b = left + low - a;
  for (int at = low; at < high; at++) {
    const bool second = a >= left || (b < count && less(keys[b], keys[a]));
    const int taken = second ? b : a;
    merged[at] = keys[taken];
@   merged_places[at] = places[taken];
    a += !second; b += second;
  }
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int e = thread; e < count; e += threads) {
    to[row + first + e] = merged[e];
@   to_places[row + first + e] = merged_places[e];
  }
}
"""


@lru_cache(maxsize=256)
def _sort_source(order: str, span: int, threads: int, place: str) -> str:
    """Return the source that sorts elements, and their places if `place` is a type for them."""
    sizes = f"#define SPAN {span}\n#define RUN {_RUN}\n#define THREADS {threads}\n"
    return f"{order}{sizes}#define P {place}\n{chosen(_SORT, bool(place))}"


def sort(calls: Calls, x: Operand, out: Operand, axis: int) -> None:
    """Sort as `numpy.sort` does: elements that compare equal keep their order."""
    rows, target = calls.packed(moved_last(x, axis)), moved_last(out, axis)
    made = calls.target(target)
    _sort_rows(calls, rows, [made], False)
    calls.copy(made, target)


def argsort(calls: Calls, x: Operand, out: Operand, axis: int, descending: bool) -> None:
    """Find the places of the elements in stable order."""
    rows = calls.packed(moved_last(x, axis))
    places = calls.temporary(rows.shape, np.dtype(np.int32 if rows.shape[-1] < 1 << 31 else np.int64))
    _sort_rows(calls, rows, [calls.temporary(rows.shape, rows.dtype), places], descending)
    calls.copy(places, moved_last(out, axis))


def _sort_rows(calls: Calls, rows: Operand, outs: Sequence[Operand], descending: bool) -> None:
    """Sort packed rows into the first of `outs`, and the places of their elements into the second."""
    if openclradix.sorts(calls, rows):
        openclradix.sort_rows(calls, rows, outs, descending)
        return
    dialect = calls.device.dialect
    n, count = rows.shape[-1], math.prod(rows.shape[:-1])
    each = 2 * sum(o.dtype.itemsize for o in outs)  # bytes of local memory
    span = min(_MOST[dialect.group], 1 << (calls.local_bytes // 2 // each).bit_length() - 1)
    place = type_name(outs[1].dtype, dialect) if len(outs) > 1 else ""
    threads = min(_GROUP, calls.most_threads) if dialect.group else 1
    source = _sort_source(_order(rows.dtype, dialect, descending), span, threads, place)
    groups = count * -(-n // span) if n >= span else -(-count // (span // n))
    passes = max(0, (-(-n // span) - 1).bit_length())
    ends = [[o.mem for o in outs]]  # what the passes write in turn; the last one writes here
    if passes:
        ends.append([calls.temporary(o.shape, o.dtype).mem for o in outs])
    at = passes % 2
    offset = rows.offset // rows.dtype.itemsize
    calls.start(source, "blocks", groups, threads, rows.mem, *ends[at], offset, n, count)
    for done in range(passes):
        pairs = zip(ends[at], ends[1 - at], strict=True)
        calls.start(source, "merge", groups, threads, *(mem for pair in pairs for mem in pair), n, span << done)
        at = 1 - at


_SEARCH = """
kernel void search(global const T* sorted, global const T* values, global long* found,
@   global const long* places, global int* wrong,
    long sorted0, long values0, long n, long right, long count) {
  const long item = get_global_id(0);
  if (item >= count) return;
  const T value = values[values0 + item];
  long low = 0, high = n;
  while (low < high) {
    const long middle = low + (high - low) / 2;
    long at = middle;
@   at = places[middle];
@   if (at < 0 || at >= n) { *wrong = 1; return; }
    const T seen = sorted[sorted0 + at];
    if (right ? !less(value, seen) : less(seen, value)) low = middle + 1; else high = middle;
  }
  found[item] = low;
}
"""


@lru_cache(maxsize=64)
def _search_source(order: str, places: bool) -> str:
    return order + chosen(_SEARCH, places)


def searchsorted(calls: Calls, a: Operand, v: Operand, *rest: Operand, side: str) -> None:
    """Find where values belong in a sorted array, or in one that the places in a third array sort."""
    *sorter, out = rest
    dtype = np.promote_types(a.dtype, v.dtype)
    calls.takes(dtype)
    a, v, made = calls.packed(a, dtype), calls.packed(v, dtype), calls.target(out)
    extra = []
    if sorter:
        wrong = calls.temporary((1,), np.dtype(np.int32)).mem
        calls.device.clear(wrong, 0, 4)
        places = calls.packed(sorter[0], INTP)
        if places.offset:
            places = calls.temporary(places.shape, INTP)
            calls.copy(sorter[0], places)
        extra = [places.mem, wrong]
    source = _search_source(_order(dtype, calls.device.dialect, False), bool(sorter))
    numbers = (*(o.offset // dtype.itemsize for o in (a, v)), a.shape[0], int(side == "right"))
    calls.each(source, "search", math.prod(v.shape), a.mem, v.mem, made.mem, *extra, *numbers)
    if sorter:
        seen = np.zeros(1, np.int32)
        calls.device.read(wrong, 0, seen)
        if seen[0]:
            raise ValueError("Sorter index out of range.")
    calls.copy(made, out)
