"""aib grep and aib glob over a container route: the guest searches, and what comes out is what a host route of the same tree says."""

import json
import os
import re
import subprocess
import time

import pytest

from harness import program, run, wait_for

pytestmark = pytest.mark.usefixtures("engine")
IMAGE = "aib-test:busybox"
NOBODY = 65534
COMMANDS = [
    ["grep", "hit"], ["grep", "--json", "hit"], ["grep", "--mode", "count", "hit", "."], ["grep", "--mode", "files", "hit", "d"],
    ["grep", "-i", "--glob", "*.{py,txt}", "HIT"], ["grep", "--glob", "d/**/x", "hit"], ["grep", "--max", "3", "hit"],
    ["grep", "--json", "--gitignore", "hit"], ["grep", "nothing"], ["grep", "^h.t$", "nest"], ["grep", "(x+x+)+y"],
    ["glob", "**"], ["glob", "--json", "--hidden", "**"], ["glob", "--gitignore", "**"], ["glob", "*/{x,s}*"], ["glob", "--max", "2", "**"],
    ["glob", "--sort", "mtime", "**"],
]  # fmt: skip


def make(directory):
    """With a directory `nest` where another route is mounted."""
    for name, data in {
        "a.py": b"hit\n", "d/x": b"hit\nhit\n", "d.e": b"hit\n", "d/s/x": b"miss\nhit", "z": b"hit\n", "bin": b"hit\0\n", ".h/x": b"hit\n",
        "top.txt": b"hit\n", ".gitignore": b"*.txt\n", "d/.gitignore": b"s/\n", "d/new\nline": b"hit\n", "closed/x": b"hit\n",
        "runs": b"x" * 40 + b"\n",
    }.items():  # fmt: skip
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    with open(os.path.join(os.fsencode(directory), b"d/\xff\xfe"), "w") as f:
        f.write("hit\n")
    (directory / ".git").mkdir()
    (directory / "nest").mkdir(exist_ok=True)
    os.symlink("../a.py", directory / "d/link")
    os.symlink("nest/x", directory / "into")
    os.symlink("nowhere", directory / "dangling")
    os.mkfifo(directory / "fifo")
    os.chmod(directory / "closed", 0o700)
    run("find", directory, "-exec", "touch", "-h", "-d", "2024-05-06 07:08:09", "{}", "+")


def start(box, route="bb"):
    assert box.exec("true", cwd=route).returncode == 0
    status = lambda: dict(line.split(" ", 1) for line in (box / f".aib/sandboxes/{route}/status").read_text().splitlines())
    wait_for("the guest", lambda: status()["transport"] == "guest", 30)


def calls(box, route):
    metrics = (box / ".aib/metrics").read_text()
    return int(re.search(rf'^aib_route_operations_total{{route="{route}"[^}}]*}} (\d+)', metrics, re.M)[1])


def run_as(user, *argv, **kw):
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv], capture_output=True, timeout=60, **kw)


def said(argv, cwd, user=0):
    p = run_as(user, program("aib"), *argv, cwd=cwd)
    return p.returncode, p.stdout, p.stderr


@pytest.mark.timeout(300)
def test_the_guest_finds_what_the_daemon_finds(mount, world):
    nested = world.dir / "nested"
    nested.mkdir()
    (nested / "x").write_text("hit\n")
    os.utime(nested / "x", (1, 1))
    (world.dir / "src/tmp").mkdir(parents=True)
    routes = f"/h=host:{world.dir}/src", f"/bb=docker:{IMAGE}", f"/h/tmp/nest=host:{nested}", f"/bb/tmp/nest=host:{nested}"
    box = mount(*routes, options="allow_other")
    os.chmod(world.dir, 0o755)
    start(box)
    for place in (box / "h/tmp", box / "bb/tmp"):
        make(place)
    for user in (0, NOBODY):
        for argv in COMMANDS:
            assert said(argv, box / "bb/tmp", user) == said(argv, box / "h/tmp", user), (user, argv)
    # The kernel's directories are no part of it, and what is below them is found by who names it.
    files = json.loads(run(program("aib"), "glob", "--json", "--hidden", "*/*", cwd=box / "bb").stdout)["files"]
    assert files and not [f for f in files if f["path"].split("/")[0] in ("proc", "sys", "dev")]


@pytest.mark.timeout(300)
def test_with_numbers_of_its_own_it_finds_what_the_caller_may_read_through_the_mount(mount, world):
    box = mount(f"/bb=docker:{IMAGE},idmap=user,user=1234:4321", options="allow_other")
    os.chmod(world.dir, 0o755)
    start(box)
    users = (0, 7, 1234, NOBODY)
    line = f"mkdir /t; cd /t; for u in {' '.join(map(str, users))}; do echo hit >$u; chown $u:$u $u; chmod 600 $u; done; echo hit >all; chmod 644 all"
    assert box.exec("-u", "0:0", "sh", "-c", line, cwd="bb").returncode == 0
    owners = {name: os.stat(box / "bb/t" / name).st_uid for name in os.listdir(box / "bb/t")}
    assert owners["1234"] == 0 and owners["7"] == 7
    for user in users:
        found = said(["grep", "--mode", "files", "hit"], box / "bb/t", user)[1].decode().split()
        read = [n for n in sorted(owners) if run_as(user, "cat", box / "bb/t" / n).returncode == 0]
        assert found == read and "all" in read and len(read) == (2 if user else 5), (user, found, read)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["direct", "stream"])
def test_results_cross_and_files_do_not(mount, way):
    box = mount(f"/bb=docker:{IMAGE},guest={way}")
    start(box)
    assert box.exec("sh", "-c", "mkdir /t; for i in $(seq 500); do echo text $i >/t/f$i; done", cwd="bb").returncode == 0
    before = calls(box, "/bb")
    assert run(program("aib"), "grep", "text 77$", "bb/t", cwd=box).stdout == "bb/t/f77:1:text 77\n"
    assert len(run(program("aib"), "glob", "bb/t/*", cwd=box).stdout.splitlines()) == 500
    assert calls(box, "/bb") - before < 50


@pytest.mark.timeout(300)
def test_an_interrupt_ends_the_work_in_the_guest(mount, engine):
    box = mount(f"/bb=docker:{IMAGE}")
    start(box)
    make_it = "mkdir /t; yes text | head -c 200000000 >/t/a; for i in $(seq 20); do ln /t/a /t/b$i; done"
    assert box.exec("sh", "-c", make_it, cwd="bb").returncode == 0
    container = dict(line.split(" ", 1) for line in (box / ".aib/sandboxes/bb/status").read_text().splitlines())["container"]
    p = subprocess.Popen([program("aib"), "grep", "--mode", "count", "^(.)(.)xt$", "bb/t"], cwd=box, stdout=subprocess.DEVNULL)
    wait_for("the search", lambda: used(engine, container) > 0.3, 60)
    p.terminate()
    p.wait(10)

    def rests():
        before = used(engine, container)
        time.sleep(0.5)
        return used(engine, container) == before

    wait_for("the end of the search", rests, 60)


def used(engine, container):
    """Seconds of processor that the serving guest has taken."""
    ticks = 0
    for pid in engine.inspect(container)["State"]["Pid"], *children(engine.inspect(container)["State"]["Pid"]):
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def children(pid):
    """Of the container: all that is in its process namespace."""
    namespace = os.readlink(f"/proc/{pid}/ns/pid")
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            if int(entry) != pid and os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                yield int(entry)
        except OSError:
            continue
