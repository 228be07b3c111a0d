#!/usr/bin/env python3
"""A plain LiveKit worker, without OpenRTC: the real AgentServer, with a thread or a process for each job.

    livekit_worker.py thread|process [--jobs N]

Real: AgentServer over a real websocket, its pool of executors, AgentSession. Stand-ins: fake_livekit.py for the server,
offline.py for room and providers. Job number 0 works half of the time. Prints ready, then a job for each that is on its
call, with the process and thread that it runs in; ends with its stdin, and its jobs with it. It knows nothing of otop.
"""
import argparse
import asyncio
import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import offline
from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobExecutorType

HERE = Path(__file__).resolve().parent
rtc.Room = offline.OfflineRoom          # here, and in each process that imports this file for a job


def say(event, **facts):
    os.write(1, (json.dumps({"ev": event, **facts}) + "\n").encode())


class Receptionist(Agent):
    def __init__(self):
        super().__init__(instructions="You are a test agent.")


async def work():
    start, used = time.monotonic(), 0.0
    while True:
        begin = time.thread_time()
        while time.thread_time() - begin < 0.004:
            pass
        used += time.thread_time() - begin
        await asyncio.sleep(max(0.0, used / 0.5 - (time.monotonic() - start)))


async def entrypoint(ctx):
    number = json.loads(ctx.job.metadata)["number"]
    await ctx.connect()
    session = AgentSession(stt=offline.FakeSTT(), llm=offline.FakeLLM(0.1), tts=offline.FakeTTS())
    await session.start(Receptionist(), room=ctx.room)
    ctx.works = asyncio.ensure_future(work()) if number == 0 else None
    say("job", sid=ctx.job.id, agent="receptionist", pid=os.getpid(), tid=threading.get_native_id())


def prewarm(proc):
    pass


async def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("executor", choices=["thread", "process"])
    p.add_argument("--jobs", type=int, default=3)
    args = p.parse_args()
    logging.basicConfig(level=os.environ.get("LOGLEVEL", "CRITICAL"), stream=sys.stderr)
    fake = subprocess.Popen([sys.executable, str(HERE / "fake_livekit.py")], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    url = "ws://127.0.0.1:%d" % json.loads(fake.stdout.readline())["port"]
    server = AgentServer(
        job_executor_type=JobExecutorType.THREAD if args.executor == "thread" else JobExecutorType.PROCESS,
        ws_url=url, api_key="devkey", api_secret="secret-for-tests-only-0123456789abcdef", num_idle_processes=0,
        initialize_process_timeout=60.0, load_threshold=float("inf"), host="127.0.0.1", port=0, setup_fnc=prewarm)
    server.rtc_session(entrypoint)
    with contextlib.suppress(ImportError):      # the end-of-turn model's process would need the network
        from livekit.agents.inference_runner import _InferenceRunner
        _InferenceRunner.registered_runners.clear()
    running = asyncio.ensure_future(server.run(devmode=True))
    say("ready", pid=os.getpid(), python=sys.version.split()[0])
    for number in range(args.jobs):
        fake.stdin.write(json.dumps({"id": "AJ_job%d" % number, "number": number}) + "\n")
        fake.stdin.flush()

    def wait_for_the_end():
        sys.stdin.read()
        # The jobs' processes end when their pipe does.
        os._exit(0)
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await running


if __name__ == "__main__":
    asyncio.run(main())
