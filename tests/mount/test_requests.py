"""How many requests a job takes: speed, as a count that is exact. What the kernel can know by
itself it must not ask."""

import os
import pathlib
import re
import subprocess
import time

import pytest

import harness
from harness import program, wait_for
from prometheus_client.parser import text_string_to_metric_families

FILES = 40

pytestmark = pytest.mark.alone


def requests(box):
    """What was answered so far, but for what asks."""
    families = text_string_to_metric_families((box / ".aib/metrics").read_text())
    return sum(
        int(s.value)
        for f in families
        for s in f.samples
        if s.name == "aib_route_request_seconds_count" and s.labels["route"] != "/.aib"
    )


def settled(box):
    """A release is sent behind close's back: when all have come, be the machine as busy as it likes."""
    n, same = requests(box), 0
    while same < 3:
        time.sleep(0.05)
        now = requests(box)
        n, same = now, same + 1 if now == n else 0
    return n


def cost(box, call):
    before = settled(box)
    call()
    return settled(box) - before


@pytest.fixture(params=["host", "memory", "host over io_uring"])
def place(request, mount, world):
    """(mount, a directory of the route); what is told is remembered for as long as the test takes."""
    source = world.dir / "src"
    route = f"/h=host:{source},entry_timeout=60s,attr_timeout=60s"
    if request.param == "host over io_uring":
        with harness.io_uring():
            box = mount(route)
    else:
        box = mount(route, options="io_uring=no")
    directory = box / ("" if request.param == "memory" else "h") / "work"
    directory.mkdir()
    box.source = None if request.param == "memory" else source
    return box, directory


def make(directory, n=FILES):
    for i in range(n):
        fd = os.open(directory / f"f{i}", os.O_CREAT | os.O_WRONLY)
        os.write(fd, b"x")
        os.close(fd)


# LOOKUP, the directory's GETATTR, since the kernel forgets it at each change, CREATE, GETXATTR of
# security.capability before the first write, RELEASE; and WRITE where there is no passthrough.
MAKING = 6


def test_making_writing_and_closing_a_small_file_takes_five_and_the_write(place):
    box, directory = place
    passes = os.getuid() == 0 and directory.parent.name == "h"
    assert cost(box, lambda: make(directory)) <= (MAKING - passes) * FILES + 4


def test_stat_of_what_was_just_looked_at_takes_none(place):
    box, directory = place
    make(directory)
    look = lambda: [os.stat(directory / f"f{i}") for i in range(FILES)]
    look()
    assert cost(box, look) == 0


def test_names_that_are_missing_are_asked_for_once(place):
    box, directory = place
    look = lambda: [os.path.exists(directory / f"none{i}") for i in range(FILES)]
    look()
    assert cost(box, look) == 0
    (directory / "none3").write_text("x")
    assert os.path.exists(directory / "none3")


def test_a_second_long_listing_asks_of_no_file(place):
    box, directory = place
    make(directory)
    look = lambda: subprocess.run(["ls", "-l", directory], check=True, stdout=subprocess.DEVNULL)
    look()
    assert cost(box, look) <= 8  # of the directory itself, and what ls asks once


def test_directories_that_are_listed_again_at_once_are_not_read_again(place):
    box, directory = place
    trees = [directory / f"d{i}" for i in range(40)]
    for d in trees:
        d.mkdir()
        make(d, 5)
    seen = []

    def look():
        seen.append([sorted((e.name, e.stat().st_size) for e in os.scandir(d)) for d in trees])
        return True

    def again():
        look()
        look()
        return cost(box, look) <= 3 * len(trees)  # opened, looked at and closed

    wait_for("listings that the kernel has", again)
    assert seen == [seen[0]] * len(seen)
    # What changes, through the mount and beside it, shows.
    (trees[7] / "new").write_text("x")
    trees[8].joinpath("f3").unlink()
    assert "new" in os.listdir(trees[7]) and "f3" not in os.listdir(trees[8])
    if box.source:
        look()
        (box.source / "work/d9/beside").write_text("x")
        wait_for("what is made beside", lambda: "beside" in os.listdir(trees[9]), 3)


def looked_at(box, trace, call):
    """How often the daemon looked at one of the files meanwhile."""
    return sum(', "f' in line for line in harness.traced(box, "statx", trace, call))


def test_a_listing_that_was_just_given_in_full_is_given_by_names(mount, world):
    box = mount(f"/h=host:{world.dir}/src,entry_timeout=60s,attr_timeout=60s")
    directory, beside, trace = box / "h/work", world.dir / "src/work", world.dir / "state/trace"
    directory.mkdir()
    make(directory)
    look = lambda: subprocess.run(["ls", "-l", directory], check=True, stdout=subprocess.PIPE, text=True).stdout
    seen = []
    assert looked_at(box, trace, lambda: seen.append(look())) >= FILES
    twice = lambda: seen.extend((look(), look()))
    # A machine that is busy may be late for the second.
    wait_for("a listing by names", lambda: looked_at(box, trace, twice) < 1.5 * FILES)
    assert seen == [seen[0]] * len(seen)
    # Beside the mount: the missing name that the kernel remembers is there after all.
    assert not os.path.exists(directory / "new")
    (beside / "new").write_text("new")
    assert looked_at(box, trace, lambda: os.listdir(directory)) >= FILES
    assert (directory / "new").read_text() == "new"


def test_opening_reading_and_closing_again_takes_two(place):
    box, directory = place
    make(directory)

    def look():
        for i in range(FILES):
            fd = os.open(directory / f"f{i}", os.O_RDONLY)
            assert os.read(fd, 100) == b"x"
            os.close(fd)

    look()
    assert cost(box, look) <= 2 * FILES


def test_what_may_be_stored_to_unseen_is_asked_for_at_each_stat_and_once_a_tick_at_seeks(place):
    """In passthrough, a file that was opened for reading and writing may be mapped."""
    box, directory = place
    unseen = box.source and "passthrough: on" in (box / ".aib/log").read_text()
    path = directory / "f"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    cost(box, lambda: os.stat(path))
    assert cost(box, lambda: [os.stat(path) for _ in range(100)]) == (100 if unseen else 0)
    assert cost(box, lambda: [os.lseek(fd, 0, os.SEEK_END) for _ in range(1000)]) < 300
    os.close(fd)


def test_removing_takes_one_and_the_directory_s_attributes(place):
    box, directory = place
    make(directory)
    remove = lambda: [os.unlink(directory / f"f{i}") for i in range(FILES)]
    assert cost(box, remove) <= 2 * FILES + 4


# ---- A mount of memory alone: the kernel keeps all, and asks for nothing that it has -----------


class Alone:
    """One in the foreground, whose debug lines tell of each request: it has no `.aib` to ask."""

    def __init__(self, world):
        self.path = world.dir / "alone"
        self.path.mkdir()
        self.log = world.dir / "alone.log"
        self.world = world

    def __enter__(self):
        argv = [program("aib"), "mount", "-f", "-r", "/=memory", "-o", "control=none,debug", str(self.path)]
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        harness.wait_for("the mount", lambda: os.path.ismount(self.path))
        return self

    def __exit__(self, *_):
        subprocess.run(["umount" if os.getuid() == 0 else "fusermount3", *([] if os.getuid() == 0 else ["-u"]), self.path])
        assert self.process.wait(20) == 0

    def cost(self, call):
        """The names of the requests that CALL makes, but for what tells that something is forgotten."""
        start = self.log.stat().st_size
        call()
        time.sleep(0.1)
        with open(self.log) as f:
            f.seek(start)
            names = re.findall(r"opcode: (\w+)", f.read())
        return [n for n in names if "FORGET" not in n]


@pytest.fixture
def alone(world):
    with Alone(world) as mounted:
        yield mounted


def test_a_mount_of_memory_alone_is_not_asked_to_open_read_or_list_again(alone):
    d = alone.path / "d"
    d.mkdir()
    make(d)
    look = lambda: subprocess.run(["grep", "-rq", "none", d], check=False)
    look()
    # The kernel does not keep st_blocks of what it writes itself.
    assert {*alone.cost(look)} <= {"GETATTR", "STATFS"}
    listing = lambda: subprocess.run(["ls", "-l", d], check=True, stdout=subprocess.DEVNULL)
    listing()
    assert alone.cost(listing) == ["GETXATTR"] * 2  # what ls asks once


def test_a_mount_of_memory_alone_gathers_small_writes(alone):
    def write():
        with open(alone.path / "f", "wb", buffering=0) as f:
            for _ in range(1000):
                f.write(b"x" * 100)

    assert len(alone.cost(write)) <= 10 * harness.SLOW  # the longer it takes, the more is written back meanwhile
    assert (alone.path / "f").stat().st_size == 100000


def test_a_mount_of_memory_alone_takes_as_many_to_make_a_small_file_and_none_to_read_it(alone):
    make(alone.path, 1)
    assert len(alone.cost(lambda: make(alone.path))) <= MAKING * FILES + 4
    look = lambda: [(alone.path / f"f{i}").read_bytes() for i in range(FILES)]
    assert {*alone.cost(look)} <= {"GETATTR", "IOCTL"}


def test_what_an_operation_makes_shows_in_a_listing_that_the_kernel_has(mount):
    for options in ("control=none", None):
        box = mount("/=memory", options=options)
        d = box / "d"
        d.mkdir()
        (d / "old").write_text("x")
        for _ in range(3):
            assert os.listdir(d) == ["old"]
        before = os.stat(d).st_mtime_ns
        harness.run(program("aib"), "write", d / "new", "--content", "y")
        assert sorted(os.listdir(d)) == ["new", "old"]
        assert os.stat(d).st_mtime_ns > before
        harness.run(program("aib"), "write", d / "sub/deep/new", "--content", "y")
        assert sorted(os.listdir(d)) == ["new", "old", "sub"]
        assert (d / "new").read_text() + (d / "sub/deep/new").read_text() == "yy"
        harness.run(program("aib"), "edit", d / "new", "--old", "y", "--new", "zz")
        assert (d / "new").read_text() == "zz"
