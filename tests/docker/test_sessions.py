"""Sessions on a real engine: made, used, put to sleep and woken, adopted, shared, kept apart."""

import concurrent.futures
import contextlib
import hashlib
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import pytest

import harness

NOBODY = 65534
IMAGE = "aib-test:busybox"


def states(engine, root):
    return {c["session"]: c["state"] for c in engine.sessions(root)}


def route(root, at="/sessions", **options):
    options = {"image": IMAGE, "workspace_root": root, "cleanup_interval": "1s", **options}
    return f"{at}=sessions," + ",".join(f"{k}={v}" for k, v in options.items())


def session(m, *argv, check=True, **kw):
    return harness.run(harness.program("aib"), "session", *argv, "--mount", m.path, check=check, **kw)


def as_user(uid, *argv, **kw):
    return harness.run("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *argv,
                       check=False, **kw)


def remount(m, *routes):
    """KILL the daemon of a mount and mount there again."""
    kill(m)
    return harness.Mount(m.world, routes, path=m.path)


def kill(m):
    """KILL the daemon of a mount, and take the dead mount away."""
    os.kill(m.pid, signal.SIGKILL)
    harness.wait_for("the daemon's end", lambda: not pathlib.Path(f"/proc/{m.pid}").exists())
    subprocess.run(["umount", "-l", str(m.path)], check=True)
    m.ended = True


def test_a_session_is_made_by_mkdir_and_runs_commands(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/alice").mkdir()
    (m / "sessions/alice/in").write_text("from the mount\n")
    assert not engine.sessions(root), "a container before a command"
    p = m.exec("sh", "-c", "cat in; echo from the sandbox > out; pwd", cwd="sessions/alice")
    assert p.stdout == f"from the mount\n{m.path}/sessions/alice\n", p
    assert (m / "sessions/alice/out").read_text() == "from the sandbox\n"
    assert m.exec("--sandbox", "alice", "pwd").stdout == "/workspace\n"
    assert (m / ".aib/sessions/alice/root/workspace/out").read_text() == "from the sandbox\n"
    p = m.exec("sh", "-c", "pwd", cwd=".aib/sessions/alice/root/tmp")
    assert p.stdout.strip() == f"{m.path}/.aib/sessions/alice/root/tmp", p
    # The same path on both sides.
    p = m.exec("cat", m.path / "sessions/alice/out", cwd="sessions/alice")
    assert p.stdout == "from the sandbox\n", p


def test_looking_starts_nothing(mount, root, engine):
    m = mount(route(root))
    for name in ("a", "b"):
        (m / "sessions" / name).mkdir()
        (m / "sessions" / name / "f").write_text("x")
    harness.run("find", m / "sessions", "-type", "f", "-exec", "cat", "{}", "+")
    harness.run("find", m / ".aib/sessions")
    harness.run("grep", "-r", "alice", m / ".aib/sessions", check=False)
    assert not engine.sessions(root)


def test_an_idle_session_sleeps_and_wakes_with_nothing_lost(mount, root, engine):
    m = mount(route(root, idle_timeout="2s"))
    (m / "sessions/alice").mkdir()
    m.exec("sh", "-c", "echo 1 > f; echo layer > /etc/mark", cwd="sessions/alice", check=True)
    harness.wait_for("sleep", lambda: states(engine, root) == {"alice": "exited"}, 60)
    assert (m / "sessions/alice/f").read_text() == "1\n"
    assert m.exec("cat", "f", "/etc/mark", cwd="sessions/alice").stdout == "1\nlayer\n"
    assert states(engine, root) == {"alice": "running"}


def test_commands_and_open_files_are_activity_and_looking_is_not(mount, root, engine):
    m = mount(route(root, idle_timeout="2s"))
    (m / "sessions/alice").mkdir()
    with subprocess.Popen([harness.program("aib-exec"), "sh", "-c", "echo > there; sleep 6; echo end"],
                          cwd=m / "sessions/alice", stdout=subprocess.PIPE, text=True) as p:
        out, _ = p.communicate(timeout=60)
    assert out == "end\n"
    assert states(engine, root) == {"alice": "running"}
    with open(m / "sessions/alice/there") as f:
        figures = (m / ".aib/metrics").read_text().splitlines()
        assert {"aib_sessions 1", "aib_sessions_in_use 1", "aib_commands_total 1"} <= set(figures)
        time.sleep(5)
        assert states(engine, root) == {"alice": "running"}
        f.read()

    def look():
        list((m / "sessions/alice").iterdir())
        os.stat(m / "sessions/alice/there")
        return states(engine, root) == {"alice": "exited"}

    harness.wait_for("sleep while it is looked at", look, 60)


@pytest.mark.parametrize("action,state", [("pause", {"a": "paused"}), ("remove", {})])
def test_other_ways_to_sleep(mount, root, engine, action, state):
    m = mount(route(root, idle_timeout="2s", idle_action=action))
    (m / "sessions/a").mkdir()
    m.exec("sh", "-c", "echo 1 > f", cwd="sessions/a", check=True)
    harness.wait_for(action, lambda: states(engine, root) == state, 60)
    assert m.exec("cat", "f", cwd="sessions/a").stdout == "1\n"
    assert states(engine, root) == {"a": "running"}


def test_remove_after_drops_a_sleeping_container(mount, root, engine):
    m = mount(route(root, idle_timeout="2s", remove_after="1s"))
    (m / "sessions/a").mkdir()
    m.exec("sh", "-c", "echo 1 > f", cwd="sessions/a", check=True)
    harness.wait_for("removal", lambda: states(engine, root) == {}, 60)
    assert m.exec("cat", "f", cwd="sessions/a").stdout == "1\n"


def test_release_keeps_the_workspace_and_rm_deletes_it(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    m.exec("sh", "-c", "echo 1 > f; echo layer > /etc/mark", cwd="sessions/a", check=True)
    with pytest.raises(OSError, match="not empty"):
        (m / "sessions/a").rmdir()
    (m / ".aib/sessions/a").rmdir()
    assert not list((m / "sessions").iterdir()) and not list((m / ".aib/sessions").iterdir())
    harness.wait_for("the container's end", lambda: not engine.sessions(root))
    assert (root / "a/workspace/f").read_text() == "1\n"
    assert session(m, "get", "a").stdout.strip() == str(root / "a/workspace")
    p = m.exec("sh", "-c", "cat f; cat /etc/mark", cwd="sessions/a")
    assert p.stdout == "1\n" and "No such file" in p.stderr, p
    session(m, "rm", "--workspace", "a")
    assert not (root / "a").exists() and not engine.sessions(root)


def test_links_of_a_workspace_lead_where_they_lead_in_the_sandbox(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    m.exec("sh", "-c", "mkdir d; echo 1 > d/f; ln -s /etc/passwd abs; ln -s ../../etc/passwd d/up; "
                       "ln -s /workspace/d/f own; ln -s d/f plain; ln -s d/../../etc/passwd odd", cwd="sessions/a",
           check=True)
    inside, outside = m / "sessions/a", f"{m}/.aib/sessions/a/root"
    link = lambda name: os.readlink(inside / name)
    assert link("abs") == link("d/up") == outside + "/etc/passwd"
    assert (inside / "abs").read_text() == (inside / "d/up").read_text() == m.exec(
        "cat", "/etc/passwd", cwd="sessions/a").stdout
    assert link("own") == str(inside / "d/f") and link("plain") == "d/f"
    assert (inside / "own").read_text() == "1\n"
    with pytest.raises(OSError):
        link("odd")
    for name in ("../../etc/shadow", "/../etc/shadow", "../../../../../etc/shadow"):
        (inside / "l").symlink_to(name)
        with contextlib.suppress(PermissionError):
            assert link("l").startswith(outside) and ".." not in link("l")
        (inside / "l").unlink()


def test_release_is_refused_while_it_is_used(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    p = subprocess.Popen([harness.program("aib-exec"), "sh", "-c", "echo up; cat"], cwd=m / "sessions/a",
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == b"up\n"
    q = session(m, "release", "a", check=False)
    assert q.returncode == 1 and "in use" in q.stderr
    with pytest.raises(OSError) as e:
        (m / ".aib/sessions/a").rmdir()
    assert e.value.errno == 16
    p.communicate()
    with open(m / "sessions/a/f", "w"):
        assert session(m, "release", "a", check=False).returncode == 1
    session(m, "release", "a")


def test_what_ended_a_moment_ago_is_not_in_use(mount, root, engine):
    m = mount(route(root, cleanup_interval="1s"))
    for i in range(60):
        place = m / f"sessions/s{i}"
        place.mkdir()
        files = [open(place / f"f{n}", "w") for n in range(30)]
        for f in files:
            f.close()
        (m / f".aib/sessions/s{i}").rmdir()


@pytest.mark.parametrize("name", ["..", "../x", "-a", ".a", "a" * 65, "ä", "a\nb", "a b", ""])
def test_names_that_are_none(mount, root, engine, name):
    m = mount(route(root))
    p = session(m, "get", "--", name, check=False)
    assert p.returncode != 0, p
    if "/" not in name and name not in ("", ".."):
        with pytest.raises(OSError) as e:
            (m / "sessions" / name).mkdir()
        assert e.value.errno == 22
    assert sorted(p.name for p in root.iterdir()) == [".daemons", ".root"]
    assert session(m, "get", "a" * 64).returncode == 0


def test_max_sessions_is_a_quota(mount, root, engine):
    m = mount(route(root, max_sessions=2))
    (m / "sessions/a").mkdir()
    (m / ".aib/sessions/b").mkdir()
    with pytest.raises(OSError) as e:
        (m / "sessions/c").mkdir()
    assert e.value.errno == 122  # EDQUOT
    p = session(m, "get", "c", check=False)
    assert "max_sessions" in p.stderr
    session(m, "release", "a")
    (m / "sessions/c").mkdir()


def test_a_session_is_its_owners_alone(mount, root, engine):
    m = mount(route(root))
    session(m, "get", "theirs", "--owner", "nobody")
    session(m, "get", "ours")
    (m / "sessions/ours/secret").write_text("s")
    where = m / "sessions/theirs"
    p = as_user(NOBODY, "sh", "-c", f"cd {where} && echo 1 > f && {harness.program('aib-exec')} "
                                    "sh -c 'id -u; echo 2 > g; echo $HOME; test -w $HOME'")
    assert p.stdout == "65534\n/home/aib\n", p
    assert (where / "g").stat().st_uid == NOBODY and (where / "f").stat().st_uid == NOBODY
    status = m / ".aib/sessions/theirs/status"
    assert "session theirs" in as_user(NOBODY, "cat", status).stdout
    assert as_user(NOBODY, "sh", "-c", f"echo stop > {m}/.aib/sessions/theirs/ctl").returncode == 0
    assert as_user(NOBODY, harness.program("aib"), "session", "status", "theirs", "--mount",
                   m.path).returncode == 0
    for path in ("sessions/ours", "sessions/ours/secret", ".aib/sessions/ours", ".aib/sessions/ours/status",
                 ".aib/sessions/ours/root/etc", ".aib/status", ".aib/sessions", ".aib/sandboxes"):
        p = as_user(NOBODY, "sh", "-c", f"ls {m}/{path} && cat {m}/{path}")
        assert p.returncode != 0 and "Permission denied" in p.stderr, (path, p)
    for argv in (["release", "ours"], ["status", "ours"], ["get", "new"], ["cleanup"], ["shutdown"],
                 ["rm", "--workspace", "ours"], ["get", "ours", "--owner", "nobody"]):
        p = as_user(NOBODY, harness.program("aib"), "session", *argv, "--mount", m.path)
        assert p.returncode == 1, (argv, p)
    p = as_user(NOBODY, harness.program("aib-exec"), "--sandbox", "ours", "true", cwd=where)
    assert p.returncode == 125 and "another user's" in p.stderr
    assert "ours" not in as_user(NOBODY, harness.program("aib"), "session", "ls", "--mount", m.path).stdout
    assert as_user(NOBODY, harness.program("aib"), "umount", m.path).returncode != 0
    assert as_user(NOBODY, "mkdir", m / "sessions/new").returncode != 0
    # Given to another, with all that is in it.
    m_owner = m / ".aib/sessions/theirs/owner"
    harness.wait_for("given", lambda: given(m_owner, "1234"))
    assert {p.stat().st_uid for p in (root / "theirs/workspace").iterdir()} == {1234}
    # The kernel may remember for a second whose it was.
    harness.wait_for("it is not theirs", lambda: as_user(NOBODY, "ls", where).returncode != 0)
    assert m.exec("id", "-u", cwd="sessions/theirs").stdout == "1234\n"


def given(file, owner):
    with contextlib.suppress(OSError):  # it is in use for a moment after a command
        if file.read_text() != f"{owner}\n":
            file.write_text(f"{owner}\n")
        return file.read_text() == f"{owner}\n"


def test_anyone_may_make_one_where_the_route_says_so(mount, root, engine):
    m = mount(route(root, create="anyone"))
    assert as_user(NOBODY, "mkdir", m / "sessions/mine").returncode == 0
    assert (m / "sessions/mine").stat().st_uid == NOBODY
    p = as_user(NOBODY, harness.program("aib"), "session", "get", "more", "--mount", m.path)
    assert p.returncode == 0, p
    for option in (["--owner", "root"], ["--image", "x"], ["-e", "A=b"]):
        p = as_user(NOBODY, harness.program("aib"), "session", "get", "x", *option, "--mount", m.path)
        assert p.returncode == 1, (option, p)
    (m / "sessions/roots").mkdir()
    assert as_user(NOBODY, "rmdir", m / "sessions/roots").returncode != 0
    assert as_user(NOBODY, "rmdir", m / "sessions/mine").returncode == 0


def test_a_killed_daemons_sessions_are_adopted(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    m.exec("sh", "-c", "echo 1 > f; echo layer > /etc/mark", cwd="sessions/a", check=True)
    before = engine.sessions(root)
    m = remount(m, route(root))
    assert states(engine, root) == {"a": "running"}
    assert m.exec("cat", "f", "/etc/mark", cwd="sessions/a").stdout == "1\nlayer\n"
    assert engine.sessions(root) == before


def test_a_killed_daemons_containers_idle_out_at_the_next_mount(mount, root, engine):
    m = mount(route(root, idle_timeout="3s"))
    (m / "sessions/a").mkdir()
    m.exec("true", cwd="sessions/a", check=True)
    remount(m, route(root))
    harness.wait_for("sleep", lambda: states(engine, root) == {"a": "exited"}, 60)


def test_umount_stops_what_runs(mount, root, engine):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    m.exec("true", cwd="sessions/a", check=True)
    m.umount()
    assert states(engine, root) == {"a": "exited"}


def test_two_daemons_on_one_root(mount, root, engine):
    one, two = (mount(route(root, idle_timeout="3s")) for _ in range(2))
    (one / "sessions/a").mkdir()
    harness.wait_for("the other", lambda: (two / "sessions/a").is_dir())
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for p in pool.map(lambda i: (one, two)[i % 2].exec("sh", "-c", f"echo {i} >> f", cwd="sessions/a"),
                          range(16)):
            assert p.returncode == 0, p
    assert sorted(map(int, (two / "sessions/a/f").read_text().split())) == list(range(16))
    assert len(engine.sessions(root)) == 1
    # What one uses the other does not put to sleep, nor release.
    with subprocess.Popen([harness.program("aib-exec"), "sh", "-c", "echo up; sleep 8; echo end"],
                          cwd=one / "sessions/a", stdout=subprocess.PIPE, text=True) as p:
        assert p.stdout.readline() == "up\n"
        assert "in use" in session(two, "release", "a", check=False).stderr
        two.umount()
        assert p.communicate()[0] == "end\n"
    assert states(engine, root) == {"a": "running"}


def test_callers_at_once_get_one_session(mount, root, engine):
    one, two = (mount(route(root)) for _ in range(2))
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda i: session((one, two)[i % 2], "get", "a", "--json").stdout, range(16)))
        assert len({json.loads(g)["workspace"] for g in got}) == 1
        for p in pool.map(lambda i: (one, two)[i % 2].exec("sh", "-c", "hostname", cwd="sessions/a"), range(16)):
            assert p.returncode == 0, p
    assert len(engine.sessions(root)) == 1


def test_a_route_that_is_one_session(mount, root, engine):
    m = mount(f"/=session:alice,image={IMAGE},workspace_root={root}")
    (m / "f").write_text("1\n")
    p = m.exec("sh", "-c", "cat f; echo 2 > g; pwd")
    assert p.stdout == f"1\n{m.path}\n", p
    assert (root / "alice/workspace/g").read_text() == "2\n"
    assert (m / "g").read_text() == "2\n"
    assert sorted(os.listdir(root / "alice/workspace")) == ["f", "g"]


def test_a_repository_is_nobodys_doubt(mount, root, engine):
    image = "aib-test:python"  # any with git would do; the host's git is what complains
    m = mount(route(root, image=image))
    session(m, "get", "a", "--owner", "nobody")
    where = m / "sessions/a"
    env = {**os.environ, "HOME": str(m.world.dir)}
    p = as_user(NOBODY, "sh", "-c", f"cd {where} && git init -q . && git status --short", env=env)
    assert p.returncode == 0, p
    assert m.exec("sh", "-c", "mkdir made && echo 1 > made/f && stat -c %u .git made/f", cwd="sessions/a",
                  ).stdout == "65534\n65534\n"
    p = as_user(NOBODY, "sh", "-c", f"cd {where} && git add . && git status --short", env=env)
    assert p.stdout == "A  made/f\n", p


def test_limits_env_and_network_of_a_session(mount, root, engine):
    m = mount(route(root, memory="64M", pids=50))
    session(m, "get", "a", "-e", "GREETING=hi there", "--pids", "40", "--idle-timeout", "42m")
    assert m.exec("sh", "-c", "echo $GREETING", cwd="sessions/a").stdout == "hi there\n"
    about = engine.inspect(engine.sessions(root)[0]["id"])["HostConfig"]
    assert (about["Memory"], about["PidsLimit"], about["NetworkMode"]) == (64 << 20, 40, "none")
    assert (m / ".aib/sessions/a/idle_timeout").read_text() == "2520s\n"
    p = session(m, "get", "b", "--memory", "1K", check=False)
    assert p.returncode == 1 and "memory" in p.stderr


def test_volumes_of_a_session_are_its_own(mount, root, engine, world):
    for name in ("data", "out"):
        (world.dir / "src" / name).mkdir()
    (world.dir / "src/data/f").write_text("given")
    m = mount(route(root))
    session(m, "get", "a", "--volume", f"{world.dir}/src/data:/data:ro", "-v", f"{world.dir}/src/out:/out")
    session(m, "get", "b")
    p = m.exec("sh", "-c", "cat /data/f; echo 1 > /out/f; echo 2 > /data/g; echo 3 > here", cwd="sessions/a")
    assert p.stdout == "given" and "Read-only" in p.stderr, p
    assert (world.dir / "src/out/f").read_text() == "1\n"
    assert (m / "sessions/a/here").read_text() == "3\n"
    assert m.exec("ls", "/data", cwd="sessions/b").returncode != 0
    p = session(m, "get", "c", "-v", "data:/data", check=False)
    assert p.returncode == 1 and "volume" in p.stderr, p
    p = session(m, "get", "d", "-v", "/nonexistent:/data", check=False)
    assert p.returncode == 1 and "/nonexistent" in p.stderr, p


def test_control_files_of_a_session(mount, root, engine):
    m = mount(route(root))
    (m / ".aib/sessions/a").mkdir()
    d = m / ".aib/sessions/a"
    assert os.path.samefile(d / "workspace", m / "sessions/a")
    (d / "ctl").write_text("start\n")
    harness.wait_for("start", lambda: "state running" in (d / "status").read_text())
    (d / "ctl").write_text("stop")
    harness.wait_for("stop", lambda: states(engine, root) == {"a": "exited"})
    (d / "idle_timeout").write_text("90s\n")
    assert (d / "idle_timeout").read_text() == "90s\n"
    with pytest.raises(OSError):
        (d / "idle_timeout").write_text("soon\n")
    p = harness.run("bash", "-c", f"echo soon > {d}/idle_timeout", check=False)
    assert p.returncode == 1 and "Invalid argument" in p.stderr
    assert "duration" in (d / "error").read_text()
    assert json.loads((root / "a/session.json").read_text())["idle_timeout"] == 90000


def test_leftovers_of_others_stay(mount, root, engine, world):
    m = mount(route(root))
    (m / "sessions/a").mkdir()
    m.exec("true", cwd="sessions/a", check=True)
    own = engine.docker("create", "--label", "aib.root=another", "--label", "aib.session=a",
                        "--label", f"test.world={world.id}", IMAGE, "true").stdout.strip()
    (root / "a/session.json").unlink()
    session(m, "cleanup")
    harness.wait_for("removal", lambda: not engine.sessions(root))
    assert own in engine.containers()
    engine.docker("rm", own)


SCRIPT = """
mkdir {m}/.aib/sessions/{user}
echo 3s > {m}/.aib/sessions/{user}/idle_timeout
echo hello {user} > {m}/sessions/{user}/greeting
mkdir {m}/.aib/jobs/{user}
echo /sessions/{user} > {m}/.aib/jobs/{user}/cwd
echo 'sleep 1; cat greeting > copy; echo done' > {m}/.aib/jobs/{user}/cmd
echo start > {m}/.aib/jobs/{user}/ctl
[ "$(cat {m}/.aib/jobs/{user}/wait)" = 'exit 0' ]
[ "$(cat {m}/.aib/jobs/{user}/stdout {m}/sessions/{user}/copy)" = "$(echo done; echo hello {user})" ]
until [[ "$(cat {m}/.aib/sessions/{user}/status)" = *'state asleep'* ]]; do :; done
exec 3<>{m}/.aib/exec; echo '{{"command": "cat copy", "sandbox": "{user}"}}' >&3; [[ "$(cat <&3)" = *'hello {user}'* ]]
[[ "$(cat {m}/.aib/sessions/{user}/status)" = *'state running'* ]]
echo again >> {m}/sessions/{user}/greeting
rmdir {m}/.aib/jobs/{user}
rmdir {m}/.aib/sessions/{user}
"""


@pytest.mark.timeout(300)
def test_echo_cat_and_mkdir_alone_with_a_kill_between_any_two(mount, root, engine, world):
    said = route(root)
    m = mount(said)
    steps = [SCRIPT.format(m=m.path, user=user).strip().splitlines() for user in ("alice", "bob")]
    for pair in zip(*steps):
        for step in pair:
            p = harness.run("bash", "-c", step, check=False)
            assert p.returncode == 0, (step, p)
        m = remount(m, said)
    for user in ("alice", "bob"):
        assert (root / user / "workspace/greeting").read_text() == f"hello {user}\nagain\n"
        assert not (m / "sessions" / user).exists()
    harness.wait_for("containers' end", lambda: not engine.sessions(root))


COUNT = int(os.environ.get("AIB_TEST_SESSIONS") or (200 if harness.LONG else 16))


@pytest.mark.timeout(300 + 10 * COUNT)
def test_many_callers_and_daemons_that_are_killed(mount, root, engine, world):
    """16 callers make sessions and write into them, while the daemon is killed now and then."""
    rng = random.Random(COUNT)
    m = mount(route(root, max_sessions=0, idle_timeout="5s"))
    path, at = m.path, [m]
    names = [f"s{i}" for i in range(COUNT)]
    done = {}

    def work(name):
        data = hashlib.sha256(name.encode()).hexdigest() * 100
        while True:
            with contextlib.suppress(OSError):
                (path / "sessions" / name).mkdir(exist_ok=True)
                (path / "sessions" / name / "data").write_text(data)
                p = harness.run(harness.program("aib-exec"), "sh", "-c", "cat data > copy; sha256sum copy",
                                cwd=path / "sessions" / name, check=False, timeout=60)
                if p.returncode == 0:
                    done[name] = p.stdout.split()[0]
                    assert done[name] == hashlib.sha256(data.encode()).hexdigest()
                    return
            time.sleep(0.1)

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(work, name) for name in names]
        while not all(j.done() for j in jobs):
            time.sleep(rng.uniform(1, 4))
            if len(done) > COUNT - 4:  # the last ones are to come through
                continue
            at[0] = remount(at[0], route(root, max_sessions=0, idle_timeout="5s"))
        for j in jobs:
            j.result()
    for name in names:
        copy = (root / name / "workspace/copy").read_bytes()
        assert hashlib.sha256(copy).hexdigest() == done[name]
    found = engine.sessions(root)
    assert len({c["session"] for c in found}) == len(found) <= COUNT
    at[0].umount()
    # More than can be stopped in the seconds that a daemon has to end are left to who comes next.
    harness.run(harness.program("aib"), "prune", timeout=300)
    assert "running" not in states(engine, root).values()
    locks = pathlib.Path("/proc/locks").read_text()
    for name in names:
        inode = (root / name / "lock").stat().st_ino
        assert not re.search(rf":{inode} ", locks), f"a lock on {name} is left"


@pytest.mark.timeout(240)
def test_idle_sessions_cost_kilobytes(mount, root, engine):
    count = int(os.environ.get("AIB_TEST_IDLE", "500"))
    m = mount(route(root, max_sessions=0))
    for i in range(10):
        (m / f"sessions/w{i}").mkdir()
    harness.run("find", m / "sessions")
    before = harness.rss_kb(m.pid)
    for i in range(count):
        (m / f"sessions/s{i}").mkdir()
        (m / f"sessions/s{i}/f").write_text("x")
    found = harness.run("find", m / "sessions", "-type", "f").stdout.splitlines()
    assert len(found) == count
    grown = (harness.rss_kb(m.pid) - before) / count
    print(f"{grown:.1f} KB a session")
    fds = len(os.listdir(f"/proc/{m.pid}/fd"))
    assert fds < 200 + 4 * count
    assert not engine.sessions(root)
    if not os.environ.get("ASAN_OPTIONS") or harness.SLOW == 1:
        assert grown < 64


def test_prune_removes_what_nobody_owns(mount, root, engine, world):
    living = mount(route(root), f"/py=docker:{IMAGE}")
    (living / "sessions/a").mkdir()
    living.exec("true", cwd="sessions/a", check=True)
    dead = mount(f"/dead=docker:{IMAGE}", f"/kept=docker:{IMAGE},keep", route(world.dir / "root2"))
    for name in ("b", "c"):
        (dead / "sessions" / name).mkdir()
        dead.exec("true", cwd=f"sessions/{name}", check=True)
    kill(dead)
    (world.dir / "root2/c/session.json").unlink()
    names = lambda: {engine.inspect(c)["Name"] for c in engine.containers("label=aib.host")}
    before = names()
    prune = harness.program("aib"), "prune"
    said = harness.run(*prune, "--dry-run").stdout
    assert said.count("would remove container") == 2 and said.count("would stop container") == 1, said
    assert "would remove entry" in said
    assert names() == before
    assert harness.run(*prune).stdout == said.replace("would ", "")
    assert {n.split("-", 2)[2][:6] for n in before - names()} == {n.split("-", 2)[2][:6] for n in before
                                                                  if "dead" in n or "-c-" in n}
    assert states(engine, world.dir / "root2") == {"b": "exited"}
    assert states(engine, root) == {"a": "running"}
    assert living.exec("true", cwd="py").returncode == 0
    assert "remove" not in harness.run(*prune).stdout
    for c in engine.containers("label=aib.keep=true", "label=aib.mountpoint=" + str(dead)):
        engine.docker("rm", "-f", c)
    for c in engine.sessions(world.dir / "root2"):
        engine.docker("rm", "-f", c["id"])


def test_runtimes_of_sessions(mount, root, engine):
    runtimes = {name: {"base_image": IMAGE, "packages": [], "setup_commands": [], "workdir": f"/{name}",
                       "env": {"WHICH": name}} for name in ("one", "two")}
    config = {"runtimes": runtimes, "routes": {"/sessions": {
        "type": "sessions", "runtime": "one", "workspace_root": str(root)}}}
    m = mount(config=config, options="pull=never")
    session(m, "get", "a")
    session(m, "get", "b", "--runtime", "two")
    for name, which in (("a", "one"), ("b", "two")):
        p = m.exec("--sandbox", name, "sh", "-c", "echo $WHICH; pwd; echo 1 > f")
        assert p.stdout == f"{which}\n/{which}\n", p
        assert (m / "sessions" / name / "f").exists()
    p = session(m, "get", "c", "--runtime", "thre", check=False)
    assert p.returncode == 1 and "thre" in p.stderr


def test_a_pool_goes_on_without_one_of_its_engines(mount, root, engine, world):
    config = {"engines": {"up": {"host": engine.host}, "down": {"host": f"unix://{world.dir}/none.sock"}},
              "routes": {"/sessions": {"type": "sessions", "image": IMAGE, "workspace_root": str(root),
                                       "engines": "down,up", "cleanup_interval": "1s"}}}
    m = mount(config=config)
    (m / "sessions/a").mkdir()
    assert json.loads((root / "a/session.json").read_text())["docker"]["engine"] == "up"
    assert m.exec("echo", "1", cwd="sessions/a").stdout == "1\n"
    session(m, "get", "b", "--engine", "down")
    p = m.exec("true", cwd="sessions/b")
    assert p.returncode == 125 and "none.sock" in p.stderr, p
    (m / "sessions/b/f").write_text("still here")
    assert m.exec("echo", "1", cwd="sessions/a").stdout == "1\n"


def test_an_engine_elsewhere_has_no_directory_of_ours(world, mount, root, engine):
    with pytest.raises(AssertionError, match="not reached by a socket of this machine"):
        mount(route(root, engine="tcp://192.0.2.1:2375", workspace="host"))


def test_a_job_is_activity_and_outlives_a_killed_daemon(mount, root, engine):
    m = mount(route(root, idle_timeout="2s"))
    (m / "sessions/a").mkdir()
    p = m.exec("-d", "sh", "-c", "sleep 8; echo done > done", cwd="sessions/a")
    assert p.returncode == 0, p
    job = m / ".aib/jobs" / p.stdout.strip()
    time.sleep(4)
    assert states(engine, root) == {"a": "running"}
    assert session(m, "release", "a", check=False).returncode == 1
    m = remount(m, route(root, idle_timeout="2s"))
    assert states(engine, root) == {"a": "running"}
    assert harness.run("cat", job / "wait").stdout == "exit 0\n"
    assert (m / "sessions/a/done").read_text() == "done\n"
    harness.run("rmdir", job)
    harness.wait_for("sleep", lambda: states(engine, root) == {"a": "exited"}, 60)
