"""What the daemon takes for what the kernel remembers: little, none of it descriptors, and all of it
given back. With --long a tree of a million files, else a slice."""

import os
import pathlib

import pytest

from harness import LONG, SLOW, wait_for
from prometheus_client.parser import text_string_to_metric_families

FILES = 1000000 if LONG else 20000
A_DIRECTORY = 1000
BYTES = 400  # of the daemon's memory for each
MEASURED = SLOW == 1  # sanitizers take more, and keep what is freed for a while
ROUNDS = 10 if LONG else 4

pytestmark = [
    pytest.mark.alone,  # what the kernel is made to forget is everybody's
    pytest.mark.timeout(1800 if LONG else 120),
    pytest.mark.skipif(os.getuid() != 0, reason="only root makes the kernel forget"),
]


def resident(box):
    lines = pathlib.Path(f"/proc/{box.pid}/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


def remembered(box):
    families = text_string_to_metric_families((box / ".aib/metrics").read_text())
    return next(s.value for f in families for s in f.samples if s.name == "aib_nodes")


def walk(directory):
    n = 0
    for entry in os.scandir(directory):
        entry.stat(follow_symlinks=False)
        n += 1
        if entry.is_dir(follow_symlinks=False):
            n += walk(entry.path)
    return n


def forget():
    pathlib.Path("/proc/sys/vm/drop_caches").write_text("2")


@pytest.fixture
def tree(world):
    for d in range(FILES // A_DIRECTORY):
        directory = world.dir / f"src/d{d}"
        directory.mkdir()
        fd = os.open(directory, os.O_RDONLY)
        for i in range(A_DIRECTORY):
            os.close(os.open(f"f{i}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.close(fd)
    return world.dir / "src"


def test_a_walk_takes_little_for_each_file_and_gives_it_back(mount, tree):
    box = mount(f"/h=host:{tree}", options="io_uring=no")
    walk(box / "h/d0")  # what is made once
    before = resident(box)
    assert walk(box / "h") >= FILES
    # The kernel may have forgotten some of a large tree by the end.
    known = remembered(box)
    if MEASURED:
        each = (resident(box) - before) / known
        print(f"{each:.0f} bytes for each of {known:.0f}")
        assert each < BYTES
    assert len(os.listdir(f"/proc/{box.pid}/fd")) < 4096 + 200
    after = resident(box)
    for _ in range(ROUNDS):
        walk(box / "h")
    if MEASURED:
        assert resident(box) < after * 1.1 + (4 << 20)

    def forgotten():
        forget()
        return remembered(box) < known / 10

    wait_for("that the kernel forgets", forgotten, timeout=60)
    if MEASURED:
        wait_for("memory back", lambda: resident(box) < before + (after - before) / 2 + (2 << 20), timeout=20)
