#!/usr/bin/env python3
"""A real OpenRTC worker whose sessions are known: what the live tests hold otop's answers against.

Real: AgentPool, its server and coroutine pool, run_session (which binds the context variables), livekit-agents'
AgentServer over a real websocket, AgentSession, RoomIO, Silero VAD. Stand-ins: fake_livekit.py for the server,
offline.py for room and providers. Introspection is off unless asked for. It knows nothing of otop.

Its truth is one JSON object per line on stdout. Events: ready (always the first), session_start (the agent is on the
call), started (the --sessions are all live), session_end (the pool let the job go), block_start, block_end, pool, cpu,
ok, error, bye.

Commands on stdin, a line each:
    start SID AGENT TENANT [MODE]    -> session_start. MODE: plain; fail (the agent cannot be built: only session_end);
                                        held (stays in its start, in the root task, until `go`, 5 s at most)
    go SID                           -> ok
    end SID                          -> session_end, when the pool has let it go
    block SID MS KIND WHERE          -> block_start, block_end. WHERE: child, callback, timer, to_thread, executor;
                                        main: a held session's root task; closing: the root task, while the call closes
    busy SID PCT STEP_MS, threads SID PCT    -> ok
    pool                             -> pool: what `openrtc top` would show if it could. From the pool's own records,
                                        by a thread of its own, so it is answered while the loop is stuck
    drain, cpu, quit                 -> drain, cpu, bye
"""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import contextvars
import json
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import sessions as base

HERE = Path(__file__).resolve().parent
PLACES = ["child", "main", "callback", "timer", "to_thread", "executor", "closing"]
ARGS: argparse.Namespace
POOL = None                          # the AgentPool
LOOP: asyncio.AbstractEventLoop
SERVER: subprocess.Popen
CALLS: dict[str, "Call"] = {}        # by job id, from the moment that OpenRTC made the session's record


class Call:
    """Our side of one session: its orders, and OpenRTC's own record of it."""

    def __init__(self, ctx, info) -> None:
        self.ctx, self.info, self.sid = ctx, info, info.job_id
        self.orders: asyncio.Queue = asyncio.Queue()
        self.held: asyncio.Queue = asyncio.Queue()
        self.thread_on = threading.Event()
        self.hog: asyncio.Task | None = None
        self.kids: list[asyncio.Task] = []
        self.closing_block = None

    def spawn(self, coro) -> asyncio.Task:
        self.kids.append(asyncio.create_task(coro))
        return self.kids[-1]

    async def work(self) -> None:
        """A child task of the session, as an agent's own background work is: everything starts from here."""
        try:
            while True:
                order, args = await self.orders.get()
                if order == "end":
                    return
                getattr(self, order)(*args)
        finally:
            self.thread_on.clear()
            for kid in self.kids:
                kid.cancel()
            self.ctx.room.hang_up()

    def busy(self, pct: float, step_ms: float) -> None:
        if self.hog:
            self.hog.cancel()
        self.hog = self.spawn(base.Session.cooperative(self, pct, step_ms)) if pct else None

    def threads(self, pct: float) -> None:
        self.thread_on.clear()
        if pct:
            self.thread_on = threading.Event()
            self.thread_on.set()
            self.spawn(asyncio.to_thread(base.Session.thread_work, self, pct, self.thread_on))

    def block(self, ms: float, kind: str, where: str) -> None:
        args = (self.sid, ms, kind, where)
        loop = asyncio.get_running_loop()
        if where == "child":
            base.blocking_call(*args)
        elif where == "callback":
            loop.call_soon(base.blocking_call, *args)
        elif where == "timer":
            loop.call_later(0.01, base.blocking_call, *args)
        elif where == "to_thread":
            self.spawn(asyncio.to_thread(base.blocking_call, *args))
        elif where == "executor":
            loop.run_in_executor(None, base.blocking_call, *args)
        elif where == "closing":
            self.closing_block = args


# ---- the agents, and what we see of OpenRTC -----------------------------------------------------

def mode_of(ctx) -> str:
    return json.loads(ctx.job.metadata).get("mode", "plain")


def make_agents() -> dict:
    from livekit.agents import Agent, get_job_context

    class Worker(Agent):
        def __init__(self) -> None:
            # OpenRTC builds the agent in the session's root task, with the ids bound.
            super().__init__(instructions="You are a test agent.")
            if mode_of(get_job_context()) == "fail":
                raise RuntimeError("this session fails on purpose")

        async def on_enter(self) -> None:
            call = CALLS[get_job_context().job.id]
            call.work_task = asyncio.create_task(call.work(), name="work-" + call.sid)
            if ARGS.speak:
                call.spawn(self.chatter())
            base.truth("session_start", sid=call.sid, agent=call.info.agent_name, tenant=call.info.tenant,
                       started_at=call.info.started_at)
            start_churn(call)

        async def chatter(self) -> None:
            while True:
                await asyncio.sleep(random.uniform(1, 4))
                await self.session.say("one two three four five six seven eight nine ten")

    return {name: type(name.title(), (Worker,), {}) for name in ARGS.agents}


class Observer:
    """OpenRTC runs it in the session's root task (from 3.12 on; 3.11's wait_for makes a task of it)."""

    async def on_session_start(self, info, session) -> None:
        call = CALLS[info.job_id]

        async def before_the_end(_reason: str = "") -> None:
            if call.closing_block:
                base.blocking_call(*call.closing_block)

        call.ctx.add_shutdown_callback(before_the_end)
        if mode_of(call.ctx) == "held":
            while True:
                args = await call.held.get()
                if args is None:
                    return
                base.blocking_call(*args)

    async def on_session_end(self, info, outcome) -> None:
        pass


def watch_openrtc() -> None:
    """Keeps OpenRTC's record of each session from its making on, and tells when the pool lets a job go."""
    import openrtc.core.wiring as wiring
    import openrtc.runtime.coroutine_runtime as runtime
    build, done = wiring.build_session, runtime.CoroutinePool._on_executor_done

    def build_session(runtime_state, ctx):
        made = build(runtime_state, ctx)
        CALLS[made[2].job_id] = Call(ctx, made[2])
        return made

    def on_executor_done(pool, executor):
        known = executor in pool._executors
        done(pool, executor)
        if known:
            sid = executor.running_job.job.id
            CALLS.pop(sid, None)
            base.truth("session_end", sid=sid, status=executor.status.value)
            if ARGS.churn and not pool._draining:
                offer()

    wiring.build_session = build_session
    runtime.CoroutinePool._on_executor_done = on_executor_done


def pool_truth() -> dict:
    pool = POOL.server.coroutine_pool
    metrics = POOL._runtime_state.metrics
    now, rows = time.time(), []
    for executor in list(pool._executors) if pool else []:
        sid = executor.running_job.job.id
        call = CALLS.get(sid)
        info = call.info if call else None
        primary = getattr(call.ctx, "_primary_agent_session", None) if call else None
        if call is None:
            stage = "building"
        elif getattr(call.ctx, "_openrtc_session_finish", None) is None and not getattr(primary, "_closing", False):
            stage = "starting"           # connecting, observers, greeting: the root task still has the ids
        elif primary._closing:
            stage = "closing"
        else:
            stage = "running"
        rows.append({"sid": sid, "agent": info and info.agent_name, "tenant": info and info.tenant,
                     "started_at": info and info.started_at, "duration_s": info and now - info.started_at,
                     "status": executor.status.value, "stage": stage})
    return {"now": now, "sessions": rows, "draining": bool(pool and pool.draining),
            "max_sessions": pool and pool.max_concurrent_sessions, "started": metrics.total_sessions_started,
            "failed": metrics.total_session_failures, "last_error": metrics.last_error,
            "uptime_s": time.monotonic() - metrics.started_at}


# ---- starting sessions --------------------------------------------------------------------------

_SERIAL = [0]
_OFFER = threading.Lock()


def offer(sid=None, agent=None, tenant=None, mode="plain") -> str:
    with _OFFER:
        i = _SERIAL[0]
        _SERIAL[0] += 1
        if mode == "plain" and sid is None and ARGS.fail_every and (i + 1) % ARGS.fail_every == 0:
            mode = "fail"
        sid = sid or "AJ_%03d%s" % (i, "".join(random.choices("abcdefghijkmnpqrstuvwxyz", k=9)))
        order = {"id": sid, "agent": agent or ARGS.agents[i % len(ARGS.agents)],
                 "tenant": tenant or ARGS.tenants[i % len(ARGS.tenants)], "mode": mode}
        SERVER.stdin.write(json.dumps(order) + "\n")
        SERVER.stdin.flush()
    return sid


def start_churn(call: Call) -> None:
    if ARGS.churn:
        asyncio.get_running_loop().call_later(
            random.uniform(0.5, 1.5) * ARGS.churn, call.orders.put_nowait, ("end", ()), context=contextvars.Context())


async def drive() -> None:
    """Ready, the first sessions, and then the workload that the options ask for. It carries no id."""
    global LOOP
    LOOP = asyncio.get_running_loop()
    base.truth("ready", pid=os.getpid(), native_tid=threading.get_native_id(), python=sys.version.split()[0],
               loop="uvloop" if "uvloop" in type(LOOP).__module__ else "asyncio", socket=str(ARGS.socket or ""))
    threading.Timer(ARGS.duration, leave).start()
    threading.Thread(target=control, name="control", daemon=True).start()
    first = []
    for _ in range(ARGS.sessions):
        first.append(offer())
        await asyncio.sleep(0.1)
    may_fail = {sid for i, sid in enumerate(first) if ARGS.fail_every and (i + 1) % ARGS.fail_every == 0}
    while not ARGS.churn and any(getattr(CALLS.get(sid), "work_task", None) is None for sid in first
                                 if sid not in may_fail):
        await asyncio.sleep(0.02)
    for index, pct in ARGS.busy.items():
        CALLS[first[index]].orders.put_nowait(("busy", (pct, ARGS.step_ms)))
    base.truth("started", sessions=len(first), sids=first)
    while True:
        await asyncio.sleep(ARGS.block_every)
        if ARGS.block_session is not None:
            CALLS[first[ARGS.block_session]].orders.put_nowait(
                ("block", (ARGS.block_ms, ARGS.block_kind, ARGS.block_where)))


# ---- control ------------------------------------------------------------------------------------

def obey(words: list[str]) -> None:
    cmd, args = words[0], words[1:]
    if cmd == "pool":
        base.truth("pool", **pool_truth())
    elif cmd == "cpu":
        base.truth("cpu", process=round(time.process_time(), 6),
                   sessions={sid: round(s, 6) for sid, s in dict(base.CPU).items()})
    elif cmd == "quit":
        leave()
    elif cmd == "drain":
        LOOP.call_soon_threadsafe(lambda: (POOL.begin_drain(), base.truth("drain")))
    elif cmd == "start":
        offer(*args)
    elif cmd in ("end", "go", "busy", "threads", "block"):
        call = CALLS[args[0]]
        queue, order = call.orders, (cmd, tuple(float(word) for word in args[1:] if cmd != "block"))
        if cmd == "block":
            ms, kind, where = args[1:]
            if kind not in base.BLOCK_KINDS or where not in PLACES:
                raise ValueError("no such kind or place of block")
            base.calibrate(ballast=kind == "gc")
            order = ("block", (float(ms), kind, where))
            if where == "main":
                queue, order = call.held, (call.sid, float(ms), kind, where)
        elif cmd == "go":
            queue, order = call.held, None
        LOOP.call_soon_threadsafe(queue.put_nowait, order)
        if cmd in ("go", "busy", "threads"):
            base.truth("ok", cmd=cmd, sid=call.sid)
    else:
        raise ValueError("no such command")


def control() -> None:
    for line in sys.stdin:
        try:
            if line.strip():
                obey(line.split())
        except Exception as e:      # a test's own mistake must not look like a worker that hangs
            base.truth("error", cmd=line.strip(), why="%s: %s" % (type(e).__name__, e))
    leave()


def leave() -> None:
    try:
        base.truth("bye")
    except OSError:
        pass            # who listened is gone, and that is often why we leave
    os._exit(0)


# ---- running it ---------------------------------------------------------------------------------

def start_fake_server() -> str:
    """The server dies with us: its stdin ends."""
    global SERVER
    SERVER = subprocess.Popen([sys.executable, str(HERE / "fake_livekit.py")], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    return "ws://127.0.0.1:%d" % json.loads(SERVER.stdout.readline())["port"]


def no_inference_process() -> None:
    """The end-of-turn model's own process would need a model from the network; OpenRTC then uses VAD by itself."""
    from livekit.agents.inference_runner import _InferenceRunner
    with contextlib.suppress(Exception):
        import livekit.plugins.turn_detector.multilingual  # noqa: F401
    _InferenceRunner.registered_runners.clear()


async def main_async() -> None:
    if ARGS.loop_monitor == "on":     # what livekit's own `start` and `dev` do
        from livekit.agents.telemetry import loop_monitor
        loop_monitor.start_monitoring(asyncio.get_running_loop(), name="worker", emit_spans=False)
    server = asyncio.create_task(POOL.server.run(devmode=True), name="server.run")
    driver = asyncio.create_task(drive(), name="drive")
    await asyncio.wait({server, driver}, return_when=asyncio.FIRST_COMPLETED)
    for task in (server, driver):
        if task.done():
            task.result()             # neither ends by itself: say why


def run_cli() -> None:
    """The production way: pool.run(), which is livekit's `start` command with its loop, logs and stall watchdog."""
    POOL.server.once("worker_started", lambda: setattr(ARGS, "driver", asyncio.create_task(drive(), name="drive")))
    sys.argv = [sys.argv[0], "start"]
    POOL.run()


def main() -> None:
    global ARGS, POOL
    words = lambda text: text.split(",")  # noqa: E731
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    p.add_argument("--sessions", type=int, default=4)
    p.add_argument("--max-sessions", type=int, default=50)
    p.add_argument("--agents", type=words, default=["restaurant", "dental"])
    p.add_argument("--tenants", type=words, default=["acme", "globex", "default"])
    p.add_argument("--busy", action="append", default=[], metavar="I:PCT", help="session I is a cooperative hog")
    p.add_argument("--step-ms", type=float, default=2.0)
    p.add_argument("--block-session", type=int, metavar="I")
    p.add_argument("--block-ms", type=float, default=320.0)
    p.add_argument("--block-every", type=float, default=2.0)
    p.add_argument("--block-kind", choices=base.BLOCK_KINDS, default="sleep")
    p.add_argument("--block-where", choices=["child", "callback", "timer", "to_thread", "executor"], default="child")
    p.add_argument("--churn", type=float, default=0.0, metavar="S", help="mean life of a session; others follow it")
    p.add_argument("--fail-every", type=int, default=0, metavar="N", help="every Nth session cannot be built")
    p.add_argument("--greeting", type=float, default=0.0, metavar="S", help="sessions greet, for that long")
    p.add_argument("--speak", action="store_true", help="sessions speak now and then")
    p.add_argument("--introspection", choices=["on", "off"], default="off")
    p.add_argument("--socket", type=Path, help="the introspection socket's path")
    p.add_argument("--loop-monitor", choices=["on", "off"], default="off", help="livekit-agents' own stall watchdog")
    p.add_argument("--cli", action="store_true", help="run through pool.run() and livekit's `start` command")
    p.add_argument("--for", dest="duration", type=float, default=900.0, metavar="S", help="exit after that long")
    ARGS = p.parse_args()
    ARGS.busy = {int(i): float(v) for i, _, v in (text.partition(":") for text in ARGS.busy)}
    base.calibrate(ballast=ARGS.block_kind == "gc")
    os.environ.update(LIVEKIT_URL=start_fake_server(), LIVEKIT_API_KEY="devkey",
                      LIVEKIT_API_SECRET="secret-for-tests-only-0123456789abcdef")

    import logging

    import openrtc.runtime.coroutine_runtime as runtime
    from offline import FakeLLM, FakeSTT, FakeTTS, OfflineRoom
    from openrtc import AgentPool
    from openrtc.runtime.event_loop import use_uvloop
    logging.basicConfig(level=os.environ.get("LOGLEVEL", "CRITICAL"), stream=sys.stderr)
    runtime.rtc.Room = OfflineRoom
    watch_openrtc()
    POOL = AgentPool(
        agents=make_agents(), default_stt=FakeSTT(), default_llm=FakeLLM(ARGS.greeting or 0.5), default_tts=FakeTTS(),
        default_greeting="Greet the caller." if ARGS.greeting else None, observers=[Observer()],
        max_concurrent_sessions=ARGS.max_sessions, consecutive_failure_limit=1000000,
        enable_introspection=ARGS.introspection == "on", introspection_socket_path=ARGS.socket,
        port=random.randint(20000, 30000) if ARGS.cli else None)
    no_inference_process()
    if ARGS.cli:
        os.environ["OPENRTC_UVLOOP"] = "1" if ARGS.loop == "uvloop" else "0"
        run_cli()
    else:
        if ARGS.loop == "uvloop":
            use_uvloop()
        asyncio.run(main_async())


if __name__ == "__main__":
    main()
