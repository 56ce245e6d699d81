"""From the command line to a mount and back: what is refused and how it is said, what a killed daemon
leaves, how everything ends."""

import contextlib
import fcntl
import json
import os
import pathlib
import pty
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from harness import LONG, SLOW, mounts_below, program, run, wait_for


def aib(*argv, **kw):
    kw.setdefault("check", False)
    return run(program("aib"), *argv, **kw)


@pytest.fixture
def place(world):
    path = world.dir / "place"
    path.mkdir()
    return path


def refused(place, *argv):
    """The one line that says why `aib mount` fails."""
    p = aib("mount", *argv, place)
    assert p.returncode == 1, p
    assert p.stderr.startswith("aib: ") and p.stderr.count("\n") == 1, p.stderr
    assert not mounts_below(place)
    return p.stderr[5:-1]


# ---- What is refused


@pytest.mark.parametrize(
    "route, text",
    [
        ("/a", "a route is PATH=TYPE"),
        ("a=memory", "must be absolute"),
        ("/a=memry", '-r /a: unknown type "memry" (types: memory'),
        ("/a=memory,sise=1", '-r /a: unknown key "sise" (did you mean "size"?)'),
        ("/a=memory,size=lots", '-r /a: "size" must be'),
        ("/a=host:/nonexistent", "route /a: "),
        ("/a=host:/tmp,exec=/b", "-r /a: exec: /b is not a route"),
        ("/.aib=memory", "the control tree's"),
    ],
)
def test_a_bad_route_is_refused_with_its_name(place, route, text):
    assert text in refused(place, "-r", route)


def test_exec_must_name_a_sandbox(place, world):
    text = refused(place, "-r", f"/a=host:{world.dir}/src,exec=/b", "-r", "/b=memory")
    assert text == "route /a: exec: /b has no sandbox"


def test_a_failing_route_that_may_fail_is_left_out(mount, world):
    box = mount("/a=host:/nonexistent,nofail", "/b=memory")
    assert os.listdir(box) == ["b"]
    assert "warning: route /a" in box.log.read_text()
    routes = status_of(box)["routes"]
    assert [(r["path"], r["state"]) for r in routes] == [("/", "ok"), ("/a", "failed"), ("/b", "ok")]


def test_a_bad_mount_point_is_refused(world, place):
    assert "No such file" in refused(world.dir / "missing")
    (place / "file").write_text("")
    assert "not empty" in refused(place)
    assert "Not a directory" in refused(place / "file")


def test_nonempty_mounts_over_files(mount, place):
    (place / "file").write_text("")
    box = mount(path=place, options="nonempty")
    assert os.listdir(box) == []


def test_a_living_mount_is_not_mounted_over(mount):
    box = mount()
    p = aib("mount", box)
    assert p.returncode == 1
    assert p.stderr == f"aib: {box} is mounted already; aib umount {box} first\n"


def test_unknown_options_and_commands_are_refused_with_a_suggestion(place):
    assert 'unknown option "contrl" (did you mean "control"?)' in refused(place, "-o", "contrl=none")
    p = aib("stauts")
    assert (p.returncode, p.stderr) == (2, 'aib: unknown command "stauts" (did you mean "status"?)\n')


# ---- Configuration


def test_flags_win_over_environment_over_file(mount, world, monkeypatch):
    config = world.dir / "config.json"
    config.write_text(json.dumps({
        "routes": {"/a": {"type": "memory"}, "/b": {"type": "memory"}},
        "options": {"deadline": "1m", "log_level": "debug", "control": "none"},
    }))  # fmt: skip
    monkeypatch.setenv("AIB_LOG_LEVEL", "warning")
    monkeypatch.setenv("AIB_DEADLINE", "2m")
    p = aib("config", "show", "-c", config, "-o", "deadline=3m", "-r", "/b=host:/tmp,readonly", check=True)
    shown = json.loads(p.stdout)
    assert shown["options"]["deadline"] == "3m"
    assert shown["options"]["log_level"] == "warning"
    assert shown["options"]["control"] == "none"
    assert shown["routes"] == {
        "/": {"type": "memory"},
        "/a": {"type": "memory"},
        "/b": {"type": "host", "path": "/tmp", "readonly": True},
    }
    monkeypatch.setenv("AIB_CONFIG", str(config))
    assert sorted(os.listdir(mount())) == ["a", "b"]


def test_config_check_names_the_place(world):
    config = world.dir / "config.json"
    config.write_text('{"routes": {"/a": {"type": "memory", "sise": 1}}}')
    p = aib("config", "check", config)
    assert p.returncode == 1
    assert p.stderr == f'aib: {config}: routes: /a: unknown key "sise" (did you mean "size"?)\n'
    config.write_text('{\n  "routes": x}')
    assert "line 2, column 13" in aib("config", "check", config).stderr
    config.write_text("{}")
    assert aib("config", "check", config).returncode == 0


def test_fstab_form(world, place):
    config = world.dir / "config.json"
    config.write_text('{"routes": {"/a": {"type": "memory"}}}')
    for source, names in ((config, ["a"]), ("none", [])):
        run(program("aibfs"), source, place, "-o", "rw,nodev,nosuid,_netdev,x-systemd.automount")
        assert os.listdir(place) == names
        aib("umount", place, check=True)


def test_the_control_tree_is_as_asked_for(mount):
    assert os.listdir(mount(options="control=visible")) == [".aib"]
    hidden = mount(options="control=hidden")
    assert os.listdir(hidden) == []
    assert (hidden / ".aib/version").read_text().strip()
    none = mount(options="control=none")
    assert not (none / ".aib").exists()


NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


def test_the_control_tree_is_its_owners_and_the_control_users(mount):
    box = mount(options="control_users=nobody:4711")
    assert run(*NOBODY, "cat", box / ".aib/version").stdout == (box / ".aib/version").read_text()
    assert "/" in run(*NOBODY, program("aib"), "status").stdout
    denied = run("setpriv", "--reuid=4712", "--clear-groups", "ls", box / ".aib", check=False)
    assert "Permission denied" in denied.stderr
    alone = mount()
    assert "Permission denied" in run(*NOBODY, "cat", alone / ".aib/version", check=False).stderr


def test_a_daemon_that_was_just_killed_is_not_in_the_way(world, mount):
    box = mount()
    for _ in range(2 if LONG else 1):
        (box / "f").write_bytes(bytes(250_000_000))  # to be freed while it ends
        os.kill(box.pid, signal.SIGKILL)
        box.ended = True
        box = mount(path=box.path)


def test_a_child_that_a_dead_daemon_was_just_starting_is_waited_for(world, mount):
    box = mount()
    (info,) = (world.dir / "run").glob("*/info")
    with open(info, "r+b", buffering=0) as inherited:
        lock = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        ended = threading.Timer(0.8, inherited.close)
        os.kill(box.pid, signal.SIGKILL)
        box.ended = True
        wait_for("its lock", lambda: locked(inherited, lock))
        ended.start()
        again = mount(path=box.path)
    assert again.pid != box.pid


def locked(f, lock):
    with contextlib.suppress(OSError):
        fcntl.fcntl(f, fcntl.F_OFD_SETLK, lock)
        return True


def test_the_control_tree_can_be_listed_by_name(mount):
    box = mount(options="control=hidden")
    for _ in range(3):
        names = os.listdir(box / ".aib")
        assert {"version", "status", "routes", "log", "socket", "exec", "sandboxes"} <= set(names)
        assert os.listdir(box / ".aib/sandboxes") == []
    assert "mounted at" in (box / ".aib/log").read_text()


def ask(box, request):
    """One request on one open file of .aib/exec; the answer, which comes at once."""
    with open(box / ".aib/exec", "r+b", buffering=0) as f:
        f.write(request.encode())
        return json.loads(f.read(1 << 20))


@pytest.mark.parametrize(
    "request_text, text",
    [
        ("garbage", "not a JSON object"),
        ("[" * 100000, "not a JSON object"),
        ("{}", 'give "command"'),
        ('{"argv": ["true"], "command": "true"}', 'give "command"'),
        ('{"command": "true", "timeout": -1}', '"timeout"'),
        ('{"command": "true", "env": {"A": 1}}', '"env"'),
        ('{"command": "true", "cwd": 1}', '"cwd"'),
        ('{"command": "true", "stdin": 1}', '"stdin"'),
        ('{"command": "true", "tiemout": 1}', 'unknown key "tiemout"'),
        ('{"command": "true", "sandbox": "none"}', 'no sandbox "none"'),
    ],
)
def test_a_bad_exec_request_is_answered_with_why(mount, request_text, text):
    answer = ask(mount("/=memory"), request_text)
    assert answer["exit_code"] == 125
    assert text in answer["error"]


def test_reading_the_whole_control_tree_ends(mount, world):
    box = mount("/=memory")
    assert (box / ".aib/exec").read_bytes() == b""
    run("cp", "-r", box / ".aib", world.dir / "copy", timeout=20)
    found = run("grep", "-rl", "memory", box / ".aib", timeout=20, check=False).stdout
    assert f"{box}/.aib/routes" in found


def test_mount_options_reach_the_kernel(mount, world):
    box = mount(options="noexec,nosymfollow,ro")
    for line in open("/proc/self/mounts"):
        source, point, kind, options = line.split()[:4]
        if point == str(box):
            assert (source, kind) == ("aib", "fuse.aibfs")
            assert {"noexec", "nosymfollow", "ro", "nosuid", "nodev"} <= set(options.split(","))
            break
    else:
        raise AssertionError("not mounted")
    with pytest.raises(OSError, match="Read-only"):
        (box / "x").write_text("x")


# ---- Its end


def test_what_a_killed_daemon_left_is_shown_and_cleaned(mount, world):
    box = mount()
    os.kill(box.pid, signal.SIGKILL)
    wait_for("the mount to be dead", lambda: not world.daemons())
    with pytest.raises(OSError):
        os.listdir(box)
    assert f"{box}  dead" in aib("status").stdout
    assert f"{box} was left by a daemon that was killed" in aib("doctor").stdout
    aib("umount", box, check=True)
    assert not mounts_below(box)
    assert not list((world.dir / "run").iterdir())


def test_a_dead_mount_is_known_while_the_kernel_remembers_its_root(mount, world):
    box = mount(f"/=host:{world.dir}/src,attr_timeout=60s")
    os.stat(box)
    os.kill(box.pid, signal.SIGKILL)
    wait_for("the mount to be dead", lambda: not world.daemons())
    assert f"{box}  dead" in aib("status").stdout
    aib("umount", box, check=True)


def test_umount_without_an_argument_finds_the_mount(mount, monkeypatch):
    one, two = mount(), mount()
    p = aib("umount")
    assert p.returncode == 1 and str(one) in p.stderr and str(two) in p.stderr
    monkeypatch.setenv("AIB_MOUNT", str(two))
    assert aib("umount").returncode == 0
    assert one.mounted and not two.mounted


def test_a_busy_mount_stays_and_its_users_are_named(mount):
    box = mount()
    user = subprocess.Popen(["sleep", "60"], cwd=box)
    try:
        p = aib("umount", box)
        assert p.returncode == 1
        assert f"{user.pid} sleep (working directory)" in p.stderr
        assert box.mounted
        (box / "x").write_text("still works")
        aib("umount", "--force", box, check=True)
        assert not box.mounted
    finally:
        user.kill()
        user.wait()


def test_a_lazy_umount_ends_with_its_last_user(mount, world):
    box = mount()
    with open(box / "x", "w") as f:
        aib("umount", "--lazy", box, check=True)
        assert not box.mounted
        f.write("works")
        f.flush()
        assert world.daemons() == [box.pid]
    wait_for("the daemon to end", lambda: not world.daemons())


def test_umount_of_what_is_not_ours_is_refused(world, place):
    p = aib("umount", place)
    assert p.returncode == 1 and "not a mount of aib's" in p.stderr
    assert aib("umount", world.dir / "missing").returncode == 1


def test_unmounting_by_hand_ends_the_daemon(mount, world):
    box = mount()
    run("umount", box)
    wait_for("the daemon to end", lambda: not world.daemons())
    assert not list((world.dir / "run").iterdir())


def test_in_the_foreground_it_logs_and_tells_systemd(world, place):
    notify = world.dir / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s, open(world.dir / "log", "wb") as log:
        s.bind(str(notify))
        s.settimeout(10 * SLOW)
        env = {**os.environ, "NOTIFY_SOCKET": str(notify)}
        p = subprocess.Popen([program("aib"), "mount", "-f", place], stderr=log, env=env)
        assert s.recv(100) == b"READY=1"
        assert os.listdir(place) == []
        p.send_signal(signal.SIGINT)
        assert s.recv(100) == b"STOPPING=1"
        assert p.wait(10 * SLOW) == 0
    text = (world.dir / "log").read_text()
    assert f"mounted at {place}" in text
    assert not mounts_below(place)


@contextlib.contextmanager
def silent_engine(world):
    """An engine that takes connections and never answers."""
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(world.dir / "engine"))
        s.listen(64)
        yield f"unix://{world.dir}/engine"


@pytest.mark.parametrize("how", ["INT", "TERM", "terminal"])
def test_an_interrupt_while_preparing_leaves_nothing(world, place, monkeypatch, how):
    with silent_engine(world) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        argv = [program("aib"), "mount", "-r", "/py=docker:some/image", str(place)]
        if how == "terminal":
            pid, terminal = pty.fork()
            if pid == 0:
                os.execv(argv[0], argv)
        else:
            pid = subprocess.Popen(argv, stderr=subprocess.DEVNULL).pid
        wait_for("the daemon to prepare", lambda: len(world.daemons()) == 2)
        time.sleep(0.3)
        assert not mounts_below(place)
        if how == "terminal":
            os.write(terminal, b"\x03")
        else:
            os.kill(pid, getattr(signal, f"SIG{how}"))
        start = time.monotonic()
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 1
        assert time.monotonic() - start < 5 * SLOW
        wait_for("the daemon to end", lambda: not world.daemons())
        assert not mounts_below(place)
        assert not list((world.dir / "run").iterdir())
        if how == "terminal":
            os.close(terminal)


# ---- Showing


def status_of(box):
    """What `aib status` says of it: there may be others on this machine."""
    for m in json.loads(aib("status", "--json", check=True).stdout)["mounts"]:
        if m["mountpoint"] == str(box):
            return m
    return None


def test_status_lists_mounts_and_routes(mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    text = aib("status").stdout
    assert f"{box}  pid {box.pid}, up " in text
    assert f"host:{world.dir}/src" in text
    m = status_of(box)
    assert (m["mountpoint"], m["pid"], m["state"]) == (str(box), box.pid, "ok")
    assert [r["path"] for r in m["routes"]] == ["/", "/h"]
    box.umount()
    assert not status_of(box)


def test_doctor_says_what_is_wrong_and_what_to_do(world, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    checks = json.loads(aib("doctor", "--json").stdout)
    assert checks["ok"]
    by_name = {c["check"]: c for c in checks["checks"]}
    assert by_name["fuse"]["level"] == "ok"
    assert by_name["engine"]["level"] == "warning"
    assert "/nonexistent/docker.sock" in by_name["engine"]["text"]
    monkeypatch.setenv("AIB_SPOOL", "/nonexistent")
    p = aib("doctor")
    assert p.returncode == 1
    assert "error    spool        /nonexistent: No such file or directory; " in p.stdout


def test_the_daemon_leaves_no_descriptor_to_its_children_and_has_a_clean_state(mount):
    box = mount()
    status = open(f"/proc/{box.pid}/status").read()
    assert "Umask:\t0000" in status
    assert os.readlink(f"/proc/{box.pid}/cwd") == "/"
    for fd in os.listdir(f"/proc/{box.pid}/fd"):
        info = open(f"/proc/{box.pid}/fdinfo/{fd}").read()
        flags = int(info.split("flags:\t")[1].split("\n")[0], 8)
        assert int(fd) <= 2 or flags & os.O_CLOEXEC, os.readlink(f"/proc/{box.pid}/fd/{fd}")


@contextlib.contextmanager
def used_unseen(path):
    """An open file that no process has: it is on its way through a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, open(path, "rb") as f:
        socket.send_fds(ours, [b"x"], [f.fileno()])
        f.close()
        yield theirs


def test_umount_waits_a_moment_for_what_uses_the_mount_unseen(mount):
    box = mount("/=memory")
    (box / "f").touch()
    with used_unseen(box / "f") as holder:
        p = aib("umount", box)
        assert p.returncode == 1 and p.stderr.count("\n") == 1 and "by nothing that can be seen" in p.stderr, p
        later = threading.Timer(0.3, holder.close)
        later.start()
        aib("umount", box, check=True)
        later.join()


def switches(pid):
    """How often its threads have gone to sleep or lost the processor."""
    count = 0
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for line in (task / "status").read_text().splitlines():
            if "ctxt_switches" in line:
                count += int(line.split()[1])
    return count


def test_a_daemon_at_rest_sleeps(mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    for i in range(200):
        (box / f"h/f{i}").write_text("x")
    time.sleep(0.5)
    before = switches(box.pid)
    time.sleep(1)
    assert switches(box.pid) - before < 50


def threads_at_idle_policy(pid):
    """Of the daemon's threads, those under SCHED_IDLE, each with the processors that it may run on."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if os.sched_getscheduler(int(task.name)) == os.SCHED_IDLE:
            found.append(os.sched_getaffinity(int(task.name)))
    return found


def test_who_serves_a_lone_caller_does_so_on_its_processor(mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    (box / "h/f").write_text("x")
    log = (box / ".aib/log").read_text()
    if len(os.sched_getaffinity(0)) == 1:
        assert log.count("following callers: off: one processor") == 1
        return
    if os.getuid() != 0:
        assert log.count("following callers: off: the daemon is not privileged") == 1
        return
    assert log.count("following callers: on") == 1

    def is_followed():
        for _ in range(100):
            (box / "h/f").read_text()
        return any(len(processors) == 1 for processors in threads_at_idle_policy(box.pid))

    wait_for("the thread that serves this one", is_followed)
    wait_for("its way back", lambda: not threads_at_idle_policy(box.pid))


def test_callers_are_not_followed_where_that_is_not_wanted(mount, world):
    box = mount(f"/h=host:{world.dir}/src", options="follow_caller=no")
    (box / "h/f").write_text("x")
    assert "following callers: off: it is not wanted" in (box / ".aib/log").read_text()
    for _ in range(1000):
        (box / "h/f").read_text()
        assert not threads_at_idle_policy(box.pid)
