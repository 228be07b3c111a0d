#!/usr/bin/env python3
"""Sessions that do nothing but read the clock: what is missing between two readings was taken from them, by whoever.

Python 3.8 to 3.15, standard library only. It prints JSON lines: ready, then clock twenty times a second: nanoseconds that were
read, and of those the ones in gaps (two readings more than --gap apart; those of 150 µs and more are the machine's,
and not counted). It knows nothing of otop. The end of stdin ends it.
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
TOTAL = [0, 0]
MOST = 150000


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


def descend(depth, ns, least):
    if depth > 1:
        return descend(depth - 1, ns, least)
    clock, missing = time.perf_counter_ns, 0
    begin = last = clock()
    end = begin + ns
    while last < end:
        now = clock()
        if least < now - last < MOST:
            missing += now - last
        last = now
    TOTAL[0] += last - begin
    TOTAL[1] += missing


async def session(n, args):
    CALL.set("gaps-%05d" % n)
    while True:
        descend(args.depth, int(args.step_ms * 1e6), int(args.gap * 1e3))
        await asyncio.sleep(0)


async def main(args):
    sessions = [asyncio.ensure_future(session(n, args)) for n in range(args.busy)]
    await asyncio.sleep(0.05)
    say("ready", pid=os.getpid(), sessions=len(sessions), python=sys.version.split()[0])
    while True:
        say("clock", read=TOTAL[0], missing=TOTAL[1])
        await asyncio.sleep(0.05)


def leave():
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loop", choices=["asyncio"], default="asyncio")
    p.add_argument("--busy", type=int, default=4, help="sessions")
    p.add_argument("--depth", type=int, default=30)
    p.add_argument("--step-ms", type=float, default=1.5)
    p.add_argument("--gap", type=float, default=2.0, metavar="US", help="two readings further apart are a gap")
    p.add_argument("--for", dest="duration", type=float, default=900.0, metavar="S", help="exit after that long")
    ARGS = p.parse_args()
    for end in (threading.Thread(target=leave), threading.Timer(ARGS.duration, os._exit, (0,))):
        end.daemon = True
        end.start()
    asyncio.run(main(ARGS))
