#!/usr/bin/env python3
"""Steps that go into the contexts of other sessions: nested `Context.run`, and tasks that start eagerly (3.12 on).

    --eager     start the others' tasks eagerly in place of Context.run

Nobody's loop computes for long and then starts a session for a moment; the session "starter" starts twenty others in
one step, each for a moment; the session "long" is started from nobody's step, and computes for long in it. The
contextvar is `conn`. Python 3.8 to 3.15, standard library only. Prints JSON lines: ready, then what it did each time. It
knows nothing of otop.
"""
import asyncio
import contextvars
import itertools
import json
import os
import sys
import threading
import time

CONN = contextvars.ContextVar("conn")
EAGER = "--eager" in sys.argv
NUMBERS = itertools.count()


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


def burn(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def serve(sid, seconds):
    CONN.set(sid)
    burn(seconds)


def start(sid, seconds):
    if EAGER:
        loop = asyncio.get_running_loop()
        asyncio.Task(serve(sid, seconds), loop=loop, context=contextvars.Context(), eager_start=True)
    else:
        contextvars.copy_context().run(lambda: (CONN.set(sid), burn(seconds)))


def accept():
    burn(0.15)
    start("client-%d" % next(NUMBERS), 0.004)


def start_many():
    for _ in range(20):
        start("child-%d" % next(NUMBERS), 0.008)


async def turns(what, act):
    while True:
        await asyncio.sleep(0.3)
        act()
        say("did", what=what)


async def main():
    async def starter():
        CONN.set("starter")
        await turns("starter", start_many)
    say("ready", pid=os.getpid(), python=sys.version.split()[0])
    await asyncio.gather(turns("accept", accept), starter(), turns("long", lambda: start("long", 0.15)))


if __name__ == "__main__":
    threading.Timer(60.0, os._exit, (0,)).start()
    if "--uvloop" in sys.argv:
        import uvloop
        uvloop.install()
    asyncio.run(main())
