"""A file that another process beside the mount has leased (fcntl(2), F_SETLEASE) and does not give up: who
opens or cuts it waits, and nobody else."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

import pytest

import harness

# Tells when it has the lease, and takes no notice of who wants it back: the kernel takes it after 45 s.
HOLDER = """
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
f = open(sys.argv[1], "r+")
fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("mine", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def leased(path):
    argv = [sys.executable, "-c", HOLDER, path]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "mine\n"
        try:
            yield p
        finally:
            p.kill()


def uses():
    """Of a leased file that wait."""
    return {
        "read": lambda path: open(path, "rb").read(),
        "write": lambda path: os.close(os.open(path, os.O_WRONLY)),
        "create": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT)),
        "truncate": lambda path: os.truncate(path, 1),
    }


@pytest.fixture
def source(world):
    for name in ("leased", "other"):
        (world.dir / "src" / name).write_text("text")
    return world.dir / "src"


@pytest.fixture
def tree(mount, source):
    return mount(f"/h=host:{source}", options="io_uring=no") / "h"


@pytest.mark.parametrize("use", uses())
def test_a_leased_file_is_waited_for_alone(tree, source, use):
    results = []
    with leased(source / "leased") as holder:
        waiting = threading.Thread(target=lambda: results.append(uses()[use](tree / "leased")))
        waiting.start()
        for i in range(50):
            assert (tree / "other").read_text() == "text"
            (tree / f"new{i}").write_text("new")
        assert waiting.is_alive() and not results
        holder.stdin.close()  # it ends, and its lease with it
        waiting.join(harness.SLOW * 10)
        assert len(results) == 1
    assert (source / "leased").read_text() == ("t" if use == "truncate" else "text")


def test_who_waits_for_a_leased_file_can_be_killed(tree, source):
    with leased(source / "leased"):
        with subprocess.Popen(["cat", tree / "leased"]) as p:
            assert (tree / "other").read_text() == "text"
            with pytest.raises(subprocess.TimeoutExpired):
                p.wait(0.3)
            p.kill()
            assert p.wait(harness.SLOW * 10) == -signal.SIGKILL


def test_who_does_not_want_to_wait_is_told(tree, source):
    with leased(source / "leased"):
        for path in (source / "leased", tree / "leased"):
            with pytest.raises(BlockingIOError):
                os.open(path, os.O_RDONLY | os.O_NONBLOCK)


@pytest.fixture
def processors():
    all_of_them = os.sched_getaffinity(0)
    yield sorted(all_of_them)
    os.sched_setaffinity(0, all_of_them)


@pytest.mark.parametrize("use", uses())
def test_over_io_uring_nobody_waits(mount, source, processors, use):
    """There a call would keep all of its processor."""
    with harness.io_uring() as there:
        box = mount(f"/h=host:{source}")
        tree = box / "h"
        with leased(source / "leased") as holder:
            for processor in processors if there else []:
                os.sched_setaffinity(0, {processor})
                with pytest.raises(BlockingIOError):
                    uses()[use](tree / "leased")
                assert (tree / "other").read_text() == "text"
            holder.stdin.close()
            holder.wait()
        uses()[use](tree / "leased")
        assert ("io_uring: on" in (box / ".aib/log").read_text()) == there
