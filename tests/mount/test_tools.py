"""Ordinary tools, unchanged, in memory and host routes: what a local file system lets them do."""

import hashlib
import os
import pathlib
import pty
import select
import sqlite3
import subprocess
import time

import pytest

from harness import GIT, LONG, SLOW, rss_kb, run


@pytest.fixture(params=["memory", "host"])
def place(request, mount, world):
    """A directory of the route."""
    box = mount(f"/h=host:{world.dir}/src")
    directory = box / ("h" if request.param == "host" else "") / "work"
    directory.mkdir()
    return directory


@pytest.fixture
def tree(world):
    """A small tree with what trees have: depth, links, modes, times, odd names."""
    top = world.dir / "state/tree"
    for i in range(5):
        d = top / f"d{i}/e/f"
        d.mkdir(parents=True)
        for j in range(20):
            (d / f"n{j} é\n").write_bytes(os.urandom(100 * j))
    (top / "link").symlink_to("d0/e")
    (top / "dangling").symlink_to("d0/none")
    os.link(top / "d0/e/f/n3 é\n", top / "hard")
    (top / "script").write_text("#!/bin/sh\n")
    (top / "script").chmod(0o755)
    os.utime(top / "script", ns=(10**18 + 1, 10**18 + 123456789))
    return top


def fingerprint(top):
    """Everything of a tree that a copy should keep."""
    found = {}
    for directory, _, names in os.walk(top):
        for path in [directory, *(os.path.join(directory, n) for n in names)]:
            st = os.lstat(path)
            content = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
            time_ns = st.st_mtime_ns if os.path.isfile(path) and not os.path.islink(path) else 0
            found[os.path.relpath(path, top)] = (st.st_mode, content, time_ns)
    return found


def test_tar_in_and_out(place, tree):
    with subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE) as out:
        run("tar", "-C", place, "-xp", stdin=out.stdout)
    kept = fingerprint(place)
    assert {k: v[:2] for k, v in kept.items()} == {k: v[:2] for k, v in fingerprint(tree).items()}
    assert os.stat(place / "hard").st_nlink == 2
    assert os.path.samefile(place / "hard", place / "d0/e/f/n3 é\n")
    again = subprocess.run(["tar", "-C", place, "-c", "."], stdout=subprocess.PIPE, check=True)
    assert len(again.stdout) > 10000


def test_rsync_a_twice(place, tree):
    run("rsync", "-aH", f"{tree}/", f"{place}/")
    assert fingerprint(place) == fingerprint(tree)
    second = run("rsync", "-aHi", f"{tree}/", f"{place}/").stdout
    assert second == "", "nothing changed, so nothing is to be copied"


def test_git_init_commit_and_status(place, tree):
    def git(*argv):
        return run("git", *argv, cwd=place, env={**os.environ, **GIT}).stdout

    git("init", "-q")
    run("rsync", "-a", f"{tree}/", f"{place}/")
    git("add", "-A")
    git("commit", "-qm", "first")
    assert git("status", "--porcelain") == ""
    (place / "script").write_text("#!/bin/sh\necho\n")
    assert git("status", "--porcelain") == " M script\n"
    git("commit", "-qam", "second")
    git("checkout", "-q", "HEAD~1")
    assert (place / "script").read_text() == "#!/bin/sh\n"
    git("gc", "-q")
    git("fsck", "--strict")


def test_compileall(place):
    for i in range(20):
        (place / f"m{i}.py").write_text(f"x = {i}\n")
    run("/usr/bin/python3", "-m", "compileall", "-q", "-j2", place)
    assert len(list((place / "__pycache__").iterdir())) == 20
    assert run("/usr/bin/python3", "-c", "import m7; print(m7.x)", cwd=place).stdout == "7\n"


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_sqlite(place, journal):
    """WAL needs shared mmap, the rollback journal needs fsync and locks."""
    db = place / "x.db"
    sql = f"pragma journal_mode={journal}; create table t(a integer primary key, b text);"
    run("sqlite3", db, sql)
    one, two = sqlite3.connect(db), sqlite3.connect(db, timeout=0.1)
    with one:
        one.executemany("insert into t(b) values(?)", [("x" * 1000,)] * 1000)
    assert two.execute("select count(*) from t").fetchone() == (1000,)
    one.execute("begin immediate")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        two.execute("begin immediate")
    one.rollback()
    one.close()
    two.close()
    assert run("sqlite3", db, "pragma integrity_check").stdout == "ok\n"


def test_vim_writes(place):
    """vim as people use it, at a terminal: swap file, backup by rename, permissions kept."""
    file = place / "text.txt"
    file.write_text("one\ntwo\n")
    file.chmod(0o640)
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm"
        os.execvp("vi", ["vi", "-u", "NONE", "-i", "NONE", "--cmd", "set writebackup", str(file)])
    time.sleep(0.5)
    for keys in (b"Gothree\x1b", b":wq\r"):
        os.write(terminal, keys)
        time.sleep(0.2)
    end = time.monotonic() + 20
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        assert time.monotonic() < end, "vi did not end"
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                os.read(terminal, 65536)
            except OSError:
                pass
    os.close(terminal)
    assert file.read_text() == "one\ntwo\nthree\n"
    assert file.stat().st_mode & 0o777 == 0o640
    assert os.listdir(place) == ["text.txt"]


def test_find_and_grep_see_all(place, tree):
    run("cp", "-a", f"{tree}/.", place)
    (place / "d4/e/f/needle").write_text("a needle\n")
    assert run("grep", "-rl", "needle", place).stdout == f"{place}/d4/e/f/needle\n"
    ours = run("find", ".", "-printf", "%p %y\\0", cwd=place).stdout.split("\0")
    theirs = run("find", ".", "-printf", "%p %y\\0", cwd=tree).stdout.split("\0")
    assert sorted(ours) == sorted([*theirs, "./d4/e/f/needle f"])
    run("ls", "-lR", place)
    run("rm", "-r", place / "d0", place / "d1")
    assert not (place / "d0").exists()


def make_and_remove(directory, files):
    per = min(files, 10000)
    for start in range(0, files, per):
        for i in range(start, start + per):
            os.close(os.open(directory / f"f{i}", os.O_CREAT | os.O_WRONLY | os.O_EXCL))
        assert len(os.listdir(directory)) == per
        for i in range(start, start + per):
            os.unlink(directory / f"f{i}")


@pytest.mark.timeout(300)
def test_files_made_and_removed_leave_memory_where_it_was(place, world):
    pid = world.daemons()[0]
    # Sanitizers find leaks by themselves, and keep what is freed for a while.
    files, bound = (100000 if LONG else 30000, 4096) if SLOW == 1 else (10000, 65536)
    make_and_remove(place, files // 5)  # what is kept for speed is filled by then
    before = rss_kb(pid)
    make_and_remove(place, files)
    time.sleep(1)
    assert os.listdir(place) == []
    grown = rss_kb(pid) - before
    assert grown < bound, f"the daemon grew by {grown} kB"
