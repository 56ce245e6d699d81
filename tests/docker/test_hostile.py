"""A guest that lies (hostile_guest.c), in a container of a real engine, and the whole daemon before it: it
can spoil its own route, and nothing else."""

import contextlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
import threading
import time

import pytest

from harness import BIN, BUILD, LONG, SLOW, rss_kb, run, wait_for

HOSTILE = BUILD / "tests/docker/hostile_guest"
CALLS = pathlib.Path(__file__).with_name("hostile_calls.py")
SECONDS = float(os.environ.get("AIB_TEST_HOSTILE", "5" if LONG else "2"))  # of random calls in each test
SEED = int(os.environ.get("AIB_SEED", "1"))
DEADLINE = 2  # seconds
WORKERS = 2

TREE = """
mkdir -p /w/a/b /w/b /w/c/d/e; cd /w; echo one >a/a; echo two >b/a; ln a/a c/a; ln -s ../a/a b/l; ln -s b d
head -c 300000 /dev/urandom >a/c; head -c 5000 /dev/urandom >e; : >/tmp/.hostile-file; echo shm >/dev/shm/h
mkfifo c/p; i=0; while [ $i -lt 60 ]; do echo $i >c/d/$i; i=$((i + 1)); done
"""

pytestmark = pytest.mark.usefixtures("engine")


class Neighbours:
    """The other routes of the mount, and a file beside it, which has a secret. From start to end each
    answers at once and has its right content."""

    def __init__(self, world):
        self.secret = secrets.token_hex(16)
        self.outside = world.dir / "state/secret"
        (world.dir / "src").mkdir(exist_ok=True)
        for path in (self.outside, world.dir / "src/secret"):
            path.write_text(self.secret)
        # An access would move atime, which is older (relatime).
        os.utime(self.outside, (1_000_000_000, 1_000_000_001))
        self.before = self._look()
        self.wrong, self.slowest, self.rounds = [], 0, 0
        self.ended = threading.Event()

    def _look(self):
        st = os.stat(self.outside)
        return st.st_mtime_ns, st.st_ctime_ns, st.st_atime_ns, st.st_size

    def _round(self, box):
        for route in ("m", "h"):
            before = time.monotonic()
            d = box / route
            assert (d / "secret").read_text() == self.secret
            (d / "new").write_text(str(self.rounds))
            os.rename(d / "new", d / "old")
            assert (d / "old").read_text().rstrip("\0") == str(self.rounds)
            assert sorted(os.listdir(d)) == ["old", "secret"]
            self.slowest = max(self.slowest, time.monotonic() - before)
        assert {"bb", "m", "h"} <= set(os.listdir(box))
        self._every_operation(box / "m/old")
        self.rounds += 1

    @staticmethod
    def _every_operation(path):
        """What an answer of ENOSYS would end for the whole mount."""
        os.setxattr(path, "user.k", b"v")
        assert os.getxattr(path, "user.k") == b"v" and os.listxattr(path) == ["user.k"]
        os.removexattr(path, "user.k")
        fd = os.open(path, os.O_RDWR)
        os.posix_fallocate(fd, 0, 10000)
        assert os.lseek(fd, 0, os.SEEK_DATA) == 0
        os.fsync(fd)
        os.close(fd)
        os.rename(path, path.with_name("very-new"))
        os.link(path.with_name("very-new"), path)
        os.unlink(path.with_name("very-new"))

    def _watch(self, box):
        while not self.ended.is_set() and not self.wrong:
            try:
                self._round(box)
            except (AssertionError, OSError) as e:
                self.wrong.append(repr(e))
            time.sleep(0.02)

    @contextlib.contextmanager
    def watched(self, box):
        (box / "m/secret").write_text(self.secret)
        thread = threading.Thread(target=self._watch, args=(box,))
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join(60 * SLOW)
        assert not thread.is_alive(), "another route hangs"
        assert not self.wrong, self.wrong
        assert self.rounds > 10 and self.slowest < 1 * SLOW, (self.rounds, self.slowest)
        assert self.before == self._look(), "the file outside was read or changed"


class Hostile:
    """A mount of a container whose guest does what tell() says, with a memory and a host route."""

    def __init__(self, engine, container, mount, world, way):
        self.engine, self.world = engine, world
        self.near = Neighbours(world)
        self.conf = world.dir / "hostile"
        self.conf.mkdir()
        self.name = container(flags=("-v", f"{self.conf}:/hostile:ro", "--tmpfs", "/tmp"))
        engine.docker("exec", self.name, "sh", "-c", TREE)
        self.tell(0, 0, "a")
        self.box = mount(
            f"/bb=container:{self.name},guest={way}", "/m=memory", f"/h=host:{world.dir}/src",
            options=f"deadline={DEADLINE}s,guest={HOSTILE}",
        )  # fmt: skip
        assert sorted(os.listdir(self.box / "bb/w")) == ["a", "b", "c", "d", "e"]
        self.way = self.status()["transport_way"].split()[0]
        self.base = self.usage()

    def tell(self, lie, brk, kinds, seed=SEED):
        """From the next connection on."""
        new = self.conf / "new"
        new.write_text(f"seed {seed} lie {lie} break {brk} kinds {kinds} secret {self.near.outside}\n")
        new.rename(self.conf / "conf")

    def kill_guest(self):
        for line in self.engine.docker("top", self.name, "-eo", "pid,args").stdout.splitlines()[1:]:
            pid, args = line.strip().split(None, 1)
            if "aib-guest serve" in args:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)

    def status(self):
        lines = (self.box / ".aib/sandboxes/bb/status").read_text().splitlines()
        return dict(line.partition(" ")[::2] for line in lines)

    def usage(self):
        pid = self.box.pid
        return {
            "fds": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task")),
            "rss": rss_kb(pid),
        }

    def calls(self, least):
        """Random calls of several processes, LEAST or more. Returns what they report."""
        argv = [sys.executable, CALLS, self.box / "bb/w"]
        workers = [
            subprocess.Popen(
                [*argv, str(SEED + i), str(SECONDS), str(least // WORKERS), self.near.secret],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for i in range(WORKERS)
        ]  # fmt: skip
        reports = []
        for p in workers:
            try:
                out, errors = p.communicate(timeout=(SECONDS + 40 * DEADLINE) * SLOW)
            finally:
                p.kill()
            assert p.returncode == 0, errors
            reports.append(json.loads(out))
        print(json.dumps(reports)[:3000])
        return reports

    def tools(self):
        """What walks whole trees. It may go on for ever, and ends when it is killed."""
        bb, to = self.box / "bb/w", self.world.dir / "state"
        for line in (
            f"find {bb} -printf '%p %s %l\\n'",
            f"ls -laR {bb}",
            f"grep -ra {self.near.secret} {bb} >&2",
            f"tar -C {bb} -cf - .",
            f"ulimit -f 100000; cp -a {bb} {to}/copy; grep -ra {self.near.secret} {to}/copy >&2",
            f"for i in 1 2 3 4 5; do cd {bb} && aib-exec true; done",
            f"rm -rf {bb}/c",
        ):
            before = time.monotonic()
            p = subprocess.run(
                ["timeout", "-s", "KILL", "2", "sh", "-c", line],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, errors="replace",
            )  # fmt: skip
            assert self.near.secret not in p.stderr, line
            assert time.monotonic() - before < 5 * SLOW, f"a killed process does not end: {line}"
        run("rm", "-rf", to / "copy")

    def alive(self):
        os.kill(self.box.pid, 0)
        assert self.box.mounted

    def check_usage(self):
        """Nothing is kept of what was asked for, open and dropped. Sanitizers keep freed memory."""

        def fine():
            now = self.usage()
            room = 300_000 if BUILD.name == "build" else 1_500_000
            return now["fds"] < self.base["fds"] + 30 and now["rss"] < self.base["rss"] + room

        try:
            wait_for("descriptors and memory to be given back", fine, 10)
        except AssertionError:
            raise AssertionError(f"{self.base} → {self.usage()}") from None

    def reform(self):
        """An honest guest in the place of the hostile one: the route is as good as new. Nothing in the
        container is asked for it: what it has in /bin may be gone by now."""
        good, got = self.box / "bb/good", self.world.dir / "state/got"
        # It may be a directory now, which a copy would go into.
        root = f"/proc/{self.engine.inspect(self.name)['State']['Pid']}/root"
        run("rm", "-rf", f"{root}/.aib-guest")
        if not os.path.exists(f"{root}/dev/null"):  # removed too, and the engine starts nothing without it
            run("mknod", "-m", "666", f"{root}/dev/null", "c", "1", "3")
        self.engine.docker("cp", BIN / "aib-guest", f"{self.name}:/.aib-guest")
        self.tell(0, 0, "a")
        self.kill_guest()
        time.sleep(0.5 * SLOW)  # one may have been about to start
        self.kill_guest()

        def works():
            with contextlib.suppress(OSError, UnicodeDecodeError):
                good.mkdir(exist_ok=True)
                (good / "file").write_text("good\n")
                return (good / "file").read_text() == "good\n" and self.status()["transport"] == "guest"

        wait_for("the route to work again", works, 20)
        os.symlink("file", good / "l")
        for i in range(20):
            (good / f"{i}").write_text(f"{i}" * 1000)
        assert sorted(os.listdir(good)) == sorted(["file", "l", *(str(i) for i in range(20))])
        self.engine.docker("cp", f"{self.name}:/good", got)
        run("diff", "-r", good, got)
        run("rm", "-r", good)
        assert not good.exists()


@pytest.fixture(params=["direct", "stream"])
def hostile(request, engine, container, mount, world):
    h = Hostile(engine, container, mount, world, request.param)
    yield h
    if not h.box.ended and h.box.mounted:
        print((h.box / ".aib/log").read_text(errors="replace")[-3000:])


def attack(h, lie, brk, kinds, least):
    h.tell(lie, brk, kinds)
    h.kill_guest()
    with h.near.watched(h.box):
        reports = h.calls(int(least / SLOW))
        h.tools()
        h.alive()
    for r in reports:
        assert not r["leaks"], r["leaks"]
        # A call of the kernel's asks for each name of its path.
        assert r["slowest"][0] < (DEADLINE + 2) * 3 * SLOW, r["slowest"]
    assert sum(r["calls"] for r in reports) > least / SLOW, "the test does next to nothing"
    h.check_usage()
    h.reform()
    assert h.box.umount().returncode == 0 and not h.box.mounted


def test_lies(hostile):
    attack(hostile, 3, 0, "andlexf", 1000)


def test_broken_frames(hostile):
    attack(hostile, 5, 100, "andlexfBF", 100)


def test_stalls(hostile):
    attack(hostile, 20, 200, "aes", 30)


def test_links_lead_nowhere_else_whatever_is_told_of_the_way(hostile):
    h = hostile
    h.tell(1, 0, "t")
    h.kill_guest()
    end = time.monotonic() + 2 * SECONDS
    answers, dirs = set(), [h.box / "bb/w", h.box / "bb/w/c"]
    for i in range(int(300 * SECONDS)):
        with contextlib.suppress(OSError):
            answers.add(os.readlink(dirs[i % 2] / str(i)).replace(str(h.box), ""))
        with contextlib.suppress(OSError):
            answers.add((dirs[i % 2] / str(i)).read_text())
        if time.monotonic() > end:
            break
    assert "/bb" in answers and len(answers) > 2 and h.near.secret not in answers, answers
    h.reform()
