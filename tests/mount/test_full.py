"""Routes that are full: memory at its `size` and at its `inodes`, a host route on a full file system. What
a program was told is written is there, what was refused is not, and room that is given back is room."""

import errno
import hashlib
import os
import tarfile

import pytest

from harness import run, small_disk, wait_for

MB = 1 << 20
SIZE = 8


@pytest.fixture
def disk(world):
    with small_disk(world, f"{SIZE}m") as top:
        yield top


@pytest.fixture(params=["memory", "memory alone", "host", "host without passthrough"])
def place(request, mount, disk):
    if request.param == "memory alone":
        return mount(f"/=memory,size={SIZE}m", options="control=none")
    if request.param == "memory":
        return mount(f"/m=memory,size={SIZE}m") / "m"
    options = "passthrough=no" if "without" in request.param else None
    return mount(f"/h=host:{disk}", options=options) / "h"


def content(name):
    seed = hashlib.sha256(name.encode()).digest()
    return (seed * (100000 // len(seed) + 1))[: 60000 + seed[0] * 100]


def write(path):
    """Whether all of it was taken, by close at the latest."""
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except OSError as e:
        assert e.errno == errno.ENOSPC
        return False
    left, taken = content(path.name), True
    try:
        while left:
            left = left[os.write(fd, left) :]
        os.fsync(fd)
    except OSError as e:
        assert e.errno == errno.ENOSPC
        taken = False
    try:
        os.close(fd)
    except OSError as e:
        assert e.errno == errno.ENOSPC
        taken = False
    return taken


def fill(place):
    whole = []
    for i in range(1000):
        path = place / f"f{i}"
        if not write(path):
            return whole, path
        whole.append(path)
    raise AssertionError("it is never full")


def check(whole, torn):
    for path in whole:
        assert path.read_bytes() == content(path.name), path
    if torn.exists():
        data = torn.read_bytes()
        assert content(torn.name).startswith(data.rstrip(b"\0")), torn


def test_what_was_taken_is_there_and_what_is_removed_gives_room(place):
    whole, torn = fill(place)
    assert len(whole) * 60000 > SIZE * MB * 0.8
    check(whole, torn)
    # A full place can be looked at, renamed in and emptied.
    os.rename(whole[0], place / "renamed")
    os.rename(place / "renamed", whole[0])
    assert whole[0].read_bytes() == content(whole[0].name)
    whole[1].chmod(0o600)
    torn.unlink(missing_ok=True)
    for path in whole[:10]:
        path.unlink()
    del whole[:10]
    wait_for("room", lambda: os.statvfs(place).f_bavail * os.statvfs(place).f_frsize > 500000)
    assert write(place / "again")
    check([*whole, place / "again"], torn)


def test_overwriting_a_full_file_loses_nothing(place):
    path = place / "f"
    data = os.urandom(4 * MB)
    path.write_bytes(data)
    with open(place / "rest", "wb", buffering=0) as f:
        with pytest.raises(OSError) as e:
            while True:
                f.write(bytes(MB))
                os.fsync(f.fileno())
        assert e.value.errno == errno.ENOSPC
    new = os.urandom(MB)
    with open(path, "r+b", buffering=0) as f:
        f.seek(MB)
        assert f.write(new) == MB
        os.fsync(f.fileno())
        with pytest.raises(OSError) as e:
            os.posix_fallocate(f.fileno(), 0, 3 * SIZE * MB)
        assert e.value.errno == errno.ENOSPC
    assert path.read_bytes() == data[:MB] + new + data[2 * MB :]


def test_tar_says_that_it_did_not_fit(place, world):
    archive = world.dir / "state/big.tar"
    source = world.dir / "state/big"
    source.mkdir()
    for i in range(3 * SIZE):
        (source / f"b{i}").write_bytes(os.urandom(MB // 2))
    with tarfile.open(archive, "w") as tar:
        tar.add(source, "big")
    p = run("tar", "-C", place, "-xf", archive, check=False)
    assert p.returncode != 0 and "No space left on device" in p.stderr
    whole = sum((place / "big" / f.name).read_bytes() == f.read_bytes() for f in source.iterdir() if (place / "big" / f.name).exists())
    assert whole >= 2 * SIZE - 4
    run("rm", "-rf", place / "big")
    assert write(place / "after")


def test_no_more_files_than_inodes(mount):
    box = mount("/m=memory,inodes=50")
    made = 0
    with pytest.raises(OSError) as e:
        for made in range(100):
            (box / f"m/f{made}").touch()
    assert e.value.errno == errno.ENOSPC
    assert 45 <= made <= 50
    (box / "m/f0").unlink()
    wait_for("the inode", lambda: os.statvfs(box / "m").f_favail > 0)
    (box / "m/again").write_text("x")
    assert sorted(os.listdir(box / "m")) == sorted([f"f{i}" for i in range(1, made)] + ["again"])
