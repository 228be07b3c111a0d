#!/usr/bin/env python3
"""A Python that never imports asyncio: otop must say so and not guess. Python 3.8 to 3.15; it knows nothing of otop.

It prints ready, then works a little, until stdin ends or --for seconds have passed.
"""
import json
import os
import sys
import threading
import time

DURATION = 900.0


def wait_for_end():
    sys.stdin.read()
    os._exit(0)


def main():
    assert "asyncio" not in sys.modules
    print(json.dumps({"ev": "ready", "pid": os.getpid(), "native_tid": threading.get_native_id(),
                      "python": sys.version.split()[0]}), flush=True)
    threading.Thread(target=wait_for_end, daemon=True).start()
    end = time.monotonic() + DURATION
    while time.monotonic() < end:
        sum(range(20000))
        time.sleep(0.02)


if __name__ == "__main__":
    main()
