"""Links, hard links, names and nodes of all shapes, made in a sandbox and in a host directory, and root's tools
that walk the mount: what is outside is not read, written or changed, and none of them hangs."""

import os
import subprocess
import sys

import pytest

import harness
import races
import shapes

TOKEN = "OUTSIDE"

FOLLOW = [
    ["cp", "-rL", "{d}", "{s}/cp"],
    ["find", "-L", "{d}", "-type", "f", "-exec", "cat", "{}", "+"],
    ["tar", "-C", "{d}", "-hcf", "{s}/tar", "."],
    ["rsync", "-aL", "{d}/", "{s}/rsync"],
    ["grep", "-R", "-D", "skip", TOKEN, "{d}"],  # without that it waits at a link to a FIFO, anywhere
    ["chown", "-RL", "1234:1234", "{d}"],
    ["chown", "-RH", "1235:1235", "{d}"],
]
STAY = [
    ["grep", "-r", TOKEN, "{d}"],
    ["cp", "-a", "{d}", "{s}/cpa"],
    ["tar", "-C", "{d}", "-cf", "{s}/tar2", "."],
    ["chown", "-R", "1236:1236", "{d}"],
    ["chmod", "-R", "a+rwX", "{d}"],
    ["cp", "-a", "{d}", "{d}.copy"],
    ["rm", "-r", "{d}.copy"],
    ["find", "{d}", "-delete"],
]


class Outside:
    """Canaries: a directory, another route's, and a process with a secret in its environment."""

    def __init__(self, world, other):
        self.dir = races.canary(world.dir / "canary")
        (self.dir / "dir").mkdir()
        for name in ("dir/inner", "suid"):
            (self.dir / name).write_text(TOKEN)
        (self.dir / "suid").chmod(0o4755)
        (other / "secret").write_text(TOKEN)
        for p in (self.dir / "dir/inner", self.dir / "suid", other / "secret", self.dir / "dir"):
            os.utime(p, (races.OLD, races.OLD + 1))
        self.other = other
        env = {**os.environ, "SECRET": TOKEN}
        self.process = subprocess.Popen(["sleep", "1000"], cwd=self.dir, env=env)

    def seen(self):
        return races.seen(self.dir), races.seen(self.other)

    def close(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def outside(world):
    (world.dir / "other").mkdir()
    outside = Outside(world, world.dir / "other")
    yield outside
    outside.close()


def spec_of(outside, mountpoint):
    disk = os.stat("/").st_dev
    found = shapes.batches(str(outside.dir), str(mountpoint), outside.process.pid, [os.major(disk), os.minor(disk)])
    spec = [["aux", shapes.auxiliary(str(outside.dir), str(mountpoint))]]
    spec += [[f"b{i}", batch] for i, batch in enumerate(found)]
    assert sum(len(entries) for _, entries in spec) >= 200
    return spec


def walk(directory, scratch, outside, walkers):
    """What they said. The canary is a descriptor of theirs, for links to /dev/fd."""
    scratch.mkdir()
    said = b""
    fd = os.open(outside.dir / "file", os.O_RDONLY)
    try:
        for argv in walkers:
            argv = [a.format(d=directory, s=scratch) if a != "{}" else a for a in argv]
            opened = f"ulimit -Sn {shapes.DESCRIPTOR + 100}; exec {shapes.DESCRIPTOR}<&{fd} </dev/null"
            script = ["bash", "-c", f'{opened}; exec "$@"', "-", *argv]
            p = subprocess.run(script, capture_output=True, timeout=60 * harness.SLOW, pass_fds=[fd])
            said += p.stdout + b"\n"
    finally:
        os.close(fd)
    return said


def tries(top, world, outside, spec, walkers):
    """Let them walk each batch of TOP; nothing of the outside came in, nothing there has changed."""
    before = outside.seen()
    for name, _ in spec[1:]:
        scratch = world.dir / f"scratch-{name}"
        said = walk(top / name, scratch, outside, walkers)
        assert TOKEN.encode() not in said, (name, said[:2000])
        found = subprocess.run(["grep", "-rl", TOKEN, scratch], capture_output=True).stdout
        assert not found, found
        assert outside.seen() == before, name


def test_the_walkers_get_out_where_nothing_holds_them(world, outside):
    """On a plain directory: what follows can fail."""
    spec = spec_of(outside, world.dir / "m0")
    before = outside.seen()
    harness.run(sys.executable, shapes.__file__, world.dir / "src/top", input=repr(spec))
    assert TOKEN.encode() in walk(world.dir / "src/top/b0", world.dir / "scratch", outside, FOLLOW)
    assert outside.seen() != before


def devices_are_closed(directory):
    for entry in os.scandir(directory):
        if not entry.is_file(follow_symlinks=False) and entry.name[:2] in ("b ", "c "):
            with pytest.raises(PermissionError):
                os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK)


@pytest.mark.parametrize("symlinks,walkers", [("contain", FOLLOW + STAY), ("verbatim", STAY)])
def test_shapes_of_a_host_route(mount, world, outside, symlinks, walkers):
    box = mount(f"/h=host:{world.dir}/src,symlinks={symlinks}", f"/other=host:{outside.other}")
    spec = spec_of(outside, box)
    harness.run(sys.executable, shapes.__file__, world.dir / "src/top", input=repr(spec))
    devices_are_closed(box / f"h/top/{spec[-2][0]}")
    tries(box / "h/top", world, outside, spec, walkers)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("symlinks,walkers", [("contain", FOLLOW + STAY), ("verbatim", STAY)][: 2 if harness.LONG else 1])
def test_shapes_of_a_container(mount, world, container, outside, symlinks, walkers):
    name = container("aib-test:python")
    box = mount(f"/bb=container:{name},symlinks={symlinks},transport=guest", f"/other=host:{outside.other}")
    spec = spec_of(outside, box)
    (box / "bb/root/shapes.py").write_text(open(shapes.__file__).read())
    box.exec("python3", "shapes.py", "/top", cwd="bb/root", input=repr(spec), check=True)
    # The same paths in the sandbox: links lead somewhere.
    inside = f"mkdir -p {outside.dir}/dir; cd {outside.dir}; for f in file suid dir/inner; do echo inside > $f; done"
    box.exec("sh", "-c", inside, cwd="bb/root", check=True)
    devices_are_closed(box / f"bb/top/{spec[-2][0]}")
    tries(box / "bb/top", world, outside, spec, walkers)
