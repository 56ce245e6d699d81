"""Commands start in a `run` that the guest keeps in store (exec/guest/start.h): nobody can tell, whatever
becomes of that one."""

import concurrent.futures
import os
import pathlib
import signal
import subprocess

import pytest

from harness import SLOW, program, wait_for

pytestmark = pytest.mark.usefixtures("engine")


class Box:
    def __init__(self, engine, container, mount):
        self.engine, self.name = engine, container()
        self.mount = mount(f"/b=container:{self.name}")

    def run(self, *argv, **kw):
        return subprocess.run(
            [program("aib-exec"), *argv], cwd=self.mount.path / "b/tmp", capture_output=True, text=True,
            timeout=60 * SLOW, **kw,
        )  # fmt: skip

    def out(self, *argv, **kw):
        p = self.run(*argv, **kw)
        assert p.returncode == 0 and p.stderr == "", p
        return p.stdout

    def waiting(self):
        """Processes that wait for a command, or have become one."""
        return [pid for pid, line in self.engine.processes(self.name).items() if line.endswith(" aib-guest next")]

    def filled(self):
        """The one that waits now. One that has its command has children."""

        def idle():
            pids = [p for p in self.waiting() if not pathlib.Path(f"/proc/{p}/task/{p}/children").read_text()]
            return len(pids) == 1 and pids

        return wait_for("a program in store", idle, 10)[0]


@pytest.fixture
def box(engine, container, mount):
    return Box(engine, container, mount)


def test_none_waits_where_no_command_has_run(box):
    os.listdir(box.mount.path / "b")
    assert box.waiting() == []


def test_the_one_in_store_becomes_the_command(box):
    box.out("true")
    pid = box.filled()
    assert box.out("sh", "-c", "readlink /proc/$PPID/exe; tr '\\0' ' ' </proc/$PPID/cmdline").endswith("aib-guest next ")
    assert box.filled() != pid


def test_every_kind_of_argument_arrives(box):
    for _ in range(3):
        assert box.out("printf", "[%s]", "", "a b", "-", "--", "x\ny", "é") == "[][a b][-][--][x\ny][é]"
        assert box.out("-e", "A=", "-e", "B=b=c", "sh", "-c", 'echo "${A-unset}|$B|$PWD"') == "|b=c|/tmp\n"
        # Longer than what is told to one that waits.
        assert box.out("-e", "X=" + "x" * 60000, "sh", "-c", "echo ${#X}") == "60000\n"
        assert box.run("sh", "-c", "exit 7").returncode == 7
        assert box.out("cat", input="in") == "in"


def test_one_that_was_killed_is_not_used(box):
    box.out("true")
    for _ in range(5):
        pid = box.filled()
        os.kill(pid, signal.SIGKILL)
        # One that is dying still may be given a command, which ends with it.
        wait_for("its end", lambda: not pathlib.Path(f"/proc/{pid}").exists())
        assert box.out("echo", "well") == "well\n"


def test_many_at_once(box):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda i: box.out("echo", str(i)), range(64)))
    assert said == [f"{i}\n" for i in range(64)]
    box.filled()


def test_what_it_inherits_is_the_container_s_own(box):
    look = "umask; ulimit -n; grep -E '^Sig[BIC]' /proc/self/status; ls /proc/self/fd; id; env | sort"
    first = box.out("sh", "-c", look)
    box.filled()
    assert box.out("sh", "-c", look) == first


def test_it_ends_with_the_mount(box):
    box.out("true")
    pid = box.filled()
    assert box.mount.umount().returncode == 0
    wait_for("the program in store to end", lambda: not pathlib.Path(f"/proc/{pid}").exists(), 10)
    assert box.waiting() == []
