"""Every call through a mount while someone exchanges its names with links that lead out of a host route."""

import contextlib

import pytest

import races
from harness import run


@contextlib.contextmanager
def raced(directory, out):
    """A swapper in DIRECTORY, which fills the given list with what it did."""
    run(races.RACER, "make", directory, out)
    swapper = races.start_swapper(races.RACER, "swap", directory)
    exchanges = []
    try:
        yield exchanges
    finally:
        exchanges.append(races.end_swapper(swapper))


def test_the_racer_gets_out_where_nothing_holds_it(world):
    """On a plain directory: what follows can fail."""
    out = races.canary(world.dir / "out")
    before = races.seen(out)
    kinds = set()
    with raced(world.dir / "src", out):
        for _ in range(20):
            kinds |= {leak.split()[0] for leak in races.call(world.dir / "src", out, 10_000)[1]}
            if kinds >= {"readdir", "stat"}:
                break
    assert kinds >= {"readdir", "stat"}
    assert races.seen(out) != before


@pytest.mark.timeout(120 + races.ROUNDS // 100)
@pytest.mark.parametrize("symlinks", ["contain", "verbatim"])
@pytest.mark.parametrize("keep", ["entry_timeout=0,attr_timeout=0", "entry_timeout=0,attr_timeout=0,fd_cache=8", "entry_timeout=1s"])
def test_nothing_leads_out_of_a_host_route(mount, world, symlinks, keep):
    out = races.canary(world.dir / "out")
    before = races.seen(out)
    box = mount(f"/h=host:{world.dir}/src,symlinks={symlinks},{keep}")
    with raced(world.dir / "src", out) as exchanges:
        calls, leaks = races.call(box / "h", out, races.ROUNDS // 3, follow=symlinks == "contain")
    assert not leaks
    assert races.seen(out) == before
    races.is_tried(calls, exchanges[0], races.ROUNDS // 3)
