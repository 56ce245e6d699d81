"""Symlinks of a container through the mount: made, shown and followed as the sandbox has them."""

import errno
import os

import pytest

from harness import run

IMAGE = "aib-test:busybox"

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(params=["auto", "archive"])
def bb(mount, request):
    return mount(f"/bb=docker:{IMAGE},transport={request.param}")


def make(box, line):
    """A shell line in the sandbox's /root; the mount's view of it."""
    p = box.exec("sh", "-c", line, cwd="bb/root")
    assert p.returncode == 0, p.stderr
    return box / "bb/root"


def refused(code, call, *args, **kw):
    with pytest.raises(OSError) as e:
        call(*args, **kw)
    assert e.value.errno == code, e.value


@pytest.mark.parametrize("running", [False, True])
def test_any_target_can_be_made(bb, running):
    targets = ["../../../../../../etc/shadow", "../etc/passwd", "d/../../x", "../../root/f", "/etc/group", "f"]
    if running:
        make(bb, "true")
    for i, target in enumerate(targets):
        os.symlink(target, bb / f"bb/workspace/l{i}")
    p = bb.exec("sh", "-c", "for i in 0 1 2 3 4 5; do readlink l$i; done; stat -c %u:%g l0", cwd="bb/workspace")
    assert p.stdout.splitlines() == [*targets, f"{os.getuid()}:{os.getgid()}"]
    assert "root" in (bb / "bb/workspace/l1").read_text()


def test_links_that_lead_out_survive_tar(bb, world):
    src = world.dir / "src"
    os.symlink("../../../../../../etc/shadow", src / "up")
    run("sh", "-c", f"tar -C {src} -c . | tar -C {bb}/bb/workspace -x")
    assert bb.exec("readlink", "up", cwd="bb/workspace").stdout == "../../../../../../etc/shadow\n"


def test_a_link_out_of_a_volume_is_made_in_it(mount, world):
    box = mount(f"/bb=docker:{IMAGE},volume={world.dir}/src:/v/w")
    os.symlink("../../etc/passwd", box / "bb/v/w/up")
    assert os.readlink(world.dir / "src/up") == "../../etc/passwd"
    assert os.readlink(box / "bb/v/w/up") == "../../etc/passwd"


def test_loops_are_links_that_lead_nowhere(bb):
    line = "ln -s loop2 loop1; ln -s loop1 loop2; ln -s self self; ln -s /root/abs2 abs1; ln -s /root/abs1 abs2"
    root = make(bb, f"{line}; echo x >f; ln -s f/x/y through")
    for name, target in {"loop1": "loop2", "self": "self", "through": "f/x/y"}.items():
        assert os.readlink(root / name) == target
        assert os.path.islink(root / name)
    assert os.lstat(root / "loop1").st_size == len("loop2")
    for name in ("loop1", "self", "abs1"):
        refused(errno.ELOOP, open, root / name)
    refused(errno.ENOTDIR, open, root / "through")
    assert "loop1 -> loop2" in run("ls", "-l", root).stdout
    os.unlink(root / "loop1")
    assert "loop1" not in os.listdir(root)


def test_loops_can_be_made(bb):
    root = bb / "bb/root"
    os.symlink("loop2", root / "loop1")
    os.symlink("loop1", root / "loop2")
    assert os.readlink(root / "loop1") == "loop2"
    assert os.readlink(root / "loop2") == "loop1"


def test_what_dangles_in_the_sandbox_dangles(bb):
    root = make(bb, "mkdir q; ln -s /nonexist/../../etc q/ne; ln -s ../x/../../etc/passwd q/ne2; ln -s /no/such q/no")
    assert os.readlink(root / "q/ne") == f"{bb}/bb/nonexist/etc"
    assert os.readlink(root / "q/ne2") == f"{bb}/bb/root/x/etc/passwd"
    assert os.readlink(root / "q/no") == f"{bb}/bb/no/such"
    for name in ("ne", "ne2", "no"):
        refused(errno.ENOENT, os.stat, root / "q" / name)


def test_the_way_up_goes_through_links_as_in_the_sandbox(bb):
    line = "mkdir -p a/b; echo here >a/f; echo up >f; ln -s a/b in; ln -s in/../f rel; ln -s /root/in/../f abs"
    root = make(bb, f"{line}; ln -s a/../f plain; ln -s in2/../f two; ln -s /root//./in in2")
    assert (root / "rel").read_text() == "here\n"
    assert os.readlink(root / "rel") == os.readlink(root / "abs") == f"{bb}/bb/root/a/f"
    assert os.readlink(root / "two") == f"{bb}/bb/root/a/f"
    assert os.readlink(root / "in2") == f"{bb}/bb/root/in"
    assert os.readlink(root / "plain") == "f"
    assert (root / "plain").read_text() == "up\n"


def test_the_way_up_needs_a_directory(bb):
    root = make(bb, "ln -s loop loop; ln -s loop/../f walk; echo x >f; ln -s f/.. up; ln -s f/../f on")
    refused(errno.ELOOP, os.stat, root / "walk")
    refused(errno.ENOTDIR, os.stat, root / "up")
    refused(errno.ENOTDIR, os.stat, root / "on")
