"""The same random calls in the mount and in a directory of the kind that it stands on (differ/):
every answer, and all that can be seen of the trees, is to be the same.

What differs by nature, so that the calls leave it out or the comparison does not look at it:

| what | why |
|---|---|
| devices, set-user-ID at exec | a mount is nodev and nosuid; the native side is made so too |
| setuid and setgid bits by chmod, of files in passthrough | the kernel writes as the daemon registered the file, so they go at the next write, whoever writes (fuse/README.md) |
| sizes of directories | of tmpfs they count entries; ours are a page |
| where the data is in a memory file that was allocated, not written | tmpfs calls it a hole, we data |
| alignment of O_DIRECT | the file system's own; a FUSE mount takes any |
| times after a write from a bad address | ext4 and tmpfs touch a file before they look at the data, FUSE does not |
| times before msync | a shared mapping tells what it changed when it is written back, as POSIX allows |
| offsets beyond 16 TiB | where ext4 ends |
| times of access | a mount's pages are read without asking, so relatime is not told |
| chown of nothing by who does not own a file with setuid bits | to a FUSE server it looks as the kernel's own removal of them before a write |
| RENAME_WHITEOUT, ACLs | not served (EINVAL, EOPNOTSUPP) |
"""

import errno
import os
import pathlib
import subprocess
import tempfile
import time

import pytest

from harness import BUILD, LONG, SLOW

SECONDS = float(os.environ.get("AIB_TEST_DIFFER") or (120 if LONG else 6))
ROOT = os.getuid() == 0
FIXED = 1


@pytest.fixture
def native_memory():
    with tempfile.TemporaryDirectory(prefix="aibt-", dir="/dev/shm") as d:
        yield pathlib.Path(d)


def seeds():
    """A fixed one, so that what was found stays found, and one that nobody has tried."""
    given = os.environ.get("AIB_SEED")
    return [int(given)] if given else [FIXED, int(time.time() * 1000)]


def has_user_xattrs(directory):
    try:
        os.setxattr(directory, "user.x", b"")
    except OSError as e:
        assert e.errno == errno.EOPNOTSUPP
        return False
    os.removexattr(directory, "user.x")
    return True


def compare(native, ours, *options):
    for directory in (native, ours):
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
    if not ROOT:
        options += ("--no-users",)
    if not has_user_xattrs(native):
        options += ("--no-xattrs",)
    for seed in seeds():
        print(f"AIB_SEED={seed}")
        argv = [BUILD / "tests/mount/differ", "--seed", str(seed), "--seconds", str(SECONDS / len(seeds()))]
        p = subprocess.run(
            [*argv, *options, native, ours], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=(SECONDS + 60) * SLOW,
        )  # fmt: skip
        assert p.returncode == 0, p.stdout
        print(p.stdout)


@pytest.mark.timeout(int(SECONDS) + 120)
def test_a_memory_route_answers_as_tmpfs(mount, native_memory):
    compare(native_memory / "native", mount("/=memory") / "ours", "--no-holes")


@pytest.mark.timeout(int(SECONDS) + 120)
@pytest.mark.parametrize("passthrough", ["auto", "no"])
def test_a_host_route_answers_as_its_directory(mount, world, passthrough):
    box = mount(f"/h=host:{world.dir}/src,symlinks=verbatim", options=f"passthrough={passthrough}")
    flags = ["--no-suid"] if passthrough == "auto" else []
    compare(world.dir / "state/native", box / "h/ours", *flags)
