"""The other tools that look into a Python process from outside: where they are, how they are started, and what they wrote.
Knows nothing of what is judged.

They come from PyPI at pinned versions, into an environment of their own; Tachyon is part of CPython 3.15.
"""
import glob
import os
import shutil
import subprocess
import sys

from .worker import CACHE

PINNED = ["py-spy==0.4.3", "austin-dist==4.0.0", "austin-python==2.4.0"]
FOLDER = os.environ.get("OTOP_PEERS") or os.path.join(CACHE, "peers")


def install():
    """Installs what is missing; says what could not be had."""
    if not os.path.exists(os.path.join(FOLDER, "bin", "pip")):
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
    for pinned in PINNED:
        done = subprocess.run([os.path.join(FOLDER, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check",
                               pinned], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        if done.returncode:
            print("no %s: %s" % (pinned, done.stdout.strip().splitlines()[-1:]), file=sys.stderr)


def program(name):
    for path in glob.glob(os.path.join(FOLDER, "bin", name)):
        return path
    return shutil.which(name)


def py_spy(stop):
    def command(pid, rate, seconds, out):
        return [program("py-spy"), "record", "--pid", str(pid), "--rate", str(rate), "--duration", str(int(seconds)),
                "--format", "raw", "--output", out] + ([] if stop else ["--nonblocking"])
    return command


def austin_words():
    """Its wheel wants a newer C library than some machines have: then that of a Debian of scripts/pythons does."""
    path = program("austin")
    loaders = glob.glob(os.path.join(CACHE, "roots", "*", "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"))
    for words in [[path]] + [[loader, "--library-path", os.path.dirname(loader), path] for loader in sorted(loaders)]:
        done = path and subprocess.run(words + ["--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done and done.returncode == 0:
            return words
    return None


def austin(words):
    def command(pid, rate, seconds, out):
        return words + ["-i", str(int(1e6 / rate)), "-x", str(int(seconds)), "-o", out, "-p", str(pid)]
    return command


def tachyon(*more):
    """In the namespace of its Python, which may be a chroot without /proc: that is mounted for it alone."""
    def command(python, pid, rate, seconds, out):
        words = ["-m", "profiling.sampling", "attach", "--collapsed", "-r", str(rate), "-d", str(int(seconds)), "-o", out]
        return in_root(python, words + list(more) + [str(pid)])
    return command


def in_root(python, words):
    root = python["root"]
    if not root:
        return python["command"] + words
    inside = 'mount --bind /proc "$0/proc" && mount --bind /tmp "$0/tmp" && LC_ALL=C exec chroot "$0" "$@"'
    return ["unshare", "--mount", "sh", "-c", inside, root] + python["command"][2:] + words


def folded(path):
    """Stacks, outermost first, as lists of function names, with their counts; of any of the tools."""
    with open(path, "rb") as file:
        each = file.read(3) == b"MOJ"
        if each:                            # austin's own format: a line for each sample, with its microseconds
            subprocess.run([program("mojo2austin"), path, path + ".txt"], stdout=subprocess.DEVNULL, check=True)
            path += ".txt"
    with open(path, errors="replace") as file:
        for line in file:
            stack, _, count = line.rstrip("\n").rpartition(" ")
            if not count.isdigit() or not stack:
                continue
            yield [frame_name(frame) for frame in stack.split(";")], 1 if each else int(count)


def frame_name(frame):
    """py-spy: `function (file.py:12)`; austin: `file.py:function:12`; Tachyon: `file.py:function:12`."""
    if frame.endswith(")") and " (" in frame:
        return frame.rsplit(" (", 1)[0]
    words = frame.split(":")
    return words[1] if len(words) >= 3 else frame
