"""OpenCL kernels that move elements by position, and running results: take, put, accumulate.

Elements are moved in words, so that every dtype and every view can be. Running results are computed in chunks: the
chunks' totals, their running results, and then each chunk from where the one before it ended.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ..codegen.cstyle import ENTRY, LEAST
from ..codegen.spelling import Dialect, component, expression, helpers, type_name
from ..dtypes import DType
from ..errors import Unsupported
from ..geometry import c_strides, collapse
from ..ops import ELEMENTWISE
from .base import Native, Operand
from .launching import Grid, map_grid

Shape = tuple[int, ...]
_WORDS = {1: "uchar", 2: "ushort", 4: "uint", 8: "ulong"}
_PLACE = 8  # bytes of a position
_CHUNK = 65536  # elements that one thread of a CPU runs through
_ITEMS, _EACH = 128, 16  # threads of a group, and elements that each of them runs through
_FEW = 4  # cores: with no more of them, writing in order is faster than a table of winners
_ONE = Grid((1, 1), (1, 1))
_MOST = 1 << 20  # groups of a launch
_SHORT = 64  # no longer a row is worth a group


class Device(Protocol):
    """What these kernels need of their device."""

    dialect: Dialect
    units: int

    def alloc(self, nbytes: int) -> Any:
        """Return memory."""
        ...

    def build(self, source: str) -> Any:
        """Compile source text."""
        ...

    def enqueue(self, built: Any, grid: Grid, mems: Sequence[Any], packed: bytes, by_value: bool) -> None:
        """Start a kernel."""
        ...


def natives(device: Device) -> Mapping[str, Native]:
    """Return the natives of this module by name."""
    mover = _Mover(device)
    return {"take": mover.take, "put": mover.put, "accumulate": _Runner(device).accumulate}


class _Kernels:
    """Kernels by their source, and launches of them."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._built: dict[tuple[str, int, int, bool], Any] = {}

    def run(self, body: str, grid: Grid, mems: Sequence[Any], words: Sequence[int]) -> None:
        """Start the kernel of a body; `words` is what it finds in ``a``, memory what it finds in ``p0``, ``p1``, ..."""
        device = self.device
        by_value = 8 * (len(words) + len(mems) + 2) <= device.dialect.parameter_bytes
        form = (body, len(mems), len(words), by_value)
        built = self._built.get(form)
        if built is None:
            built = self._built[form] = device.build(self._source(*form, bool(grid.scratch)))
        device.enqueue(built, grid, mems, struct.pack(f"<{len(words)}q", *words), by_value)

    def _source(self, body: str, mems: int, words: int, by_value: bool, scratch: bool) -> str:
        names = self.device.dialect.names
        given = [f"{names['global']}uchar* p{p}" for p in range(mems)]
        given.append("const launch given" if by_value else f"{names['constant']}const launch* given")
        given += [names["scratch"]] * scratch
        lines = [
            f"{self.device.dialect.prelude}typedef struct {{ long a[{words}]; }} launch;",
            LEAST,
            *helpers(body, self.device.dialect),
            f"{names['function']} {ENTRY}({', '.join(given)}) {{",
            f"#define a given{'.' if by_value else '->'}a",
            body,
            "}",
        ]
        return "\n".join(lines) + "\n"


def _loop(dialect: Dialect, ndim: int, operands: int, body: Sequence[str]) -> str:
    """Return a loop over ``a``: the shape, then the strides of each operand, whose position is ``e0``, ``e1``, ..."""
    names, last = dialect.names, ndim - 1
    lines = []
    if last:
        lines.append(f"for (long row = {names['item1']}; row < {' * '.join(f'a[{d}]' for d in range(last))}; "
                     f"row += {names['items1']}) {{\nlong rest = row;")  # fmt: skip
        for d in reversed(range(last)):
            lines.append(f"const long i{d} = {f'rest % a[{d}]; rest /= a[{d}]' if d else 'rest'};")
    if dialect.group:
        lines.append(f"for (long i{last} = {names['item0']}; i{last} < a[{last}]; i{last} += {names['items0']}) {{")
    else:
        lines.append(f"const long share = (a[{last}] + {names['items0']} - 1) / {names['items0']};")
        lines.append(f"const long low = {names['item0']} * share, high = LEAST(low + share, a[{last}]);")
        lines.append(f"for (long i{last} = low; i{last} < high; ++i{last}) {{")
    for k in range(operands):
        terms = " + ".join(f"i{d} * a[{ndim * (k + 1) + d}]" for d in range(ndim))
        lines.append(f"const long e{k} = {terms};")
    return "\n".join([*lines, *body, "}" * (2 if last else 1)])


def _unit(dtype: DType, *operands: Operand) -> int:
    """Return the largest word, in bytes, that elements of these operands consist of and are aligned to."""
    every = math.gcd(dtype.itemsize, *(o.offset for o in operands), *(s for o in operands for s in o.strides))
    return max(size for size in _WORDS if every % size == 0)


class _Mover:
    """Takes and puts elements by position."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kernels = _Kernels(device)

    def _move(
        self, body: Sequence[str], shape: Shape, strides: Sequence[Shape], mems: Sequence[Any], words: Sequence[int],
        in_order: bool = False,
    ) -> None:  # fmt: skip
        """Run a body over a loop; its own words follow those of the loop."""
        shape, strides, _ = collapse(shape, tuple(strides), len(shape))
        if not shape:
            shape, strides = (1,), tuple((0,) for _ in strides)
        ndim, count = len(shape), len(strides)
        first = ndim * (count + 1)
        named = [line.replace("$", f"{first} + ") for line in body]
        grid = _ONE if in_order else map_grid(shape, self._device.dialect.group, self._device.units)
        text = _loop(self._device.dialect, ndim, count, named)
        self._kernels.run(text, grid, mems, [*shape, *(s for row in strides for s in row), *words])

    def take(self, parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        """Read ``source[:, ..., places]``."""
        (source, places), (out,) = ins, outs
        if 0 in out.shape:
            return
        axis, unit = parameters["axis"], _unit(out.dtype, source, out)
        before, after = out.shape[:axis], source.shape[axis + 1 :]
        inner = (0,) * len(places.shape)
        strides = (
            _over(out, unit),
            _scaled((*source.strides[:axis], *inner, *source.strides[axis + 1 :]), unit),
            (0,) * len(before) + _over(places, _PLACE) + (0,) * len(after),
        )
        word = _WORDS[unit]
        body = [
            "const long from = a[$1] + e1 + ((global const long*)(p2 + a[$2]))[e2] * a[$3];",
            *_copied(word, out.dtype.itemsize // unit, "p0", "a[$0] + e0", "p1", "from"),
        ]
        words = [out.offset // unit, source.offset // unit, places.offset, source.strides[axis] // unit]
        self._move(body, out.shape, strides, [out.mem, source.mem, places.mem], words)

    def put(self, parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        """Write ``target[:, ..., places]``: of values for one place the last one stays."""
        (_, places, values), (target,) = ins, outs
        if 0 in values.shape:
            return
        axis, unit = parameters["axis"], _unit(target.dtype, target, values)
        extent, count = target.shape[axis], math.prod(places.shape)
        before, after = target.shape[:axis], target.shape[axis + 1 :]
        inner, packed = (0,) * len(places.shape), c_strides(places.shape, 1)
        lead, rest = (0,) * len(before), (0,) * len(after)
        strides = (
            _scaled((*target.strides[:axis], *inner, *target.strides[axis + 1 :]), unit),
            _over(values, unit),
            lead + _over(places, _PLACE) + rest,
            lead + packed + rest,
        )
        body = ["const long place = ((global const long*)(p2 + a[$2]))[e2];"]
        mems = [target.mem, values.mem, places.mem]
        unique = parameters["unique"] or count == 1
        in_order = not unique and not self._device.dialect.group and self._device.units <= _FEW
        if unique or in_order:
            pass
        elif count * count <= 2 * extent and _over(places, _PLACE) == packed:
            body.append("long later = e3 + 1;\n"
                        "while (later < a[$4] && ((global const long*)(p2 + a[$2]))[later] != place) ++later;\n"
                        "if (later < a[$4]) continue;")  # fmt: skip
        else:
            mems.append(self._winners(places, packed, extent, count))
            body.append("if (((global const int*)p3)[place] != e3) continue;")
        body.append("const long to = a[$0] + e0 + place * a[$3];")
        body += _copied(_WORDS[unit], target.dtype.itemsize // unit, "p0", "to", "p1", "a[$1] + e1")
        words = [target.offset // unit, values.offset // unit, places.offset, target.strides[axis] // unit, count]
        self._move(body, values.shape, strides, mems, words, in_order)

    def _winners(self, places: Operand, packed: Shape, extent: int, count: int) -> Any:
        """Return memory that tells for each place which value comes last, -1 where none does."""
        if count >= 1 << 31:
            raise Unsupported("its positions do not fit 32 bits")
        table = self._device.alloc(4 * extent)
        self._move(["((global int*)p0)[e0] = -1;"], (extent,), ((1,),), [table], [])
        body = ["atomic_max((global int*)p0 + ((global const long*)(p1 + a[$0]))[e0], (int)e1);"]
        self._move(body, places.shape, (_over(places, _PLACE), packed), [table, places.mem], [places.offset])
        return table


def _over(o: Operand, unit: int) -> Shape:
    return _scaled(o.strides, unit)


def _scaled(strides: Sequence[int], unit: int) -> Shape:
    return tuple(s // unit for s in strides)


def _copied(word: str, parts: int, to: str, at: str, source: str, place: str) -> list[str]:
    return [
        f"((global {word}*){to})[{at} + {k}] = ((global const {word}*){source})[{place} + {k}];" for k in range(parts)
    ]


class _Runner:
    """Running results along an axis.

    A chunk is what one thread of a CPU does alone, or a group of a GPU together; a short row is one chunk. Where
    chunks end depends on the row's length only, so the bits of floating sums do too.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._kernels = _Kernels(device)

    def accumulate(self, parameters: Mapping[str, Any], ins: Sequence[Operand], outs: Sequence[Operand]) -> None:
        """Write the running results of ``parameters["op"]`` along ``parameters["axis"]``."""
        (source,), (out,) = ins, outs
        op, axis, dtype = parameters["op"], parameters["axis"], out.dtype
        if source.dtype != dtype:
            raise Unsupported(f"its operand is {source.dtype} and its result {dtype}")
        if _unit(component(dtype), source, out) != component(dtype).itemsize:
            raise Unsupported("it is not aligned to its elements")
        group, n = self._device.dialect.group, out.shape[axis]
        if not ELEMENTWISE[op].associative or n <= (_SHORT if group else 2 * _CHUNK):
            chunk, items = n, 1
        elif group:
            chunk, items = _ITEMS * _EACH, _ITEMS
        else:
            chunk, items = _CHUNK, 1
        text = _Scan(op, dtype, items, self._device.dialect)  # may refuse
        if 0 not in out.shape:
            self._scan(text, axis, chunk, out, source)

    def _scan(self, text: _Scan, axis: int, chunk: int, out: Operand, source: Operand) -> None:
        """Compute the totals of the chunks, their running results, and then the chunks."""
        rows = (*out.shape[:axis], *out.shape[axis + 1 :])
        strides = tuple((*o.strides[:axis], *o.strides[axis + 1 :]) for o in (out, source))
        rows, strides, _ = collapse(rows, strides, len(rows))
        dtype, n, part = text.dtype, out.shape[axis], component(text.dtype).itemsize
        chunks = -(-n // chunk)
        tasks = math.prod(rows) * chunks
        words = [tasks, chunks, n, chunk, chunk // text.items]
        words += [at // part for o in (out, source) for at in (o.offset, o.strides[axis])]
        words += [*rows, *(s // part for row in strides for s in row)]
        most = _MOST if self._device.dialect.group else 64 * self._device.units
        scratch = text.items * dtype.itemsize if text.items > 1 else 0
        grid = Grid((min(tasks, most), 1), (text.items, 1), scratch)
        mems = [out.mem, source.mem]
        if chunks > 1:
            totals, before = (self._device.alloc(tasks * dtype.itemsize) for _ in range(2))
            self._kernels.run(text.body(len(rows), totals=True), grid, [*mems, totals], words)
            packed = Operand(totals, 0, (chunks * dtype.itemsize, dtype.itemsize), (tasks // chunks, chunks), dtype)
            self.accumulate({"op": text.op, "axis": 1}, [packed], [packed._replace(mem=before)])
            mems.append(before)
        else:
            mems.append(source.mem)  # not read
        self._kernels.run(text.body(len(rows), totals=False), grid, mems, words)


class _Scan:
    """The text of the kernels that compute running results.

    Its words: tasks, chunks of a row, elements of a row, of a chunk and of a thread; offset and step of the result, and
    of the source; then the rows, and their strides in both.
    """

    def __init__(self, op: str, dtype: DType, items: int, dialect: Dialect) -> None:
        self.op, self.dtype, self.items, self._dialect = op, dtype, items, dialect
        self._type, self._part = type_name(dtype, dialect), type_name(component(dtype), dialect)
        self._wide = 2 if dtype.kind == "c" else 1
        self._join("x", "y")

    def _join(self, x: str, y: str) -> str:
        return expression(self.op, self.dtype, (self.dtype, self.dtype), (x, y), self._dialect)

    def _load(self, source: str, at: str) -> str:
        if self._wide == 1:
            return f"{source}[{at}]"
        return f"gpx_complex_{self._type}({source}[{at}], {source}[{at} + 1])"

    def _store(self, target: str, at: str, value: str) -> str:
        if self._wide == 1:
            return f"{target}[{at}] = {value};"
        return f"{target}[{at}] = {value}.x; {target}[{at} + 1] = {value}.y;"

    def body(self, ndim: int, totals: bool) -> str:
        """Return the body of the kernel that writes the chunks' totals, or all elements."""
        lines = [*self._frame(ndim)]
        if self.items > 1:
            lines += self._share()
        else:
            lines.append("const long low = start, high = stop;")
        lines += self._totals() if totals else self._elements()
        if self.items > 1:
            lines.append(self._dialect.names["barrier"])
        return "\n".join([*lines, "}"])

    def _frame(self, ndim: int) -> list[str]:
        """Loop over the chunks of all rows."""
        names, part = self._dialect.names, self._part
        task, step = ("group0", "get_num_groups(0)") if self.items > 1 else ("item0", names["items0"])
        dims = range(ndim)
        row = [f"const long i{d} = {f'rest % a[{9 + d}]; rest /= a[{9 + d}]' if d else 'rest'};" for d in dims]
        y, x = (
            " + ".join([f"a[{5 + 2 * k}]", *(f"i{d} * a[{9 + ndim * (k + 1) + d}]" for d in dims)]) for k in range(2)
        )
        return [
            f"for (long task = {names[task]}; task < a[0]; task += {step}) {{",
            "const long chunk = task % a[1];",
            "long rest = task / a[1];",
            *reversed(row),
            f"global {part}* y = (global {part}*)p0 + {y};",
            f"global const {part}* x = (global const {part}*)p1 + {x};",
            f"global {part}* sums = (global {part}*)p2;",
            "const long start = chunk * a[3], stop = LEAST(start + a[3], a[2]);",
        ]

    def _total(self) -> list[str]:
        """Combine the elements from `low` to `high`."""
        return [
            f"{self._type} total = {self._load('x', 'low * a[8]')};",
            "for (long i = low + 1; i < high; ++i) {",
            f"const {self._type} v = {self._load('x', 'i * a[8]')};",
            f"total = {self._join('total', 'v')};",
            "}",
        ]

    def _share(self) -> list[str]:
        """Let each thread of a group combine its part of a chunk, and all before it: ``shared``."""
        t, barrier = self._type, self._dialect.names["barrier"]
        return [
            f"local {t}* shared = (local {t}*)scratch;",
            f"const int me = {self._dialect.names['thread0']};",
            "const long low = LEAST(start + me * a[4], stop), high = LEAST(low + a[4], stop);",
            "if (low < high) {", *self._total(), "shared[me] = total;", "}", barrier,
            f"for (int reach = 1; reach < {self.items}; reach *= 2) {{",
            f"{t} joint = shared[me];",
            f"if (me >= reach) {{ const {t} left = shared[me - reach]; joint = {self._join('left', 'joint')}; }}",
            barrier, "shared[me] = joint;", barrier, "}",
        ]  # fmt: skip

    def _totals(self) -> list[str]:
        store = self._store("sums", f"task * {self._wide}", "total")
        if self.items == 1:
            return [*self._total(), store]
        return ["if (me == 0) {", f"const {self._type} total = shared[(stop - start - 1) / a[4]];", store, "}"]

    def _elements(self) -> list[str]:
        """Run through the elements from `low` to `high`, from what comes before them."""
        t, before = self._type, self._load("sums", f"(task - 1) * {self._wide}")
        lines = ["if (low < high) {", f"{t} run = {self._load('x', 'low * a[8]')};"]
        if self.items > 1:
            lines.append(f"if (me > 0) {{ const {t} left = shared[me - 1]; run = {self._join('left', 'run')}; }}")
        return [
            *lines,
            f"if (chunk > 0) {{ const {t} left = {before}; run = {self._join('left', 'run')}; }}",
            self._store("y", "low * a[6]", "run"),
            "for (long i = low + 1; i < high; ++i) {",
            f"const {t} v = {self._load('x', 'i * a[8]')};",
            f"run = {self._join('run', 'v')};",
            self._store("y", "i * a[6]", "run"),
            "}",
            "}",
        ]
