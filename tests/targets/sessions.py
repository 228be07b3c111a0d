#!/usr/bin/env python3
"""A worker whose sessions are known: what the live tests hold otop's answers against.

One process, one or several event loops, sessions labelled by a context variable whose name is nobody's preset.
It prints its own truth, one JSON object per line, on stdout; with --control it does what it is told on stdin.
Python 3.8 to 3.15, standard library only (uvloop where asked for). It knows nothing of otop.

Events: ready (always the first), session_start, started (the --sessions are all live), session_end (the last task
of the session is done), block_start, block_end, cpu (once a second, or when asked), ok, error, bye.

Commands, a line each, words parted by blanks; "-" means that the variable is not set. A line that begins with "{"
is the same as JSON, {"cmd": "start", "args": [...]}, for ids with blanks or control characters in them:
    start SID AGENT TENANT [LOOP]     -> session_start
    end SID                           -> session_end
    fail SID                          -> session_end, with the exception's text in "failed"
    busy SID PCT STEP_MS              -> ok; a cooperative hog from now on; PCT 0 ends it
    threads SID PCT                   -> ok; the same in a thread that works in the session's context
    block SID MS KIND WHERE           -> block_start, block_end
    alive, cpu                        -> alive, cpu: answered by a thread of its own, also while a loop is stuck
    exec                              -> ok; this process becomes another program
    quit                              -> bye, and exit 0. The end of stdin is the same
"""
import argparse
import asyncio
import contextvars
import gc
import json
import os
import random
import sys
import threading
import time

BLOCK_KINDS = ["sleep", "py", "c", "gc", "garbage"]
BLOCK_PLACES = ["child", "main", "callback", "timer", "to_thread", "executor", "async_gen", "eager"]
PADDING = {"ascii": "abcdefghij", "latin1": u"éàüßñøåçæð", "bmp": u"通話会議相談予約案内", "astral": u"📞🎧🎤💬🔔📣📢🔈🔊📡"}

ARGS = None
VARS = {}                   # "session" | "agent" | "tenant" -> ContextVar
DISTRACTORS = []
SESSIONS = {}               # sid -> Session, the live ones
FAILED = []                 # the tasks of failed sessions stay held
LOOPS = []                  # index -> running loop
CPU = {}                    # sid -> seconds, of every session there ever was
LOCK = threading.Lock()     # for CPU and SESSIONS: several loops and threads write them
PRINT = threading.Lock()
LAG = [0.0]


def truth(ev, **facts):
    line = json.dumps(dict(ev=ev, mono=round(time.monotonic(), 6), **facts))
    with PRINT:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


def add_cpu(sid, seconds):
    with LOCK:
        CPU[sid] = CPU.get(sid, 0.0) + seconds


# ---- what uses the CPU or blocks ----------------------------------------------------------------

def burn(seconds):
    """Pure Python for that much CPU time of this thread; returns what it really was."""
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        for _ in range(100):
            pass
    return time.thread_time() - start


_PER_SECOND = []
_BALLAST = []
_YOUNG = []


def block_sleep(seconds):
    time.sleep(seconds)


def block_py(seconds):
    burn(seconds)


def block_c(seconds):
    """One C call: no bytecode runs meanwhile, so the GIL is never given up."""
    sum(range(int(_PER_SECOND[0] * seconds)))


def block_gc(seconds):
    """Explicit collections over a heap that makes each of them take milliseconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gc.collect()


def block_garbage(seconds):
    """A collection that nobody called for: there is garbage of all sessions, and this step happens to allocate."""
    gc.enable()
    for _ in range(1000):
        _YOUNG.append([])
    gc.disable()


def discard(items):
    """Empties a list in pieces: a million objects freed in one go hold the GIL for 100 ms, which is a block too."""
    while items:
        del items[-1000:]


def litter(seconds):
    """So much for the collector to look at that it takes about that long. Made by nobody, and not looked at yet."""
    gc.collect()
    gc.disable()
    discard(_YOUNG)
    _YOUNG.extend([i] for i in range(50000))
    t = time.thread_time()
    gc.collect(0)
    each = (time.thread_time() - t) / 50000
    discard(_YOUNG)
    for _ in range(int(seconds / each / 1000)):
        _YOUNG.extend([i] for i in range(1000))


def calibrate(ballast):
    if ballast and not _BALLAST:
        _BALLAST.extend([i] for i in range(300000))
    if _PER_SECOND:
        return
    n, best = 500000, 1e9
    for _ in range(5):
        t = time.thread_time()
        sum(range(n))
        best = min(best, time.thread_time() - t)
    _PER_SECOND.append(n / best)


BLOCKERS = {"sleep": block_sleep, "py": block_py, "c": block_c, "gc": block_gc, "garbage": block_garbage}


def blocking_call(sid, ms, kind, where):
    """A synchronous call of `ms`: what a careless handler does to its loop. Both its ends are told."""
    thread = threading.get_native_id()
    code = BLOCKERS[kind].__code__
    facts = dict(sid=sid, where=where, kind=kind, thread=thread, function=code.co_name, file=code.co_filename)
    truth("block_start", asked_ms=ms, **facts)
    wall, cpu = time.monotonic(), time.thread_time()
    BLOCKERS[kind](ms / 1e3)
    cpu, end = time.thread_time() - cpu, time.monotonic()
    add_cpu(sid, cpu)
    truth("block_end", start=round(wall, 6), end=round(end, 6), ms=round((end - wall) * 1e3, 3),
          cpu_ms=round(cpu * 1e3, 3), **facts)


# ---- a session ----------------------------------------------------------------------------------

class Session(object):
    """Made in its loop. Its root task takes orders from a queue, so everything it does is in its own context."""

    def __init__(self, sid, agent, tenant, loop_index):
        self.sid, self.agent, self.tenant, self.loop_index = sid, agent, tenant, loop_index
        self.loop = LOOPS[loop_index]
        self.orders = asyncio.Queue()
        self.kids = []
        self.hog = None
        self.thread_on = threading.Event()
        self.over = False

    def label(self):
        VARS["session"].set(self.sid)
        if self.agent is not None:
            VARS["agent"].set(self.agent)
        if self.tenant is not None:
            VARS["tenant"].set(self.tenant)
        for i, var in enumerate(DISTRACTORS):
            if i % 2:                       # the other half is inherited from the thread's own context
                var.set("%s-%d" % (var.name, i))

    def begin(self):
        context = contextvars.copy_context()
        if not ARGS.set_inside:
            context.run(self.label)
        # create_task copies the current context: the way that works since 3.7, with or without its `context=`.
        self.task = context.run(self.loop.create_task, self.main())
        self.task.add_done_callback(self.done, context=contextvars.Context())
        with LOCK:
            SESSIONS[self.sid] = self
        if not ARGS.set_inside:
            self.announce()

    def announce(self):
        truth("session_start", sid=self.sid, agent=self.agent, tenant=self.tenant, loop=self.loop_index)

    def spawn(self, coro):
        task = self.loop.create_task(coro)
        self.kids.append(task)
        return task

    async def main(self):
        if ARGS.set_inside:
            await asyncio.sleep(0)
            self.label()
            self.announce()
        for _ in range(ARGS.tasks):
            self.spawn(self.wait_for_ever())
        self.spawn(self.heartbeat())
        try:
            while True:
                order, args = await self.orders.get()
                if order == "end":
                    return
                if order == "fail":
                    raise RuntimeError("this session fails on purpose")
                getattr(self, order)(*args)
        finally:
            self.over = True
            self.thread_on.clear()
            for kid in self.kids:
                kid.cancel()
            await asyncio.gather(*self.kids, return_exceptions=True)

    def done(self, task):
        with LOCK:
            SESSIONS.pop(self.sid, None)
            cpu = CPU.get(self.sid, 0.0)
        error = None if task.cancelled() else task.exception()
        if error:
            FAILED.append(task)
        truth("session_end", sid=self.sid, cpu=round(cpu, 6), failed=str(error) if error else None)

    async def wait_for_ever(self):
        # A timer that outlives the session: cancelled, it stays in the loop's heap and still holds the context.
        await asyncio.wait_for(self.loop.create_future(), 300)

    async def heartbeat(self):
        while True:
            await asyncio.sleep(0.2)

    # -- orders; each runs in the root task's step
    def busy(self, pct, step_ms):
        if self.hog:
            self.hog.cancel()
            self.kids.remove(self.hog)
        self.hog = self.spawn(self.cooperative(pct, step_ms)) if pct else None

    async def cooperative(self, pct, step_ms):
        start, used = time.monotonic(), 0.0
        while True:
            step = burn(step_ms / 1e3)
            used += step
            add_cpu(self.sid, step)
            await asyncio.sleep(max(0.0, used / (pct / 100.0) - (time.monotonic() - start)))

    def threads(self, pct):
        self.thread_on.clear()
        if pct:
            self.thread_on = threading.Event()
            self.thread_on.set()
            self.spawn(self.in_thread(self.thread_work, pct, self.thread_on))

    def thread_work(self, pct, on):
        start, used = time.monotonic(), 0.0
        while on.is_set():
            step = burn(0.004)
            used += step
            add_cpu(self.sid, step)
            time.sleep(max(0.0, used / (pct / 100.0) - (time.monotonic() - start)))

    async def in_thread(self, func, *args):
        # asyncio.to_thread, which 3.8 does not have
        await self.loop.run_in_executor(None, contextvars.copy_context().run, func, *args)

    def callbacks(self, us):
        self.spawn(self.call_back(us))

    async def call_back(self, us):
        """Callbacks of so many microseconds of CPU, a third of the time: each in a context of its own, as call_soon makes it."""
        def one():
            add_cpu(self.sid, burn(us / 1e6))
        while True:
            for _ in range(10):
                self.loop.call_soon(one)
            await asyncio.sleep(30 * us / 1e6)

    def block(self, ms, kind, where):
        args = (self.sid, ms, kind, where)
        if where == "main":
            blocking_call(*args)
        elif where == "callback":
            self.loop.call_soon(blocking_call, *args)
        elif where == "timer":
            self.loop.call_later(0.01, blocking_call, *args)
        else:
            self.spawn(getattr(self, "block_" + where)(*args))

    async def block_child(self, *args):
        blocking_call(*args)

    async def block_to_thread(self, *args):
        await self.in_thread(blocking_call, *args)

    async def block_executor(self, *args):
        await self.loop.run_in_executor(None, blocking_call, *args)

    async def block_async_gen(self, *args):
        async def items():
            yield 1
            blocking_call(*args)
            yield 2
        async for _ in items():
            pass

    async def block_eager(self, *args):
        await asyncio.Task(self.block_child(*args), loop=self.loop, eager_start=True)


# ---- the worker ---------------------------------------------------------------------------------

def make_id(serial):
    """Ids of every string kind, told apart by their last characters, --id-length long where that is asked for."""
    pad = PADDING[ARGS.id_kind]
    head = pad[:3] if ARGS.id_kind != "ascii" else "call"
    tail = "-%04d" % serial
    fill = max(0, ARGS.id_length - len(head) - len(tail))
    return head + (pad * (fill // len(pad) + 1))[:fill] + tail


def agent_of(serial):
    return "agent-%d" % (serial % 3)


def tenant_of(serial):
    return None if serial % 4 == 3 else "tenant-%d" % (serial % 4)


def start_session(serial, index=None):
    session = Session(make_id(serial), agent_of(serial), tenant_of(serial),
                      (index if index is not None else serial) % len(LOOPS))
    session.begin()
    if index in ARGS.callbacks:
        session.orders.put_nowait(("callbacks", (ARGS.callbacks[index],)))
    if index in ARGS.busy:
        session.orders.put_nowait(("busy", (ARGS.busy[index], ARGS.step_ms)))
    if index in ARGS.threads:
        session.orders.put_nowait(("threads", (ARGS.threads[index],)))
    return session


async def keep_session(serial, index):
    """With --churn: session `index` ends after a while and another takes its place."""
    while True:
        session = start_session(serial(), index)
        await asyncio.sleep(random.uniform(0.5, 1.5) * ARGS.churn)
        session.orders.put_nowait(("end", ()))
        await asyncio.wait([session.task])


async def keep_blocking(live):
    """--block-session's blocks, ordered from a task that is nobody's."""
    order = ("block", (ARGS.block_ms, ARGS.block_kind, ARGS.block_where))
    if ARGS.block_at is not None:
        await asyncio.sleep(ARGS.block_at)
        live[ARGS.block_session].orders.put_nowait(order)
        return
    while True:
        await asyncio.sleep(ARGS.block_every)
        live[ARGS.block_session].orders.put_nowait(order)


async def rebind(every_ms):
    """A queue consumer: one task, a new id in the same context for every item. Two of the four ids work, two idle."""
    ids = ["rebind-%d" % i for i in range(4)]
    i = 0
    while True:
        sid = ids[i % len(ids)]
        VARS["session"].set(sid)
        if i % 2 == 0:
            add_cpu(sid, burn(every_ms / 1e3))
            await asyncio.sleep(0)
        else:
            add_cpu(sid, 0.0)
            await asyncio.sleep(every_ms / 1e3)
        i += 1


async def watch_lag():
    """How late this loop is: shows that a machine on which nobody may be blamed really starved it."""
    while True:
        due = time.monotonic() + 0.01
        await asyncio.sleep(0.01)
        LAG[0] = max(LAG[0], time.monotonic() - due)


def cpu_facts():
    with LOCK:
        cpu = {sid: round(s, 6) for sid, s in CPU.items()}
        alive = sorted(SESSIONS)
    return dict(process=round(time.process_time(), 6), sessions=cpu, alive=alive,
                worst_lag_ms=round(LAG[0] * 1e3, 1))


def alive_facts():
    with LOCK:
        live = [SESSIONS[s] for s in sorted(SESSIONS)]
    return dict(sessions=[dict(sid=s.sid, agent=s.agent, tenant=s.tenant, loop=s.loop_index) for s in live])


def set_distractors():
    values = [7, None, "call-9999", 3.5, {"id": "call-8888"}, ("a", 1), object(), b"bytes"]
    for i, var in enumerate(DISTRACTORS):
        var.set(values[i % len(values)])


async def serve_loop(index, ready):
    """The base task of one loop; it, and what it starts besides sessions, carries no id."""
    LOOPS[index] = asyncio.get_running_loop()
    ready.wait()
    mine = [i for i in range(ARGS.sessions) if i % ARGS.loops == index]
    counter = [ARGS.sessions + 1000 * index]
    live, kept = {}, []
    for i in mine:
        if ARGS.churn:
            first = [i]

            def serial(first=first):
                if first:
                    return first.pop()
                counter[0] += 1
                return counter[0]
            kept.append(asyncio.ensure_future(keep_session(serial, i)))
        else:
            live[i] = start_session(i, i)
    await asyncio.sleep(0.05)
    if index == 0:
        if ARGS.rebind_ms:
            kept.append(asyncio.ensure_future(rebind(ARGS.rebind_ms)))
        if ARGS.lag:
            kept.append(asyncio.ensure_future(watch_lag()))
    if ARGS.block_session in live:
        kept.append(asyncio.ensure_future(keep_blocking(live)))
    ready.wait()
    if index == 0:
        truth("started", sessions=ARGS.sessions)
    while True:
        if index == 0 and not ARGS.control:
            truth("cpu", **cpu_facts())
        await asyncio.sleep(1.0)


# ---- control ------------------------------------------------------------------------------------

def none_of(word):
    return None if word == "-" else word


def start_here(sid, agent, tenant, loop_index):
    Session(sid, agent, tenant, loop_index).begin()


def obey(words):
    cmd, args = words[0], words[1:]
    if cmd == "alive":
        truth("alive", **alive_facts())
    elif cmd == "cpu":
        truth("cpu", **cpu_facts())
    elif cmd == "quit":
        leave()
    elif cmd == "exec":
        truth("ok", cmd=cmd)
        os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)"])
    elif cmd == "start":
        sid, agent, tenant = args[0], none_of(args[1]), none_of(args[2])
        index = int(args[3]) if len(args) > 3 else 0
        LOOPS[index].call_soon_threadsafe(start_here, sid, agent, tenant, index)
    elif cmd not in ("end", "fail", "busy", "threads", "block"):
        raise ValueError("no such command")
    else:
        sid, rest = args[0], args[1:]
        if cmd == "block":
            ms, kind, where = rest
            if kind not in BLOCK_KINDS or where not in BLOCK_PLACES:
                raise ValueError("no such kind or place of block")
            if where == "eager" and sys.version_info < (3, 12):
                raise ValueError("eager tasks came with 3.12")
            calibrate(ballast=kind == "gc")      # here, in a thread that is nobody's, and not in the session's step
            if kind == "garbage":
                litter(float(ms) / 1e3)
            order = ("block", (float(ms), kind, where))
        elif cmd in ("busy", "threads"):
            order = (cmd, tuple(float(word) for word in rest))
        else:
            order = (cmd, ())
        session = SESSIONS[sid]
        session.loop.call_soon_threadsafe(session.orders.put_nowait, order)
        if cmd in ("busy", "threads"):
            truth("ok", cmd=cmd, sid=sid)


def control():
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            if line.startswith("{"):
                order = json.loads(line)
                obey([order["cmd"]] + order.get("args", []))
            else:
                obey(line.split())
        except Exception as e:      # a test's own mistake must not look like a worker that hangs
            truth("error", cmd=line.strip(), why="%s: %s" % (type(e).__name__, e))
    leave()


def leave():
    try:
        truth("bye")
    except OSError:
        pass            # who listened is gone, and that is often why we leave
    os._exit(0)     # threads and blocked loops are not waited for


def run_loop(index, ready):
    set_distractors()
    if ARGS.loop == "uvloop":
        import uvloop
        uvloop.run(serve_loop(index, ready))
    else:
        asyncio.run(serve_loop(index, ready))


def pairs(texts):
    return {int(i): float(v) for i, _, v in (t.partition(":") for t in texts)}


def main(argv=None):
    global ARGS
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    p.add_argument("--loops", type=int, default=1, metavar="N", help="loops, each in a thread, sessions spread over them")
    p.add_argument("--var", default="call_ref", metavar="NAME")
    p.add_argument("--agent-var", default="call_handler", metavar="NAME")
    p.add_argument("--tenant-var", default="call_customer", metavar="NAME")
    p.add_argument("--distractors", type=int, default=0, metavar="N", help="other context variables in every context")
    p.add_argument("--sessions", type=int, default=4, metavar="N", help="at the start; 0 with --control")
    p.add_argument("--tasks", type=int, default=2, metavar="N", help="idle tasks per session")
    p.add_argument("--id-length", type=int, default=0, metavar="N")
    p.add_argument("--id-kind", choices=sorted(PADDING), default="ascii")
    p.add_argument("--set-inside", action="store_true", help="the ids are set in the task after it was created")
    p.add_argument("--churn", type=float, default=0.0, metavar="S", help="mean life of a session; others follow it")
    p.add_argument("--callbacks", action="append", default=[], metavar="I:US",
                   help="session I runs callbacks of so many microseconds")
    p.add_argument("--busy", action="append", default=[], metavar="I:PCT", help="session I is a cooperative hog")
    p.add_argument("--step-ms", type=float, default=2.0, metavar="X")
    p.add_argument("--threads", action="append", default=[], metavar="I:PCT", help="session I works in a thread")
    p.add_argument("--block-session", type=int, metavar="I")
    p.add_argument("--block-ms", type=float, default=320.0, metavar="M")
    p.add_argument("--block-every", type=float, default=2.0, metavar="S")
    p.add_argument("--block-at", type=float, metavar="S", help="one block, that long after the start")
    p.add_argument("--block-kind", choices=BLOCK_KINDS, default="sleep")
    p.add_argument("--block-where", choices=BLOCK_PLACES, default="child")
    p.add_argument("--rebind-ms", type=float, default=0.0, metavar="X", help="a queue consumer beside the sessions")
    p.add_argument("--lag", action="store_true", help="measure how late the loop is")
    p.add_argument("--control", action="store_true", help="take commands on stdin")
    p.add_argument("--for", dest="duration", type=float, default=900.0, metavar="S", help="exit after that long")
    ARGS = p.parse_args(argv)
    ARGS.busy, ARGS.threads, ARGS.callbacks = pairs(ARGS.busy), pairs(ARGS.threads), pairs(ARGS.callbacks)
    if ARGS.churn and ARGS.block_session is not None:
        p.error("--block-session needs sessions that stay")
    VARS.update(session=contextvars.ContextVar(ARGS.var, default=None),
                agent=contextvars.ContextVar(ARGS.agent_var, default=None),
                tenant=contextvars.ContextVar(ARGS.tenant_var, default=None))
    DISTRACTORS.extend(contextvars.ContextVar("distractor_%02d" % i) for i in range(ARGS.distractors))
    calibrate(ballast=ARGS.block_kind == "gc")
    LOOPS.extend([None] * ARGS.loops)
    truth("ready", pid=os.getpid(), native_tid=threading.get_native_id(), python=sys.version.split()[0],
          loop=ARGS.loop, var=ARGS.var, agent_var=ARGS.agent_var, tenant_var=ARGS.tenant_var)
    threading.Timer(ARGS.duration, leave).start()      # nothing that a dead test left behind runs for ever
    ready = threading.Barrier(ARGS.loops)
    for index in range(1, ARGS.loops):
        threading.Thread(target=run_loop, args=(index, ready), name="loop-%d" % index, daemon=True).start()
    if ARGS.control:
        threading.Thread(target=control, name="control", daemon=True).start()
    run_loop(0, ready)


if __name__ == "__main__":
    main()
