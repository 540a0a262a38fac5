"""What a boolean mask selects, read and written in blocks, in LLVM IR.

Blocks are counted first; then each knows where its elements go. Within eight elements no step depends on a branch, so
that random masks cost little more than others. A mask that another thread changes meanwhile gives what it may, but
nothing out of bounds.
"""

from __future__ import annotations

COUNT, COMPRESS, EXPAND = "gpuxp_count", "gpuxp_compress", "gpuxp_expand"
_ONES = 0x0101010101010101  # eight true elements
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

# looks at an element; %k counts the true ones
_TEST = """  %m.at = getelementptr i8, ptr %mask, i64 %i
  %m = load i8, ptr %m.at
  %set = icmp ne i8 %m, 0
  %one = zext i1 %set to i64
  %k.next = add i64 %k, %one
  %i.next = add i64 %i, 1"""

# of each byte of a word, the highest bit tells whether any is set
_COUNT = """
  %length = sub i64 %to, %from
  %rest = and i64 %length, 7
  %words.end = sub i64 %to, %rest
  %any.word = icmp slt i64 %from, %words.end
  br i1 %any.word, label %word, label %bytes
word:
  %j = phi i64 [ %from, %begin ], [ %j.next, %word ]
  %n = phi i64 [ 0, %begin ], [ %n.next, %word ]
  %w.at = getelementptr i8, ptr %mask, i64 %j
  %w = load i64, ptr %w.at, align 1
  %w.low = and i64 %w, LOW
  %w.carried = add i64 %w.low, LOW
  %w.set = or i64 %w.carried, %w
  %w.bits = and i64 %w.set, HIGH
  %w.count = call i64 @llvm.ctpop.i64(i64 %w.bits)
  %n.next = add i64 %n, %w.count
  %j.next = add i64 %j, 8
  %more.words = icmp slt i64 %j.next, %words.end
  br i1 %more.words, label %word, label %bytes
bytes:
  %k.words = phi i64 [ 0, %begin ], [ %n.next, %word ]
  store i64 %k.words, ptr %start.at
  %some = icmp sgt i64 %rest, 0
  br i1 %some, label %element, label %done
element:
  %i = phi i64 [ %words.end, %bytes ], [ %i.next, %element ]
  %k = phi i64 [ %k.words, %bytes ], [ %k.next, %element ]
TEST
  %inside = icmp slt i64 %i.next, %to
  store i64 %k.next, ptr %start.at
  br i1 %inside, label %element, label %done"""

# eight elements of which all or none are true are moved or skipped at once; of others, ACTION is done with each; %k
# never gets beyond %stop
_MOVE = """
  %start = load i64, ptr %start.at
  %stop = load i64, ptr %stop.at
  %some = icmp slt i64 %start, %stop
  br i1 %some, label %word, label %done
word:
  %i.word = phi i64 [ %from, %begin ], [ %i.then, %on ]
  %k.word = phi i64 [ %start, %begin ], [ %k.then, %on ]
  %i.left = sub i64 %to, %i.word
  %k.left = sub i64 %stop, %k.word
  %is.word = icmp sge i64 %i.left, 8
  br i1 %is.word, label %look, label %each
look:
  %w.at = getelementptr i8, ptr %mask, i64 %i.word
  %w = load i64, ptr %w.at, align 1
  %none = icmp eq i64 %w, 0
  br i1 %none, label %skip, label %any
any:
  %all = icmp eq i64 %w, ONES
  %fits = icmp sge i64 %k.left, 8
  %whole = and i1 %all, %fits
  br i1 %whole, label %move, label %each
move:
  %eight.from = getelementptr TYPE, ptr %source, i64 %READS.word
  %eight.to = getelementptr TYPE, ptr %target, i64 %WRITES.word
  call void @llvm.memcpy.p0.p0.i64(ptr %eight.to, ptr %eight.from, i64 BYTES, i1 false)
  br label %skip
skip:
  %gain = phi i64 [ 0, %look ], [ 8, %move ]
  %i.past = add i64 %i.word, 8
  %k.past = add i64 %k.word, %gain
  br label %on
each:
  %turns = call i64 @llvm.smin.i64(i64 %i.left, i64 8)
  %i.stop = add i64 %i.word, %turns
  br label %element
element:
  %i = phi i64 [ %i.word, %each ], [ %i.next, %element ]
  %k = phi i64 [ %k.word, %each ], [ %k.next, %element ]
TEST
  %in.word = icmp slt i64 %i.next, %i.stop
  %wanted = icmp slt i64 %k.next, %stop
  %again = and i1 %in.word, %wanted
ACTION
  br i1 %again, label %element, label %on
on:
  %i.then = phi i64 [ %i.past, %skip ], [ %i.next, %element ]
  %k.then = phi i64 [ %k.past, %skip ], [ %k.next, %element ]
  %inside = icmp slt i64 %i.then, %to
  %unfinished = icmp slt i64 %k.then, %stop
  %goes.on = and i1 %inside, %unfinished
  br i1 %goes.on, label %word, label %done"""

# what a false element leaves behind the last true one is overwritten by the next; the last true one ends the block
_COMPRESS = """  %x.at = getelementptr TYPE, ptr %source, i64 %i
  %x = load TYPE, ptr %x.at, align 1
  %y.at = getelementptr TYPE, ptr %target, i64 %k
  store TYPE %x, ptr %y.at, align 1"""

_EXPAND = """  %y.at = getelementptr TYPE, ptr %target, i64 %i
  %x.at = getelementptr TYPE, ptr %source, i64 %k
  %from.at = select i1 %set, ptr %x.at, ptr %y.at
  %x = load TYPE, ptr %from.at, align 1
  store TYPE %x, ptr %y.at, align 1"""

_REST = """
declare i64 @llvm.smin.i64(i64, i64)
declare i64 @llvm.ctpop.i64(i64)
declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)
attributes #0 = { nounwind }
"""


def render_mask(itemsize: int) -> str:
    """Return the module for elements of 1, 2, 4, 8 or 16 bytes."""
    lines = []
    for place, name in enumerate(CONTEXT):
        lines.append(f"  %{name}.at = getelementptr i64, ptr %c, i64 {place}")
        lines.append(f"  %{name}.word = load i64, ptr %{name}.at")
        lines.append(f"  %{name} = inttoptr i64 %{name}.word to ptr")
    bodies = {COUNT: _COUNT.replace("LOW", str(_ONES * 0x7F)).replace("HIGH", str(_ONES * 0x80))}
    for name, action, reads, writes in ((COMPRESS, _COMPRESS, "i", "k"), (EXPAND, _EXPAND, "k", "i")):
        body = _MOVE.replace("ACTION", action).replace("READS", reads).replace("WRITES", writes)
        bodies[name] = body.replace("ONES", str(_ONES)).replace("BYTES", str(8 * itemsize))
    text = "".join(_FUNCTION.replace("NAME", name).replace("BODY", body) for name, body in bodies.items()) + _REST
    text = text.replace("FIELDS", "\n".join(lines)).replace("TEST", _TEST)
    return text.replace("TYPE", f"i{8 * itemsize}")
