"""Fixtures: see harness.py. Each test has a world of its own, and fails if it leaves anything there:
a process, a mount, a file, a container, a sanitizer's report."""

import os
import signal
import threading

import pytest

import faults
import harness
import remote

TIMEOUT = 120  # seconds a test may take; more with @pytest.mark.timeout(SECONDS)


def pytest_configure(config):
    config.addinivalue_line("markers", "timeout(seconds): how long this test may take")
    config.addinivalue_line("markers", "alone: not beside other tests")
    if not (harness.BIN / "aibfs").exists():
        pytest.exit(f"no programs in {harness.BIN}: run scripts/setup", 2)
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.exit("/dev/fuse cannot be opened: these tests need it (modprobe fuse; or root)", 2)
    # A shell's background jobs ignore these, and so would all that the tests start and signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def world(request, monkeypatch):
    """The test's private world, as environment too; checked for leaks at its end."""
    world = harness.World()
    for name, value in world.env.items():
        monkeypatch.setenv(name, value)
    for name in ("AIB_MOUNT", "AIB_SANDBOX"):
        monkeypatch.delenv(name, raising=False)
    marker = request.node.get_closest_marker("timeout")
    seconds = (marker.args[0] if marker else TIMEOUT) * harness.SLOW

    def late(*_):
        raise TimeoutError(f"the test took more than {seconds} s")

    # The alarm ends Python code; a call that hangs in a mount ends once the daemon is gone.
    old = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    killer = threading.Timer(seconds + 3, world.kill)
    killer.daemon = True
    killer.start()
    yield world
    signal.alarm(0)
    signal.signal(signal.SIGALRM, old)
    killer.cancel()
    logs = "".join(f"{m.log.name}: {m.log.read_text(errors='replace')}" for m in world.mounts)
    wrong = world.close()
    if logs:
        print(f"output of aib mount:\n{logs}")
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def mount(world):
    """mount(*routes, options=, config=, flags=) → harness.Mount"""

    def make(*routes, **kw):
        return harness.Mount(world, routes, **kw)

    return make


@pytest.fixture
def fault(world, monkeypatch):
    """Of the mounts that are made while LD_PRELOAD is there."""
    fault = faults.Fault(world.dir / "fail")
    monkeypatch.setenv("AIB_FAIL", str(fault.path))
    monkeypatch.setenv("LD_PRELOAD", str(harness.BUILD / "tests/mount/libfail.so"))
    return fault


@pytest.fixture(scope="session")
def shared_engine():
    engine = harness.Engine()
    yield engine
    engine.close()


@pytest.fixture
def engine(shared_engine, world, monkeypatch):
    """A real engine with the images aib-test:busybox, :python and :empty; DOCKER_HOST names it."""
    monkeypatch.setenv("DOCKER_HOST", shared_engine.host)
    before = set(shared_engine.containers())
    volumes = set(shared_engine.volumes())
    yield shared_engine
    wrong = [w for m in reversed(world.mounts) for w in m.end()]
    for container in set(shared_engine.containers()) - before:
        about = shared_engine.inspect(container, missing_ok=True)
        if not about:  # an engine lists one for a moment while it removes it
            continue
        labels = about["Config"]["Labels"] or {}
        ours = shared_engine.dir or str(world.dir) in str(about) or world.id in about["Name"]
        if ours and (labels.get("test.world") != world.id):
            wrong.append(f"container left: {about['Name']} {labels}")
        if ours:
            shared_engine.docker("rm", "-f", container)
    for volume in set(shared_engine.volumes()) - volumes if shared_engine.dir else ():
        wrong.append(f"volume left: {volume}")
        shared_engine.docker("volume", "rm", volume)
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def container(engine, world):
    """container(image, *command, flags=()) → the name of a running container of the test's own."""
    count = 0

    def make(image="aib-test:busybox", *command, flags=()):
        nonlocal count
        count += 1
        name = f"{world.id}-{count}"
        engine.docker(
            "run", "-d", "--name", name, "--label", f"test.world={world.id}", "--network", "none",
            *flags, image, *(command or ("sleep", "3600")),
        )  # fmt: skip
        return name

    return make


@pytest.fixture
def registry(engine, world):
    registry = harness.Registry(engine, world.dir / "state")
    yield registry
    registry.close()


@pytest.fixture
def sshd(engine, world):
    """A real sshd before the engine (remote.Sshd)."""
    sshd = remote.Sshd(world.dir / "sshd", engine)
    yield sshd
    sshd.close()


@pytest.fixture(scope="session")
def tls():
    """A dockerd of its own that wants TLS and client certificates on TCP (remote.TlsEngine)."""
    tls = remote.TlsEngine()
    yield tls
    tls.close()
