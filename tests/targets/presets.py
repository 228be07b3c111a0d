#!/usr/bin/env python3
"""Small programs, one per package that keeps an id of its own in a contextvar (or a frame), each as its users write it.

    presets.py PACKAGE [PACKAGE]     two at once: the first one's sessions, run inside of the second one's

Three sessions, each in a task that waits; prints ready with their ids (and agents and tenants, where the package has
them), and ends with its stdin. The packages are those of presets-requirements.txt. It knows nothing of otop.
"""
import asyncio
import contextlib
import json
import os
import sys
import threading
import uuid

COUNT = 3
READY = []                  # a session that has its id and waits now
END = None
TRUTH = {}                  # sid -> [agent, tenant]


async def wait(sid, agent=None, tenant=None):
    """What a session does."""
    TRUTH[sid] = [agent, tenant]
    child = asyncio.ensure_future(END.wait())
    READY.append(sid)
    await child


def sid_of(i):
    return "session-%d" % i


def agent_of(i):
    return "agent-%d" % (i % 2)


def tenant_of(i):
    return "tenant-%d" % i


async def asgi(app, headers=(), path="/"):
    """One HTTP request, without a server."""
    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
             "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
             "headers": [(b"host", b"here")] + [(k.encode(), v.encode()) for k, v in headers],
             "client": ("127.0.0.1", 1), "server": ("here", 80)}

    async def receive():
        await END.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        pass
    await app(scope, receive, send)


# ---- one function per package: session number i, whose inside is `work` ---------------------------------------------

async def structlog(i, work):
    from structlog.contextvars import bind_contextvars
    bind_contextvars(session_id=sid_of(i), agent=agent_of(i), tenant=tenant_of(i), other=i)
    await work(sid_of(i), agent_of(i), tenant_of(i))


async def structlog_handoff(i, work):
    """Two agents at work in one session, each in a task of its own; the tenant is the session's."""
    from structlog.contextvars import bind_contextvars
    bind_contextvars(session_id=sid_of(i), tenant=tenant_of(i))

    async def at_work(agent):
        bind_contextvars(agent=agent)
        await END.wait()
    others = [asyncio.ensure_future(at_work("agent-%d" % n)) for n in range(2)]
    await work(sid_of(i), "? agent-0 | agent-1", tenant_of(i))
    await asyncio.gather(*others)


async def structlog_request(i, work):
    from structlog.contextvars import bind_contextvars
    bind_contextvars(request_id="req-%d" % i)
    await work("req-%d" % i)


async def loguru(i, work):
    from loguru import logger
    with logger.contextualize(session_id=sid_of(i), agent=agent_of(i), tenant=tenant_of(i)):
        await work(sid_of(i), agent_of(i), tenant_of(i))


async def loguru_other(i, work):
    """Says another session than the others do."""
    from loguru import logger
    with logger.contextualize(session_id="other-%d" % i):
        await work("other-%d" % i)


async def loguru_tenant(i, work):
    """Agrees on the session and the agent, and not on the tenant."""
    from loguru import logger
    with logger.contextualize(session_id=sid_of(i), agent=agent_of(i), tenant="nobody"):
        await work(sid_of(i), agent_of(i), "nobody")


_OTEL = []


def tracer():
    if not _OTEL:
        from opentelemetry.sdk.trace import TracerProvider
        _OTEL.append(TracerProvider().get_tracer("presets"))
    return _OTEL[0]


async def opentelemetry(i, work):
    with tracer().start_as_current_span("call") as span:
        await work("%032x" % span.get_span_context().trace_id)


async def opentelemetry_api(i, work):
    """The API alone, as a library uses it where nobody set up an SDK: all spans are one, which is invalid."""
    from opentelemetry import trace
    with trace.get_tracer("presets").start_as_current_span("call"):
        await work(sid_of(i))


async def opentelemetry_baggage(i, work):
    from opentelemetry import baggage, context
    with tracer().start_as_current_span("call"):
        at = baggage.set_baggage("session.id", sid_of(i))
        at = baggage.set_baggage("agent.name", agent_of(i), at)
        token = context.attach(baggage.set_baggage("tenant.id", tenant_of(i), at))
        try:
            await work(sid_of(i), agent_of(i), tenant_of(i))
        finally:
            context.detach(token)


async def asgi_correlation_id(i, work):
    from asgi_correlation_id import CorrelationIdMiddleware
    rid = uuid.uuid4().hex

    async def app(scope, receive, send):
        await work(rid)
    await asgi(CorrelationIdMiddleware(app), [("x-request-id", rid)])


async def starlette_context(i, work):
    from starlette_context import plugins
    from starlette_context.middleware import RawContextMiddleware
    rid = str(uuid.uuid4())

    async def app(scope, receive, send):
        await work(rid)
    await asgi(RawContextMiddleware(app, plugins=(plugins.RequestIdPlugin(),)), [("x-request-id", rid)])


async def starlette_context_session(i, work):
    from starlette_context import context, plugins
    from starlette_context.middleware import RawContextMiddleware

    async def app(scope, receive, send):
        context["session_id"] = sid_of(i)
        await work(sid_of(i))
    await asgi(RawContextMiddleware(app, plugins=(plugins.RequestIdPlugin(),)))


async def sentry(i, work):
    import sentry_sdk as sdk
    with sdk.isolation_scope():
        with sdk.start_transaction(op="call", name="call") as transaction:
            await work(transaction.trace_id)


async def sentry_requests(i, work):
    """Errors alone, no tracing, as its middleware for ASGI does it."""
    from sentry_sdk.integrations.asgi import SentryAsgiMiddleware

    async def app(scope, receive, send):
        await work(sentry_sdk.get_current_scope().span.trace_id)
    import sentry_sdk
    await asgi(SentryAsgiMiddleware(app))


async def sentry_tags(i, work):
    import sentry_sdk as sdk
    with sdk.isolation_scope() as scope:
        scope.set_tag("session_id", sid_of(i))
        scope.set_tag("tenant", tenant_of(i))
        await work(sid_of(i), None, tenant_of(i))


async def langgraph(i, work):
    import typing
    from langgraph.graph import END as STOP, START, StateGraph

    class State(typing.TypedDict):
        n: int

    async def answer(state):
        await work("thread-%d" % i)
        return {"n": 1}

    async def research(state):      # beside it, in the same run: two nodes are not two agents
        await END.wait()
        return {}
    graph = StateGraph(State)
    for node in answer, research:
        graph.add_node(node.__name__, node)
        graph.add_edge(START, node.__name__)
        graph.add_edge(node.__name__, STOP)
    await graph.compile().ainvoke({"n": 0}, config={"configurable": {"thread_id": "thread-%d" % i}})


async def langchain(i, work):
    from langchain_core.runnables import RunnableLambda

    async def answer(n):
        await work("chat-%d" % i, agent_of(i))
        return n
    chain = RunnableLambda(answer)
    await chain.ainvoke(1, config={"configurable": {"session_id": "chat-%d" % i}, "metadata": {"agent_name": agent_of(i)}})


async def quart(i, work):
    import quart as q
    app = q.Quart("presets")

    @app.route("/")
    async def handle():
        q.g.session_id = sid_of(i)
        q.g.tenant = tenant_of(i)
        await work(sid_of(i), None, tenant_of(i))
        return ""
    await app.test_client().get("/")


async def flask(i, work):
    import flask as f
    app = f.Flask("presets")
    with app.app_context():
        f.g.session_id = sid_of(i)
        f.g.agent = agent_of(i)
        await work(sid_of(i), agent_of(i))


def mcp_server(work):
    """With one tool; a session is called as its connection is, or by where that lies."""
    try:
        from mcp.server.mcpserver import Context, MCPServer as Server
    except ImportError:             # 1.x
        from mcp.server.fastmcp import Context, FastMCP as Server
    server = Server("presets")

    async def look_up(ctx) -> str:
        connection = getattr(ctx.request_context.session, "_connection", ctx.request_context.session)
        sid = getattr(connection, "session_id", None)
        await work(sid or "%s at %#x" % (type(connection).__name__, id(connection)))
        return ""
    look_up.__annotations__["ctx"] = Context
    server.tool()(look_up)
    return server


async def mcp(i, work):
    """A tool that is called by three clients, over streams as a transport gives them."""
    from mcp import ClientSession
    from mcp.shared.memory import create_client_server_memory_streams
    server = mcp_server(work)
    inner = getattr(server, "_lowlevel_server", None) or server._mcp_server
    async with create_client_server_memory_streams() as (client, (read, write)):
        serving = asyncio.ensure_future(inner.run(read, write, inner.create_initialization_options()))
        async with ClientSession(*client) as session:
            await session.initialize()
            await session.call_tool("look_up", {})
        serving.cancel()


async def mcp_http(i, work):
    """The same over HTTP; each of the three has a request of the same number."""
    if i:
        return
    import socket
    import uvicorn
    from mcp import ClientSession
    try:
        from mcp.client.streamable_http import streamable_http_client as connect
    except ImportError:             # 1.x
        from mcp.client.streamable_http import streamablehttp_client as connect
    server = mcp_server(work)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    serving = uvicorn.Server(uvicorn.Config(server.streamable_http_app(), log_level="error"))
    asyncio.ensure_future(serving.serve(sockets=[listener]))
    while not serving.started:
        await asyncio.sleep(0.02)

    async def client():
        async with connect("http://127.0.0.1:%d/mcp" % listener.getsockname()[1]) as streams:
            async with ClientSession(streams[0], streams[1]) as session:
                await session.initialize()
                await session.call_tool("look_up", {})
    await asyncio.gather(*[client() for _ in range(COUNT)])


async def arq(i, work):
    if i:
        return
    import fakeredis.aioredis
    from arq import create_pool, func
    from arq.connections import ArqRedis
    from arq import worker as module

    async def no_info(*args):       # which the stand-in for redis does not have
        pass
    module.log_redis_info = no_info
    pool = ArqRedis(connection_pool=fakeredis.aioredis.FakeRedis().connection_pool)

    async def look_up(ctx):
        await work(ctx["job_id"], "look_up")
    for n in range(COUNT):
        await pool.enqueue_job("look_up", _job_id="job-%d" % n)
    worker = module.Worker(functions=[func(look_up, name="look_up")], redis_pool=pool, handle_signals=False, poll_delay=0.05)
    await worker.main()


async def dramatiq(i, work):
    if i:
        return
    import dramatiq as d
    from dramatiq.brokers.stub import StubBroker
    from dramatiq.middleware import AsyncIO, CurrentMessage
    broker = StubBroker(middleware=[AsyncIO(), CurrentMessage()])
    d.set_broker(broker)
    ours = asyncio.get_running_loop()

    @d.actor(actor_name="look_up")
    async def look_up():
        mid = CurrentMessage.get_current_message().message_id
        TRUTH[mid] = ["look_up", None]
        ours.call_soon_threadsafe(READY.append, mid)
        await asyncio.sleep(3600)
    messages = [look_up.message() for _ in range(COUNT)]
    broker.declare_queue(look_up.queue_name)
    worker = d.Worker(broker, worker_threads=COUNT)
    worker.start()
    for message in messages:
        broker.enqueue(message)
    await END.wait()


def set_up(name):
    """What a program does before its first session."""
    if name.startswith("sentry"):
        import sentry_sdk
        from sentry_sdk.integrations.asyncio import AsyncioIntegration
        rate = None if name == "sentry_requests" else 1.0
        sentry_sdk.init(dsn="http://key@127.0.0.1:9/1", default_integrations=False, traces_sample_rate=rate,
                        integrations=[AsyncioIntegration()])


async def metrics():
    """Work of no session, which has what the whole program has."""
    while True:
        await asyncio.sleep(0.05)


PACKAGES = {name: value for name, value in list(globals().items())
            if asyncio.iscoroutinefunction(value) and name not in ("wait", "asgi", "metrics")}


async def main(names):
    global END
    END = asyncio.Event()
    for name in names:
        set_up(name)
    of_no_session = asyncio.ensure_future(metrics())

    def session(i):
        run = PACKAGES[names[0]]
        if len(names) == 1:
            return run(i, wait)

        async def inside(sid, agent=None, tenant=None):
            await run(i, wait)
        return PACKAGES[names[1]](i, inside)
    tasks = [asyncio.ensure_future(session(i)) for i in range(COUNT)]
    while len(READY) < COUNT:
        for task in tasks:
            if task.done() and task.exception():
                raise task.exception()
        await asyncio.sleep(0.02)
    print(json.dumps({"ev": "ready", "pid": os.getpid(), "python": sys.version.split()[0],
                      "sessions": [{"sid": sid, "agent": agent, "tenant": tenant}
                                   for sid, (agent, tenant) in TRUTH.items()]}), flush=True)

    def wait_for_the_end():
        sys.stdin.read()
        os._exit(0)                 # some of these have threads that wait for ever
    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
