#!/usr/bin/env python3
"""A loop that is held between two steps, and one that is over while its thread goes on.

    --logs      four times a second a callback fails, and what asyncio logs of it is taken after 150 ms only
    --reruns    asyncio.run for a moment, then the thread sleeps for 150 ms without a loop, again and again

Python 3.8 to 3.15, standard library only. Prints JSON lines: ready, then held or slept each time. It knows nothing of otop.
"""
import asyncio
import json
import logging
import os
import sys
import threading
import time


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


class Slow(logging.Handler):
    """Takes what is logged when another thread lets it."""

    def emit(self, record):
        theirs, ours = os.pipe()
        timer = threading.Timer(0.15, os.write, (ours, b"x"))
        timer.start()
        began = time.monotonic()
        os.read(theirs, 1)
        held = time.monotonic() - began
        timer.join()
        os.close(theirs), os.close(ours)
        say("held", ms=held * 1e3)


def fail():
    raise ValueError("as it was told to")


async def logs():
    while True:
        asyncio.get_event_loop().call_later(0.05, fail)
        await asyncio.sleep(0.25)


async def beat():
    for _ in range(20):
        await asyncio.sleep(0.002)


if __name__ == "__main__":
    logging.getLogger("asyncio").addHandler(Slow())
    logging.getLogger("asyncio").propagate = False
    threading.Timer(60.0, os._exit, (0,)).start()
    say("ready", pid=os.getpid(), python=sys.version.split()[0])
    if "--logs" in sys.argv:
        asyncio.run(logs())
    while True:
        asyncio.run(beat())
        time.sleep(0.15)
        say("slept")
