"""One allocation or system call of the daemon fails (fail.c), each in its turn, while a file is written:
whoever wrote is told by close or fsync at the latest, or the file is right."""

import concurrent.futures
import errno
import itertools
import os
import struct
import time

import pytest

from harness import BUILD, LONG, SLOW, wait_for

# Sanitizers have an allocator and wrappers of calls of their own, before which nothing can be loaded.
__test__ = SLOW == 1
ALLOCATION, CALL = 1, 2
ERRORS = {"ENOSPC": 28, "EIO": 5}
ROUNDS = 10 if LONG else 1


class Fault:
    """The struct fail of a daemon."""

    def __init__(self, path):
        self.path = path
        self.set(0, 0, 0)

    def set(self, kind, n, error):
        # Its kind last: nothing fails before the rest is there.
        with open(self.path, "r+b" if self.path.exists() else "w+b", buffering=0) as f:
            f.write(struct.pack("4i", 0, n, error, 0))
            f.seek(0)
            f.write(struct.pack("i", kind))

    def end(self):
        """Whether it happened."""
        fired = struct.unpack("4i", self.path.read_bytes())[3]
        self.set(0, 0, 0)
        return fired


@pytest.fixture
def fault(world, monkeypatch):
    """Of the mounts that are made from now on."""
    fault = Fault(world.dir / "fail")
    monkeypatch.setenv("AIB_FAIL", str(fault.path))
    monkeypatch.setenv("LD_PRELOAD", str(BUILD / "tests/mount/libfail.so"))
    return fault


def write_all(fd, data):
    """A short write tells what was taken: the rest is written again, as programs do."""
    while data:
        n = os.write(fd, data)
        assert n > 0
        data = data[n:]


def job(dir):
    """What a program does with a file, all its ways to write. Raises what it was told."""
    fd = os.open(dir / "new", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for piece in range(4):
            write_all(fd, bytes([97 + piece]) * 70_000)
        assert os.pwrite(fd, b"over", 100) == 4
        os.ftruncate(fd, 200_000)
        os.fsync(fd)
    finally:
        os.close(fd)
    fd = os.open(dir / "new", os.O_WRONLY | os.O_APPEND)
    try:
        write_all(fd, b"end")
    finally:
        os.close(fd)
    os.rename(dir / "new", dir / "name")


def right():
    text = bytearray(b"a" * 70_000 + b"b" * 70_000 + b"c" * 60_000)
    text[100:104] = b"over"
    return bytes(text) + b"end"


def clean(dir):
    for name in os.listdir(dir):
        os.unlink(dir / name)


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def fail_each_in_its_turn(fault, kind, dir, pid):
    """How many failures somebody was told of. It ends with the first that did not come to pass."""
    told = 0
    for n in itertools.count(1):
        fault.set(ALLOCATION if kind == "allocation" else CALL, n, ERRORS.get(kind, 0))
        error = None
        try:
            job(dir)
        except OSError as e:
            error = e
        happened = fault.end()
        if error is None:
            assert (dir / "name").read_bytes() == right(), f"lost in silence: {kind} {n}"
        assert happened or error is None, f"{kind} {n}: {error}"
        assert os.path.exists(f"/proc/{pid}"), f"{kind} {n}: the daemon ended"
        clean(dir)
        told += error is not None
        if not happened:
            print(f"{kind}: {n - 1} failures, {told} told")
            return told


@pytest.mark.timeout(900 if LONG else 120)
@pytest.mark.parametrize(
    "route, kind", [("memory", "allocation"), ("host", "allocation"), ("host", "ENOSPC"), ("host", "EIO")]
)
def test_no_failure_is_lost(fault, world, mount, monkeypatch, route, kind):
    box = mount("/r=memory" if route == "memory" else f"/r=host:{world.dir}/src", options="passthrough=no")
    monkeypatch.delenv("LD_PRELOAD")
    dir = box / "r"
    for _ in range(3):  # threads and buffers that stay are there
        job(dir)
        clean(dir)
    before = descriptors(box.pid)
    told = sum(fail_each_in_its_turn(fault, kind, dir, box.pid) for _ in range(ROUNDS))
    assert told > 0
    # libfuse drops a RELEASE that it has no memory for, and nobody else hears of it: its file stays until the end.
    spare = 2 + (4 * ROUNDS if kind == "allocation" else 0)
    wait_for("descriptors to be closed", lambda: descriptors(box.pid) <= before + spare)


def look_at_once(path, threads=8, seconds=0.05):
    """So many calls at once that more threads have to read requests; what went wrong, an errno each."""
    end = time.monotonic() + seconds

    def look():
        while time.monotonic() < end:
            os.statvfs(path)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        errors = [f.exception() for f in [pool.submit(look) for _ in range(threads)]]
    return [e.errno for e in errors if e]


def test_a_thread_that_cannot_read_for_want_of_memory_tries_again(fault, mount):
    happened = 0
    for n in range(1, 31):
        box = mount("/r=memory", options="io_uring=no")
        fault.set(ALLOCATION, n, 0)
        assert look_at_once(box / "r") in ([], [errno.ENOMEM]), n
        happened += fault.end()
        job(box / "r")
        assert (box / "r/name").read_bytes() == right(), n
        box.end()
    assert happened
