#!/usr/bin/env python3
"""A real pool of web workers, and clients that wait for their answers: each request is a session of one worker.

    asgi_pool.py gunicorn|uvicorn

The server is started as in production, with three workers of this file's `app`, whose requests have ids by
asgi-correlation-id. Prints ready with the server's process and, for each request, its id and the process that holds it.
Command on stdin: `replace PID` ends that worker as a crash does, waits until the server has put another in its place, and
prints replaced with the requests that are held then. Ends with its stdin, and the server too. It knows nothing of otop.
"""
import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time

WORKERS, EACH = 3, 4         # and how many requests each of them holds at most


async def hold(scope, receive, send):
    """Says at once which process has the request, and then no more until the client leaves."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d\n" % os.getpid(), "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass


def application():
    from asgi_correlation_id import CorrelationIdMiddleware
    inner = CorrelationIdMiddleware(hold, validator=None)

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await inner(scope, receive, send)
    return app


if __name__ != "__main__":
    app = application()


class Clients:
    def __init__(self, port):
        self.port, self.held, self.count = port, {}, 0

    def ask(self):
        """One more request. None: nobody answers (yet)."""
        sid = "request-%d" % self.count
        self.count += 1
        try:
            sock = socket.create_connection(("127.0.0.1", self.port), timeout=5)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\nX-Request-ID: %s\r\n\r\n" % sid.encode())
            answer = b""
            while not answer.partition(b"\r\n\r\n")[2].count(b"\n") >= 2:
                more = sock.recv(4096)
                if not more:
                    return None
                answer += more
        except OSError:
            return None
        # One chunk: its length, and the number of the process.
        pid = int(answer.partition(b"\r\n\r\n")[2].split(b"\r\n")[1])
        if sum(holder == pid for holder, _ in self.held.values()) < EACH:
            self.held[sid] = (pid, sock)
        else:
            sock.close()
        return pid

    def until(self, enough):
        while not enough({pid for pid, _ in self.held.values()}):
            if self.ask() is None:
                time.sleep(0.05)

    def say(self, event, **facts):
        held = {sid: pid for sid, (pid, _) in self.held.items()}
        print(json.dumps({"ev": event, "held": held, **facts}), flush=True)


def end_with_us(group):
    """A process that outlives this one by a moment, however it ends, and takes the server and its workers with it."""
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.close(theirs)
        for inherited in (0, 1, 2):
            os.close(inherited)
        os.read(ours, 1)
        os.killpg(group, signal.SIGKILL)
        os._exit(0)
    os.close(ours)
    return theirs


def main():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = {
        "uvicorn": ["uvicorn", "asgi_pool:app", "--workers", str(WORKERS), "--port", str(port), "--log-level", "error"],
        "gunicorn": ["gunicorn", "asgi_pool:app", "-w", str(WORKERS), "-k", "uvicorn_worker.UvicornWorker",
                     "-b", "127.0.0.1:%d" % port, "--log-level", "error"],
    }[sys.argv[1]]
    server = subprocess.Popen([sys.executable, "-m", *command], cwd=os.path.dirname(os.path.abspath(__file__)),
                              stdin=subprocess.DEVNULL, stdout=sys.stderr, start_new_session=True)
    _ = end_with_us(server.pid)
    clients = Clients(port)
    clients.until(lambda pids: len(pids) >= WORKERS)
    clients.say("ready", pid=os.getpid(), server=server.pid)
    for line in sys.stdin:
        old = int(line.split()[1])
        before = {pid for pid, _ in clients.held.values()}
        os.kill(old, signal.SIGKILL)
        for sid in [sid for sid, (pid, _) in clients.held.items() if pid == old]:
            clients.held.pop(sid)[1].close()
        clients.until(lambda pids: pids - before)
        clients.say("replaced")


if __name__ == "__main__":
    main()
