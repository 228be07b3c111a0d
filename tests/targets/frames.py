#!/usr/bin/env python3
"""A worker that is always somewhere in the middle of every kind of frame that Python has: what tests/live_frames.rs
stops at random instants.

Deep calls, closures, decorators, C that calls back into Python, comprehensions, generators, async generators, nested
coroutines, code that was made with exec, calls over several lines, threads. Python 3.8 to 3.15, standard library only
(uvloop where asked for). Prints `ready` and goes on until it is killed, or for a minute.

`--still` stands instead: each task at a place that it names in the event `places`, for tests of what is read of
coroutines that do not run. `--collects` collects garbage all the time, `--deepest` has a thread with 700 frames.
"""
import asyncio
import functools
import gc
import inspect
import json
import os
import random
import re
import sys
import threading
import time
from gc import collect


def truth(ev, **facts):
    sys.stdout.write(json.dumps(dict(ev=ev, **facts)) + "\n")
    sys.stdout.flush()


def spin(turns):
    total = 0
    for i in range(turns):
        total += i * i % 7
    return total


def decorated(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        finally:
            spin(3)
    return wrapper


@decorated
@decorated
def deep(depth):
    if depth <= 0:
        return spin(40)
    return deep(depth - 1) + 1


def closures(n):
    def outer(x):
        def inner(y):
            return spin(
                x
                + y
                + n
            )
        return inner(
            x,
        ) + (
            inner(2)
            if x > 3 else
            inner(3)
        )
    return [outer(i) for i in range(6)]


def comprehensions():
    a = [spin(i) for i in range(8) if spin(2) >= 0]
    b = {i: spin(i) for i in range(8)}
    c = {spin(i)
         for i in range(8)
         for _ in range(2)}
    d = sum(spin(i) for i in range(8))
    return a, b, c, d, (lambda x: spin(x))(9)


def called_from_c():
    def key(x):
        return spin(10) + x
    a = sorted(range(12), key=key)
    b = list(map(lambda x: spin(x), range(6)))
    c = functools.reduce(lambda x, y: x + spin(y), range(6), 0)
    d = re.sub("a", lambda m: m.group() + str(spin(5)), "banana")
    e = json.dumps({"x": Odd()}, default=Odd.plain)
    return a, b, c, d, e, sum(Odd())


class Odd:
    @property
    def worth(self):
        return spin(12)

    @staticmethod
    def plain(odd):
        return odd.worth + Odd().worth

    def __iter__(self):
        for i in range(4):
            yield spin(i)

    def __enter__(self):
        spin(5)
        return self

    def __exit__(self, *exc):
        spin(5)

    class Inner:
        def __init__(self):
            self.value = spin(11)


def generators():
    def leaf(n):
        for i in range(n):
            got = yield spin(i)
            if got:
                spin(got)

    def middle(n):
        yield from leaf(n)
        yield from (spin(i) for i in range(n))

    def top(n):
        with Odd():
            result = yield from middle(n)
        return result

    return list(top(5))


SOURCE = """
def made(x):
    # a comment

    total = 0
    for i in range(x):
        total += spin(
            i,
        )
    return total


class Made:
    def method(self): return made(7)


made(5); Made().method()
"""


EVALUATED = "[spin(i) for i in range(4)]"


def made_up(file):
    """The code of what has no file, compiled anew, by the name that stands for one; None: of others."""
    if file == "<string>":
        return compile(EVALUATED, file, "eval")
    found = re.match("<made after ([0-9]+) lines>$", file)
    return compile("\n" * int(found.group(1)) + SOURCE, file, "exec") if found else None


def executed():
    exec(made_up("<made after %d lines>" % random.randrange(300)), {"spin": spin, "__name__": "made"})
    return eval(EVALUATED)


def failing():
    try:
        try:
            raise ValueError(spin(3))
        except ValueError as error:
            raise KeyError(spin(3)) from error
    except KeyError:
        return spin(3)
    finally:
        spin(3)


SYNC = [lambda: deep(30), lambda: closures(2), comprehensions, called_from_c, generators, executed, failing, Odd.Inner]


async def numbers(n):
    for i in range(n):
        await asyncio.sleep(0)
        spin(20)
        yield i


async def doubled(n):
    async for i in numbers(n):
        spin(20)
        yield 2 * i


async def nested(depth, work):
    if depth:
        return await nested(
            depth - 1,
            work,
        )
    await asyncio.sleep(0)
    return work()


class Guard:
    async def __aenter__(self):
        await asyncio.sleep(0)
        spin(20)

    async def __aexit__(self, *exc):
        spin(20)


async def in_thread(work):
    if sys.version_info >= (3, 9):
        return await asyncio.to_thread(work)
    return await asyncio.get_running_loop().run_in_executor(None, work)


async def busy(index):
    while True:
        await nested(random.randrange(40), random.choice(SYNC))
        async with Guard():
            spin(10)
        found = [i async for i in doubled(4)]
        found += [await nested(1, lambda: spin(10)) for _ in range(2)]
        if random.random() < 0.3:
            await asyncio.gather(nested(3, failing), in_thread(random.choice(SYNC)))


def deepest():
    def down(n):
        return down(n - 1) if n else time.sleep(3600)
    sys.setrecursionlimit(5000)
    threading.stack_size(64 << 20)
    thread = threading.Thread(target=down, args=(700,), name="deepest", daemon=True)
    thread.start()
    # From there on it can only be in time.sleep.
    time.sleep(0.3)


# -- what stands still


def line():
    return sys._getframe(1).f_lineno


PLACES = {}


async def leaf(name, future):
    PLACES[name].append(("leaf", line() + 1))
    await future


async def standing(name, future):
    PLACES[name].append(("standing", line() + 1))
    await leaf(name, future)


async def source(name, future):
    PLACES[name].append(("source", line() + 1))
    await future
    yield 1


async def loops_over(name, future):
    PLACES[name].append(("loops_over", line() + 1))
    async for _ in source(name, future):
        pass


async def waits(name, future):
    PLACES[name].append(("waits", line() + 1))
    await asyncio.wait_for(future, 3600)


async def still():
    loop = asyncio.get_running_loop()
    kept = []
    for name, function in [("await", standing), ("async for", loops_over), ("wait_for", waits)]:
        PLACES[name] = []
        kept.append(loop.create_task(function(name, loop.create_future())))
    await asyncio.sleep(0.2)
    truth("places", places=PLACES)
    await asyncio.sleep(60)


# -- collections that are asked for, and such as come by themselves: the comment on a line says what otop has to say of it


def by_attribute():
    gc.collect()                                    # True


def imported():
    collect()                                       # True


def among_others():
    return [spin(1), spin(2) + gc.collect(2), 3]    # True


def over_lines():
    return spin(gc.collect(                         # True
        2
    ))


def locally():
    from gc import collect as now
    now()                                           # None


def elsewhere():
    kept = []
    for i in range(3000):                           # False
        kept.append([i])                            # False
    if not kept:
        gc.collect()
    return kept                                     # False


def many_names():
    if not gc:
        pass                                        # here come the names
    return gc.collect()                             # True


def nowhere():
    kept = []
    for i in range(3000):                           # False
        kept.append([i])                            # False
    return kept                                     # False


def collecting():
    ballast = [[[i]] for i in range(10000)]
    source = inspect.getsource(many_names).replace("pass  ", "; ".join("a%d = gc.a%d" % (i, i) for i in range(300)) + "  ")
    # Again at the line where it was, with more names before the one that counts than fit into a byte.
    start = many_names.__code__.co_firstlineno - 1
    exec(compile("\n" * start + source, __file__, "exec"), globals())
    gc.set_threshold(500, 2, 2)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for work in (by_attribute, imported, among_others, over_lines, locally, elsewhere, many_names, nowhere):
            for _ in range(20 if work in (elsewhere, nowhere) else 1):
                work()
    return ballast


async def main():
    truth("ready", pid=os.getpid(), python=sys.version.split()[0])
    if "--still" in sys.argv:
        return await still()
    if "--collects" in sys.argv:
        return collecting()
    tasks = [asyncio.ensure_future(busy(i)) for i in range(6)]
    await asyncio.wait(tasks, timeout=60)
    truth("bye", why=[repr(t) for t in tasks if t.done()])


if __name__ == "__main__":
    if "--deepest" in sys.argv:
        deepest()
    if "--uvloop" in sys.argv:
        import uvloop
        if sys.version_info < (3, 12):
            uvloop.install()
            asyncio.run(main())
        else:
            uvloop.run(main())
    else:
        asyncio.run(main())
