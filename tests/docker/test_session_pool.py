"""Sessions of a pool of engines, one of which is another machine's (a dockerd of its own, over TLS): spread over
both, each with its workspace where it is, in a volume of the engine, which lasts as a directory here does."""

import contextlib
import json
import os
import pathlib
import signal
import time

import harness
import pytest
from test_sessions import IMAGE, NOBODY, as_user, kill, session


class Pool:
    """Both engines with the containers and volumes of one workspace root, which are removed at the end."""

    def __init__(self, root, engine, tls):
        self.root = root
        self.engines = {"one": engine, "two": tls}
        self.hosts = {"one": {"host": engine.host}, "two": {"host": tls.host, "cert": tls.cert("client")}}

    def config(self, **options):
        options = {"type": "sessions", "image": IMAGE, "workspace_root": str(self.root), "engines": "one,two",
                   "cleanup_interval": "1s", "timeout": "4s", **options}
        return {"engines": self.hosts, "routes": {"/sessions": {k: v for k, v in options.items() if v}}}

    def label(self):
        file = self.root / ".root"
        return f"label=aib.root={file.read_text()}" if file.exists() else "label=aib.root=none"

    def containers(self, name):
        lines = self.engines[name].docker("ps", "-a", "--filter", self.label(), "--format",
                                          '{{.Label "aib.session"}} {{.State}}').stdout.splitlines()
        return dict(line.split() for line in lines)

    def volumes(self, name):
        return self.engines[name].docker("volume", "ls", "-q", "--filter", self.label()).stdout.split()

    def end(self):
        left = {}
        for name, engine in self.engines.items():
            for c in engine.docker("ps", "-aq", "--filter", self.label()).stdout.split():
                engine.docker("rm", "-f", c)
            left[name] = self.volumes(name)
            for v in left[name]:
                engine.docker("volume", "rm", v)
        return left


@pytest.fixture
def pool(world, engine, tls):
    """A Pool; a test removes the workspaces that it made."""
    pool = Pool(world.dir / "root", engine, tls)
    yield pool
    for m in world.mounts:
        assert not m.end()
    left = pool.end()
    assert not any(left.values()), f"volumes left: {left}"


def placed(pool, name):
    return json.loads((pool.root / name / "session.json").read_text())["docker"]["engine"]


def remove_all(m, *names):
    for name in names:
        session(m, "rm", "--workspace", name)


@contextlib.contextmanager
def stopped(tls):
    pid = int(pathlib.Path(tls.engine, "pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def remount(m, config, options=None):
    kill(m)
    return harness.Mount(m.world, (), config=config, options=options, path=m.path)


def test_a_volume_here_is_a_workspace_as_a_directory_is(mount, pool):
    m = mount(config=pool.config(engines=None, engine="one", workspace="volume"))
    where = m / "sessions/a"
    where.mkdir()
    assert os.listdir(m / "sessions") == ["a"] and not pool.containers("one") and not pool.volumes("one")
    assert where.stat().st_mode & 0o7777 == 0o700
    (where / "in").write_text("from the mount\n")
    assert pool.containers("one") == {"a": "created"}
    p = m.exec("sh", "-c", "cat in; echo from the sandbox > out; mkdir d; pwd", cwd="sessions/a")
    assert p.stdout == f"from the mount\n{where}\n", p
    assert (where / "out").read_text() == "from the sandbox\n"
    (where / "d/f").write_text("1")
    assert m.exec("--sandbox", "a", "cat", "/workspace/d/f").stdout == "1"
    assert pool.volumes("one") == [f"aib-w-{(pool.root / '.root').read_text()}-a"]
    status = (m / ".aib/sessions/a/status").read_text().splitlines()
    assert f"workspace volume {pool.volumes('one')[0]} on one" in status and "engine one" in status
    assert not (pool.root / "a/workspace").exists()
    assert os.path.samefile(m / ".aib/sessions/a/workspace", where)
    assert session(m, "get", "a").stdout == f"{where}\n"
    with pytest.raises(OSError, match="not empty"):
        where.rmdir()
    remove_all(m, "a")
    assert not (pool.root / "a").exists() and not pool.volumes("one") and not pool.containers("one")
