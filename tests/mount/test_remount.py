"""A mount after another one: a host route's files keep their numbers, so that programs which remember them
(git's index, a backup's list) find nothing changed and read nothing again."""

import os
import re
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness import GIT, run

FILES = 300

pytestmark = pytest.mark.alone


def git(directory, *argv):
    env = {**os.environ, **GIT}
    return run("git", "-c", "gc.auto=0", "-c", "core.checkStat=default", "-C", directory, *argv, env=env).stdout


def identities(top):
    found = {}
    for directory, below, names in os.walk(top):
        if ".git" in below:
            below.remove(".git")  # git itself writes there
        for path in (directory, *(os.path.join(directory, n) for n in names)):
            st = os.lstat(path)
            found[os.path.relpath(path, top)] = (st.st_ino, st.st_mtime_ns, st.st_ctime_ns, st.st_size)
    return found


def opened(trace):
    lines = trace.read_text().splitlines()
    return [line for line in lines if re.search(r'"d\d/f\d+"', line) and "ENOENT" not in line]


def test_numbers_are_the_same_and_git_status_reads_no_file(mount, world):
    route = f"/h=host:{world.dir}/src"
    box = mount(route)
    work = box / "h/work"
    for i in range(FILES):
        path = work / f"d{i % 10}/f{i}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {i}\n")
    os.link(work / "d0/f0", work / "d0/link")
    git(work, "init", "-q")
    # Git reads files again that are as new as its index.
    for i in range(FILES):
        os.utime(work / f"d{i % 10}/f{i}", (10**9, 10**9))
    git(work, "add", ".")
    git(work, "commit", "-qm", "all")
    git(work, "status")
    before = identities(work)
    assert before["d0/link"] == before["d0/f0"]
    box.end()

    box = mount(route)
    work = box / "h/work"
    trace = world.dir / "state/trace"
    argv = ["strace", "-f", "-e", "trace=open,openat", "-o", trace, "git", "-C", work, "status", "--porcelain"]
    p = subprocess.run(argv, env={**os.environ, **GIT}, capture_output=True, text=True, check=True)
    assert p.stdout == ""
    assert opened(trace) == []
    assert identities(work) == before
    # It can fail: a file that was replaced is read.
    (work / "d1/f1").write_text("file 1\n")
    p = subprocess.run(argv, env={**os.environ, **GIT}, capture_output=True, text=True, check=True)
    assert p.stdout == "" and opened(trace)


def test_what_the_daemon_answers_is_counted_anew(mount, world):
    """A status after a remount costs lookups and listings, and no more than two requests a file."""
    (world.dir / "src/work").mkdir()
    for i in range(FILES):
        (world.dir / f"src/work/f{i}").write_text("x")
    route = f"/h=host:{world.dir}/src"
    box = mount(route)
    box.end()
    box = mount(route)
    run("ls", "-l", box / "h/work")
    families = text_string_to_metric_families((box / ".aib/metrics").read_text())
    n = sum(
        int(s.value)
        for f in families
        for s in f.samples
        if s.name == "aib_route_request_seconds_count" and s.labels["route"] == "/h"
    )
    assert 0 < n < FILES
