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


def spawn(argv, env):
    """Run a program by posix_spawn(3): a fork of this process would take longer than what is measured."""
    nothing = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=nothing)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status != 0:
        raise subprocess.CalledProcessError(status, argv)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r\033[K  {text}" if text else "\r\033[K", end="", file=sys.stderr, flush=True)


def show_time(seconds):
    return f"{seconds * 1e6:.1f} us" if seconds < 0.001 else f"{seconds * 1e3:.1f} ms"
