"""The labelled workloads: what the target did by its own clocks against what otop said of it. Knows nothing of how the
figures are printed.
"""
import math
import os
import random
import signal
import subprocess
import sys
import time

from . import machine
from .worker import Otop, Worker

THRESHOLD_MS = 50.0
BARS = {
    "cpu": "cpu_s against the clock around each step: within 3 % + 20 ms, each run that + 3 sd of sampling",
    "sums": "sessions + unattributed against the process's clock: within 1 % + 10 ms",
    "idle": "an idle loop reads 0 for everyone",
    "coop": "no cooperative load is a block of anybody's",
    "found": "every injected block of 60 ms or more is found, in one piece",
    "false": "no block is somebody's but those that were injected",
    "culprit": "the culprit is right",
    "line": "the line is in the function that blocks",
    "cause": "the cause is right",
    "duration": "within 3 ms or 1 %",
}
# Sessions, each with (step in ms, percent of the time); "thread": works in a thread, "sleeper": sleeps in the kernel.
MIXES = {
    "0.02-1 ms": {"p-00": ("hog", 0.02, 20), "p-01": ("hog", 0.2, 15), "p-02": ("hog", 1.0, 10),
                  "p-03": ("thread", 4.0, 15), "p-04": ("sleeper", 20.0, None)},
    "5-50 ms": {"p-00": ("hog", 5.0, 15), "p-01": ("hog", 40.0, 25), "p-02": ("hog", 0.02, 5)},
    "500 ms": {"p-00": ("hog", 500.0, 30), "p-01": ("hog", 20.0, 10)},
    "saturated": {"p-00": ("hog", 0.02, 1000), "p-01": ("hog", 1.0, 1000), "p-02": ("hog", 0.1, 1000)},
}
COOP = ["tasks", "nested", "timers", "shared", "sockets", "nested-sockets", "eager"]
PLACES = ["child", "main", "callback", "timer", "socket", "to_thread", "async_gen", "eager"]
# What one block is, and what it is to be called: kind, cause.
CAUSES = [("cpu", "cpu"), ("sleep", "syscall"), ("recv", "syscall"), ("wait", "syscall"), ("read", "syscall"), ("garbage", "gc"),
          ("collect", "gc")]
LONG = ["nested", "eagers"]
SYSCALLS = {"recv": {"recvfrom PEER"}, "wait": {"poll PEER"}, "read": {"read"},
            "sleep": {"clock_nanosleep", "select", "pselect6"}}


class Case:
    """One worker on one Python and loop, watched by one otop, and the figures that come of it."""

    def __init__(self, program, python, loop, figures, args):
        self.figures, self.args, self.python = figures, args, python
        self.worker = Worker(python, loop, wrap=args.wrap)
        self.where = self.worker.name
        try:
            self.otop = Otop(program, self.worker.pid)
        except BaseException:
            self.worker.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.otop.end()
        self.worker.end()

    def has_eager(self):
        return int(self.python["minor"].split(".")[1]) >= 12

    def watch(self):
        return machine.Watch(self.worker.pid, self.otop.pid)

    # -- CPU
    def cpu(self, mix, seconds):
        self.worker.ask("cpu", do="cpu")
        before_said, process = self.otop.settle() and self.otop.cpu(), self.worker.ask("cpu", do="cpu")["process"]
        watch = self.watch()
        for sid, (do, step_ms, pct) in MIXES[mix].items():
            more = {} if pct is None else {"pct": pct}
            self.worker.tell(do=do, sid=sid, step_ms=step_ms, s=seconds, **more)
        truths = {}
        while len(truths) < len(MIXES[mix]):
            said = self.worker.next()
            if said["ev"] in ("hog", "thread", "sleeper"):
                truths[said["sid"]] = said
            elif said["ev"] == "error":
                self.worker.fail(said["why"])
        quiet = watch.quiet()
        self.otop.settle()
        said, process = self.otop.cpu(), self.worker.ask("cpu", do="cpu")["process"] - process
        for sid, truth in truths.items():
            got = said.get(sid, 0.0) - before_said.get(sid, 0.0)
            do, step_ms, _ = MIXES[mix][sid]
            self.cpu_error(mix, do, step_ms, got, truth, seconds, quiet)
        total = sum(said.values()) - sum(before_said.values())
        wrong = abs(total - process) > 0.01 * process + 0.010
        self.figures.count("sums", self.where, BARS["sums"], not wrong,
                           "%s: %.3f s said, %.3f s used" % (mix, total, process))
        others = set(said) - set(truths) - {None}
        for sid in sorted(others):
            got = said[sid] - before_said.get(sid, 0.0)
            self.figures.count("cpu of others", self.where, "a session that does nothing uses nothing: 10 ms",
                               abs(got) <= 0.010, "%s: %.3f s are said to be %s's" % (mix, got, sid))
        self.not_blamed("false", {"500 ms": {"p-00"}}.get(mix, set()), mix)

    def cpu_error(self, mix, do, step_ms, got, truth, seconds, quiet):
        # Where no clock is around the step, the clocks in it miss what the loop's own code costs in the session's
        # context: what is true lies between that and what an empty step costs on top, 3 us here at most.
        low, high = truth["cpu_s"], truth["cpu_s"]
        if do != "thread" and not self.worker.ready["steps_clocked"]:
            low = truth["inside_s"] + self.worker.ready["clock_s"] * truth["steps"]
            high = low + 3e-6 * truth["steps"]
        error = min(got - low, 0.0) + max(got - high, 0.0)
        within = 0.03 * high + 0.020
        share = min(1.0, high / seconds)
        # Samples of a step shorter than a period hit it or not; longer ones are cut at both ends only.
        hits = math.sqrt(seconds * 1e3 * share * (1 - share)) * 1e-3
        ends = math.sqrt(2.0 * max(1, truth.get("steps", seconds * 1e3 * share / step_ms))) * 0.3e-3
        sd = min(hits, ends) if step_ms >= 1.0 else hits
        self.figures.error("cpu %s" % mix, self.where, BARS["cpu"], error, within, quiet, each=within + 3 * sd,
                           detail="%s of %s ms: %.3f s said, %.3f s true" % (do, step_ms, got, high))

    def idle(self, seconds):
        self.otop.settle()
        before = self.otop.cpu()
        time.sleep(seconds)
        self.otop.settle()
        for sid, cpu in self.otop.cpu().items():
            grown = cpu - before.get(sid, 0.0)
            self.figures.count("idle", self.where, BARS["idle"], grown < 0.002, "%s: %.4f s" % (sid, grown))
        self.not_blamed("false", set(), "idle")

    # -- steps
    def coop(self, kind, seconds, step_ms=5.0):
        if kind == "eager" and not self.has_eager():
            return
        self.worker.tell(do="coop", sid="p-coop", kind=kind, s=seconds, step_ms=step_ms)
        self.worker.until("coop", seconds + 60)
        self.otop.settle()
        self.not_blamed("coop", set(), kind)

    def not_blamed(self, what, but, load):
        """Nobody is blamed; and a block of nobody's is one that the machine, not a step, made."""
        wrong = [b for b in self.otop.take_blocks() if b["session_id"] not in but and (b["session_id"] or own_ms(b) >= 60)]
        self.figures.count(what, self.where, BARS[what], not wrong, "%s: %s" % (load, "; ".join(map(brief, wrong[:2]))))

    # -- blocks
    def blocks(self, wanted, gap=0.2):
        """Injects blocks, (sid, ms, kind, where) each, and judges what is said of them."""
        self.otop.settle()
        self.otop.take_blocks()
        watch, truths = self.watch(), []
        self.worker.tell(do="beat")
        for sid, ms, kind, where in wanted:
            if kind == "garbage":
                self.worker.ask("littered", do="litter", ms=ms)
            self.worker.tell(do="block", sid=sid, ms=ms, kind=kind, where=where)
            truths.append(self.worker.until("block"))
            time.sleep(gap)
        self.worker.tell(do="rest")
        quiet = watch.quiet()
        self.otop.settle()
        said = self.otop.take_blocks()
        for truth in truths:
            if truth["ms"] < 60:
                continue            # the collector had less to look at than was thought
            mine = [b for b in said if overlap_ms(b, truth) >= 0.5 * min(b["duration_ms"], truth["ms"])]
            said = [b for b in said if b not in mine]
            self.judge(truth, mine, quiet)
        wrong = [b for b in said if b["session_id"]]
        self.figures.count("false", self.where, BARS["false"], not wrong, "; ".join(map(brief, wrong[:3])))

    def judge(self, truth, mine, quiet):
        figures, what = self.figures, "%(kind)s in %(where)s, %(ms).0f ms" % truth
        if truth["waited_ms"] > 1:
            what += ", %.0f of them without a CPU" % truth["waited_ms"]
        own = truth["ms"] - truth["waited_ms"]
        if own < 60 and len(mine) != 1:
            return              # mostly the machine's doing
        figures.count("found", self.where, BARS["found"], len(mine) == 1,
                      "%s: %s" % (what, "; ".join(map(brief, mine)) or "not found"))
        if len(mine) != 1:
            return
        block, in_thread = mine[0], truth["where"] == "to_thread"
        cause = dict(CAUSES).get(truth["kind"], "cpu")
        if in_thread:
            cause = "gil" if truth["kind"] == "gil" else None
        blamed = None if truth["kind"] == "garbage" else truth["sid"]
        if own >= 60:
            figures.count("culprit: " + truth["where"] if truth["kind"] not in ("garbage", "collect") else
                          "culprit: gc " + truth["kind"], self.where, BARS["culprit"], block["session_id"] == blamed,
                          "%s: %s, not %s: %s" % (what, block["session_id"], blamed, brief(block)))
        if cause and truth["waited_ms"] < 0.3 * truth["ms"]:
            name = "gil" if in_thread else truth["kind"]
            figures.count("cause: " + name, self.where, BARS["cause"],
                          block["cause"] == cause and (cause != "syscall" or self.is_syscall(truth["kind"], block)),
                          "%s: %s" % (what, brief(block)))
        if truth["kind"] not in LONG + ["garbage"] and own >= 60:
            right = block["function"] and block["function"].split(".")[-1] == truth["function"] \
                and block["line"] is not None and truth["lines"][0] <= block["line"] <= truth["lines"][1]
            # A sample may catch the two lines of the caller that keep the clocks; most must not.
            figures.count("line: " + truth["where"], self.where, BARS["line"], right,
                          "%s: %s:%s in %s" % (what, block["file"], block["line"], block["function"]))
        figures.error("duration", self.where, BARS["duration"], block["duration_ms"] - truth["ms"],
                      max(3.0, 0.01 * truth["ms"]), quiet, detail="%s: %.1f ms said" % (what, block["duration_ms"]))

    def is_syscall(self, kind, block):
        said = (block["syscall"] or "").replace(self.worker.ready["peer"], "PEER")
        return said in SYSCALLS[kind]

    def places(self):
        for where in PLACES:
            if where == "eager" and not self.has_eager():
                continue
            kinds = ["gil"] if where == "to_thread" else ["cpu", "sleep"]
            self.blocks([("p-0%d" % (i + 1), 90 + 40 * i, kind, where) for i, kind in enumerate(kinds)])

    def causes(self):
        self.blocks([("p-01", 120, kind, "child") for kind, _ in CAUSES])
        for where in ("child", "callback", "timer", "socket"):
            self.blocks([("p-02", 300, kind, where) for kind in LONG if kind == "nested" or self.has_eager()])

    def many(self, count, seed=1):
        """Blocks of all lengths, kinds and places, while others work."""
        pick = random.Random(seed)
        for first in range(0, count, 10):
            self.worker.tell(do="hog", sid="p-04", step_ms=2.0, pct=10, s=4.0)
            places = [where for where in PLACES if where != "eager" or self.has_eager()]
            wanted = []
            for _ in range(first, min(count, first + 10)):
                where = pick.choice(places)
                kind = "gil" if where == "to_thread" else pick.choice(["cpu", "sleep", "recv", "wait", "read", "nested", "gil"])
                wanted.append((pick.choice(["p-01", "p-02", "p-03"]), pick.randint(65, 320), kind, where))
            self.blocks(wanted, gap=0.1)

    # -- what the machine does
    def stopped(self):
        self.otop.settle()
        self.otop.take_blocks()
        self.worker.tell(do="hog", sid="p-05", step_ms=4.0, pct=60, s=1.5)
        time.sleep(0.6)
        watch, began = self.watch(), time.time()
        os.kill(self.worker.pid, signal.SIGSTOP)
        time.sleep(0.2)
        ended = time.time()
        os.kill(self.worker.pid, signal.SIGCONT)
        quiet = watch.quiet()
        self.worker.until("hog")
        self.otop.settle()
        self.machines_doing("stopped", [(began, ended)], quiet)

    def machines_doing(self, cause, spans, quiet):
        said = self.otop.take_blocks()
        for began, ended in spans:
            truth = {"began": began, "ended": ended, "ms": (ended - began) * 1e3}
            mine = [b for b in said if overlap_ms(b, truth) >= 0.5 * truth["ms"]]
            right = [b for b in mine if b["cause"] == cause and b["session_id"] is None]
            self.figures.count("cause: " + cause, self.where, BARS["cause"], len(right) == 1,
                               "%.0f ms: %s" % (truth["ms"], "; ".join(map(brief, mine)) or "not found"))
            if right and cause == "stopped":
                self.figures.error("duration of a stop", self.where, BARS["duration"],
                                   right[0]["duration_ms"] - truth["ms"], max(8.0, 0.01 * truth["ms"]), quiet)
        blamed = [b for b in said if b["session_id"]]
        self.figures.count("culprit: " + cause, self.where, "nobody is blamed", not blamed,
                           "; ".join(map(brief, blamed[:3])))

    def starved(self):
        """Another process takes the worker's CPU away for 150 ms at a time."""
        cpu = max(os.sched_getaffinity(0))
        before = [(tid, os.sched_getaffinity(tid)) for tid in tids(self.worker.pid)]
        for tid, _ in before:
            os.sched_setaffinity(tid, {cpu})
        burner = subprocess.Popen([sys.executable, "-c", BURNER, str(cpu)], stdout=subprocess.PIPE,
                                  universal_newlines=True)
        try:
            if burner.stdout.readline().strip() != "ready":
                return self.figures.note("cause unscheduled: no right to a real-time burner, not judged")
            self.otop.settle()
            self.otop.take_blocks()
            self.worker.tell(do="hog", sid="p-05", step_ms=2.0, pct=40, s=3.0)
            self.worker.until("hog")
        finally:
            burner.kill()
            lines = burner.stdout.read().splitlines()
            burner.wait()
            for tid, cpus in before:
                try:
                    os.sched_setaffinity(tid, cpus)
                except OSError:
                    pass
        self.otop.settle()
        hog_ended = self.otop.blocks[0]["started_at"] if self.otop.blocks else 0
        spans = [tuple(map(float, line.split())) for line in lines if len(line.split()) == 2]
        self.machines_doing("unscheduled", [s for s in spans[1:-1] if s[0] > hog_ended][:4], True)

    def throttled(self):
        """A cgroup that may use a tenth of a CPU, so that it gets none for most of every 300 ms."""
        group = "/sys/fs/cgroup/cpu/otop-proof-%d" % os.getpid()
        try:
            os.mkdir(group)
            put(group + "/cpu.cfs_period_us", 300000)
            put(group + "/cpu.cfs_quota_us", 30000)
        except OSError as error:
            return self.figures.note("cause unscheduled by a cgroup: %s, not judged" % error)
        try:
            self.otop.settle()
            self.otop.take_blocks()
            put(group + "/cgroup.procs", self.worker.pid)
            self.worker.tell(do="hog", sid="p-05", step_ms=2.0, pct=60, s=3.0)
            self.worker.until("hog")
            with open(group + "/cpu.stat") as file:
                truth = dict(line.split() for line in file)
        finally:
            put("/sys/fs/cgroup/cpu/cgroup.procs", self.worker.pid)
            os.rmdir(group)
        self.otop.settle()
        said = self.otop.take_blocks()
        throttled = [b for b in said if b["cause"] == "unscheduled" and b["session_id"] is None]
        times, length = int(truth["nr_throttled"]), int(truth["throttled_time"]) / 1e6
        if not times or length / times < 100:
            return self.figures.note("%s: throttled too little to judge, %d times" % (self.where, times))
        self.figures.count("cause: throttled", self.where, BARS["cause"], 0.7 * times <= len(throttled) <= times + 1,
                           "%d blocks, throttled %d times: %s" % (len(said), times, "; ".join(map(brief, said[:3]))))
        blamed = [b for b in said if b["session_id"]]
        self.figures.count("culprit: throttled", self.where, "nobody is blamed", not blamed,
                           "; ".join(map(brief, blamed[:3])))


BURNER = """
import os, sys, time
os.sched_setaffinity(0, {int(sys.argv[1])})
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except OSError:
    sys.exit("no")
print("ready", flush=True)
end = time.time() + 20
parent = os.getppid()
while time.time() < end and os.getppid() == parent:
    time.sleep(0.35)
    began = time.time()
    while time.time() < began + 0.15:
        pass
    print(began, time.time(), flush=True)
"""


def put(path, value):
    with open(path, "w") as file:
        file.write(str(value))


def tids(pid):
    return [int(tid) for tid in os.listdir("/proc/%d/task" % pid)]


def overlap_ms(block, truth):
    if block["started_at"] is None:
        return 0.0
    ended = block["started_at"] + block["duration_ms"] / 1e3
    return (min(ended, truth["ended"]) - max(block["started_at"], truth["began"])) * 1e3


def own_ms(block):
    causes = block["causes_ms"]
    return sum(causes[name] or 0.0 for name in ("cpu", "syscall", "gil", "gc", "unknown"))


def brief(block):
    causes = {name: round(ms) for name, ms in block["causes_ms"].items() if ms and ms >= 1}
    return "%s %.0f ms %s%s %s step %s" % (block["session_id"], block["duration_ms"], block["cause"],
                                         " " + block["syscall"] if block["syscall"] else "", causes,
                                         block["step_session_id"])
