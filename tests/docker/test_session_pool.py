"""Sessions of a pool of engines, one of which is another machine's (a dockerd of its own, over TLS): spread over
both, each with its workspace where it is, in a volume of the engine, which lasts as a directory here does."""

import contextlib
import json
import os
import time

import harness
import pytest
from test_engines import stopped
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
        return {"engines": dict(self.hosts), "routes": {"/sessions": {k: v for k, v in options.items() if v}}}

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


def test_sessions_are_spread_and_their_files_are_where_they_are(mount, pool):
    m = mount(config=pool.config())
    for name in "abcd":
        (m / "sessions" / name).mkdir()
        p = m.exec("sh", "-c", f"echo {name} > own; sleep 1; echo 1", cwd=f"sessions/{name}")
        assert p.stdout == "1\n", p
    by_engine = {name: sorted(s for s in "abcd" if placed(pool, s) == name) for name in ("one", "two")}
    assert [len(v) for v in by_engine.values()] == [2, 2], by_engine
    for engine, names in by_engine.items():
        assert pool.containers(engine) == dict.fromkeys(names, "running")
    # Here a directory, elsewhere a volume.
    assert not pool.volumes("one") and len(pool.volumes("two")) == 2
    for name in "abcd":
        assert (m / "sessions" / name / "own").read_text() == f"{name}\n"
        assert (pool.root / name / "workspace").exists() == (placed(pool, name) == "one")
    assert sorted(os.listdir(m / "sessions")) == list("abcd")
    remove_all(m, *"abcd")
    assert not pool.volumes("two")


def test_a_runtime_is_built_on_each_engine(mount, pool):
    config = pool.config(image=None, runtime="made")
    config["runtimes"] = {"made": {"base_image": IMAGE, "setup_commands": ["echo made > /made"]}}
    try:
        m = mount(config=config, options="pull=never,build_network=host")
        for name in "ab":
            (m / "sessions" / name).mkdir()
            p = m.exec("cat", "/made", cwd=f"sessions/{name}")
            assert p.stdout == "made\n", p
        assert {placed(pool, name) for name in "ab"} == {"one", "two"}
        remove_all(m, *"ab")
        assert not m.end()
    finally:
        for engine in pool.engines.values():
            for image in engine.docker("images", "-q", "--filter", "label=aib.runtime=made").stdout.split():
                engine.docker("rmi", "-f", image)


def on_two(m, pool, name="far"):
    """A session on the engine elsewhere."""
    session(m, "get", name, "--engine", "two")
    assert placed(pool, name) == "two"
    return m / "sessions" / name


def test_a_volume_outlasts_sleep_a_killed_daemon_and_a_release(mount, pool):
    config = pool.config(idle_timeout="2s")
    m = mount(config=config)
    where = on_two(m, pool)
    data = os.urandom(3 << 20)
    (where / "data").write_bytes(data)
    m.exec("sh", "-c", "cat data > copy; mkdir -p d/e; echo 1 > d/e/f", cwd="sessions/far", check=True)
    harness.wait_for("sleep", lambda: pool.containers("two") == {"far": "exited"}, 60)
    assert (where / "copy").read_bytes() == data and (where / "d/e/f").read_text() == "1\n"
    (where / "asleep").write_text("2\n")
    p = harness.run("find", where, "-type", "f")
    assert len(p.stdout.splitlines()) == 4 and pool.containers("two") == {"far": "exited"}
    assert m.exec("cat", "asleep", "d/e/f", cwd="sessions/far").stdout == "2\n1\n"
    m = remount(m, config)
    assert (where / "copy").read_bytes() == data
    assert m.exec("cat", "asleep", cwd="sessions/far").stdout == "2\n"
    for _ in range(3):  # the pool would have chosen the other one by now
        session(m, "release", "far")
        assert not os.listdir(m / "sessions") and len(pool.volumes("two")) == 1
        (m / "sessions/far").mkdir()
        assert placed(pool, "far") == "two" and (where / "asleep").read_text() == "2\n"
    p = session(m, "release", "far")
    p = session(m, "get", "far", "--engine", "one", check=False)
    assert p.returncode == 1 and "on engine two" in p.stderr, p
    harness.wait_for("the container's end", lambda: not pool.containers("two"))
    session(m, "cleanup")
    harness.run(harness.program("aib"), "prune", check=False)
    assert len(pool.volumes("two")) == 1
    remove_all(m, "far")
    assert not pool.volumes("two") and not (pool.root / "far").exists()


@pytest.mark.parametrize("running", [True, False])
def test_names_and_attributes_at_the_root_of_a_volume(mount, pool, running):
    m = mount(config=pool.config())
    where = on_two(m, pool)
    if running:
        m.exec("true", cwd="sessions/far", check=True)
    (where / "d").mkdir()
    (where / "f").write_text("1")
    os.rename(where / "f", where / "d/g")
    os.rename(where / "d/g", where / "h")
    os.link(where / "h", where / "l")
    os.symlink("h", where / "s")
    os.chmod(where, 0o750)
    os.utime(where, (1000, 1000))
    st = where.stat()
    assert (st.st_mode & 0o7777, st.st_mtime) == (0o750, 1000)
    assert sorted(os.listdir(where)) == ["d", "h", "l", "s"]
    by_name = {e.name: e.inode() for e in os.scandir(m / "sessions")}
    assert by_name["far"] == st.st_ino == os.stat(where).st_ino
    assert (where / "s").read_text() == "1" and os.statvfs(where).f_blocks > 0
    (where / "l").unlink()
    (where / "d").rmdir()
    assert m.exec("sh", "-c", "echo *; stat -c %a .", cwd="sessions/far").stdout == "h s\n750\n"
    with pytest.raises(OSError) as e:
        os.rename(where / "h", m / "sessions/h")
    assert e.value.errno in (16, 18), e.value
    remove_all(m, "far")


@pytest.mark.parametrize("action", ["remove", "pause"])
def test_other_ways_to_sleep(mount, pool, action):
    m = mount(config=pool.config(idle_timeout="2s", idle_action=action))
    where = on_two(m, pool)
    m.exec("sh", "-c", "echo 1 > f", cwd="sessions/far", check=True)
    assert (where / "f").read_text() == "1\n"
    asleep = {} if action == "remove" else {"far": "paused"}
    harness.wait_for(action, lambda: pool.containers("two") == asleep, 60)
    if action == "pause":
        assert (where / "f").read_text() == "1\n" and pool.containers("two") == asleep
    if action == "remove":
        harness.wait_for("its files", lambda: (where / "f").read_text() == "1\n")
        assert pool.containers("two") == {"far": "created"}
    assert m.exec("cat", "f", cwd="sessions/far").stdout == "1\n"
    remove_all(m, "far")


def test_a_session_elsewhere_is_its_owners(mount, pool):
    m = mount(config=pool.config())
    session(m, "get", "theirs", "--engine", "two", "--owner", "nobody")
    where = m / "sessions/theirs"
    p = as_user(NOBODY, "sh", "-c", f"cd {where} && echo 1 > f && mkdir d && {harness.program('aib-exec')} "
                                    "sh -c 'id -u; echo 2 > g; echo $HOME; stat -c %u . f d g'")
    assert p.stdout == "65534\n/home/aib\n65534\n65534\n65534\n65534\n", p
    assert {(where / name).stat().st_uid for name in (".", "f", "d", "g")} == {NOBODY}
    assert as_user(1234, "ls", where).returncode != 0
    p = as_user(1234, harness.program("aib-exec"), "--sandbox", "theirs", "true", cwd=m)
    assert p.returncode == 125 and "another user's" in p.stderr
    with pytest.raises(OSError):
        (m / ".aib/sessions/theirs/owner").write_text("root")
    assert "cannot be given" in (m / ".aib/sessions/theirs/error").read_text()
    remove_all(m, "theirs")


def test_links_of_a_volume_stay_in_the_session(mount, pool):
    m = mount(config=pool.config())
    where, outside = on_two(m, pool), f"{m}/.aib/sessions/far/root"
    m.exec("sh", "-c", "mkdir d; echo 1 > d/f; ln -s /etc/passwd abs; ln -s ../../etc/passwd d/up; "
                       "ln -s ../f d/beside; ln -s d/f plain; echo 2 > f; ln -s ../other/secret out",
           cwd="sessions/far", check=True)  # fmt: skip
    for _ in range(2):  # over the guest, and by archives
        assert os.readlink(where / "plain") == "d/f" and os.readlink(where / "d/beside") == "../f"
        assert (where / "d/beside").read_text() == "2\n"
        assert os.readlink(where / "abs") == os.readlink(where / "d/up") == outside + "/etc/passwd"
        assert os.readlink(where / "out") == outside + "/other/secret"
        (m / ".aib/sessions/far/ctl").write_text("stop")
        harness.wait_for("stop", lambda: pool.containers("two") == {"far": "exited"})
    remove_all(m, "far")


def test_an_engine_that_hangs_fails_its_own_sessions_alone(mount, pool, tls):
    m = mount(config=pool.config(), options="deadline=8s")
    session(m, "get", "near", "--engine", "one")
    where = on_two(m, pool)
    new = on_two(m, pool, "new")  # nobody has looked into it
    for name in ("near", "far"):
        (m / "sessions" / name / "f").write_text(name)
        assert m.exec("cat", "f", cwd=f"sessions/{name}").stdout == name
    with stopped(tls):
        begin = time.monotonic()
        assert sorted(os.listdir(m / "sessions")) == ["far", "near", "new"]
        for i in range(3):
            (m / "sessions/near/f").write_text(str(i))
            assert m.exec("cat", "f", cwd="sessions/near").stdout == str(i)
        session(m, "get", "more")
        assert placed(pool, "more") == "one" or time.monotonic() - begin < 8
        for path in (where, new):
            with pytest.raises(OSError) as e:
                os.listdir(path)
            assert e.value.errno in (5, 110), e.value
        error = (m / ".aib/sessions/new/error").read_text()
        assert "volume" in error and "engine two" in error and "answers" in error
        p = m.exec("true", cwd="sessions/new")
        assert p.returncode == 125 and tls.host in p.stderr, p
        assert "engine two" in (m / ".aib/log").read_text()
        p = session(m, "rm", "--workspace", "near")  # it waits for its own engine alone
    harness.wait_for("the files", lambda: read(where / "f") == "far", 60)
    (new / "f").write_text("new")
    assert m.exec("cat", "f", cwd="sessions/new").stdout == "new"
    assert not (m / ".aib/sessions/new/error").read_text()
    remove_all(m, "far", "new", "more")


def read(path):
    with contextlib.suppress(OSError):
        return path.read_text()


def test_sessions_are_found_where_their_engine_is_down_at_the_mount(mount, pool, tls):
    config = pool.config()
    m = mount(config=config)
    where = on_two(m, pool)
    (where / "f").write_text("1")
    m.umount()
    pool.hosts["two"] = {"host": "tcp://127.0.0.1:1", "cert": tls.cert("client")}
    down = mount(config=pool.config())
    assert os.listdir(down / "sessions") == ["far"] and (down / "sessions/far").is_dir()
    with pytest.raises(OSError) as e:
        os.listdir(down / "sessions/far")
    assert e.value.errno == 5
    error = (down / ".aib/sessions/far/error").read_text()
    assert "engine two" in error and "tcp://127.0.0.1:1" in error
    for name in "ab":
        (down / "sessions" / name).mkdir()
        assert placed(pool, name) == "one"
        assert down.exec("echo", "1", cwd=f"sessions/{name}").stdout == "1\n"
    p = session(down, "rm", "--workspace", "far", check=False)
    assert p.returncode == 1 and "tcp://127.0.0.1:1" in p.stderr
    session(down, "rm", "--workspace", "a")
    session(down, "rm", "--workspace", "b")
    down.umount()
    m = mount(config=config)
    (m / "sessions/far").mkdir(exist_ok=True)
    assert (m / "sessions/far/f").read_text() == "1"
    remove_all(m, "far")


def test_a_volume_of_anothers_is_not_taken(mount, pool):
    m = mount(config=pool.config(engines=None, engine="one", workspace="volume"))
    name = f"aib-w-{(pool.root / '.root').read_text()}-a"
    pool.engines["one"].docker("volume", "create", "--label", "aib.root=another", name)
    (m / "sessions/a").mkdir()
    with pytest.raises(OSError):
        os.listdir(m / "sessions/a")
    assert "another's" in (m / ".aib/sessions/a/error").read_text()
    pool.engines["one"].docker("volume", "rm", name)
    assert os.listdir(m / "sessions/a") == []
    remove_all(m, "a")


def test_a_route_that_is_one_session_elsewhere(mount, pool):
    config = pool.config(engines=None)
    config["routes"] = {"/": {**config["routes"]["/sessions"], "type": "session", "name": "alice", "engine": "two"}}
    m = mount(config=config)
    (m / "f").write_text("1\n")
    p = m.exec("sh", "-c", "cat f; echo 2 > g; pwd")
    assert p.stdout == f"1\n{m.path}\n", p
    assert (m / "g").read_text() == "2\n" and sorted(os.listdir(m)) == ["f", "g"]
    remove_all(m, "alice")


def test_a_directory_here_does_not_become_a_volume(mount, pool):
    m = mount(config=pool.config(engines=None, engine="one"))
    (m / "sessions/a").mkdir()
    (m / "sessions/a/f").write_text("1")
    session(m, "release", "a")
    m.umount()
    m = mount(config=pool.config(engines=None, engine="two"))
    p = session(m, "get", "a", check=False)
    assert p.returncode == 1 and "move it away" in p.stderr, p
    assert (pool.root / "a/workspace/f").read_text() == "1"
