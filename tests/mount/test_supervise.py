"""`aib mount --supervise`: a daemon that crashes or hangs is started again, and an orderly end is one."""

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import LONG, SLOW, TOP, mounts_below, program, run, stat_of, wait_for

KILLS = int(os.environ.get("AIB_TEST_KILLS") or (200 if LONG else 10))


def status_of(box):
    for m in json.loads(run(program("aib"), "status", "--json").stdout)["mounts"]:
        if m["mountpoint"] == str(box) and m["state"] == "ok":
            return m
    return None


def supervisor_of(box):
    return stat_of(pathlib.Path(f"/proc/{status_of(box)['pid']}"))[1]


def serves(box):
    with contextlib.suppress(OSError):
        os.listdir(box)
        return bool(mounts_below(box))
    return False


def kill_and_wait(box, sig=signal.SIGKILL):
    """Kill the daemon; the seconds until another one serves."""
    pid = status_of(box)["pid"]
    start = time.monotonic()
    os.kill(pid, sig)
    wait_for("another daemon", lambda: not os.path.exists(f"/proc/{pid}") and serves(box))
    return time.monotonic() - start


class Foreground:
    """`aib mount -f --supervise` with its log in a file, at a socket of systemd's."""

    def __init__(self, world, *flags, env=(), place="place", supervise=("--supervise",)):
        self.place = world.dir / place
        self.place.mkdir()
        self.log = world.dir / f"{place}.log"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(world.dir / f"{place}.notify"))
        self.socket.settimeout(20 * SLOW)
        env = {**os.environ, "NOTIFY_SOCKET": str(world.dir / f"{place}.notify"), **dict(env)}
        argv = [program("aib"), "mount", "-f", *supervise, *flags, self.place]
        self.p = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=open(self.log, "wb"), env=env)
        assert self.hear() == "READY=1", self.log.read_text()

    def hear(self):
        return self.socket.recv(100).decode()

    def end(self):
        """The status."""
        with self.socket:
            return self.p.wait(20 * SLOW)


# ---- Crashes


def test_a_crash_is_served_again(mount, world):
    box = mount(f"/h=host:{world.dir}/src", flags=["--supervise"])
    assert f"{box}  pid {status_of(box)['pid']}, up " in run(program("aib"), "status").stdout
    (box / "h/f").write_text("still here")
    supervisor = supervisor_of(box)
    for n in range(1, 4):
        print(f"served again after {kill_and_wait(box, [signal.SIGKILL, signal.SIGABRT][n % 2]):.3f} s")
        assert (box / "h/f").read_text() == "still here"
        m = status_of(box)
        assert (m["supervised"], m["restarts"], supervisor_of(box)) == (True, n, supervisor)
    log = (box / ".aib/log").read_text()
    assert "the daemon was ended by signal 9 (Killed)" in log
    assert len(mounts_below(box)) == 1
    box.umount()
    wait_for("both to end", lambda: not world.daemons())
    assert not list((world.dir / "run").iterdir())


def test_the_supervisor_holds_nothing_of_the_mount(mount):
    box = mount(flags=["--supervise"])
    kill_and_wait(box)
    pid = supervisor_of(box)
    open_files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    assert not [f for f in open_files if "fuse" in f or f.startswith(str(box.world.dir))], open_files
    assert len(open_files) <= 6, open_files


def test_what_crashes_again_and_again_is_given_up(world):
    f = Foreground(world, "-o", "restarts=2")
    for _ in range(2):
        kill_and_wait(f.place)
    os.kill(status_of(f.place)["pid"], signal.SIGKILL)
    assert f.end() == 1
    assert "3 crashes within a minute: giving up" in f.log.read_text()
    assert f"{f.place}  dead" in run(program("aib"), "status").stdout
    run(program("aib"), "umount", f.place)
    assert not mounts_below(f.place)


def test_a_route_that_fails_for_a_while_is_waited_for(world):
    source = world.dir / "src"
    f = Foreground(world, "-r", f"/h=host:{source}")
    os.rename(source, world.dir / "away")
    os.kill(status_of(f.place)["pid"], signal.SIGKILL)
    wait_for("a failed start", lambda: f.log.read_text().count("route /h: ") >= 2)
    # Nobody writes into the directory below meanwhile.
    with pytest.raises(OSError) as e:
        (f.place / "x").write_text("x")
    assert e.value.errno == errno.ENOTCONN
    os.rename(world.dir / "away", source)
    wait_for("it to serve", lambda: serves(f.place))
    run(program("aib"), "umount", f.place)
    assert f.end() == 0


def test_a_first_start_that_fails_is_an_error_at_once(world):
    (world.dir / "place").mkdir()
    p = run(program("aib"), "mount", "--supervise", "-r", "/h=host:/nonexistent", world.dir / "place", check=False)
    assert p.returncode == 1
    assert p.stderr.startswith("aib: route /h: ") and p.stderr.count("\n") == 1
    wait_for("both to end", lambda: not world.daemons())


# ---- The end


def test_an_unmount_while_the_daemon_is_down_is_the_end(world):
    f = Foreground(world, "-r", f"/h=host:{world.dir}/src")
    os.rename(world.dir / "src", world.dir / "away")
    os.kill(status_of(f.place)["pid"], signal.SIGKILL)
    wait_for("a failed start", lambda: "route /h: " in f.log.read_text())
    run(program("aib"), "umount", f.place)
    assert f.end() == 0
    assert "was unmounted while its daemon was down: ending" in f.log.read_text()
    assert not mounts_below(f.place) and not list((world.dir / "run").iterdir())


def test_a_signal_ends_a_supervisor_whose_daemon_is_down(world):
    f = Foreground(world, "-r", f"/h=host:{world.dir}/src")
    os.rename(world.dir / "src", world.dir / "away")
    os.kill(status_of(f.place)["pid"], signal.SIGKILL)
    wait_for("a failed start", lambda: "route /h: " in f.log.read_text())
    f.p.terminate()
    assert f.end() == 0
    assert not mounts_below(f.place) and not list((world.dir / "run").iterdir())


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_supervisor_is_an_orderly_end(world, sig):
    f = Foreground(world, env={"WATCHDOG_USEC": "400000"})
    assert f.hear() == "WATCHDOG=1"
    with open(f.place / "x", "w") as x:
        x.write("flushed")
    f.p.send_signal(sig)
    while (word := f.hear()) == "WATCHDOG=1":
        pass
    assert word == "STOPPING=1"
    assert f.end() == 0
    assert not world.daemons() and not mounts_below(f.place)


def test_without_a_supervisor_systemd_hears_of_the_daemon_itself(world):
    f = Foreground(world, env={"WATCHDOG_USEC": "400000"}, supervise=())
    assert f.hear() == "WATCHDOG=1"
    f.p.terminate()
    assert f.end() == 0


# ---- The watchdog


def test_a_daemon_that_hangs_is_replaced_and_its_callers_get_an_error(mount):
    box = mount(flags=["--supervise"], options="watchdog=1s")
    (box / "x").write_text("x")
    pid = status_of(box)["pid"]
    os.kill(pid, signal.SIGSTOP)
    start = time.monotonic()
    caller = subprocess.Popen(["cat", box / "x", box / "y"], stderr=subprocess.DEVNULL)
    assert caller.wait(60 * SLOW) == 1
    wait_for("another daemon", lambda: not os.path.exists(f"/proc/{pid}") and serves(box))
    print(f"served again after {time.monotonic() - start:.3f} s")
    log = (box / ".aib/log").read_text()
    assert f"the daemon (pid {pid}) takes no request: killing it" in log
    assert "cannot be aborted" not in log


# Of a machine where users may mount, without changing this one: in a mount namespace.
AS_A_USER = """
mknod $W/fuse c 10 229; chmod 666 $W/fuse; mount --bind $W/fuse /dev/fuse
mount -t fusectl none /sys/fs/fuse/connections 2>/dev/null
as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
as aib mount --supervise -o watchdog=1s $W/place || exit
as sh -c "echo x >$W/place/x"
pid=$(as sed -n 's/^pid //p' $W/place/.aib/status)
kill -STOP $pid
as cat $W/place/x; echo caller $?
while kill -0 $pid 2>/dev/null || ! as ls $W/place 2>/dev/null; do sleep 0.05; done
as cat $W/place/.aib/log
as aib umount $W/place; echo umount $?
"""


def test_so_it_is_for_a_user_who_is_not_root(world):
    (world.dir / "place").mkdir()
    for name in ("place", "run", "state", "tmp"):
        shutil.chown(world.dir / name, 65534, 65534)
    p = run("unshare", "-m", "sh", "-c", AS_A_USER, env={**os.environ, "W": str(world.dir)})
    assert "caller 1\n" in p.stdout and "umount 0\n" in p.stdout, p
    assert "takes no request: killing it" in p.stdout
    assert "cannot be aborted" not in p.stdout
    wait_for("both to end", lambda: not world.daemons())


def test_whoever_is_stopped_with_the_supervisor_does_not_hang(world):
    f = Foreground(world, "-o", "watchdog=1s")
    pid = status_of(f.place)["pid"]
    for sig in (signal.SIGSTOP, signal.SIGCONT):
        os.kill(f.p.pid, sig)
        os.kill(pid, sig)
        if sig == signal.SIGSTOP:
            time.sleep(1.8)
    for _ in range(6):
        time.sleep(0.25)
        assert status_of(f.place)["pid"] == pid
    f.p.terminate()
    assert f.end() == 0


# ---- Data


def write_until(stop, directory, acknowledged):
    """Files of random bytes; each is acknowledged by a close or an fsync that succeeded."""
    rng = random.Random(directory.name)
    n = 0
    while not stop.is_set():
        n += 1
        path = directory / f"f{n}"
        data = rng.randbytes(rng.randrange(1, 300_000))
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError:
            time.sleep(0.002)
            continue
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
            if n % 2:
                os.fsync(fd)
                acknowledged[path.name] = hashlib.sha256(data).hexdigest()
        except OSError:
            with contextlib.suppress(OSError):
                os.close(fd)
            continue
        with contextlib.suppress(OSError):
            os.close(fd)
            acknowledged[path.name] = hashlib.sha256(data).hexdigest()


@pytest.mark.timeout(max(120, 4 * KILLS))
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_what_was_acknowledged_is_whole_whenever_the_daemon_is_killed(mount, world, passthrough):
    box = mount(
        f"/h=host:{world.dir}/src", flags=["--supervise"], options=f"restarts=100000,passthrough={passthrough}"
    )
    stop, writers, times = threading.Event(), [], []
    for name in ("a", "b"):
        (box / "h" / name).mkdir()
        acknowledged = {}
        thread = threading.Thread(target=write_until, args=(stop, box / "h" / name, acknowledged))
        writers.append((world.dir / "src" / name, acknowledged, thread))
        thread.start()
    for _ in range(KILLS):
        time.sleep(random.uniform(0, 0.2))
        times.append(kill_and_wait(box))
        wait_for("its status", lambda: status_of(box))
    stop.set()
    for directory, acknowledged, thread in writers:
        thread.join()
        assert acknowledged
        for name, digest in acknowledged.items():
            assert hashlib.sha256((directory / name).read_bytes()).hexdigest() == digest, name
        assert {f.name[0] for f in directory.iterdir()} == {"f"}  # nothing of ours
    times.sort()
    files = sum(len(a) for _, a, _ in writers)
    print(f"{KILLS} kills, {files} files; served again: median {times[len(times) // 2]:.3f} s, most {times[-1]:.3f} s")


# ---- systemd


def test_the_unit_is_one_that_systemd_takes(world):
    text = (TOP / "fuse/aib@.service.in").read_text()
    unit = world.dir / "aib@home-me-box.service"
    unit.write_text(text.replace("@bindir@", os.path.dirname(program("aib"))))
    p = run("systemd-analyze", "verify", "--man=no", unit, check=False)
    assert (p.returncode, p.stdout, p.stderr) == (0, "", "")
