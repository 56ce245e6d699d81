"""Jobs, over the daemon's socket: the real server and guest, in a sandbox that is this machine
(exec_daemon.c), and that outlives the daemon."""

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness import BUILD, program, run, wait_for

AIB = program("aib")
BYTES = "head -c {n} /dev/zero | openssl enc -aes-128-ctr -K 00 -iv 00 2>/dev/null"


class Box:
    """A daemon that can be killed and made again."""

    def __init__(self, world):
        self.top = world.dir / "box"
        self.work = world.dir / "work"
        self.state = world.dir / "state/jobs"
        self.work.mkdir()
        self.dir = self.top / "py" / str(self.work)[1:]
        self.dir.mkdir(parents=True)
        self.daemon = None
        self.begin()

    def begin(self):
        # What a killed one was just starting has its lock until it executes its program (aib mount waits for that).
        wait_for("a daemon", self.began, 5)

    def began(self):
        self.daemon = subprocess.Popen(
            [BUILD / "tests/mount/exec_daemon", self.top, BUILD / "exec/guest/aib-guest-test"],
            stdout=subprocess.PIPE,
        )
        if self.daemon.stdout.readline() == b"ready\n":
            return True
        self.kill()
        return False

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()
        self.daemon.stdout.close()

    def exec(self, *args, **kw):
        kw.setdefault("check", False)
        return run(program("aib-exec"), *args, cwd=self.dir, **kw)

    def job(self, *args, **kw):
        kw.setdefault("check", False)
        return run(AIB, "job", *args, cwd=self.dir, **kw)

    def start(self, *args):
        p = self.exec("-d", *args, check=True)
        return p.stdout.strip()

    def sh(self, line):
        return self.start("sh", "-c", line)

    def jobs(self):
        return {j["name"]: j for j in json.loads(self.job("ls", "--json", check=True).stdout)["jobs"]}

    def close(self):
        for name in self.jobs():
            self.job("rm", name, check=True)
        wait_for("the state of jobs to go", lambda: not any(self.state.glob("*/*")))
        self.daemon.terminate()
        assert self.daemon.wait(10) == 0
        self.daemon.stdout.close()


@pytest.fixture
def box(world):
    box = Box(world)
    yield box
    box.close()


def test_a_job_is_started_listed_waited_for_and_read(box):
    name = box.sh("echo out; echo err >&2; exit 7")
    assert name == "py-1"
    assert box.job("wait", name).returncode == 7
    p = box.job("logs", name)
    assert (p.stdout, p.stderr) == ("out\n", "err\n")
    assert box.job("logs", "--stdout", name).stderr == ""
    assert box.job("logs", "--stderr", name).stdout == ""
    job = box.jobs()[name]
    assert (job["state"], job["exit_code"], job["stdout"], job["truncated"]) == ("exited", 7, 4, False)
    assert "exit 7" in box.job("ls").stdout
    box.job("rm", name, check=True)
    assert box.job("wait", name).returncode == 125
    assert "no job" in box.job("logs", name).stderr


@pytest.mark.parametrize(
    "argv,status", [(["no-such-program"], 127), (["/etc/passwd"], 126), (["-w", "/no/such", "true"], 125)]
)
def test_what_does_not_start_leaves_no_job(box, argv, status):
    p = box.exec("-d", *argv)
    assert (p.returncode, p.stdout) == (status, "")
    assert p.stderr
    assert box.jobs() == {}


def test_names(box):
    assert box.start("--name", "build.1", "true") == "build.1"
    p = box.exec("-d", "--name", "build.1", "true")
    assert p.returncode == 125 and "exists" in p.stderr
    for wrong in ("-a", ".a", "a/b", "a b", "x" * 65):
        p = box.exec("-d", f"--name={wrong}", "true")
        assert p.returncode == 125 and "letter or digit" in p.stderr, wrong
    assert box.exec("--name", "x", "true").returncode == 125


@pytest.mark.parametrize("how,status", [([], 143), (["-KILL"], 137), (["-USR1"], 138)])
def test_kill(box, how, status):
    name = box.sh("setsid sleep 1000 & echo $!; exec sleep 1000")
    left = int(wait_for("its output", lambda: box.job("logs", name).stdout))
    box.job("kill", *how, name, check=True)
    assert box.job("wait", name).returncode == status
    if how != ["-USR1"]:
        assert not os.path.exists(f"/proc/{left}")
    else:
        with contextlib.suppress(ProcessLookupError):  # it may not have left the group yet
            os.kill(left, signal.SIGKILL)
    p = box.job("kill", name)
    assert p.returncode == 1 and "does not run" in p.stderr
    assert box.job("kill", "-NOSIG", name).returncode == 2


def test_rm_of_a_running_job_kills_all_of_it(box):
    name = box.sh("setsid sleep 1000 & echo $!; exec sleep 1000")
    left = int(wait_for("its output", lambda: box.job("logs", name).stdout))
    waiter = subprocess.Popen([AIB, "job", "wait", name], cwd=box.dir, stderr=subprocess.DEVNULL)
    wait_for("it to wait", lambda: box.jobs()[name]["state"] == "running")
    box.job("rm", name, check=True)
    wait_for("its end", lambda: not os.path.exists(f"/proc/{left}"))
    assert waiter.wait(10) == 137
    assert box.jobs() == {}
    wait_for("its state to go", lambda: not any(box.state.glob("*")))


def test_logs_follow_until_the_end(box):
    go = box.work / "go"
    name = box.sh(f"echo one; while [ ! -e {go} ]; do sleep 0.05; done; echo two")
    p = subprocess.Popen([AIB, "job", "logs", "-f", name], cwd=box.dir, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"one\n"
    go.touch()
    assert p.stdout.read() == b"two\n"
    assert p.wait(10) == 0
    p.stdout.close()
    name = box.sh("echo; sleep 1000")
    p = subprocess.Popen([AIB, "job", "logs", "-f", name], cwd=box.dir, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"\n"
    p.send_signal(signal.SIGINT)
    assert p.wait(10) != 0
    p.stdout.close()
    assert box.jobs()[name]["state"] == "running"


def test_the_timeout(box):
    name = box.start("--timeout", "300ms", "sleep", "1000")
    assert box.job("wait", name).returncode == 124
    assert box.jobs()[name]["timed_out"]


def digest_of(n):
    return hashlib.sha256(subprocess.run(BYTES.format(n=n), shell=True, capture_output=True).stdout).hexdigest()


def digest(box, name):
    p = subprocess.run([AIB, "job", "logs", name], cwd=box.dir, capture_output=True, timeout=60)
    return hashlib.sha256(p.stdout).hexdigest()


def test_output_beyond_the_limit_is_dropped_and_said(box):
    name = box.sh(BYTES.format(n=20 << 20))
    assert box.job("wait", name).returncode == 0
    job = box.jobs()[name]
    assert (job["truncated"], job["stdout"]) == (True, 20 << 20)
    assert digest(box, name) == digest_of(16 << 20)


@pytest.mark.timeout(180)
def test_a_killed_daemon_finds_its_jobs_again(box, world):
    size = 12 << 20
    name = box.sh(BYTES.format(n=size) + "; echo err >&2; exit 9")
    # Often while it writes, and again before its end may have been stored.
    for _ in range(12):
        box.kill()
        box.begin()
        time.sleep(0.03)
    assert box.job("wait", name).returncode == 9
    job = box.jobs()[name]
    assert (job["state"], job["exit_code"], job["stdout"], job["stderr"]) == ("exited", 9, size, 4)
    assert digest(box, name) == digest_of(size)
    box.kill()
    box.begin()
    assert box.job("wait", name).returncode == 9
    assert digest(box, name) == digest_of(size)
    # Where the one before was killed with the end just stored, it is this one that says so.
    wait_for("the end of its guest", lambda: not guests(world))


@pytest.mark.parametrize("nth", range(1, 6))
def test_a_daemon_killed_as_it_says_something_at_the_end_leaves_no_guest(box, world, nth):
    """What it says: that output is stored, and at last that the end is, so that the guest may forget it."""
    os.mkfifo(box.work / "go")
    name = box.sh("read x < go; echo out; exit 9")
    status = pathlib.Path(f"/proc/{box.daemon.pid}/status")
    with subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(box.daemon.pid), "-e", "trace=sendto",
         "-e", f"inject=sendto:signal=KILL:when={nth}"],
    ) as tracer:  # fmt: skip
        try:
            wait_for("the tracer", lambda: "TracerPid:\t0\n" not in status.read_text())
            (box.work / "go").write_text("\n")
            wait_for("its end", lambda: box.daemon.poll() is not None or not guests(world))
        finally:
            tracer.kill()
    box.kill()
    box.begin()
    assert box.job("wait", name).returncode == 9
    assert box.job("logs", name).stdout == "out\n"
    wait_for("the end of its guest", lambda: not guests(world))
    box.kill()
    box.begin()
    assert box.job("wait", name).returncode == 9


def guests(world):
    return [line for line in world.processes().values() if " run " in line]


def test_one_that_ended_without_a_daemon(box):
    name = box.sh("sleep 0.3; echo late; kill -USR2 $$")
    box.kill()
    time.sleep(0.6)
    box.begin()
    assert box.job("wait", name).returncode == 128 + signal.SIGUSR2
    assert box.job("logs", name).stdout == "late\n"


def test_one_that_is_not_there_any_more_is_lost(box):
    name = box.sh("echo $PPID $$; exec sleep 1000")
    guest, command = map(int, wait_for("its output", lambda: box.job("logs", name).stdout).split())
    box.kill()
    os.kill(guest, signal.SIGKILL)
    box.begin()
    p = box.job("wait", name)
    assert p.returncode == 125 and "not there any more" in p.stderr
    assert box.jobs()[name]["state"] == "lost"
    os.kill(command, signal.SIGKILL)


def test_one_that_was_accepted_but_not_begun_is_started_by_the_next_daemon(box):
    name = box.sh("echo $PPID $$; sleep 1000 & echo >> ran; wait")
    guest, shell = map(int, wait_for("its output", lambda: box.job("logs", name).stdout).split())
    box.kill()
    os.kill(guest, signal.SIGKILL)
    os.killpg(shell, signal.SIGKILL)
    (state,) = [s for s in box.state.rglob("state") if name in s.read_text()]
    said = json.loads(state.read_text())
    said.update(state="starting", started_ms=0)
    for output in ("stdout", "stderr"):
        said[output] = 0
        (state.parent / output).write_bytes(b"")
    state.write_text(json.dumps(said))
    (box.work / "ran").write_text("")
    box.begin()
    wait_for("its second beginning", lambda: (box.work / "ran").read_text() == "\n", 20)
    assert box.jobs()[name]["state"] == "running"
    box.job("kill", "-KILL", name, check=True)
    assert box.job("wait", name).returncode == 128 + signal.SIGKILL


def test_fifty_jobs_from_eight_callers(box):
    script = f"for i in 1 2 3 4 5 6 7; do {program('aib-exec')} -d sh -c 'echo $$; exit 3' || exit 1; done"
    callers = [subprocess.Popen(["sh", "-c", script], cwd=box.dir, stdout=subprocess.PIPE) for _ in range(8)]
    names = [n for p in callers for n in p.communicate(timeout=60)[0].decode().split()]
    assert all(p.returncode == 0 for p in callers)
    assert len(set(names)) == 56
    for name in names:
        assert box.job("wait", name).returncode == 3
    assert set(box.jobs()) == set(names)
