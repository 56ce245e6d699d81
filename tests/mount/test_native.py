"""What a local file system answers to calls that test_differ.py does not make: each case runs in a native
directory and in the mount, as several users, and must answer the same."""

import ctypes
import errno
import fcntl
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import time

import pytest

import harness

libc = ctypes.CDLL(None, use_errno=True)
BELOW = 0x40000000  # a magic number of nothing: flags that do not exist


def error(call, *args, **kw):
    try:
        call(*args, **kw)
        return "done"
    except OSError as e:
        return errno.errorcode[e.errno]


def busy_text(top):
    """A program that runs cannot be written, one that is open for writing cannot be run."""
    shutil.copy("/bin/sleep", top / "p")
    p = subprocess.Popen([top / "p", "60"])
    try:
        yield error(os.open, top / "p", os.O_WRONLY)
        yield error(os.truncate, top / "p", 10)
    finally:
        p.kill()
        p.wait()
    with open(top / "p", "r+b"):
        yield error(subprocess.run, [top / "p", "0"])
    yield subprocess.run([top / "p", "0"]).returncode


def loops(top):
    os.symlink("b", top / "a")
    os.symlink("a", top / "b")
    yield error(os.open, top / "a", os.O_RDONLY)
    yield error(os.stat, top / "a/x")
    yield error(os.open, top / "a", os.O_CREAT | os.O_WRONLY)
    yield error(os.open, top / "a", os.O_RDONLY | os.O_NOFOLLOW)
    last = "end"
    (top / last).write_text("x")
    for i in range(45):
        os.symlink(last, top / f"l{i}")
        last = f"l{i}"
        # Between, it depends: the kernel counts those of a walk that it had to begin anew.
        if not 20 <= i < 40:
            yield error(os.stat, top / last)


def long_paths(top):
    yield error(os.mkdir, top / ("n" * 255))
    yield error(os.mkdir, top / ("n" * 256))
    os.chdir(top)
    for _ in range(30):
        os.mkdir("d" * 200)
        os.chdir("d" * 200)
    yield error(os.getcwd)
    yield error(os.mkdir, "x")
    yield error(os.stat, "/".join(["."] * 3000))
    yield error(os.symlink, "t" * 4095, "s")
    yield error(os.symlink, "t" * 4096, "s2")
    yield len(os.readlink("s"))
    os.chdir("/")
    yield error(os.stat, top / ("d" * 200 + "/") / "x")


def name_it(fd, path):
    if libc.linkat(-100, f"/proc/self/fd/{fd}".encode(), -100, os.fsencode(path), 0x400) != 0:
        raise OSError(ctypes.get_errno(), "linkat")


def unnamed(top):
    fd = os.open(top, os.O_TMPFILE | os.O_RDWR, 0o640)
    os.write(fd, b"data")
    yield os.fstat(fd).st_nlink, stat.filemode(os.fstat(fd).st_mode), os.listdir(top)
    yield error(name_it, fd, top / "named")
    yield (top / "named").read_text(), os.fstat(fd).st_nlink
    os.close(fd)
    fd = os.open(top, os.O_TMPFILE | os.O_RDWR | os.O_EXCL)
    yield error(name_it, fd, top / "never")
    os.close(fd)
    yield error(os.open, top, os.O_TMPFILE | os.O_RDONLY)
    yield sorted(os.listdir(top))


def direct(top):
    import mmap

    fd = os.open(top / "f", os.O_CREAT | os.O_RDWR | os.O_DIRECT)
    page = mmap.mmap(-1, 8192)
    page.write(b"ab" * 4096)
    yield os.writev(fd, [page])
    yield os.fstat(fd).st_size
    yield os.preadv(fd, [page], 4096)
    os.close(fd)
    yield (top / "f").read_bytes() == b"ab" * 4096


def born(top):
    """statx's birth time: there, in the past, and the same after changes."""

    def birth(path):
        buf = ctypes.create_string_buffer(256)
        assert libc.syscall(332, -100, os.fsencode(path), 0, 0x800, buf) == 0
        mask = struct.unpack_from("I", buf, 0)[0]
        return mask & 0x800, struct.unpack_from("qI", buf, 0x50)

    before = time.time()
    (top / "f").write_text("x")
    has, first = birth(top / "f")
    yield bool(has), before - 5 < first[0] < time.time() + 5
    time.sleep(0.05)
    (top / "f").write_text("y")
    (top / "f").rename(top / "g")
    yield birth(top / "g")[1] == first


def by_setgid_directories(top):
    """New entries take the group, and directories the bit."""
    (top / "d").mkdir()
    os.chown(top / "d", 1001, 2000)
    (top / "d").chmod(0o2777)
    yield as_user(1001, [1002], lambda: os.mkdir(top / "d/e"))
    yield as_user(1002, [], lambda: (top / "d/f").touch())
    yield as_user(1002, [], lambda: os.symlink("x", top / "d/l"))
    # A program of a group that its maker is not in is not setgid.
    yield as_user(1002, [], lambda: os.close(os.open(top / "d/s", os.O_CREAT | os.O_WRONLY, 0o2775)))
    yield as_user(1002, [2000], lambda: os.close(os.open(top / "d/t", os.O_CREAT | os.O_WRONLY, 0o2775)))
    for name in ("e", "f", "l", "s", "t"):
        st = (top / "d" / name).lstat()
        yield name, st.st_uid, st.st_gid, oct(st.st_mode)


def in_sticky_directories(top):
    (top / "d").mkdir()
    (top / "d").chmod(0o1777)
    for uid in (1001, 1002):
        yield as_user(uid, [], lambda: (top / f"d/f{uid}").touch())
        yield as_user(uid, [], lambda: os.mkdir(top / f"d/d{uid}"))
    yield as_user(1002, [], lambda: os.unlink(top / "d/f1001"))
    yield as_user(1002, [], lambda: os.rename(top / "d/f1001", top / "d/x"))
    yield as_user(1002, [], lambda: os.rename(top / "d/f1002", top / "d/f1001"))
    yield as_user(1002, [], lambda: os.rmdir(top / "d/d1001"))
    os.chown(top / "d", 1002, 1002)
    yield as_user(1002, [], lambda: os.unlink(top / "d/f1001"))


def by_further_groups(top):
    (top / "f").write_text("x")
    os.chown(top / "f", 0, 2000)
    (top / "f").chmod(0o640)
    yield as_user(1001, [], lambda: (top / "f").read_text())
    yield as_user(1001, [2000], lambda: (top / "f").read_text())
    yield as_user(1001, list(range(3000, 3060)) + [2000], lambda: (top / "f").read_text())
    yield as_user(1001, [2000], lambda: (top / "f").write_text("y"))
    os.chown(top / "f", 1001, 1001)
    yield as_user(1001, [2000], lambda: os.chown(top / "f", -1, 2000))
    yield as_user(1001, [2000], lambda: os.chown(top / "f", -1, 2001))
    yield (top / "f").stat().st_gid


def times(top):
    (top / "f").write_text("x")
    os.chown(top / "f", 1001, 1001)
    (top / "f").chmod(0o666)
    yield as_user(1002, [], lambda: os.utime(top / "f"))
    yield as_user(1002, [], lambda: os.utime(top / "f", (1, 2)))
    (top / "f").chmod(0o644)
    yield as_user(1002, [], lambda: os.utime(top / "f"))
    yield as_user(1001, [], lambda: os.utime(top / "f", ns=(10**18 + 123456789, -(10**9) + 5)))
    st = (top / "f").stat()
    yield st.st_atime_ns, st.st_mtime_ns
    for ns in ((0, 0), (2**31 * 10**9, 2**32 * 10**9), (1, 999999999)):
        os.utime(top / "f", ns=ns)
        st = (top / "f").stat()
        yield st.st_atime_ns, st.st_mtime_ns


def attributes(top):
    (top / "f").write_text("x")
    for name in ("user.a", "trusted.a", "security.aib", "system.none", "other.a", "user.", "x"):
        yield name, error(os.setxattr, top / "f", name, b"v")
    yield as_user(1001, [], lambda: os.setxattr(top / "f", "user.b", b"v"))
    yield as_user(1001, [], lambda: os.getxattr(top / "f", "trusted.a"))
    yield as_user(1001, [], lambda: print(sorted(os.listxattr(top / "f"))))
    os.symlink("f", top / "l")
    yield error(os.setxattr, top / "l", "user.a", b"v", follow_symlinks=False)


def special(top):
    for name, make in (("p", os.mkfifo), ("c", lambda p: os.mknod(p, 0o600 | stat.S_IFCHR, os.makedev(1, 3)))):
        yield error(make, top / name), error(make, top / name)
    yield error(os.open, top / "p", os.O_WRONLY | os.O_NONBLOCK)
    r = os.open(top / "p", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open(top / "p", os.O_WRONLY | os.O_NONBLOCK)
    yield os.write(w, b"through"), os.read(r, 100)
    os.close(r)
    os.close(w)
    yield error(os.open, top / "p/x", os.O_RDONLY), error(os.listdir, top / "p")
    yield os.lstat(top / "c").st_rdev


def bad_flags(top):
    (top / "f").touch()
    yield error(os.open, top / "f", os.O_DIRECTORY), error(os.open, top, os.O_WRONLY)
    yield error(os.open, f"{top}/f/", os.O_RDONLY), error(os.mkdir, top / "f/x"), error(os.rmdir, top / "f")
    yield error(os.unlink, top), error(os.rename, top / "f", top / "f/g"), error(os.rename, top, top / "sub")
    yield libc.renameat2(-100, os.fsencode(top / "f"), -100, os.fsencode(top / "g"), BELOW), ctypes.get_errno()
    with open(top / "f", "r+b") as f:
        yield error(os.lseek, f.fileno(), 0, 99), error(os.ftruncate, f.fileno(), -1)
        yield error(os.pwrite, f.fileno(), b"x", -1)
        yield libc.fallocate(f.fileno(), 0x1000, 0, 10), ctypes.get_errno()
        yield error(fcntl.fcntl, f, fcntl.F_SETFL, os.O_APPEND), os.write(f.fileno(), b"y")
    yield (top / "f").read_bytes()


def as_user(uid, groups, call):
    """What CALL says as another user: in a child."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(w, 1)
        os.setgroups(groups)
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0o022)
        os.write(1, error(call).encode())
        os._exit(0)
    os.close(w)
    said = b""
    while piece := os.read(r, 1000):
        said += piece
    os.close(r)
    os.waitpid(pid, 0)
    return said.decode()


CASES = [
    busy_text, loops, long_paths, unnamed, direct, born, by_setgid_directories, in_sticky_directories,
    by_further_groups, times, attributes, special, bad_flags,
]  # fmt: skip


@pytest.fixture(params=["memory", "memory alone", "host", "host without passthrough", "host over io_uring"])
def place(request, mount, world):
    kind = request.param
    if kind == "memory alone":
        box = mount("/=memory", options="control=none")
    elif kind == "host over io_uring":
        with harness.io_uring():
            box = mount(f"/h=host:{world.dir}/src,symlinks=verbatim")
    else:
        box = mount(
            f"/h=host:{world.dir}/src,symlinks=verbatim",
            options="passthrough=no" if "without" in kind else None,
        )
    top = pathlib.Path(box) / "h" if "host" in kind else pathlib.Path(box)
    (top / "work").mkdir()
    (top / "work").chmod(0o777)
    return top / "work"


def answers(case, top):
    try:
        return list(case(top))
    finally:
        os.chdir("/")


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.__name__)
def test_it_answers_as_a_native_directory(place, world, case):
    native = world.dir / "state/native"
    native.mkdir()
    native.chmod(0o777)
    for top in (native.parent, world.dir):
        top.chmod(0o755)
    assert answers(case, place) == answers(case, native)
