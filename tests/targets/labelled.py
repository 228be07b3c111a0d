#!/usr/bin/env python3
"""A worker that does labelled work and keeps its own clocks: the truth that scripts/truth holds otop's figures against.

It takes orders on stdin, one JSON object a line, and tells on stdout what really happened, one JSON object a line. Python
3.8 to 3.15, standard library only (uvloop where asked for). It knows nothing of otop.

    {"do": "hog", "sid": S, "step_ms": X, "pct": P, "s": T}      cooperative steps; afterwards hog: its own clocks' sums
    {"do": "thread", "sid": S, "step_ms": X, "pct": P, "s": T}   the same in a thread that works in the session's context
    {"do": "sleeper", "sid": S, "step_ms": X, "s": T}            steps that sleep in the kernel: they use no CPU
    {"do": "block", "sid": S, "ms": X, "kind": K, "where": W}    block: when it began and ended, its function and lines
    {"do": "coop", "kind": K, "s": T, "step_ms": X}              a load that never holds the loop for long; coop: its sums
    {"do": "litter", "ms": X}                                    garbage whose collection takes that long
    {"do": "beat"}, {"do": "rest"}, {"do": "cpu"}, {"do": "quit"}

Every block has its own function, so that a line belongs to one kind only.
"""
import argparse
import asyncio
import collections
import contextvars
import gc
import itertools
import json
import os
import socket
import sys
import threading
import time

PARLEY = contextvars.ContextVar("parley", default=None)
PRINT = threading.Lock()
STEPS = {}              # sid -> [CPU seconds by the clock around each step, steps, longest step]
SESSIONS = {}
YOUNG, BALLAST = [], []
LOOP = [None]
CLOCK = [0.0]           # what it costs to ask the clock; it is asked twice in a step, and sees itself once
SCHEDSTAT = 9           # the main thread's account of waiting for a CPU, opened by whoever starts this


def say(ev, **facts):
    line = json.dumps(dict(ev=ev, mono=time.monotonic(), real=time.time(), **facts))
    with PRINT:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


# ---- clocks -------------------------------------------------------------------------------------

def book(sid, cpu, wall=0.0):
    sums = STEPS.setdefault(sid, [0.0, 0, 0.0])
    sums[0] += cpu
    sums[1] += 1
    sums[2] = max(sums[2], wall)


def clock_every_step():
    """Stock asyncio runs each callback by Handle._run, which enters its context: a clock right inside of that."""
    run, cpu_now, wall_now = asyncio.events.Handle._run, time.thread_time, time.monotonic

    def timed(callback, args):
        wall, cpu = wall_now(), cpu_now()
        try:
            callback(*args)
        finally:
            cpu, wall = cpu_now() - cpu, wall_now() - wall
            book(PARLEY.get(), cpu + CLOCK[0], wall)

    def clocked(self):
        if self._callback is not None and self._args is not None:
            self._callback, self._args = timed, (self._callback, self._args)
        run(self)
    asyncio.events.Handle._run = clocked


def burn(seconds):
    """Pure Python for that much CPU time of this thread."""
    start = time.thread_time()
    while time.thread_time() - start < seconds:
        for _ in range(20):
            pass
    return time.thread_time() - start


class Pace(object):
    """How long to sleep so that what was used is `pct` of the time."""

    def __init__(self, pct):
        self.share, self.start, self.used = pct / 100.0, time.monotonic(), 0.0

    def after(self, used):
        self.used += used
        return max(0.0, self.used / self.share - (time.monotonic() - self.start))


# ---- blocks: one function each, so that its lines name it -----------------------------------------

def work_py(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        for _ in range(50):
            pass


def work_c(seconds):
    """One call from C, which keeps the GIL until its end, and says when that was: whoever asks a clock behind it may have to
    wait for the GIL first, as long as the loop has something to catch up with."""
    end = time.monotonic() + seconds
    clock = itertools.starmap(time.monotonic, itertools.repeat(()))
    return collections.deque(itertools.takewhile(end.__gt__, clock), maxlen=1)[0]


def nap(seconds):
    time.sleep(seconds)


def ask_server(seconds):
    ask_server.ours.sendall(b"%d" % int(seconds * 1e3))
    return ask_server.ours.recv(16)


def ask_patiently(seconds):
    ask_server.ours.settimeout(60)
    ask_server.ours.sendall(b"%d" % int(seconds * 1e3))
    ask_server.ours.recv(16)
    ask_server.ours.settimeout(None)


def read_pipe(seconds):
    os.write(read_pipe.order, b"%03d" % min(999, int(seconds * 1e3)))
    return os.read(read_pipe.answer, 3)


def collect_by_hand(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        gc.collect()


def allocate(_seconds):
    gc.enable()
    YOUNG.extend([[] for _ in range(1000)])
    gc.disable()


KINDS = {"cpu": work_py, "gil": work_c, "sleep": nap, "recv": ask_server, "wait": ask_patiently, "read": read_pipe,
         "collect": collect_by_hand, "garbage": allocate}


def serve(server, order, answer):
    """Two kernel objects of which the other side answers late: a process, so that it needs no GIL of ours."""
    worker = os.getpid()
    if os.fork():
        return
    os.close(0), os.close(1), os.close(2)           # or whoever listens to the worker would not see its end
    threading.Thread(target=lambda: [os.write(answer, b"%03d" % (nap(int(ms) / 1e3) or 0))
                                     for ms in iter(lambda: os.read(order, 3), b"")], daemon=True).start()
    server.settimeout(1.0)
    while os.getppid() == worker:
        try:
            ms = server.recv(16)
        except socket.timeout:
            continue
        nap(int(ms) / 1e3)
        server.sendall(b"x")
    os._exit(0)


def discard(items):
    """Empties a list in pieces: a million objects freed in one go hold the GIL for 100 ms, which is a block too."""
    while items:
        del items[-1000:]


def litter(seconds):
    """So much for the collector to look at that it takes about that long, made by nobody and not looked at yet."""
    gc.collect()
    gc.disable()
    discard(YOUNG)
    YOUNG.extend([i] for i in range(50000))
    t = time.thread_time()
    gc.collect(0)
    each = (time.thread_time() - t) / 50000
    discard(YOUNG)
    for _ in range(int(seconds / each / 1000)):
        YOUNG.extend([i] for i in range(1000))


def calibrate():
    CLOCK[0] = min(timed(lambda: [time.thread_time() for _ in range(1000)]) for _ in range(5)) / 1000


def timed(call):
    t = time.thread_time()
    call()
    return time.thread_time() - t


def hold(sid, ms, kind, where):
    """A synchronous call of `ms`, and what really became of it."""
    call = KINDS[kind]
    code = call.__code__
    lines = sorted(line for line in (l for _, l in lines_of(code)) if line)
    facts = dict(sid=sid, kind=kind, where=where, function=call.__name__, file=code.co_filename,
                 lines=[lines[0], lines[-1]])
    waited, real, wall, cpu = cpu_waits(), time.time(), time.monotonic(), time.thread_time()
    said = call(ms / 1e3)
    cpu, end, waited = time.thread_time() - cpu, time.monotonic(), cpu_waits() - waited
    if call is work_c:
        end = said
    say("block", began=real, ended=real + end - wall, ms=(end - wall) * 1e3, cpu_ms=cpu * 1e3, waited_ms=waited * 1e3,
        **facts)


def cpu_waits():
    """Seconds that the loop's thread has waited for a CPU; what the machine took is not the block's doing."""
    try:
        return int(os.pread(SCHEDSTAT, 64, 0).split()[1]) / 1e9
    except OSError:
        return 0.0


def lines_of(code):
    import dis
    return [pair for pair in dis.findlinestarts(code) if pair[1] != code.co_firstlineno]


# ---- sessions -----------------------------------------------------------------------------------

class Session(object):
    def __init__(self, sid):
        self.sid, self.orders, self.thread_pool = sid, asyncio.Queue(), None
        context = contextvars.copy_context()
        context.run(PARLEY.set, sid)
        self.task = context.run(asyncio.get_event_loop().create_task, self.main())

    async def main(self):
        while True:
            order = await self.orders.get()
            do = order.pop("do")
            if do == "block" and order["where"] == "main":
                hold(self.sid, order["ms"], order["kind"], "main")
            else:
                result = getattr(self, do)(**order)
                if result is not None:
                    asyncio.ensure_future(result)

    async def hog(self, step_ms, pct, s):
        before = list(STEPS.get(self.sid, [0.0, 0, 0.0]))
        pace, seconds, end, inside, steps = Pace(pct), step_ms / 1e3, time.monotonic() + s, 0.0, 0
        cpu_now = time.thread_time
        while time.monotonic() < end:
            start = cpu_now()
            wait = pace.after(burn(seconds))
            inside += cpu_now() - start
            steps += 1
            await asyncio.sleep(wait)
        after = STEPS.get(self.sid, [0.0, 0, 0.0])
        say("hog", sid=self.sid, step_ms=step_ms, cpu_s=after[0] - before[0], inside_s=inside, steps=steps)

    async def thread(self, step_ms, pct, s):
        def work():
            pace, end, start = Pace(pct), time.monotonic() + s, time.thread_time()
            while time.monotonic() < end:
                time.sleep(pace.after(burn(step_ms / 1e3)))
            return time.thread_time() - start
        used = await self.in_thread(work)
        say("thread", sid=self.sid, step_ms=step_ms, cpu_s=used)

    async def sleeper(self, step_ms, s):
        before, inside, end, steps = STEPS.get(self.sid, [0.0])[0], 0.0, time.monotonic() + s, 0
        while time.monotonic() < end:
            start = time.thread_time()
            time.sleep(step_ms / 1e3)
            inside += time.thread_time() - start
            steps += 1
            await asyncio.sleep(step_ms / 250.0)
        after = STEPS.get(self.sid, [0.0])[0]
        say("sleeper", sid=self.sid, cpu_s=after - before, inside_s=inside, steps=steps)

    async def in_thread(self, func, *args):
        loop = asyncio.get_event_loop()         # asyncio.to_thread, which 3.8 does not have
        return await loop.run_in_executor(None, contextvars.copy_context().run, func, *args)

    def block(self, ms, kind, where):
        loop, args = asyncio.get_event_loop(), (self.sid, ms, kind, where)
        if where == "callback":
            loop.call_soon(hold, *args)
        elif where == "timer":
            loop.call_later(0.01, hold, *args)
        elif where == "socket":
            return self.block_in_socket(*args)
        elif where == "to_thread":
            return self.in_thread(hold, *args)
        elif where == "async_gen":
            return self.block_in_generator(*args)
        elif where == "eager":
            return self.block_eager(*args)
        else:
            return self.block_in_child(*args)

    async def block_in_child(self, *args):
        hold(*args)

    async def block_in_generator(self, *args):
        async def items():
            yield 1
            hold(*args)
            yield 2
        async for _ in items():
            pass

    async def block_eager(self, *args):
        await asyncio.Task(self.block_in_child(*args), loop=asyncio.get_event_loop(), eager_start=True)

    async def block_in_socket(self, *args):
        """In a protocol's data_received: on uvloop such a callback does not pass the loop's ready queue."""
        done = asyncio.get_event_loop().create_future()

        class Protocol(asyncio.Protocol):
            def data_received(self, data):
                hold(*args)
                done.set_result(None)
        ours, theirs = socket.socketpair()
        transport, _ = await asyncio.get_event_loop().create_connection(Protocol, sock=ours)
        theirs.send(b"x")
        await done
        transport.close()
        theirs.close()


# ---- loads in which nobody holds the loop for long -------------------------------------------------

def nested(times, seconds):
    """A step that enters other contexts."""
    for _ in range(times):
        contextvars.copy_context().run(burn, seconds / times)


async def coop_tasks(end, seconds):
    """Sixty tasks of which each gives way after every step: the loop is never free, and nobody holds it for long."""
    async def one():
        while time.monotonic() < end:
            burn(seconds)
            await asyncio.sleep(0)
    await asyncio.gather(*[one() for _ in range(60)])


async def coop_nested(end, seconds):
    async def one():
        while time.monotonic() < end:
            nested(5, seconds)
            await asyncio.sleep(0)
    await asyncio.gather(*[one() for _ in range(20)])


async def coop_timers(end, seconds, context=None):
    """Timers, all due at once: on uvloop they run in one turn of libuv, and past the ready queue."""
    loop, done, left = asyncio.get_event_loop(), asyncio.get_event_loop().create_future(), [40]
    more = {} if context is None else {"context": context}

    def fire():
        burn(seconds)
        if time.monotonic() < end:
            loop.call_later(0.001, fire, **more)
        else:
            left[0] -= 1
            if not left[0]:
                done.set_result(None)
    for _ in range(40):
        loop.call_later(0.001, fire, **more)
    await done


async def coop_shared(end, seconds):
    """The same with one context for all of them, so that nothing but the timers tells the steps apart."""
    await coop_timers(end, seconds, contextvars.copy_context())


async def coop_sockets(end, seconds, times=0):
    """Protocols of one server, so that their callbacks share a context, all readable at once."""
    loop = asyncio.get_event_loop()

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            nested(times, seconds) if times else burn(seconds)
            self.transport.write(data)
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    socks = [socket.create_connection(server.sockets[0].getsockname()) for _ in range(30)]

    def drive():
        # From a thread: all of them are written to before the loop gets to the first.
        while time.monotonic() < end:
            for sock in socks:
                sock.send(b"x")
            for sock in socks:
                sock.recv(1)
        for sock in socks:
            sock.close()
    await loop.run_in_executor(None, drive)
    server.close()


async def coop_nested_sockets(end, seconds):
    await coop_sockets(end, seconds, times=3)


async def coop_eager(end, seconds):
    async def child():
        burn(seconds)

    async def one():
        while time.monotonic() < end:
            await asyncio.Task(child(), loop=asyncio.get_event_loop(), eager_start=True)
            await asyncio.sleep(0)
    await asyncio.gather(*[one() for _ in range(20)])


COOP = {"tasks": coop_tasks, "nested": coop_nested, "timers": coop_timers, "shared": coop_shared,
        "sockets": coop_sockets, "nested-sockets": coop_nested_sockets, "eager": coop_eager}


BEATS = []


async def beat():
    """Nobody's task that always has something due, until it is told to rest: only a loop that something waits for can be
    blocked."""
    BEATS.append(asyncio.current_task())
    while True:
        await asyncio.sleep(0.001)


def rest():
    for task in BEATS:
        task.cancel()
    BEATS.clear()


async def coop(sid, kind, s, step_ms):
    """In the context of a session: whatever is wrongly joined would be its block."""
    PARLEY.set(sid)
    steps, before = STEPS.get(sid, [0, 0, 0])[1], time.process_time()
    await COOP[kind](time.monotonic() + s, step_ms / 1e3)
    say("coop", kind=kind, sid=sid, cpu_s=time.process_time() - before, steps=STEPS.get(sid, [0, 0, 0])[1] - steps)


# ---- long steps with all kinds of things in them ---------------------------------------------------

def long_nested(seconds):
    nested(int(seconds / 0.004), seconds)


def long_eager(seconds):
    async def child():
        burn(0.004)
    for _ in range(int(seconds / 0.004)):
        asyncio.Task(child(), loop=asyncio.get_event_loop(), eager_start=True)


KINDS.update({"nested": long_nested, "eagers": long_eager})


# ---- orders -------------------------------------------------------------------------------------

def obey(order):
    do = order.pop("do")
    if do == "quit":
        say("bye")
        os._exit(0)
    elif do == "cpu":
        say("cpu", process=time.process_time(), steps={str(sid): sums for sid, sums in STEPS.items()})
    elif do == "coop":
        LOOP[0].call_soon_threadsafe(contextvars.copy_context().run, asyncio.ensure_future, coop(**order))
    elif do == "beat":
        LOOP[0].call_soon_threadsafe(contextvars.copy_context().run, asyncio.ensure_future, beat(**order))
    elif do == "rest":
        LOOP[0].call_soon_threadsafe(rest)
    elif do == "litter":
        litter(order["ms"] / 1e3)
        say("littered")
    else:
        session = SESSIONS[order.pop("sid")]
        LOOP[0].call_soon_threadsafe(session.orders.put_nowait, dict(order, do=do))


def orders():
    for line in sys.stdin:
        try:
            obey(json.loads(line))
        except Exception as e:      # a mistake of the judge's must not look like a worker that hangs
            say("error", order=line.strip(), why="%s: %s" % (type(e).__name__, e))
    os._exit(0)


async def main(args):
    LOOP[0] = asyncio.get_event_loop()
    for i in range(args.sessions):
        SESSIONS["p-%02d" % i] = Session("p-%02d" % i)
    await asyncio.sleep(0.05)
    threading.Thread(target=orders, name="orders", daemon=True).start()
    say("ready", pid=os.getpid(), python=sys.version.split()[0], clock_s=CLOCK[0], peer=args.peer, steps_clocked=args.loop == "asyncio" and not args.bare,
        sids=sorted(SESSIONS))
    await asyncio.get_event_loop().create_future()


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    p.add_argument("--sessions", type=int, default=6)
    p.add_argument("--bare", action="store_true", help="no clock around each step")
    p.add_argument("--for", dest="duration", type=float, default=900.0, help="end after that many seconds, whatever happens")
    args = p.parse_args()
    gc.disable()            # what is collected is collected when it is told to be
    calibrate()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    ask_server.ours, (server, _) = socket.create_connection(listener.getsockname()), listener.accept()
    args.peer = "%s:%d" % listener.getsockname()
    (order, read_pipe.order), (read_pipe.answer, answer) = os.pipe(), os.pipe()
    serve(server, order, answer)
    threading.Timer(args.duration, os._exit, (0,)).start()
    if args.loop == "uvloop":
        import uvloop
        uvloop.install() if sys.version_info < (3, 12) else None
        (asyncio.run if sys.version_info < (3, 12) else uvloop.run)(main(args))
    else:
        if not args.bare:
            clock_every_step()
        asyncio.run(main(args))
