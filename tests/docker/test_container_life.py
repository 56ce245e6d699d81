"""A container that stops, dies, is paused, removed or restarted while a hundred files of it are open, over both ways
to its guest. An open handle answers the bytes that it was opened on, or EIO (a deadline too, while the container
is paused); never another's bytes, never a hang. A name that is opened afterwards shows what is there now."""

import concurrent.futures
import contextlib
import errno
import os
import time

import pytest

from harness import LONG, SLOW, run, wait_for

IMAGE = "aib-test:busybox"
FILES = 100
ROUNDS = 100 if LONG else 5
CALL = 10  # seconds; the deadline is 3
ACTIONS = ("stop", "kill", "pause", "remove", "restart")


def status(box):
    lines = (box / ".aib/sandboxes/bb/status").read_text().splitlines()
    return dict(line.partition(" ")[::2] for line in lines)


def ctl(box, verb):
    """Asked again while it is refused: the engine may still be busy with the last one."""

    def done():
        with contextlib.suppress(OSError):
            (box / ".aib/sandboxes/bb/ctl").write_text(verb)
            return True

    wait_for(f"{verb} to be taken", done, 30)


def fill(box, text):
    """Every file, written in the container: as long as before, so that only its bytes tell."""
    line = f"cd /workspace; i=0; while [ $i -lt {FILES} ]; do printf %06d-%06d {text} $i >f$i; i=$((i+1)); done"
    p = box.exec("sh", "-c", line, cwd="bb", timeout=60)
    assert p.returncode == 0, p.stderr


def content(text, i):
    return f"{text:06}-{i:06}".encode()


def look(fd):
    """(what pread answers, seconds)"""
    start = time.monotonic()
    try:
        answer = os.pread(fd, 64, 0)
    except OSError as e:
        answer = e.errno
    return answer, time.monotonic() - start


def look_all(pool, fds, text, defined):
    """The open handles' answers are right; the longest took so many seconds."""
    answers = list(pool.map(look, fds))
    for i, (answer, _) in enumerate(answers):
        assert answer == content(text, i) or answer in defined, (i, answer)
    longest = max(seconds for _, seconds in answers)
    assert longest < CALL * SLOW
    return longest


def act(engine, box, name, action):
    if action in ("stop", "restart"):
        ctl(box, action)
    elif action == "remove":
        engine.docker("rm", "-f", name)
    else:
        engine.docker(action, name)
    before = {"stop": "exited", "kill": "exited", "pause": "paused"}
    if action in before:
        wait_for(action, lambda: engine.inspect(name)["State"]["Status"] == before[action], 30)


def again(box, action):
    """It runs, and its files go over the guest. An engine that is too busy to answer in time is asked again."""
    verb = "unpause" if action == "pause" else "start"
    ctl(box, verb)
    seen = {}

    def runs():
        try:
            os.stat(box / "bb/tmp")
            seen.pop("error", None)
        except OSError as e:
            seen["error"] = str(e)
        seen.update(status(box))
        if seen["state"] != "running" and "no answer in time" in seen.get("error", ""):
            ctl(box, verb)
        return seen["state"] == "running" and seen["transport"] == "guest"

    try:
        wait_for("the container to be used again", runs, 60)
    except AssertionError as e:
        raise AssertionError(f"{e}: {seen}") from None


def one_round(engine, box, pool, number, action):
    name = status(box)["container"]
    fill(box, 2 * number)
    fds = [os.open(box / f"bb/workspace/f{i}", os.O_RDWR) for i in range(FILES)]
    try:
        act(engine, box, name, action)
        longest = look_all(pool, fds, 2 * number, {errno.EIO, errno.ETIMEDOUT})
        again(box, action)
        fill(box, 2 * number + 1)
        for i in range(FILES):
            assert (box / f"bb/workspace/f{i}").read_bytes() == content(2 * number + 1, i), i
        for fd in fds:  # its name was looked up: the file of before, if it is another, is EIO
            answer, seconds = look(fd)
            longest = max(longest, seconds)
            same = action == "pause"  # it is the same file still
            allowed = {content(2 * number + 1, fds.index(fd)), errno.EIO} if same else {errno.EIO}
            assert answer in allowed, answer
    finally:
        for fd in fds:
            with contextlib.suppress(OSError):
                os.close(fd)
    return longest


@pytest.mark.timeout(3600 if LONG else 120)
@pytest.mark.parametrize("way", ["direct", "stream"])
def test_open_files_of_a_container_whose_life_changes(engine, mount, way):
    box = mount(f"/bb=docker:{IMAGE},guest={way},timeout=3s", options="deadline=3s")
    again(box, "start")
    assert status(box)["transport_way"].startswith(way)
    begun, longest = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(FILES) as pool:
        for number in range(ROUNDS):
            action = ACTIONS[number % len(ACTIONS)]
            took = one_round(engine, box, pool, number, action)
            longest = max(longest, took)
            print(f"round {number} {action}: longest call {took:.2f} s")
    print(f"{way}: {ROUNDS} rounds in {time.monotonic() - begun:.0f} s, longest call {longest:.2f} s")
