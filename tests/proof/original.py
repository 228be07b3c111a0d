"""otop beside the original: what OpenRTC's own introspection says of its sessions, at its socket, and what otop says of the
same worker from outside, against the worker's own clocks. Knows nothing of costs.
"""
import json
import os
import socket
import tempfile
import time

from .worker import CACHE, Otop, Worker

BUSY = 30.0


def python():
    """A Python with OpenRTC; None: there is none."""
    try:
        with open(os.environ.get("OTOP_OPENRTC") or os.path.join(CACHE, "openrtc.json")) as file:
            return next((entry for entry in json.load(file) if entry["minor"] == "3.12"), None)
    except OSError:
        return None


def served(path):
    """One answer of the worker's own introspection; None: it does not answer within two seconds, as `openrtc top` waits."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(2.0)
            client.connect(path)
            text = b""
            while not text.endswith(b"\n"):
                more = client.recv(1 << 16)
                if not more:
                    break
                text += more
        return json.loads(text.splitlines()[0])
    except (OSError, ValueError, IndexError):
        return None


class OpenrtcWorker(Worker):
    """It takes its orders in plain words."""

    def tell(self, *words):
        self.child.stdin.write(" ".join(str(word) for word in words) + "\n")
        self.child.stdin.flush()

    def ask(self, ev, *words):
        self.tell(*words)
        return self.until(ev)


def slow(document):
    return sorted(row["session_id"] for row in document["sessions"] if row["status"] == "slow") if document else None


def compare(bench, seconds, blocks):
    """Rows of the bench: a cooperative hog's share, and who is called slow behind blocks from three places."""
    found = python()
    if not found:
        return bench.row("the original", "openrtc", "not installed: scripts/pythons --all")
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "top.sock")
        args = ["--sessions", "4", "--introspection", "on", "--socket", path]
        with OpenrtcWorker(found, "asyncio", "openrtc_worker.py", args) as target, \
                Otop(bench.otop, target.pid, var=None) as otop:
            sids = target.until("started")["sids"]
            for step_ms in (1.0, 8.0):
                share(bench, target, otop, path, sids[1], step_ms, seconds)
            for place, kind in (("child", "sleep"), ("callback", "sleep"), ("to_thread", "c")):
                blame(bench, target, otop, path, sids[2], place, kind, blocks)
    return None


def share(bench, target, otop, path, sid, step_ms, seconds):
    target.ask("ok", "busy", sid, BUSY, step_ms)
    otop.settle()
    said, truth, began = otop.cpu()[sid], target.ask("cpu", "cpu"), time.monotonic()
    time.sleep(seconds)
    otop.settle()
    after, ended = target.ask("cpu", "cpu"), time.monotonic()
    pct = lambda cpu: 100.0 * cpu / (ended - began)
    theirs = served(path)
    theirs = {row["session_id"]: row["cpu_pct"] for row in theirs["sessions"]}[sid] if theirs else float("nan")
    target.ask("ok", "busy", sid, 0, step_ms)
    what = "a hog in %g ms steps" % step_ms
    bench.row(what, "its own clock", "%.1f %%" % pct(after["sessions"][sid] - truth["sessions"][sid]))
    bench.row("", "otop", "%.1f %%" % pct(otop.cpu()[sid] - said))
    bench.row("", "openrtc, in the worker", "%.1f %%" % theirs)


def blame(bench, target, otop, path, sid, place, kind, times):
    ours = theirs = 0
    for _ in range(times):
        # Who was slow before must not count.
        while slow(otop.settle()) or slow(served(path)):
            pass
        target.tell("block", sid, 320, kind, place)
        target.until("block_end")
        ours += slow(otop.settle()) == [sid]
        theirs += slow(served(path)) == [sid]
    what = "slow behind a block: %s" % place
    bench.row(what, "otop", "the one who blocked, and nobody else, %d of %d times" % (ours, times))
    bench.row("", "openrtc, in the worker", "the one who blocked, and nobody else, %d of %d times" % (theirs, times))
