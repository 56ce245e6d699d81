"""Connections to the guest of a container of a real engine: guest_test.c has the other half."""

import os
import subprocess
import time

import pytest

from harness import BIN, BUILD, SLOW, wait_for

IMAGE = "aib-test:busybox"

pytestmark = pytest.mark.usefixtures("engine")


def start(case, **env):
    env = {**os.environ, "AIB_TEST_GUEST": str(BIN / "aib-guest"), **env}
    return subprocess.Popen(
        [BUILD / "tests/docker/guest_test", case],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def end(p):
    out, errors = p.communicate("", timeout=60 * SLOW)
    assert p.returncode == 0, out + errors
    return out


def reach(p, word):
    line = p.stdout.readline()
    assert line == f"{word}\n", line + p.stderr.read()


def go_on(p):
    p.stdin.write("\n")
    p.stdin.flush()


def servers(engine, name):
    """Processes of the guest in a container."""
    return [pid for pid, line in engine.processes(name).items() if "aib-guest" in line and " init" not in line]


both_ways = pytest.mark.parametrize("way", ["stream", "direct"])


@both_ways
@pytest.mark.parametrize("image", [IMAGE, "aib-test:empty"])
def test_files_of_a_container_of_ours(image, way):
    end(start("files", AIB_TEST_IMAGE=image, AIB_TEST_WAY=way))


@both_ways
def test_a_readonly_root_of_another_user(engine, container, way):
    # The guest cannot be put into such a container, but bound in.
    name = container(flags=(
        "--read-only", "--tmpfs", "/tmp", "--user", "1000:1000", "--cap-drop", "ALL",
        "-v", f"{BIN / 'aib-guest'}:/.aib-guest:ro",
    ))  # fmt: skip
    end(start("readonly", AIB_TEST_CONTAINER=name, AIB_TEST_WAY=way))
    wait_for("the guest's end", lambda: not servers(engine, name))


@both_ways
def test_a_killed_guest_is_an_error_at_once_and_comes_back(engine, container, way):
    name = container()
    p = start("killed", AIB_TEST_CONTAINER=name, AIB_TEST_WAY=way)
    reach(p, "kill it")
    (pid,) = servers(engine, name)
    os.kill(pid, 9)
    go_on(p)
    reach(p, "closed")
    wait_for("the guest's end", lambda: not servers(engine, name))
    go_on(p)
    end(p)


def test_what_a_guest_says_instead_of_an_answer_is_the_error(engine, container, world):
    name = container()
    p = start("no_guest", AIB_TEST_CONTAINER=name)
    reach(p, "replace it")
    script = world.dir / "script"
    script.write_text("#!/bin/sh\necho no such luck >&2; exit 3\n")
    script.chmod(0o755)
    engine.docker("cp", script, f"{name}:/.aib-guest")
    go_on(p)
    out = end(p)
    assert engine.inspect(name)["Id"] in out and "no such luck" in out


def test_open_files_come_as_descriptors_of_the_containers_file_systems(engine, container):
    name = container(flags=("--tmpfs", "/tmp", "-v", "/volume"))
    engine.docker("exec", name, "mkdir", "-p", "/workspace", "/later")
    p = start("direct", AIB_TEST_CONTAINER=name)
    reach(p, "mount it")
    pid = engine.inspect(name)["State"]["Pid"]
    subprocess.run(["nsenter", "-t", str(pid), "-m", "mount", "-t", "tmpfs", "t", "/later"], check=True)
    time.sleep(1.1)  # as long as a mount may be new
    go_on(p)
    end(p)
    wait_for("the guest's end", lambda: not servers(engine, name))


def test_where_the_way_is_not_direct_it_says_why(engine, container, world):
    name = container()
    assert end(start("way", AIB_TEST_CONTAINER=name, AIB_TEST_WAY="stream")) == "stream (set so)\n"
    assert end(start("way", AIB_TEST_CONTAINER=name)) == "direct\n"
    # Who lacks a capability of the container and may not trace.
    for way, out in (("auto", "stream (pidfd_getfd: "), ("direct", "no: container ")):
        env = {**os.environ, "AIB_TEST_GUEST": str(BIN / "aib-guest"), "AIB_TEST_CONTAINER": name}
        p = subprocess.run(
            ["setpriv", "--bounding-set=-sys_ptrace,-setfcap", BUILD / "tests/docker/guest_test", "way"],
            env={**env, "AIB_TEST_WAY": way}, capture_output=True, text=True, timeout=60 * SLOW,
        )  # fmt: skip
        assert p.returncode == 0 and p.stdout.startswith(out), p.stdout + p.stderr
        assert "Operation not permitted" in p.stdout


def processes(engine, name):
    lines = engine.docker("top", name, "-eo", "pid,stat,args").stdout.splitlines()[1:]
    return [line.split(None, 2)[1:] for line in lines]


def test_commands_start_through_serve_and_outlive_it(engine, container):
    name = container()
    p = start("exec", AIB_TEST_CONTAINER=name, AIB_TEST_WAY="direct")
    files = engine.docker("exec", name, "sh", "-c", "umask; ulimit -Sn").stdout
    assert "".join(p.stdout.readline() for _ in range(3)) == "b /\n" + files
    reach(p, "look")
    wait_for("an end", lambda: not any("sleep 1000" in args for _, args in processes(engine, name)))
    assert any("sleep 2000" in args for _, args in processes(engine, name))
    assert not any(stat.startswith("Z") for stat, _ in processes(engine, name))
    go_on(p)
    reach(p, "closed")
    wait_for("the guest's end", lambda: not any(" serve" in args for _, args in processes(engine, name)))
    go_on(p)
    _, errors = p.communicate("", timeout=60 * SLOW)
    print(errors)
    assert p.returncode == 0, errors


def test_serve_ends_with_its_input_and_prints_only_frames(engine, container):
    name = container(flags=("-v", f"{BIN / 'aib-guest'}:/g:ro"))
    for user in ("0:0", "1000:1000"):
        p = engine.docker("exec", "-i", "-u", user, name, "/g", "serve", check=False)
        assert (p.returncode, p.stdout, p.stderr) == (0, "", "")
        p = engine.docker("exec", "-i", "-u", user, name, "/g", "serve", check=False, input="x" * 64)
        assert p.returncode == 1 and p.stdout == "" and "ended" in p.stderr
