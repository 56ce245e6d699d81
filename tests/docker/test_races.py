"""Every call through a mount while a program in the sandbox exchanges names with links that lead out."""

import contextlib
import shutil

import pytest

import harness
import races

IMAGE = "aib-test:busybox"
INSIDE = "mkdir {out} && cd {out} && for f in file n0; do echo inside > $f; done; ln -s file n2; mkdir n1"


@contextlib.contextmanager
def raced(box, at, place, out):
    """A swapper in the sandbox's directory PLACE, which the mount shows as AT. The sandbox has what is at the
    path of the outside, too."""
    (box / at / "race").mkdir()
    shutil.copy(races.RACER, box / at / "racer")
    box.exec("sh", "-c", f"mkdir -p {out.parent}; ({INSIDE.format(out=out)}); ./racer make {place}/race {out}", cwd=at,
             check=True)
    swapper = races.start_swapper(harness.program("aib-exec"), "./racer", "swap", f"{place}/race", cwd=box / at)
    exchanges = []
    try:
        yield exchanges
    finally:
        exchanges.append(races.end_swapper(swapper))


def race(box, at, place, world, rounds):
    out = races.canary(world.dir / "out")
    before = races.seen(out)
    with raced(box, at, place, out) as exchanges:
        calls, leaks = races.call(box / at / "race", out, rounds)
    assert not leaks
    assert races.seen(out) == before
    return calls, exchanges[0]


@pytest.mark.timeout(120 + races.ROUNDS // 50)
@pytest.mark.parametrize("guest", ["direct", "stream"])
def test_nothing_leads_out_of_a_container(mount, engine, world, guest):
    box = mount(f"/bb=docker:{IMAGE},guest={guest}")
    rounds = races.ROUNDS // 4
    races.is_tried(*race(box, "bb/root", "/root", world, rounds), rounds)


@pytest.mark.timeout(120 + races.ROUNDS // 50)
def test_nothing_leads_out_of_a_volume(mount, engine, world):
    """The sandbox changes a directory of the host under a host route."""
    box = mount(f"/h=host:{world.dir}/src,exec=/bb,entry_timeout=0,attr_timeout=0", f"/bb=docker:{IMAGE}")
    rounds = races.ROUNDS // 4
    races.is_tried(*race(box, "h", "/h", world, rounds), rounds)


@pytest.mark.timeout(120 + races.ROUNDS // 50)
def test_nothing_leads_out_of_a_workspace(mount, root, world):
    box = mount(f"/sessions=sessions,image={IMAGE},workspace_root={root}")
    (box / "sessions/a").mkdir()
    rounds = races.ROUNDS // 4
    races.is_tried(*race(box, "sessions/a", "/workspace", world, rounds), rounds)


@pytest.mark.timeout(120 + races.ROUNDS // 100)
def test_nothing_leads_out_by_archives(mount, engine, world):
    """A call takes half a second here."""
    box = mount(f"/bb=docker:{IMAGE},transport=archive")
    race(box, "bb/root", "/root", world, 10 + races.ROUNDS // 5000)
