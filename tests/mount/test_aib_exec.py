"""aib-exec against the real server and guest, in a sandbox that is this machine (exec_daemon.c)."""

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time

import pytest

from harness import BUILD, SLOW, program, run, wait_for

AIB_EXEC = program("aib-exec")


class Box:
    def __init__(self, world, road):
        self.top = world.dir / "box"
        self.work = world.dir / "work"
        self.work.mkdir()
        # The sandbox's root is this machine's: this is the working directory's place in the mount.
        self.dir = self.top / "py" / str(self.work)[1:]
        self.dir.mkdir(parents=True)
        guest = BUILD / "exec/guest/aib-guest-test"
        self.daemon = subprocess.Popen(
            [BUILD / "tests/mount/exec_daemon", self.top, guest, *road], stdout=subprocess.PIPE
        )
        assert self.daemon.stdout.readline() == b"ready\n"

    def run(self, *args, **kw):
        kw.setdefault("check", False)
        kw.setdefault("cwd", self.dir)
        return run(AIB_EXEC, *args, **kw)

    def start(self, *args, **kw):
        kw.setdefault("cwd", self.dir)
        kw.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.Popen([AIB_EXEC, *args], stdout=subprocess.PIPE, **kw)

    def close(self):
        self.daemon.terminate()
        assert self.daemon.wait(10) == 0
        self.daemon.stdout.close()
        for p in self.top.glob("*"):
            run("rm", "-rf", p)


@pytest.fixture(params=[(), ("handover",)], ids=["relayed", "handed-over"])
def box(world, request):
    box = Box(world, request.param)
    yield box
    box.close()


MINE = f".{os.getpid()}"  # a fraction of a second that tells this worker's commands from another's


def nothing_runs(word):
    return run("pgrep", "-f", f"^sleep {word}{MINE}$", check=False).returncode == 1


def test_streams_are_separate_and_the_status_is_the_commands(box):
    p = box.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (p.stdout, p.stderr, p.returncode) == ("out\n", "err\n", 7)


@pytest.mark.parametrize(
    "status, text, argv",
    [
        (0, "", ["true"]),
        (143, "", ["sh", "-c", "kill -TERM $$"]),
        (127, "aib-exec: no-such: No such file", ["no-such"]),
        (126, "aib-exec: /etc/passwd: Permission denied", ["/etc/passwd"]),
        (125, "the working directory /no/such cannot be entered", ["-w", "/no/such", "true"]),
        (125, "no sandbox \"x\"", ["--sandbox", "x", "true"]),
        (125, "--timeout x: not a duration", ["--timeout", "x", "true"]),
        (125, "--nope: no such option", ["--nope"]),
        (125, "-e wants a value", ["-e"]),
        (125, "no command", []),
        (125, "the command was not started: unable to find user NOBODY: no matching "
              "entries in passwd file", ["-u", "NOBODY", "true"]),
    ],
)  # fmt: skip
def test_exit_status(box, status, text, argv):
    p = box.run(*argv)
    assert p.returncode == status
    assert text in p.stderr
    assert p.stderr.count("\n") == (1 if text else 0)


def test_outputs_that_are_one_keep_their_order(box):
    line = "for i in 1 2 3 4 5 6 7 8; do echo $i; echo e$i >&2; done; exit 4"
    want = "".join(f"{i}\ne{i}\n" for i in range(1, 9))
    for _ in range(5):
        p = subprocess.run([AIB_EXEC, "-c", line], cwd=box.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert (p.stdout, p.returncode) == (want, 4)
    run("sh", "-c", f"{AIB_EXEC} -c '{line}' >both 2>&1", cwd=box.dir, check=False)
    assert (box.dir / "both").read_text() == want


def test_bytes_go_through_unchanged_both_ways(box):
    data = os.urandom(5_000_000)
    p = box.run("cat", input=data, text=False)
    assert p.stdout == data


def test_input_ends_alone(box):
    p = box.run("sh", "-c", "cat; sleep 0.2; echo after", input="in\n")
    assert p.stdout == "in\nafter\n"


def test_no_stdin_leaves_the_callers_alone(box, world):
    line = f"while read x; do {AIB_EXEC} -n cat; echo $x; done"
    p = run("sh", "-c", line, input="a\nb\n", cwd=box.dir)
    assert p.stdout == "a\nb\n"


def test_a_reader_that_goes_ends_the_command_as_in_a_pipeline(box):
    p = run("bash", "-c", f"{AIB_EXEC} yes | head -1; echo ${{PIPESTATUS[0]}}", cwd=box.dir)
    assert p.stdout == "y\n141\n"


def test_a_slow_reader_holds_the_command_back(box):
    p = box.start("sh", "-c", "yes & echo $! >pid; wait")
    time.sleep(1)
    pid = int((box.work / "pid").read_text())

    def written():
        return int(open(f"/proc/{pid}/io").read().split("wchar: ")[1].split()[0])

    before = written()
    time.sleep(0.5)
    assert written() == before < 8_000_000
    p.kill()
    p.wait()
    p.stdout.close()
    wait_for("the command to end", lambda: not os.path.exists(f"/proc/{pid}"))


@pytest.mark.parametrize("sig", ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_reach_the_command_also_behind_input_nobody_reads(box, sig):
    line = f"trap 'echo got; exit 3' {sig}; echo ready; while :; do sleep 0.05; done"
    with open("/dev/zero", "rb") as zero:
        p = box.start("sh", "-c", line, stdin=zero)
        assert p.stdout.readline() == b"ready\n"
        time.sleep(0.3)
        p.send_signal(getattr(signal, "SIG" + sig))
        assert p.communicate(timeout=10)[0] == b"got\n"
        assert p.returncode == 3


def test_what_the_caller_ignores_stays_ignored(box):
    p = box.start("sh", "-c", "echo ready; sleep 0.5; echo on",
                  preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))  # fmt: skip
    assert p.stdout.readline() == b"ready\n"
    p.send_signal(signal.SIGHUP)
    assert p.communicate(timeout=10)[0] == b"on\n"
    assert p.returncode == 0


COUNTING = "i=0; while :; do i=$((i+1)); echo $i >n; sleep 0.02; done"


def stopped(p):
    return " T " in open(f"/proc/{p.pid}/stat").read()


def check_stopped_and_go_on(box, p, has_begun):
    n = box.work / "n"
    wait_for("the stop", lambda: stopped(p))

    def text():
        return n.read_text() if n.exists() else ""

    def stands():
        before = text()
        time.sleep(0.3)
        return (before or not has_begun) and text() == before

    wait_for("the command's stop", stands)
    before = text()
    time.sleep(0.5)
    assert text() == before
    p.send_signal(signal.SIGCONT)
    wait_for("more", lambda: text() not in ("", before))
    p.terminate()
    assert p.wait(10) == 143
    p.stdout.close()


def test_stop_and_continue_hold_the_command_too(box):
    p = box.start("sh", "-c", COUNTING)
    wait_for("the first line", lambda: (box.work / "n").exists() and (box.work / "n").read_text())
    p.send_signal(signal.SIGTSTP)
    check_stopped_and_go_on(box, p, has_begun=True)


def test_a_stop_while_it_starts_holds_the_command_too(box):
    for us in range(500, 3500, 300):
        p = box.start("sh", "-c", COUNTING)
        time.sleep(us / 1e6 * SLOW)
        p.send_signal(signal.SIGTSTP)
        check_stopped_and_go_on(box, p, has_begun=False)
        (box.work / "n").unlink()


def test_the_timeout_ends_the_tree_and_keeps_the_output(box):
    start = time.monotonic()
    p = box.run("--timeout", "500ms", "sh", "-c", f"(setsid sleep 4001{MINE} &); echo partial; sleep 4002{MINE}")
    assert time.monotonic() - start < 3
    assert (p.returncode, p.stdout) == (124, "partial\n")
    assert nothing_runs("400[12]")


def test_the_callers_death_ends_the_tree(box):
    p = box.start("sh", "-c", f"(setsid sleep 4003{MINE} &); echo ready; sleep 4004{MINE}")
    assert p.stdout.readline() == b"ready\n"
    p.kill()
    p.wait()
    p.stdout.close()
    wait_for("the end", lambda: nothing_runs("400[34]"))


def test_a_lost_daemon_is_125_and_says_so(box):
    p = box.start("sleep", f"4005{MINE}", stderr=subprocess.PIPE)
    wait_for("the command", lambda: not nothing_runs("4005"))
    box.daemon.kill()
    box.daemon.wait()
    err = p.communicate(timeout=10)[1].decode()
    assert p.returncode == 125
    assert err.startswith("aib-exec: lost the daemon") and err.count("\n") == 1
    wait_for("the end", lambda: nothing_runs("4005"))
    box.daemon = subprocess.Popen(
        [BUILD / "tests/mount/exec_daemon", box.top, "/nonexistent"], stdout=subprocess.PIPE
    )
    assert box.daemon.stdout.readline() == b"ready\n"


def test_environment_directory_and_pwd(box):
    os.environ["FROM_CALLER"] = "c"
    p = box.run("-e", "A=1", "-e", "FROM_CALLER", "-e", "NOT_SET", "env")
    del os.environ["FROM_CALLER"]
    env = dict(line.split("=", 1) for line in p.stdout.splitlines())
    assert (env["A"], env["FROM_CALLER"], "NOT_SET" in env) == ("1", "c", False)
    assert env["PWD"] == str(box.dir)
    assert box.run("pwd", "-P").stdout == f"{box.work}\n"
    link = box.work / "link"
    link.symlink_to(box.dir)
    assert run("sh", "-c", f"cd {link}; exec {AIB_EXEC} printenv PWD").stdout == f"{link}\n"
    assert box.run("-w", "/usr", "printenv", "PWD").stdout == "/usr\n"


def test_the_sandbox_by_name_and_by_environment(box):
    assert box.run("echo", "x", cwd="/").returncode == 125
    assert box.run("--sandbox", "py", "echo", "x", cwd="/").stdout == "x\n"
    p = box.run("echo", "x", cwd="/", env={**os.environ, "AIB_SANDBOX": "py"})
    assert p.stdout == "x\n"


def test_it_stands_where_a_harness_puts_a_shell(box):
    assert box.run("-c", "echo $0 $1", "name", "arg").stdout == "name arg\n"
    assert box.run("-lc", "echo login").stdout == "login\n"
    assert box.run("-i", "-c", "echo interactive").stdout == "interactive\n"
    env = {**os.environ, "AIB_SHELL": "/bin/bash"}
    assert box.run("-c", "echo ${BASH_VERSION:+bash}", env=env).stdout == "bash\n"
    p = subprocess.run(["echo hi; exit 5"], shell=True, executable=AIB_EXEC, cwd=box.dir, capture_output=True)
    assert (p.stdout, p.returncode) == (b"hi\n", 5)


def link(world, name):
    (world.dir / "bin").mkdir(exist_ok=True)
    (world.dir / "bin" / name).symlink_to(AIB_EXEC)
    return world.dir / "bin" / name


def test_a_link_is_the_program_of_its_name(box, world):
    bash = link(world, "bash")
    here = {"cwd": box.dir, "check": False}
    assert run(bash, "-c", "-l", "echo ${BASH_VERSION:+bash} $0 $1", "x", "y", **here).stdout == "bash x y\n"
    assert run(bash, "--norc", "-euo", "pipefail", "-c", "false | true; echo not here", **here).returncode == 1
    assert run(bash, "-s", "a", input="echo $1; exit 6", **here).stdout == "a\n"
    assert run(bash, input="cd /usr\npwd\nexit 6\n", **here).stdout == "/usr\n"
    assert "GNU bash" in run(bash, "--version", **here).stdout
    (box.work / "s").write_text("echo script $1\n")
    assert run(bash, "s", "1", **here).stdout == "script 1\n"
    assert "-n\n" == run(link(world, "printf"), "%s\\n", "-n", **here).stdout
    p = run(link(world, "no-such"), **here)
    assert (p.returncode, p.stderr) == (127, "aib-exec: no-such: No such file or directory\n")
    p = subprocess.run(["-bash", "-c", "shopt -q login_shell && echo login"], executable=AIB_EXEC, cwd=box.dir, capture_output=True)
    assert p.stdout == b"login\n"


def test_a_link_with_a_shells_name_is_the_shell_that_is_there(box, world):
    env = {**os.environ, "AIB_SHELL": "/bin/sh"}
    p = run(link(world, "zsh"), "-c", "echo ${BASH_VERSION:-none} ${ZSH_VERSION:-none}", cwd=box.dir, env=env)
    assert p.stdout == "none none\n"


def test_variables_that_are_to_be_passed_are_passed(box):
    env = {**os.environ, "AIB_PASS_ENV": "A, B,NOT_SET", "A": "1", "B": "2 3", "C": "4"}
    p = box.run("-e", "A=5", "sh", "-c", "echo $A,$B,$C,${NOT_SET-none}", env=env)
    assert p.stdout == "5,2 3,,none\n"
    p = box.run("true", env={**env, "AIB_PASS_ENV": "A=1"})
    assert p.returncode == 125 and "AIB_PASS_ENV: A=1: not a variable's name" in p.stderr


@pytest.mark.parametrize(
    "want, args",
    [
        ((143, None, False, None), ["sh", "-c", "exit 143"]),
        ((None, 15, False, None), ["sh", "-c", "kill -TERM $$"]),
        ((None, 15, True, None), ["--timeout", "0.2", "sleep", "4006"]),
        ((None, None, False, "no-such: No such file or directory"), ["no-such"]),
    ],
)
def test_the_status_descriptor_tells_all_apart(box, want, args):
    r, w = os.pipe()
    box.run("--status-fd", str(w), *args, pass_fds=[w])
    os.close(w)
    with os.fdopen(r) as f:
        answer = json.load(f)
    assert answer == dict(zip(("exit_code", "signal", "timed_out", "error"), want))


def test_a_detached_command_goes_on_and_has_a_name(box):
    p = box.run("-d", "sh", "-c", "sleep 0.5; echo done > detached")
    assert p.returncode == 0 and p.stdout.startswith("py-")
    run(program("aib"), "job", "wait", p.stdout.strip(), cwd=box.dir)
    assert (box.work / "detached").read_text() == "done\n"


def test_a_full_disk_is_an_error(box):
    with open("/dev/full", "w") as full:
        p = subprocess.run([AIB_EXEC, "echo", "x"], cwd=box.dir, stdout=full, stderr=subprocess.PIPE)
    assert p.returncode in (125, 141)
    if p.returncode == 125:
        assert b"output was lost: No space left" in p.stderr


def test_help_and_version():
    assert "usage: aib-exec" in run(AIB_EXEC, "--help").stdout
    assert run(AIB_EXEC, "--version").stdout.startswith("aib-exec ")


class Terminal:
    """aib-exec as the leader of a terminal of its own."""

    def __init__(self, box, *args, rows=24, cols=80):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(box.dir)
            self.resize(rows, cols, 0)
            os.environ["TERM"] = "xterm-test"
            os.execv(AIB_EXEC, [AIB_EXEC, *args])
        self.seen = ""

    def resize(self, rows, cols, fd=None):
        size = struct.pack("HHHH", rows, cols, 0, 0)
        fcntl.ioctl(self.fd if fd is None else fd, termios.TIOCSWINSZ, size)

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, text):
        end = time.monotonic() + 10
        while text not in self.seen:
            assert select.select([self.fd], [], [], end - time.monotonic())[0], self.seen
            self.seen += os.read(self.fd, 4096).decode()

    def echoes(self):
        return bool(termios.tcgetattr(self.fd)[3] & termios.ECHO)

    def end(self):
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.fd)
        return status


def test_a_terminal_is_given_where_the_caller_has_one(box):
    t = Terminal(box, "sh", "-c", "stty size; tty; echo $TERM; cat; stty size", rows=33, cols=111)
    t.expect("33 111\r\n/dev/pts/")
    t.expect("xterm-test")
    wait_for("the terminal to be raw", lambda: not t.echoes())
    t.resize(44, 99)
    time.sleep(0.3)
    t.type("\x04")
    t.expect("44 99")
    wait_for("the terminal to be as before", t.echoes)
    assert t.end() == 0


def test_the_interrupt_key_ends_the_command(box):
    t = Terminal(box, "sh", "-c", f"echo ready; sleep 4007{MINE}")
    t.expect("ready")
    # A shell that is just about to execute it may lose the signal.
    wait_for("the command", lambda: not nothing_runs("4007"))
    t.type("\x03")
    wait_for("the end", lambda: nothing_runs("4007"))
    assert t.end() == 130


def test_a_shell_without_a_command_at_a_terminal(box):
    t = Terminal(box)
    t.type("echo $((6*7))\n")
    t.expect("42")
    t.type("exit 3\n")
    assert t.end() == 3


def test_a_signal_ends_it_and_leaves_the_terminal_as_it_was(box):
    t = Terminal(box, "sh", "-c", f"echo ready; sleep 4008{MINE}")
    t.expect("ready")
    wait_for("the terminal to be raw", lambda: not t.echoes())
    os.kill(t.pid, signal.SIGTERM)
    wait_for("the terminal to be as before", t.echoes)
    assert t.end() == 143
    assert nothing_runs("4008")


def test_no_tty_when_asked(box):
    t = Terminal(box, "-T", "sh", "-c", "test -t 1 || echo none")
    t.expect("none")
    assert t.end() == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_of_the_caller_are_not_taken_for_others(box, world, closed):
    line = f"{AIB_EXEC} --status-fd 9 sh -c 'cat; echo ran >{world.dir}/ran; exit 3' 9>{world.dir}/end {closed}"
    p = run("sh", "-c", line, cwd=box.dir, check=False, timeout=20, stdin=subprocess.DEVNULL)
    assert p.returncode == 3, p.stderr
    assert (p.stdout, p.stderr) == ("", "")
    assert (world.dir / "ran").read_text() == "ran\n"
    assert json.loads((world.dir / "end").read_text())["exit_code"] == 3


def test_what_cannot_be_done_is_said_with_its_name(box, world):
    p = box.run("--status-fd", "77", "true")
    assert p.returncode == 125 and "--status-fd 77: that descriptor is not open" in p.stderr
    gone = world.dir / "gone"
    gone.mkdir()
    p = run("sh", "-c", f"cd {gone} && rmdir {gone} && {AIB_EXEC} true", check=False)
    assert p.returncode == 125 and "was it removed?" in p.stderr


def test_pwd_is_the_callers_spelling_with_w_too(box):
    assert box.run("-w", box.dir, "printenv", "PWD", cwd="/").stdout == f"{box.dir}\n"
