"""From a kernel to the source of a C-like language.

A kernel becomes one function. Sizes, strides, offsets and scalars come in one struct, so the text depends on the
structure alone. Reductions follow the canonical order of `gpuxp.kernel.combine` exactly: blocks, lanes, halves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import numpy as np

from ..dtypes import DType
from ..kernel import BLOCK, LANES, Inst, Kernel, Reduction
from ..ops import ELEMENTWISE
from .spelling import Dialect, cast, component, constant, expression, helpers, type_name

ENTRY = "gpuxp_kernel"
COLUMNS = 16  # kept neighbours that one task reduces together, where tasks are single threads
_WORD = re.compile(r"\w+")
LEAST = "#define LEAST(a, b) ((a) < (b) ? (a) : (b))"


def render(kernel: Kernel, dialect: Dialect, *, columns: bool = False, bytewise: bool = False) -> str:
    """Return the kernel's source.

    Parameters
    ----------
    kernel
        What to render.
    dialect
        The language.
    columns
        For a reduction done by single threads: let each take `COLUMNS` kept neighbours at once.
    bytewise
        Address memory in bytes, for parameters that are not aligned to their elements.

    Raises
    ------
    Unsupported
        If the language has no spelling for an instruction or a dtype.
    """
    return _Writer(kernel, dialect, columns, bytewise).text()


def scalar_format(dtype: DType) -> str:
    """Return a scalar's place in the launch struct, eight or sixteen bytes, in the notation of the `struct` module."""
    if dtype.kind == "c":
        return "ff" if dtype.itemsize == 8 else "dd"
    return {"float32": "f4x", "float64": "d", "uint64": "Q"}.get(dtype.name, "q")


def stride_slots(kernel: Kernel) -> int:
    """Return how many strides each parameter has in the launch struct; a result's last is that of its blocks."""
    return max(kernel.ndim, kernel.kept + 1) if kernel.reductions else kernel.ndim


def place_format(kernel: Kernel) -> str:
    """Return the launch struct up to its scalars in the notation of the `struct` module: shape, offsets, strides."""
    return f"<{kernel.ndim + len(kernel.params) * (1 + stride_slots(kernel))}q"


def fits_by_value(kernel: Kernel, dialect: Dialect) -> bool:
    """Whether the launch struct and the pointers fit what the language passes by value."""
    params = len(kernel.params)
    words = kernel.ndim + params * (2 + stride_slots(kernel)) + 2 * len(kernel.scalars) + 2
    return 8 * words <= dialect.parameter_bytes


class _Writer:
    """One rendering."""

    def __init__(self, kernel: Kernel, dialect: Dialect, columns: bool, bytewise: bool) -> None:
        self.kernel, self.dialect, self.names = kernel, dialect, dialect.names
        self.columns = columns and kernel.kept > 0 and not dialect.group
        self.bytewise = bytewise
        self.by_value = fits_by_value(kernel, dialect)
        self.a = "a." if self.by_value else "a->"
        self.results = {r.param for r in kernel.reductions}
        self.kept = range(kernel.kept)
        self.reduced = range(kernel.kept, kernel.ndim)

    def text(self) -> str:
        """Return the whole source."""
        kernel = self.kernel
        if not kernel.reductions:
            body = list(self._map())
        else:
            body = list(self._reduce_by_group() if self.dialect.group else self._reduce_alone())
        function = "\n".join([self._signature(), *_indented([*self._setup(), *body]), "}"])
        defined = [LEAST, *helpers(function, self.dialect), function, ""]
        words = set(_WORD.findall("\n".join(defined)))
        extras = "".join(text for word, text in self.dialect.extras.items() if word in words)
        return "\n".join([self.dialect.prelude + extras + self._struct(), *defined])

    # The frame

    def _struct(self) -> str:
        kernel = self.kernel
        params = len(kernel.params)
        fields = [f"long shape[{kernel.ndim}];", f"long at[{params}];", f"long by[{params}][{stride_slots(kernel)}];"]
        for number, dtype in enumerate(kernel.scalars):
            part = type_name(component(dtype), self.dialect)
            if dtype.kind == "c":
                fields.append(f"{part} s{number}x, s{number}y;")
            elif dtype.kind == "f":
                fields.append(f"{part} s{number}{f', pad{number}' if dtype.itemsize == 4 else ''};")
            else:
                fields.append(f"{'ulong' if dtype.name == 'uint64' else 'long'} s{number};")
        return "typedef struct {\n" + "\n".join(_indented(fields)) + "\n} launch;"

    def _signature(self) -> str:
        g = self.names["global"]
        given = [f"{g}uchar* p{p}" for p in range(len(self.kernel.params))]
        given.append("const launch a" if self.by_value else f"{self.names['constant']}const launch* a")
        if self.kernel.reductions and self.dialect.group and self.names["scratch"]:
            given.append(self.names["scratch"])
        return f"{self.names['function']} {ENTRY}({', '.join(given)}) {{"

    def _setup(self) -> Iterator[str]:
        """Typed pointers and scalars."""
        written = set(self.kernel.outputs)
        for p, dtype in enumerate(self.kernel.params):
            const = "" if p in written else "const "
            pointer = f"{self.names['global']}{const}{self._memory_type(dtype)}*"
            yield f"{pointer} b{p} = ({pointer})(p{p} + {self.a}at[{p}]);"
        for number, dtype in enumerate(self.kernel.scalars):
            name, to = f"{self.a}s{number}", type_name(dtype, self.dialect)
            value = f"gpx_complex_{to}({name}x, {name}y)" if dtype.kind == "c" else f"({to}){name}"
            yield f"const {to} s{number} = {value};"

    # Memory

    def _memory_type(self, dtype: DType) -> str:
        part = component(dtype)
        return "uchar" if self._in_bytes(part) else type_name(part, self.dialect)

    def _in_bytes(self, part: DType) -> bool:
        return self.bytewise and part.itemsize > 1

    def _load(self, param: int, element: str) -> str:
        dtype = self.kernel.params[param]
        parts = [self._load_part(param, element, n) for n in range(2 if dtype.kind == "c" else 1)]
        return parts[0] if len(parts) == 1 else f"gpx_complex_{type_name(dtype, self.dialect)}({', '.join(parts)})"

    def _load_part(self, param: int, element: str, number: int) -> str:
        part = component(self.kernel.params[param])
        if self._in_bytes(part):
            at = f"b{param} + {element}{_plus(number * part.itemsize)}"
            return self.names["load_bytes"].format(T=type_name(part, self.dialect), n=part.itemsize, at=at)
        return f"b{param}[{element}{_plus(number)}]"

    def _store(self, param: int, element: str, value: str) -> Iterator[str]:
        dtype = self.kernel.params[param]
        part = component(dtype)
        for number, member in enumerate((".x", ".y") if dtype.kind == "c" else ("",)):
            if self._in_bytes(part):
                at = f"b{param} + {element}{_plus(number * part.itemsize)}"
                yield self.names["store_bytes"].format(n=part.itemsize, at=at, value=value + member)
            else:
                yield f"b{param}[{element}{_plus(number)}] = {value}{member};"

    def _place(self, param: int, dims: Sequence[int]) -> str:
        return " + ".join(f"i{d} * {self.a}by[{param}][{d}]" for d in dims) or "0"

    # The loop

    def _size(self, dims: Sequence[int]) -> str:
        return " * ".join(f"{self.a}shape[{d}]" for d in dims) or "1"

    def _indices(self, dims: Sequence[int], linear: str) -> Iterator[str]:
        """Split a position into the indices of `dims`, the last running fastest."""
        if len(dims) > 1:
            yield f"long rest{dims[0]} = {linear};"
            linear = f"rest{dims[0]}"
        for d in reversed(dims[1:]):
            yield f"const long i{d} = {linear} % {self.a}shape[{d}];"
            yield f"{linear} /= {self.a}shape[{d}];"
        if dims:
            yield f"const long i{dims[0]} = {linear};"

    def _body(self, index: str) -> Iterator[str]:
        """Load, compute and store at one point; `index` is the position in a one-dimensional loop."""
        kernel = self.kernel
        used = dict.fromkeys([i.attr for i in kernel.body if i.op == "load"] + [p for p, _ in kernel.stores])
        for p in used:
            yield f"const long e{p} = {self._place(p, range(kernel.ndim))};"
        for number, inst in enumerate(kernel.body):
            yield f"const {type_name(inst.dtype, self.dialect)} v{number} = {self._value(inst, index)};"
        for param, value in kernel.stores:
            yield from self._store(param, f"e{param}", f"v{value}")

    def _value(self, inst: Inst, index: str) -> str:
        args = [f"v{a}" for a in inst.args]
        if inst.op == "load":
            return self._load(inst.attr, f"e{inst.attr}")
        if inst.op == "scalar":
            return f"s{inst.attr}"
        if inst.op == "literal":
            return constant(inst.attr, inst.dtype, self.dialect)
        if inst.op == "index":
            return cast(index, np.dtype(np.int64), inst.dtype, self.dialect)
        operands = [self.kernel.body[a].dtype for a in inst.args]
        if inst.op == "cast":
            return cast(args[0], operands[0], inst.dtype, self.dialect)
        return expression(inst.op, inst.dtype, operands, args, self.dialect)

    def _map(self) -> Iterator[str]:
        """Rows are strided over the second dimension of threads; within a row a thread takes a range, or every n-th."""
        names, last = self.names, self.kernel.ndim - 1
        extent, i = f"{self.a}shape[{last}]", f"i{last}"
        if self.dialect.group:
            loop = f"for (long {i} = {names['item0']}; {i} < {extent}; {i} += {names['items0']}) {{"
        else:
            yield f"const long share = ({extent} + {names['items0']} - 1) / {names['items0']};"
            yield f"const long low = {names['item0']} * share, high = LEAST(low + share, {extent});"
            loop = f"for (long {i} = low; {i} < high; ++{i}) {{"
        inner = [*self._vectorize(), loop, *_indented(list(self._body(i))), "}"]
        if last == 0:
            yield from inner
            return
        outer = range(last)
        yield f"for (long row = {names['item1']}; row < {self._size(outer)}; row += {names['items1']}) {{"
        yield from _indented([*self._indices(outer, "row"), *inner])
        yield "}"

    def _vectorize(self) -> list[str]:
        return [self.names["vectorize"]] if self.names["vectorize"] else []

    # Reductions

    def _extents(self) -> Iterator[str]:
        yield f"const long reduced = {self._size(self.reduced)};"
        yield f"const long blocks = reduced > {BLOCK} ? (reduced + {BLOCK - 1}) / {BLOCK} : 1;"

    def _block(self) -> Iterator[str]:
        yield f"const long start = block * {BLOCK};"
        yield f"const long n = LEAST(reduced - start, {BLOCK}), lanes = LEAST(n, {LANES});"

    def _accumulators(self) -> list[tuple[int, Reduction, str]]:
        """Return number, reduction and C type of each accumulator."""
        body = self.kernel.body
        return [(k, r, type_name(body[r.value].dtype, self.dialect)) for k, r in enumerate(self.kernel.reductions)]

    def _combine(self, r: Reduction, x: str, y: str) -> str:
        dtype = self.kernel.body[r.value].dtype
        return expression(r.op, dtype, (dtype, dtype), (x, y), self.dialect)

    def _result(self, k: int, r: Reduction, value: str) -> Iterator[str]:
        """Store the result of a block; a sum takes its identity in, because a sum of negative zeros is zero."""
        dtype, target = self.kernel.body[r.value].dtype, self.kernel.params[r.param]
        neutral = ELEMENTWISE[r.op].identity
        zero = constant(int(neutral or 0), dtype, self.dialect)
        c_type = type_name(dtype, self.dialect)
        yield f"{c_type} t{k} = {zero};"
        yield f"if (n > 0) t{k} = {value};"
        if r.op == "add" and dtype.kind in "fc":
            yield f"t{k} = t{k} + {zero};"
        if target != dtype:
            yield f"const {type_name(target, self.dialect)} u{k} = {cast(f't{k}', dtype, target, self.dialect)};"
        place = f"{self._place(r.param, self.kept)} + block * {self.a}by[{r.param}][{len(self.kept)}]"
        yield f"const long e{r.param} = {place};"
        yield from self._store(r.param, f"e{r.param}", f"t{k}" if target == dtype else f"u{k}")

    def _halve(self, first: str, step: str, at: str) -> Iterator[str]:
        """Combine lanes pairwise until one is left; `at` places lane {0} in memory."""
        yield f"for (long apart = {LANES // 2}; apart > 0; apart /= 2) {{"
        point = []
        for k, r, c_type in self._accumulators():
            mine, other = (f"m{k}[{at.format(lane)}]" for lane in ("lane", "(lane + apart)"))
            point.append(f"const {c_type} x{k} = {mine}, y{k} = {other};")
            point.append(f"{mine} = {self._combine(r, f'x{k}', f'y{k}')};")
        if self.columns:
            point = ["for (long c = 0; c < count; ++c) {", *_indented(point), "}"]
        loop = f"for (long lane = {first}; lane < LEAST(apart, lanes - apart); lane += {step}) {{"
        barrier = [self.names["barrier"]] if self.dialect.group else []
        yield from _indented([loop, *_indented(point), "}", *barrier])
        yield "}"

    def _reduce_by_group(self) -> Iterator[str]:
        """Give a group one block of `width` kept elements; its `workers` share the lanes."""
        names, local = self.names, self.names["local"]
        accumulators = self._accumulators()
        yield from [names["shared"]] if names["shared"] else []
        largest = max(self.kernel.body[r.value].dtype.itemsize for _, r, _ in accumulators)
        yield from self._extents()
        yield f"const long kept = {self._size(self.kept)};"
        yield f"const long c = {names['thread0']}, width = {names['threads0']};"
        yield f"const long worker = {names['thread1']}, workers = {names['threads1']};"
        yield f"const long block = {names['group0']} % blocks, k = {names['group0']} / blocks * width + c;"
        yield from self._indices(self.kept, "k")
        yield from self._block()
        for k, _, c_type in accumulators:
            yield f"{local}{c_type}* m{k} = ({local}{c_type}*)(scratch + {k} * lanes * width * {largest});"
        yield "if (k < kept) {"
        yield "  for (long lane = worker; lane < lanes; lane += workers) {"
        yield from _indented([f"{c_type} acc{k};" for k, _, c_type in accumulators], 4)
        yield f"    for (long r = lane; r < n; r += {LANES}) {{"
        point = [*self._indices(self.reduced, "(start + r)"), *self._body("(start + r)")]
        for k, r, _ in accumulators:
            point.append(f"if (r == lane) acc{k} = v{r.value};")
            point.append(f"else acc{k} = {self._combine(r, f'acc{k}', f'v{r.value}')};")
        yield from _indented(point, 6)
        yield "    }"
        yield from _indented([f"m{k}[lane * width + c] = acc{k};" for k, _, _ in accumulators], 4)
        yield "  }"
        yield "}"
        yield names["barrier"]
        yield from self._halve("worker", "workers", "{} * width + c")
        yield "if (k < kept && worker == 0) {"
        for k, r, _ in accumulators:
            yield from _indented(list(self._result(k, r, f"m{k}[c]")))
        yield "}"

    def _reduce_alone(self) -> Iterator[str]:
        """Give a thread whole blocks, of one kept element or of `COLUMNS` neighbours."""
        names, width = self.names, COLUMNS if self.columns else 1
        outer = self.kept[:-1] if self.columns else self.kept
        yield from self._extents()
        tiles = self._size(outer)
        if self.columns:
            extent = f"{self.a}shape[{self.kept[-1]}]"
            yield f"const long across = ({extent} + {width - 1}) / {width};"
            tiles += " * across"
        yield f"for (long task = {names['item0']}; task < {tiles} * blocks; task += {names['items0']}) {{"
        task = ["const long block = task % blocks;"]
        if self.columns:
            task.append(f"const long first = task / blocks % across * {width};")
            task.append(f"const long count = LEAST({extent} - first, {width});")
            task.extend(self._indices(outer, "task / blocks / across"))
        else:
            task.extend(self._indices(outer, "task / blocks"))
        task.extend(self._block())
        task.extend(f"{c_type} m{k}[{LANES * width}];" for k, _, c_type in self._accumulators())
        task.extend(self._fold_runs(width))
        task.extend(self._halve("0", "1", f"{{}} * {width} + c" if self.columns else "{}"))
        task.extend(self._results_alone())
        yield from _indented(task)
        yield "}"

    def _fold_runs(self, width: int) -> Iterator[str]:
        """Fold a block into its lanes, by runs in which only the last reduced index grows."""
        last = self.kernel.ndim - 1 if self.reduced else None
        yield "long run;"
        yield "for (long r = 0; r < n; r += run) {"
        lines = [f"run = LEAST(n - r, {LANES} - r % {LANES});"]
        if last is not None:
            indices = list(self._indices(self.reduced, "(start + r)"))
            lines += [line.replace(f"const long i{last} =", "const long from =") for line in indices]
            lines.append(f"run = LEAST(run, {self.a}shape[{last}] - from);")
        lines.append(f"const long lane = r % {LANES};")
        point = []
        if last is not None:
            point.append(f"const long i{last} = from + q;")
        if self.columns:
            point.append(f"const long i{self.kept[-1]} = first + c;")
        point.extend(self._body("(start + r + q)"))
        point.append(f"const long at = (lane + q) * {width} + {'c' if self.columns else '0'};")
        for k, r, _ in self._accumulators():
            point.append(f"if (r < {LANES}) m{k}[at] = v{r.value};")
            point.append(f"else m{k}[at] = {self._combine(r, f'm{k}[at]', f'v{r.value}')};")
        inner = ["for (long q = 0; q < run; ++q) {", *_indented(point), "}"]
        if self.columns:
            inner = [
                "for (long q = 0; q < run; ++q) {",
                *_indented([*self._vectorize(), "for (long c = 0; c < count; ++c) {", *_indented(point), "}"]),
                "}",
            ]
        else:
            inner = [*self._vectorize(), *inner]
        yield from _indented([*lines, *inner])
        yield "}"

    def _results_alone(self) -> Iterator[str]:
        at = "[c]" if self.columns else "[0]"
        lines = [line for k, r, _ in self._accumulators() for line in self._result(k, r, f"m{k}{at}")]
        if self.columns:
            lines.insert(0, f"const long i{self.kept[-1]} = first + c;")
            yield "for (long c = 0; c < count; ++c) {"
            yield from _indented(lines)
            yield "}"
        else:
            yield from lines


def _indented(lines: Sequence[str], by: int = 2) -> list[str]:
    return [" " * by + line for line in lines]


def _plus(number: int) -> str:
    return f" + {number}" if number else ""
