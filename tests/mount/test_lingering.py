"""Files that were open for reading and are opened again soon after: the kernel has them still (backing.h), which
is faster and nothing else."""

import fcntl
import os
import re
import stat
import subprocess
import time

import pytest

from harness import run, small_disk, traced, wait_for

MB = 1 << 20
FILES = 20
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="passthrough needs root")


@pytest.fixture
def source(world):
    return world.dir / "src"


@pytest.fixture
def box(mount, source):
    return mount(f"/h=host:{source}", options="control=visible,io_uring=no")


def figure(box, name):
    text = (box / ".aib/metrics").read_text()
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE)[1])


def read(path):
    """Opened, read and closed, and the daemon knows that it was closed."""
    return path.read_bytes()


def reader_of_many(box, source):
    for i in range(FILES):
        (source / f"f{i}").write_text("text")
    return lambda: [read(box / f"h/f{i}") for i in range(FILES)]


def opened_by_daemon(box, trace, call):
    """What the daemon opened in truth, and registered with the kernel, meanwhile."""
    lines = traced(box, "open_by_handle_at,ioctl", trace, call)
    return sum("(" in line and "O_PATH" not in line for line in lines)


@pytest.mark.alone
def test_a_file_that_is_opened_again_is_not_opened_by_the_daemon(mount, source, world):
    box = mount(f"/h=host:{source}", options="io_uring=no,linger=1h")
    look = reader_of_many(box, source)
    trace = world.dir / "state/trace"
    assert opened_by_daemon(box, trace, look) >= 2 * FILES
    assert opened_by_daemon(box, trace, look) == 0


@pytest.mark.alone
def test_it_can_be_turned_off(mount, source, world):
    box = mount(f"/h=host:{source}", options="control=visible,io_uring=no,linger=0")
    look = reader_of_many(box, source)
    look()
    assert opened_by_daemon(box, world.dir / "state/trace", look) >= 2 * FILES


@pytest.fixture
def small(world):
    with small_disk(world, "16m") as top:
        yield top


def free(path):
    st = os.statvfs(path)
    return st.f_bavail * st.f_frsize


@pytest.mark.parametrize("removed", ["beside the mount", "through the mount"])
def test_what_is_removed_gives_its_room_back(small, mount, removed):
    box = mount(f"/h=host:{small}")
    before = free(small)
    for i in range(10):
        (small / f"f{i}").write_bytes(os.urandom(MB))
        assert len(read(box / f"h/f{i}")) == MB
    assert free(small) < before - 9 * MB
    for i in range(10):
        ((small if removed == "beside the mount" else box / "h") / f"f{i}").unlink()
    wait_for("the room to be free again", lambda: free(small) > before - MB)


def test_nothing_is_left_of_many_files(box, source):
    fds = len(os.listdir(f"/proc/{box.pid}/fd"))
    for i in range(2000):
        (source / f"f{i}").write_text("text")
        assert read(box / f"h/f{i}") == b"text"
    wait_for("files to be closed", lambda: figure(box, "aib_passthrough_files") == 0)
    # Those of nodes stay, up to the setting.
    assert len(os.listdir(f"/proc/{box.pid}/fd")) < fds + 2000


def test_what_was_replaced_is_seen_when_its_name_is_looked_up(mount, source):
    box = mount(f"/h=host:{source},entry_timeout=0")
    for text in (b"one", b"two", b"three"):
        (source / "new").write_bytes(text)
        (source / "new").rename(source / "f")
        assert read(box / "h/f") == text


def test_what_changes_meanwhile_is_read(box, source):
    (source / "f").write_text("one")
    assert read(box / "h/f") == b"one"
    (source / "f").write_text("two")
    assert read(box / "h/f") == b"two"
    (box / "h/f").write_text("three")
    assert read(box / "h/f") == b"three"


def test_a_resumed_file_that_is_removed_beside_the_mount_is_whole(box, source):
    """The daemon has no descriptor of it until somebody asks what only the daemon can answer."""
    data = b"x" * 10000
    (source / "f").write_bytes(data)
    assert read(box / "h/f") == data
    fd = os.open(box / "h/f", os.O_RDONLY)
    try:
        (source / "f").unlink()
        assert os.fstat(fd).st_size == len(data)
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        assert os.lseek(fd, 0, os.SEEK_HOLE) == len(data)
        os.fsync(fd)
        assert os.pread(fd, 20000, 0) == data
        os.fchmod(fd, 0o600)
        assert stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    finally:
        os.close(fd)


def test_many_ask_at_once_what_only_the_daemon_can_answer(box, source):
    (source / "f").write_bytes(b"x" * 10000)
    assert read(box / "h/f")
    script = "import os, sys; fd = os.open(sys.argv[1], os.O_RDONLY)\n" + "assert os.lseek(fd, 0, os.SEEK_HOLE) == 10000\n" * 100
    running = [subprocess.Popen(["python3", "-c", script, box / "h/f"]) for _ in range(4)]
    assert [p.wait() for p in running] == [0] * 4


def test_root_keeps_setuid_of_what_was_read_before(box, source):
    """Whose writes clear the bit, only the daemon can tell: such a file is not in passthrough."""
    (source / "f").write_bytes(b"x")
    assert read(box / "h/f") == b"x"
    (box / "h/f").chmod(0o4755)
    with open(box / "h/f", "rb"), open(box / "h/f", "r+b") as f:
        f.write(b"y")
    assert stat.S_IMODE((source / "f").stat().st_mode) == 0o4755


def test_who_opens_it_otherwise_outlasts_what_lingered(box, source):
    (source / "f").write_bytes(b"one")
    assert read(box / "h/f") == b"one"
    with open(box / "h/f", "r+b", buffering=0) as f:
        time.sleep(1.5)
        f.write(b"two")
        assert read(box / "h/f") == b"two"
        time.sleep(1.5)
        assert figure(box, "aib_passthrough_files") == 1
        assert f.read() == b""
    wait_for("the file to be closed", lambda: figure(box, "aib_passthrough_files") == 0)
    assert read(box / "h/f") == b"two"


def test_what_was_read_can_be_run_written_and_leased(box, source):
    program = source / "program"
    program.write_text("#!/bin/sh\necho run\n")
    program.chmod(0o755)
    assert read(box / "h/program").startswith(b"#!")
    assert run(program).stdout == "run\n"
    with open(program, "r+b") as f:
        f.write(b"#")
    with open(program, "rb") as f:
        fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_RDLCK)


def test_the_mount_ends_while_files_linger(box, source):
    (source / "f").write_text("text")
    assert read(box / "h/f") == b"text"
    assert box.end() == []
