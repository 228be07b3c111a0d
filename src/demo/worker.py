"""The bundled sample worker: one asyncio loop, shared by sessions that behave in all the ways worth seeing.

Standard library only, Python 3.8 and later. The contextvars are named as OpenRTC names them, so that otop's defaults fit.
It says "ready" on its standard output when the loop runs, and ends when its standard input does: otop holds the other
end of that pipe, so the worker is gone with otop however otop ends.
"""

import asyncio
import contextvars
import functools
import hashlib
import itertools
import os
import random
import sys
import threading
import time

session_id = contextvars.ContextVar("openrtc_session_id")
agent_name = contextvars.ContextVar("openrtc_agent_name")
tenant_id = contextvars.ContextVar("openrtc_tenant_id")

numbers = itertools.count(1)


def spin(seconds):
    """Keeps a CPU busy in pure Python."""
    end = time.perf_counter() + seconds
    total = 0
    while time.perf_counter() < end:
        total += sum(range(50))
    return total


def ask_the_database(seconds):
    """What should have been awaited: the whole loop stands while this sleeps."""
    time.sleep(seconds)


def transcribe(seconds):
    """Work for a thread: hashing lets go of the GIL, so the loop goes on meanwhile."""
    block = b"\0" * (1 << 20)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        hashlib.sha256(block).digest()


async def hog():
    """Cooperative, but greedy: short steps, one after the other."""
    while True:
        spin(0.003)
        await asyncio.sleep(0.006)


async def blocker():
    """Blocks the loop every few seconds, by waiting or by computing; soon for the first time, for who looks only once."""
    await asyncio.sleep(0.4)
    while True:
        ask_the_database(random.uniform(0.12, 0.3))
        await asyncio.sleep(random.uniform(1.5, 3.0))
        spin(random.uniform(0.12, 0.3))
        await asyncio.sleep(random.uniform(1.5, 3.0))


async def idle():
    """A caller who says nothing."""
    await asyncio.Event().wait()


async def thread_user():
    """Gives its work to a thread, in a copy of its context, as asyncio.to_thread (3.9) does."""
    loop = asyncio.get_running_loop()
    while True:
        in_context = functools.partial(contextvars.copy_context().run, transcribe, 0.1)
        await loop.run_in_executor(None, in_context)
        await asyncio.sleep(0.2)


async def caller(seconds):
    """Talks for a while and hangs up."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        spin(0.001)
        await asyncio.sleep(0.02)


async def session(kind, agent, tenant, work):
    session_id.set("%s-%02d" % (kind, next(numbers)))
    agent_name.set(agent)
    tenant_id.set(tenant)
    # The work is a task of its own, as in a real session: it copies this context.
    await asyncio.ensure_future(work)


async def callers():
    """Sessions that come and go."""
    agents = itertools.cycle([("restaurant", "acme"), ("dental", "globex"), ("support", "initech")])
    while True:
        agent, tenant = next(agents)
        start(session("call", agent, tenant, caller(random.uniform(4, 12))))
        await asyncio.sleep(random.uniform(1, 4))


running = set()


def start(coroutine):
    # The loop itself keeps weak references only.
    task = asyncio.ensure_future(coroutine)
    running.add(task)
    task.add_done_callback(running.discard)


def end_with_otop():
    # Not through the loop, which may be blocked.
    sys.stdin.buffer.read()
    os._exit(0)


async def main():
    start(session("hog", "restaurant", "acme", hog()))
    start(session("blocker", "dental", "globex", blocker()))
    start(session("thread", "support", "initech", thread_user()))
    for tenant in ("acme", "globex", "initech"):
        start(session("idle", "support", tenant, idle()))
    start(callers())
    await asyncio.sleep(0.05)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    threading.Thread(target=end_with_otop, name="end_with_otop", daemon=True).start()
    asyncio.run(main())
