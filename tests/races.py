"""Of the tests of races (mount/racer.c): what is outside and must stay as it is, and a round of calls."""

import json
import os
import pathlib
import random
import subprocess

import harness

RACER = harness.BUILD / "tests/mount/racer"
SIZE = 4711  # also the uid: a file of the outside is known by either
ROUNDS = int(os.environ.get("AIB_TEST_RACES") or (1_000_000 if harness.LONG else 20_000))
SEED = int(os.environ.get("AIB_SEED") or random.randrange(1 << 20))
OLD = 1_000_000_000  # seconds; a first read moves the time of access on


def canary(path):
    """A directory with one of everything that a call could find there by the names that are inside."""
    path = pathlib.Path(path)
    path.mkdir()
    for name in ("file", "n0", "OUTSIDE-name"):
        (path / name).write_text("OUTSIDE" * (SIZE // 7))
        os.setxattr(path / name, "user.mark", b"OUTSIDE")
    (path / "n1").mkdir()
    (path / "n2").symlink_to("file")
    for p in (*path.iterdir(), path):
        os.chown(p, SIZE, SIZE, follow_symlinks=False)
        os.utime(p, (OLD, OLD + 1), follow_symlinks=False)
    # A look at a link is seen in it (relatime) until it was read after its last change, as the clock of files has it.
    while (st := (path / "n2").lstat()).st_atime_ns <= st.st_ctime_ns:
        os.readlink(path / "n2")
    return path


def seen(path):
    """All that can be told of a tree, without a trace of the look in the times of its files."""
    found = {}
    for p in (path, *sorted(path.rglob("*"))):
        st = p.lstat()
        data = os.readlink(p) if p.is_symlink() else None
        if p.is_file() and not p.is_symlink():
            fd = os.open(p, os.O_RDONLY | os.O_NOATIME)
            data = os.read(fd, 1 << 20), {x: os.getxattr(fd, x) for x in os.listxattr(fd)}
            os.close(fd)
        times = st.st_mtime_ns, st.st_ctime_ns, None if p.is_dir() else st.st_atime_ns
        found[str(p)] = st.st_ino, st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size, times, data
    return found


def call(directory, out, rounds=ROUNDS, follow=True, timeout=3600):
    """All calls at random. Returns {call: [went well, failed]} and what came in from outside."""
    print(f"AIB_SEED={SEED}, {rounds} rounds")
    p = harness.run(RACER, "call", directory, out, str(rounds), str(SEED), "3", "follow" if follow else "nofollow",
                    timeout=timeout)
    said = json.loads(p.stdout)
    return said["calls"], said["leaks"]


def start_swapper(*argv, **kw):
    return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, **kw)


def end_swapper(process):
    """How often it exchanged."""
    process.terminate()
    return int(process.communicate(timeout=60)[0] or 0)


def is_tried(calls, exchanges, rounds=ROUNDS):
    """Each call had what it wanted at times, and many had not; or the test has tried nothing. In a short run on a
    busy machine the rarest may have had no luck: a link that leads nowhere outside at the moment it is read."""
    assert sum(map(sum, calls.values())) >= rounds
    never = [name for name, (good, _) in calls.items() if not good]
    failed = sum(bad for _, bad in calls.values())
    assert len(never) <= (0 if rounds > 100_000 else 3), (never, calls)
    assert failed > rounds / 50 and exchanges > rounds / 100, (calls, exchanges)
