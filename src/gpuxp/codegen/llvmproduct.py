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
_FEW = 2  # tiles of rows, for which `b` is not worth being packed


class Tile(NamedTuple):
    """What a processor's registers hold."""

    lanes: int  # elements of a vector
    rows: int

    @property
    def width(self) -> int:
        """Columns of the widest tile."""
        return self.lanes * _ACROSS

    @property
    def chunk(self) -> int:
        """Columns whose panels of `b` are packed together."""
        return 10 * self.width


class _Function(Emitter):
    """Writes one function; variables live on the stack until LLVM finds them registers."""

    def __init__(self, dtype: DType, tile: Tile) -> None:
        super().__init__()
        self.dtype, self.tile, self.size = dtype, tile, dtype.itemsize
        self.kind = str(type_of(dtype))
        self.vector, self.mask = vector(self.kind, tile.lanes), vector("i1", tile.lanes)

    def text(self, name: str, parameters: str, linkage: str = "internal ") -> str:
        """Return the function."""
        return "\n".join(
            [f"define {linkage}void @{name}({parameters}) #0 {{", "entry:", *self.allocas, *self.lines, "  ret void", "}\n"]
        )  # fmt: skip

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

    def masked_load(self, pointer: str, mask: str, lanes: int = 0, others: str = "zeroinitializer") -> str:
        """Return a vector from memory, and others where the mask is not set."""
        lanes = lanes or self.tile.lanes
        kind = vector(self.kind, lanes)
        return self.emit(
            f"call {kind} @llvm.masked.load.{self._suffix(lanes)}.p0"
            f"(ptr {pointer}, i32 1, {vector('i1', lanes)} {mask}, {kind} {others})"
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
            for n in {self.tile.lanes, self.tile.rows}
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

    parts = [_tile(new(), rows, across) for rows in _heights(tile) for across in range(1, _ACROSS + 1)]
    return "\n".join([*parts, _pack_rows(new()), _pack_columns(new()), _pack_a(new()), _part(new()), _bands(new()),
                      new().declarations()])  # fmt: skip


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
    """Write what packs rows of `a` whose columns lie side by side, tile by tile: elements of each term, then the next."""
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


def _part(f: _Function) -> str:
    """Write the loops over the blocks of one part of a product."""
    tile, size, x = f.tile, f.size, _words(f)
    lists = f.variable(f"[{tile.rows} x ptr]", "zeroinitializer")
    unit_a = f.emit(f"icmp eq i64 {x['term.a']}, {size}")
    unit_b = f.emit(f"icmp eq i64 {x['column.b']}, {size}")
    few = f.emit(f"icmp sle i64 %rows, {_FEW * tile.rows}")
    store_a = f.at("%scratch", x["packed.a"])

    def columns(n0: str) -> None:
        width = f.smaller(f.binary("sub", "%columns", n0), tile.chunk)
        vectors = f.above(width, tile.lanes)
        panels = f.above(vectors, _ACROSS)
        # what is read about as often as packing would read it stays where it is
        plain_a = f.emit(f"or i1 {unit_a}, {f.emit(f'icmp sle i64 {panels}, 1')}")
        whole = f.emit(f"icmp eq i64 {f.mul(vectors, str(tile.lanes))}, {width}")
        plain_b = f.emit(f"and i1 {unit_b}, {f.emit(f'and i1 {few}, {whole}')}")
        before = f.variable("i64", "0")
        c_chunk = f.by("%c", n0, size)
        b_chunk = f.by("%b", n0, x["column.b"])

        def panel_of(p: str) -> tuple[str, str, str]:
            """Return where a panel begins and how many vectors and columns it has."""
            v = f.share(vectors, p, panels)
            count = f.binary("sub", f.share(vectors, f.add(p, "1"), panels), v)
            valid = f.smaller(f.binary("sub", width, f.mul(v, str(tile.lanes))), f.mul(count, str(tile.lanes)))
            return v, count, valid

        def block(number: str) -> None:
            terms = f.emit(f"load i64, ptr {f.by(x['blocks'], number, 8)}")
            k0 = f.emit(f"load i64, ptr {before}")
            a_block, b_block = f.by("%a", k0, x["term.a"]), f.by(b_chunk, k0, x["term.b"])
            is_first = f.emit(f"icmp eq i64 {number}, 0")
            column_bytes = f.mul(terms, str(tile.lanes * size))  # of a panel's vector

            def pack(p: str) -> None:
                v, count, valid = panel_of(p)
                from_, to = f.by(b_block, f.mul(v, str(tile.lanes)), x["column.b"]), f.by("%scratch", v, column_bytes)

                def packing(name: str, stride: str) -> Callable[[], None]:
                    return lambda: f.do(f"call void @pack_{name}(ptr {from_}, ptr {to}, i64 {x[stride]}, i64 {terms}, "
                                        f"i64 {valid}, i64 {count})")  # fmt: skip

                f.when(unit_b, packing("rows", "term.b"), packing("columns", "column.b"))

            f.when(plain_b, lambda: None, lambda: f.upto("0", panels, 1, pack))

            def chunk(i0: str) -> None:
                some = f.smaller(f.binary("sub", "%rows", i0), CHUNK)
                a_chunk = f.by(a_block, i0, x["row.a"])
                f.when(plain_a, lambda: None, lambda: f.do(
                    f"call void @pack_a(ptr {a_chunk}, ptr {store_a}, i64 {x['term.a']}, i64 {terms}, i64 {some})"
                ))  # fmt: skip

                def panel(p: str) -> None:
                    v, count, valid = panel_of(p)
                    last = f.binary("sub", valid, f.mul(f.binary("sub", count, 1), str(tile.lanes)))
                    ahead = f.mul(v, str(tile.lanes * size))
                    packed_b, own_b = f.by("%scratch", v, column_bytes), f.at(b_block, ahead)
                    b_panel = f.emit(f"select i1 {plain_b}, ptr {own_b}, ptr {packed_b}")
                    wide = f.mul(count, str(tile.lanes * size))
                    step = f.emit(f"select i1 {plain_b}, i64 {x['term.b']}, i64 {wide}")
                    c_panel = f.at(c_chunk, ahead)

                    def rows(i: str) -> None:
                        valid_rows = f.smaller(f.binary("sub", some, i), tile.rows)
                        lowest = f.binary("sub", valid_rows, 1)
                        packed = f.by(store_a, f.mul(i, terms), size)
                        for r in range(tile.rows):  # beyond the last row, which is not stored, that one again
                            plain = f.by(a_chunk, f.add(i, f.smaller(str(r), lowest)), x["row.a"])
                            start = f.emit(f"select i1 {plain_a}, ptr {plain}, ptr {f.at(packed, str(r * size))}")
                            f.do(f"store ptr {start}, ptr {f.at(lists, str(8 * r))}")
                        term = f.emit(f"select i1 {plain_a}, i64 {x['term.a']}, i64 {tile.rows * size}")
                        to = f.by(c_panel, f.add(i0, i), x["row.c"])
                        half = f.emit(f"icmp sle i64 {valid_rows}, {tile.rows // 2}")
                        high = f.emit(f"select i1 {half}, i64 0, i64 {_ACROSS}")
                        end = f.name()
                        kinds = [(rows, across) for rows in _heights(tile) for across in range(1, _ACROSS + 1)]
                        labels = [f.name() for _ in kinds]
                        cases = " ".join(f"i64 {n + 1}, label %{label}" for n, label in enumerate(labels))
                        f.do(f"switch i64 {f.add(high, count)}, label %{end} [ {cases} ]")
                        for (height, across), label in zip(kinds, labels, strict=True):
                            f.label(label)
                            f.do(f"call void @tile{height}x{across}(ptr {lists}, i64 {term}, ptr {b_panel}, "
                                 f"i64 {step}, ptr {to}, i64 {x['row.c']}, i64 {terms}, i64 {valid_rows}, "
                                 f"i64 {last}, i1 {is_first}, {f.kind} {x['nought']})")  # fmt: skip
                            f.do(f"br label %{end}")
                        f.label(end)

                    f.upto("0", some, tile.rows, rows)

                f.upto("0", panels, 1, panel)

            f.upto("0", "%rows", CHUNK, chunk)
            f.do(f"store i64 {f.add(k0, terms)}, ptr {before}")

        f.upto("0", x["counts"], 1, block)

    f.upto("0", "%columns", tile.chunk, columns)
    return f.text("part", "ptr %x, ptr %a, ptr %b, ptr %c, i64 %rows, i64 %columns, ptr %scratch")


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
