#!/usr/bin/env python3
"""A worker whose contextvars hold what `otop vars` must tell apart: ids, labels, credentials, and hostile values.

Every session has three tasks. With --many N there are N tasks besides, each with a value of its own in `per_task` and in a dictionary of its own.
Prints ready; ends with its stdin. Python 3.8 to 3.15, standard library only. It knows nothing of otop.
"""
import argparse
import asyncio
import base64
import contextvars
import json
import os
import sys
import threading

SESSION = contextvars.ContextVar("call_ref_id")
REGION = contextvars.ContextVar("region")
LOG = contextvars.ContextVar("log")
USER = contextvars.ContextVar("user")
TOKEN = contextvars.ContextVar("auth_token")
HEADER = contextvars.ContextVar("header")
DATABASE = contextvars.ContextVar("database")
DIGEST = contextvars.ContextVar("digest")
EVIL = contextvars.ContextVar("evil\x1b[2J\nname")
HUGE = contextvars.ContextVar("huge")
PER_TASK = contextvars.ContextVar("per_task")
BEHIND = contextvars.ContextVar("behind")
MIXED = contextvars.ContextVar("mixed")
NOTHING = contextvars.ContextVar("nothing")


class User(object):
    def __init__(self, i):
        self.user_id = "user-%d" % i
        self.password = "hunter%d" % i


def jwt(i):
    parts = [{"alg": "HS256"}, {"sub": "user-%d" % i, "room": "secret-room"}]
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join(texts + ["c2lnbmF0dXJlLW9mLXRoaXM"])


def label(i):
    SESSION.set("call-%d" % i)
    REGION.set("eu")
    LOG.set({"request_id": "req-%d" % i, "level": "info", "api_key": "key-%d" % i})
    USER.set(User(i))
    TOKEN.set("plain-looking-%d" % i)
    HEADER.set(jwt(i))
    DATABASE.set("postgres://app:hunter%d@db/app" % i)
    DIGEST.set("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a%02d" % i)
    EVIL.set("\x1b[31mred\x07\r\nnext%d" % i)
    HUGE.set("x" * 5000000 + str(i))
    MIXED.set("mixed-%d" % i if i % 2 else [i])
    NOTHING.set(None)


async def idle():
    await asyncio.sleep(3600)


async def session(i):
    label(i)
    await asyncio.gather(idle(), idle())


async def one(i):
    PER_TASK.set("value-%d" % i)
    BEHIND.set({"item_id": "item-%d" % i})
    await asyncio.sleep(3600)


async def main(args):
    tasks = [asyncio.ensure_future(session(i)) for i in range(4)]
    tasks += [asyncio.ensure_future(one(i)) for i in range(args.many)]
    await asyncio.sleep(0.1)
    print(json.dumps({"ev": "ready", "pid": os.getpid(), "python": sys.version.split()[0],
                      "tasks": len(asyncio.all_tasks())}), flush=True)

    def wait_for_the_end():
        sys.stdin.read()
        os._exit(0)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--many", type=int, default=0)
    asyncio.run(main(p.parse_args()))
