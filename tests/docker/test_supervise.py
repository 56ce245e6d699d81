"""A supervised daemon that is killed: what containers hold, and what runs in them, is there afterwards."""

import contextlib
import hashlib
import json
import os
import random
import signal
import threading
import time

import pytest

from harness import LONG, mounts_below, program, run, wait_for

KILLS = int(os.environ.get("AIB_TEST_KILLS") or (200 if LONG else 5))


def daemon_of(box):
    for m in json.loads(run(program("aib"), "status", "--json").stdout)["mounts"]:
        if m["mountpoint"] == str(box) and m["state"] == "ok":
            return m["pid"]
    return None


def serves(box):
    with contextlib.suppress(OSError):
        os.listdir(box / "bb/workspace")
        return bool(mounts_below(box))
    return False


def kill_and_wait(box):
    """Kill the daemon; the seconds until another one serves the container's files."""
    pid = wait_for("the daemon", lambda: daemon_of(box))
    start = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    wait_for("another daemon", lambda: not os.path.exists(f"/proc/{pid}") and serves(box), timeout=60)
    return time.monotonic() - start


def write_until(stop, directory, acknowledged):
    """Files of random bytes, of which each is acknowledged by a close that succeeded."""
    n = 0
    while not stop.is_set():
        n += 1
        data = os.urandom(random.randrange(1, 100_000))
        try:
            fd = os.open(directory / f"f{n}", os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError:
            time.sleep(0.005)
            continue
        with contextlib.suppress(OSError):
            try:
                done = os.write(fd, data) == len(data)
            except OSError:
                done = False
            os.close(fd)
            if done:
                acknowledged[f"f{n}"] = hashlib.sha256(data).hexdigest()


@pytest.mark.timeout(max(120, 15 * KILLS))
@pytest.mark.parametrize("transport", ["guest", "archive"])
def test_what_was_acknowledged_is_whole_and_jobs_go_on(engine, mount, transport):
    box = mount(
        f"/bb=docker:aib-test:busybox,transport={transport}", flags=["--supervise"], options="restarts=100000"
    )
    work = box / "bb/workspace"
    job = box.exec("-d", "sh", "-c", "while [ ! -e /tmp/go ]; do sleep 0.1; done; echo went", cwd="bb/workspace")
    container = engine.containers("label=aib.route=/bb")
    stop, acknowledged, times = threading.Event(), {}, []
    writer = threading.Thread(target=write_until, args=(stop, work, acknowledged))
    writer.start()
    # An archive takes its time for each file.
    for _ in range(KILLS if transport == "guest" else -(-KILLS // 3)):
        time.sleep(random.uniform(0, 0.5))
        times.append(kill_and_wait(box))
    stop.set()
    writer.join()
    assert acknowledged
    sums = box.exec("sh", "-c", "sha256sum f*", cwd="bb/workspace").stdout.splitlines()
    seen = {line.split()[1]: line.split()[0] for line in sums}
    wrong = {name for name, digest in acknowledged.items() if seen.get(name) != digest}
    assert not wrong, (len(wrong), len(acknowledged))
    assert engine.containers("label=aib.route=/bb") == container
    assert box.exec("touch", "/tmp/go", cwd="bb").returncode == 0
    name = job.stdout.strip()
    assert run(program("aib"), "job", "wait", name, cwd=work).returncode == 0
    assert run(program("aib"), "job", "logs", name, cwd=work).stdout == "went\n"
    box.umount()
    assert not [c for c in container if c in engine.containers()]
    times.sort()
    print(f"{len(times)} kills, {len(acknowledged)} files; served again: median {times[len(times) // 2]:.3f} s, most {times[-1]:.3f} s")
