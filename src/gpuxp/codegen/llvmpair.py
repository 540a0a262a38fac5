"""Two map kernels run as one pass over memory, in LLVM IR.

The first writes a temporary that only the second reads, and the second may write what the first reads, at other places:
an in-place stencil. A band of rows is done block by block. The first kernel's rows go to a buffer that stays in the
cache, the second follows `behind` rows later, when nobody reads any more what it overwrites. The first `ahead` and the
last `behind` rows of a band are read by its neighbours: the second kernel does them at the very end.
"""

from __future__ import annotations

PAIR, FINISH = "gpuxp_pair", "gpuxp_pair_finish"
WORDS = 512  # of a launch table

# words of a kernel's description
DESCRIPTION = ("function", "table", "count", "extent", "first", "params", "temporary", "strides", "units", "step")
# words of the pair
CONTEXT = ("one", "two", "rows", "bands", "block", "ahead", "behind", "scratch", "share", "width")

_TEXT = """
; runs a kernel on the rows from %i up to %j; its temporary is at %t
define internal void @rows(ptr %d, i64 %i, i64 %j, ptr %t) #0 {
entry:
  %local = alloca [WORDS x i64]
FIELDS d DESCRIPTION
  %n = sub i64 %j, %i
  %some = icmp sgt i64 %n, 0
  br i1 %some, label %go, label %end
go:
  %bytes = mul i64 %count, 8
  %table.from = inttoptr i64 %table to ptr
  call void @llvm.memcpy.p0.p0.i64(ptr %local, ptr %table.from, i64 %bytes, i1 false)
  %extent.at = getelementptr i64, ptr %local, i64 %extent
  store i64 %n, ptr %extent.at
  %strides.from = inttoptr i64 %strides to ptr
  br label %move
move:
  %p = phi i64 [ 0, %go ], [ %p.next, %move ]
  %place = add i64 %first, %p
  %base.at = getelementptr i64, ptr %local, i64 %place
  %base = load i64, ptr %base.at
  %stride.at = getelementptr i64, ptr %strides.from, i64 %p
  %stride = load i64, ptr %stride.at
  %by = mul i64 %stride, %i
  %moved = add i64 %base, %by
  store i64 %moved, ptr %base.at
  %p.next = add i64 %p, 1
  %more = icmp slt i64 %p.next, %params
  br i1 %more, label %move, label %call
call:
  %t.place = add i64 %first, %temporary
  %t.at = getelementptr i64, ptr %local, i64 %t.place
  store ptr %t, ptr %t.at
  %flat = icmp eq i64 %units, 0
  %above = add i64 %n, %step
  %above.less = sub i64 %above, 1
  %pieces = sdiv i64 %above.less, %step
  %by.rows = mul i64 %n, %units
  %all = select i1 %flat, i64 %pieces, i64 %by.rows
  %kernel = inttoptr i64 %function to ptr
  call void %kernel(ptr %local, i64 0, i64 %all)
  br label %end
end:
  ret void
}

; runs some bands, all but what their neighbours read
define void @gpuxp_pair(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS c CONTEXT
  %first = inttoptr i64 %one to ptr
  %second = inttoptr i64 %two to ptr
  %some = icmp slt i64 %low, %high
  br i1 %some, label %band, label %end
band:
  %k = phi i64 [ %low, %entry ], [ %k.next, %banded ]
BAND
  %tail.bytes = mul i64 %behind, %width
  %ring = getelementptr i8, ptr %tail, i64 %tail.bytes
  %start = add i64 %from, %ahead
  %stop = sub i64 %to, %behind
  call void @rows(ptr %first, i64 %from, i64 %start, ptr %head)
  br label %block.next
block.next:
  %base = phi i64 [ %start, %band ], [ %base.new, %followed ]
  %e = phi i64 [ %start, %band ], [ %e.new, %followed ]
  %left = icmp slt i64 %e, %stop
  br i1 %left, label %do, label %last
do:
  %e.far = add i64 %e, %block
  %e.new = call i64 @llvm.smin.i64(i64 %e.far, i64 %stop)
  %in = sub i64 %e, %base
  %in.bytes = mul i64 %in, %width
  %slot = getelementptr i8, ptr %ring, i64 %in.bytes
  call void @rows(ptr %first, i64 %e, i64 %e.new, ptr %slot)
  %limit = sub i64 %e.new, %behind
  %ready = icmp sgt i64 %limit, %base
  br i1 %ready, label %follow, label %followed
follow:
  call void @rows(ptr %second, i64 %base, i64 %limit, ptr %ring)
  %gone = sub i64 %limit, %base
  %gone.bytes = mul i64 %gone, %width
  %kept = getelementptr i8, ptr %ring, i64 %gone.bytes
  call void @llvm.memmove.p0.p0.i64(ptr %ring, ptr %kept, i64 %tail.bytes, i1 false)
  br label %followed
followed:
  %base.new = phi i64 [ %base, %do ], [ %limit, %follow ]
  br label %block.next
last:
  call void @rows(ptr %first, i64 %stop, i64 %to, ptr %tail)
  call void @rows(ptr %second, i64 %base, i64 %stop, ptr %ring)
  br label %banded
banded:
  %again = icmp slt i64 %k.next, %high
  br i1 %again, label %band, label %end
end:
  ret void
}

; runs the second kernel on what is left of the bands
define void @gpuxp_pair_finish(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS c CONTEXT
  %second = inttoptr i64 %two to ptr
  %some = icmp slt i64 %low, %high
  br i1 %some, label %band, label %end
band:
  %k = phi i64 [ %low, %entry ], [ %k.next, %band ]
BAND
  %start = add i64 %from, %ahead
  %stop = sub i64 %to, %behind
  call void @rows(ptr %second, i64 %from, i64 %start, ptr %head)
  call void @rows(ptr %second, i64 %stop, i64 %to, ptr %tail)
  %again = icmp slt i64 %k.next, %high
  br i1 %again, label %band, label %end
end:
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
attributes #0 = { nounwind }
"""


# the rows of band %k, and where what is done at the end is kept: the first and the last ones
_BAND = """  %k.next = add i64 %k, 1
  %from.all = mul i64 %rows, %k
  %from = sdiv i64 %from.all, %bands
  %to.all = mul i64 %rows, %k.next
  %to = sdiv i64 %to.all, %bands
  %own = mul i64 %k, %share
  %own.at = add i64 %scratch, %own
  %head = inttoptr i64 %own.at to ptr
  %head.bytes = mul i64 %ahead, %width
  %tail = getelementptr i8, ptr %head, i64 %head.bytes"""


def _fields(pointer: str, names: tuple[str, ...]) -> str:
    """Return loads of a structure's words, each into a value of its name."""
    lines = []
    for place, name in enumerate(names):
        lines.append(f"  %{name}.word = getelementptr i64, ptr %{pointer}, i64 {place}")
        lines.append(f"  %{name} = load i64, ptr %{name}.word")
    return "\n".join(lines)


def render_pair() -> str:
    """Return the module."""
    text = _TEXT.replace("FIELDS d DESCRIPTION", _fields("d", DESCRIPTION)).replace("WORDS", str(WORDS))
    return text.replace("FIELDS c CONTEXT", _fields("c", CONTEXT)).replace("BAND", _BAND)
