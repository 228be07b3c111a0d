#!/usr/bin/env python3
"""A Python that imports asyncio only when told: otop may have been attached to it long before.

It prints ready, waits for a line on stdin, and then is sessions.py --control with the arguments it was given, which
prints its own ready. Python 3.8 to 3.15; it knows nothing of otop.
"""
import json
import os
import sys
import threading


def main():
    assert "asyncio" not in sys.modules
    print(json.dumps({"ev": "ready", "pid": os.getpid(), "native_tid": threading.get_native_id(),
                      "python": sys.version.split()[0], "asyncio": False}), flush=True)
    # Read by the byte: what follows the line belongs to the control channel.
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        line += byte
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    import sessions
    sessions.main(["--control"] + sys.argv[1:])


if __name__ == "__main__":
    main()
