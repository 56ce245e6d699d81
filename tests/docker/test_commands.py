"""What a command gets from `aib-guest run -u` is what the Engine's exec would have given it: user,
groups, environment, capabilities, limits, namespaces. The guest is started once as root, as
`aib-guest serve` is, and starts the commands."""

import struct
import re
import subprocess

import pytest

from harness import BIN, SLOW

pytestmark = pytest.mark.usefixtures("engine")

STDOUT, STDERR, EXIT, ERROR = 17, 18, 19, 21

PASSWD = """\
root:x:0:0:root:/root:/bin/sh
alice:x:1000:1001::/home/alice:/bin/sh
homeless:x:1003:1003:::
"""
GROUP = """\
root:x:0:root
staff:x:50:bob,alice
video:x:44:alice,root
alice:x:1001:
"""

USERS = ["0:0", "root", "alice", "1000", "alice:staff", "alice:7", ":staff", "1234", "1234:4321", "0:50"]

LOOK = """
id
env | grep -v ^PWD= | sort
grep -E '^(Cap|Seccomp|NoNewPrivs|Umask|Groups|Uid|Gid)' /proc/self/status
cat /proc/self/cgroup /proc/self/limits /proc/self/oom_score_adj
for ns in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$ns; done
pwd
"""


def frames(data):
    while data:
        n, kind = struct.unpack("<IB3x", data[:8])
        yield kind, data[8 : 8 + n]
        data = data[8 + n :]


class Box:
    def __init__(self, engine, container, world, *flags):
        self.engine = engine
        self.name = container(flags=("-v", f"{BIN / 'aib-guest'}:/.aib-guest:ro", *flags))
        # The Engine looks into the image's files, past anything that is mounted over them.
        for name, text in (("passwd", PASSWD), ("group", GROUP)):
            (world.dir / name).write_text(text)
            engine.docker("cp", world.dir / name, f"{self.name}:/etc/{name}")
        # Where nobody is named, it is who was looked up when the container started.
        engine.docker("restart", "-t", "0", self.name)

    def engines(self, user, *argv, tty=False, env=()):
        flags = [f for e in env for f in ("-e", e)]
        return self.engine.docker(
            "exec", *(["-u", user] if user else []), *(["-t"] if tty else []), *flags, self.name, *argv, check=False
        )

    def ours(self, user, *argv, tty=False, env=()):
        """(standard output, status, error) of the guest's answer."""
        flags = [f for e in env for f in ("-e", e)]
        p = subprocess.Popen(
            ["docker", "exec", "-i", "-u", "0:0", self.name, "/.aib-guest", "run", "-u", user,
             *(["-t", "0x0"] if tty else []), *flags, "--", *argv],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        try:
            seen = list(frames(p.stdout.read()))
        finally:
            p.stdin.close()
            p.stdout.close()
            p.wait(30 * SLOW)
        out = b"".join(data for kind, data in seen if kind in (STDOUT, STDERR)).decode()
        kind, end = seen[-1]
        if kind == ERROR:
            return out, 125, end.decode()
        assert kind == EXIT
        return out, end[1], ""


def without_soft_limit(text):
    """The Engine's own runtime raises its soft limit of open files, and now and then forgets to lower
    it again for what it starts."""
    return re.sub(r"(Max open files +)\d+", r"\1", text)


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--user", "1000:1000", "--workdir", "/tmp"),
        ("-e", "HOME=/given", "-e", "A=1", "--group-add", "777", "--ulimit", "nofile=1000:2000"),
        ("--security-opt", "no-new-privileges", "--cap-drop", "ALL", "--cap-add", "SETUID",
         "--cap-add", "SETGID", "--cap-add", "CHOWN", "--hostname", "h"),
    ],
    ids=["plain", "user", "environment", "few rights"],
)  # fmt: skip
def test_it_is_what_the_engines_exec_gives(engine, container, world, flags):
    box = Box(engine, container, world, *flags)
    home = ["HOME=/given"] if "HOME=/given" in flags else []
    default = "1000:1000" if "1000:1000" in flags else ""
    for user in [None, *USERS]:
        extra = ["X=y z", "PATH=/bin"] if user == "alice" else []
        theirs = box.engines(user, "sh", "-c", LOOK, env=extra)
        ours = box.ours(default if user is None else user, "sh", "-c", LOOK, env=home + extra)
        assert theirs.returncode == 0, theirs.stderr
        assert ours[1:] == (0, ""), user
        a, b = without_soft_limit(ours[0]), without_soft_limit(theirs.stdout)
        assert a == b, (user, set(a.splitlines()) ^ set(b.splitlines()))


def test_a_terminal(engine, container, world):
    box = Box(engine, container, world)
    look = "env | grep TERM; stat -L -c '%u %a' /proc/self/fd/0"
    theirs = box.engines("alice", "sh", "-c", look, tty=True)
    out, *end = box.ours("alice", "sh", "-c", look, tty=True)
    assert (out.replace("\r\n", "\n"), *end) == (theirs.stdout, 0, "")


@pytest.mark.parametrize("user", ["NOBODY", "alice:NOBODY", "2147483648", "-1", "1:2147483648"])
def test_who_is_not_there_is_told_in_the_engines_words(engine, container, world, user):
    box = Box(engine, container, world)
    theirs = box.engines(user, "true")
    out, status, error = box.ours(user, "true")
    assert (out, status) == ("", 125)
    words = error.removeprefix("the command was not started: ")
    assert words in theirs.stdout + theirs.stderr, (words, theirs)


def test_without_files_of_users(engine, container):
    name = container("aib-test:empty", "/.aib-guest", "init",
                     flags=("-v", f"{BIN / 'aib-guest'}:/.aib-guest:ro"))  # fmt: skip
    box = Box.__new__(Box)
    box.engine, box.name = engine, name
    for user in ("0", "1234", "1234:5"):
        assert box.ours(user, "/.aib-guest", "--version") == ("aib-guest 0.1.0\n", 0, "")
    assert "no matching entries in passwd file" in box.ours("alice", "/.aib-guest", "--version")[2]


def test_a_root_without_rights_stays_root_and_says_why_no_more(engine, container, world):
    box = Box(engine, container, world, "--cap-drop", "ALL")
    assert box.ours("0:0", "id", "-u") == ("0\n", 0, "")
    assert "capability SET" in box.ours("alice", "id")[2]
