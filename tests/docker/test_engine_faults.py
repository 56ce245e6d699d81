"""A real engine that does not answer one kind of request (engine_proxy.py), while files and commands wait for it:
^C ends them at once, and all of it works afterwards, in the same mount."""

import contextlib
import os
import signal
import subprocess
import time

import pytest

import engine_proxy
from harness import SLOW, program, wait_for

IMAGE = "aib-test:busybox"
DEADLINE = 4
START = 12
CALL = 2 * START + 2 * DEADLINE  # a call may wait for another's, and is started on a machine that is busy

@pytest.fixture
def proxy(engine, world):
    proxy = engine_proxy.Proxy(world.dir / "proxy.sock", engine.host)
    yield proxy
    for m in world.mounts:
        m.end()
    proxy.close()


def error(box):
    return (box / ".aib/sandboxes/bb/error").read_text()


def make(mount, proxy, transport, **more):
    return mount(
        f"/bb=docker:{IMAGE},engine={proxy.host},transport={transport},timeout={DEADLINE}s,start_timeout={START}s",
        "/m=memory", options=f"deadline={DEADLINE}s", **more,
    )  # fmt: skip


def timed(call):
    """Its errno or 0; it returned in time."""
    start, code = time.monotonic(), 0
    try:
        call()
    except OSError as e:
        code = e.errno
    assert time.monotonic() - start < CALL * SLOW, call
    return code


def calls(box):
    """What an agent does, with names of their own for each: {what: errno or status}."""
    d = box / "bb/root"
    answers = {
        "ls": timed(lambda: os.listdir(box / "bb/etc")),
        "write": timed(lambda: (d / "a").write_text("written")),
        "read": timed(lambda: (d / "a").read_text()),
        "stat": timed(lambda: os.stat(box / "bb/bin")),
    }
    try:
        p = box.exec("--sandbox", "bb", "true", timeout=CALL)
    except OSError as e:
        answers["exec"] = e.errno
    else:
        answers["exec"] = p.returncode
        assert p.returncode == 0 or (p.returncode == 125 and any(name in p.stderr for name in ("bb", "engine unix:"))), p.stderr
    return answers


def works(box):
    with contextlib.suppress(OSError):
        return not any(calls(box).values()) and (box / "bb/root/a").read_text() == "written"


@pytest.mark.parametrize("what", ["cat", "ls", "aib-exec"])
def test_control_c_ends_what_waits_for_an_engine_that_hangs(mount, proxy, what):
    box = make(mount, proxy, "archive")
    (box / "bb/root/a").write_text("a")
    argv = {
        "cat": ["cat", box / "bb/etc/group"],
        "ls": ["ls", box / "bb/bin"],
        "aib-exec": [program("aib-exec"), "--sandbox", "bb", "true"],
    }[what]
    with contextlib.ExitStack() as stack:
        for kind in ("start",) if what == "aib-exec" else ("archive_stat",):
            told = stack.enter_context(proxy.fault(kind, "hang"))
        p = subprocess.Popen(argv, cwd=box.path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(1)
        assert p.poll() is None, "it does not wait"
        start = time.monotonic()
        p.send_signal(signal.SIGINT)
        assert p.wait(30) in (-signal.SIGINT, 130)
        assert time.monotonic() - start < 2 * SLOW
    assert told["hits"] > 0
    wait_for("service", lambda: works(box), 60)
