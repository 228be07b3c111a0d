#!/usr/bin/env python3
"""A pool of asyncio workers below one process, as gunicorn and uvicorn have it: a parent without a loop, workers that
are forked, and a child that is no Python. The sessions of each worker are `s-0`, `s-1`, … in the context variable
`call_ref`, the same ids in every worker. Prints JSON lines: {"ev": "ready", "pid": …, "workers": […]} first.
Standard library only, Python 3.8 to 3.15.

Commands on stdin, a line each:
    start            -> {"ev": "started", "pid": …}     one more worker
    kill PID         -> {"ev": "killed", "pid": …}      one less, by SIGKILL
    storm COUNT      -> {"ev": "calm"}                  so many workers started, each killed a moment later
    quit             -> everybody ends. The end of stdin is the same
"""
import asyncio
import contextvars
import json
import os
import signal
import subprocess
import sys
import time

CALL = contextvars.ContextVar("call_ref")
WORKERS = []


def say(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


async def session(busy):
    while True:
        end = time.perf_counter() + busy
        while time.perf_counter() < end:
            pass
        await asyncio.sleep(0.05)


async def work(up):
    tasks = []
    for n in range(2):
        CALL.set("s-%d" % n)
        tasks.append(asyncio.ensure_future(session(0.004 if n == 0 else 0.0)))
    os.write(up, b"u")
    os.close(up)
    await asyncio.gather(*tasks)


def start():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        try:
            asyncio.run(work(write))
        finally:
            os._exit(0)
    os.close(write)
    os.read(read, 1)
    os.close(read)
    WORKERS.append(pid)
    return pid


def kill(pid):
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    WORKERS.remove(pid)


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    other = subprocess.Popen(["sleep", "600"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    for _ in range(count):
        start()
    say("ready", pid=os.getpid(), workers=WORKERS)
    for line in iter(sys.stdin.readline, ""):
        words = line.split()
        if words[0] == "start":
            say("started", pid=start())
        elif words[0] == "kill":
            kill(int(words[1]))
            say("killed", pid=int(words[1]))
        elif words[0] == "storm":
            for _ in range(int(words[1])):
                kill(start())
            say("calm")
        elif words[0] == "quit":
            break
    for pid in list(WORKERS):
        kill(pid)
    other.kill()
    other.wait()


if __name__ == "__main__":
    main()
