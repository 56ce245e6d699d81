"""What a command changed is seen at its end, however long the kernel was let remember it."""

import os

import pytest


@pytest.fixture
def box(engine, mount, world):
    (world.dir / "src/d").mkdir()
    (world.dir / "src/f").write_text("old")
    host = f"/proj=host:{world.dir}/src,exec=/bb,entry_timeout=60s,attr_timeout=60s"
    return mount(host, "/bb=docker:aib-test:busybox")


def test_a_directory_that_is_bound_into_the_sandbox(box):
    proj = box / "proj"
    here = os.open(proj / "d", os.O_PATH)
    there = os.open(proj / "f", os.O_RDONLY)
    before = os.stat(here).st_mtime_ns, os.fstat(there).st_size, (proj / "f").stat().st_size
    assert before[1:] == (3, 3) and sorted(os.listdir(proj)) == ["d", "f"]
    for i in range(3):
        p = box.exec("sh", "-c", f"echo newer{i} >f; touch d/{i}", cwd="proj")
        assert p.returncode == 0, p.stderr
        assert os.fstat(there).st_size == (proj / "f").stat().st_size == 7
        assert (proj / "f").read_text() == f"newer{i}\n"
        after = os.stat(here).st_mtime_ns
        assert after > before[0]
        before = (after,)
        p = box.exec("rm", f"d/{i}", cwd="proj")
        assert p.returncode == 0
        assert not (proj / f"d/{i}").exists()
    os.close(here)
    os.close(there)
