"""What the parts of scripts/bench share: programs, time, progress."""

import os
import pathlib
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = TOP / "build/bin"


def sh(*argv, **kw):
    kw.setdefault("stdout", subprocess.DEVNULL)
    return subprocess.run([os.fspath(a) for a in argv], check=True, stdin=subprocess.DEVNULL, **kw)


def timed(call, *argv, **kw):
    start = time.perf_counter()
    call(*argv, **kw)
    return time.perf_counter() - start


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}" if text else "\r\033[K", end="", file=sys.stderr, flush=True)


def show_time(seconds):
    return f"{seconds * 1e6:.1f} us" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"
