"""Many users on many sessions: every path, control file and request of the socket, as every user. Only owners and
root get what they ask for. What there is to ask is listed here, and compared with what the code has."""

import contextlib
import errno
import json
import os
import re
import socket
import stat
import struct
import traceback

import pytest

import harness

USERS, SESSIONS = (20, 50) if harness.LONG else (5, 8)
FIRST = 70001
REFUSED = {errno.EACCES, errno.EPERM}

CONTROL = {
    "": "version status routes metrics log socket exec sandboxes sessions jobs runtimes",
    "sandboxes/NAME": "status error limits ctl",
    "sessions/NAME": "status error runtime idle_timeout owner ctl workspace",
    "jobs/NAME": "cmd cwd env timeout stdin ctl error status stdout stderr wait",
}  # fmt: skip
TREES = {"root"}  # reached by name, not listed

OPERATIONS = {"read": {}, "write": {}, "edit": {"old": "mine", "new": "taken"}, "ls": {}, "glob": {"pattern": "*"},
              "grep": {"pattern": "mine"}}  # fmt: skip
VERBS = {"status", "release", "rm", "get"}  # of one session, in the order in which they would do harm
VERBS_OF_ALL = {"ls", "cleanup", "shutdown"}
JOB_REQUESTS = {"job_logs", "job_wait", "job_kill", "job_rm"}
OF_THE_MOUNT = {"status", "umount"}
OTHERS = {"exec", "session", "jobs"}

# ---- What the code has ----


def source(name):
    return (harness.TOP / name).read_text()


def table(name, start):
    """The first strings of the entries of a table in C."""
    text = source(name)
    body = text[text.index(start) :]
    return set(re.findall(r'\{"(\w+)"', body[: body.index("};")]))


def test_the_matrix_knows_every_request_and_file(mount, root, engine):
    assert table("backends/ops/ops.c", "} operations[]") == set(OPERATIONS)
    assert table("sessions/request.c", "} verbs[]") == VERBS | VERBS_OF_ALL
    assert table("exec/server/job_request.c", "} ops[]") == JOB_REQUESTS | {"jobs"}
    compared = set(re.findall(r'strcmp\(name, "(\w+)"\)', source("exec/server/conn.c")))
    assert compared == OF_THE_MOUNT | {"exec", "session"}
    m = world_of(mount, root, users=[FIRST], sessions=1)
    for where, names in CONTROL.items():
        for d in {"sandboxes/NAME": ["sandboxes/bb"], "sessions/NAME": ["sessions/s0"]}.get(where, [where]):
            d = d.replace("NAME", "j0")
            assert set(os.listdir(m / ".aib" / d)) == set(names.split()), d
    assert "add_tree" not in "".join(p.read_text() for p in (harness.TOP / "exec/server").glob("*.c"))
    trees = re.findall(r'control_add_tree\(control, dir, "(\w+)"', source("sessions/control.c"))
    assert set(trees) == TREES


# ---- The world ----


def owner_of(i, users):
    """Users in turn; every fifth session is root's."""
    return 0 if i % 5 == 4 else users[i % len(users)]


def world_of(mount, root, users, sessions):
    """Sessions s0…, each with a file, and a job of each session's owner."""
    m = mount(f"/sessions=sessions,image=aib-test:busybox,workspace_root={root},max_sessions=0", "/=memory",
              "/bb=docker:aib-test:busybox", options="control=visible")  # fmt: skip
    for i in range(sessions):
        harness.run(harness.program("aib"), "session", "get", f"s{i}", "--owner", str(owner_of(i, users)),
                    "--mount", m.path)  # fmt: skip
        (m / f"sessions/s{i}/f").write_text("mine")
        (m / f"sessions/s{i}/d").mkdir()
        for n in ("f", "d"):
            os.chown(m / f"sessions/s{i}" / n, owner_of(i, users), owner_of(i, users))
        as_user(owner_of(i, users), [], lambda i=i: (m / f".aib/jobs/j{i}").mkdir() or [])
        (m / f".aib/jobs/j{i}/cmd").write_text("mine")
    return m


def as_user(uid, groups, work):
    """WORK's result (JSON), made by a child that is UID."""
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(r)
            os.setgroups(groups)
            os.setgid(groups[0] if groups else uid)
            os.setuid(uid)
            with os.fdopen(w, "w") as f:
                json.dump(work(), f)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(w)
    with os.fdopen(r) as f:
        text = f.read()
    assert os.waitpid(pid, 0)[1] == 0, f"the child of {uid} failed"
    return json.loads(text)


# ---- Calls on a path ----


def opened(flags, data=b""):
    def call(p):
        fd = os.open(p, flags | os.O_NONBLOCK)
        with contextlib.closing(os.fdopen(fd, "rb" if not data else "wb", buffering=0)) as f:
            f.write(data) if data else f.read(64) if not stat.S_ISDIR(os.fstat(fd).st_mode) else None

    return call


CALLS = {
    "read": opened(os.O_RDONLY),
    "write": opened(os.O_WRONLY, b"taken\n"),
    "truncate": lambda p: os.truncate(p, 0),
    "list": os.listdir,
    "create": lambda p: os.close(os.open(f"{p}/new", os.O_CREAT | os.O_WRONLY)),
    "mkdir": lambda p: os.mkdir(f"{p}/new"),
    "symlink": lambda p: os.symlink("/etc/passwd", f"{p}/new"),
    "mknod": lambda p: os.mkfifo(f"{p}/new"),
    "link": lambda p: os.link(p, f"{os.path.dirname(p)}/new"),
    "chmod": lambda p: os.chmod(p, 0o777),
    "chown": lambda p: os.chown(p, os.getuid(), os.getgid()),
    "utime": lambda p: os.utime(p, (1, 1)),
    "setxattr": lambda p: os.setxattr(p, "user.taken", b"x"),
    "removexattr": lambda p: os.removexattr(p, "user.mine"),
    "rename": lambda p: os.rename(p, f"{os.path.dirname(p)}/taken"),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
}
LOOKS = {"stat": os.lstat, "readlink": os.readlink, "listxattr": os.listxattr, "chdir": os.chdir}


def paths_of(i):
    """What belongs to a session, and its jobs. True: it can be seen, as a name of a directory of all."""
    control = [f".aib/sessions/s{i}/{n}" for n in CONTROL["sessions/NAME"].split()]
    jobs = [f".aib/jobs/j{i}/{n}" for n in CONTROL["jobs/NAME"].split()]
    tree = [f".aib/sessions/s{i}/root{n}" for n in ("", "/etc", "/etc/passwd")]
    below = [f"sessions/s{i}/{n}" for n in ("f", "d", "d/new")]
    return [(p, False) for p in control + jobs + tree + below] + [
        (f"sessions/s{i}", True), (f".aib/sessions/s{i}", False), (f".aib/jobs/j{i}", False),
    ]  # fmt: skip


# Of the mount itself: its owner's, root here.
PATHS_OF_ALL = [
    *(f".aib/{n}" for n in CONTROL[""].split() if n not in ("metrics", "sessions", "jobs", "socket", "exec")),
    *(f".aib/sandboxes/bb/{n}" for n in CONTROL["sandboxes/NAME"].split()), ".aib/sandboxes/bb",
]  # fmt: skip


def attempts(m, paths):
    """What was given although it is another's: [call, path, what came of it]."""
    given = []
    for path, seen in paths:
        p = str(m / path)
        for name, call in {**CALLS, **({} if seen else LOOKS)}.items():
            try:
                call(p)
                given.append([name, path, "given"])
            except OSError as e:
                if e.errno not in REFUSED | ({errno.EISDIR, errno.ENOTDIR, errno.EXDEV} if seen else set()):
                    given.append([name, path, errno.errorcode[e.errno]])
    return given


# ---- Requests ----


ASKS_FOR_INPUT, OUTPUT, ENDS = 16, (17, 18), (19, 20, 21)  # STARTED, STDOUT and STDERR, EXIT REPLY ERROR


def ask(at, request):
    """How a request ended (0: hung up at once) and all that was said."""
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(60 * harness.SLOW)
        s.connect(at)
        data = json.dumps({"version": 1, **request}).encode()
        s.sendall(struct.pack("<IB3x", len(data), 1) + data)
        kind, text = 0, ""
        with s.makefile("rb") as f:
            while len(header := f.read(8)) == 8:
                n, kind = struct.unpack("<IB3x", header)
                body = f.read(n)
                if kind == ASKS_FOR_INPUT and request["op"] in OPERATIONS:
                    s.sendall(struct.pack("<IB3x", 5, 2) + b"taken" + struct.pack("<IB3x", 0, 3))
                if kind in OUTPUT or kind in ENDS:
                    text += str(body[1]) if kind == 19 else body.decode(errors="replace")
        return kind, text


def requests_of(m, i):
    """All that can be asked of a session and its job."""
    at = f"{m.path}/sessions/s{i}"
    for op, args in OPERATIONS.items():
        for path in (f"{at}/f", at, f"{m.path}/.aib/sessions/s{i}/owner", f"{m.path}/.aib/jobs/j{i}/cmd"):
            yield {"op": op, "at": path, "path": path, **args}
    for verb in sorted(VERBS, reverse=True):
        yield {"op": "session", "do": verb, "name": f"s{i}", "workspace": verb == "rm"}
    for op in sorted(JOB_REQUESTS):
        yield {"op": op, "name": f"j{i}"}
    for more in ({"cwd": at}, {"sandbox": f"s{i}"}, {"cwd": f"{m.path}/.aib/sessions/s{i}/root"},
                 {"sandbox": f"s{i}", "detach": True}):  # fmt: skip
        yield {"op": "exec", "argv": ["true"], **more}


def requests_of_all(m):
    for verb in sorted(VERBS_OF_ALL - {"ls"}):
        yield {"op": "session", "do": verb}
    yield {"op": "session", "do": "get", "name": "made"}
    for op in sorted(OF_THE_MOUNT):
        yield {"op": op}
    yield {"op": "exec", "argv": ["true"], "cwd": f"{m.path}/bb"}
    yield {"op": "exec", "argv": ["true"], "sandbox": "bb"}


def answers(m, at, requests):
    """Those that were not refused."""
    given = []
    for request in requests:
        kind, said = ask(at, request)
        # That it is a directory tells stat, too, which needs no right on it.
        refused = kind == 21 or (kind == 19 and re.search("ermi(ssion|tted)|is a directory", said) and said[-1] != "0")
        if not refused:
            given.append([request, kind, said[:200]])
    return given


def listed(at):
    """Names of sessions and jobs that one is told of."""
    told = ask(at, {"op": "session", "do": "ls"})[1], ask(at, {"op": "jobs"})[1]
    return [x["name"] for x in json.loads(told[0])["sessions"]] + [x["name"] for x in json.loads(told[1])["jobs"]]


# ---- The matrix ----


def others_of(i, users):
    """(uid, groups) of who must get nothing of a session: each user, and one who shares its owner's groups."""
    owner = owner_of(i, users)
    yield from ((u, []) for u in users if u != owner)
    yield FIRST + 500 + i, [owner, 0]


def state_of(m, root):
    """All that a refused call must not have changed."""
    files = {}
    for p in sorted(root.rglob("*")):
        st = p.lstat()
        files[str(p)] = st.st_mode, st.st_uid, st.st_gid, st.st_size, os.listxattr(p, follow_symlinks=False)
        if p.name in ("f", "session.json"):
            files[str(p)] += (p.read_text(),)
    jobs = {d: (m / ".aib/jobs" / d / "cmd").read_text() for d in sorted(os.listdir(m / ".aib/jobs"))}
    return files, jobs, sorted(os.listdir(m / "sessions"))


@pytest.mark.timeout(120 + USERS * SESSIONS)
def test_others_get_nothing(mount, root, engine):
    users = [FIRST + i for i in range(USERS)]
    m = world_of(mount, root, users, SESSIONS)
    at = os.readlink(m / ".aib/socket")
    m.exec("--sandbox", "s0", "true", check=True)  # one of them runs
    before = state_of(m, root)
    wrong = []
    for i in range(SESSIONS):
        for uid, groups in others_of(i, users):
            found = as_user(uid, groups, lambda i=i: attempts(m, paths_of(i)) + answers(m, at, requests_of(m, i)))
            wrong += [(uid, *f) for f in found]
    for uid in users:
        own = {f"{x}{i}" for i in range(SESSIONS) for x in "sj" if owner_of(i, users) == uid}
        of_all = [(p, False) for p in PATHS_OF_ALL]
        found = as_user(uid, [], lambda: attempts(m, of_all) + answers(m, at, requests_of_all(m)))
        wrong += [(uid, *f) for f in found]
        assert set(as_user(uid, [], lambda: listed(at))) == own
    assert not wrong, "\n".join(map(str, wrong[:60])) + f"\n{len(wrong)} of them"
    assert state_of(m, root) == before


def owners_do(m, at, i, uid):
    """What an owner has of his session; the names of what he was refused."""
    d, w, job = m / f".aib/sessions/s{i}", m / f"sessions/s{i}", m / f".aib/jobs/j{i}"
    wanted = {
        **{f"read {n}": lambda n=n: (d / n).read_text() for n in ("status", "error", "runtime", "idle_timeout", "owner")},
        "list": lambda: os.listdir(d) and os.listdir(job) and os.listdir(w),
        "idle_timeout": lambda: (d / "idle_timeout").write_text("90s"),
        **{f"job {n}": lambda n=n: (job / n).write_text("1") for n in ("cmd", "cwd", "env", "timeout", "stdin")
           if n not in ("cwd", "env")},
        **{f"job read {n}": lambda n=n: (job / n).read_text() for n in ("cmd", "status", "error", "stdout", "stderr")},
        "create": lambda: (w / "own").write_text(str(uid)),
        "rename": lambda: os.rename(w / "own", w / "d/own"),
        "unlink": lambda: os.unlink(w / "d/own"),
        "write": lambda: (w / "f").write_text("mine"),
        "chmod": lambda: (w / "f").chmod(0o600),
    }
    requests = [r for r in requests_of(m, i) if r.get("do") in ("get", "status") or r["op"] == "job_logs" or
                (r["op"] in ("read", "ls", "glob", "grep", "write", "edit") and r["at"].endswith("/f")
                 and r["op"] not in ("ls", "glob")) or (r["op"] in ("ls", "glob") and r["at"] == str(w))]
    refused = []
    for name, call in wanted.items():
        try:
            call()
        except OSError as e:
            refused.append([name, errno.errorcode[e.errno]])
    for r in requests:
        if r["op"] in ("edit", "grep"):
            (w / "f").write_text("mine")
        kind, said = ask(at, r)
        if kind not in (19, 20) or (kind == 19 and said[-1] != "0"):
            refused.append([r, said])
    return refused


@pytest.mark.timeout(120 + USERS * SESSIONS)
def test_owners_and_root_get_theirs(mount, root, engine):
    users = [FIRST + i for i in range(USERS)]
    m = world_of(mount, root, users, SESSIONS)
    at = os.readlink(m / ".aib/socket")
    for i in range(SESSIONS):
        for uid in (owner_of(i, users), 0):
            assert as_user(uid, [], lambda i=i, uid=uid: owners_do(m, at, i, uid)) == []
    for i in range(3):
        for r in requests_of(m, i):
            if r["op"] == "exec":
                kind, said = as_user(owner_of(i, users), [], lambda r=r: ask(at, r))
                assert (kind, said) == (19, "0") or (kind == 20 and r.get("detach")), (r, kind, said)
    for i in range(3, SESSIONS):
        uid = owner_of(i, users)
        assert as_user(uid, [], lambda i=i: ask(at, {"op": "session", "do": "release", "name": f"s{i}"}))[0] == 20
        assert as_user(uid, [], lambda i=i: ask(at, {"op": "job_rm", "name": f"j{i}"}))[0] == 20
    assert sorted(os.listdir(m / "sessions")) == ["s0", "s1", "s2"]
