"""One allocation or system call of the daemon fails (mount/fail.c), each in its turn, while a file is written."""

import errno
import itertools
import os
import struct

ALLOCATION, CALL = 1, 2
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO}


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


def fail_each_in_its_turn(fault, kind, dir, pid, every=1, ready=lambda: None):
    """How many failures somebody was told of, READY before each. It ends with the first that did not come to pass."""
    told = 0
    for n in itertools.count(1, every):
        ready()
        fault.set(ALLOCATION if kind == "allocation" else CALL, n, ERRORS.get(kind, 0))
        error = None
        try:
            job(dir)
        except OSError as e:
            error = e
        happened = fault.end()
        if error is None:
            ready()
            assert (dir / "name").read_bytes() == right(), f"lost in silence: {kind} {n}"
        assert happened or error is None, f"{kind} {n}: {error}"
        assert os.path.exists(f"/proc/{pid}"), f"{kind} {n}: the daemon ended"
        ready()
        clean(dir)
        told += error is not None
        if not happened:
            print(f"{kind}: {n // every} failures, {told} told")
            return told
