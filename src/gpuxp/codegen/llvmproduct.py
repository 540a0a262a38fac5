"""Matrix products in LLVM IR, blocked for registers and caches.

Goto and van de Geijn, Anatomy of High-Performance Matrix Multiplication (ACM Transactions on Mathematical Software 34,
2008). A tile of the result stays in registers while its terms are added by fused multiplications, in ascending order.
The terms come in blocks, whose sums are added in memory: which blocks decides about the bits, so the caller says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..dtypes import DType
from .llvmops import type_of
from .llvmtext import Emitter, vector

PRODUCT = "gpuxp_product"
# words of a launch; strides are in bytes, `blocks` the lengths of the blocks of terms, `counts` how many those are,
# `nought` the zero that the first block is added to: a negative one keeps negative zeros
CONTEXT = (
    "a", "b", "c", "offsets", "row.a", "term.a", "term.b", "column.b", "row.c", "rows", "columns", "blocks", "counts",
    "parts.rows", "parts.columns", "parts", "bands", "scratch", "share", "packed.a", "nought",
)  # fmt: skip
CHUNK = 64  # rows of `a` that stay in the second-level cache while panels of `b` pass
_ACROSS = 3  # vectors of a tile
_PANELS = 10  # that are packed together
_FEW = 2  # tiles of rows, for which `b` is not worth being packed


class Tile(NamedTuple):
    """What a processor's registers hold."""

    lanes: int  # elements of a vector
    rows: int

    @property
    def chunk(self) -> int:
        """Columns whose panels of `b` are packed together."""
        return _PANELS * _ACROSS * self.lanes


class _Function(Emitter):
    """Writes one function; variables live on the stack until LLVM finds them registers."""

    def __init__(self, dtype: DType, tile: Tile) -> None:
        super().__init__()
        self.dtype, self.tile, self.size = dtype, tile, dtype.itemsize
        self.kind = str(type_of(dtype))
        self.vector, self.mask = vector(self.kind, tile.lanes), vector("i1", tile.lanes)

    def text(self, name: str, parameters: str, linkage: str = "internal ") -> str:
        """Return the function."""
        head = f"define {linkage}void @{name}({parameters}) #0 {{"
        return "\n".join([head, "entry:", *self.allocas, *self.lines, "  ret void", "}\n"])

    def variable(self, kind: str, first: str) -> str:
        """Return a variable with its first value."""
        self.allocas.append(f"  %{(name := self.name())} = alloca {kind}, align 64")
        self.do(f"store {kind} {first}, ptr %{name}")
        return f"%{name}"

    def upto(self, low: str, high: str, step: int, body: Callable[[str], None]) -> None:
        """Write a loop, which may have no turn."""
        counter = self.variable("i64", low)
        head, inside, end = self.name(), self.name(), self.name()
        self.do(f"br label %{head}")
        self.label(head)
        index = self.emit(f"load i64, ptr {counter}")
        self.do(f"br i1 {self.emit(f'icmp slt i64 {index}, {high}')}, label %{inside}, label %{end}")
        self.label(inside)
        body(index)
        self.do(f"store i64 {self.add(index, str(step))}, ptr {counter}")
        self.do(f"br label %{head}")
        self.label(end)

    def when(self, condition: str, body: Callable[[], None], otherwise: Callable[[], None] | None = None) -> None:
        """Write a branch."""
        yes, no, end = self.name(), self.name(), self.name()
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")
        self.label(yes)
        body()
        self.do(f"br label %{end}")
        self.label(no)
        if otherwise is not None:
            otherwise()
        self.do(f"br label %{end}")
        self.label(end)

    def binary(self, op: str, a: str, b: int | str) -> str:
        """Return an operation on integers."""
        return self.emit(f"{op} i64 {a}, {b}")

    def smaller(self, a: str, b: int | str) -> str:
        """Return the smaller integer."""
        return self.emit(f"call i64 @llvm.smin.i64(i64 {a}, i64 {b})")

    def above(self, a: str, by: int) -> str:
        """Return a quotient, rounded up."""
        return self.binary("sdiv", self.add(a, str(by - 1)), by)

    def share(self, total: str, part: str, parts: str) -> str:
        """Return where a part begins, of so many."""
        return self.binary("sdiv", self.mul(total, part), parts)

    def by(self, pointer: str, number: str, stride: int | str) -> str:
        """Return a pointer moved by so many strides of bytes."""
        return self.at(pointer, self.mul(number, str(stride)))

    def splat(self, value: str, kind: str, lanes: int = 0) -> str:
        """Return a vector of one value."""
        lanes = lanes or self.tile.lanes
        one = self.emit(f"insertelement {vector(kind, lanes)} poison, {kind} {value}, i64 0")
        return self.emit(
            f"shufflevector {vector(kind, lanes)} {one}, {vector(kind, lanes)} poison, <{lanes} x i32> zeroinitializer"
        )

    def first(self, count: str, lanes: int = 0) -> str:
        """Return a mask of the first lanes."""
        lanes = lanes or self.tile.lanes
        numbers = ", ".join(f"i64 {n}" for n in range(lanes))
        return self.emit(f"icmp slt {vector('i64', lanes)} <{numbers}>, {self.splat(count, 'i64', lanes)}")

    def masked_load(self, pointer: str, mask: str, lanes: int = 0) -> str:
        """Return a vector from memory, zero where the mask is not set."""
        lanes = lanes or self.tile.lanes
        kind = vector(self.kind, lanes)
        return self.emit(
            f"call {kind} @llvm.masked.load.{self._suffix(lanes)}.p0"
            f"(ptr {pointer}, i32 1, {vector('i1', lanes)} {mask}, {kind} zeroinitializer)"
        )

    def masked_store(self, value: str, pointer: str, mask: str) -> None:
        """Write a vector where the mask is set."""
        self.do(
            f"call void @llvm.masked.store.{self._suffix()}.p0"
            f"({self.vector} {value}, ptr {pointer}, i32 1, {self.mask} {mask})"
        )

    def fused(self, a: str, b: str, c: str) -> str:
        """Return a * b + c, rounded once."""
        v = self.vector
        return self.emit(f"call {v} @llvm.fma.{self._suffix()}({v} {a}, {v} {b}, {v} {c})")

    def _suffix(self, lanes: int = 0) -> str:
        return f"v{lanes or self.tile.lanes}f{self.size * 8}"

    def declarations(self) -> str:
        """Return what the functions call."""
        v, m = self.vector, self.mask
        loads = "".join(
            f"declare {vector(self.kind, n)} @llvm.masked.load.{self._suffix(n)}.p0"
            f"(ptr, i32, {vector('i1', n)}, {vector(self.kind, n)})\n"
            for n in sorted({self.tile.lanes, self.tile.rows})
        )
        return f"""declare i64 @llvm.smin.i64(i64, i64)
declare {v} @llvm.fma.{self._suffix()}({v}, {v}, {v})
{loads}declare void @llvm.masked.store.{self._suffix()}.p0({v}, ptr, i32, {m})
attributes #0 = {{ nounwind "no-trapping-math"="true" "prefer-vector-width"="512" "min-legal-vector-width"="512" }}
"""


def render_product(dtype: DType, tile: Tile) -> str:
    """Return the module of products of one dtype; a unit of its function is a band of the parts of all products."""

    def new() -> _Function:
        return _Function(dtype, tile)

    tiles = [_tile(new(), rows, across) for rows in _heights(tile) for across in range(1, _ACROSS + 1)]
    packing = _pack_rows(new()), _pack_columns(new()), _pack_a(new())
    return "\n".join([*tiles, *packing, _Part(dtype, tile).written(), _bands(new()), new().declarations()])


def _heights(tile: Tile) -> tuple[int, int]:
    """Return how many rows tiles have: half of them where more would only be repeated."""
    return tile.rows // 2, tile.rows


def _tile(f: _Function, rows: int, across: int) -> str:
    """Write what multiplies a tile: its rows' addresses are in a list, its columns are whole vectors of `b`."""
    size, lanes = f.size, f.tile.lanes
    starts = [f.emit(f"load ptr, ptr {f.at('%rows', str(8 * r))}") for r in range(rows)]
    sums = [[f.variable(f.vector, "zeroinitializer") for _ in range(across)] for _ in range(rows)]

    def term(k: str) -> None:
        along = f.mul(k, "%term")
        from_b = f.by("%b", k, "%step")
        right = [f.emit(f"load {f.vector}, ptr {f.at(from_b, str(j * lanes * size))}, align 1") for j in range(across)]
        for start, row in zip(starts, sums, strict=True):
            left = f.splat(f.emit(f"load {f.kind}, ptr {f.at(start, along)}, align 1"), f.kind)
            for total, value in zip(row, right, strict=True):
                old = f.emit(f"load {f.vector}, ptr {total}")
                f.do(f"store {f.vector} {f.fused(left, value, old)}, ptr {total}")

    f.upto("0", "%terms", 1, term)
    last, nought = f.first("%last"), f.splat("%nought", f.kind)
    full = f"<{', '.join(['i1 true'] * lanes)}>"

    def write(adds: bool) -> None:
        for r, row in enumerate(sums):

            def vectors(r: int = r, row: list[str] = row) -> None:
                to = f.by("%c", str(r), "%row.c")
                for j, total in enumerate(row):
                    at, mask = f.at(to, str(j * lanes * size)), last if j == across - 1 else full
                    before, found = f.masked_load(at, mask) if adds else nought, f.emit(f"load {f.vector}, ptr {total}")
                    f.masked_store(f.emit(f"fadd {f.vector} {before}, {found}"), at, mask)

            f.when(f.emit(f"icmp slt i64 {r}, %count"), vectors)

    f.when("%first", lambda: write(False), lambda: write(True))
    return f.text(
        f"tile{rows}x{across}",
        "ptr %rows, i64 %term, ptr %b, i64 %step, ptr %c, i64 %row.c, i64 %terms, i64 %count, i64 %last, i1 %first, "
        f"{f.kind} %nought",
    )


_PACK = "ptr %from, ptr %to, i64 %stride, i64 %terms, i64 %columns, i64 %vectors"


def _pack_rows(f: _Function) -> str:
    """Write what packs a panel of `b` whose rows lie side by side: vectors of each term, then of the next."""
    lanes, size = f.tile.lanes, f.size

    def column(j: str) -> None:
        start = f.mul(j, str(lanes))
        mask = f.first(f.binary("sub", "%columns", start))
        to, wide = f.by("%to", start, size), f.mul("%vectors", str(lanes * size))
        from_ = f.by("%from", start, size)

        def term(k: str) -> None:
            f.do(f"store {f.vector} {f.masked_load(f.by(from_, k, '%stride'), mask)}, ptr {f.by(to, k, wide)}, align 1")

        f.upto("0", "%terms", 1, term)

    f.upto("0", "%vectors", 1, column)
    return f.text("pack_rows", _PACK)


def _pack_columns(f: _Function) -> str:
    """Write what packs a panel of `b` whose columns lie side by side: squares are transposed in registers."""
    lanes, size = f.tile.lanes, f.size
    whole = f.binary("sub", "%terms", f.binary("urem", "%terms", lanes))
    wide, final = f.mul("%vectors", str(lanes * size)), f.binary("sub", "%columns", 1)

    def column(j: str) -> None:
        start = f.mul(j, str(lanes))
        to = f.by("%to", start, size)
        # beyond the last column, which no lane is stored of, that one again
        starts = [f.by("%from", f.smaller(f.add(start, str(n)), final), "%stride") for n in range(lanes)]

        def square(k: str) -> None:
            along = f.mul(k, str(size))
            values = [f.emit(f"load {f.vector}, ptr {f.at(s, along)}, align 1") for s in starts]
            for n, value in enumerate(_transposed(f, values)):
                f.do(f"store {f.vector} {value}, ptr {f.by(to, f.add(k, str(n)), wide)}, align 1")

        def term(k: str) -> None:
            along, at = f.mul(k, str(size)), f.by(to, k, wide)
            for n, s in enumerate(starts):
                value = f.emit(f"load {f.kind}, ptr {f.at(s, along)}, align 1")
                f.do(f"store {f.kind} {value}, ptr {f.at(at, str(n * size))}, align 1")

        f.upto("0", whole, lanes, square)
        f.upto(whole, "%terms", 1, term)

    f.upto("0", "%vectors", 1, column)
    return f.text("pack_columns", _PACK)


def _transposed(f: _Function, rows: list[str]) -> list[str]:
    """Return a square of vectors transposed: pairs of them exchange halves, quarters, ..., single lanes."""
    lanes = len(rows)
    half = lanes // 2
    while half:
        done = list(rows)
        for r in range(lanes):
            if r & half:
                continue
            a, b = rows[r], rows[r + half]
            low = [n if not n & half else lanes + (n ^ half) for n in range(lanes)]
            high = [(n | half) if not n & half else lanes + n for n in range(lanes)]
            for at, order in ((r, low), (r + half, high)):
                picked = ", ".join(f"i32 {n}" for n in order)
                done[at] = f.emit(f"shufflevector {f.vector} {a}, {f.vector} {b}, <{lanes} x i32> <{picked}>")
        rows, half = done, half // 2
    return rows


def _pack_a(f: _Function) -> str:
    """Write what packs rows of `a` whose columns lie side by side: for each tile the elements of a term, and so on."""
    rows, size = f.tile.rows, f.size

    def tile(i: str) -> None:
        mask = f.first(f.binary("sub", "%rows", i), rows)
        from_, to = f.by("%from", i, size), f.by("%to", f.mul(i, "%terms"), size)

        def term(k: str) -> None:
            value = f.masked_load(f.by(from_, k, "%stride"), mask, rows)
            f.do(f"store {vector(f.kind, rows)} {value}, ptr {f.by(to, k, rows * size)}, align 1")

        f.upto("0", "%terms", 1, term)

    f.upto("0", "%rows", rows, tile)
    return f.text("pack_a", "ptr %from, ptr %to, i64 %stride, i64 %terms, i64 %rows")


def _words(f: _Function) -> dict[str, str]:
    """Write loads of all words of the launch."""
    kinds = dict.fromkeys(("a", "b", "c", "offsets", "blocks", "scratch"), "ptr") | {"nought": f.kind}
    return {
        name: f.emit(f"load {kinds.get(name, 'i64')}, ptr {f.at('%x', str(8 * n))}") for n, name in enumerate(CONTEXT)
    }


class _Part(_Function):
    """Writes the loops over the blocks of one part of a product, from the outermost to the innermost."""

    def written(self) -> str:
        """Return the function."""
        self.x = _words(self)
        self.rows_of_tile = self.variable(f"[{self.tile.rows} x ptr]", "zeroinitializer")  # their addresses
        self.packed_a = self.at("%scratch", self.x["packed.a"])
        self.upto("0", "%columns", self.tile.chunk, self._columns)
        return self.text("part", "ptr %x, ptr %a, ptr %b, ptr %c, i64 %rows, i64 %columns, ptr %scratch")

    def _columns(self, start: str) -> None:
        """Write what is done with some columns, whose panels of `b` fit the second-level cache."""
        x, tile = self.x, self.tile
        self.width = self.smaller(self.binary("sub", "%columns", start), tile.chunk)
        self.vectors = self.above(self.width, tile.lanes)
        self.panels = self.above(self.vectors, _ACROSS)
        # what is read about as often as packing would read it stays where it is
        unit_a = self.emit(f"icmp eq i64 {x['term.a']}, {self.size}")
        self.plain_a = self.emit(f"or i1 {unit_a}, {self.emit(f'icmp sle i64 {self.panels}, 1')}")
        self.unit_b = self.emit(f"icmp eq i64 {x['column.b']}, {self.size}")
        whole = self.emit(f"icmp eq i64 {self.mul(self.vectors, str(tile.lanes))}, {self.width}")
        few = self.emit(f"icmp sle i64 %rows, {_FEW * tile.rows}")
        self.plain_b = self.emit(f"and i1 {self.unit_b}, {self.emit(f'and i1 {few}, {whole}')}")
        self.b, self.c = self.by("%b", start, x["column.b"]), self.by("%c", start, self.size)
        self.done = self.variable("i64", "0")  # terms of the blocks before
        self.upto("0", x["counts"], 1, self._block)

    def _block(self, number: str) -> None:
        """Write what is done with a block of terms, whose panels are packed first."""
        x = self.x
        self.terms = self.emit(f"load i64, ptr {self.by(x['blocks'], number, 8)}")
        done = self.emit(f"load i64, ptr {self.done}")
        self.a_block, self.b_block = self.by("%a", done, x["term.a"]), self.by(self.b, done, x["term.b"])
        self.is_first = self.emit(f"icmp eq i64 {number}, 0")
        self.column_bytes = self.mul(self.terms, str(self.tile.lanes * self.size))  # of a vector in a panel
        self.when(self.plain_b, lambda: None, lambda: self.upto("0", self.panels, 1, self._pack))
        self.upto("0", "%rows", CHUNK, self._chunk)
        self.do(f"store i64 {self.add(done, self.terms)}, ptr {self.done}")

    def _panel_of(self, number: str) -> tuple[str, str, str]:
        """Return where a panel begins, in vectors, and how many vectors and columns it has."""
        begin = self.share(self.vectors, number, self.panels)
        count = self.binary("sub", self.share(self.vectors, self.add(number, "1"), self.panels), begin)
        left = self.binary("sub", self.width, self.mul(begin, str(self.tile.lanes)))
        return begin, count, self.smaller(left, self.mul(count, str(self.tile.lanes)))

    def _pack(self, number: str) -> None:
        begin, count, valid = self._panel_of(number)
        from_ = self.by(self.b_block, self.mul(begin, str(self.tile.lanes)), self.x["column.b"])
        to = self.by("%scratch", begin, self.column_bytes)

        def packing(name: str, stride: str) -> Callable[[], None]:
            return lambda: self.do(f"call void @pack_{name}(ptr {from_}, ptr {to}, i64 {self.x[stride]}, "
                                   f"i64 {self.terms}, i64 {valid}, i64 {count})")  # fmt: skip

        self.when(self.unit_b, packing("rows", "term.b"), packing("columns", "column.b"))

    def _chunk(self, start: str) -> None:
        """Write what is done with some rows of `a`."""
        self.first_row = start
        self.height = self.smaller(self.binary("sub", "%rows", start), CHUNK)
        self.a_chunk = self.by(self.a_block, start, self.x["row.a"])
        self.when(self.plain_a, lambda: None, lambda: self.do(
            f"call void @pack_a(ptr {self.a_chunk}, ptr {self.packed_a}, i64 {self.x['term.a']}, i64 {self.terms}, "
            f"i64 {self.height})"
        ))  # fmt: skip
        self.upto("0", self.panels, 1, self._panel)

    def _panel(self, number: str) -> None:
        """Write what is done with a panel of `b` and these rows."""
        begin, self.count, valid = self._panel_of(number)
        lanes, size = self.tile.lanes, self.size
        self.last = self.binary("sub", valid, self.mul(self.binary("sub", self.count, 1), str(lanes)))
        ahead = self.mul(begin, str(lanes * size))
        plain, packed = self.at(self.b_block, ahead), self.by("%scratch", begin, self.column_bytes)
        self.b_panel = self.emit(f"select i1 {self.plain_b}, ptr {plain}, ptr {packed}")
        wide = self.mul(self.count, str(lanes * size))
        self.step = self.emit(f"select i1 {self.plain_b}, i64 {self.x['term.b']}, i64 {wide}")
        self.c_panel = self.at(self.c, ahead)
        self.upto("0", self.height, self.tile.rows, self._rows)

    def _rows(self, start: str) -> None:
        """Write the call for a tile."""
        x, rows, size = self.x, self.tile.rows, self.size
        valid = self.smaller(self.binary("sub", self.height, start), rows)
        lowest = self.binary("sub", valid, 1)
        packed = self.by(self.packed_a, self.mul(start, self.terms), size)
        for r in range(rows):  # beyond the last row, which is not stored, that one again
            plain = self.by(self.a_chunk, self.add(start, self.smaller(str(r), lowest)), x["row.a"])
            at = self.emit(f"select i1 {self.plain_a}, ptr {plain}, ptr {self.at(packed, str(r * size))}")
            self.do(f"store ptr {at}, ptr {self.at(self.rows_of_tile, str(8 * r))}")
        term = self.emit(f"select i1 {self.plain_a}, i64 {x['term.a']}, i64 {rows * size}")
        to = self.by(self.c_panel, self.add(self.first_row, start), x["row.c"])
        half = self.emit(f"icmp sle i64 {valid}, {rows // 2}")
        kind = self.add(self.emit(f"select i1 {half}, i64 0, i64 {_ACROSS}"), self.count)
        kinds = [(height, across) for height in _heights(self.tile) for across in range(1, _ACROSS + 1)]
        labels, end = [self.name() for _ in kinds], self.name()
        cases = " ".join(f"i64 {n}, label %{label}" for n, label in enumerate(labels, 1))
        self.do(f"switch i64 {kind}, label %{end} [ {cases} ]")
        for (height, across), label in zip(kinds, labels, strict=True):
            self.label(label)
            self.do(f"call void @tile{height}x{across}(ptr {self.rows_of_tile}, i64 {term}, ptr {self.b_panel}, "
                    f"i64 {self.step}, ptr {to}, i64 {x['row.c']}, i64 {self.terms}, i64 {valid}, i64 {self.last}, "
                    f"i1 {self.is_first}, {self.kind} {x['nought']})")  # fmt: skip
            self.do(f"br label %{end}")
        self.label(end)


def _bands(f: _Function) -> str:
    """Write the function: bands of the parts of all products, each with scratch memory of its own."""
    x = _words(f)
    tiles = {"rows": f.above(x["rows"], f.tile.rows), "columns": f.above(x["columns"], f.tile.lanes)}
    step = {"rows": f.tile.rows, "columns": f.tile.lanes}
    each = f.mul(x["parts.rows"], x["parts.columns"])

    def bounds(what: str, part: str) -> tuple[str, str]:
        low, high = (
            f.smaller(f.mul(f.share(tiles[what], p, x[f"parts.{what}"]), str(step[what])), x[what])
            for p in (part, f.add(part, "1"))
        )
        return low, f.binary("sub", high, low)

    def band(number: str) -> None:
        scratch = f.by(x["scratch"], number, x["share"])

        def part(n: str) -> None:
            item, rest = f.binary("sdiv", n, each), f.binary("srem", n, each)
            row, some_rows = bounds("rows", f.binary("sdiv", rest, x["parts.columns"]))
            column, some_columns = bounds("columns", f.binary("srem", rest, x["parts.columns"]))
            own = f.by(x["offsets"], item, 24)
            a, b, c = (f.at(x[name], f.emit(f"load i64, ptr {f.at(own, str(8 * k))}")) for k, name in enumerate("abc"))
            a, b = f.by(a, row, x["row.a"]), f.by(b, column, x["column.b"])
            c = f.at(f.by(c, row, x["row.c"]), f.mul(column, str(f.size)))
            f.do(f"call void @part(ptr %x, ptr {a}, ptr {b}, ptr {c}, i64 {some_rows}, i64 {some_columns}, "
                 f"ptr {scratch})")  # fmt: skip

        low, high = (f.share(x["parts"], n, x["bands"]) for n in (number, f.add(number, "1")))
        f.upto(low, high, 1, part)

    f.upto("%low", "%high", 1, band)
    return f.text(PRODUCT, "ptr %x, i64 %low, i64 %high", linkage="")
