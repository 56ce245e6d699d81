"""Passthrough: the kernel reads and writes files of host routes without asking the daemon, and
nobody can tell but by the speed. What the daemon reads and writes is counted in /proc/PID/io."""

import contextlib
import ctypes
import errno
import mmap
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

from harness import program, run, small_disk, wait_for

libc = ctypes.CDLL(None, use_errno=True)
MB = 1 << 20
pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="passthrough needs root")


def counted(pid):
    """Bytes that the daemon has moved by read(2) and write(2) of all kinds, requests included."""
    lines = pathlib.Path(f"/proc/{pid}/io").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("rchar", "wchar")))


def open_fds(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


@pytest.fixture
def source(world):
    (world.dir / "src").chmod(0o777)
    return world.dir / "src"


@pytest.fixture
def box(mount, source):
    # What comes over a ring is not in /proc/PID/io.
    return mount(f"/h=host:{source}", options="control=visible,io_uring=no")


def removed_files(pid):
    fds = []
    for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            fds.append(os.readlink(fd))
    return [fd for fd in fds if fd.endswith("(deleted)")]


def test_what_is_removed_gives_back_its_space_and_descriptors(box, source):
    """Files that were written out, which the file system takes long to free."""
    for i in range(1000):
        (source / f"f{i}").write_bytes(os.urandom(20000))
    os.sync()
    for i in range(1000):
        (box / f"h/f{i}").unlink()
    wait_for("descriptors of removed files to be closed", lambda: not removed_files(box.pid), timeout=10)
    assert list(source.iterdir()) == []


def test_an_open_directory_that_is_removed_beside_the_mount_is_empty(mount, source):
    """As natively, though the few descriptors that the daemon keeps have gone to others meanwhile."""
    box = mount(f"/h=host:{source},fd_cache=4")
    for i in range(50):
        (source / f"d{i}").mkdir()
    fd = os.open(box / "h/d0", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for i in range(1, 50):
            (box / f"h/d{i}/f").touch()
        (source / "d0").rmdir()
        assert os.listdir(fd) == []
    finally:
        os.close(fd)


def moved_by_io(box, path):
    """How much the daemon moves while 8 MiB are written and read."""
    data = os.urandom(MB)
    before = counted(box.pid)
    with open(path, "w+b", buffering=0) as f:
        for _ in range(8):
            assert f.write(data) == MB
        f.seek(0)
        for _ in range(8):
            assert f.read(MB) == data
    return counted(box.pid) - before


def passes(box):
    """Whether box has passthrough. Only an old libfuse or kernel is a reason not to."""
    line = next(s for s in (box / ".aib/log").read_text().splitlines() if "passthrough: o" in s)
    if "libfuse older" in line or "Linux 6.9" in line:
        return False
    assert line.endswith("passthrough: on")
    return True


def check_passes(box, path):
    moved = moved_by_io(box, path)
    assert moved < 64 << 10 if passes(box) else moved > 8 * MB


def error_of(call, *args):
    with pytest.raises(OSError) as e:
        call(*args)
    return e.value.errno


# ---- That it happens


def test_no_data_passes_the_daemon(box):
    check_passes(box, box / "h/f")
    assert moved_by_io(box, box / "memory") > 8 * MB


@pytest.fixture
def overlay(world):
    """A directory that is an overlayfs, as a container's is, with a file `low` of its lower layer."""
    top = world.dir / "overlay"
    for name in ("lower", "upper", "work", "merged"):
        (top / name).mkdir(parents=True)
    (top / "lower/low").write_bytes(b"low")
    layers = f"lowerdir={top}/lower,upperdir={top}/upper,workdir={top}/work"
    run("mount", "-t", "overlay", "-o", layers, "overlay", top / "merged")
    yield top / "merged"
    for made in world.mounts:
        made.end()
    run("umount", top / "merged")


def test_files_of_an_overlayfs_pass_too(overlay, mount):
    box = mount(f"/h=host:{overlay}")
    check_passes(box, box / "h/f")
    with open(box / "h/low", "rb", buffering=0) as reader:
        with open(box / "h/low", "r+b", buffering=0) as writer:  # copied up
            writer.write(b"new")
            assert writer.read() == b""
        assert (box / "h/low").read_bytes() == b"new"
        reader.read()
    assert (overlay / "low").read_bytes() == b"new"


def test_a_mount_without_it_serves_the_same(mount, source):
    box = mount(f"/h=host:{source}", options="passthrough=no,control=visible")
    assert moved_by_io(box, box / "h/f") > 8 * MB
    log = (box / ".aib/log").read_text()
    assert "passthrough: off: it is not wanted" in log or "older than 3.17" in log


def test_other_values_of_the_option_are_refused(world):
    p = run(program("aib"), "mount", "-o", "passthrough=maybe", world.dir / "src", check=False)
    assert p.returncode == 1 and "passthrough" in p.stderr and "auto|no" in p.stderr


def test_a_daemon_that_may_not_does_without(world, source):
    place = world.dir / "place"
    place.mkdir()
    script = """
aib mount -o control=visible -r /h=host:"$1" "$2" || exit 1
echo some >"$2/h/f" && echo more >>"$2/h/f" && cat "$2/h/f" "$2/.aib/log"
aib umount "$2"
"""
    # Root, but of a user namespace.
    argv = ["unshare", "--user", "--map-root-user", "--mount"]
    p = run(*argv, "sh", "-c", script, "sh", source, place)
    assert p.stdout.startswith("some\nmore\n")
    assert "passthrough: off: " in p.stdout
    assert (source / "f").read_text() == "some\nmore\n"


# ---- Attributes


def test_sizes_and_times_are_right_after_every_kind_of_write(box, source):
    path = box / "h/f"
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def check(size):
        native = os.stat(source / "f")
        assert native.st_size == size
        for st in (os.fstat(fd), os.stat(path)):
            assert (st.st_size, st.st_mtime_ns) == (size, native.st_mtime_ns)
            assert (st.st_ctime_ns, st.st_blocks) == (native.st_ctime_ns, native.st_blocks)

    check(0)
    os.write(fd, b"x" * 5000)
    check(5000)
    os.pwrite(fd, b"y", 9999)
    check(10000)
    os.ftruncate(fd, 3)
    check(3)
    os.posix_fallocate(fd, 0, 8192)
    check(8192)
    os.truncate(path, 4096)
    check(4096)
    other = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(other, b"tail")
    check(4100)
    os.pwrite(fd, b"z", 0)
    os.write(other, b"more")
    os.close(other)
    check(4104)
    assert path.read_bytes()[4096:] == b"tailmore"
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    check(0)
    os.close(fd)


def test_a_write_invalidates_what_stat_remembered(box, source):
    path = box / "h/f"
    with open(path, "wb", buffering=0) as f:
        for i in range(20):
            f.write(b"12345")
            assert path.stat().st_size == 5 * (i + 1)
            assert path.stat().st_mtime_ns == (source / "f").stat().st_mtime_ns


def test_reads_and_writes_meet_those_of_the_native_side(box, source):
    path = box / "h/f"
    with open(path, "w+b", buffering=0) as f, open(source / "f", "r+b", buffering=0) as native:
        f.write(b"from here")
        assert native.read() == b"from here"
        os.pwrite(native.fileno(), b"FROM", 0)
        assert os.pread(f.fileno(), 100, 0) == b"FROM here"
        os.pwrite(native.fileno(), b"!" * 100, 9)
        longer = b"FROM here" + b"!" * 100
        # A cached one trusts the size that it knows, for a second.
        wait_for("the new size", lambda: os.pread(f.fileno(), 200, 0) == longer, 0 if passes(box) else 3)
        os.fsync(f.fileno())
    (source / "f").write_bytes(b"closed and opened")
    assert path.read_bytes() == b"closed and opened"


def test_holes_are_found(box):
    with open(box / "h/f", "w+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"data", MB)
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == MB
        assert os.lseek(f.fileno(), MB, os.SEEK_HOLE) > MB
        assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 0
        libc.fallocate(f.fileno(), 3, ctypes.c_long(MB), ctypes.c_long(4096))  # punch
        assert os.pread(f.fileno(), 4, MB) == bytes(4)


def test_copying_within_the_mount(box):
    data = os.urandom(3 * MB)
    (box / "h/a").write_bytes(data)
    (box / "memory").write_bytes(data)
    for source in (box / "h/a", box / "memory"):
        with open(source, "rb") as a, open(box / "h/b", "w+b") as b:
            left = len(data)
            while left:
                n = os.copy_file_range(a.fileno(), b.fileno(), left)
                assert n > 0
                left -= n
        assert (box / "h/b").read_bytes() == data
    with open(box / "h/a", "rb") as a, open(box / "h/c", "wb") as c:
        assert os.sendfile(c.fileno(), a.fileno(), 0, MB) == MB
    assert (box / "h/c").read_bytes() == data[:MB]


def test_shared_mappings(box, source):
    path = box / "h/f"
    path.write_bytes(bytes(8192))
    with open(path, "r+b", buffering=0) as f:
        with mmap.mmap(f.fileno(), 8192) as m, open(path, "rb", buffering=0) as other:
            m[100:105] = b"hello"
            assert os.pread(other.fileno(), 5, 100) == b"hello"
            os.pwrite(f.fileno(), b"world", 5000)
            assert m[5000:5005] == b"world"
            m.flush()
    assert (source / "f").read_bytes()[100:105] == b"hello"


def test_times_after_a_store_through_a_mapping(box, source):
    path, native = box / "h/f", source / "f"
    path.write_bytes(b"x")

    def check(store):
        os.utime(path, (1, 1))
        assert os.stat(path).st_mtime == 1
        store()
        assert os.stat(path).st_mtime_ns == os.stat(native).st_mtime_ns > 10**9

    fd = os.open(path, os.O_RDWR)
    with mmap.mmap(fd, 1) as m:
        check(lambda: m.__setitem__(0, 1))
        os.close(fd)
        m.flush()  # or the next store is none that the file system hears of
        check(lambda: m.__setitem__(0, 2))


def test_times_of_a_new_file_after_a_store_through_a_mapping(box, source):
    path, native = box / "h/f", source / "f"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.ftruncate(fd, mmap.PAGESIZE)
    with mmap.mmap(fd, mmap.PAGESIZE) as m:
        os.utime(native, (1, 1))  # beside the mount
        before = os.stat(path).st_mtime
        m[0] = 1
        assert (before, os.stat(path).st_mtime_ns) == (1, os.stat(native).st_mtime_ns)
    os.close(fd)


def test_the_limit_of_file_sizes_is_the_callers(box):
    script = """
import os, resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
assert os.write(fd, bytes(5000)) == 1000
try:
    os.write(fd, b"x")
except OSError as e:
    sys.exit(0 if e.errno == 27 else 1)
sys.exit(2)
"""
    run(sys.executable, "-c", script, box / "h/f")


# ---- setuid


def as_user(script, *argv):
    run(sys.executable, "-c", "import os, sys; os.setgroups([]); os.setgid(1234); os.setuid(1234)\n" + script, *argv)


def test_a_write_by_another_user_clears_setuid(box, source):
    path = box / "h/f"
    path.write_bytes(b"x" * 100)
    path.chmod(0o6777)
    as_user("f = open(sys.argv[1], 'r+b', 0); f.write(b'y')", path)
    assert path.stat().st_mode & 0o6000 == 0
    assert (source / "f").stat().st_mode & 0o6000 == 0


def test_setuid_that_comes_while_the_file_is_open_is_cleared_too(box, source):
    path = box / "h/f"
    path.write_bytes(b"x" * 100)
    path.chmod(0o777)
    script = """
f = open(sys.argv[1], 'r+b', 0)
print('open', flush=True)
sys.stdin.readline()
f.write(b'y')
"""
    p = subprocess.Popen(
        [sys.executable, "-c", "import os, sys; os.setgid(1234); os.setuid(1234)\n" + script, path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert p.stdout.readline() == "open\n"
    path.chmod(0o6777)
    p.communicate("go\n")
    assert p.returncode == 0
    assert (source / "f").stat().st_mode & 0o6000 == 0
    assert path.stat().st_mode & 0o6000 == 0


def test_root_keeps_setuid_of_what_it_writes(box, source):
    path = box / "h/f"
    path.write_bytes(b"x")
    # The daemon hears of a close after it has returned; until then a file in passthrough loses the bits.
    wait_for("the close", lambda: "aib_passthrough_files 0\n" in (box / ".aib/metrics").read_text())
    path.chmod(0o6755)
    with open(path, "r+b", buffering=0) as f:
        f.write(b"y")
    assert (source / "f").stat().st_mode & 0o7777 == 0o6755


# ---- Many opens of one file


def test_opens_by_hard_links_are_of_one_file(box):
    (box / "h/a").write_bytes(b"0123456789")
    os.link(box / "h/a", box / "h/b")
    with open(box / "h/a", "r+b", buffering=0) as a, open(box / "h/b", "r+b", buffering=0) as b:
        a.write(b"abc")
        assert b.read(5) == b"abc34"
        os.ftruncate(b.fileno(), 4)
        assert os.fstat(a.fileno()).st_size == 4


def test_reading_first_then_writing_and_the_other_way(box):
    path = box / "h/f"
    path.write_bytes(b"old")
    with open(path, "rb", buffering=0) as reader:
        with open(path, "r+b", buffering=0) as writer:
            writer.write(b"new")
        assert reader.read() == b"new"
        assert error_of(os.write, reader.fileno(), b"x") == errno.EBADF
    with open(path, "wb", buffering=0) as writer, open(path, "rb", buffering=0) as reader:
        writer.write(b"third")
        assert reader.read() == b"third"


def test_a_file_that_is_not_in_passthrough_stays_so_while_it_is_open(box):
    path = box / "h/f"
    path.write_bytes(b"x" * 10)
    path.chmod(0o4755)
    with open(path, "r+b", buffering=0) as slow:
        path.chmod(0o755)
        before = counted(box.pid)
        with open(path, "r+b", buffering=0) as other:
            other.write(bytes(MB))
            assert counted(box.pid) - before > MB
            assert os.pread(slow.fileno(), 2 * MB, 0) == bytes(MB)
            assert os.fstat(slow.fileno()).st_size == MB
    check_passes(box, path)


def test_an_unlinked_open_file(box):
    path = box / "h/f"
    with open(path, "w+b", buffering=0) as f:
        f.write(b"before")
        path.unlink()
        f.write(b" after")
        assert os.pread(f.fileno(), 100, 0) == b"before after"
        st = os.fstat(f.fileno())
        assert (st.st_nlink, st.st_size) == (0, 12)
        path.write_bytes(b"another")
        assert os.pread(f.fileno(), 100, 0) == b"before after"
    assert path.read_bytes() == b"another"


def test_renaming_over_an_open_file(box):
    (box / "h/a").write_bytes(b"old")
    (box / "h/b").write_bytes(b"new")
    with open(box / "h/a", "r+b", buffering=0) as old:
        os.rename(box / "h/b", box / "h/a")
        with open(box / "h/a", "r+b", buffering=0) as new:
            assert (old.read(), new.read()) == (b"old", b"new")
            new.write(b"er")
    assert (box / "h/a").read_bytes() == b"newer"


def test_a_file_that_is_replaced_on_the_native_side(box, source):
    path = box / "h/f"
    path.write_bytes(b"one")
    with open(path, "rb", buffering=0) as one:
        (source / "g").write_bytes(b"two")
        os.rename(source / "g", source / "f")
        wait_for("the new file", lambda: path.read_bytes() == b"two", timeout=3)
        assert one.read() == b"one"


def test_nothing_is_left_open(box, source):
    for i in range(200):
        (source / f"f{i}").write_bytes(b"%d" % i)
    os.listdir(box / "h")
    with open(box / "h/f0", "rb"):
        pass
    before = open_fds(box.pid)
    files = [open(box / f"h/f{i}", "r+b", buffering=0) for i in range(200)]
    again = [open(box / f"h/f{i}", "rb", buffering=0) for i in range(200)]
    assert all(f.read() == b"%d" % i for i, f in enumerate(files))
    assert all(f.read() == b"%d" % i for i, f in enumerate(again))
    for f in files + again:
        f.close()
    # Descriptors of nodes are kept in a cache.
    wait_for("descriptors to be closed", lambda: open_fds(box.pid) <= before + 200)
    for i in range(200):
        (box / f"h/f{i}").unlink()
    wait_for("descriptors to be closed", lambda: open_fds(box.pid) <= before + 1)


@pytest.fixture
def small(world):
    with small_disk(world, "16m") as top:
        yield top


def test_a_file_that_is_gone_takes_no_room(small, mount):
    """An id that stays registered would keep its file."""
    box = mount(f"/h=host:{small}")
    path = box / "h/f"
    free = os.statvfs(small).f_bfree
    for _ in range(10):
        with open(path, "wb", buffering=0) as f, open(path, "rb"):
            assert f.write(bytes(8 * MB)) == 8 * MB
            path.unlink()
        wait_for("the file to go", lambda: os.statvfs(small).f_bfree >= free - 16)
    with open(path, "wb", buffering=0) as f:  # full is full
        assert f.write(bytes(20 * MB)) < 17 * MB
        assert error_of(f.write, b"x") == errno.ENOSPC
    path.unlink()


def test_a_program_can_be_run_from_there(box):
    shutil.copy("/bin/true", box / "h/true")
    run(box / "h/true")
    with open(box / "h/true", "rb"):
        run(box / "h/true")


def test_direct_io(box):
    path = box / "h/f"
    path.write_bytes(b"x" * 8192)
    fd = os.open(path, os.O_RDWR | os.O_DIRECT)
    m = mmap.mmap(-1, 4096)
    assert os.preadv(fd, [m], 4096) == 4096 and m[:] == b"x" * 4096
    m[:] = b"y" * 4096
    assert os.pwritev(fd, [m], 0) == 4096
    os.close(fd)
    assert path.read_bytes() == b"y" * 4096 + b"x" * 4096


def test_the_mount_ends_with_files_open(mount, source):
    box = mount(f"/h=host:{source}")
    script = "import sys, time; f = open(sys.argv[1], 'w'); print(flush=True); time.sleep(60)"
    p = subprocess.Popen([sys.executable, "-c", script, box / "h/f"], stdout=subprocess.PIPE)
    try:
        p.stdout.readline()
        os.kill(box.pid, signal.SIGTERM)
        wait_for("the daemon to end", lambda: not pathlib.Path(f"/proc/{box.pid}").exists())
    finally:
        p.kill()
        p.wait()
