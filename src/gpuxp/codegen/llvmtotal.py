"""Ufuncs' inner loops over packed memory, in LLVM IR: reductions of rows and of columns, a conversion."""

from __future__ import annotations

from ..dtypes import DType
from ..kernel import BLOCK, Inst, Kernel, Reduction
from .layout import Layout
from .llvm import render
from .llvmbody import ENTRY
from .llvmops import memory_type
from .llvmreduce import PART, WHOLE

TOTAL, COLUMNS, MAP = "gpuxp_total", "gpuxp_columns", "gpuxp_map"
_LONG = 1 << 18  # elements that are worth waking the crew

_TEXT = """
; %data: the address that runs a function on several threads, its state, how many elements are worth another thread, and
; the most helpers
define void @gpuxp_total(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {
entry:
  %table = alloca [5 x i64]
  %partial = alloca [PARTIALS x TYPE], align 64
  %t.n = getelementptr i64, ptr %table, i64 1
  %t.from = getelementptr i64, ptr %table, i64 2
  %t.to = getelementptr i64, ptr %table, i64 3
  %t.step = getelementptr i64, ptr %table, i64 4
  %n.at = getelementptr i64, ptr %dims, i64 1
  %y.at = getelementptr ptr, ptr %args, i64 1
  %step.y.at = getelementptr i64, ptr %steps, i64 1
  %state.at = getelementptr i64, ptr %data, i64 1
  %least.at = getelementptr i64, ptr %data, i64 2
  %most.at = getelementptr i64, ptr %data, i64 3
  %rows = load i64, ptr %dims
  %n = load i64, ptr %n.at
  %x.first = load ptr, ptr %args
  %y.first = load ptr, ptr %y.at
  %step.x = load i64, ptr %steps
  %step.y = load i64, ptr %step.y.at
  %run = load ptr, ptr %data
  %state = load ptr, ptr %state.at
  %least = load i64, ptr %least.at
  %most = load i64, ptr %most.at
  %above = add i64 %n, LAST
  %blocks = udiv i64 %above, BLOCK
  %shares = sdiv i64 %n, %least
  %spare = sub i64 %shares, 1
  %helpers = call i64 @llvm.smin.i64(i64 %spare, i64 %most)
  %threads = add i64 %helpers, 1
  %tasks = mul i64 %threads, 4
  %large = icmp sgt i64 %n, LONG
  %long = zext i1 %large to i64
  %many = icmp sgt i64 %helpers, 0
  store i64 SIZE, ptr %t.step
  store ptr %partial, ptr %t.to
  %any = icmp sgt i64 %rows, 0
  br i1 %any, label %row, label %end
row:
  %k = phi i64 [ 0, %entry ], [ %k.next, %done ]
  %x.by = mul i64 %k, %step.x
  %y.by = mul i64 %k, %step.y
  %x = getelementptr i8, ptr %x.first, i64 %x.by
  %y = getelementptr i8, ptr %y.first, i64 %y.by
  store i64 %n, ptr %t.n
  store ptr %x, ptr %t.from
  br i1 %many, label %together, label %alone
together:
  call void %run(ptr %state, ptr @gpuxp_kernel, ptr %table, i64 %blocks, i64 %tasks, i64 %helpers, i64 %long)
  br label %fold
alone:
  call void @gpuxp_kernel(ptr %table, i64 0, i64 %blocks)
  br label %fold
fold:
  %left = phi i64 [ %blocks, %together ], [ %blocks, %alone ], [ %fewer, %again ]
  %more = icmp ugt i64 %left, 1
  br i1 %more, label %again, label %done
again:
  store i64 %left, ptr %t.n
  store ptr %partial, ptr %t.from
  %rounded = add i64 %left, LAST
  %fewer = udiv i64 %rounded, BLOCK
  call void @gpuxp_kernel(ptr %table, i64 0, i64 %fewer)
  br label %fold
done:
  %found = load TYPE, ptr %partial
  %result = FINISH
  store TYPE %result, ptr %y
  %k.next = add i64 %k, 1
  %rest = icmp slt i64 %k.next, %rows
  br i1 %rest, label %row, label %end
end:
  ret void
}
declare i64 @llvm.smin.i64(i64, i64)
"""


def render_total(op: str, dtype: DType, most: int) -> str:
    """Return a loop with the signature ``(n)->()`` that combines rows, to the bits of `gpuxp.kernel.combine`.

    A row's elements lie side by side, and are at most `most`: its blocks' results are kept on the stack. A sum is never
    a negative zero.
    """
    inner = _inner(_reduction(op, dtype), Layout("cr"))
    kind = memory_type(dtype)
    sums = op == "add" and dtype.kind == "f"
    finish = f"fadd {kind} %found, 0.0" if sums else f"bitcast {kind} %found to {kind}"
    words = {"PARTIALS": most // BLOCK, "TYPE": kind, "LAST": BLOCK - 1, "BLOCK": BLOCK, "SIZE": dtype.itemsize,
             "FINISH": finish, "LONG": _LONG}  # fmt: skip
    text = _TEXT
    for name, value in words.items():
        text = text.replace(name, str(value))
    return inner + text


def _reduction(op: str, dtype: DType) -> Kernel:
    return Kernel((dtype, dtype), (), (Inst("load", (), dtype, 0),), (), (Reduction(op, 0, 1),), 1, 0)


def _inner(kernel: Kernel, layout: Layout) -> str:
    """Return a kernel as a function that only its module calls."""
    return render(kernel, layout).text.replace(f"define void @{ENTRY}", f"define internal void @{ENTRY}")


_COLUMNS = """
define void @gpuxp_columns(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {
entry:
  %table = alloca [7 x i64]
  %t.width = getelementptr i64, ptr %table, i64 1
  %t.length = getelementptr i64, ptr %table, i64 2
  %t.from = getelementptr i64, ptr %table, i64 3
  %t.to = getelementptr i64, ptr %table, i64 4
  %t.across = getelementptr i64, ptr %table, i64 5
  %t.down = getelementptr i64, ptr %table, i64 6
  %length.at = getelementptr i64, ptr %dims, i64 1
  %width.at = getelementptr i64, ptr %dims, i64 2
  %y.at = getelementptr ptr, ptr %args, i64 1
  %step.y.at = getelementptr i64, ptr %steps, i64 1
  %down.at = getelementptr i64, ptr %steps, i64 2
  %across.at = getelementptr i64, ptr %steps, i64 3
  %count = load i64, ptr %dims
  %length = load i64, ptr %length.at
  %width = load i64, ptr %width.at
  %x.first = load ptr, ptr %args
  %y.first = load ptr, ptr %y.at
  %step.x = load i64, ptr %steps
  %step.y = load i64, ptr %step.y.at
  %down = load i64, ptr %down.at
  %across = load i64, ptr %across.at
  %short = icmp sle i64 %length, SHORT
  %small = icmp sle i64 %width, WHOLE
  %whole = or i1 %short, %small
  %step = select i1 %whole, i64 WHOLE, i64 PART
  %above = add i64 %width, %step
  %last = sub i64 %above, 1
  %units = sdiv i64 %last, %step
  store i64 %step, ptr %table
  store i64 %width, ptr %t.width
  store i64 %length, ptr %t.length
  store i64 %across, ptr %t.across
  store i64 %down, ptr %t.down
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %matrix, label %end
matrix:
  %k = phi i64 [ 0, %entry ], [ %k.next, %matrix ]
  %x.by = mul i64 %k, %step.x
  %y.by = mul i64 %k, %step.y
  %x = getelementptr i8, ptr %x.first, i64 %x.by
  %y = getelementptr i8, ptr %y.first, i64 %y.by
  store ptr %x, ptr %t.from
  store ptr %y, ptr %t.to
  call void @gpuxp_kernel(ptr %table, i64 0, i64 %units)
  %k.next = add i64 %k, 1
  %rest = icmp slt i64 %k.next, %count
  br i1 %rest, label %matrix, label %end
end:
  ret void
}
"""


def render_columns(op: str, dtype: DType, near: bool) -> str:
    """Return a loop with the signature ``(n,m)->(m)`` that combines at most a block of rows; results are packed.

    `near` takes for granted that the elements of a row lie side by side.
    """
    inner = _inner(_reduction(op, dtype).over(2, 1), Layout("cr" if near else "sr", columns=True))
    text = _COLUMNS
    for name, value in {"SHORT": WHOLE // 4, "WHOLE": WHOLE, "PART": PART}.items():
        text = text.replace(name, str(value))
    return inner + text


_CAST = """
define void @gpuxp_map(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {
entry:
  %table = alloca [6 x i64]
  %t.n = getelementptr i64, ptr %table, i64 1
  %t.from = getelementptr i64, ptr %table, i64 2
  %t.to = getelementptr i64, ptr %table, i64 3
  %y.at = getelementptr ptr, ptr %args, i64 1
  %n = load i64, ptr %dims
  %x = load ptr, ptr %args
  %y = load ptr, ptr %y.at
  store i64 %n, ptr %table
  store i64 %n, ptr %t.n
  store ptr %x, ptr %t.from
  store ptr %y, ptr %t.to
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %go, label %end
go:
  call void @gpuxp_kernel(ptr %table, i64 0, i64 1)
  br label %end
end:
  ret void
}
"""


def render_cast(source: DType, target: DType) -> str:
    """Return a loop that converts elements; they lie side by side."""
    body = [Inst("load", (), source, 0)]
    if source != target:
        body.append(Inst("cast", (0,), target))
    kernel = Kernel((source, target), (), tuple(body), ((1, len(body) - 1),))
    return _inner(kernel, Layout("cc")) + _CAST
