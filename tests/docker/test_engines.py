"""Several engines by name in one mount: each route has its own, and one that fails is nobody else's
trouble. The second is a dockerd of its own, over TLS."""

import contextlib
import os
import pathlib
import signal
import threading

import pytest
from harness import program, run, wait_for


def config(engine, tls, **more):
    return {
        "engines": {"one": {"host": engine.host}, "two": {"host": tls.host, "cert": tls.cert("client")}},
        "routes": {
            f"/{name}": {"type": "docker", "image": "aib-test:busybox", "engine": name, **more}
            for name in ("one", "two")
        },
    }


@contextlib.contextmanager
def stopped(tls):
    pid = int(pathlib.Path(tls.engine, "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_each_route_has_its_engine(mount, engine, tls):
    m = mount(config=config(engine, tls))
    for name, host in (("one", engine.host), ("two", tls.host)):
        (m / name / "root/a").write_text(name)
        assert m.exec("cat", "/root/a", cwd=name).stdout == name
        assert f"engine {host}\n" in (m / f".aib/sandboxes/{name}/status").read_text()
    assert len(tls.docker("ps", "-q").stdout.split()) == 1
    (m / "one/root/b").write_text("b")
    run("mv", m / "one/root/b", m / "two/root/b")
    assert m.exec("cat", "/root/b", cwd="two").stdout == "b"


@pytest.mark.parametrize("transport", ["guest", "archive"])
def test_engine_that_is_stopped_delays_its_own_route_only(mount, engine, tls, transport):
    m = mount(config=config(engine, tls, transport=transport, timeout="5s"), options="deadline=8s")
    for name in ("one", "two"):
        (m / name / "root/a").write_text(name)
    ended, errors = threading.Event(), []

    def wait():
        try:
            (m / "two/root/b").write_text("b")
        except OSError as e:
            errors.append(e)
        ended.set()

    with stopped(tls):
        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        for i in range(20):  # by archives each takes a second on a machine that is busy
            (m / "one/root/b").write_text(f"{i}")
            assert (m / "one/root/b").read_text() == f"{i}"
            if ended.is_set():
                break
        assert i > 1
        assert ended.wait(60) and errors
    thread.join(10)

    def writes():
        with contextlib.suppress(OSError):
            return (m / "two/root/b").write_text("again")

    wait_for("the engine to be used again", writes, timeout=40)
    assert (m / "two/root/b").read_text() == "again"


def test_engine_that_is_dead_is_named(mount, engine, tls):
    with_dead = config(engine, tls)
    with_dead["engines"]["two"] = {"host": "unix:///nonexistent/docker.sock"}
    with pytest.raises(AssertionError) as e:
        mount(config=with_dead)
    assert "/two" in str(e.value) and "unix:///nonexistent/docker.sock" in str(e.value)
    with_dead["routes"]["/two"]["nofail"] = True
    m = mount(config=with_dead)
    (m / "one/root/a").write_text("a")
    assert m.exec("cat", "/root/a", cwd="one").stdout == "a"
    with pytest.raises(OSError):
        os.listdir(m / "two")


def test_doctor_looks_at_every_engine(engine, tls, world):
    import json

    about = config(engine, tls)
    about["engines"]["lost"] = {"host": "unix:///nonexistent/docker.sock"}
    about["engines"]["strange"] = {"host": tls.host, "cert": tls.cert("stranger")}
    file = world.dir / "src/c.json"
    file.write_text(json.dumps(about))
    p = run(program("aib"), "doctor", "--json", "-c", file, check=False)
    assert p.returncode == 1
    said = {}
    for line in json.loads(p.stdout)["checks"]:
        said.setdefault(line["check"], (line["level"], line["text"]))
    assert said["engine one"][0] == said["engine two"][0] == "ok"
    texts = [line["text"] for line in json.loads(p.stdout)["checks"] if line["check"] == "engine one"]
    assert any("disk=" in text for text in texts)
    assert said["engine lost"][0] == "error" and "is Docker running" in said["engine lost"][1]
    assert said["engine strange"][0] == "error" and "CA" in said["engine strange"][1]


@pytest.mark.parametrize(
    "engines, route, says",
    [
        ({"local": {"host": "unix:///x"}}, "locl", 'engine "locl" is not in "engines" of the config (did you mean "local"?)'),
        ({"local": {"hst": "unix:///x"}}, "local", 'engines: local: unknown key "hst" (did you mean "host"?)'),
        ({"local": {"host": "ftp://x"}}, "local", "engines: local: "),
        ({"local": {"host": "ssh://-oProxyCommand=x"}}, "local", "its host is not a name"),
        ({"local": {"host": "unix:///x", "cert": "/c"}}, "local", '"cert" is not for unix:///x'),
        ({"local": {}}, "local", '"host" is missing'),
    ],
)
def test_config_check_names_what_is_wrong(world, engines, route, says):
    import json

    file = world.dir / "src/c.json"
    file.write_text(json.dumps({"engines": engines, "routes": {"/py": {"type": "docker", "image": "x", "engine": route}}}))
    p = run(program("aib"), "config", "check", file, check=False)
    assert p.returncode != 0 and says in p.stderr, p.stderr
