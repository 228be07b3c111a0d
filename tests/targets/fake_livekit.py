#!/usr/bin/env python3
"""A stand-in for the LiveKit server's worker side: enough of its /agent websocket that a real worker registers, is
offered jobs, accepts them and is assigned them. No media, no rooms. Started by openrtc_worker.py; knows nothing of otop.

It prints {"port": …} and then takes jobs on stdin, one JSON object per line, which becomes the job's metadata; "id" is
the job's id. Jobs wait until a worker has registered. When stdin ends, so does it.
"""
from __future__ import annotations

import asyncio
import json
import os
import sys
import threading

from aiohttp import WSMsgType, web
from livekit import api
from livekit.protocol import agent, models

KEY, SECRET = "devkey", "secret-for-tests-only-0123456789abcdef"


class Dispatcher:
    def __init__(self) -> None:
        self.orders: asyncio.Queue[dict] = asyncio.Queue()
        self.jobs: dict[str, agent.Job] = {}

    def job(self, order: dict) -> agent.Job:
        room = models.Room(sid="RM_" + order["id"], name="room-of-" + order["id"])
        job = agent.Job(id=order["id"], type=agent.JobType.JT_ROOM, room=room,
                        metadata=json.dumps(order), dispatch_id="AD_" + order["id"])
        self.jobs[job.id] = job
        return job

    async def offer(self, ws: web.WebSocketResponse) -> None:
        while True:
            message = agent.ServerMessage()
            message.availability.job.CopyFrom(self.job(await self.orders.get()))
            await ws.send_bytes(message.SerializeToString())

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        async for raw in ws:
            if raw.type is not WSMsgType.BINARY:
                break
            message, out = agent.WorkerMessage(), agent.ServerMessage()
            message.ParseFromString(raw.data)
            kind = message.WhichOneof("message")
            if kind == "register":
                out.register.worker_id = "AW_fake000000"
                out.register.server_info.version = "0.0-fake"
                await ws.send_bytes(out.SerializeToString())
                asyncio.get_running_loop().create_task(self.offer(ws))
            elif kind == "availability" and message.availability.available:
                job = self.jobs[message.availability.job_id]
                out.assignment.job.CopyFrom(job)
                out.assignment.token = (
                    api.AccessToken(KEY, SECRET).with_identity(message.availability.participant_identity or "agent")
                    .with_kind("agent").with_grants(api.VideoGrants(room_join=True, room=job.room.name, agent=True))
                    .to_jwt())
                await ws.send_bytes(out.SerializeToString())
        return ws


async def main() -> None:
    dispatcher, loop = Dispatcher(), asyncio.get_running_loop()
    app = web.Application()
    app.router.add_get("/agent", dispatcher.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps({"port": site._server.sockets[0].getsockname()[1]}), flush=True)

    def read_orders() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(dispatcher.orders.put_nowait, json.loads(line))
        os._exit(0)

    threading.Thread(target=read_orders, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
