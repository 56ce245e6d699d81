"""Engines on the other side of ssh: a real sshd on this machine stands before the engine."""

import contextlib
import os
import pathlib
import signal
import threading
import time

import harness
import pytest
from harness import wait_for
from test_engine import IMAGE, REAL, case


def far(sshd, **more):
    return {"engines": {"far": sshd.engine(**more)}}


def ssh_children(world):
    return [pid for pid, line in world.processes().items() if line.startswith("ssh ")]


def dials(sshd):
    """The processes on the far side that connect to the engine."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
            if b"dial-stdio" in line and sshd.socket.encode() in line and line.startswith(b"docker"):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("name", REAL)
def test_real_engine_over_ssh(sshd, name):
    case(name, sshd.url(), IMAGE, ENGINE_SSH_CONFIG=sshd.config)
    wait_for("the far side to end", lambda: not dials(sshd))


def test_sandbox_over_ssh(mount, sshd, world):
    m = mount("/py=docker:aib-test:busybox,engine=far", config=far(sshd))
    (m / "py/root/a").write_text("from here\n")
    assert m.exec("cat", "/root/a", cwd="py").stdout == "from here\n"
    assert m.exec("-c", "cat >/root/b; exit 3", cwd="py", input="in\n").returncode == 3
    assert (m / "py/root/b").read_text() == "in\n"
    status = (m / ".aib/sandboxes/py/status").read_text()
    assert "transport guest" in status and sshd.url() in status
    big = os.urandom(5 << 20)
    (m / "py/root/big").write_bytes(big)
    assert m.exec("md5sum", "/root/big", cwd="py").stdout.split()[0] == __import__("hashlib").md5(big).hexdigest()
    for i in range(50):
        (m / f"py/root/f{i}").write_text(str(i))
    assert sorted(os.listdir(m / "py/root")) == sorted(["a", "b", "big", *(f"f{i}" for i in range(50))])
    assert m.umount().returncode == 0
    assert not ssh_children(world)
    wait_for("the far side to end", lambda: not dials(sshd))


def test_archives_over_ssh_share_connections(mount, sshd):
    m = mount("/py=docker:aib-test:busybox,engine=far,transport=archive", config=far(sshd))
    (m / "py/root/a").write_text("first")
    before = sshd.handshakes()
    for i in range(5):
        (m / "py/root/a").write_text(f"text {i}")
        assert (m / "py/root/a").read_text() == f"text {i}"
    # Only where the archive of all that is in / is broken off after its first header.
    assert sshd.handshakes() - before <= 6


ERRORS = [
    ({"key": "stranger"}, ["Permission denied (publickey)", "try: ssh"]),
    ({"known": "nobody"}, ["Host key verification failed", "try: ssh"]),
    ({"ssh_dial": "nodocker"}, ["nodocker", "ssh_dial"]),
    ({"socket": "/nonexistent.sock"}, ["/nonexistent.sock"]),
    ({"port": 1}, ["port 1: Connection refused"]),
]


@pytest.mark.parametrize("change, says", ERRORS)
def test_what_ssh_says_is_the_error(mount, sshd, change, says):
    said = sshd.engine(ssh_config=sshd.client(change.get("key", "user"), change.get("known", "known")))
    if "socket" in change:
        said["host"] = sshd.url(change["socket"])
    if "port" in change:
        said["host"] = "ssh://root@127.0.0.1:1"
    if "ssh_dial" in change:
        said["ssh_dial"] = change["ssh_dial"]
    with pytest.raises(AssertionError) as e:
        mount("/py=docker:aib-test:busybox,engine=far", config={"engines": {"far": said}})
    for text in ["/py", said["host"], *says]:
        assert text in str(e.value)


def test_ssh_that_is_killed_under_load_comes_back(mount, sshd, world):
    m = mount("/py=docker:aib-test:busybox,engine=far", config=far(sshd))
    m.exec("true", cwd="py")
    stop, done, failures = threading.Event(), [0, 0, 0], []

    def load(n):
        while not stop.is_set():
            text = f"{n} {done[n]}"
            try:
                (m / f"py/root/load{n}").write_text(text)
                if (m / f"py/root/load{n}").read_text() != text:
                    failures.append(text)
                done[n] += 1
            except OSError as e:
                failures.extend([e.strerror] if e.errno in (2, 13, 22) else [])

    threads = [threading.Thread(target=load, args=(n,), daemon=True) for n in range(len(done))]
    for t in threads:
        t.start()
    for _ in range(3):
        before = sum(done)
        wait_for("the load to go on", lambda: sum(done) > before + 10, timeout=30)
        for pid in ssh_children(world):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    before = sum(done)
    wait_for("the load to go on", lambda: sum(done) > before + 10, timeout=30)
    stop.set()
    for t in threads:
        t.join(40)
        assert not t.is_alive()
    assert not failures
    assert m.exec("echo", "alive", cwd="py").stdout == "alive\n"
    processes = pathlib.Path("/proc")
    wait_for("zombies to go", lambda: not [e for e in processes.iterdir() if harness.stat_of(e) == ("Z", m.pid)])
    assert m.umount().returncode == 0
    assert not ssh_children(world)
    wait_for("the far side to end", lambda: not dials(sshd))


def test_far_side_that_stands_still_is_given_up(mount, sshd, world):
    m = mount("/py=docker:aib-test:busybox,engine=far,timeout=2s", "/here=memory", config=far(sshd), options="deadline=4s")
    m.exec("true", cwd="py")
    stopped = [sshd.process.pid, *ssh_children(world)]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    with pytest.raises(OSError):
        (m / "py/root/x").write_text("x")
    (m / "here/x").write_text("x")
    for pid in stopped:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def writes():
        with contextlib.suppress(OSError):
            return (m / "py/root/x").write_text("y")

    wait_for("it to come back", writes, timeout=40)
    assert m.exec("cat", "/root/x", cwd="py").stdout == "y"


def test_directories_of_this_machine_are_refused(mount, sshd, world):
    with pytest.raises(AssertionError, match="volume .*another's"):
        mount(f"/py=docker:aib-test:busybox,engine=far,volume={world.dir}/src:/s", config=far(sshd))


def test_nothing_stays_after_a_daemon_that_was_killed(mount, sshd, world):
    m = mount("/py=docker:aib-test:busybox,engine=far", config=far(sshd))
    (m / "py/root/a").write_text("a")
    assert ssh_children(world)
    os.kill(m.pid, signal.SIGKILL)
    wait_for("the daemon to end", lambda: m.pid not in world.processes())
    wait_for("ssh to end", lambda: not ssh_children(world))
    wait_for("the far side to end", lambda: not dials(sshd))
    again = mount("/py=docker:aib-test:busybox,engine=far", config=far(sshd), path=m.path)
    assert again.exec("true", cwd="py").returncode == 0
