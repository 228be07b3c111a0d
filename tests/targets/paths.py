#!/usr/bin/env python3
"""A worker that keeps the ids of its sessions in every place to which otop's path language leads.

A session is a task in a context of its own, with two child tasks; its id stands in some twenty places at once, one of
them per kind of hop. With --roots there are tasks besides that wait for others, in every way. Session number 0 works half of the time, so that the samples of running code count too.
Prints ready, with the ids; ends with its stdin. Python 3.8 to 3.15, standard library only. It knows nothing of otop.
"""
import argparse
import asyncio
import collections
import contextvars
import functools
import json
import os
import sys
import threading
import time
import types
import uuid

NAMES = ["plain", "dotted.name", "dotted", "inline", "materialized", "many", "slots", "mapping", "in_tuple", "in_list",
         "partial", "number", "small", "uuid", "subclass", "bare", "none", "blob"]
VARS = {name: contextvars.ContextVar("path." + name if name == "bare" else name) for name in NAMES}
BOX = collections.namedtuple("BOX", "kind ticket rest")


class Ticket(object):
    """On 3.11 and later: values in the instance, no dictionary."""

    def __init__(self, sid):
        self.kind = "call"
        self.ticket = sid


class Slots(object):
    __slots__ = ("kind", "ticket", "unset")

    def __init__(self, sid):
        self.kind = "call"
        self.ticket = sid


class SubSlots(Slots):
    __slots__ = ("more",)


class Text(str):
    pass


def finish(*args, **kwargs):
    pass


def materialized(sid):
    it = Ticket(sid)
    it.__dict__["other"] = 1        # from now on the instance has a dictionary
    return it


def many(sid):
    it = Ticket(sid)
    for i in range(60):             # more than the keys that instances of a class share
        setattr(it, "field_%d" % i, i)
    return it


def number_of(index):
    """A trace id: 128 bits, the first of them zero."""
    return (0x0af7651916cd43dd << 64) + 0x8448eb211c80319c + index


def label(index, sid):
    VARS["plain"].set(sid)
    VARS["dotted.name"].set(sid)
    VARS["dotted"].set(types.SimpleNamespace(name="never the dotted one", ticket=sid))
    VARS["inline"].set(Ticket(sid))
    VARS["materialized"].set(materialized(sid))
    VARS["many"].set(many(sid))
    VARS["slots"].set(SubSlots(sid))
    VARS["mapping"].set({1: "one", "user": {"id": sid, u"schlüssel": sid, 7: sid},
                         "span-%s" % uuid.uuid4().hex: BOX("span", sid, None)})
    VARS["in_tuple"].set(BOX("call", sid, (1, sid)))
    VARS["in_list"].set([None, ["x", sid]])
    VARS["partial"].set(functools.partial(finish, "call", Slots(sid), ticket=sid))
    VARS["number"].set(number_of(index))
    VARS["small"].set(index)
    VARS["uuid"].set(uuid.UUID(int=number_of(index)))
    VARS["subclass"].set(Text("agent-" + sid))
    VARS["bare"].set(sid)
    VARS["none"].set(None)
    VARS["blob"].set({"session": sid.encode(), "other": object()})


def compute(seconds, depth=12):
    """Frames that come and go, deep below the coroutine."""
    if depth:
        return compute(seconds, depth - 1)
    begin = time.thread_time()
    while time.thread_time() - begin < seconds:
        sum(i for i in range(50))
    return time.thread_time() - begin


def logged(coroutine):
    """What it returns bears the name of what it wraps."""
    @functools.wraps(coroutine)
    async def wrapper(*args, **kwargs):
        return await coroutine(*args, **kwargs)
    return wrapper


class Worker(object):
    async def turns(self, turn_id, works):
        start, used = time.monotonic(), 0.0
        yield turn_id               # once only: while the caller's loop has its turn, the task is not in here
        while True:
            if works:
                used += compute(0.004)
            await asyncio.sleep(max(0.0, used / 0.5 - (time.monotonic() - start)) if works else 3600)

    @logged
    async def run_job(self, job_id, works):
        seen = []

        def note():                 # makes a cell of job_id
            seen[:] = [job_id]
        async for _ in self.turns(job_id, works):
            note()


async def idle():
    await asyncio.sleep(3600)


async def session(index, sid, works):
    ticket = types.SimpleNamespace(number=index, id=sid)
    children = [asyncio.ensure_future(idle()) for _ in range(2)]
    await Worker().run_job(sid, works)
    return ticket, children


# ---- who waits for whom ---------------------------------------------------------------------------------------------

async def wait_direct():
    await asyncio.ensure_future(idle())


async def wait_gather():
    await asyncio.gather(idle(), idle(), idle())


async def wait_wait_for():
    await asyncio.wait_for(idle(), 3600)


async def wait_wait():
    await asyncio.wait([asyncio.ensure_future(idle()), asyncio.ensure_future(idle())])


async def wait_shield():
    await asyncio.shield(asyncio.ensure_future(idle()))


async def wait_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(idle())
        group.create_task(wait_direct())


async def wait_nested():
    await asyncio.gather(wait_direct(), wait_gather())


WAYS = [wait_direct, wait_gather, wait_wait_for, wait_wait, wait_shield, wait_nested]
if hasattr(asyncio, "TaskGroup"):
    WAYS.append(wait_group)


def name_of(task, name):
    task.set_name(name)
    return task


async def serve(args):
    sids = ["ticket-%d" % i for i in range(args.sessions)]
    tasks = []
    for i, sid in enumerate(sids):
        context = contextvars.copy_context()
        context.run(label, i, sid)
        task = context.run(asyncio.get_event_loop().create_task, session(i, sid, i == 0))
        tasks.append(name_of(task, "call " + sid))
    roots = {}
    await asyncio.sleep(0.05)
    for way in WAYS if args.roots else []:
        before = len(asyncio.all_tasks())
        tasks.append(name_of(asyncio.ensure_future(way()), way.__name__))
        await asyncio.sleep(0.05)
        roots[way.__name__] = len(asyncio.all_tasks()) - before
    if args.roots:           # another one of the same name
        tasks.append(name_of(asyncio.ensure_future(wait_direct()), wait_direct.__name__))
    await asyncio.sleep(0.05)
    print(json.dumps({"ev": "ready", "roots": roots, "pid": os.getpid(), "sids": sids, "python": sys.version.split()[0],
                      "numbers": [number_of(i) for i in range(len(sids))]}), flush=True)
    end = asyncio.Event()
    loop = asyncio.get_event_loop()

    def wait_for_the_end():
        sys.stdin.read()
        loop.call_soon_threadsafe(end.set)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await end.wait()
    for task in tasks:
        task.cancel()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    p.add_argument("--roots", action="store_true", help="tasks that wait for others, one per way to wait")
    p.add_argument("--sessions", type=int, default=4)
    args = p.parse_args()
    if args.loop == "uvloop":
        import uvloop
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    asyncio.run(serve(args))


if __name__ == "__main__":
    main()
