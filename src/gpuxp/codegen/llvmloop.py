"""A sequence of steps as a ufunc's inner loop, in LLVM IR."""

from __future__ import annotations

from ..kernel import Kernel
from .layout import Layout
from .llvm import render
from .llvmbody import ENTRY
from .llvmops import constant
from .llvmtext import Emitter

LOOP = "gpuxp_loop"


def render_loop(kernel: Kernel, limit: float) -> str:
    """Return a loop over one float64 in and one out.

    What is not within `limit` is left to another loop: its address and data are what this loop's data points to.
    """
    source = render(kernel, Layout("cc"))
    assert not source.calls
    double = kernel.params[0]
    text = source.text.replace(f"define void @{ENTRY}", f"define internal void @{ENTRY}")
    text = text.replace("{ nounwind", '{ nounwind "prefer-vector-width"="512"')  # all arithmetic: wide vectors pay
    writer = _LoopWriter(source.text.count("\n!") + source.text.startswith("!"), constant(limit, double))
    return text.replace("define internal", writer.text() + "define internal", 1) + "\n".join(writer.notes()) + "\n"


class _LoopWriter(Emitter):
    """Writes the loop: the kernel over packed memory, or element by element over strides; then what is left."""

    def __init__(self, first: int, limit: str) -> None:
        super().__init__()
        self._first, self._limit = first, limit
        self.metadata = [""] * first  # numbers that the kernel's text has taken

    def notes(self) -> list[str]:
        """Return this function's metadata."""
        return [f"!{n} = {what}" for n, what in enumerate(self.metadata)][self._first :]

    def text(self) -> str:
        """Return the function."""
        self._body()
        head = f"define void @{LOOP}(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {{"
        return "\n".join([head, "entry:", *self.allocas, *self.lines, "}\n"])

    def _word(self, pointer: str, place: int, kind: str = "i64") -> str:
        return self.emit(f"load {kind}, ptr {self.at(pointer, str(8 * place))}")

    def _body(self) -> None:
        self.allocas = ["  %table = alloca [6 x i64]", "  %two = alloca [2 x ptr]", "  %one = alloca i64"]
        x, y = self._word("%args", 0, "ptr"), self._word("%args", 1, "ptr")
        count = self._word("%dims", 0)
        step_x, step_y = self._word("%steps", 0), self._word("%steps", 1)
        packed = [self.emit(f"icmp eq i64 {step}, 8") for step in (step_x, step_y)]
        some = self.emit(f"icmp sgt i64 {count}, 0")
        whole, single, go, end = (self.name() for _ in range(4))
        self.do(f"br i1 {some}, label %{go}, label %{end}")
        self.label(go)
        self.do(f"br i1 {self.emit(f'and i1 {packed[0]}, {packed[1]}')}, label %{whole}, label %{single}")
        self.label(whole)
        self._run(x, y, count)
        self.do(f"br label %{end}")
        self.label(single)
        self.loop(count, lambda i: self._run(self.at(x, self.mul(i, step_x)), self.at(y, self.mul(i, step_y)), "1"))
        self.do(f"br label %{end}")
        self.label(end)
        self.do("ret void")

    def _run(self, x: str, y: str, count: str) -> None:
        """Run the kernel on packed memory, then the other loop on the elements beyond the limit."""
        step = "i64 8"
        for place, word in enumerate((f"i64 {count}", f"i64 {count}", f"ptr {x}", f"ptr {y}", step, step)):
            self.do(f"store {word}, ptr {self.at('%table', str(8 * place))}")
        self.do("call void @gpuxp_kernel(ptr %table, i64 0, i64 1)")
        far = f"%{self.name()}"
        self.allocas.append(f"  {far} = alloca i8")
        self.do(f"store i8 0, ptr {far}")

        def look(i: str) -> None:
            near = self._near(x, i)
            seen = self.emit(f"load i8, ptr {far}")
            here = self.emit(f"select i1 {near}, i8 0, i8 1")
            self.do(f"store i8 {self.emit(f'or i8 {seen}, {here}')}, ptr {far}")

        self.loop(count, look)
        any_far = self.emit(f"icmp ne i8 {self.emit(f'load i8, ptr {far}')}, 0")
        redo, end = self.name(), self.name()
        self.do(f"br i1 {any_far}, label %{redo}, label %{end}")
        self.label(redo)
        self.loop(count, lambda i: self._redo(x, y, i))
        self.do(f"br label %{end}")
        self.label(end)

    def _near(self, x: str, i: str) -> str:
        value = self.emit(f"load double, ptr {self.emit(f'getelementptr double, ptr {x}, i64 {i}')}")
        size = self.emit(f"call double @llvm.fabs.f64(double {value})")
        return self.emit(f"fcmp ole double {size}, {self._limit}")

    def _redo(self, x: str, y: str, i: str) -> None:
        do, end = self.name(), self.name()
        self.do(f"br i1 {self._near(x, i)}, label %{end}, label %{do}")
        self.label(do)
        for place, base in enumerate((x, y)):
            element = self.emit(f"getelementptr double, ptr {base}, i64 {i}")
            self.do(f"store ptr {element}, ptr {self.at('%two', str(8 * place))}")
        self.do("store i64 1, ptr %one")
        function, data = self._word("%data", 0, "ptr"), self._word("%data", 1, "ptr")
        self.do(f"call void {function}(ptr %two, ptr %one, ptr %steps, ptr {data})")
        self.do(f"br label %{end}")
        self.label(end)
