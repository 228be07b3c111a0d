"""What scripts/record-images records: a few sessions that stand still, so that one walk reads them all alike.

Four sessions with a main task and two children each, ids of every width of str, forty other variables in every context,
and one task of no session. Prints `ready` and waits to be killed.
"""
import asyncio
import contextvars
import sys

SESSION = contextvars.ContextVar("call_ref")
AGENT = contextvars.ContextVar("agent_name")
OTHERS = [contextvars.ContextVar("other_%02d" % i) for i in range(40)]


async def wait():
    await asyncio.get_running_loop().create_future()


async def session(name, agent):
    SESSION.set(name)
    AGENT.set(agent)
    for i, var in enumerate(OTHERS):
        var.set("value %d of %s" % (i, name))
    await asyncio.gather(*[asyncio.ensure_future(wait()) for _ in range(2)])


async def main():
    loop = asyncio.get_running_loop()
    calls = [("call-plain", "reception"), ("call-\u00e9\u00fc", "reception"), ("call-\u96fb\u8a71", "billing"),
             ("call-" + "\U0001f4de" * 30, "billing")]
    tasks = [loop.create_task(session(*call)) for call in calls] + [loop.create_task(wait())]
    await asyncio.sleep(0.2)
    print("ready", sys.version.split()[0], len(tasks), flush=True)
    await asyncio.gather(*tasks)


asyncio.run(main())
