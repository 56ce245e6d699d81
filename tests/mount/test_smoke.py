"""The shortest road through a mount; also run on a build with the machine's own libfuse."""

import os

from harness import mounts_below, program, run, wait_for


def test_memory_and_host_routes_take_and_give_files(mount, world):
    (world.dir / "src/a").write_text("from beside\n")
    box = mount("/h=host:" + str(world.dir / "src"))
    assert sorted(os.listdir(box)) == ["h"]
    assert (box / "h/a").read_text() == "from beside\n"

    (box / "x").write_bytes(b"in memory\0\n")
    run("cp", box / "x", box / "h/x")
    assert (world.dir / "src/x").read_bytes() == b"in memory\0\n"
    run("mv", box / "h/x", box / "d")
    assert not (world.dir / "src/x").exists()
    assert (box / "d").read_bytes() == b"in memory\0\n"


def test_umount_ends_the_daemon(mount, world):
    box = mount()
    box.umount()
    assert not mounts_below(world.dir)
    assert not world.daemons()


def test_sigterm_ends_the_daemon_clean(mount, world):
    box = mount()
    (box / "x").write_text("x")
    os.kill(box.pid, 15)
    wait_for("the daemon to end", lambda: not world.daemons())
    assert not mounts_below(world.dir)


def test_the_mount_of_a_killed_daemon_is_cleaned_by_the_next(mount, world):
    box = mount()
    os.kill(box.pid, 9)
    again = mount(path=box.path)
    (again / "x").write_text("works")
    assert (again / "x").read_text() == "works"


def test_programs_tell_their_version_and_help():
    for name in ("aib", "aib-exec", "aibfs", "aib-guest"):
        assert run(program(name), "--version").stdout.strip().split()[-1][0].isdigit()
        assert name in run(program(name), "--help").stdout
