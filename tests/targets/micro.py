#!/usr/bin/env python3
"""The worst case for whoever reads stacks: a step every few microseconds, some forty frames deep, each session in
functions of its own, so that every stack shows whose it is and whether it can be.

Python 3.8 to 3.15, standard library only. It prints JSON lines: ready, then clock four times a second: steps so far, the
wall time, and with --clocked how long each of four functions ran, by a clock around each call, less what it costs to ask
the clock. It knows nothing of otop. The end of stdin ends it.

The stack of a busy session N, outermost first: <module>, main, asyncio's own, busy_N, HALF times climb_N (coroutines),
DEPTH - HALF times descend_N, leaf_N; or below climb_N asyncio's sleep. The lines are those of SOURCE.
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
SPUN = [0, 0, 0, 0]         # nanoseconds of each spin_*
SOURCE = """\
async def busy_N(half, rest, work):
    while True:
        await climb_N(half, rest, work)

async def climb_N(n, rest, work):
    if n <= 1:
        descend_N(rest, work)
        STEPS[0] += 1
        await sleep(0)
        return
    await climb_N(n - 1, rest, work)

def descend_N(n, work):
    if n <= 1:
        leaf_N(work)
        return
    descend_N(n - 1, work)

def leaf_N(work):
    if CLOCKED:
        a = now()
        spin_0()
        b = now()
        spin_1()
        c = now()
        spin_2()
        d = now()
        spin_3()
        e = now()
        SPUN[0] += b - a - ASKING
        SPUN[1] += c - b - ASKING
        SPUN[2] += d - c - ASKING
        SPUN[3] += e - d - ASKING
        return
    x = 0
    for i in range(work):
        x = (x * 31 + i) & 0xFFFFFF
    return x
"""
SPIN = """\
def spin_N():
    for _ in range(TURNS):
        pass
"""


def made(source, n, filename, **names):
    exec(compile(source.replace("_N", "_%d" % n).replace("[N]", "[%d]" % n), filename, "exec"), names)
    return names


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


def cost_of_asking():
    """What it costs to ask the clock, nanoseconds: the least of many, for whatever comes between makes it dearer."""
    now = time.perf_counter_ns
    costs = []
    for _ in range(200):
        begin = now()
        for _ in range(100):
            now()
        costs.append((now() - begin) // 100)
    return min(costs)


async def session(n, args, spins, asking):
    CALL.set("micro-%d" % n)
    if n >= args.busy:
        await asyncio.get_running_loop().create_future()
    names = made(SOURCE, n, "micro_%d.py" % n, STEPS=STEPS, sleep=asyncio.sleep, CLOCKED=args.clocked,
                 now=time.perf_counter_ns, ASKING=asking, SPUN=SPUN, **spins)
    half = args.depth // 2
    await names["busy_%d" % n](half, args.depth - half, args.work)


async def main(args):
    spins = {}
    for n, turns in enumerate([25, 50, 100, 200]):
        name = "spin_%d" % n
        spins[name] = made(SPIN, n, "spin.py", TURNS=turns)[name]
    asking = cost_of_asking()
    tasks = [asyncio.ensure_future(session(n, args, spins, asking)) for n in range(args.sessions)]
    await asyncio.sleep(0.05)
    say("ready", pid=os.getpid(), tasks=len(tasks), python=sys.version.split()[0])
    while True:
        say("clock", steps=STEPS[0], wall=time.perf_counter_ns(), spun=SPUN)
        await asyncio.sleep(0.25)


def leave():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--sessions", type=int, default=20)
    p.add_argument("--busy", type=int, default=4, help="sessions that never rest")
    p.add_argument("--depth", type=int, default=32, help="coroutines and functions of a busy session")
    p.add_argument("--work", type=int, default=200, help="turns of the innermost function")
    p.add_argument("--clocked", action="store_true", help="four functions with clocks of their own, innermost")
    p.add_argument("--for", dest="duration", type=float, default=600.0, metavar="S", help="exit after that long")
    ARGS = p.parse_args()
    for end in (threading.Thread(target=leave, daemon=True), threading.Timer(ARGS.duration, os._exit, (0,))):
        end.daemon = True
        end.start()
    asyncio.run(main(ARGS))
