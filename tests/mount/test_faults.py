"""What a failure of the daemon's does to who writes (faults.py): he is told by close or fsync at the latest, or the
file is right."""

import concurrent.futures
import errno
import os
import time

import pytest

from faults import ALLOCATION, clean, descriptors, fail_each_in_its_turn, job, right
from harness import LONG, SLOW, wait_for

# Sanitizers have an allocator and wrappers of calls of their own, before which nothing can be loaded.
__test__ = SLOW == 1
ROUNDS = 10 if LONG else 1


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
