"""The docker backend on a real engine: a sandbox's life, what archives cannot do and must not lose."""

import errno
import os
import shutil
import signal
import time

import pytest

from harness import Mount, rss_kb, run, wait_for

IMAGE = "aib-test:busybox"

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(params=["auto", "archive"])
def mount(mount, request):
    """Each test over the guest, where the container runs, and by archives alone."""

    def make(*routes, **kw):
        said = f",transport={request.param}"
        return mount(*(r + said if "=docker:" in r or "=container:" in r else r for r in routes), **kw)

    return make


def names(engine, world):
    """The containers of mounts of this test, by name."""
    about = [engine.inspect(c) for c in engine.containers("label=aib.mount")]
    return {a["Name"].strip("/"): a for a in about if str(world.dir) in str(a["Config"]["Labels"])}


def error_of(box, name):
    return (box / f".aib/sandboxes/{name}/error").read_text()


def refused(code, call, *args, **kw):
    with pytest.raises(OSError) as e:
        call(*args, **kw)
    assert e.value.errno == code, e.value


# ---- Life ----


def test_what_a_killed_daemon_left_is_replaced(engine, mount, world):
    box = mount(f"/bb=docker:{IMAGE}")
    (old,) = names(engine, world).values()
    os.kill(box.pid, signal.SIGKILL)
    wait_for("the daemon's end", lambda: box.pid not in world.processes())
    box.ended = True
    again = Mount(world, [f"/bb=docker:{IMAGE}"], path=box.path)
    (new,) = names(engine, world).values()
    assert new["Id"] != old["Id"] and new["Name"] == old["Name"]
    assert again.exec("true", cwd="bb").returncode == 0


def test_a_kept_container_is_taken_over(engine, mount, world):
    box = mount(f"/bb=docker:{IMAGE},keep")
    assert box.exec("sh", "-c", "echo kept >/root/x", cwd="bb").returncode == 0
    box.umount()
    (old,) = names(engine, world).values()
    assert not old["State"]["Running"]
    again = Mount(world, [f"/bb=docker:{IMAGE},keep"], path=box.path)
    assert (again / "bb/root/x").read_text() == "kept\n"
    again.umount()
    engine.docker("rm", old["Id"])


def test_a_foreign_container_of_the_name_is_not_touched(engine, mount, container):
    name = container()
    with pytest.raises(AssertionError, match="not this route's"):
        mount(f"/bb=docker:{IMAGE},name={name}")
    assert engine.inspect(name)["State"]["Running"]


def test_a_container_that_is_gone_is_an_error_until_it_is_started_anew(engine, mount, world):
    box = mount(f"/bb=docker:{IMAGE}")
    (about,) = names(engine, world).values()
    engine.docker("rm", "-f", about["Id"])
    time.sleep(1.1)
    refused(errno.EIO, os.stat, box / "bb/bin")
    assert "is gone" in error_of(box, "bb")
    run("sh", "-c", f"echo start >{box}/.aib/sandboxes/bb/ctl")
    wait_for("the start", lambda: "state running" in (box / ".aib/sandboxes/bb/status").read_text(), 30)
    assert "bin" in os.listdir(box / "bb")


def test_stop_takes_a_second_and_the_files_stay(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    assert box.exec("sh", "-c", "echo x >/root/x", cwd="bb").returncode == 0
    start = time.monotonic()
    run("sh", "-c", f"echo stop >{box}/.aib/sandboxes/bb/ctl")
    wait_for("the stop", lambda: "state stopped" in (box / ".aib/sandboxes/bb/status").read_text())
    limits = dict(s.split() for s in (box / ".aib/sandboxes/bb/limits").read_text().splitlines())
    assert (limits["memory"], limits["pids"], limits["disk"]) == (str(2 << 30), "512", "-")
    assert 0 < float(limits["cpus"]) <= 2
    assert time.monotonic() - start < 2
    assert (box / "bb/root/x").read_text() == "x\n"
    (box / "bb/root/y").write_text("y\n")
    assert "state stopped" in (box / ".aib/sandboxes/bb/status").read_text()
    assert box.exec("cat", "/root/y", cwd="bb").stdout == "y\n"


def test_reset_makes_the_container_anew(engine, mount, world):
    box = mount(f"/bb=docker:{IMAGE},volume={world.dir}/src:/v")
    status = box / ".aib/sandboxes/bb/status"
    assert box.exec("sh", "-c", "echo x >/root/x; echo v >/v/f; rm /bin/ls", cwd="bb").returncode == 0
    assert os.listdir(box / "bb/root") == ["x"]
    (old,) = names(engine, world).values()
    run("sh", "-c", f"echo reset >{box}/.aib/sandboxes/bb/ctl")
    wait_for("the new container", lambda: "state created" in status.read_text())
    assert os.listdir(box / "bb/root") == []
    assert (box / "bb/v/f").read_text() == "v\n"
    (new,) = names(engine, world).values()
    assert new["Id"] != old["Id"] and not new["State"]["Running"]
    assert box.exec("ls", "/root", "/v", cwd="bb").stdout == "/root:\n\n/v:\nf\n"
    assert error_of(box, "bb") == ""


def test_reset_needs_the_image(engine, mount, world):
    engine.docker("tag", IMAGE, f"aib-test:{world.id}")
    box = mount(f"/bb=docker:aib-test:{world.id}")
    (box / "bb/root/x").write_text("x")
    engine.docker("rmi", "-f", f"aib-test:{world.id}")
    run("sh", "-c", f"echo reset >{box}/.aib/sandboxes/bb/ctl")
    wait_for("the refusal", lambda: f"image aib-test:{world.id} is no longer" in error_of(box, "bb"))
    assert (box / "bb/root/x").read_text() == "x"


def test_an_attached_container_is_not_reset(engine, mount, container):
    name = container()
    box = mount(f"/c=container:{name}")
    run("sh", "-c", f"echo reset >{box}/.aib/sandboxes/c/ctl")
    wait_for("the refusal", lambda: f"reset: container {name} is attached" in error_of(box, "c"))
    assert engine.inspect(name)["State"]["Running"]


def test_the_engines_socket_is_never_given(engine, mount):
    path = engine.host.removeprefix("unix://")
    for volume in (path, os.path.dirname(path), "/"):
        with pytest.raises(AssertionError, match="socket"):
            mount(f"/bb=docker:{IMAGE},volume={volume}:/v")


def test_volumes(mount, world):
    (world.dir / "src/f").write_text("f")
    box = mount(f"/bb=docker:{IMAGE},volume={world.dir}/src:/v:ro")
    assert (box / "bb/v/f").read_text() == "f"
    refused(errno.EROFS, (box / "bb/v/g").write_text, "g")
    assert "read-only" in error_of(box, "bb")
    assert box.exec("cat", "/v/f", cwd="bb").stdout == "f"


@pytest.mark.parametrize(
    "option, text",
    [
        ("network=nosuchnet", "network=nosuchnet: .*docker network create"),
        ("user=nosuch", 'user=nosuch: .* no user "nosuch" in /etc/passwd'),
        ("user=root:nosuch", 'user=root:nosuch: .* no group "nosuch" in /etc/group'),
        ("user=nosuch,keep", "user=nosuch"),
    ],
)
def test_what_no_command_could_run_with_is_refused_at_mount(engine, mount, world, option, text):
    with pytest.raises(AssertionError, match="route /bb: " + text):
        mount(f"/bb=docker:{IMAGE},{option}")
    assert not names(engine, world)


def test_names_that_are_there_are_taken(engine, mount, world, container):
    network = engine.docker("network", "inspect", "-f", "{{.ID}}", "host").stdout.strip()
    box = mount(
        f"/bb=docker:{IMAGE},network={network},user=root:root",
        "/py=docker:aib-test:python,user=nobody:users",
        f"/c=container:{container()},user=root",
    )
    assert network in [a["HostConfig"]["NetworkMode"] for a in names(engine, world).values()]
    assert box.exec("id", "-un", cwd="c").stdout == "root\n"
    assert box.exec("id", "-un", cwd="py").stdout == "nobody\n"
    with pytest.raises(AssertionError, match='has no user "daemon"'):
        mount(f"/c=container:{container()},user=daemon")


# ---- Attached containers ----


def test_a_read_only_root_is_read_and_never_written_in_silence(mount, container):
    box = mount(f"/c=container:{container(flags=('--read-only',))}")
    assert "root" in (box / "c/etc/passwd").read_text()
    refused(errno.EROFS, (box / "c/root/x").write_text, "x")
    refused(errno.EROFS, os.mkdir, box / "c/root/d")
    assert "read-only root" in error_of(box, "c")
    p = box.exec("true", cwd="c")
    assert p.returncode == 125 and "read-only root" in p.stderr


@pytest.mark.parametrize("mount", ["archive"], indirect=True)
def test_nothing_is_lost_below_a_tmpfs(mount, container):
    name = container(flags=("--tmpfs", "/scratch"))
    box = mount(f"/c=container:{name}")
    refused(errno.EOPNOTSUPP, (box / "c/scratch/x").write_text, "x")
    assert "tmpfs" in error_of(box, "c")
    refused(errno.EOPNOTSUPP, os.listdir, box / "c/scratch")
    refused(errno.EOPNOTSUPP, (box / "c/dev/shm/x").write_text, "x")
    assert os.listdir(box / "c/proc") == []


def test_a_stopped_container_gives_its_files_and_says_what_it_cannot(engine, mount, container):
    name = container()
    engine.docker("kill", name)
    box = mount(f"/c=container:{name}")
    (box / "c/root/x").write_text("x")
    assert (box / "c/root/x").read_text() == "x"
    refused(errno.EOPNOTSUPP, os.unlink, box / "c/root/x")
    assert "is stopped" in error_of(box, "c")
    assert (box / "c/root/x").read_text() == "x"
    assert not engine.inspect(name)["State"]["Running"]


def test_an_attached_container_that_is_gone_is_an_error_at_its_root(engine, mount, container):
    name = container()
    box = mount(f"/c=container:{name}")
    assert "bin" in os.listdir(box / "c")
    engine.docker("rm", "-f", name)
    time.sleep(1.1)
    for call in (os.stat, os.listdir, os.chdir):
        refused(errno.EIO, call, box / "c")
    refused(errno.EIO, os.stat, box / "c/bin")
    assert f"container {name} is gone" in error_of(box, "c")
    assert "start" not in error_of(box, "c")


def test_a_container_that_goes_is_never_a_missing_directory(engine, mount, world):
    box = mount(f"/bb=docker:{IMAGE}")
    (name,) = names(engine, world)
    os.stat(box / "bb/bin")
    time.sleep(0.9)
    os.stat(box / "bb/etc")
    engine.docker("rm", "-f", name)
    seen = set()
    end = time.monotonic() + 1.3
    while time.monotonic() < end:
        try:
            os.stat(box / "bb")
        except OSError as e:
            seen.add(e.errno)
    assert seen == {errno.EIO}
    assert f"container {name} is gone" in error_of(box, "bb")


def test_an_error_goes_with_the_next_success(engine, mount, container):
    name = container()
    engine.docker("kill", name)
    box = mount(f"/c=container:{name}")
    assert box.exec("true", cwd="c").returncode == 125
    assert f"container {name} is stopped" in error_of(box, "c")
    engine.docker("start", name)
    assert box.exec("true", cwd="c").returncode == 0
    assert error_of(box, "c") == ""


# ---- Files ----


def test_a_number_follows_its_file(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    root = box / "bb/root"
    (root / "d").mkdir()
    (root / "d/a").write_text("a")
    before = os.stat(root / "d"), os.stat(root / "d/a")
    os.rename(root / "d/a", root / "d/b")
    os.rename(root / "d", root / "e")
    after = os.stat(root / "e"), os.stat(root / "e/b")
    assert [s.st_ino for s in before] == [s.st_ino for s in after]
    assert {e.name: e.inode() for e in os.scandir(root / "e")} == {"b": after[1].st_ino}
    (root / "d").mkdir()
    assert os.stat(root / "d").st_ino != after[0].st_ino


def test_a_listing_tells_the_number_that_a_route_has(mount, world):
    box = mount(f"/bb=docker:{IMAGE}", f"/p=host:{world.dir}/src", "/m=memory", f"/m/bb=docker:{IMAGE}", "/x/y=memory")
    for where, names in (("", ["bb", "m", "p", "x"]), ("m", ["bb"]), ("x", ["y"])):
        listed = {e.name: e.inode() for e in os.scandir(box / where)}
        assert listed == {name: os.stat(box / where / name).st_ino for name in names}


def test_links_never_lead_out(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    line = "ln -s /etc/passwd abs; ln -s ../../../../etc/passwd up; ln -s x/../../../y walk; ln -s f in"
    assert box.exec("sh", "-c", line, cwd="bb/root").returncode == 0
    root = box / "bb/root"
    assert os.readlink(root / "abs") == f"{box}/bb/etc/passwd"
    assert os.readlink(root / "up") == f"{box}/bb/etc/passwd"
    assert os.readlink(root / "walk").startswith(f"{box}/bb/")
    assert ".." not in os.readlink(root / "walk")
    assert os.readlink(root / "in") == "f"
    assert (root / "abs").read_text() == (box / "bb/etc/passwd").read_text()


def test_there_is_room(engine, mount):
    box = mount(f"/bb=docker:{IMAGE}")
    there = os.statvfs(engine.docker("info", "-f", "{{.DockerRootDir}}").stdout.strip())
    here = os.statvfs(box / "bb/root")
    assert (here.f_blocks, here.f_frsize, here.f_namemax) == (there.f_blocks, there.f_frsize, 255)
    assert abs(here.f_bavail - there.f_bavail) * here.f_frsize < 1 << 30
    assert shutil.disk_usage(box / "bb").free > 0


def test_a_large_file_streams(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    size = 300 << 20
    line = f"head -c {size} /dev/zero >big; sha256sum big"
    there = box.exec("sh", "-c", line, cwd="bb/root").stdout.split()[0]
    before = rss_kb(box.pid)
    here = run("sha256sum", box / "bb/root/big", timeout=100).stdout.split()[0]
    assert here == there
    assert rss_kb(box.pid) - before < 32 << 10
    assert run("head", "-c", "10", box / "bb/root/big").stdout == "\0" * 10


def test_a_spool_has_its_limit(mount):
    box = mount(f"/bb=docker:{IMAGE},spool_max=1M")
    with open(box / "bb/root/x", "wb", buffering=0) as f:
        f.write(b"x" * 1000000)
        assert f.write(b"x" * 1000000) < 1000000
        refused(errno.ENOSPC, f.write, b"x" * 1000000)
    assert "spool_max" in error_of(box, "bb")
    assert 1000000 <= os.stat(box / "bb/root/x").st_size <= 1 << 20


def test_a_tree_larger_than_its_index_is_listed_whole(mount):
    box = mount(f"/bb=docker:{IMAGE},index_max=20")
    line = "for i in 1 2 3; do mkdir d$i; for j in $(seq 30); do echo $j >d$i/f$j; done; done"
    assert box.exec("sh", "-c", line, cwd="bb/root").returncode == 0
    found = run("find", box / "bb/root", "-type", "f").stdout.splitlines()
    assert len(found) == 90


def test_programs_write_as_they_do(mount):
    """tar, cp -p, rsync and git, which set attributes before they close, rename and link."""
    box = mount(f"/bb=docker:{IMAGE}")
    root = box / "bb/root"
    run("sh", "-c", f"cd {root} && mkdir s && echo a >s/a && chmod 640 s/a && touch -d @1000000000 s/a")
    run("cp", "-p", root / "s/a", root / "s/b")
    assert (os.stat(root / "s/b").st_mtime, os.stat(root / "s/b").st_mode & 0o777) == (10**9, 0o640)
    run("sh", "-c", f"cd {root} && tar -cf t.tar s && mkdir x && tar -xf t.tar -C x && diff -r s x/s")
    assert os.stat(root / "x/s/b").st_mtime == 10**9
    run("rsync", "-a", f"{root}/s/", f"{root}/r", timeout=100)
    assert (root / "r/a").read_text() == "a\n"
    assert os.stat(root / "r/a").st_mtime == 10**9
    p = box.exec("sh", "-c", "stat -c %a:%Y x/s/b r/a", cwd="bb/root")
    assert p.stdout == "640:1000000000\n" * 2


@pytest.mark.timeout(300)
def test_walking_a_whole_container_asks_once(mount):
    box = mount("/py=docker:aib-test:python")
    start = time.monotonic()
    run("find", box / "py", "-xdev", timeout=200)
    first = time.monotonic() - start
    out = run("ls", "-lR", box / "py/usr/lib", timeout=200).stdout
    assert len(out.splitlines()) > 1000
    assert first < 120
