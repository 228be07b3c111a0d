#!/usr/bin/env python3
"""A worker that has, when told to, a thread in state D: it waits in posix_spawn() for its child, whose input is a FIFO that
nobody writes. Nothing stops such a thread before its child has gone on.

Commands on stdin, a line each: spawn -> spawned, once the thread is in state D; quit -> bye. The end of stdin is the same.
Prints ready first. Python 3.8 to 3.15, standard library only. It knows nothing of otop.
"""
import asyncio
import contextvars
import ctypes
import json
import os
import signal
import sys
import tempfile
import threading
import time

SESSION = contextvars.ContextVar("call_ref")
FIFO = os.path.join(tempfile.mkdtemp(prefix="otop-vfork-"), "input")


def truth(ev, **facts):
    print(json.dumps(dict(ev=ev, **facts)), flush=True)


def child_of(tid):
    with open("/proc/self/task/%d/children" % tid) as f:
        return [int(pid) for pid in f.read().split()]


def spawn(tids):
    tids.append(threading.get_native_id())
    libc = ctypes.CDLL(None)
    actions = (ctypes.c_char * 256)()
    libc.posix_spawn_file_actions_init(actions)
    libc.posix_spawn_file_actions_addopen(actions, 0, FIFO.encode(), os.O_RDONLY, 0)
    argv = (ctypes.c_char_p * 2)(b"true", None)
    libc.posix_spawn(ctypes.byref(ctypes.c_int()), b"/bin/true", actions, None, argv, None)


def letter(tid):
    with open("/proc/self/task/%d/stat" % tid) as f:
        return f.read().rpartition(") ")[2][0]


def commands():
    tids = []
    for line in sys.stdin:
        if line.strip() == "spawn":
            threading.Thread(target=spawn, args=(tids,), daemon=True).start()
            while not tids or letter(tids[0]) != "D":
                time.sleep(0.001)
            truth("spawned", tid=tids[0])
        else:
            break
    for tid in tids:
        for child in child_of(tid):
            os.kill(child, signal.SIGKILL)
    os.unlink(FIFO)
    os.rmdir(os.path.dirname(FIFO))
    truth("bye")
    os._exit(0)


async def call(i):
    SESSION.set("call-%d" % i)
    while True:
        await asyncio.sleep(0.02)


async def main():
    tasks = [asyncio.ensure_future(call(i)) for i in range(4)]
    truth("ready", pid=os.getpid())
    threading.Thread(target=commands, daemon=True).start()
    await asyncio.gather(*tasks)


os.mkfifo(FIFO)
asyncio.run(main())
