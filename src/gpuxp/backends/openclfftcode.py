"""The source of Fourier transforms on OpenCL devices: Stockham's order, in passes through local memory."""

from __future__ import annotations

from functools import lru_cache

from ..codegen.butterflies import RADICES, butterfly

COLUMNS = 64  # the most columns of a group

_HEAD = """#ifdef cl_khr_fp64
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif
typedef {part} P;
typedef {part}2 T;
#define MOST {most}
#define THREADS {threads}
"""

# One stage: each butterfly takes values that lie count apart, and puts them `spread` apart
_STAGE = """
void stage{radix}(local const P* restrict xr, local const P* restrict xi, local P* restrict yr, local P* restrict yi,
    global const T* restrict roots, long step, int spread, int count, int shift, int width, int thread) {{
  const int apart = count << shift, apart_to = spread << shift;
  {outer}
    const int k = i % spread, to0 = (i - k) * {radix} + k;
    {roots}
    {inner}
      const int at = (i << shift) + c, to = (to0 << shift) + c;
      {code}
    }}
  {close}
}}
"""

# A pass: transforms of `size` values, of which a group does some columns side by side
_PASS = """
kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void pass(global const T* restrict from, global T* restrict to, global const T* restrict roots, long from0,
    long n, long inner, long columns, long done, long size_, long shift_, long radices, long swaps, P scale) {{
  local P ar[MOST], ai[MOST], br[MOST], bi[MOST];
  local long ins[{columns}], outs[{columns}], turns[{columns}];
  const int thread = get_local_id(0), size = size_, shift = shift_, most = 1 << shift;
  const long column0 = (long)get_group_id(0) << shift, apart = n / size * inner, apart_to = done * inner;
  const int width = min(columns - column0, (long)most);
  for (int c = thread; c < width; c += THREADS) {{
    const long row = (column0 + c) / apart, place = (column0 + c) % apart, j = place / inner, i = place % inner;
    ins[c] = from0 + row * n * inner + place;
    outs[c] = (row * n + j / done * done * size + j % done) * inner + i;
    turns[c] = j % done * (n / (done * size));
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  for (int e = thread; e < size << shift; e += THREADS) {{ /* neighbours read neighbours */
    const int c = apart == 1 ? e / size : e & (most - 1), t = apart == 1 ? e % size : e >> shift;
    if (c >= width) continue;
    const T value = from[ins[c] + t * apart], root = roots[turns[c] * t];
    const P x = swaps & 1 ? value.y : value.x, y = swaps & 1 ? value.x : value.y;
    ar[(t << shift) + c] = done == 1 ? x : x * root.x - y * root.y;
    ai[(t << shift) + c] = done == 1 ? y : x * root.y + y * root.x;
  }}
  barrier(CLK_LOCAL_MEM_FENCE);
  local P *xr = ar, *xi = ai, *yr = br, *yi = bi;
  int spread = 1;
  for (; radices; radices >>= 4) {{
    const int radix = radices & 15, count = size / radix;
    const long step = n / ((long)spread * radix);
    switch (radix) {{
      {cases}
    }}
    spread *= radix;
    barrier(CLK_LOCAL_MEM_FENCE);
    local P* swap = xr; xr = yr; yr = swap;
    swap = xi; xi = yi; yi = swap;
  }}
  for (int e = thread; e < size << shift; e += THREADS) {{
    const int c = apart_to == 1 ? e / size : e & (most - 1), t = apart_to == 1 ? e % size : e >> shift;
    if (c >= width) continue;
    const P x = xr[(t << shift) + c] * scale, y = xi[(t << shift) + c] * scale;
    to[outs[c] + t * apart_to] = swaps & 2 ? (T)(y, x) : (T)(x, y);
  }}
}}
"""

# Bluestein's transform of any size: a convolution with a chirp
_CHIRP = """
T times(T a, T b) { return (T)(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
kernel void chirp_in(global const T* from, global T* to, global const T* chirp, long from0, long n, long inner, long m,
    long swap, long count) {
  const long item = get_global_id(0), k = item / inner % m, i = item % inner;
  if (item >= count) return;
  const T value = k < n ? from[from0 + (item / inner / m * n + k) * inner + i] : (T)(0);
  to[item] = k < n ? times(swap ? value.yx : value, chirp[k]) : (T)(0);
}
kernel void convolve(global T* values, global const T* spectrum, long inner, long m, long count) {
  const long item = get_global_id(0);
  if (item < count) values[item] = times(values[item], spectrum[item / inner % m]);
}
kernel void chirp_out(global const T* from, global T* to, global const T* chirp, long n, long inner, long m, long swap,
    P scale, long count) {
  const long item = get_global_id(0), k = item / inner % n, i = item % inner;
  if (item >= count) return;
  const T value = times(from[(item / inner / n * m + k) * inner + i], chirp[k]) * scale;
  to[item] = swap ? value.yx : value;
}
/* the whole spectrum of real values, from half of it */
kernel void mirror(global const T* from, global T* to, long from0, long extent, long n, long inner,
    long count) {
  const long item = get_global_id(0), k = item / inner % n, i = item % inner;
  const long half_n = n / 2, at = k <= half_n ? k : n - k;
  if (item >= count) return;
  T value = at < extent ? from[from0 + (item / inner / n * extent + at) * inner + i] : (T)(0);
  if (at == 0 || 2 * at == n) value.y = 0;
  to[item] = k <= half_n ? value : (T)(value.x, -value.y);
}
"""


@lru_cache(maxsize=16)
def source(part: str, most: int, threads: int, vectorize: str) -> str:
    """Return the kernels for parts of a type; a group of one thread does its columns in a loop of their own."""
    head = _HEAD.format(part=part, most=most, threads=threads)
    stages = "".join(_stage(radix, part, threads > 1, vectorize) for radix in RADICES)
    call = "stage{0}(xr, xi, yr, yi, roots, step, spread, count, shift, width, thread); break;"
    cases = "\n      ".join(f"case {radix}: {call.format(radix)}" for radix in RADICES)
    return head + stages + _PASS.format(columns=COLUMNS, cases=cases) + _CHIRP


def _stage(radix: int, part: str, group: bool, vectorize: str) -> str:
    if group:
        outer = "for (int e = thread; e < count << shift; e += THREADS) { const int i = e >> shift;"
        inner = "const int c = e & ((1 << shift) - 1); if (c < width) {"
    else:
        outer = "for (int i = 0; i < count; i++) {"
        inner = f"{vectorize}\n    for (int c = 0; c < width; c++) {{"
    roots = [f"const T w{u} = roots[k * {u} * step];" for u in range(1, radix)]
    code = ["const P x0r = xr[at], x0i = xi[at];"]
    for u in range(1, radix):
        code += [
            f"const P v{u}r = xr[at + {u} * apart], v{u}i = xi[at + {u} * apart];",
            f"const P x{u}r = v{u}r * w{u}.x - v{u}i * w{u}.y, x{u}i = v{u}r * w{u}.y + v{u}i * w{u}.x;",
        ]
    code += butterfly(radix, part)
    code += [f"yr[to + {u} * apart_to] = y{u}r; yi[to + {u} * apart_to] = y{u}i;" for u in range(radix)]
    return _STAGE.format(
        radix=radix, outer=outer, inner=inner, close="}", roots="\n    ".join(roots), code="\n      ".join(code)
    )
