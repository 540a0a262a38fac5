"""Worker threads that wait and work in machine code, in LLVM IR: starting a launch on them takes microseconds.

One word opens a job; whoever takes part counts itself in and out, and takes tasks by an atomic counter. A worker that
finds nothing to do looks on for a moment, then sleeps on a condition variable.
"""

from __future__ import annotations

RUN, SERVE, SPLIT, STOP = "gpuxp_crew_run", "gpuxp_crew_serve", "gpuxp_crew_split", "gpuxp_crew_stop"
FUNCTIONS = (  # whose addresses the state holds
    "pthread_mutex_lock", "pthread_mutex_unlock", "pthread_cond_wait", "pthread_cond_signal", "pthread_cond_broadcast",
    "sched_yield",
)  # fmt: skip
STATE = 1024  # bytes
_LOOKS = 50000  # pauses before a worker sleeps, some 500 microseconds
_X86 = "call void @llvm.x86.sse2.pause()", "declare void @llvm.x86.sse2.pause()"
_ARM = "call void @llvm.aarch64.hint(i32 1)", "declare void @llvm.aarch64.hint(i32)"
_PATIENCE = 32  # short jobs
_LONG = 1 << 17  # elements of a ufunc's loop that are worth waking workers
_PAUSES = {"x86_64": _X86, "AMD64": _X86, "arm64": _ARM, "aarch64": _ARM}

# words of the state, those that threads write often on cache lines of their own
_PLACES = {
    "open": 0, "seq": 64, "next": 128, "active": 192, "sleepers": 256, "busy": 320, "stop": 328,
    "leave": 336, "room": 384, "workers": 392, "asked": 400, "function": 448, "context": 456, "units": 464,
    "tasks": 472,
    "mutex": 512, "cond": 768, **{name: 896 + 8 * place for place, name in enumerate(FUNCTIONS)},
}  # fmt: skip

# what is done with the mutex of the state, by a function of the C library's
_MUTEX = """
define internal void @DO(ptr %s) #0 {
  %mutex = AT mutex
  %at = AT pthread_mutex_DO
  %function = load ptr, ptr %at
  %done = call i32 %function(ptr %mutex)
  ret void
}
"""

_TEXT = """
define internal void @pause() alwaysinline #0 {
  PAUSE
  ret void
}

MUTEX
; takes tasks until none is left
define internal void @work(ptr %s) #0 {
entry:
  %next = AT next
  %function.at = AT function
  %context.at = AT context
  %units.at = AT units
  %tasks.at = AT tasks
  %function = load ptr, ptr %function.at
  %context = load ptr, ptr %context.at
  %units = load i64, ptr %units.at
  %tasks = load i64, ptr %tasks.at
  br label %take
take:
  %n = atomicrmw add ptr %next, i64 1 seq_cst
  %some = icmp slt i64 %n, %tasks
  br i1 %some, label %do, label %end
do:
  %m = add i64 %n, 1
  %a = mul i64 %units, %n
  %b = mul i64 %units, %m
  %low = sdiv i64 %a, %tasks
  %high = sdiv i64 %b, %tasks
  call void %function(ptr %context, i64 %low, i64 %high)
  br label %take
end:
  ret void
}

; runs function(context, low, high) over all units, with as many helpers as may come; a short job wakes nobody, unless
; many of them have come while all workers slept
define void @gpuxp_crew_run(
    ptr %s, ptr %function, ptr %context, i64 %units, i64 %tasks, i64 %helpers, i64 %long) #0 {
entry:
  %sleepers = AT sleepers
  %workers.at = AT workers
  %asked = AT asked
  %asleep = load atomic i64, ptr %sleepers seq_cst, align 8
  %workers = load i64, ptr %workers.at
  %is.long = icmp ne i64 %long, 0
  %up = icmp slt i64 %asleep, %workers
  %ready = or i1 %is.long, %up
  br i1 %ready, label %try, label %ask
ask:
  %turns = atomicrmw add ptr %asked, i64 1 seq_cst
  %turn.of = urem i64 %turns, PATIENCE
  %enough = icmp eq i64 %turn.of, 0
  br i1 %enough, label %try, label %alone
try:
  %rouse = phi i1 [ %is.long, %entry ], [ true, %ask ]
  %busy = AT busy
  %was = cmpxchg ptr %busy, i64 0, i64 1 seq_cst seq_cst
  %free = extractvalue { i64, i1 } %was, 1
  br i1 %free, label %start, label %alone
alone:
  call void %function(ptr %context, i64 0, i64 %units)
  ret void
start:
  %open = AT open
  %seq = AT seq
  %next = AT next
  %active = AT active
  %room = AT room
  %function.at = AT function
  %context.at = AT context
  %units.at = AT units
  %tasks.at = AT tasks
  store ptr %function, ptr %function.at
  store ptr %context, ptr %context.at
  store i64 %units, ptr %units.at
  store i64 %tasks, ptr %tasks.at
  %leave = AT leave
  store atomic i64 0, ptr %leave monotonic, align 8
  store atomic i64 0, ptr %next seq_cst, align 8
  store atomic i64 %helpers, ptr %room seq_cst, align 8
  store atomic i64 1, ptr %open seq_cst, align 8
  %old = atomicrmw add ptr %seq, i64 1 seq_cst
  %asleep.now = load atomic i64, ptr %sleepers seq_cst, align 8
  %any = icmp sgt i64 %asleep.now, 0
  %call.them = and i1 %any, %rouse
  br i1 %call.them, label %wake, label %help
wake:
  %cond = AT cond
  %signal.at = AT pthread_cond_signal
  %signal = load ptr, ptr %signal.at
  call void @lock(ptr %s)
  br label %call
call:
  %k = phi i64 [ 0, %wake ], [ %k.next, %call ]
  %signalled = call i32 %signal(ptr %cond)
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %helpers
  br i1 %more, label %call, label %called
called:
  call void @unlock(ptr %s)
  br label %help
help:
  call void @work(ptr %s)
  store atomic i64 0, ptr %open seq_cst, align 8
  br label %wait
wait:
  %turn = phi i64 [ 0, %help ], [ %turn.next, %again ], [ 0, %yielded ]
  %left = load atomic i64, ptr %active seq_cst, align 8
  %done = icmp eq i64 %left, 0
  br i1 %done, label %end, label %look
look:
  call void @pause()
  %turn.next = add i64 %turn, 1
  %tired = icmp sgt i64 %turn.next, LOOKS
  br i1 %tired, label %yield, label %again
again:
  br label %wait
yield:
  %yield.at = AT sched_yield
  %give = load ptr, ptr %yield.at
  %given = call i32 %give()
  br label %yielded
yielded:
  br label %wait
end:
  store atomic i64 0, ptr %busy seq_cst, align 8
  ret void
}

; what a worker does until it is stopped
define void @gpuxp_crew_serve(ptr %s) #0 {
entry:
  %open = AT open
  %seq = AT seq
  %active = AT active
  %sleepers = AT sleepers
  %room = AT room
  %stop = AT stop
  %leave.at = AT leave
  %mutex = AT mutex
  %cond = AT cond
  %sleep.at = AT pthread_cond_wait
  %sleep = load ptr, ptr %sleep.at
  br label %come
come:
  %seen = load atomic i64, ptr %seq seq_cst, align 8
  %in = atomicrmw add ptr %active, i64 1 seq_cst
  %opened = load atomic i64, ptr %open seq_cst, align 8
  %job = icmp ne i64 %opened, 0
  br i1 %job, label %enter, label %leave
enter:
  %places = atomicrmw sub ptr %room, i64 1 seq_cst
  %fits = icmp sgt i64 %places, 0
  br i1 %fits, label %take, label %leave
take:
  call void @work(ptr %s)
  br label %leave
leave:
  %out = atomicrmw sub ptr %active, i64 1 seq_cst
  br label %look
look:
  %turn = phi i64 [ 0, %leave ], [ %turn.next, %on ]
  %now = load atomic i64, ptr %seq seq_cst, align 8
  %changed = icmp ne i64 %now, %seen
  br i1 %changed, label %come, label %still
still:
  call void @pause()
  %turn.next = add i64 %turn, 1
  %long = icmp sgt i64 %turn.next, LOOKS
  %left = load atomic i64, ptr %leave.at monotonic, align 8
  %others = icmp ne i64 %left, 0
  %tired = or i1 %long, %others
  br i1 %tired, label %rest, label %on
on:
  br label %look
rest:
  call void @lock(ptr %s)
  %more = atomicrmw add ptr %sleepers, i64 1 seq_cst
  br label %asleep
asleep:
  %then = load atomic i64, ptr %seq seq_cst, align 8
  %ended = load atomic i64, ptr %stop seq_cst, align 8
  %new = icmp ne i64 %then, %seen
  %over = icmp ne i64 %ended, 0
  %up = or i1 %new, %over
  br i1 %up, label %awake, label %doze
doze:
  %slept = call i32 %sleep(ptr %cond, ptr %mutex)
  br label %asleep
awake:
  %fewer = atomicrmw sub ptr %sleepers, i64 1 seq_cst
  call void @unlock(ptr %s)
  br i1 %over, label %end, label %come
end:
  ret void
}

; lets workers return: those who look on sleep first, and see it then
define void @gpuxp_crew_stop(ptr %s) #0 {
entry:
  %stop = AT stop
  %cond = AT cond
  %all.at = AT pthread_cond_broadcast
  %all = load ptr, ptr %all.at
  call void @lock(ptr %s)
  store atomic i64 1, ptr %stop seq_cst, align 8
  %told = call i32 %all(ptr %cond)
  call void @unlock(ptr %s)
  ret void
}

; a ufunc's inner loop that has another one run on pieces; %data: that loop, its data, how many operands, the
; state, how many elements are worth another thread, and the most helpers
define void @gpuxp_crew_split(ptr %args, ptr %dims, ptr %steps, ptr %data) #0 {
entry:
  %d.data = getelementptr i64, ptr %data, i64 1
  %d.count = getelementptr i64, ptr %data, i64 2
  %d.state = getelementptr i64, ptr %data, i64 3
  %d.least = getelementptr i64, ptr %data, i64 4
  %d.helpers = getelementptr i64, ptr %data, i64 5
  %loop = load ptr, ptr %data
  %other = load ptr, ptr %d.data
  %count = load i64, ptr %d.count
  %s = load ptr, ptr %d.state
  %least = load i64, ptr %d.least
  %most = load i64, ptr %d.helpers
  %n = load i64, ptr %dims
  %shares = sdiv i64 %n, %least
  %spare = sub i64 %shares, 1
  %helpers = call i64 @llvm.smin.i64(i64 %spare, i64 %most)
  %many = icmp sgt i64 %helpers, 0
  %last = sub i64 %count, 1
  %out.at = getelementptr i64, ptr %steps, i64 %last
  %out = load i64, ptr %out.at
  %moves = icmp ne i64 %out, 0
  %split = and i1 %many, %moves
  br i1 %split, label %crew, label %whole
whole:
  call void %loop(ptr %args, ptr %dims, ptr %steps, ptr %other)
  ret void
crew:
  %context = alloca [5 x i64]
  %c.steps = getelementptr i64, ptr %context, i64 1
  %c.loop = getelementptr i64, ptr %context, i64 2
  %c.data = getelementptr i64, ptr %context, i64 3
  %c.count = getelementptr i64, ptr %context, i64 4
  store ptr %args, ptr %context
  store ptr %steps, ptr %c.steps
  store ptr %loop, ptr %c.loop
  store ptr %other, ptr %c.data
  store i64 %count, ptr %c.count
  %threads = add i64 %helpers, 1
  %tasks = mul i64 %threads, 4
  %is.long = icmp sge i64 %n, LONG
  %long = zext i1 %is.long to i64
  call void @gpuxp_crew_run(ptr %s, ptr @piece, ptr %context, i64 %n, i64 %tasks, i64 %helpers, i64 %long)
  ret void
}

; some elements of a ufunc's loop
define internal void @piece(ptr %c, i64 %low, i64 %high) #0 {
entry:
  %args = alloca [8 x ptr]
  %size = alloca i64
  %c.steps = getelementptr i64, ptr %c, i64 1
  %c.loop = getelementptr i64, ptr %c, i64 2
  %c.data = getelementptr i64, ptr %c, i64 3
  %c.count = getelementptr i64, ptr %c, i64 4
  %given = load ptr, ptr %c
  %steps = load ptr, ptr %c.steps
  %loop = load ptr, ptr %c.loop
  %data = load ptr, ptr %c.data
  %count = load i64, ptr %c.count
  %n = sub i64 %high, %low
  store i64 %n, ptr %size
  br label %move
move:
  %k = phi i64 [ 0, %entry ], [ %k.next, %move ]
  %from.at = getelementptr ptr, ptr %given, i64 %k
  %to.at = getelementptr ptr, ptr %args, i64 %k
  %step.at = getelementptr i64, ptr %steps, i64 %k
  %from = load ptr, ptr %from.at
  %step = load i64, ptr %step.at
  %offset = mul i64 %step, %low
  %to = getelementptr i8, ptr %from, i64 %offset
  store ptr %to, ptr %to.at
  %k.next = add i64 %k, 1
  %more = icmp slt i64 %k.next, %count
  br i1 %more, label %move, label %go
go:
  call void %loop(ptr %args, ptr %size, ptr %steps, ptr %data)
  ret void
}

DECLARE
declare i64 @llvm.smin.i64(i64, i64)
attributes #0 = { nounwind }
"""


def render_crew(machine: str) -> str:
    """Return the module for a kind of processor, as `platform.machine` names it."""
    pause, declaration = _PAUSES.get(machine, ("", ""))
    mutex = "".join(_MUTEX.replace("DO", name) for name in ("lock", "unlock"))
    text = _TEXT.replace("MUTEX", mutex).replace("PAUSE", pause).replace("DECLARE", declaration)
    for name, value in (("LOOKS", _LOOKS), ("LONG", _LONG), ("PATIENCE", _PATIENCE)):
        text = text.replace(name, str(value))
    for name, place in _PLACES.items():
        text = text.replace(f"AT {name}\n", f"getelementptr i8, ptr %s, i64 {place}\n")
    return text


def place_of(name: str) -> int:
    """Return where a word of the state is, in bytes."""
    return _PLACES[name]
