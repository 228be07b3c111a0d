#!/usr/bin/env python3
"""Many sessions, each with many tasks, some of them busy: what otop's cost is measured on.

Python 3.8 to 3.15, standard library only. It prints JSON lines: ready, then clock four times a second: steps so far, the
CPU time and the waits for a CPU of the loop's thread. It knows nothing of otop. The end of stdin ends it.

A busy session works in steps of --step-ms, DEPTH frames deep, half of them coroutines; its other tasks, and those of the
other sessions, wait half as deep for what never comes.
"""
import argparse
import asyncio
import contextvars
import json
import os
import sys
import threading
import time

CALL = contextvars.ContextVar("call_ref", default=None)
STEPS = [0]


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


def descend(depth, turns):
    if depth <= 1:
        x = 0
        for i in range(turns):
            x = (x * 31 + i) & 0xFFFFFF
        return x
    return descend(depth - 1, turns)


async def climb(depth, rest, turns, pause):
    if depth <= 1:
        descend(rest, turns)
        STEPS[0] += 1
        await asyncio.sleep(pause)
        return
    await climb(depth - 1, rest, turns, pause)


async def busy(args, turns):
    half = args.depth // 2
    while True:
        await climb(half, args.depth - half, turns, args.pause)


async def waits(depth):
    if depth <= 1:
        await asyncio.get_event_loop().create_future()
    await waits(depth - 1)


async def session(n, args, turns):
    CALL.set("crowd-%05d" % n)
    tasks = [asyncio.ensure_future(waits(max(1, args.depth // 2))) for _ in range(args.tasks - 1 - (n < args.busy))]
    if n < args.busy:
        tasks.append(asyncio.ensure_future(busy(args, turns)))
    await asyncio.get_event_loop().create_future()


async def main(args):
    turns, begin = 200000, time.thread_time()
    descend(1, turns)
    turns = max(1, int(turns * args.step_ms / 1e3 / (time.thread_time() - begin)))
    all_of_them = [asyncio.ensure_future(session(n, args, turns)) for n in range(args.sessions)]
    for _ in range(5):
        await asyncio.sleep(0.02)
    say("ready", pid=os.getpid(), tasks=len(asyncio.all_tasks()), sessions=len(all_of_them), python=sys.version.split()[0])
    while True:
        say("clock", steps=STEPS[0], wall=time.monotonic(), cpu=time.thread_time())
        await asyncio.sleep(0.25)


def leave():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loop", choices=["asyncio"], default="asyncio")
    p.add_argument("--sessions", type=int, default=50)
    p.add_argument("--tasks", type=int, default=29, help="tasks of a session, all told")
    p.add_argument("--busy", type=int, default=4, help="sessions that work")
    p.add_argument("--depth", type=int, default=30)
    p.add_argument("--step-ms", type=float, default=1.5)
    p.add_argument("--pause", type=float, default=0.0, help="seconds after each step; 0: they never rest")
    p.add_argument("--for", dest="duration", type=float, default=900.0, metavar="S", help="exit after that long")
    ARGS = p.parse_args()
    for end in (threading.Thread(target=leave), threading.Timer(ARGS.duration, os._exit, (0,))):
        end.daemon = True
        end.start()
    asyncio.run(main(ARGS))
