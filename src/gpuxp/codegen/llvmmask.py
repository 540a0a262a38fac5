"""What a boolean mask selects, read and written in blocks, in LLVM IR.

Blocks are counted first; then each knows where its elements go. No step depends on a branch, so that random masks cost
no more than others.
"""

from __future__ import annotations

COUNT, COMPRESS, EXPAND = "gpuxp_count", "gpuxp_compress", "gpuxp_expand"
CONTEXT = ("mask", "source", "target", "counts", "size", "block")  # words

_TEXT = """
define void @gpuxp_count(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS
  br label %unit
unit:
  %b = phi i64 [ %low, %entry ], [ %b.next, %done ]
  %more = icmp slt i64 %b, %high
  br i1 %more, label %begin, label %end
begin:
  %from = mul i64 %b, %block.word
  %far = add i64 %from, %block.word
  %to = call i64 @llvm.smin.i64(i64 %far, i64 %size.word)
  br label %element
element:
  %i = phi i64 [ %from, %begin ], [ %i.next, %element ]
  %sum = phi i64 [ 0, %begin ], [ %sum.next, %element ]
  %m.at = getelementptr i8, ptr %mask, i64 %i
  %m = load i8, ptr %m.at
  %set = icmp ne i8 %m, 0
  %one = zext i1 %set to i64
  %sum.next = add i64 %sum, %one
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %i.next, %to
  br i1 %again, label %element, label %done
done:
  %place = getelementptr i64, ptr %counts, i64 %b
  store i64 %sum.next, ptr %place
  %b.next = add i64 %b, 1
  br label %unit
end:
  ret void
}

; what a false element leaves behind the last true one is overwritten by the next; the last true one ends the block
define void @gpuxp_compress(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS
  br label %unit
unit:
  %b = phi i64 [ %low, %entry ], [ %b.next, %done ]
  %more = icmp slt i64 %b, %high
  br i1 %more, label %begin, label %end
begin:
  %from = mul i64 %b, %block.word
  %b.next = add i64 %b, 1
  %start.at = getelementptr i64, ptr %counts, i64 %b
  %stop.at = getelementptr i64, ptr %counts, i64 %b.next
  %start = load i64, ptr %start.at
  %stop = load i64, ptr %stop.at
  %some = icmp slt i64 %start, %stop
  br i1 %some, label %element, label %done
element:
  %i = phi i64 [ %from, %begin ], [ %i.next, %element ]
  %k = phi i64 [ %start, %begin ], [ %k.next, %element ]
  %m.at = getelementptr i8, ptr %mask, i64 %i
  %m = load i8, ptr %m.at
  %set = icmp ne i8 %m, 0
  %x.at = getelementptr TYPE, ptr %source, i64 %i
  %x = load TYPE, ptr %x.at, align 1
  %y.at = getelementptr TYPE, ptr %target, i64 %k
  store TYPE %x, ptr %y.at, align 1
  %one = zext i1 %set to i64
  %k.next = add i64 %k, %one
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %k.next, %stop
  br i1 %again, label %element, label %done
done:
  br label %unit
end:
  ret void
}

define void @gpuxp_expand(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS
  br label %unit
unit:
  %b = phi i64 [ %low, %entry ], [ %b.next, %done ]
  %more = icmp slt i64 %b, %high
  br i1 %more, label %begin, label %end
begin:
  %from = mul i64 %b, %block.word
  %far = add i64 %from, %block.word
  %to = call i64 @llvm.smin.i64(i64 %far, i64 %size.word)
  %start.at = getelementptr i64, ptr %counts, i64 %b
  %start = load i64, ptr %start.at
  br label %element
element:
  %i = phi i64 [ %from, %begin ], [ %i.next, %element ]
  %k = phi i64 [ %start, %begin ], [ %k.next, %element ]
  %m.at = getelementptr i8, ptr %mask, i64 %i
  %m = load i8, ptr %m.at
  %set = icmp ne i8 %m, 0
  %y.at = getelementptr TYPE, ptr %target, i64 %i
  %x.at = getelementptr TYPE, ptr %source, i64 %k
  %from.at = select i1 %set, ptr %x.at, ptr %y.at
  %x = load TYPE, ptr %from.at, align 1
  store TYPE %x, ptr %y.at, align 1
  %one = zext i1 %set to i64
  %k.next = add i64 %k, %one
  %i.next = add i64 %i, 1
  %again = icmp slt i64 %i.next, %to
  br i1 %again, label %element, label %done
done:
  %b.next = add i64 %b, 1
  br label %unit
end:
  ret void
}

declare i64 @llvm.smin.i64(i64, i64)
attributes #0 = { nounwind }
"""


def render_mask(itemsize: int) -> str:
    """Return the module for elements of 1, 2, 4, 8 or 16 bytes."""
    lines = []
    for place, name in enumerate(CONTEXT):
        lines.append(f"  %{name}.at = getelementptr i64, ptr %c, i64 {place}")
        lines.append(f"  %{name}.word = load i64, ptr %{name}.at")
        lines.append(f"  %{name} = inttoptr i64 %{name}.word to ptr")
    return _TEXT.replace("FIELDS", "\n".join(lines)).replace("TYPE", f"i{8 * itemsize}")
