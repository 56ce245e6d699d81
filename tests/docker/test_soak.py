"""Mixed work of many clients at once, for as long as AIB_TEST_SOAK says: no call goes wrong, and the daemon's
memory, descriptors and threads, its jobs, containers, mounts and temporary files are no more than they were."""

import collections
import hashlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import threading
import time
import traceback

import pytest

from harness import GIT, LONG, SLOW, mounts_below, program, rss_kb, run, wait_for

IMAGE = "aib-test:busybox"
SECONDS = int(os.environ.get("AIB_TEST_SOAK", "1800" if LONG else "10"))
STEADY = 120  # seconds from which on a run says what grows: below, thirds differ by what is at work in each
SEED = int(os.environ.get("AIB_SEED", "1"))
WAIT = 120  # seconds that one program may take, among 32 clients
pytestmark = pytest.mark.usefixtures("engine")


def same(what, got, wanted):
    assert got == wanted, f"{what}: {got[:200]!r}, not {wanted[:200]!r}" if hasattr(got, "__getitem__") else (what, got, wanted)


def sha(data):
    return hashlib.sha256(data).hexdigest()


class Client(threading.Thread):
    """One client, which does the same kind of work, WORK, at one place again and again, with other contents."""

    def __init__(self, soak, number, work, place):
        super().__init__(daemon=True)
        self.soak, self.number, self.work, self.place = soak, number, work, place
        self.box = soak.box
        self.random = random.Random(SEED * 1000 + number)
        self.rounds, self.doing = 0, ""

    def run(self):
        try:
            while not self.soak.ended.is_set():
                self.work(self)
                self.rounds += 1
        except BaseException:  # whatever it is, it is told
            self.soak.wrong.append(f"{self}, {self.doing}:\n{traceback.format_exc()}")
            self.soak.ended.set()

    def __str__(self):
        return f"client {self.number} ({self.work.__name__} at /{self.place}), round {self.rounds}"

    @property
    def name(self):
        return f"c{self.number}"

    def some(self, most):
        return self.random.randbytes(self.random.randint(0, most))

    def call(self, *argv, status=0, **kw):
        """A program, its status, and what it wrote to standard output."""
        self.doing = " ".join(map(str, argv))[:200]
        p = run(*argv, check=False, timeout=WAIT, text=False, **kw)
        assert p.returncode == status, f"status {p.returncode}, not {status}: {p.stdout[-300:]!r} {p.stderr[-300:]!r}"
        return p.stdout

    def exec(self, *argv, status=0, **kw):
        return self.call(program("aib-exec"), *argv, status=status, cwd=self.box / self.place, **kw)

    def aib(self, *argv, **kw):
        return self.call(program("aib"), *argv, **kw)


# ---- The kinds of work ----


def files(c):
    """A tree of files: made, read, moved, added to, cut, linked, listed and removed."""
    top = c.box / c.place / c.name
    c.doing = "mkdir"
    top.mkdir()
    content = {f"f{i}": c.some(200_000) for i in range(c.random.randint(2, 12))}
    for name, data in content.items():
        c.doing = f"write {name}"
        (top / name).write_bytes(data)
    for name in c.random.sample(sorted(content), len(content) // 2):
        c.doing = f"rename {name}"
        os.rename(top / name, top / f"{name}.moved")
        content[f"{name}.moved"] = content.pop(name)
    for name in c.random.sample(sorted(content), len(content) // 2):
        c.doing = f"append to and cut {name}"
        more, left = c.some(5000), c.random.randint(0, 100_000)
        with open(top / name, "ab") as f:
            f.write(more)
        os.truncate(top / name, left)
        content[name] = (content[name] + more)[:left].ljust(left, b"\0")
    c.doing = "link"
    os.symlink(sorted(content)[0], top / "link")
    c.doing = "listdir"
    assert sorted(os.listdir(top)) == sorted([*content, "link"])
    for name, data in content.items():
        c.doing = f"read {name}"
        assert sha((top / name).read_bytes()) == sha(data), name
        assert os.stat(top / name).st_size == len(data)
    c.doing = "rmtree"
    shutil.rmtree(top)
    assert not top.exists()


def archived_files(c):
    """As files, of what archives have: whole files, by a container that the daemon asks for each."""
    top = c.box / c.place / c.name
    c.doing = "mkdir"
    top.mkdir()
    for i in range(2):
        data = c.some(100_000)
        c.doing = f"write f{i}"
        (top / f"f{i}").write_bytes(data)
        c.doing = f"read f{i}"
        assert sha((top / f"f{i}").read_bytes()) == sha(data)
    c.doing = "listdir"
    assert sorted(os.listdir(top)) == ["f0", "f1"]
    c.doing = "rmtree"
    shutil.rmtree(top)


def commands(c):
    """Statuses, streams and files of commands; some end by a signal, or with their client."""
    data, status = c.some(300_000), c.random.randint(0, 100)
    got = c.exec("sh", "-c", f"cat; exit {status}", input=data, status=status)
    assert sha(got) == sha(data)
    name = f"{c.name}.out"
    got = c.exec("sh", "-c", f"echo {c.rounds} >{name}; pwd; echo no >&2; kill -KILL $$", status=137)
    same("pwd", got.decode(), f"{c.box}/{c.place}\n")
    c.doing = "read what the command wrote"
    assert (c.box / c.place / name).read_text() == f"{c.rounds}\n"
    c.doing = "unlink"
    os.unlink(c.box / c.place / name)
    c.exec("nothing-of-this-name", status=127)
    kind = c.rounds % 4
    if kind == 1:
        c.exec("--timeout", "1", "sleep", "1000", status=124)
    if kind == 3:
        c.doing = "kill a client"
        with subprocess.Popen([program("aib-exec"), "sh", "-c", "echo a; sleep 1001"], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, cwd=c.box / c.place) as p:  # fmt: skip
            same("output", p.stdout.readline(), b"a\n")
            p.kill()


def jobs(c):
    """A job to its end, and one that is killed."""
    job, status = f"{c.name}-{c.rounds}", c.random.randint(0, 100)
    lines = c.random.randint(1, 3000)
    c.exec("-d", "--name", job, "sh", "-c", f"seq {lines}; exit {status}")
    c.aib("job", "wait", job, "--mount", c.box, status=status)
    wanted = "".join(f"{i}\n" for i in range(1, lines + 1)).encode()
    same("logs", c.aib("job", "logs", "--stdout", job, "--mount", c.box), wanted)
    c.aib("job", "rm", job, "--mount", c.box)
    c.exec("-d", "--name", job, "sleep", "1002")
    c.aib("job", "kill", "-KILL", job, "--mount", c.box)
    c.aib("job", "wait", job, "--mount", c.box, status=137)
    c.aib("job", "rm", job, "--mount", c.box)


def operations(c):
    top = c.box / c.place / c.name
    word = f"w{c.random.getrandbits(60):x}"
    text = "".join(f"line {i}\n" for i in range(c.random.randint(1, 400))) + f"{word} old\n"
    c.aib("write", top / "d/a.txt", input=text.encode())
    same("read", c.aib("read", "--raw", top / "d/a.txt"), text.encode())
    c.aib("edit", "--old", f"{word} old", "--new", f"{word} new", top / "d/a.txt")
    found = c.aib("grep", word, top)
    assert found.count(word.encode()) == 1 and b"new" in found, found
    assert c.aib("glob", "**/*.txt", cwd=top).strip().endswith(b"d/a.txt")
    assert b"a.txt" in c.aib("ls", top / "d")
    c.doing = "rmtree"
    shutil.rmtree(top)


def sessions(c):
    """A session that is made, used, released, used again with what was there, and removed."""
    name = f"{c.name}-{c.rounds}"
    place = c.box / "sessions" / name
    c.doing = f"mkdir {name}"
    place.mkdir()
    data = c.some(50_000)
    (place / "in").write_bytes(data)
    run_there = (program("aib-exec"), "sh", "-c")
    same("sum", c.call(*run_there, "sha256sum <in; echo x >out", cwd=place)[:64].decode(), sha(data))
    c.aib("session", "release", name, "--mount", c.box)
    c.doing = f"mkdir {name} again"
    place.mkdir(exist_ok=True)
    same("files", c.call(*run_there, "ls", cwd=place), b"in\nout\n")
    c.aib("session", "rm", "--workspace", name, "--mount", c.box)
    assert not place.exists()


def naps(c):
    """A session that lasts, goes to sleep and is woken by the next command."""
    place = c.box / "sessions" / "naps"
    got = c.call(program("aib-exec"), "sh", "-c", "echo x >>/tmp/n; wc -l </tmp/n", cwd=place)
    assert int(got) > c.rounds
    status = c.box / ".aib/sessions/naps/status"
    c.doing = "wait for its sleep"
    wait_for("sleep", lambda: "state running" not in status.read_text() or c.soak.ended.is_set(), WAIT)


def git(c):
    top = c.box / c.place / c.name
    c.call("git", "init", "-q", top)
    for i in range(3):
        for j in range(5):
            (top / f"f{j}").write_bytes(c.some(20_000))
        c.call("git", "-C", top, "add", ".")
        c.call("git", "-C", top, "commit", "-qm", f"c{i}", "--allow-empty")
    c.call("git", "clone", "-q", top, f"{top}-clone")
    c.call("git", "-C", f"{top}-clone", "fsck", "--strict")
    same("status", c.call("git", "-C", f"{top}-clone", "status", "--porcelain"), b"")
    assert len(c.call("git", "-C", f"{top}-clone", "log", "--oneline").splitlines()) == 3
    c.doing = "rmtree"
    shutil.rmtree(top)
    shutil.rmtree(f"{top}-clone")


CLIENTS = [
    *[(files, "m")] * 3, *[(files, "h")] * 3, *[(files, "d/root")] * 3, *[(files, "s/root")] * 2,
    *[(files, "sessions/lasts")] * 2, *[(archived_files, "a/root")] * 2,
    *[(commands, "d/root")] * 2, (commands, "s/root"), (commands, "a/root"), (commands, "h"), (commands, "sessions/busy"),
    (jobs, "d"), (jobs, "s"), (jobs, "h"),
    *[(operations, p) for p in ("m", "h", "d/root")],
    *[(sessions, "sessions")] * 2, (naps, "sessions"), *[(git, "h")] * 2,
]  # fmt: skip


# ---- What is looked at ----


class EngineConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("engine")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def entries(path):
    """How many there are below it, of what does not go meanwhile."""
    return sum(len(dirs) + len(names) for _, dirs, names in os.walk(path))


class Soak:
    def __init__(self, box, engine, world):
        self.box, self.engine, self.world = box, engine, world
        self.data = engine.docker("info", "-f", "{{.DockerRootDir}}").stdout.strip()
        self.wrong, self.samples, self.ended = [], [], threading.Event()

    def containers(self):
        """How many there are of this test: those of others come and go."""
        c = EngineConnection(self.engine.host.removeprefix("unix://"))
        try:
            c.request("GET", "/containers/json?all=1")
            return c.getresponse().read().count(f'"aib.mountpoint":"{self.box}"'.encode())
        finally:
            c.close()

    def sample(self):
        proc = pathlib.Path(f"/proc/{self.box.pid}")
        return {
            "rss": rss_kb(self.box.pid),
            "descriptors": len(os.listdir(proc / "fd")),
            "threads": len(os.listdir(proc / "task")),
            "containers": self.containers(),
            "jobs": entries(self.world.dir / "state/jobs"),
            "mounts": len(mounts_below(self.world.dir)),
            "files": sum(entries(self.world.dir / d) for d in ("tmp", "run", "root")),
        }

    def run(self):
        clients = [Client(self, i, *what) for i, what in enumerate(CLIENTS)]
        for c in clients:
            c.start()
        end = time.monotonic() + SECONDS
        try:
            while time.monotonic() < end and not self.ended.wait(1):
                self.samples.append(self.sample())
        finally:
            self.ended.set()
        for c in clients:
            c.join(WAIT * SLOW)
        self.wrong += [f"{c}: hangs: {c.doing}" for c in clients if c.is_alive()]
        assert not self.wrong, "\n".join([f"AIB_SEED={SEED}", *self.wrong])
        rounds = collections.Counter()
        for c in clients:
            rounds[f"{c.work.__name__} /{c.place}"] += c.rounds
        print(f"seed {SEED}, {SECONDS} s, rounds:", dict(rounds))
        assert all(c.rounds for c in clients), [str(c) for c in clients if not c.rounds]


# What each may be more in the last third of a long run than in the first: of its value, and beside that. The medians of
# what is in use at a moment differ by the clients' luck. Freed memory stays with malloc, whose arenas, one a thread
# at most, go on filling with holes for some minutes; sanitizers keep what is freed back for long.
FLAT = {
    "rss": (0.10, (16 << 10) if SLOW == 1 else (400 << 10)),
    "descriptors": (0.10, 16),
    "threads": (0.10, 8),
    "containers": (0, 2),
    "jobs": (0, 30),
    "mounts": (0, 0),
    "files": (0.2, 60),
}
# How many more there may be at the end. Threads that read requests stay, as many as were once needed.
END = {"containers": 0, "jobs": 0, "mounts": 0, "files": 0, "descriptors": 8, "threads": 16}


def check_flat(samples):
    rest = samples[len(samples) // 4 :]
    n = len(rest) // 3
    thirds = [rest[:n], rest[n : 2 * n], rest[2 * n :]]
    grown = []
    for key, (share, more) in FLAT.items():
        medians = [statistics.median(s[key] for s in third) for third in thirds]
        print(f"{key}: medians of thirds {medians}, most {max(s[key] for s in samples)}")
        if SECONDS >= STEADY and medians[2] > medians[0] * (1 + share) + more:
            grown.append(f"{key} grew: {medians}")
    assert not grown, grown


def commands_of_clients(engine, world):
    """What runs still in the containers of this test that a client started."""
    mine = [c for c in engine.containers("label=aib.mount", "status=running") if str(world.dir) in str(engine.inspect(c))]
    return [line for c in mine for line in engine.commands(c) if "sleep 100" in line]


@pytest.mark.timeout(SECONDS + 400)
def test_mixed_work_of_32_clients_goes_well_and_leaves_nothing(mount, engine, world, root, monkeypatch):
    for name, value in GIT.items():
        if name != "HOME":
            monkeypatch.setenv(name, value)
    box = mount(
        "/m=memory", f"/h=host:{world.dir}/src,exec=/d", f"/d=docker:{IMAGE},guest=direct", f"/s=docker:{IMAGE},guest=stream",
        f"/a=docker:{IMAGE},transport=archive",
        f"/sessions=sessions,image={IMAGE},workspace_root={root},idle_timeout=3s,cleanup_interval=1s",
        options=f"spool={world.dir}/tmp,pool_idle=2s",
    )  # fmt: skip
    assert len(CLIENTS) == 32
    for name in ("lasts", "busy", "naps"):
        (box / "sessions" / name).mkdir()
    for place in ("d", "s", "a", "sessions/lasts", "sessions/busy", "sessions/naps"):
        box.exec("true", cwd=place, check=True)
    soak = Soak(box, engine, world)
    jobs(Client(soak, 99, jobs, "d"))  # whose directory stays
    first = soak.sample()
    soak.run()
    check_flat(soak.samples)
    wait_for("commands of clients to end", lambda: not commands_of_clients(engine, world), 30)

    def back():
        last = soak.sample()
        soak.left = {k: (first[k], last[k]) for k, more in END.items() if last[k] > first[k] + more}
        return not soak.left

    try:
        wait_for("the end to be as the start", back, 60)
    except AssertionError as e:
        raise AssertionError(f"{e}: {soak.left}") from None
