"""What POSIX says of files, through the mount, in memory and host routes: the request layer's part
of it (open files, sizes, caches, names), compared with a native directory where that is possible."""

import ctypes
import errno
import fcntl
import mmap
import os
import pathlib
import random
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest

import harness
from harness import wait_for

libc = ctypes.CDLL(None, use_errno=True)
NOREPLACE, EXCHANGE = 1, 2


@pytest.fixture(params=["memory", "host", "memory alone", "host over io_uring"])
def place(request, mount, world):
    """A directory of the route that everybody may write to."""
    if request.param == "memory alone":
        box = mount("/=memory", options="control=none")
        (box / "alone").mkdir()
    elif request.param == "host over io_uring":
        with harness.io_uring():
            box = mount(f"/h=host:{world.dir}/src")
    else:
        box = mount(f"/h=host:{world.dir}/src", options="io_uring=no")
    within = {"memory": "", "memory alone": "alone"}.get(request.param, "h")
    directory = box / within / "work"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def rename2(old, new, flags):
    if libc.renameat2(-100, os.fsencode(old), -100, os.fsencode(new), flags) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


def error_of(call, *args, **kw):
    with pytest.raises(OSError) as e:
        call(*args, **kw)
    return e.value.errno


class Pair:
    """The same file in the mount and in memory here."""

    def __init__(self, path, rng):
        self.path, self.rng, self.model = path, rng, bytearray()
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def grow(self, size):
        if size > len(self.model):
            self.model.extend(bytes(size - len(self.model)))

    def write(self):
        at, data = self.rng.randrange(300000), self.rng.randbytes(self.rng.randrange(1, 70000))
        assert os.pwrite(self.fd, data, at) == len(data)
        self.grow(at + len(data))
        self.model[at : at + len(data)] = data

    def read(self):
        at, size = self.rng.randrange(300000), self.rng.randrange(1, 70000)
        assert os.pread(self.fd, size, at) == bytes(self.model[at : at + size])

    def truncate(self):
        size = self.rng.randrange(300000)
        os.ftruncate(self.fd, size)
        del self.model[size:]
        self.grow(size)

    def map(self):
        if not self.model:
            return
        with mmap.mmap(self.fd, len(self.model)) as m:
            at = self.rng.randrange(len(self.model))
            data = self.rng.randbytes(min(5000, len(self.model) - at))
            m[at : at + len(data)] = data
            self.model[at : at + len(data)] = data
            assert m[:] == bytes(self.model)

    def reopen(self):
        os.close(self.fd)
        assert self.path.read_bytes() == bytes(self.model)
        self.fd = os.open(self.path, os.O_RDWR)

    def sync(self):
        os.fsync(self.fd)
        assert os.fstat(self.fd).st_size == len(self.model)


@pytest.mark.parametrize("seed", [1, 2])
def test_random_io_is_what_a_model_says(place, seed):
    rng = random.Random(seed)
    pair = Pair(place / "f", rng)
    steps = [pair.write, pair.read, pair.truncate, pair.map, pair.reopen, pair.sync]
    for _ in range(600):
        rng.choices(steps, weights=[6, 6, 2, 2, 1, 1])[0]()
    pair.reopen()
    os.close(pair.fd)


def test_a_shared_mapping_is_seen_by_read_and_write_by_the_mapping(place):
    path = place / "f"
    path.write_bytes(bytes(8192))
    with open(path, "r+b", buffering=0) as f, mmap.mmap(f.fileno(), 8192) as m:
        m[100:105] = b"hello"
        m.flush()
        assert path.read_bytes()[100:105] == b"hello"
        os.pwrite(f.fileno(), b"world", 5000)
        assert m[5000:5005] == b"world"


def test_an_unlinked_open_file_lives_until_it_is_closed(place):
    path = place / "f"
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(fd, b"before")
    path.unlink()
    assert os.listdir(place) == []
    os.write(fd, b" after")
    assert os.pread(fd, 100, 0) == b"before after"
    assert os.fstat(fd).st_nlink == 0
    path.write_bytes(b"another")
    assert os.pread(fd, 100, 0) == b"before after"
    os.ftruncate(fd, 3)
    assert os.pread(fd, 100, 0) == b"bef"
    os.close(fd)
    assert path.read_bytes() == b"another"


def test_a_file_renamed_over_stays_for_those_who_have_it_open(place):
    (place / "a").write_bytes(b"old")
    (place / "b").write_bytes(b"new")
    with open(place / "a", "rb") as old:
        os.rename(place / "b", place / "a")
        assert old.read() == b"old"
    assert (place / "a").read_bytes() == b"new"


def test_open_truncates_and_leaves_no_old_tail(place):
    path = place / "f"
    path.write_bytes(b"x" * 100000)
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))
    assert path.stat().st_size == 0
    path.write_bytes(b"short")
    assert path.read_bytes() == b"short"


def test_rename_flags(place):
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    with pytest.raises(OSError) as e:
        rename2(place / "a", place / "b", NOREPLACE)
    assert e.value.errno == errno.EEXIST
    rename2(place / "a", place / "b", EXCHANGE)
    assert ((place / "a").read_text(), (place / "b").read_text()) == ("b", "a")
    rename2(place / "a", place / "c", NOREPLACE)
    assert sorted(os.listdir(place)) == ["b", "c"]


def test_hard_links_are_one_file(place):
    (place / "a").write_text("1")
    os.link(place / "a", place / "b")
    a, b = (place / "a").stat(), (place / "b").stat()
    assert (a.st_ino, a.st_nlink) == (b.st_ino, 2)
    (place / "b").write_text("22")
    assert (place / "a").read_text() == "22"
    (place / "a").unlink()
    assert (place / "b").stat().st_nlink == 1


def test_appends_of_several_writers_do_not_overwrite(place):
    path = place / "log"
    line = b"x" * 99 + b"\n"

    def append():
        with open(path, "ab", buffering=0) as f:
            for _ in range(200):
                f.write(line)

    threads = [threading.Thread(target=append) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert path.read_bytes() == line * 800


def test_holes_are_found_and_punched(place):
    with open(place / "f", "w+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"a" * 4096, 0)
        os.pwrite(f.fileno(), b"b" * 4096, 1 << 20)
        if place.parent.name == "alone":  # all is data there, while the kernel gathers writes
            assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == 0
            assert os.lseek(f.fileno(), 1 << 20, os.SEEK_DATA) == 1 << 20
        else:
            assert os.lseek(f.fileno(), 0, os.SEEK_HOLE) == 4096
            assert os.lseek(f.fileno(), 4096, os.SEEK_DATA) == 1 << 20
        assert error_of(os.lseek, f.fileno(), 2 << 20, os.SEEK_DATA) == errno.ENXIO
        assert libc.fallocate(f.fileno(), 3, ctypes.c_long(1 << 20), ctypes.c_long(4096)) == 0
        assert os.pread(f.fileno(), 4096, 1 << 20) == bytes(4096)
        assert os.fstat(f.fileno()).st_size == (1 << 20) + 4096


def test_large_offsets(place):
    with open(place / "f", "w+b", buffering=0) as f:
        os.pwrite(f.fileno(), b"end", 5 << 30)
        assert os.fstat(f.fileno()).st_size == (5 << 30) + 3
        assert os.pread(f.fileno(), 10, 5 << 30) == b"end"


def test_names_of_any_bytes_and_length(place):
    for name in (b"n" * 255, b"\xff\xfe", b"new\nline", "ü".encode()):
        path = os.path.join(os.fsencode(place), name)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        assert name in os.listdir(os.fsencode(place))
        os.unlink(path)
    assert error_of(os.stat, os.path.join(os.fsencode(place), b"n" * 256)) == errno.ENAMETOOLONG


def test_a_listing_misses_and_repeats_nothing_while_entries_go(place):
    for i in range(3000):
        (place / f"f{i}").touch()
    seen = []
    with os.scandir(place) as entries:
        for e in entries:
            seen.append(e.name)
            if int(e.name[1:]) % 3 == 0:
                os.unlink(e.path)
    assert len(seen) == len(set(seen)) == 3000
    assert len(os.listdir(place)) == 2000


def test_special_files_and_modes(place):
    os.mkfifo(place / "p")
    assert stat.S_ISFIFO((place / "p").lstat().st_mode)
    with socket.socket(socket.AF_UNIX) as s:
        os.chdir(place)
        s.bind("s")
    os.chdir("/")
    assert stat.S_ISSOCK((place / "s").lstat().st_mode)
    old = os.umask(0o027)
    try:
        (place / "d").mkdir()
        (place / "f").touch()
    finally:
        os.umask(old)
    assert (place / "d").stat().st_mode & 0o7777 == 0o750
    assert (place / "f").stat().st_mode & 0o7777 == 0o640


def test_extended_attributes(place):
    path = place / "f"
    path.touch()
    os.setxattr(path, "user.k", b"v" * 1000)
    assert os.getxattr(path, "user.k") == b"v" * 1000
    assert os.listxattr(path) == ["user.k"]
    assert error_of(os.setxattr, path, "user.k", b"", os.XATTR_CREATE) == errno.EEXIST
    os.removexattr(path, "user.k")
    assert error_of(os.getxattr, path, "user.k") == errno.ENODATA


def test_locks_exclude(place):
    (place / "f").touch()
    with open(place / "f", "r+b") as a, open(place / "f", "r+b") as b:
        fcntl.flock(a, fcntl.LOCK_EX)
        assert error_of(fcntl.flock, b, fcntl.LOCK_EX | fcntl.LOCK_NB) == errno.EAGAIN
    with open(place / "f", "r+b") as a:
        fcntl.lockf(a, fcntl.LOCK_EX)
        script = "import fcntl,sys; fcntl.lockf(open(sys.argv[1],'r+b'), fcntl.LOCK_EX|fcntl.LOCK_NB)"
        p = subprocess.run([sys.executable, "-c", script, place / "f"], stderr=subprocess.PIPE)
        assert p.returncode == 1 and b"BlockingIOError" in p.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="needs other users")
def test_new_files_are_their_makers_and_modes_are_obeyed(place):
    (place / "secret").write_text("x")
    (place / "secret").chmod(0o600)
    script = f"""
import os, sys
os.setgroups([]); os.setgid(1234); os.setuid(1234)
os.mkdir({str(place / "d")!r}); open({str(place / "f")!r}, 'w').write('mine')
os.symlink('f', {str(place / "l")!r}); os.mkfifo({str(place / "p")!r})
try:
    open({str(place / "secret")!r})
    sys.exit(1)
except PermissionError:
    pass
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    for name in ("d", "f", "l", "p"):
        st = (place / name).lstat()
        assert (st.st_uid, st.st_gid) == (1234, 1234), name


@pytest.mark.skipif(os.getuid() != 0, reason="needs other users")
def test_a_write_by_another_user_clears_setuid(place):
    path = place / "f"
    path.write_bytes(b"x" * 100)
    path.chmod(0o6777)
    script = "import os,sys; os.setuid(1234); f=open(sys.argv[1],'r+b',0); f.write(b'y'); f.close()"
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert path.stat().st_mode & 0o6000 == 0
    path.chmod(0o6777)
    script = "import os,sys; os.setuid(1234); os.truncate(sys.argv[1], 5)"
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert path.stat().st_mode & 0o6000 == 0
    path.chmod(0o6777)
    script = "import os,sys; os.setuid(1234); os.open(sys.argv[1], os.O_WRONLY|os.O_TRUNC)"
    subprocess.run([sys.executable, "-c", script, path], check=True)
    assert path.stat().st_mode & 0o6000 == 0


def test_many_processes_at_once(place):
    script = """
import os, sys
top, me = sys.argv[1], sys.argv[2]
for i in range(150):
    d = os.path.join(top, f"d{i % 7}")
    os.makedirs(d, exist_ok=True)
    path = os.path.join(d, f"{me}.{i}")
    with open(path, "w") as f: f.write(me * 100)
    os.rename(path, path + "x")
    os.listdir(d)
    assert open(path + "x").read() == me * 100
    os.unlink(path + "x")
"""
    children = [
        subprocess.Popen([sys.executable, "-c", script, place, str(n)]) for n in range(6)
    ]
    assert [c.wait() for c in children] == [0] * 6
    assert all(os.listdir(place / d) == [] for d in os.listdir(place))


def test_a_killed_reader_leaves_nothing_open(place, world):
    path = place / "big"
    path.write_bytes(bytes(16 << 20))
    script = "import sys; f=open(sys.argv[1],'rb',0)\nwhile True: f.seek(0); f.read()"
    children = [subprocess.Popen([sys.executable, "-c", script, path]) for _ in range(3)]
    try:
        wait_for("readers", lambda: all(reads(c.pid, path) for c in children))
    finally:
        for c in children:
            c.send_signal(signal.SIGKILL)
    assert [c.wait(5) for c in children] == [-signal.SIGKILL] * 3
    path.unlink()
    path.write_bytes(b"y")
    assert path.read_bytes() == b"y"


def reads(pid, path):
    try:
        return any(os.readlink(fd) == str(path) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # one was closed while they were listed
        return False
