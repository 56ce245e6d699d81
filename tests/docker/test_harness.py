"""An agent harness whose shell is aib-exec and whose file tools use the mount: README's set-up, and
the ways in which harnesses start their shell, talk to it, follow its directory and end it.

The harness itself is on the host: it starts a program called bash with pipes of its own, in a process
group of its own, reads files that commands wrote, and knows nothing of aib but its environment."""

import contextlib
import hashlib
import os
import pathlib
import pty
import select
import shlex
import signal
import subprocess
import uuid

import pytest

from harness import Mount, program, run, wait_for


class Harness:
    """README's set-up: a project of the host, bound into a sandbox at the mount's own path."""

    def __init__(self, world):
        self.world = world
        self.project = world.dir / "src"
        box = world.dir / "box"
        box.mkdir()
        self.box = Mount(
            world,
            [f"/project=host:{self.project},exec=/py", f"/py=docker:aib-test:python,volume={self.project}:{box}/project"],
            options="noexec,control=none",
            path=box,
        )
        bin = world.dir / "bin"
        bin.mkdir()
        (bin / "bash").symlink_to(program("aib-exec"))
        self.shell = str(bin / "bash")
        self.cwd = box / "project"
        self.tmp = box / "py/tmp"
        self.env = {
            **os.environ,
            "PATH": f"{bin}:{os.environ['PATH']}",
            "SHELL": self.shell,
            "AIB_MOUNT": str(box),
            "AIB_SANDBOX": "py",
            "AIB_PASS_ENV": "CI,GIT_EDITOR",
            "TMPDIR": str(self.tmp),
            "CI": "1",
            "SECRET": "host's",
        }

    def start(self, *argv, **kw):
        """Standard input is a pipe that stays open."""
        kw = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
              "cwd": self.cwd, "env": self.env, "start_new_session": True, **kw}  # fmt: skip
        return subprocess.Popen([self.shell, *argv], **kw)

    def call(self, *argv, timeout=60, **kw):
        """(output, status); at the timeout the group gets TERM and what came until then counts."""
        p = self.start(*argv, **kw)
        with p.stdout, contextlib.ExitStack() as stack:
            if p.stdin:
                stack.enter_context(p.stdin)
            try:
                # Not communicate(): that would end standard input.
                out = read_all(p.stdout, timeout)
            except TimeoutError as e:
                os.killpg(p.pid, signal.SIGTERM)
                out = e.args[0] + read_all(p.stdout, 60)
            return out.decode(), p.wait(60)

    def tracked(self, line):
        """The line as it is wrapped to follow the directory by a file that the harness reads."""
        track = self.tmp / f"cwd-{uuid.uuid4().hex[:8]}"
        wrapped = (
            f"source {self.world.dir}/no/snapshot 2>/dev/null || true && "
            f"eval {shlex.quote(line)} \\< /dev/null && pwd -P >| {track}"
        )
        out, status = self.call("-c", "-l", wrapped)
        if track.exists():
            self.cwd = pathlib.Path(track.read_text().strip())
            track.unlink()
        return out, status

    def runs(self, engine, word):
        ids = [c for c in engine.containers() if str(self.box) in str(engine.inspect(c)["Config"]["Labels"])]
        return [c for c in engine.commands(ids[0]) if word in c]


def read_all(f, seconds):
    """Until the end of the pipe."""
    out = b""
    while select.select([f], [], [], seconds)[0]:
        data = os.read(f.fileno(), 1 << 20)
        if not data:
            return out
        out += data
    raise TimeoutError(out)


@pytest.fixture
def h(engine, world):
    h = Harness(world)
    assert h.call("-c", "true") == ("", 0)  # the sandbox has started
    return h


# ---- One process a call ----

FORMS = (["-c"], ["-lc"], ["-c", "-l"], ["-l", "-c"], ["-i", "-c"], ["--norc", "-c"])


def test_a_line_in_each_form_that_is_in_use(h):
    line = "source /no/such 2>/dev/null || true && eval 'echo $BASH | grep -o bash; exit 3' \\< /dev/null && pwd"
    for form in FORMS:
        assert h.call(*form, line, stderr=subprocess.DEVNULL) == ("bash\n", 3), form
    # By its name in PATH, and as what a harness looks at first.
    p = run("bash", "-lc", "cat /.dockerenv && echo inside", cwd=h.cwd, env=h.env)
    assert p.stdout == "inside\n"
    assert "GNU bash" in run(h.shell, "--version", cwd=h.cwd, env=h.env).stdout
    assert h.call("-c", "test -e /.dockerenv && echo inside", cwd="/")[0] == "inside\n"
    assert h.call("-c", "echo $CI,$SECRET")[0] == "1,\n"


def test_the_directory_is_followed_by_a_file_that_both_sides_see(h):
    top = h.cwd
    assert h.tracked("mkdir -p a/b && cd a/b && pwd")[0] == f"{top}/a/b\n"
    assert h.cwd == top / "a/b" and h.cwd.is_dir()
    assert h.tracked("echo here >f; cd ..")[1] == 0
    assert h.cwd == top / "a"
    assert (top / "a/b/f").read_text() == "here\n" == (h.project / "a/b/f").read_text()
    assert h.tracked("false")[1] == 1 and h.cwd == top / "a"


def test_output_is_whole_and_in_order(h):
    line = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; echo $i >&2; done"
    assert h.call("-c", line)[0] == "".join(f"{i}\n{i}\n" for i in range(1, 10))
    out, status = h.call("-c", "head -c 10000000 /dev/zero | tr '\\0' x; exit 5")
    assert (len(out), set(out), status) == (10_000_000, {"x"}, 5)


def test_how_calls_end(h, engine):
    # At a timeout: what was printed counts, and the tree ends.
    out, status = h.call("-c", "echo partial; sleep 4101 & sleep 4102", timeout=2)
    assert (out, status) == ("partial\n", 143)
    wait_for("the tree to end", lambda: not h.runs(engine, "sleep 410"))
    # By KILL, where TERM is ignored.
    p = h.start("-c", "trap '' TERM INT; echo ready; while :; do sleep 0.1; done # 4103")
    with p.stdout, p.stdin:
        assert p.stdout.readline() == b"ready\n"
        os.killpg(p.pid, signal.SIGTERM)
        os.killpg(p.pid, signal.SIGKILL)
        assert p.wait(60) == -signal.SIGKILL
    wait_for("the tree to end", lambda: not h.runs(engine, "4103"))
    # By themselves: what is in the background lives on, and holds no pipe of the harness.
    for line in "sleep 4104 &", "nohup sleep 4104 >/dev/null 2>&1 &", "sleep 4104 & disown":
        assert h.call("-c", f"{line}\necho $! >pid; echo started")[0] == "started\n"
        assert h.runs(engine, "sleep 4104")
        assert h.call("-c", "kill $(cat pid)")[1] == 0
        wait_for("its end", lambda: not h.runs(engine, "sleep 4104"))


def test_a_terminal_and_its_interrupt_key(h, engine):
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(h.cwd)
        os.execve(h.shell, ["bash", "-c", "echo ready; sleep 4105"], h.env)
    seen = b""
    while b"ready" not in seen:
        seen += os.read(fd, 4096)
    wait_for("the command", lambda: h.runs(engine, "sleep 4105"))
    os.write(fd, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(fd)
    assert not h.runs(engine, "sleep 4105")


# ---- One shell for all calls ----


class Persistent:
    """Commands to a shell's standard input; the end of each is a line with its status."""

    def __init__(self, h, *argv, **kw):
        self.p = h.start(*argv, stderr=subprocess.PIPE, **kw)

    def run(self, line):
        end = f"end-{uuid.uuid4().hex}"
        self.p.stdin.write(f"{line}\nstatus=$?; echo; echo {end} $status; echo {end} >&2\n".encode())
        self.p.stdin.flush()
        out = err = ""
        while not (got := self.p.stdout.readline().decode()).startswith(end):
            assert got, self.p.stderr.read()
            out += got
        while not (line := self.p.stderr.readline().decode()).startswith(end):
            err += line
        return out.removesuffix("\n"), err, int(got.split()[1])

    def close(self):
        self.p.stdin.close()
        status = self.p.wait(60)
        self.p.stdout.close()
        self.p.stderr.close()
        return status


def test_a_shell_that_stays_keeps_its_state(h):
    for argv in [], ["-s"], ["--norc", "--noprofile"], ["-l"]:
        s = Persistent(h, *argv)
        assert s.run("mkdir -p d; cd d; x=1; export Y=2") == ("", "", 0)
        assert s.run("pwd -P; echo $x; env | grep ^Y=") == (f"{h.cwd}/d\n1\nY=2\n", "", 0)
        assert s.run("echo no >&2; (exit 9)") == ("", "no\n", 9)
        assert s.run("sleep 4106 & kill $!; wait $! 2>/dev/null; echo $?")[0] == "143\n"
        (h.cwd / "d/tool").write_text("by the file tool\n")
        assert s.run("cat tool")[0] == "by the file tool\n"
        assert s.close() == 0


# ---- Files ----


def test_the_file_tools_and_the_commands_see_the_same(h):
    """As harnesses edit: read, remember time and hash, compare, replace the whole file."""
    f = h.cwd / "t.py"
    for i in range(5):
        f.write_text(f"print({i})\n")
        assert h.call("-c", "python3 t.py") == (f"{i}\n", 0)
        before = f.stat().st_mtime_ns
        assert h.call("-c", f"sed -i s/{i}/{i + 10}/ t.py && sha256sum t.py")[0].split()[0] == (
            hashlib.sha256(f.read_bytes()).hexdigest()
        )
        assert f.stat().st_mtime_ns > before and f.read_text() == f"print({i + 10})\n"
        new = h.cwd / ".t.py.new"
        new.write_text(f"print({i + 20})\n")
        new.chmod(0o755)
        os.replace(new, f)
        assert h.call("-c", "./t.py || python3 t.py; stat -c %a t.py")[0].endswith(f"{i + 20}\n755\n")
    # In the sandbox's own files too, by the same absolute path on both sides.
    own = h.box / "py/workspace/own"
    own.write_text("own\n")
    assert h.call("-c", f"cat {own}; echo more >>{own}")[0] == "own\n"
    assert own.read_text() == "own\nmore\n"


def test_what_the_mount_keeps_from_the_agent(h):
    # The control tree, without which commands and jobs work.
    with pytest.raises(FileNotFoundError):
        os.stat(h.box / ".aib")
    with pytest.raises(FileNotFoundError):
        os.mkdir(h.box / ".aib/jobs/x")
    name = run(program("aib-exec"), "-d", "sh", "-c", "echo job", cwd=h.cwd, env=h.env).stdout.strip()
    assert run(program("aib"), "job", "wait", name, env=h.env).returncode == 0
    assert run(program("aib"), "job", "logs", name, env=h.env).stdout == "job\n"
    # No program of the mount runs on the host.
    for place in ("project", "py/workspace"):
        f = h.box / place / "p"
        f.write_text("#!/bin/sh\necho on the host\n")
        f.chmod(0o755)
        with pytest.raises(PermissionError):
            subprocess.run([f])
        assert run(h.shell, "-c", "./p", cwd=f.parent, env=h.env).stdout == "on the host\n"
