"""Who waits in a mount goes at once when killed, whatever signals came before, and no call fails by a
signal that does not kill (mount/signals.c)."""

import contextlib
import os
import pathlib
import signal

import pytest

from harness import BUILD, LONG, run, wait_for

SIGNALS = BUILD / "tests/mount/signals"
CALLS = 100_000 if LONG else 1_000
WAITERS = 1_000 if LONG else 100


def signals(*argv):
    p = run(SIGNALS, *argv, check=False, timeout=800)
    print(p.stdout)
    assert p.returncode == 0, p.stdout


@contextlib.contextmanager
def stopped_guest(engine, name):
    """All of aib-guest in a container stands still, so that its route answers nobody."""
    pids = []
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"aib-guest" in (entry / "cmdline").read_bytes() and engine.inspect(name)["Id"] in (
                entry / "cgroup"
            ).read_text():
                pids.append(int(entry.name))
    assert pids, "no guest"
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(900 if LONG else 120)
@pytest.mark.parametrize("guest", ["direct", "stream"])
def test_no_call_is_disturbed_by_signals(mount, container, guest):
    box = mount(f"/bb=container:{container()},guest={guest}")
    (box / "bb/tmp/work").mkdir()
    signals("calls", str(CALLS), box / "bb/tmp/work")


@pytest.mark.parametrize("before", [[], ["urg"]], ids=["kill", "urg-then-kill"])
def test_who_waits_for_a_job_goes_at_once(mount, container, before):
    box = mount(f"/bb=container:{container()}")
    job = box.exec("-d", "sleep", "1000", cwd="bb", check=True).stdout.strip()
    signals("waiters", str(WAITERS), box / f".aib/jobs/{job}/wait", *before)
    (box / f".aib/jobs/{job}/ctl").write_text("kill")
    wait_for("the job's end", lambda: (box / f".aib/jobs/{job}/wait").read_text())


@pytest.mark.parametrize("before", [[], ["urg"]], ids=["kill", "urg-then-kill"])
def test_who_waits_for_a_guest_that_stands_still_goes_at_once(mount, engine, container, before):
    name = container()
    box = mount(f"/bb=container:{name}")
    (box / "bb/tmp/x").write_text("x")
    with stopped_guest(engine, name):
        signals("waiters", str(WAITERS), box / "bb/tmp/x", *before)
    wait_for("the route", lambda: (box / "bb/tmp/x").read_text() == "x", 30)
