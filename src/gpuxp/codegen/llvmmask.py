"""What a boolean mask selects, read and written in blocks, in LLVM IR.

Blocks are counted first; then each knows where its elements go. No step depends on a branch, so that random masks cost
no more than others. A mask that another thread changes meanwhile gives what it may, but nothing out of bounds.
"""

from __future__ import annotations

COUNT, COMPRESS, EXPAND = "gpuxp_count", "gpuxp_compress", "gpuxp_expand"
CONTEXT = ("mask", "source", "target", "counts", "size", "block")  # words

# a function over blocks; BODY is what it does with the elements from %from on, up to %to
_FUNCTION = """
define void @NAME(ptr %c, i64 %low, i64 %high) #0 {
entry:
FIELDS
  br label %unit
unit:
  %b = phi i64 [ %low, %entry ], [ %b.next, %done ]
  %more = icmp slt i64 %b, %high
  br i1 %more, label %begin, label %end
begin:
  %b.next = add i64 %b, 1
  %from = mul i64 %b, %block.word
  %far = add i64 %from, %block.word
  %to = call i64 @llvm.smin.i64(i64 %far, i64 %size.word)
  %start.at = getelementptr i64, ptr %counts, i64 %b
  %stop.at = getelementptr i64, ptr %counts, i64 %b.next
BODY
done:
  br label %unit
end:
  ret void
}
"""

# an element: ACTION is what is done with it; %k counts the true ones
_ELEMENTS = """
  br i1 %some, label %element, label %done
element:
  %i = phi i64 [ %from, %begin ], [ %i.next, %element ]
  %k = phi i64 [ %start, %begin ], [ %k.next, %element ]
  %m.at = getelementptr i8, ptr %mask, i64 %i
  %m = load i8, ptr %m.at
  %set = icmp ne i8 %m, 0
  %one = zext i1 %set to i64
  %k.next = add i64 %k, %one
  %i.next = add i64 %i, 1
  %inside = icmp slt i64 %i.next, %to
ACTION
  br i1 %GOES_ON, label %element, label %AFTER
"""

_COUNT = (
    "  %start = add i64 0, 0\n  %some = icmp slt i64 %from, %to"
    + _ELEMENTS.replace("ACTION\n", "").replace("GOES_ON", "inside").replace("AFTER", "counted")
    + "counted:\n  store i64 %k.next, ptr %start.at\n  br label %done"
)

# what a false element leaves behind the last true one is overwritten by the next; the last true one ends the block
_COMPRESS = """  %start = load i64, ptr %start.at
  %stop = load i64, ptr %stop.at
  %some = icmp slt i64 %start, %stop""" + _ELEMENTS.replace("AFTER", "done").replace(
    "ACTION",
    """  %x.at = getelementptr TYPE, ptr %source, i64 %i
  %x = load TYPE, ptr %x.at, align 1
  %y.at = getelementptr TYPE, ptr %target, i64 %k
  store TYPE %x, ptr %y.at, align 1
  %wanted = icmp slt i64 %k.next, %stop
  %again = and i1 %inside, %wanted""",
).replace("GOES_ON", "again")

_EXPAND = """  %start = load i64, ptr %start.at
  %stop = load i64, ptr %stop.at
  %some = icmp slt i64 %from, %to""" + _ELEMENTS.replace("AFTER", "done").replace(
    "ACTION",
    """  %y.at = getelementptr TYPE, ptr %target, i64 %i
  %x.at = getelementptr TYPE, ptr %source, i64 %k
  %left = icmp slt i64 %k, %stop
  %moves = and i1 %set, %left
  %from.at = select i1 %moves, ptr %x.at, ptr %y.at
  %x = load TYPE, ptr %from.at, align 1
  store TYPE %x, ptr %y.at, align 1""",
).replace("GOES_ON", "inside")

_REST = """
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
    bodies = {COUNT: _COUNT, COMPRESS: _COMPRESS, EXPAND: _EXPAND}
    text = "".join(_FUNCTION.replace("NAME", name).replace("BODY", body) for name, body in bodies.items()) + _REST
    return text.replace("FIELDS", "\n".join(lines)).replace("TYPE", f"i{8 * itemsize}")
