"""Kernels run together as one pass over memory, block by block, in LLVM IR.

A *pair* is an in-place stencil: the first kernel writes a temporary that only the second reads, and the second may
write what the first reads, at other places. A band of rows is done block by block. The first kernel's rows go to a
buffer that stays in the cache, the second follows `behind` rows later, when nobody reads any more what it overwrites.
The first `ahead` and the last `behind` rows of a band are read by its neighbours: the second kernel does them at the
very end.

A *pass* is several kernels each of whose rows needs the same rows of the others alone, such as a row's largest element,
its exponentials, their sum, its quotients: all do one block of rows, then the next. Temporaries are as long as a block.
"""

from __future__ import annotations

PAIR, FINISH, PASS = "gpuxp_pair", "gpuxp_pair_finish", "gpuxp_pass"
WORDS = 512  # of a launch table

# words of a kernel's description
DESCRIPTION = ("function", "table", "count", "extent", "first", "params", "strides", "own", "each", "units", "step")
# words of a pair, and of a pass
CONTEXT = ("one", "two", "rows", "bands", "block", "ahead", "behind", "scratch", "share", "width")
MEMBERS = ("kernels", "number", "rows", "bands", "block", "scratch", "share")

_TEXT = """
; runs a kernel on the rows from %i up to %j; parameters that are temporaries begin at %t
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
  %extents = mul i64 %n, %each
  store i64 %extents, ptr %extent.at
  %strides.from = inttoptr i64 %strides to ptr
  %own.from = inttoptr i64 %own to ptr
  %t.base = ptrtoint ptr %t to i64
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
  %own.at = getelementptr i64, ptr %own.from, i64 %p
  %is.own = load i64, ptr %own.at
  %its = mul i64 %is.own, %t.base
  %there = add i64 %moved, %its
  store i64 %there, ptr %base.at
  %p.next = add i64 %p, 1
  %more = icmp slt i64 %p.next, %params
  br i1 %more, label %move, label %call
call:
  %flat = icmp eq i64 %units, 0
  %above = add i64 %extents, %step
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

; runs some bands of a pass, block by block
define void @gpuxp_pass(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS c MEMBERS
  %list = inttoptr i64 %kernels to ptr
  %some = icmp slt i64 %low, %high
  br i1 %some, label %band, label %end
band:
  %k = phi i64 [ %low, %entry ], [ %k.next, %banded ]
BOUNDS
  br label %block.next
block.next:
  %i = phi i64 [ %from, %band ], [ %j, %blocked ]
  %left = icmp slt i64 %i, %to
  br i1 %left, label %do, label %banded
do:
  %far = add i64 %i, %block
  %j = call i64 @llvm.smin.i64(i64 %far, i64 %to)
  br label %member
member:
  %m = phi i64 [ 0, %do ], [ %m.next, %member ]
  %kernel.at = getelementptr ptr, ptr %list, i64 %m
  %kernel = load ptr, ptr %kernel.at
  call void @rows(ptr %kernel, i64 %i, i64 %j, ptr %head)
  %m.next = add i64 %m, 1
  %others = icmp slt i64 %m.next, %number
  br i1 %others, label %member, label %blocked
blocked:
  br label %block.next
banded:
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


# the rows of band %k, and its scratch memory
_BOUNDS = """  %k.next = add i64 %k, 1
  %from.all = mul i64 %rows, %k
  %from = sdiv i64 %from.all, %bands
  %to.all = mul i64 %rows, %k.next
  %to = sdiv i64 %to.all, %bands
  %own = mul i64 %k, %share
  %own.at = add i64 %scratch, %own
  %head = inttoptr i64 %own.at to ptr"""
# where a pair keeps what is done at the end: the first and the last ones
_BAND = (
    _BOUNDS
    + """
  %head.bytes = mul i64 %ahead, %width
  %tail = getelementptr i8, ptr %head, i64 %head.bytes"""
)


def _fields(pointer: str, names: tuple[str, ...]) -> str:
    """Return loads of a structure's words, each into a value of its name."""
    lines = []
    for place, name in enumerate(names):
        lines.append(f"  %{name}.word = getelementptr i64, ptr %{pointer}, i64 {place}")
        lines.append(f"  %{name} = load i64, ptr %{name}.word")
    return "\n".join(lines)


def render_joint() -> str:
    """Return the module."""
    text = _TEXT.replace("BAND", _BAND).replace("BOUNDS", _BOUNDS).replace("WORDS", str(WORDS))
    for name, fields in (("d DESCRIPTION", DESCRIPTION), ("c CONTEXT", CONTEXT), ("c MEMBERS", MEMBERS)):
        text = text.replace(f"FIELDS {name}", _fields(name[0], fields))
    return text
