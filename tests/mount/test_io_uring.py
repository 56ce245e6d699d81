"""Requests over io_uring, where the kernel has it: nobody can tell but by the speed; and the ways
without it."""

import os
import subprocess
import threading

import pytest

import harness
from harness import program, run, wait_for


def said(box):
    return next(s for s in (box / ".aib/log").read_text().splitlines() if "io_uring: " in s)


def mount_status(world, *args):
    path = world.dir / "refused"
    path.mkdir()
    return run(program("aib"), "mount", *args, path, check=False)


def test_the_log_says_whether_it_is_used_and_the_mount_works_either_way(mount, world):
    for options in ("io_uring=no", None):
        with harness.io_uring() as there:
            box = mount(f"/h=host:{world.dir}/src", options=options)
        used = "io_uring: on" in said(box)
        assert used == (there and not options and "libfuse older" not in said(box))
        (box / "f").write_text("memory")
        (box / "h/f").write_text("host")
        assert (box / "f").read_text() + (box / "h/f").read_text() == "memoryhost"


def test_a_command_that_is_refused_is_told_why(mount):
    with harness.io_uring():
        box = mount("/=memory")
    for _ in range(20):
        with open(box / ".aib/exec", "r+b", buffering=0) as f:
            f.write(b'{"command": "true", "cwd": 1}')
            assert b"must be a string" in f.read(1 << 20)


def test_where_a_route_may_wait_it_is_off_and_yes_is_refused(mount, world):
    route = f"/h=host:{world.dir}/src,blocking=yes"
    with harness.io_uring():
        assert "io_uring: off: requests of a route may wait" in said(mount(route))
        p = mount_status(world, "-r", route, "-o", "io_uring=yes")
    assert p.returncode == 1
    assert "io_uring=yes: requests of a route may wait: /h" in p.stderr


def test_yes_is_refused_where_the_kernel_has_it_not_enabled(world):
    if harness.IO_URING.exists() and harness.IO_URING.read_text().strip() == "Y":
        pytest.fail("this machine has it enabled for good: turn it off for the tests")
    p = mount_status(world, "-r", "/=memory", "-o", "io_uring=yes")
    assert p.returncode == 1
    assert "io_uring=yes: " in p.stderr


def is_refused(path):
    """Until the rings are ready, requests come as ever, and a read waits."""
    with subprocess.Popen(["cat", path], stderr=subprocess.PIPE) as p:
        try:
            return b"Resource temporarily unavailable" in p.communicate(timeout=2)[1]
        except subprocess.TimeoutExpired:
            p.kill()
            return False


def test_a_read_that_would_wait_ends_and_takes_no_place_of_the_ring(mount):
    with harness.io_uring():
        box = mount("/=memory")
        used = "io_uring: on" in said(box)
        (box / ".aib/jobs/t").mkdir()
        if used:  # the kernel refuses rings that come when it is turned off again
            harness.wait_for("the rings", lambda: is_refused(box / ".aib/jobs/t/wait"), 30)
    readers = [subprocess.Popen(["cat", box / ".aib/jobs/t/wait"], stderr=subprocess.PIPE) for _ in range(20)]
    if used:
        for p in readers:
            assert b"Resource temporarily unavailable" in p.communicate(timeout=20 * harness.SLOW)[1]
    (box / "f").write_text("x")
    assert (box / "f").read_text() == "x"
    (box / ".aib/jobs/t").rmdir()
    for p in readers:
        p.communicate(timeout=20 * harness.SLOW)


def test_it_ends_in_the_middle_of_much_work(mount, world):
    with harness.io_uring():
        box = mount(f"/h=host:{world.dir}/src")
    stop = threading.Event()

    def work(name):
        try:
            for i in range(1000000):
                if stop.is_set():
                    return
                (box / name / f"f{i % 50}").write_text("x")
                os.listdir(box / name)
        except OSError:
            pass

    threads = []
    for name in ("a", "h/a", "b", "h/b"):
        (box / name).mkdir()
        threads.append(threading.Thread(target=work, args=(name,)))
        threads[-1].start()
    wait_for("some work", lambda: len(os.listdir(box / "h/b")) > 10)
    os.kill(box.pid, 15)
    wait_for("the end", lambda: not box.mounted, timeout=20)
    stop.set()
    for t in threads:
        t.join(20)
        assert not t.is_alive()
