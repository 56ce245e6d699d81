"""The engine client (backends/docker/engine.h) by its test program: against a real engine,
from a real registry, and against engines that are not well. test_tls.py and test_ssh.py have the other
ways to an engine."""

import os
import pathlib

import fake_engine
import harness
import pytest

PROGRAM = harness.BUILD / "tests/docker/engine_test"
IMAGE = "aib-test:busybox"


def case(name, host="", *args, timeout=100, **env):
    env = {**os.environ, **env}
    p = harness.run(PROGRAM, name, host, *args, timeout=timeout, env=env, check=False)
    print(p.stdout, p.stderr)
    assert p.returncode == 0, p.stderr
    return p


REAL = [
    "ping_and_info", "container_life", "exec", "exec_stream", "archive", "readonly_root",
    "stat_is_fast", "cancel_and_deadline", "many_threads",
]  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_engine(engine, name):
    case(name, engine.host, IMAGE)


def test_names_survive_in_any_locale(engine):
    for locale in ("C", "C.UTF-8"):
        case("archive", engine.host, IMAGE, LC_ALL=locale, ENGINE_LOCALE="1")


def test_pull_from_a_registry(engine, registry):
    reference = registry.push(IMAGE, "aib-test-engine:pulled")
    assert "progress: " in case("pull", engine.host, IMAGE, reference).stderr
    engine.docker("rmi", reference)
    p = case("pull_fails", engine.host, IMAGE, f"{registry.address}/aib-test-engine:none")
    assert "No such file" in p.stderr and "aib-test-engine" in p.stderr


# ---- Engines that are not well ----


@pytest.fixture
def fake(world):
    engines = []

    def make(fault):
        engines.append(fake_engine.FakeEngine(world.dir / f"e{len(engines)}.sock", fault))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def show(engine, call=None, **env):
    env.setdefault("ENGINE_TIMEOUT_MS", "1000")
    name = "show_call" if call else "show_ping"
    error, ms, text = case(name, engine.host, "", call or "", **env).stdout.rstrip("\n").split(" ", 2)
    if error != "OK":
        assert engine.host in text or call, text
    return error, int(ms), text


@pytest.mark.parametrize(
    "fault, error, says",
    [
        ("garbage", "EIO", ""),
        ("bad_json", "EIO", "not JSON"),
        ("deep_json", "EIO", "not JSON"),
        ("short", "EIO", ""),
        ("huge_headers", "EIO", ""),
        ("endless_body", "EIO", "sane length"),
        ("error_500", "EIO", "it broke"),
        ("error_text", "EIO", "down for repair"),
        ("redirect", "EIO", "301"),
        ("closes", "EIO", ""),
        ("old", "EPROTONOSUPPORT", "1.20"),
        ("versions", "OK", ""),
        ("reuse", "OK", ""),
    ],
)
def test_answer_that_is_wrong(fake, fault, error, says):
    got, ms, text = show(fake(fault))
    assert got == error and says in text
    assert ms < 5000 * harness.SLOW


@pytest.mark.parametrize("fault", ["hang", "hang_ping"])
def test_engine_that_hangs_is_given_up(fake, fault):
    error, ms, _ = show(fake(fault))
    assert error == "ETIMEDOUT" and 900 <= ms < 2500 * harness.SLOW


def test_deadline_ends_an_engine_that_drips(fake):
    error, ms, _ = show(fake("drip"), ENGINE_DEADLINE_MS="1500")
    assert error == "ETIMEDOUT" and 1400 <= ms < 3000 * harness.SLOW


@pytest.mark.parametrize(
    "call, fault, error",
    [
        ("stat", "stat_good", "OK"),
        ("stat", "stat_none", "EIO"),
        ("stat", "stat_base64", "EIO"),
        ("stat", "stat_mode", "EIO"),
        ("stat", "stat_negative", "EIO"),
        ("stat", "stat_time", "EIO"),
        ("stat", "hang", "ETIMEDOUT"),
        ("get", "tar_good", "OK"),
        ("get", "tar_unended", "EIO"),
        ("get", "tar_cut", "EIO"),
        ("get", "tar_broken_off", "EIO"),
        ("get", "tar_garbage", "EIO"),
        ("get", "tar_gzip", "EIO"),
        ("get", "tar_empty", "EIO"),
        ("get", "tar_then_error", "EIO"),
        ("get", "hang", "ETIMEDOUT"),
        ("exec", "exec_good", "OK"),
        ("exec", "exec_raw", "OK"),
        ("exec", "exec_cut", "EIO"),
        ("exec", "exec_frames", "EIO"),
        ("exec", "exec_hang", "ETIMEDOUT"),
        ("exec", "garbage", "EIO"),
        ("pull", "pull_error", "ENOSPC"),
        ("pull", "pull_split", "OK"),
        ("pull", "pull_garbage", "EIO"),
        ("pull", "pull_long", "EIO"),
        ("pull", "hang", "ETIMEDOUT"),
    ],
)
def test_call_on_an_engine_that_is_not_well(fake, call, fault, error):
    got, ms, _ = show(fake(fault), call)
    assert got == error
    assert ms < 3000 * harness.SLOW


def test_credentials_are_sent_with_a_pull(fake, world):
    import base64
    import json

    config = pathlib.Path(world.dir) / "src/config.json"
    config.write_text('{"auths": {"https://index.docker.io/v1/": {"auth": "bWU6cHc="}}}')
    engine = fake("auth")
    assert show(engine, "pull", DOCKER_CONFIG=str(config.parent))[0] == "OK"
    sent = json.loads(base64.urlsafe_b64decode(engine.seen[0]))
    assert sent["username"] == "me" and sent["password"] == "pw"
