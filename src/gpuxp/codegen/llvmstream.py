"""A function in LLVM IR that writes memory past the caches, which large results would only pass through."""

from __future__ import annotations

_LINE = 64  # bytes of a cache line
_TEXT = """
; moves elements past the caches: whole lines at once, which need not be read before they are written
define internal void @stream(ptr %to, ptr %from, i64 %bytes) #0 {
entry:
  %address = ptrtoint ptr %to to i64
  %negative = sub i64 0, %address
  %gap = and i64 %negative, LAST
  %head = call i64 @llvm.umin.i64(i64 %gap, i64 %bytes)
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %head, i1 false)
  %left = sub i64 %bytes, %head
  %tail = and i64 %left, LAST
  %end = sub i64 %bytes, %tail
  %some = icmp ult i64 %head, %end
  br i1 %some, label %line, label %rest
line:
  %at = phi i64 [ %head, %entry ], [ %next, %line ]
  %source = getelementptr i8, ptr %from, i64 %at
  %target = getelementptr i8, ptr %to, i64 %at
  %words = load <8 x i64>, ptr %source, align 1
  store <8 x i64> %words, ptr %target, align LINE, !nontemporal !HINT
  %next = add i64 %at, LINE
  %more = icmp ult i64 %next, %end
  br i1 %more, label %line, label %rest
rest:
  %last.to = getelementptr i8, ptr %to, i64 %end
  %last.from = getelementptr i8, ptr %from, i64 %end
  call void @llvm.memcpy.p0.p0.i64(ptr %last.to, ptr %last.from, i64 %tail, i1 false)
  ret void
}
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
"""


def render_stream(hint: int) -> str:
    """Return the function; `hint` is the number of the metadata that stands for a non-temporal store."""
    return _TEXT.replace("LINE", str(_LINE)).replace("LAST", str(_LINE - 1)).replace("HINT", str(hint))
