"""What otop and its peers cost, and how right what they keep is, on the same targets and interleaved. Knows nothing of how
the table is printed.
"""
import json
import math
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from . import peers
from .worker import HERE, Otop, Worker

EXAMPLES = os.path.join(os.path.dirname(HERE), "target", "release", "examples")
CROWD = ["--sessions", "50", "--tasks", "29", "--depth", "30"]


def cpu_ns(pid):
    """CPU time of all threads that live, nanoseconds: exact for what sleeps, a scheduler tick old for what runs."""
    total = 0
    for tid in os.listdir("/proc/%d/task" % pid):
        try:
            with open("/proc/%d/task/%s/schedstat" % (pid, tid)) as file:
                total += int(file.read().split()[0])
        except OSError:
            pass
    return total


def thread_times(pid):
    """Of the main thread: on a CPU, and waiting for one, seconds."""
    with open("/proc/%d/task/%d/schedstat" % (pid, pid)) as file:
        cpu, waited = file.read().split()[:2]
    return int(cpu) / 1e9, int(waited) / 1e9


def interval(values, level=1.96):
    """Mean, and the half width of its 95 % interval (Student's t for few)."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, float("nan")
    t = {2: 12.7, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}.get(len(values), level + 2.5 / len(values))
    return mean, t * statistics.stdev(values) / math.sqrt(len(values))


def upper(values):
    """The upper 95 % limit of the mean, one-sided."""
    mean, half = interval(values, 1.645)
    return mean + half


def median_interval(values):
    """The 95 % interval of the median, by the binomial distribution: a few wild values do not move it."""
    values, n = sorted(values), len(values)
    reach = int(math.ceil(0.98 * math.sqrt(n)))
    return values[max(0, n // 2 - reach)], values[min(n - 1, n // 2 + reach)]


class Running:
    """Some tool, started and warm; its CPU over a stretch."""

    def __init__(self, command, warm=1.2):
        self.child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        time.sleep(warm)

    def cpu(self, seconds):
        if self.child.poll() is not None:
            return None
        began, before = time.monotonic(), cpu_of_tree(self.child.pid)
        time.sleep(seconds)
        return (cpu_of_tree(self.child.pid) - before) / 1e9 / (time.monotonic() - began)

    def peak_mb(self):
        with open("/proc/%d/status" % self.child.pid) as file:
            return next(int(line.split()[1]) / 1024.0 for line in file if line.startswith("VmHWM"))

    def end(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
        self.child.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def cpu_of_tree(pid):
    total = cpu_ns(pid)
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            children = file.read().split()
    except OSError:
        children = []
    return total + sum(cpu_of_tree(int(child)) for child in children)


class Bench:
    def __init__(self, args, python, newest):
        self.args, self.python, self.newest = args, python, newest
        self.otop = args.otop
        self.rows, self.austin = [], None

    def row(self, what, tool, said, bar=""):
        self.rows.append((what, tool, said, bar))
        print("%-34s %-30s %s" % (what, tool, said), file=sys.stderr, flush=True)

    def otop_command(self, pid, *more):
        return [self.otop, "--pid", str(pid), "--json", "--window", "1s", "--session-from", "call_ref"] + list(more)

    # -- what otop costs, against only waking up as often
    def cost(self):
        with Worker(self.python, "asyncio", "crowd.py", CROWD + ["--pause", "0.01"]) as target:
            cpu = str(max(os.sched_getaffinity(0)))
            os.sched_setaffinity(target.pid, {int(cpu)})
            sleeper = ["chrt", "-f", "1", os.path.join(EXAMPLES, "sleeper"), "1000", "100", "1000", cpu]
            tools = {"otop": self.otop_command(target.pid), "only waking up": sleeper}
            figures = {name: [] for name in tools}
            for _ in range(self.args.repeat):
                for name, command in tools.items():
                    with Running(command) as tool:
                        figures[name].append(tool.cpu(self.args.seconds))
        ratios = [mine / theirs for mine, theirs in zip(figures["otop"], figures["only waking up"])]
        for name, values in figures.items():
            self.row("cost, %d tasks" % target.ready["tasks"], name, "%.4f ± %.4f CPU s/s" % interval(values))
        self.row("cost, ratio", "otop", "%.2f ± %.2f times only waking up" % interval(ratios), "2")

    # -- what it costs the worker
    def slowdown(self, tool, command, pairs, window=2.0):
        """`command` for the target's pid. Alternating windows, with and without; what a step costs the target in CPU and in
        waiting for one."""
        cpu = max(os.sched_getaffinity(0))
        with Worker(self.python, "asyncio", "crowd.py", CROWD) as target:
            os.sched_setaffinity(target.pid, {cpu})
            changes = []
            for pair in range(pairs):
                costs = {}
                for on in random.Random(pair).sample([True, False], 2):
                    if on:
                        with Running(command(target.pid), warm=0.8):
                            costs[on] = self.step_cost(target, window)
                    else:
                        time.sleep(0.3)
                        costs[on] = self.step_cost(target, window)
                changes.append(100 * (costs[True] / costs[False] - 1))
        self.row("worker slowed by", tool, "%.2f ± %.2f %%, at most %.2f %%, %d pairs" % (
            interval(changes) + (upper(changes), len(changes))))
        return changes

    def displaced(self, name, command, pairs, bar="", window=0.4):
        """What is taken from a target that sees it, as gaps between two readings of the clock: alternating, while the tool
        runs and while it is held (SIGSTOP), so that what the rest of the machine takes is in both. What is lost by colder
        caches does not show."""
        cpu = max(os.sched_getaffinity(0))
        with Worker(self.python, "asyncio", "gaps.py", []) as target:
            os.sched_setaffinity(target.pid, {cpu})
            changes = []
            with Running(command(target.pid)) as tool:
                for pair in range(pairs):
                    missing = {}
                    for on in random.Random(pair).sample([True, False], 2):
                        tool.child.send_signal(signal.SIGCONT if on else signal.SIGSTOP)
                        time.sleep(0.1)
                        missing[on] = self.missing(target, window)
                    changes.append(100 * (missing[True] - missing[False]))
                tool.child.send_signal(signal.SIGCONT)
        low, high = median_interval(changes)
        self.row("time taken from the worker", name, "%.2f %% (median; 95 %%: %.2f to %.2f), %d pairs" % (
            statistics.median(changes), low, high, len(changes)), bar)
        return changes

    def missing(self, target, seconds):
        """The part of the time that is in gaps."""
        first = last = self.clock(target)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            last = self.clock(target)
        return (last["missing"] - first["missing"]) / max(1, last["read"] - first["read"])

    def clock(self, target):
        while not target.said.empty():
            target.said.get()
        return target.until("clock")

    def step_cost(self, target, seconds):
        steps, times = self.steps(target), thread_times(target.pid)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            last = self.steps(target)
            now = thread_times(target.pid)
        return (now[0] - times[0] + now[1] - times[1]) / max(1, last - steps)

    def steps(self, target):
        return self.clock(target)["steps"]

    # -- full stacks that are right
    def stacks(self, tool, python, command, rate, seconds):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, "out")
            with MicroTarget(python) as target:
                words = command(target.pid, rate, seconds, out)
                before = os.times()
                began = time.monotonic()
                child = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                try:
                    child.wait(3 * seconds + 5)
                except subprocess.TimeoutExpired:   # py-spy counts samples, not seconds
                    child.send_signal(signal.SIGINT)
                    child.wait()
                wall, after = time.monotonic() - began, os.times()
            used = after.children_user + after.children_system - before.children_user - before.children_system
            kept = right = 0
            for stack, count in peers.folded(out) if os.path.exists(out) else ():
                verdict = is_right(stack)
                kept += count if verdict is not None else 0
                right += count if verdict else 0
        if not kept:
            return self.row("stacks at %d Hz" % rate, tool, "none")
        self.row("stacks at %d Hz" % rate, tool, "%.0f right a second of %.0f kept in busy code, %.0f right a CPU second" % (
            right / wall, kept / wall, right / used if used else 0))

    def own_stacks(self, rate, seconds):
        """By examples/stack_bench.rs, which holds every frame and line against what that target can be."""
        done = subprocess.run([os.path.join(EXAMPLES, "stack_bench"), "--rate", str(rate), "--seconds", str(seconds),
                               " ".join(self.python["command"])], stdout=subprocess.PIPE, universal_newlines=True,
                              cwd=os.path.dirname(HERE))
        lines = done.stdout.strip().splitlines()
        if len(lines) < 2:
            return self.row("stacks at %d Hz" % rate, "otop", "none")
        names = lines[0].split()[1:]
        del names[names.index("per")]                    # "per cpu-s" is one
        said = dict(zip(names, lines[1].split()[-len(names):]))
        self.row("stacks at %d Hz" % rate, "otop", "%(kept/s)s right a second, %(torn)s torn, %(wrong)s wrong, "
                 "%(cpu-s)s right a CPU second" % said, "990, 0, 0, 35000")

    # -- the walk over all tasks
    def walk(self, sessions, tasks):
        args = ["--sessions", str(sessions), "--tasks", str(tasks), "--depth", "4", "--busy", "2", "--pause", "0.01"]
        with Worker(self.python, "asyncio", "crowd.py", args) as target:
            done = subprocess.run([os.path.join(EXAMPLES, "walk_bench"), str(target.pid), "call_ref",
                                   str(self.args.seconds * 2)], stdout=subprocess.PIPE, universal_newlines=True)
        try:
            said = json.loads(done.stdout)
        except ValueError:
            return self.row("walk of %d tasks" % (sessions * tasks), "otop", "failed")
        self.row("walk of %d tasks" % said["tasks"], "otop",
                 "%(us_per_task).2f us of CPU a task, the longest %(longest_walk_ms).0f ms, %(walks)d walks" % said, "2")
        self.row("", "otop", "%(hz_got).0f Hz meanwhile, %(missed)d ticks missed" % said)

    # -- start, and size
    def start(self, repeat):
        with Worker(self.python, "asyncio", "crowd.py", CROWD + ["--pause", "0.01"]) as target:
            pid = str(target.pid)
            window = 0.1
            once = [self.otop, "--pid", pid, "--once", "--window", "%gs" % window, "--session-from", "call_ref"]
            tools = {"otop, to its first rows": (once, window), "/bin/true": (["/bin/true"], 0.0)}
            if peers.program("py-spy"):
                tools["py-spy dump"] = ([peers.program("py-spy"), "dump", "--pid", pid], 0.0)
            walls = {name: [] for name in tools}
            for _ in range(repeat):
                for name, (command, less) in tools.items():
                    began = time.monotonic()
                    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                    walls[name].append(1e3 * (time.monotonic() - began - less))
        for name, values in walls.items():
            self.row("start to first row", name, "%.1f ms median, %.1f to %.1f" % (
                statistics.median(values), min(values), max(values)), "25" if name.startswith("otop") else "")

    def size(self, sessions):
        args = ["--sessions", str(sessions), "--tasks", "2", "--depth", "4", "--busy", "2", "--pause", "0.01"]
        with Worker(self.python, "asyncio", "crowd.py", args) as target:
            with Running(self.otop_command(target.pid), warm=max(4.0, sessions / 1000.0)) as tool:
                self.row("RSS, %d sessions" % sessions, "otop", "%.1f MB at most" % tool.peak_mb(),
                         "15" if sessions <= 50 else "100")


class MicroTarget(Worker):
    def __init__(self, python):
        # micro.py has one loop and no flag for it.
        Worker.__init__(self, python, None, "micro.py", ["--work", "200"])


def is_right(stack):
    """A stack of tests/targets/micro.py: None: not in a busy session; else whether it can be, and is of one session."""
    own = [name for name in stack if re.fullmatch(r"(busy|climb|descend|leaf)_\d+", name)]
    if not own:
        return None
    names = [name.split("_")[0] for name in own]
    if len({name.split("_")[1] for name in own}) != 1:
        return False
    climbs, descends, leaves = names.count("climb"), names.count("descend"), names.count("leaf")
    order = ["busy"] * names.count("busy") + ["climb"] * climbs + ["descend"] * descends + ["leaf"] * leaves
    whole = names == order and names[0] == "busy" and names.count("busy") == 1
    if leaves:
        return whole and climbs == 16 and descends == 16 and leaves == 1
    # On its way down or up.
    return whole and climbs <= 16 and descends <= 16 and (not descends or climbs == 16)
