#!/usr/bin/env python3
"""Contextvars of one name: those of a module that was imported twice, as `ctx` and as `app.ctx`, and those that a program
makes one an object.

Three tasks set the one, three the other, one both to the same text and one to two; three more have one of their own each.
Prints ready, and ends with its stdin. It knows nothing of otop.
"""
import asyncio
import contextvars
import json
import os
import sys
import threading

ONE, OTHER = contextvars.ContextVar("request_id"), contextvars.ContextVar("request_id")
KEPT = []


async def task(texts):
    for variable, text in texts:
        variable.set(text)
    await asyncio.sleep(3600)


async def main():
    tasks = [[(ONE, "web-%d" % i)] for i in range(3)] + [[(OTHER, "job-%d" % i)] for i in range(3)]
    tasks += [[(ONE, "same"), (OTHER, "same")], [(ONE, "right"), (OTHER, "left")]]
    for i in range(3):
        KEPT.append(contextvars.ContextVar("request_id"))
        tasks.append([(KEPT[-1], "own-%d" % i)])
    running = [asyncio.ensure_future(task(texts)) for texts in tasks]
    await asyncio.sleep(0.05)
    print(json.dumps({"ev": "ready", "pid": os.getpid(), "python": sys.version.split()[0]}), flush=True)
    end = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait_for_the_end():
        sys.stdin.read()
        loop.call_soon_threadsafe(end.set)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await end.wait()
    for one in running:
        one.cancel()


if __name__ == "__main__":
    asyncio.run(main())
