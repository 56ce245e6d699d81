"""Files over the guest of a running container: which transport serves, what moves between them, what a
container's stop, start and end do to nodes and open files."""

import contextlib
import ctypes
import errno
import mmap
import os
import signal
import stat
import subprocess
import time

import pytest

from harness import Mount, run, wait_for

IMAGE = "aib-test:busybox"

KILL_SERVE = "kill -9 $(ps | awk '/[a]ib-guest serve/ {print $1}')"

pytestmark = pytest.mark.usefixtures("engine")


def status(box, name="bb"):
    lines = (box / f".aib/sandboxes/{name}/status").read_text().splitlines()
    return dict(line.partition(" ")[::2] for line in lines)


def ctl(box, verb, name="bb"):
    run("sh", "-c", f"echo {verb} >{box}/.aib/sandboxes/{name}/ctl")


def started(engine, box):
    return engine.inspect(status(box)["container"])["State"]["StartedAt"]


def restart(engine, box):
    before = started(engine, box)
    ctl(box, "restart")
    wait_for("the restart", lambda: started(engine, box) > before and status(box)["state"] == "running", 30)
    become(box, "guest")


def become(box, transport, name="bb"):
    """Look until files go that way."""

    def look():
        with contextlib.suppress(OSError):
            os.stat(box / name / "tmp")
        return status(box, name)["transport"] == transport

    wait_for(f"transport {transport}", look, 30)


@pytest.fixture
def live(mount):
    """A mount whose sandbox runs: the mount and the route's path."""
    box = mount(f"/bb=docker:{IMAGE}")
    ctl(box, "start")
    wait_for("the start", lambda: status(box)["state"] == "running", 30)
    become(box, "guest")
    return box


def refused(code, call, *args, **kw):
    with pytest.raises(OSError) as e:
        call(*args, **kw)
    assert e.value.errno == code, e.value


# ---- Which one ----


def test_archives_serve_until_it_runs_and_when_it_does_not(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    assert "bin" in os.listdir(box / "bb")
    assert status(box)["transport"] == "archive" and "is created, not running" in status(box)["transport_why"]
    assert status(box)["state"] == "created"
    assert box.exec("true", cwd="bb").returncode == 0
    become(box, "guest")
    for verb, now in (("stop", "archive"), ("start", "guest"), ("pause", "archive"), ("unpause", "guest")):
        ctl(box, verb)
        become(box, now)
        assert "bin" in os.listdir(box / "bb")


def test_a_setting_forces_archives(mount):
    box = mount(f"/bb=docker:{IMAGE},transport=archive")
    assert box.exec("true", cwd="bb").returncode == 0
    assert "bin" in os.listdir(box / "bb")
    assert status(box)["transport"] == "archive" and status(box)["transport_why"] == "transport=archive"


def test_a_setting_forces_the_guest_which_starts_the_container(mount):
    box = mount(f"/bb=docker:{IMAGE},transport=guest")
    assert "bin" in os.listdir(box / "bb")
    assert status(box)["transport"] == "guest" and status(box)["state"] == "running"


def test_a_wrong_setting_is_refused(mount):
    with pytest.raises(AssertionError, match="transport.*auto.*guest.*archive"):
        mount(f"/bb=docker:{IMAGE},transport=pigeon")


def test_an_attached_container_is_served_by_its_guest(mount, container):
    name = container()
    box = mount(f"/bb=container:{name}")
    (box / "bb/tmp/x").write_text("x")
    os.rename(box / "bb/tmp/x", box / "bb/tmp/y")
    assert os.listdir(box / "bb/tmp") == ["y"]
    assert status(box)["transport"] == "guest"


def test_a_guest_that_is_killed_is_replaced(engine, mount, container):
    name = container()
    box = mount(f"/bb=container:{name}")
    (box / "bb/tmp/x").write_text("x")
    before = os.stat(box / "bb/tmp/x").st_ino
    for _ in range(3):
        engine.docker("exec", name, "sh", "-c", KILL_SERVE)
        wait_for("the file again", lambda: (box / "bb/tmp/x").read_text() == "x")
        become(box, "guest")
        assert os.stat(box / "bb/tmp/x").st_ino == before


def test_a_restart_beside_us_is_noticed(engine, mount, container):
    name = container()
    box = mount(f"/bb=container:{name}")
    (box / "bb/tmp/x").write_text("x")
    become(box, "guest")
    engine.docker("restart", "-t", "0", name)
    wait_for("the file again", lambda: (box / "bb/tmp/x").read_text() == "x")
    become(box, "guest")
    engine.docker("exec", name, "sh", "-c", "echo new >/tmp/x")
    wait_for("the new content", lambda: (box / "bb/tmp/x").read_text() == "new\n", 2)


def test_a_container_that_goes_is_an_error(engine, mount, container):
    name = container()
    box = mount(f"/bb=container:{name}", "/m=memory")
    become(box, "guest")
    engine.docker("rm", "-f", name)

    def gone():
        try:
            os.stat(box / "bb/tmp")
        except OSError as e:
            return e.errno == errno.EIO
        return False

    wait_for("EIO", gone)
    assert os.listdir(box / "m") == []


# ---- What archives cannot ----


def test_all_that_a_file_system_does(live):
    d = live / "bb/workspace"
    (d / "a").write_text("one\n")
    os.link(d / "a", d / "b")
    assert os.stat(d / "a").st_ino == os.stat(d / "b").st_ino and os.stat(d / "b").st_nlink == 2
    with open(d / "b", "a") as f:
        f.write("two\n")
    assert (d / "a").read_text() == "one\ntwo\n"
    os.rename(d / "a", d / "c")
    os.setxattr(d / "c", "user.k", b"v")
    assert os.getxattr(d / "c", "user.k") == b"v" and os.listxattr(d / "c") == ["user.k"]
    os.utime(d / "c", ns=(1_000_000_001, 2_000_000_002))
    assert os.stat(d / "c").st_mtime_ns == 2_000_000_002
    os.mkfifo(d / "p")
    assert stat.S_ISFIFO(os.stat(d / "p").st_mode)
    (d / b"not \xff utf-8".decode(errors="surrogateescape")).write_text("x")
    fd = os.open(d / "h", os.O_RDWR | os.O_CREAT)
    os.posix_fallocate(fd, 0, 1 << 20)
    os.ftruncate(fd, 1 << 33)
    assert os.lseek(fd, 1 << 21, os.SEEK_HOLE) == 1 << 21
    os.close(fd)
    os.unlink(d / "h")
    assert live.exec("sh", "-c", "ls /workspace | wc -l; cat /workspace/c", cwd="bb").stdout == "4\none\ntwo\n"


def test_locks_hold_between_processes(live):
    path = live / "bb/workspace/l"
    path.write_text("")
    code = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.{}(f, fcntl.LOCK_EX|fcntl.LOCK_NB)"
    import fcntl

    for call in ("flock", "lockf"):
        with open(path, "r+") as f:
            getattr(fcntl, call)(f, fcntl.LOCK_EX)
            assert run("python3", "-c", code.format(call), path, check=False).returncode == 1
        assert run("python3", "-c", code.format(call), path, check=False).returncode == 0


def test_tmpfs_volumes_and_the_kernels_files(mount, container, world):
    (world.dir / "src/f").write_text("f")
    name = container(flags=("--tmpfs", "/t", "-v", f"{world.dir}/src:/v"))
    box = mount(f"/bb=container:{name}")
    (box / "bb/t/x").write_text("in memory")
    assert box.exec("cat", "/t/x", "/v/f", cwd="bb").stdout == "in memoryf"
    (box / "bb/v/g").write_text("g")
    assert (world.dir / "src/g").read_text() == "g"
    assert os.listdir(box / "bb/proc") == []
    assert "MemTotal" in (box / "bb/proc/meminfo").read_text()
    assert (box / "bb/proc/1/comm").read_text() == "sleep\n"
    assert run("cat", box / "bb/proc/version").stdout.startswith("Linux")


def test_a_readonly_container_is_readonly(mount, container):
    name = container("aib-test:busybox", flags=("--read-only", "--tmpfs", "/t", "--cap-drop", "ALL"))
    box = mount(f"/bb=container:{name}")
    refused(errno.EROFS, (box / "bb/etc/x").write_text, "x")


# ---- What moves over ----


@pytest.mark.parametrize("flags", [(), ("--cap-drop", "ALL")])
def test_an_open_file_is_changed_with_the_rights_of_the_container(engine, mount, container, flags):
    """Also where the daemon has a descriptor of its own, and could do more."""
    name = container("aib-test:busybox", flags=flags)
    box = mount(f"/bb=container:{name}")
    path = box / "bb/tmp/f"
    with open(path, "w") as f:
        os.fchmod(f.fileno(), 0o640)
        os.utime(f.fileno(), (1, 2))
        if flags:
            with pytest.raises(PermissionError):
                os.fchown(f.fileno(), 1000, 1000)
        else:
            os.fchown(f.fileno(), 1000, 1000)
        told = engine.docker("exec", name, "stat", "-c", "%a %u %X %Y", "/tmp/f").stdout.split()
        st = os.fstat(f.fileno())
    assert told == ["640", "0" if flags else "1000", "1", "2"]
    assert told == [f"{st.st_mode & 0o777:o}", str(st.st_uid), str(int(st.st_atime)), str(int(st.st_mtime))]


def test_files_that_are_open_move_over_with_what_was_written(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    d = box / "bb/workspace"
    (d / "old").write_text("old\n")
    reader = open(d / "old")
    writer = open(d / "new", "w")
    writer.write("one\n")
    writer.flush()
    os.fsync(writer.fileno())
    dirty = open(d / "dirty", "w")
    dirty.write("dirty\n")
    dirty.flush()  # into the kernel, not to the container
    before = {name: os.stat(d / name).st_ino for name in ("old", "new", "dirty")}
    assert box.exec("true", cwd="bb").returncode == 0
    become(box, "guest")
    assert box.exec("cat", "/workspace/dirty", "/workspace/new", cwd="bb").stdout == "dirty\none\n"
    assert {name: os.stat(d / name).st_ino for name in before} == before
    assert {e.name: e.inode() for e in os.scandir(d)} == before
    writer.write("two\n")
    writer.close()
    assert box.exec("cat", "/workspace/new", cwd="bb").stdout == "one\ntwo\n"
    assert box.exec("sh", "-c", "echo more >>/workspace/old", cwd="bb").returncode == 0
    assert reader.read() == "old\nmore\n"
    reader.close()
    dirty.write("still\n")
    dirty.close()
    assert box.exec("cat", "/workspace/dirty", cwd="bb").stdout == "dirty\nstill\n"
    os.rename(d / "dirty", d / "clean")
    assert sorted(os.listdir(d)) == ["clean", "new", "old"]


def test_a_file_removed_before_it_moves_over_is_still_read(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    (box / "bb/workspace/x").write_text("kept\n")
    with open(box / "bb/workspace/x") as f:
        os.unlink(box / "bb/workspace/x")
        become(box, "guest")  # the removal has started it
        assert f.read() == "kept\n"
        assert os.fstat(f.fileno()).st_nlink == 0
    assert os.listdir(box / "bb/workspace") == []


# ---- Stop, start, restart ----


def test_nodes_and_a_shells_directory_outlive_a_restart(engine, live):
    d = live / "bb/workspace/deep/er"
    d.mkdir(parents=True)
    (d / "f").write_text("f")
    numbers = [os.stat(p).st_ino for p in (d, d / "f", live / "bb")]
    with subprocess.Popen(
        ["sh", "-c", "read x; pwd -P; cat f; echo new >g"], cwd=d, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sh:  # fmt: skip
        for verb, now in (("stop", "archive"), ("start", "guest")):
            ctl(live, verb)
            become(live, now)
        restart(engine, live)
        out, _ = sh.communicate("\n")
    assert out == f"{d}\nf" and (d / "g").read_text() == "new\n"
    assert [os.stat(p).st_ino for p in (d, d / "f", live / "bb")] == numbers


def test_open_files_of_before_a_restart_fail_and_new_ones_work(engine, live):
    d = live / "bb/workspace"
    files = []
    for i in range(100):
        (d / f"f{i}").write_text(f"{i}\n")
        files.append(open(d / f"f{i}", "r+b", buffering=0))
    for round in range(2):
        restart(engine, live)
        for i, f in enumerate(files):
            assert (d / f"f{i}").read_text() == f"{i}\n"
            with pytest.raises(OSError) as e:
                f.seek(0)
                f.read(1)
                f.write(b"old layer")
            assert e.value.errno == errno.EIO
            with contextlib.suppress(OSError):
                f.close()
        assert live.exec("sh", "-c", "cat /workspace/f* | wc -l", cwd="bb").stdout == "100\n"
        files = [open(d / f"f{i}", "r+b", buffering=0) for i in range(100)]
    for f in files:
        f.close()


def test_open_files_of_a_container_that_stops_or_goes(engine, mount, container):
    """They keep the layer that they were opened on until their name is looked up again; then EIO, at once."""
    for verb in ("stop", "rm"):
        name = container()
        box = mount(f"/bb=container:{name}")
        (box / "bb/root/x").write_text("x" * 9999)
        become(box, "guest")
        f = open(box / "bb/root/x", "r+b", buffering=0)
        m = mmap.mmap(f.fileno(), 0)
        assert m[0:1] == b"x"
        engine.docker(*(("stop", "-t", "0", name) if verb == "stop" else ("rm", "-f", name)))
        for _ in range(3):  # its own layer, or an error; never another's bytes, never a hang
            try:
                assert os.pread(f.fileno(), 1, 5) in (b"x",)
            except OSError as e:
                assert e.errno == errno.EIO
        if verb == "stop":
            assert (box / "bb/root/x").read_text() == "x" * 9999
            assert status(box)["transport"] == "archive"
        else:
            with pytest.raises(OSError) as e:
                wait_for("the end", lambda: os.stat(box / "bb/root/x") and False)
            assert e.value.errno == errno.EIO
        m.close()
        with contextlib.suppress(OSError):
            f.close()
        box.umount()


def test_a_file_mapped_and_written_is_in_the_sandbox(live):
    path = live / "bb/workspace/m"
    path.write_bytes(b"." * 8192)
    with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as m:
        m[4096:4099] = b"abc"
        m.flush()
        assert live.exec("sh", "-c", "dd if=/workspace/m bs=1 skip=4096 count=3 2>/dev/null", cwd="bb").stdout == "abc"
        assert live.exec("sh", "-c", "printf xyz | dd of=/workspace/m bs=1 seek=4096 conv=notrunc 2>/dev/null", cwd="bb").returncode == 0
        assert m[4096:4099] == b"xyz"


def test_nothing_is_left_in_a_container_or_the_daemon(engine, mount, container):
    name = container()
    box = mount(f"/bb=container:{name}")
    become(box, "guest")

    def descriptors():
        return len(os.listdir(f"/proc/{box.pid}/fd"))

    before = descriptors()

    def kill():
        """The status may still speak of the one before: a name that nobody knows yet starts the next."""
        with contextlib.suppress(OSError):
            os.stat(box / f"bb/tmp/{time.monotonic_ns()}")
        return engine.docker("exec", name, "sh", "-c", KILL_SERVE, check=False).returncode == 0

    for i in range(5):
        wait_for("a guest to kill", kill)
        wait_for("the root again", lambda: os.path.exists(box / "bb/tmp"))
        become(box, "guest")
    wait_for("descriptors to close", lambda: descriptors() <= before + 1)
    box.umount()
    left = lambda: engine.docker("exec", name, "sh", "-c", "ps | grep -c '[a]ib-guest'; true").stdout.strip()
    wait_for("no guest left", lambda: left() == "0")


# ---- Links and owners ----


def test_links_stay_inside(live):
    assert live.exec("sh", "-c", "cd /workspace; ln -s /etc/passwd a; ln -s ../../../etc/x b; ln -s f c; ln -s c d; "
                     "mkdir -p deep/er; ln -s ../../../../../etc deep/er/e; ln -s loop loop; echo f >f", cwd="bb").returncode == 0  # fmt: skip
    d = live / "bb/workspace"
    assert os.readlink(d / "a") == f"{live}/bb/etc/passwd"
    assert os.readlink(d / "b") == f"{live}/bb/etc/x"
    assert os.readlink(d / "c") == "f" and (d / "d").read_text() == "f\n"
    assert os.readlink(d / "deep/er/e") == f"{live}/bb/etc"
    refused(errno.ELOOP, open, d / "loop")
    os.symlink("/etc/hosts", d / "mine")
    assert live.exec("readlink", "/workspace/mine", cwd="bb").stdout == "/etc/hosts\n"
    os.rename(d / "deep/er/e", d / "e")
    assert os.readlink(d / "e") == f"{live}/bb/etc"
    os.link(d / "a", d / "deep/hard", follow_symlinks=False)
    assert os.readlink(d / "deep/hard") == f"{live}/bb/etc/passwd"


@pytest.mark.parametrize("transport", ["archive", "guest"])
def test_the_sandboxs_user_and_the_mounts_owner_are_each_other(mount, transport):
    box = mount(f"/bb=docker:{IMAGE},transport={transport},idmap=user,user=1234:4321")
    d = box / "bb/workspace"
    assert box.exec("sh", "-c", "echo x >/workspace/theirs", cwd="bb").returncode == 0
    st = os.stat(d / "theirs")
    assert (st.st_uid, st.st_gid) == (os.getuid(), os.getgid())
    (d / "mine").write_text("mine")
    os.mkdir(d / "dir")
    out = box.exec("stat", "-c", "%u:%g", "/workspace/mine", "/workspace/dir", "/workspace", "/etc", cwd="bb").stdout
    assert out == "1234:4321\n1234:4321\n1234:4321\n0:0\n"
    st = os.stat(box / "bb/etc")
    assert (st.st_uid, st.st_gid) == (1234, 4321)
    os.chown(d / "mine", 1234, 4321)
    assert box.exec("stat", "-c", "%u:%g", "/workspace/mine", cwd="bb").stdout == "0:0\n"
    os.chown(d / "mine", 77, -1)
    assert box.exec("stat", "-c", "%u:%g", "/workspace/mine", cwd="bb").stdout == "77:0\n"


def test_owners_are_numbers_without_a_map(mount):
    box = mount(f"/bb=docker:{IMAGE},transport=guest,user=1234:4321")
    assert box.exec("touch", "/workspace/theirs", cwd="bb").returncode == 0
    st = os.stat(box / "bb/workspace/theirs")
    assert (st.st_uid, st.st_gid) == (1234, 4321)
