"""LLVM IR as text: instructions, loops and memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dtypes import DType
from .llvmops import memory_type, type_of


class Emitter:
    """Writes the body of one function."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.allocas: list[str] = []
        self.metadata: list[str] = []
        self.block = "entry"
        self._count = 0
        self.group = 0
        self.single = False  # whether loops take one vector a turn: of short ones little is left over then
        self._bytes: dict[str, str] = {}  # loaded truth values -> the bytes they came from

    # Plain instructions

    def name(self) -> str:
        """Return a fresh name."""
        self._count += 1
        return f"v{self._count}"

    def emit(self, instruction: str) -> str:
        """Write an instruction; return its value."""
        value = f"%{self.name()}"
        self.lines.append(f"  {value} = {instruction}")
        return value

    def do(self, instruction: str) -> None:
        """Write an instruction without a value."""
        self.lines.append(f"  {instruction}")

    def label(self, name: str) -> None:
        """Begin a block."""
        self.lines.append(f"{name}:")
        self.block = name

    def add(self, a: str, b: str) -> str:
        """Return a + b, of 64-bit integers."""
        return a if b == "0" else b if a == "0" else self.emit(f"add i64 {a}, {b}")

    def mul(self, a: str, b: str) -> str:
        """Return a * b."""
        return a if b == "1" else b if a == "1" else self.emit(f"mul i64 {a}, {b}")

    def least(self, a: str, b: str) -> str:
        """Return the smaller."""
        return self.emit(f"call i64 @llvm.umin.i64(i64 {a}, i64 {b})")

    def at(self, pointer: str, offset: str) -> str:
        """Return a pointer moved by bytes."""
        return pointer if offset == "0" else self.emit(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def alloca(self, dtype: DType, count: int) -> str:
        """Return memory on the stack."""
        value = f"%{self.name()}"
        self.allocas.append(f"  {value} = alloca [{count} x {memory_type(dtype)}], align 64")
        return value

    def loop(self, count: str, body: Callable[[str], None], parallel: bool = False, step: str = "1") -> None:
        """Write a loop of at least one turn; `body` gets the index, and with `parallel` sets ``self.group``."""
        head, end, index, following = self.name(), self.name(), f"%{self.name()}", f"%{self.name()}"
        before, at = self.block, len(self.lines)
        self.do(f"br label %{head}")
        self.label(head)
        body(index)
        self.lines.insert(at + 2, f"  {index} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]")
        self.do(f"{following} = add nuw nsw i64 {index}, {step}")
        again = self.emit(f"icmp ult i64 {following}, {count}")
        self.do(f"br i1 {again}, label %{head}, label %{end}{self._loop_id() if parallel else ''}")
        self.label(end)

    def begin_group(self) -> str:
        """Begin an access group: the accesses of a loop that depend on none of another turn."""
        self.group = len(self.metadata)
        self.metadata.append("distinct !{}")
        return f", !llvm.access.group !{self.group}"

    def _loop_id(self) -> str:
        at = len(self.metadata)
        self.metadata.append(f'!{{!"llvm.loop.parallel_accesses", !{self.group}}}')
        hints = f"!{at}"
        if self.single:
            hints += f", !{at + 1}"
            self.metadata.append('!{!"llvm.loop.interleave.count", i32 1}')
        self.metadata.append(f"distinct !{{!{len(self.metadata)}, {hints}}}")
        return f", !llvm.loop !{len(self.metadata) - 1}"

    # Memory

    def load(self, dtype: DType, pointer: str, group: str = "", width: int = 0) -> str:
        """Return an element from memory, or a vector of some."""
        kind = vector(memory_type(dtype), width)
        found = self.emit(f"load {kind}, ptr {pointer}, align 1{group}")
        if dtype.kind != "b":
            return found
        truth = self.emit(f"icmp ne {kind} {found}, {'zeroinitializer' if width else '0'}")
        self._bytes[truth] = found
        return truth

    def store(self, dtype: DType, value: str, pointer: str, group: str = "", width: int = 0) -> None:
        """Write an element, or a vector of some, to memory."""
        kind = vector(memory_type(dtype), width)
        if dtype.kind == "b":  # a copy keeps odd bytes, as NumPy's
            value = self._bytes.get(value) or self.emit(f"zext {vector('i1', width)} {value} to {kind}")
        self.do(f"store {kind} {value}, ptr {pointer}, align 1{group}")

    def element(self, dtype: DType, pointer: str, index: str) -> str:
        """Return the address of an element of packed memory."""
        return self.emit(f"getelementptr {memory_type(dtype)}, ptr {pointer}, i64 {index}")

    def steps(self, steps: str, operands: Sequence[str], source: DType, target: DType, width: int = 0) -> str:
        """Write the steps of an instruction, on elements or on vectors of a width."""
        found: list[str] = []
        kind = str(type_of(source))
        intrinsic = {"float": "f32", "double": "f64"}.get(kind, kind)
        names = {
            "T": vector(str(type_of(target)), width), "S": vector(kind, width), "X": intrinsic,
            "bits": source.itemsize * 8,
        }  # fmt: skip
        for step in steps.replace(" i1 ", f" {vector('i1', width)} ").split("; "):
            found.append(self.emit(step.format(*operands, p=found, **names)))
        return found[-1]


def vector(kind: str, width: int) -> str:
    """Return the type of so many elements side by side; 0 is one alone."""
    return f"<{width} x {kind}>" if width else kind


def declaration(name: str) -> str:
    """Return the declaration of an intrinsic; its name ends with its type."""
    if name.startswith("llvm.prefetch."):
        return f"declare void @{name}(ptr, i32, i32, i32)"
    short = name.rsplit(".", 1)[1]
    kind = {"f32": "float", "f64": "double"}.get(short, short)
    operands = 2 if ".copysign." in name or ".umin." in name else 1
    return f"declare {kind} @{name}({', '.join([kind] * operands)})"
