"""aib-guest's verbs fs and init: the static program itself, on this machine."""

import errno
import os
import signal
import stat
import subprocess
import time

import pytest

from harness import program, run, wait_for

GUEST = program("aib-guest")


@pytest.fixture
def work(world):
    work = world.dir / "work"
    work.mkdir()
    return work


def fs(*args, status=0):
    p = run(GUEST, "fs", *map(str, args), check=False)
    assert p.returncode == status, p.stderr
    assert p.stderr.count("\n") == 1 or status in (0, 125)
    return p.stdout


def test_it_is_static_and_small():
    assert "INTERP" not in run("readelf", "-l", GUEST).stdout
    assert os.path.getsize(GUEST) < 1_500_000


def test_names(work):
    a, b = work / "a", work / "b"
    a.write_text("a")
    fs("link", a, b)
    assert a.stat().st_nlink == 2
    fs("rename", 1, a, b, status=errno.EEXIST)
    b.unlink()
    b.write_text("b")
    fs("rename", 2, a, b)
    assert (a.read_text(), b.read_text()) == ("b", "a")
    fs("rename", 0, a, b)
    assert b.read_text() == "b" and not a.exists()
    fs("unlink", b)
    fs("unlink", b, status=errno.ENOENT)
    (work / "d" / "e").mkdir(parents=True)
    fs("rmdir", work / "d", status=errno.ENOTEMPTY)
    fs("rmdir", work / "d" / "e")


def test_attributes(work):
    f = work / "f"
    f.write_text("0123456789")
    fs("chmod", "4751", f)
    assert stat.S_IMODE(f.stat().st_mode) == 0o4751
    fs("chown", 12, -1, f)
    assert (f.stat().st_uid, f.stat().st_gid) == (12, os.getgid())
    fs("utimens", "5.000000007", "omit", f)
    assert f.stat().st_atime_ns == 5_000_000_007
    before = f.stat().st_mtime_ns
    fs("utimens", "omit", "-3.000000001", f)
    assert f.stat().st_mtime_ns == -3_000_000_000 + 1 != before
    fs("utimens", "omit", "now", f)
    assert abs(f.stat().st_mtime - time.time()) < 60
    fs("truncate", 4, f)
    assert f.read_text() == "0123"
    fs("truncate", 8, f)
    assert f.read_bytes() == b"0123\0\0\0\0"
    fs("mknod", "10640", 0, work / "fifo")
    assert stat.S_ISFIFO((work / "fifo").stat().st_mode)
    fs("truncate", 0, work / "fifo", status=errno.EINVAL)
    fs("truncate", 0, work, status=errno.EISDIR)


def test_a_link_is_changed_itself_and_never_followed(work):
    outside = work / "outside"
    outside.mkdir()
    (outside / "f").write_text("f")
    link = work / "link"
    link.symlink_to(outside)
    for verb in (["unlink"], ["chmod", "600"], ["chown", 0, 0], ["truncate", 0],
                 ["utimens", "1", "1"], ["mknod", "100600", 0], ["rmdir"]):  # fmt: skip
        fs(*verb, link / "f", status=errno.ELOOP)
    fs("rename", 0, link / "f", work / "g", status=errno.ELOOP)
    fs("link", outside / "f", link / "g", status=errno.ELOOP)
    fs("chmod", "600", link, status=errno.EOPNOTSUPP)
    fs("truncate", 0, link, status=errno.EINVAL)
    fs("chown", 12, 13, link)
    assert (link.lstat().st_uid, outside.stat().st_uid) == (12, os.getuid())
    fs("utimens", "1", "2", link)
    assert link.lstat().st_mtime == 2 != outside.stat().st_mtime
    fs("unlink", link)
    assert (outside / "f").read_text() == "f"


def test_paths_that_are_refused(work):
    fs("unlink", "relative", status=errno.EINVAL)
    fs("unlink", f"{work}/x/../y", status=errno.EINVAL)
    fs("unlink", f"{work}/..", status=errno.EINVAL)
    fs("unlink", f"{work}/{'n' * 256}", status=errno.ENAMETOOLONG)
    fs("rmdir", "/", status=errno.EINVAL)
    (work / "f").write_text("")
    fs("unlink", f"{work}/f/x", status=errno.ENOTDIR)
    fs("unlink", f"//{work}/.///f")
    for wrong in (["chmod", "9", "/x"], ["truncate", "-1", "/x"], ["chown", "x", "0", "/x"],
                  ["utimens", "1.5", "now", "/x"], ["rename", "4", "/x", "/y"]):  # fmt: skip
        fs(*wrong, status=errno.EINVAL)
    for usage in ([], ["nope"], ["unlink"], ["unlink", "/x", "/y"]):
        fs(*usage, status=125)


def test_mounts_are_the_kernels():
    # Another test may mount between the two.
    wait_for("the same mounts", lambda: fs("mounts") == run("cat", "/proc/self/mounts").stdout)


def children(pid):
    return [int(p) for p in run("pgrep", "-P", str(pid), check=False).stdout.split()]


@pytest.mark.parametrize("sig", ["TERM", "INT", "QUIT"])
def test_init_reaps_and_ends_at_once(work, sig):
    # A shell that becomes init leaves it a child that it has never heard of, deaf to TERM.
    line = (
        f"(sh -c \"trap '' TERM; while :; do sleep 0.1; done\" & sleep 0.1 & sleep 0.1 &) ; exec {GUEST} init"
    )
    p = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sh", "-c", line])
    init = wait_for("init", lambda: children(p.pid))[0]
    wait_for("init itself", lambda: "aib-guest" in open(f"/proc/{init}/comm").read())
    time.sleep(0.5)
    states = [open(f"/proc/{c}/stat").read().rsplit(")")[1].split()[0] for c in children(init)]
    assert states and "Z" not in states
    start = time.monotonic()
    os.kill(init, getattr(signal, "SIG" + sig))
    assert p.wait(10) == 0
    assert time.monotonic() - start < 1


def test_init_as_a_common_process_ends_nobody():
    p = subprocess.Popen([GUEST, "init"])
    time.sleep(0.2)
    p.terminate()
    assert p.wait(5) == 0
