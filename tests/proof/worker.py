"""A target that runs on one of the Pythons, takes orders and tells its truth; and otop, followed by its JSON. Knows
nothing of what is judged.
"""
import json
import os
import queue
import shutil
import subprocess
import threading
import time

HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CACHE = os.environ.get("OTOP_TEST_CACHE") or os.path.expanduser("~/.cache/otop-tests")
DEADLINE = 60.0
SCHEDSTAT = 9


def pythons():
    """What scripts/pythons found, oldest first."""
    with open(os.environ.get("OTOP_PYTHONS") or os.path.join(CACHE, "pythons.json")) as file:
        return json.load(file)


def favour():
    """In the child: a session of its own, preferred to whatever else runs here, where that is allowed."""
    os.setsid()
    # Its own account of waiting for a CPU, opened here because a chroot has no /proc. The number is what it expects.
    schedstat = os.open("/proc/self/schedstat", os.O_RDONLY)
    if schedstat != SCHEDSTAT:
        os.dup2(schedstat, SCHEDSTAT)
        os.close(schedstat)
    os.set_inheritable(SCHEDSTAT, True)
    try:
        with open("/proc/self/autogroup", "w") as file:
            file.write("-20")
    except OSError:
        pass
    try:
        os.nice(-20)
    except OSError:
        pass


class Lines:
    """A process of which each line on stdout is one JSON object."""

    def __init__(self, command, env=None, favoured=True):
        self.said = queue.Queue()
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env, universal_newlines=True, bufsize=1,
                                      preexec_fn=favour if favoured else None, close_fds=False)
        self.pid, self.command = self.child.pid, command
        self.errors = []
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=lambda: self.errors.extend(self.child.stderr), daemon=True).start()

    def listen(self):
        for line in self.child.stdout:
            self.said.put(json.loads(line))
        self.said.put(None)

    def next(self, seconds=DEADLINE):
        """The next object; None at the end."""
        try:
            return self.said.get(timeout=max(0.001, seconds))
        except queue.Empty:
            self.fail("said nothing for %.0f s" % seconds)

    def fail(self, why):
        raise RuntimeError("%s: %s; %s" % (" ".join(self.command[:3]), why, "".join(self.errors)[-2000:].strip()))

    def end(self):
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        try:
            self.child.stdin.close()
        except OSError:
            pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


class Worker(Lines):
    """A script of tests/targets."""

    def __init__(self, python, loop, script="labelled.py", args=(), wrap=()):
        folder = os.path.join(HERE, "targets")
        path = os.path.join(folder, script)
        if python["root"]:
            inside = os.path.join(python["root"], "otop-proof")
            os.makedirs(inside, exist_ok=True)
            new = os.path.join(inside, ".%s.%d" % (script, os.getpid()))
            shutil.copy(path, new)
            os.rename(new, os.path.join(inside, script))
            path = "/otop-proof/" + script
        env = dict(os.environ, PYTHONDONTWRITEBYTECODE="1")
        env.pop("PYTHONPATH", None)
        if python["pythonpath"]:
            env["PYTHONPATH"] = python["pythonpath"]
        Lines.__init__(self, list(wrap) + python["command"] + [path] + (["--loop", loop] if loop else []) + list(args), env)
        self.name = "%s %s" % (python["label"], loop)
        self.ready = self.until("ready")

    def tell(self, **order):
        self.child.stdin.write(json.dumps(order) + "\n")
        self.child.stdin.flush()

    def until(self, ev, seconds=DEADLINE):
        end = time.monotonic() + seconds
        while True:
            said = self.next(end - time.monotonic())
            if said is None:
                self.fail("ended before it said %s" % ev)
            if said["ev"] == "error":
                self.fail("could not %s: %s" % (said.get("order") or said.get("cmd"), said["why"]))
            if said["ev"] == ev:
                return said

    def ask(self, ev, **order):
        self.tell(**order)
        return self.until(ev)


class Otop(Lines):
    """otop, and everything it has said of one worker. Blocks that ended are kept, each once."""

    def __init__(self, program, pid, var="parley", window=0.5, args=()):
        """`var`: the contextvar that names the sessions; None: the worker's preset."""
        Lines.__init__(self, [program, "--pid", str(pid), "--json", "--window", "%gs" % window]
                       + (["--session-from", var] if var else []) + list(args))
        self.doc, self.docs, self.blocks = None, 0, []
        self.torn = self.samples = self.dropped = 0
        self.read()

    def read(self):
        doc = self.next()
        if doc is None:
            self.fail("ended")
        self.doc, self.docs = doc, self.docs + 1
        self.blocks.extend(block for block in doc["blocks"] if not block["ongoing"])
        quality = doc["quality"]
        self.torn += quality["torn"]
        self.samples += quality["samples"]
        self.dropped += quality["dropped"]
        return doc

    def settle(self):
        """Reads until what is over now has been told: what waits, and then two windows more."""
        while not self.said.empty():
            self.read()
        for _ in range(3):
            self.read()
        return self.doc

    def sessions(self):
        return {row["session_id"]: row for row in self.doc["sessions"]}

    def cpu(self):
        """cpu_s of every session, and of nobody under None."""
        rows = {sid: row["cpu_s"] or 0.0 for sid, row in self.sessions().items()}
        rows[None] = self.doc["unattributed"]["cpu_s"] or 0.0
        return rows

    def take_blocks(self):
        blocks, self.blocks = self.blocks, []
        return blocks
