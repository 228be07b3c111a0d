#!/usr/bin/env python3
"""A worker that gets too little CPU: its loop is late, its steps are short, and nobody in it is to blame.

It pins itself and --children busy processes to one CPU, and is then sessions.py --control --lag with two cooperative
hogs. The answer to `cpu` has worst_lag_ms: only if that is well above the threshold was the machine really starved.
A step can be preempted in its middle: that is what the test is about. Python 3.8 to 3.15; it knows nothing of otop.
"""
import os
import subprocess
import sys

# A child ends by itself when its parent is gone: the parent may be killed with no chance to tell it.
CHILD = """
import os
parent = os.getppid()
while os.getppid() == parent:
    for _ in range(1000000):
        pass
"""


def main():
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import sessions     # while there still is a CPU to do it with
    children = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    for _ in range(children):
        subprocess.Popen([sys.executable, "-I", "-S", "-c", CHILD], stdin=subprocess.DEVNULL)
    os.nice(3)      # the children keep theirs: each of them gets twice what the worker gets
    sessions.main(["--control", "--lag", "--sessions", "4", "--busy", "0:20", "--busy", "1:20", "--step-ms", "1"]
                  + sys.argv[2:])


if __name__ == "__main__":
    main()
