"""What a failure of the daemon's does to who writes into a container (faults.py), by each way to its files: he is told
by close or fsync at the latest, or the file is right; and the way comes back by itself."""

import os
import re

import pytest

from faults import clean, descriptors, fail_each_in_its_turn, job
from harness import LONG, SLOW, wait_for

# Sanitizers have an allocator and wrappers of calls of their own, before which nothing can be loaded.
__test__ = SLOW == 1
WAYS = {"direct": "guest=direct", "stream": "guest=stream", "archive": "transport=archive"}
TRANSPORT = {"direct": "guest", "stream": "guest", "archive": "archive"}
SOME = {"direct": 15, "stream": 15, "archive": 50}  # without --long, each so many-th


def serves(box, way):
    """A lost guest is started by the next call."""
    try:
        os.stat(box / "c/tmp")
    except OSError:
        return False
    lines = (box / ".aib/sandboxes/c/status").read_text().splitlines()
    return f"transport {TRANSPORT[way]}" in lines


def open_files(box):
    return int(re.search(r"^aib_open_files (\d+)", (box / ".aib/metrics").read_text(), re.M)[1])


@pytest.mark.timeout(7200 if LONG else 120)
@pytest.mark.parametrize("kind", ["allocation", "EIO", "ENOSPC"])
@pytest.mark.parametrize("way", WAYS)
def test_no_failure_is_lost(fault, mount, container, monkeypatch, way, kind):
    box = mount(f"/c=container:{container()},{WAYS[way]}", options="passthrough=no")
    monkeypatch.delenv("LD_PRELOAD")
    dir = box / "c/tmp/work"

    def ready():
        wait_for(f"{way} to serve", lambda: serves(box, way))

    ready()
    dir.mkdir()
    for _ in range(3):  # threads and buffers that stay are there
        job(dir)
        clean(dir)
    before = descriptors(box.pid)
    files = open_files(box)
    told = fail_each_in_its_turn(fault, kind, dir, box.pid, 1 if LONG else SOME[way], ready)
    assert told > 0
    # libfuse drops a RELEASE that it has no memory for, two a job at most: such a file stays, and its guest's connection.
    kept = open_files(box) - files
    assert kept <= (4 if kind == "allocation" else 0)
    wait_for("descriptors to be closed", lambda: descriptors(box.pid) <= before + 4 + 6 * kept)
