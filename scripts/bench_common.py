"""What the parts of scripts/bench share: programs, time, progress."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent
BIN = TOP / "build/bin"


def sh(*argv, **kw):
    kw.setdefault("stdout", subprocess.DEVNULL)
    return subprocess.run([os.fspath(a) for a in argv], check=True, stdin=subprocess.DEVNULL, **kw)


@contextlib.contextmanager
def limit(seconds):
    """TimeoutError after SECONDS. Not subprocess's timeout, which looks for the end in steps of up to
    50 ms, and so measures those."""

    def end(*_):
        raise TimeoutError(f"it takes more than {seconds} s")

    signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)


def timed(call, *argv, **kw):
    start = time.perf_counter()
    call(*argv, **kw)
    return time.perf_counter() - start


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}" if text else "\r\033[K", end="", file=sys.stderr, flush=True)


def show_time(seconds):
    return f"{seconds * 1e6:.1f} us" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"
