"""The whole road on a real engine: files into a container and back, and commands there."""

import hashlib
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import program, run, wait_for

PYTHON = "/py=docker:aib-test:python"
BUSYBOX = "/bb=docker:aib-test:busybox"


def sandbox(engine, mount):
    """The container of a mount's only docker route."""
    ids = [c for c in engine.containers() if str(mount) in str(engine.inspect(c)["Config"]["Labels"])]
    assert len(ids) == 1, ids
    return ids[0]


def nothing_runs(engine, box, word):
    """No process of the container has WORD in its command line."""
    return not [c for c in engine.commands(sandbox(engine, box)) if word in c]


@pytest.fixture
def py(engine, mount):
    return mount(PYTHON)


@pytest.fixture
def bb(engine, mount):
    return mount(BUSYBOX)


# ---- Files ----


def test_the_first_session(py, world):
    fib = "a, b = 0, 1\nfor _ in range(10):\n    print(a, end=' ')\n    a, b = b, a + b\n"
    (world.dir / "src/fib.py").write_text(fib)
    run("cp", world.dir / "src/fib.py", py / "py/workspace/")
    p = py.exec("python", "fib.py", cwd="py/workspace")
    assert (p.returncode, p.stdout, p.stderr) == (0, "0 1 1 2 3 5 8 13 21 34 ", "")
    assert py.exec("sh", "-c", "echo done >out", cwd="py/workspace").returncode == 0
    assert run("cat", py / "py/workspace/out").stdout == "done\n"


def test_a_megabyte_is_the_same_on_both_sides(py):
    data = os.urandom(1 << 20)
    (py / "py/workspace/r").write_bytes(data)
    there = py.exec("sha256sum", "r", cwd="py/workspace").stdout.split()[0]
    assert there == hashlib.sha256(data).hexdigest()

    line = "head -c 1048576 /dev/urandom >back; sha256sum back"
    there = py.exec("sh", "-c", line, cwd="py/workspace").stdout.split()[0]
    back = (py / "py/workspace/back").read_bytes()
    assert len(back) == 1 << 20
    assert hashlib.sha256(back).hexdigest() == there


def test_grep_find_and_ls_work_over_a_container(py):
    (py / "py/workspace/deep").mkdir()
    (py / "py/workspace/deep/x").write_text("a needle here\n")
    p = run("grep", "-rl", "a needle here", py / "py/workspace", py / "py/etc", check=False)
    assert p.stdout == f"{py}/py/workspace/deep/x\n"
    found = run("find", py / "py", "-xdev", timeout=120).stdout.splitlines()
    assert f"{py}/py/workspace/deep/x" in found
    assert len(found) > 2000
    assert not [f for f in found if f.startswith((f"{py}/py/proc/", f"{py}/py/sys/"))]
    listing = run("ls", "-lR", py / "py/etc", py / "py/workspace", timeout=120)
    assert "needle" not in listing.stdout and " passwd\n" in listing.stdout


def test_what_a_command_changed_is_seen_at_once(bb):
    for i in range(5):
        assert bb.exec("sh", "-c", f"echo {i} >f; rm -f old{i - 1}; touch old{i}", cwd="bb/workspace").returncode == 0
        assert (bb / "bb/workspace/f").read_text() == f"{i}\n"
        assert sorted(os.listdir(bb / "bb/workspace")) == ["f", f"old{i}"]


def test_remove_rename_and_attributes(bb):
    tmp = bb / "bb/workspace"
    (tmp / "a").write_text("a")
    os.rename(tmp / "a", tmp / "b")
    os.chmod(tmp / "b", 0o640)
    os.utime(tmp / "b", ns=(0, 10**18 + 5))
    os.symlink("b", tmp / "l")
    os.mkdir(tmp / "d")
    os.rmdir(tmp / "d")
    p = bb.exec("sh", "-c", "cat l; stat -c '%a %Y' b; ls", cwd="bb/workspace")
    assert p.stdout == "a640 1000000000\nb\nl\n"
    os.unlink(tmp / "l")
    assert os.listdir(tmp) == ["b"]


def test_files_of_a_sandbox_are_not_executed_on_the_host(bb):
    with pytest.raises(PermissionError):
        subprocess.run([bb / "bb/bin/busybox", "true"])


# ---- Commands ----


def test_bytes_go_through_unchanged(bb):
    p = bb.exec("cat", cwd="bb/tmp", input=b"a\0b", text=False)
    assert (p.returncode, p.stdout) == (0, b"a\0b")
    data = os.urandom(3 << 20)
    p = bb.exec("cat", cwd="bb/tmp", input=data, text=False)
    assert hashlib.sha256(p.stdout).digest() == hashlib.sha256(data).digest()


def test_streams_stay_apart(bb):
    p = bb.exec("sh", "-c", "echo out; echo err >&2", cwd="bb")
    assert (p.stdout, p.stderr) == ("out\n", "err\n")


@pytest.mark.parametrize(
    "status, argv",
    [
        (0, ["true"]),
        (7, ["sh", "-c", "exit 7"]),
        (143, ["sh", "-c", "kill -TERM $$"]),
        (137, ["sh", "-c", "kill -KILL $$"]),
        (127, ["no-such-program"]),
        (126, ["/etc/passwd"]),
    ],
)
def test_exit_status(bb, status, argv):
    assert bb.exec(*argv, cwd="bb/tmp").returncode == status


def test_outside_of_a_route_it_says_what_to_do(bb):
    p = bb.exec("true")
    assert p.returncode == 125
    assert len(p.stderr.splitlines()) == 1 and "--sandbox" in p.stderr
    assert bb.exec("--sandbox", "bb", "true").returncode == 0


def test_a_timeout_kills_the_whole_tree_and_keeps_the_output(engine, bb):
    bb.exec("true", cwd="bb")  # the sandbox has started
    start = time.monotonic()
    line = "echo early; sleep 1001 & setsid sleep 1002 & sleep 1003"
    p = bb.exec("--timeout", "1", "sh", "-c", line, cwd="bb")
    assert time.monotonic() - start < 3
    assert (p.returncode, p.stdout) == (124, "early\n")
    wait_for("the tree to end", lambda: nothing_runs(engine, bb, "sleep 100"), 3)


def test_the_callers_death_ends_the_command(engine, bb):
    p = subprocess.Popen([program("aib-exec"), "sleep", "1001"], cwd=bb / "bb", stdin=subprocess.DEVNULL)
    wait_for("the command", lambda: not nothing_runs(engine, bb, "sleep 1001"))
    p.kill()
    p.wait()
    wait_for("the command to end", lambda: nothing_runs(engine, bb, "sleep 1001"), 5)


@pytest.mark.parametrize("sig, status", [("TERM", 143), ("INT", 130), ("HUP", 129), ("USR1", 138)])
def test_signals_reach_the_command(engine, bb, sig, status):
    p = subprocess.Popen([program("aib-exec"), "sleep", "1001"], cwd=bb / "bb", stdin=subprocess.DEVNULL)
    wait_for("the command", lambda: not nothing_runs(engine, bb, "sleep 1001"))
    p.send_signal(getattr(signal, "SIG" + sig))
    assert p.wait(10) == status
    assert nothing_runs(engine, bb, "sleep 1001")


def test_a_caught_signal_is_the_commands_own(bb):
    line = "trap 'echo caught; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    p = subprocess.Popen(
        [program("aib-exec"), "sh", "-c", line], cwd=bb / "bb",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert p.stdout.readline() == "ready\n"
    p.terminate()
    assert p.communicate(timeout=10)[0] == "caught\n"
    assert p.returncode == 3


class Terminal:
    """A shell in a real terminal (tmux)."""

    def __init__(self, world, cwd, rows=24, cols=80):
        self.world = world
        self.tmux = ["tmux", "-f", "/dev/null", "-S", str(world.dir / "tmux")]
        shell = ["env", "PS1=prompt> ", "sh", "-i"]
        run(*self.tmux, "new-session", "-d", "-x", str(cols), "-y", str(rows), "-c", cwd, *shell)

    def type(self, *keys):
        run(*self.tmux, "send-keys", *keys)

    def screen(self):
        return run(*self.tmux, "capture-pane", "-p", "-J").stdout

    def expect(self, text, timeout=10):
        wait_for(f"{text!r} on the screen", lambda: text in self.screen(), timeout)

    def resize(self, rows, cols):
        run(*self.tmux, "resize-window", "-x", str(cols), "-y", str(rows))

    def close(self):
        run(*self.tmux, "kill-server", check=False)
        wait_for("tmux to end", lambda: not [p for p in self.world.processes().values() if p.startswith("tmux")])


@pytest.fixture
def terminal(world, bb):
    bb.exec("true", cwd="bb")
    terminal = Terminal(world, bb / "bb/tmp")
    yield terminal
    terminal.close()


def test_control_c_in_a_terminal_ends_the_command_there(engine, bb, terminal):
    terminal.type("aib-exec sleep 1001; echo status=$?", "Enter")
    wait_for("the command", lambda: not nothing_runs(engine, bb, "sleep 1001"))
    terminal.type("C-c")
    terminal.expect("status=130")
    assert nothing_runs(engine, bb, "sleep 1001")


def test_a_shell_in_a_terminal_knows_its_size(bb, terminal):
    terminal.type("aib-exec sh -c 'stty size; cat; stty size'", "Enter")
    terminal.expect("24 80")
    terminal.resize(30, 100)
    time.sleep(0.5)
    terminal.type("C-d")
    terminal.expect("30 100")
    terminal.type("echo back in the host shell", "Enter")
    terminal.expect("\nback in the host shell")


def test_options_of_the_environment_directory_and_user(py):
    p = py.exec("-e", "K=v w", "sh", "-c", 'echo "$K"; pwd; id -u', cwd="py/tmp")
    assert p.stdout == f"v w\n{py}/py/tmp\n0\n" or p.stdout == "v w\n/tmp\n0\n"
    assert py.exec("-w", "/etc", "pwd", "-P", cwd="py/tmp").stdout == "/etc\n"
    assert py.exec("-u", "1234:5", "id", cwd="py/tmp").stdout.startswith("uid=1234 gid=5")
    assert py.exec("-w", "/none", "true", cwd="py/tmp").returncode == 125
    assert py.exec("-c", "exit 9", cwd="py").returncode == 9
    assert py.exec("-lc", "exit 8", cwd="py").returncode == 8
    assert py.exec("-n", "cat", cwd="py", input="not seen").stdout == ""


def test_a_user_that_the_sandbox_does_not_know_is_named(bb):
    p = bb.exec("-u", "nosuch", "true", cwd="bb", check=False)
    assert p.returncode == 125
    assert "sandbox bb" in p.stderr and "nosuch" in p.stderr and "lost" not in p.stderr


def test_status_fd_answers_as_json(bb):
    r, w = os.pipe()
    p = bb.exec("--status-fd", str(w), "sh", "-c", "exit 125", cwd="bb", pass_fds=[w])
    os.close(w)
    with os.fdopen(r) as f:
        answer = json.load(f)
    assert p.returncode == 125
    assert answer["exit_code"] == 125


def test_paths_are_the_same_on_both_sides(py):
    script = py / "py/workspace/where.py"
    script.write_text("import os, sys; print(__file__, os.path.samefile(__file__, 'where.py'))\n")
    p = py.exec("python", script, cwd="py/workspace")
    assert p.stdout == f"{script} True\n"
    assert py.exec("sh", "-c", "echo $PWD", cwd="py/workspace").stdout == f"{py}/py/workspace\n"


def test_a_host_route_runs_its_commands_in_the_sandbox(engine, mount, world):
    (world.dir / "src/Makefile.txt").write_text("x\n")
    box = mount(PYTHON, f"/project=host:{world.dir}/src,exec=/py")
    p = box.exec("sh", "-c", "cat Makefile.txt; echo y >made; test -e /usr/bin/python3", cwd="project")
    assert (p.returncode, p.stdout) == (0, "x\n")
    assert (box / "project/made").read_text() == "y\n"
    assert (world.dir / "src/made").stat().st_uid == os.getuid()


# ---- Sandboxes ----


def test_the_sandbox_is_labelled_confined_and_goes_at_umount(engine, bb):
    bb.exec("true", cwd="bb")
    about = engine.inspect(sandbox(engine, bb))
    host = about["HostConfig"]
    assert any(k.startswith("aib.") for k in about["Config"]["Labels"])
    assert host["NetworkMode"] == "none" and host["PidsLimit"] == 512
    assert host["Memory"] == host["MemorySwap"] == 2 << 30
    assert host["NanoCpus"] == 2 * 10**9
    rights = bb.exec("grep", "CapBnd", "/proc/self/status", cwd="bb").stdout.split()[1]
    assert int(rights, 16) == 0xFB  # CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID
    assert any("no-new-privileges" in o for o in host["SecurityOpt"])
    assert host["LogConfig"]["Type"] == "none"
    assert about["State"]["Running"]
    start = time.monotonic()
    bb.umount()
    assert time.monotonic() - start < 5
    assert about["Id"] not in engine.containers()


def test_a_sandbox_starts_at_its_first_use_only(engine, bb):
    os.listdir(bb)
    ids = [c for c in engine.containers() if str(bb) in str(engine.inspect(c)["Config"]["Labels"])]
    assert not [c for c in ids if engine.inspect(c)["State"]["Running"]]
    assert bb.exec("true", cwd="bb").returncode == 0
    assert engine.inspect(sandbox(engine, bb))["State"]["Running"]


def test_an_image_that_holds_nothing(engine, mount):
    box = mount("/e=docker:aib-test:empty")
    assert box.exec("anything", cwd="e").returncode == 127
    (box / "e/workspace/x").write_text("x")
    os.rename(box / "e/workspace/x", box / "e/workspace/y")
    assert (box / "e/workspace/y").read_text() == "x"
    os.unlink(box / "e/workspace/y")
    assert os.listdir(box / "e/workspace") == []


def test_an_attached_container_stays(engine, mount, container):
    name = container()
    box = mount(f"/c=container:{name}")
    assert box.exec("sh", "-c", "echo here >/tmp/x", cwd="c").returncode == 0
    assert (box / "c/tmp/x").read_text() == "here\n"
    (box / "c/tmp/x").unlink()
    box.umount()
    assert engine.inspect(name)["State"]["Running"]
    assert ".aib-guest" not in engine.docker("exec", name, "ls", "-a", "/").stdout


def test_pull_from_a_registry_at_mount(engine, mount, registry):
    reference = registry.push("aib-test:busybox", "some/bb:1")
    box = mount(f"/r=docker:{reference}")
    assert box.exec("true", cwd="r").returncode == 0
    box.umount()
    engine.docker("rmi", reference)
    with pytest.raises(AssertionError, match="/r"):
        mount(f"/r=docker:{reference},pull=never")
    missing = reference.replace("some/bb", "some/none")
    with pytest.raises(AssertionError, match="/r"):
        mount(f"/r=docker:{missing}")
    kept = mount("/m=memory", f"/r=docker:{missing},nofail")
    assert "m" in os.listdir(kept)


def test_no_engine_is_an_error_that_names_the_route(mount, world, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{world.dir}/none.sock")
    with pytest.raises(AssertionError, match=r"/bb.*none\.sock"):
        mount(BUSYBOX)


def test_a_dead_engine_delays_only_its_own_route(mount, world, monkeypatch):
    """An engine that takes connections and never answers."""
    path = world.dir / "run-dead.sock"
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(16)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    box = mount(f"{BUSYBOX},nofail", "/m=memory", options="deadline=3s,prepare_timeout=2s")
    late = threading.Thread(target=lambda: run("ls", box / "bb", check=False))
    late.start()
    start = time.monotonic()
    (box / "m/x").write_text("x")
    assert (box / "m/x").read_text() == "x"
    assert time.monotonic() - start < 1
    late.join(20)
    assert not late.is_alive()
    server.close()


# ---- The control tree ----


def test_the_control_tree_tells_of_the_sandbox(bb):
    assert ".aib" not in os.listdir(bb)
    names = os.listdir(bb / ".aib/sandboxes")
    assert names == ["bb"]
    bb.exec("true", cwd="bb")
    status = dict(line.split(" ", 1) for line in (bb / ".aib/sandboxes/bb/status").read_text().splitlines())
    assert status["state"] == "running"
    run("sh", "-c", f"echo stop >{bb}/.aib/sandboxes/bb/ctl")
    wait_for("the stop", lambda: "state running" not in (bb / ".aib/sandboxes/bb/status").read_text())
    assert bb.exec("true", cwd="bb").returncode == 0


def test_what_is_being_stopped_runs_until_it_is_stopped(bb):
    bb.exec("true", cwd="bb", check=True)
    states, status = [], bb / ".aib/sandboxes/bb/status"
    (bb / ".aib/sandboxes/bb/ctl").write_text("stop")

    def stopped():
        states.append(status.read_text().split("state ", 1)[1].split("\n")[0])
        return states[-1] == "stopped"

    wait_for("the stop", stopped)
    assert set(states) <= {"running", "stopped"}, states
    assert bb.exec("true", cwd="bb").returncode == 0


def test_what_was_stopped_stays_so_though_files_are_the_guests(engine, mount):
    box = mount("/bb=docker:aib-test:busybox,transport=guest")
    box.exec("true", cwd="bb", check=True)
    (box / ".aib/sandboxes/bb/ctl").write_text("stop")
    wait_for("the stop", lambda: "state stopped" in status(box))
    end = time.monotonic() + 2
    while time.monotonic() < end:
        assert "state stopped" in status(box)
        time.sleep(0.05)


def status(box, name="bb"):
    return (box / f".aib/sandboxes/{name}/status").read_text().splitlines()


def test_what_a_command_leaves_running_shows_in_the_status(bb):
    bb.exec("sh", "-c", "sleep 7777 & echo started", cwd="bb")
    assert "processes 1" in status(bb)
    left = [line for line in status(bb) if line.startswith("process ")]
    assert len(left) == 1 and left[0].endswith(" sleep")
    bb.exec("sh", "-c", "kill $(pidof sleep); while pidof sleep; do :; done", cwd="bb")
    assert "processes 0" in status(bb)
    (bb / ".aib/sandboxes/bb/ctl").write_text("stop\n")
    wait_for("the stop", lambda: "state stopped" in status(bb))
    assert not [line for line in status(bb) if line.startswith("process")]


def test_exec_by_one_request_on_a_file(bb):
    with open(bb / ".aib/exec", "r+b", buffering=0) as f:
        f.write(json.dumps({"command": "echo out; echo err >&2; exit 3", "cwd": "/bb/tmp"}).encode())
        answer = json.loads(f.read(1 << 20))
    assert answer["exit_code"] == 3
    assert answer["stdout"] == "out\n"
    assert answer["stderr"] == "err\n"
    assert not answer["timed_out"] and not answer["truncated"]
