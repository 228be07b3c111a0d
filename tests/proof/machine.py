"""Whether this machine is quiet enough for tolerances to mean something. Knows nothing of what is measured on it."""
import os
import time

HZ = os.sysconf("SC_CLK_TCK")
QUIET = 0.06        # of one CPU, used by others than those that are measured
PATIENT = 20.0


def busy_and_stolen():
    """Seconds that all CPUs were busy, and that the hypervisor took."""
    with open("/proc/stat") as file:
        words = [int(word) for word in file.readline().split()[1:]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = words[:8]
    return (user + nice + system + irq + softirq) / HZ, steal / HZ


def cpu_of(pid):
    """CPU seconds of a process and of its children that have been waited for; 0 for one that is gone."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            words = file.read().rsplit(") ", 1)[1].split()
    except (OSError, IndexError):
        return 0.0
    return sum(int(word) for word in words[11:15]) / HZ


class Watch:
    """What others used of the machine while something was measured."""

    def __init__(self, *pids):
        self.pids = [os.getpid()] + list(pids)
        self.at, self.before, self.own = time.monotonic(), busy_and_stolen(), self.used()

    def used(self):
        return sum(cpu_of(pid) for pid in self.pids)

    def others(self):
        """Share of one CPU that went to others or was stolen. To be asked before what is measured has ended."""
        busy, stolen = busy_and_stolen()
        rest = busy - self.before[0] - (self.used() - self.own) + stolen - self.before[1]
        return max(0.0, rest / max(0.05, time.monotonic() - self.at))

    def quiet(self):
        return self.others() <= QUIET


def wait_until_quiet(patience=PATIENT):
    """Waits for a quiet second; False: there was none. What is measured on such a machine is judged only in part."""
    end = time.monotonic() + patience
    while True:
        watch = Watch()
        time.sleep(1.0)
        if watch.quiet():
            return True
        if time.monotonic() > end:
            return False


def describe():
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "?")
    return "%s, %d CPUs, Linux %s" % (model, os.cpu_count() or 0, os.uname().release)
