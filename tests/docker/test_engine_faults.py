"""A real engine that fails one kind of request at a time (engine_proxy.py), at each kind that files, commands and
control writes lead to. Every call returns by its deadline: with success, or

- a file operation with EIO, ETIMEDOUT, or EOPNOTSUPP (the container could not be started for it);
- aib-exec with 125 and a line that names the sandbox or the engine;
- a control write at once; what became of it is in `error`.

Meanwhile a memory route answers. Afterwards all of it works, in the same mount."""

import collections
import contextlib
import errno
import itertools
import os
import random
import signal
import subprocess
import threading
import time

import pytest

import engine_proxy
import harness
from harness import LONG, SLOW, program, wait_for

IMAGE = "aib-test:busybox"
DEADLINE = 4
START = 12
CALL = 2 * START + 2 * DEADLINE  # a call may wait for another's, and is started on a machine that is busy
DEFINED = {errno.EIO, errno.ETIMEDOUT, errno.EOPNOTSUPP}
SEED = int(os.environ.get("AIB_SEED") or random.randrange(1 << 30))

KINDS = {
    "archive": ("inspect", "archive_stat", "archive_get", "archive_put", "exec_create", "exec_start", "exec_inspect", "start", "create"),
    "guest": ("inspect", "create", "start", "archive_put", "exec_create", "exec_start", "exec_inspect"),
}
# Of a whole mount, of a control file's verbs, and of a session's life.
MOUNT_KINDS = ("ping", "version", "info", "image", "create")
VERBS = {"stop": "stop", "pause": "pause", "unpause": "unpause", "remove": "reset"}
SESSION_KINDS = ("inspect", "create", "start", "list", "exec_create", "exec_start", "remove")
# What failed once.
FOUND = {"archive": [("archive_put", "bad_json")], "guest": [("archive_put", "bad_json")], "session": [("remove", "drip")]}
# A command's stream that opens and then says nothing, as one does that waits.
SILENT = {("exec_start", "silent"), ("exec_start", "longer"), ("exec_start", "shorter")}
INTERRUPTED = 128 + signal.SIGINT
CELLS = int(os.environ.get("AIB_TEST_CELLS", "1"))


@pytest.fixture
def proxy(engine, world):
    proxy = engine_proxy.Proxy(world.dir / "proxy.sock", engine.host)
    yield proxy
    for m in world.mounts:
        m.end()
    proxy.close()


def ctl(box, verb):
    (box / ".aib/sandboxes/bb/ctl").write_text(verb)


def status(box, word):
    lines = (box / ".aib/sandboxes/bb/status").read_text().splitlines()
    return dict(line.partition(" ")[::2] for line in lines)[word]


def reset(box):
    """It is over: another container, or an error."""
    before = status(box, "id")
    assert timed(lambda: ctl(box, "reset")) == 0
    wait_for("the reset", lambda: error(box) or status(box, "id") != before, CALL)


def error(box):
    return (box / ".aib/sandboxes/bb/error").read_text()


def make(mount, proxy, transport, **more):
    return mount(
        f"/bb=docker:{IMAGE},engine={proxy.host},transport={transport},timeout={DEADLINE}s,start_timeout={START}s",
        "/m=memory", options=f"deadline={DEADLINE}s", **more,
    )  # fmt: skip


def timed(call):
    """Its errno or 0; it returned in time."""
    code, seconds = harness.timed(call)
    assert seconds < CALL * SLOW, call
    return code


class Beside(threading.Thread):
    """Another route answers all the time: the longest call's seconds."""

    def __init__(self, box):
        super().__init__(daemon=True)
        self.path, self.stop, self.longest, self.calls = box / "m/x", threading.Event(), 0, 0

    def run(self):
        while not self.stop.wait(0.02):
            start = time.monotonic()
            self.path.write_text("x")
            assert self.path.read_text() == "x"
            self.longest = max(self.longest, time.monotonic() - start)
            self.calls += 1

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.join(30)
        assert self.calls > 0 and self.longest < 5 * SLOW, (self.calls, self.longest)


def calls(box):
    """What an agent does, with names of their own for each: {what: errno or status}."""
    d = box / "bb/root"
    answers = {
        "ls": timed(lambda: os.listdir(box / "bb/etc")),
        "write": timed(lambda: (d / "a").write_text("written")),
        "read": timed(lambda: (d / "a").read_text()),
        "stat": timed(lambda: os.stat(box / "bb/bin")),
    }
    answers["exec"], said = command(box)
    told = any(word in said for word in ("bb", "engine unix:", "the working directory", "lost the daemon", "connection to the command was lost"))
    assert answers["exec"] in (0, INTERRUPTED) or (answers["exec"] == 125 and told), said
    return answers


def command(box):
    """Its status, and what is said. One that was taken has no deadline, only ^C."""
    argv = [program("aib-exec"), "--sandbox", "bb", "true"]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, cwd=box.path, text=True, **streams) as p:
        try:
            return p.wait(CALL * SLOW), p.stderr.read()
        except subprocess.TimeoutExpired:
            p.send_signal(signal.SIGINT)
            return p.wait(2 * SLOW), p.stderr.read()


def works(box):
    with contextlib.suppress(OSError):
        return not any(calls(box).values()) and (box / "bb/root/a").read_text() == "written"


def try_cell(proxy, box, kind, fault):
    """The whole life of a container with the fault, and then without."""
    start = time.monotonic()
    with Beside(box) as beside, proxy.fault(kind, fault) as told:
        reset(box)
        answers = calls(box)
        said = error(box)
    for what, code in answers.items():
        allowed = {"exec": {0, 125, *({INTERRUPTED} if (kind, fault) in SILENT else {})}, "read": {0, errno.ENOENT} if answers["write"] else {0}}.get(what, {0})
        assert code in DEFINED | allowed, (what, errno.errorcode.get(code, code), answers, said)
    wait_for(f"service after {fault} at {kind}", lambda: works(box), 60)
    print(f"{kind} {fault}: hits {told['hits']}, {answers}, beside {beside.longest:.2f} s, {time.monotonic() - start:.1f} s: {said.strip()}")
    return told["hits"], answers, said


def run_cells(mount, proxy, transport, cells):
    box = make(mount, proxy, transport)
    wait_for("service", lambda: works(box), 60)
    hits, wrong = {}, []
    for kind, fault in cells:
        try:
            n, answers, said = try_cell(proxy, box, kind, fault)
        except AssertionError as e:
            wrong.append((kind, fault, str(e)))
            wait_for(f"service after {wrong}", lambda: works(box), 60)
            continue
        hits[kind] = hits.get(kind, 0) + n
        # A command that runs takes back what was said; of a stream that broke only who had it is told.
        failed = n and any(answers.values()) and answers["exec"] != 0 and (kind, fault) not in SILENT
        assert not failed or proxy.host in said or "container" in said, (kind, fault, said)
    assert not wrong, wrong
    assert all(hits.values()), hits


def cells_of(kinds):
    cells = list(itertools.product(kinds, engine_proxy.FAULTS))
    if LONG:
        return cells
    print(f"AIB_SEED={SEED}")
    return random.Random(SEED).sample(cells, CELLS)


def try_all(cells, attempt):
    """Every kind of request is met."""
    hits = collections.Counter()
    for kind, fault in cells:
        hits[kind] += attempt(kind, fault)
    assert all(hits.values()), hits


@pytest.mark.timeout(7200 if LONG else 120 + 60 * CELLS)
@pytest.mark.parametrize("transport", KINDS)
def test_each_kind_of_request_may_fail_each_way(mount, proxy, transport):
    run_cells(mount, proxy, transport, cells_of(KINDS[transport]) + ([] if LONG else FOUND[transport]))


def try_verb(proxy, box, kind, fault):
    """A control write returns at once; what became of it shows in `error` or `state`."""
    start = time.monotonic()
    if kind == "unpause":
        ctl(box, "pause")
        wait_for("the pause", lambda: status(box, "state") == "paused", 30)
    word = "id" if kind == "remove" else "state"
    before = status(box, word)
    with Beside(box) as beside, proxy.fault(kind, fault) as told:
        assert harness.timed(lambda: ctl(box, VERBS[kind]))[1] < 2 * SLOW
        wait_for(f"what became of {kind} {fault}", lambda: error(box) or status(box, word) != before, CALL)
        answers = calls(box)
        said = error(box)
    assert set(answers.values()) <= DEFINED | {0, errno.ENOENT, 125}, answers
    with contextlib.suppress(OSError):
        ctl(box, "unpause" if "pause" in kind else "start")
    wait_for(f"service after {fault} at {kind}", lambda: works(box), 60)
    print(f"{kind} {fault}: {answers}, beside {beside.longest:.2f} s, {time.monotonic() - start:.1f} s: {said.strip()}")
    return told["hits"]


@pytest.mark.timeout(7200 if LONG else 120 + 60 * CELLS)
@pytest.mark.parametrize("transport", KINDS)
def test_each_verb_may_fail_each_way(mount, proxy, transport):
    box = make(mount, proxy, transport)
    wait_for("service", lambda: works(box), 60)
    try_all(cells_of(VERBS), lambda *cell: try_verb(proxy, box, *cell))


def try_mount(world, proxy, kind, fault):
    """It is served, or refused with a text that names the engine or the route; its end comes too."""
    path = world.dir / f"try-{kind}-{fault}"
    path.mkdir()
    argv = [program("aib"), "mount", "-r", f"/bb=docker:{IMAGE},engine={proxy.host},timeout={DEADLINE}s,start_timeout={START}s", path]
    with proxy.fault(kind, fault) as told:
        start = time.monotonic()
        p = harness.run(*argv, check=False, timeout=CALL * SLOW)
        began = time.monotonic() - start
        if p.returncode == 0:
            code = timed(lambda: os.listdir(path / "bb/etc"))
            assert code in DEFINED | {0}, errno.errorcode[code]
            u = harness.run(program("aib"), "umount", path, check=False, timeout=CALL * SLOW)
            assert u.returncode == 0, u.stderr
        else:
            assert p.stderr.startswith("aib: ") and ("/bb" in p.stderr or proxy.host in p.stderr), p.stderr
        doctor = harness.run(program("aib"), "doctor", check=False, timeout=CALL * SLOW, env={**os.environ, "DOCKER_HOST": proxy.host})
        assert doctor.returncode in (0, 1), doctor
    print(f"{kind} {fault}: hits {told['hits']}, status {p.returncode}, {began:.1f} s: {p.stderr.strip()}")
    return told["hits"]


@pytest.mark.timeout(7200 if LONG else 120 + 60 * CELLS)
def test_a_mount_begins_or_says_why_not(world, mount, proxy):
    try_all(cells_of(MOUNT_KINDS), lambda *cell: try_mount(world, proxy, *cell))
    box = make(mount, proxy, "guest")
    wait_for("service", lambda: works(box), 60)


def try_session(proxy, box, kind, fault):
    place = box / f"s/{kind}-{fault}"
    aib = [program("aib"), "session"]
    argv = [program("aib-exec"), "true"]
    start = time.monotonic()
    with Beside(box) as beside, proxy.fault(kind, fault) as told:
        answers = {"mkdir": timed(place.mkdir), "write": timed(lambda: (place / "a").write_text("written"))}
        if not answers["mkdir"]:
            p = harness.run(*argv, cwd=place, check=False, timeout=CALL * SLOW, stdin=subprocess.DEVNULL)
            answers["exec"] = p.returncode
            assert p.returncode in (0, 125), p.stderr
        p = harness.run(*aib, "rm", "--workspace", place.name, "--mount", box, check=False, timeout=CALL * SLOW)
        assert p.returncode == 0 or p.stderr.startswith("aib: "), p.stderr
    for what, code in answers.items():
        allowed = {"write": {0, errno.ENOENT}, "exec": {0, 125}}.get(what, {0})
        assert code in DEFINED | allowed, (what, errno.errorcode.get(code, code), answers)
    name = f"{kind}-{fault}-after"
    wait_for(f"a session after {fault} at {kind}", lambda: session_works(box, name), 60)
    harness.run(*aib, "rm", "--workspace", name, "--mount", box)
    print(f"{kind} {fault}: hits {told['hits']}, {answers}, beside {beside.longest:.2f} s, {time.monotonic() - start:.1f} s: {p.stderr.strip()}")
    return told["hits"]


def session_works(box, name):
    place = box / "s" / name
    with contextlib.suppress(OSError):
        place.mkdir(exist_ok=True)
        (place / "a").write_text("written")
        return harness.run(program("aib-exec"), "cat", "a", cwd=place, check=False).stdout == "written"


@pytest.mark.timeout(7200 if LONG else 180 + 60 * CELLS)
def test_sessions_outlive_each_failure(mount, proxy, root):
    box = mount(
        f"/s=sessions,engine={proxy.host},image={IMAGE},workspace_root={root},timeout={DEADLINE}s,start_timeout={START}s",
        "/m=memory", options=f"deadline={DEADLINE}s",
    )  # fmt: skip
    assert session_works(box, "first")
    try_all(cells_of(SESSION_KINDS) + ([] if LONG else FOUND["session"]), lambda *cell: try_session(proxy, box, *cell))


@pytest.mark.parametrize("what", ["cat", "aib-exec"])
def test_control_c_ends_what_waits_for_an_engine_that_hangs(mount, proxy, what):
    box = make(mount, proxy, "archive")
    (box / "bb/root/a").write_text("a")
    argv = {
        "cat": ["cat", box / "bb/etc/group"],
        "aib-exec": [program("aib-exec"), "--sandbox", "bb", "true"],
    }[what]
    with proxy.fault("start" if what == "aib-exec" else "archive_stat", "hang") as told:
        p = subprocess.Popen(argv, cwd=box.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        assert p.poll() is None, "it does not wait"
        start = time.monotonic()
        p.send_signal(signal.SIGINT)
        assert p.wait(30) in (-signal.SIGINT, 130)
        assert time.monotonic() - start < 2 * SLOW
    assert told["hits"] > 0
    wait_for("service", lambda: works(box), 60)
