#!/usr/bin/env python3
"""A program in which more than one preset names sessions, with plain contextvars that are called as the packages' are.

Three requests have a correlation_id alone. Commands on stdin: `call` starts a call as behind Starlette's
BaseHTTPMiddleware, an outer task with a correlation_id alone that waits for an inner one, which has a structlog_call_id
too; `late` gives request-2 a structlog_call_id too, in its own task; `fan` starts a task with a correlation_id that waits
for two such calls with the same; `block` lets request-1 hold the loop for 150 ms; `end` ends the call; `import` imports a
module that is called as asgi-correlation-id's, and starts a request with a variable of that. Each is answered when it is
so. With --none-yet there are no requests at first. Ends with its stdin. It knows nothing of otop.
"""
import asyncio
import contextvars
import json
import os
import sys
import threading
import time
import types

CORRELATION = contextvars.ContextVar("correlation_id")
CALL = contextvars.ContextVar("structlog_call_id")


def say(ev, **more):
    print(json.dumps(dict(ev=ev, **more)), flush=True)


async def request(number, block, late):
    CORRELATION.set("request-%d" % number)
    while True:
        await block.wait()
        block.clear()
        if late.is_set():
            CALL.set("call-late")
            say("late")
            continue
        began = time.perf_counter()
        while time.perf_counter() - began < 0.15:
            pass
        say("blocked")


async def other(variable, text):
    variable.set(text)
    await asyncio.sleep(3600)


async def inner(call, begun, end):
    CALL.set(call)
    begun.set()
    await end.wait()


async def outer(correlation, calls, begun, end):
    CORRELATION.set(correlation)
    each = [asyncio.Event() for _ in calls]
    tasks = [asyncio.ensure_future(inner(call, one, end)) for call, one in zip(calls, each)]
    for one in each:
        await one.wait()
    begun.set()
    await asyncio.wait(tasks)


async def main():
    loop = asyncio.get_running_loop()
    blocks = [asyncio.Event() for _ in range(3)]
    late = asyncio.Event()
    kept = [asyncio.ensure_future(request(number, block, late)) for number, block in enumerate(blocks)
            if "--none-yet" not in sys.argv]
    commands = asyncio.Queue()

    def listen():
        for line in sys.stdin:
            loop.call_soon_threadsafe(commands.put_nowait, line.strip())
        os._exit(0)
    threading.Thread(target=listen, daemon=True).start()
    say("ready", pid=os.getpid(), python=sys.version.split()[0])
    call_ends = asyncio.Event()
    while True:
        command = await commands.get()
        if command == "block":
            blocks[1].set()
        elif command == "late":
            late.set()
            blocks[2].set()
        elif command == "import":
            sys.modules["asgi_correlation_id"] = types.ModuleType("asgi_correlation_id")
            variable = contextvars.ContextVar("correlation_id")
            kept.append(asyncio.ensure_future(other(variable, "request-import")))
            say("import")
        elif command == "end":
            call_ends.set()
            await kept.pop(3)
            say("end")
        else:
            begun = asyncio.Event()
            arguments = ("request-call", ["call-1"], begun, call_ends) if command == "call" else \
                ("request-fan", ["fan-1", "fan-2"], begun, asyncio.Event())
            kept.append(asyncio.ensure_future(outer(*arguments)))
            await begun.wait()
            say(command)


if __name__ == "__main__":
    asyncio.run(main())
