#!/usr/bin/env python3
"""A worker in which everything waits, each session for another thing, and which knows for what and at which lines.

It prints its own truth, one JSON object per line, on stdout, and does what it is told on stdin; the end of stdin ends
it. Python 3.8 to 3.15, standard library only (uvloop where asked for). It knows nothing of otop.

The chains are Python's own answer: `cr_await` and its like from each task's coroutine down, with the lines of the frames.
Where that way is barred (an async generator behind the object that drives it), the garbage collector's knows it.

Events: ready (all wait; with the truth about every task), answers to commands, bye.
    truth                  -> truth: all tasks as they are now
    block SID MS           -> blocking (from within the session's own step, with the line), then blocked when it is over
    spin SID MS            -> the same, but working and not asleep
    later SID SECONDS      -> later: a timer of the session, that is not due yet
    crowd SESSIONS TASKS   -> crowd: so many sessions more, each with so many tasks that wait for ever
    churn                  -> churn: two sessions more that share all of the loop's time, in steps of 2 ms
    named NAME...          -> named: a session more, with a task of each name and one more that waits for it
    quit                   -> bye
"""
import argparse
import asyncio
import contextvars
import gc
import json
import os
import socket
import sys
import threading
import time
import types

SESSION = contextvars.ContextVar("call_ref", default=None)
HELD = []            # what has to stay alive
LOCK = threading.Lock()
NEVER = threading.Event()
FACTS = {}           # session -> what it is known to wait for


def tell(ev, **facts):
    with LOCK:
        sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
        sys.stdout.flush()


# ---- what Python says of its own chains ---------------------------------------------------------

WRAPPERS = ("async_generator_asend", "async_generator_athrow", "coroutine_wrapper", "anext_awaitable")


def frame_of(awaitable):
    for name in ("cr_frame", "gi_frame", "ag_frame"):
        if hasattr(awaitable, name):
            return getattr(awaitable, name)
    return None


def awaited_by(awaitable):
    for name in ("cr_await", "gi_yieldfrom", "ag_await"):
        if hasattr(awaitable, name):
            return getattr(awaitable, name)
    return None


def behind(wrapper):
    return next((held for held in gc.get_referents(wrapper) if frame_of(held) is not None), None)


def chain_of(coroutine):
    chain = []
    at = coroutine
    while at is not None:
        if type(at).__name__ in WRAPPERS:
            at = behind(at)
            continue
        frame = frame_of(at)
        if frame is None:
            break
        code = frame.f_code
        chain.append(dict(function=getattr(code, "co_qualname", code.co_name), file=code.co_filename,
                          line=frame.f_lineno))
        at = awaited_by(at)
    return chain


def truth_of(task):
    return dict(name=task.get_name(), session=task_session(task), chain=chain_of(task.get_coro()))


def task_session(task):
    # Task.get_context is there from 3.12 on; before, the name says whose it is.
    name = task.get_name()
    return name.split("/")[0] if "/" in name else None


def all_truth(loop):
    tasks = [task for task in asyncio.all_tasks(loop) if task is not asyncio.current_task()]
    return [truth_of(task) for task in tasks]


# ---- what the sessions wait for -----------------------------------------------------------------

class Custom(object):
    """Awaited through `__await__`, which is a generator."""

    def __init__(self, inner):
        self.inner = inner

    def __await__(self):
        return (yield from self.inner.__await__())


@types.coroutine
def old_style(awaitable):
    result = yield from awaitable
    return result


async def items(event):
    yield 1
    await event.wait()
    yield 2


async def deeper(depth, awaitable):
    if depth:
        return await deeper(depth - 1, awaitable)
    return await awaitable


async def for_sleep():
    await asyncio.sleep(3600)


async def for_lock():
    lock = asyncio.Lock()
    await lock.acquire()
    async with lock:
        pass


class TracedLock(asyncio.Lock):
    pass


class Limiter(asyncio.BoundedSemaphore):
    pass


class Gate(asyncio.Event):
    pass


async def for_own_lock():
    lock = TracedLock()
    await lock.acquire()
    async with lock:
        pass


async def for_own_semaphore():
    semaphore = Limiter(1)
    await semaphore.acquire()
    await semaphore.acquire()


async def for_own_event():
    await Gate().wait()


async def for_event():
    await asyncio.Event().wait()


async def for_condition():
    condition = asyncio.Condition()
    async with condition:
        await condition.wait()


async def for_condition_lock():
    condition = asyncio.Condition()
    await condition.acquire()
    async with condition:
        pass


async def for_notified():
    condition = asyncio.Condition()

    async def notify():
        async with condition:
            condition.notify()
            await asyncio.Event().wait()

    async with condition:
        child("notifier", notify())
        await condition.wait()


async def for_semaphore():
    semaphore = asyncio.Semaphore(1)
    await semaphore.acquire()
    await semaphore.acquire()


async def for_queue_get():
    await asyncio.Queue().get()


async def for_queue_put():
    queue = asyncio.Queue(1)
    await queue.put(1)
    await queue.put(2)


async def for_future():
    await asyncio.get_running_loop().create_future()


async def for_gather():
    await asyncio.gather(child("a", asyncio.sleep(3600)), child("b", asyncio.Event().wait()))


async def for_task():
    await child("only", asyncio.sleep(3600))


async def for_wait():
    await asyncio.wait([child("waited", asyncio.sleep(3600))])


async def for_wait_for():
    await asyncio.wait_for(asyncio.Event().wait(), 3000)


async def for_shield():
    await asyncio.shield(child("shielded", asyncio.sleep(3600)))


async def for_async_generator():
    async for _ in items(asyncio.Event()):
        pass


async def for_asend():
    generator = items(asyncio.Event())
    await generator.asend(None)
    await generator.asend(None)


async def for_custom():
    await Custom(asyncio.sleep(3600))


async def for_old_style():
    await old_style(asyncio.Event().wait())


async def for_deep():
    await deeper(60, asyncio.sleep(3600))


async def for_thread():
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, contextvars.copy_context().run, in_thread)


async def for_to_thread():
    await asyncio.to_thread(in_thread)


def in_thread():
    NEVER.wait()


async def for_socket():
    near, far = socket.socketpair()
    HELD.append(far)
    near.setblocking(False)
    await asyncio.get_running_loop().sock_recv(near, 100)


async def for_accept():
    server = socket.socket()
    server.bind(("127.0.0.1", 0))
    server.listen()
    server.setblocking(False)
    await asyncio.get_running_loop().sock_accept(server)


async def for_stream():
    near, far = socket.socketpair()
    HELD.append(far)
    reader, writer = await asyncio.open_connection(sock=near)
    HELD.append(writer)
    await reader.readline()


async def for_process():
    # It ends with its input, and so with this process, however that ends.
    pipe = asyncio.subprocess.PIPE      # a root to test in has no /dev/null
    process = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe, stderr=pipe)
    HELD.append(process)
    await process.wait()


async def for_pipe():
    near, far = os.pipe()
    HELD.append(os.fdopen(far, "wb"))
    reader = asyncio.StreamReader()
    pipe = os.fdopen(near, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe)
    HELD.append(transport)
    await reader.readline()


async def for_timeout():
    async with asyncio.timeout(3000):
        await asyncio.Event().wait()


async def for_task_group():
    async with asyncio.TaskGroup() as group:
        HELD.append(group.create_task(asyncio.sleep(3600), name=SESSION.get() + "/grouped"))


async def for_barrier():
    await asyncio.Barrier(2).wait()


async def for_orders(orders):
    """Does what it is told, in its own step."""
    while True:
        order, seconds = await orders.get()
        order(seconds)


def asleep(seconds):
    tell("blocking", line=sys._getframe().f_lineno + 1, file=__file__)
    time.sleep(seconds)
    tell("blocked")


def working(seconds):
    end = time.monotonic() + seconds
    tell("blocking", line=None, file=__file__)
    while time.monotonic() < end:
        pass
    tell("blocked")


def until(end):
    while time.monotonic() < end:
        pass


async def churn_a():
    while True:
        until(time.monotonic() + 0.002)
        await asyncio.sleep(0)


async def churn_b():
    while True:
        until(time.monotonic() + 0.002)
        await asyncio.sleep(0)


def child(name, awaitable):
    session = SESSION.get()

    async def run_child():
        return await awaitable
    task = asyncio.get_running_loop().create_task(run_child(), name="%s/%s" % (session, name))
    HELD.append(task)
    return task


# What each kind is known to wait for, in the words of otop's contract.
KINDS = [
    ("sleep", for_sleep, "sleep"), ("lock", for_lock, "lock"), ("event", for_event, "event"),
    ("condition", for_condition, "condition"), ("condition_lock", for_condition_lock, "lock"),
    ("notified", for_notified, "lock"), ("semaphore", for_semaphore, "semaphore"),
    ("queue_get", for_queue_get, "queue"), ("queue_put", for_queue_put, "queue"), ("future", for_future, "future"),
    ("gather", for_gather, "gather"), ("task", for_task, "task"), ("wait", for_wait, "tasks"),
    ("wait_for", for_wait_for, None), ("shield", for_shield, "task"),
    ("async_generator", for_async_generator, "event"), ("asend", for_asend, "event"),
    ("custom", for_custom, "sleep"), ("old_style", for_old_style, "event"), ("deep", for_deep, "sleep"),
    ("thread", for_thread, "thread"), ("socket", for_socket, "socket"), ("accept", for_accept, "socket"),
    ("stream", for_stream, "stream"), ("process", for_process, "process"),
    ("own_lock", for_own_lock, "lock"), ("own_semaphore", for_own_semaphore, "semaphore"),
    ("own_event", for_own_event, "event"), ("pipe", for_pipe, "stream"),
]
if sys.version_info >= (3, 9):
    KINDS.append(("to_thread", for_to_thread, "thread"))
if sys.version_info >= (3, 11):
    KINDS += [("timeout", for_timeout, "event"), ("task_group", for_task_group, "tasks"),
              ("barrier", for_barrier, "barrier")]


def start(session, coroutine, name="main"):
    """A task in a context of its own that names the session."""
    context = contextvars.copy_context()
    context.run(SESSION.set, session)
    loop = asyncio.get_running_loop()
    task = context.run(lambda: loop.create_task(coroutine, name="%s/%s" % (session, name)))
    HELD.append(task)
    return context


async def join(task):
    await task


async def crowd(sessions, tasks):
    """Many sessions that wait for ever, each task in a coroutine of its own."""
    loop = asyncio.get_running_loop()
    for i in range(sessions):
        context = contextvars.copy_context()
        context.run(SESSION.set, "crowd-%05d" % i)
        for _ in range(tasks):
            HELD.append(context.run(loop.create_task, for_event()))
        if i % 100 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0.1)


async def serve():
    loop = asyncio.get_running_loop()
    lines = asyncio.Queue()

    def listen():
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.split())
        loop.call_soon_threadsafe(lines.put_nowait, ["quit"])
    threading.Thread(target=listen, daemon=True).start()
    orders, contexts = {}, {}
    if not ARGS.empty:
        for kind, coroutine, _ in KINDS:
            contexts[kind] = start(kind, coroutine())
        for session in ("worker-a", "worker-b"):
            orders[session] = asyncio.Queue()
            contexts[session] = start(session, for_orders(orders[session]))
    # Everything is where it stays when nothing has moved for a while.
    before = None
    while True:
        await asyncio.sleep(0.2)
        now = sorted(all_truth(loop), key=lambda task: (task["name"], json.dumps(task["chain"])))
        if now == before:
            break
        before = now
    # What this machine does not have (in a bare root no program can be started) is not waited for.
    names = set(task["name"] for task in now)
    kinds = {kind: waits for kind, _, waits in KINDS if kind + "/main" in names}
    tell("ready", pid=os.getpid(), tasks=now, kinds=kinds, file=__file__,
         native_tasks=asyncio.Task.__module__ == "_asyncio")
    while True:
        words = await lines.get()
        if not words or words[0] == "quit":
            break
        if words[0] == "truth":
            tell("truth", tasks=all_truth(loop))
        elif words[0] in ("block", "spin"):
            order = asleep if words[0] == "block" else working
            orders[words[1]].put_nowait((order, int(words[2]) / 1e3))
        elif words[0] == "later":
            HELD.append(contexts[words[1]].run(loop.call_later, float(words[2]), in_thread))
            tell("later")
        elif words[0] == "crowd":
            await crowd(int(words[1]), int(words[2]))
            tell("crowd")
        elif words[0] == "churn":
            start("churn_a", churn_a())
            start("churn_b", churn_b())
            tell("churn")
        elif words[0] == "named":
            for name in words[1:]:
                HELD.append(loop.create_task(for_event(), name=name))
                start("named", join(HELD[-1]))
            await asyncio.sleep(0.1)
            tell("named")
    tell("bye")
    sys.stdout.flush()
    os._exit(0)      # threads that wait for ever would keep it


def main():
    global ARGS
    parser = argparse.ArgumentParser()
    parser.add_argument("--loop", default="asyncio", choices=["asyncio", "uvloop"])
    parser.add_argument("--empty", action="store_true", help="no sessions of its own")
    parser.add_argument("--python-tasks", action="store_true", help="tasks of Python code, not of _asyncio")
    ARGS = parser.parse_args()
    if ARGS.python_tasks:
        asyncio.tasks.Task = asyncio.Task = asyncio.tasks._PyTask
    if ARGS.loop == "uvloop":
        import uvloop
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(serve())


if __name__ == "__main__":
    main()
