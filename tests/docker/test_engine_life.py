"""The engine is killed under a mount, and started again: what does not need it goes on, what does ends by its deadline
with a defined errno, and all of it works by itself once the engine answers. What was written stays."""

import contextlib
import errno
import os
import subprocess
import time

import pytest

import harness
from harness import SLOW, program, run, timed, wait_for

IMAGE = "aib-test:busybox"
ENGINE = harness.TOP / "scripts/engine"
DEADLINE = 4
START = 15
CALL = 2 * START + 2 * DEADLINE
DEFINED = {0, errno.EIO, errno.ETIMEDOUT, errno.EOPNOTSUPP}
ROUTES = {"direct": "guest=direct", "stream": "guest=stream", "archive": "transport=archive"}


class Own:
    def __init__(self, flags):
        env = {**os.environ, "AIB_ENGINE_FLAGS": flags}
        self.dir = run(ENGINE, "start", str(os.getpid()), env=env, timeout=300).stdout.strip()
        self.host = f"unix://{self.dir}/docker.sock"
        run(harness.TOP / "scripts/images", f"{IMAGE}=busybox", env={**os.environ, "DOCKER_HOST": self.host}, timeout=600)

    def kill(self):
        run(ENGINE, "kill", self.dir)

    def revive(self):
        run(ENGINE, "revive", self.dir, timeout=120)

    def close(self):
        run(ENGINE, "stop", self.dir, timeout=120)


@pytest.fixture(params=["", "--live-restore"], ids=["containers die with it", "containers outlive it"])
def own(request, world):
    own = Own(request.param)
    yield own
    for m in world.mounts:
        m.end()
    own.close()


@pytest.fixture
def stack(own):
    """What is closed before the mount ends; a file of a container that has gone is EIO then, too."""
    with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
        yield stack


def command(box, own, name):
    p = subprocess.run([program("aib-exec"), "--sandbox", name, "true"], cwd=box.path, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                       timeout=CALL * SLOW, check=False)  # fmt: skip
    assert p.returncode == 0 or (p.returncode == 125 and (name in p.stderr or own.host in p.stderr)), (p.returncode, p.stderr)
    return p.returncode


def calls(box, name, word):
    d = box / name / "root"
    answers = [timed(lambda: (d / word).write_text(word)), timed(lambda: (d / "kept").read_text()), timed(lambda: os.listdir(d))]
    for code, seconds in answers:
        assert code in DEFINED, errno.errorcode.get(code, code)
        assert seconds < CALL * SLOW
    return [code for code, _ in answers]


def works(box, own, name, word):
    d = box / name / "root"
    try:
        (d / word).write_text(word)
        return command(box, own, name) == 0 and (d / word).read_text() == word
    except OSError:
        return False


@pytest.mark.timeout(400)
def test_an_engine_that_is_killed_and_started_again(mount, own, stack):
    box = mount(
        *(f"/{name}=docker:{IMAGE},engine={own.host},{how},timeout={DEADLINE}s,start_timeout={START}s" for name, how in ROUTES.items()),
        "/m=memory", options=f"deadline={DEADLINE}s",
    )  # fmt: skip
    held = {}
    for name in ROUTES:
        (box / name / "root/kept").write_text(f"{name}, before")
        assert command(box, own, name) == 0
        held[name] = stack.enter_context(open(box / name / "root/kept", "rb", buffering=0))
    for round in range(2):
        own.kill()
        answers = {name: (calls(box, name, f"w{round}"), command(box, own, name)) for name in ROUTES}
        code, seconds = timed(lambda: (box / "m/x").write_text("x"))
        assert code == 0 and seconds < 1 * SLOW
        print(f"round {round}, killed: {answers}, memory {seconds:.3f} s")
        assert answers["archive"][1] == 125, "the engine is not needed"
        own.revive()
        start = time.monotonic()
        for name in ROUTES:
            wait_for(f"service of /{name}", lambda: works(box, own, name, f"again{round}"), 60)
            assert (box / name / "root/kept").read_text() == f"{name}, before"
        print(f"round {round}: all routes serve {time.monotonic() - start:.1f} s after it answers")
    for name, f in held.items():
        try:
            assert os.pread(f.fileno(), 100, 0) == f"{name}, before".encode()
        except OSError as e:
            assert e.errno == errno.EIO, name
