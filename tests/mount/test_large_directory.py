"""A directory of very many entries that is listed while others add and remove: each entry that was there
all the time is seen once. A million with --long, 15,000 without."""

import os
import random
import subprocess
import sys

import pytest

import harness

ENTRIES = 1_000_000 if harness.LONG else 15_000

MAKE = """
import os, sys
os.chdir(sys.argv[1])
for i in range(int(sys.argv[2])):
    os.close(os.open(f"f{i}", os.O_CREAT | os.O_WRONLY))
"""

# Entries of its own, which may be seen or not.
CHANGE = """
import os, sys
os.chdir(sys.argv[1])
while True:
    for i in range(500):
        os.close(os.open(f"new{i}", os.O_CREAT | os.O_WRONLY))
    for i in range(500):
        os.rename(f"new{i}", f"moved{i}")
    for i in range(500):
        os.unlink(f"moved{i}")
"""


@pytest.fixture(params=["memory", "memory alone", "host"])
def place(request, mount, world):
    """(a directory with the entries, where to change them from)"""
    if request.param == "memory alone":
        box = mount("/=memory", options="control=none")
        made = seen = box / "work"
    elif request.param == "memory":
        box = mount("/m=memory")
        made = seen = box / "m/work"
    else:
        box = mount(f"/h=host:{world.dir}/src")
        made, seen = world.dir / "src/work", box / "h/work"
    made.mkdir()
    subprocess.run([sys.executable, "-c", MAKE, made, str(ENTRIES)], check=True)
    return made, seen


def names(directory):
    with os.scandir(directory) as entries:
        return [e.name for e in entries]


@pytest.mark.timeout(1200 if harness.LONG else 120)
def test_nothing_is_missed_or_seen_twice(place):
    made, seen = place
    stays = {f"f{i}" for i in range(ENTRIES)}
    changer = subprocess.Popen([sys.executable, "-c", CHANGE, made])
    try:
        for _ in range(3):
            found = names(seen)
            assert len(found) == len(set(found))
            assert stays <= set(found)
            assert {n[:3] for n in set(found) - stays} <= {"new", "mov"}
        assert changer.poll() is None
    finally:
        changer.kill()
        changer.wait()


@pytest.mark.timeout(1200 if harness.LONG else 120)
def test_the_reader_itself_removes_what_it_sees(place):
    made, seen = place
    rng = random.Random(7)
    found, removed = [], set()
    with os.scandir(seen) as entries:
        for e in entries:
            if e.name[0] == "x":
                continue
            found.append(e.name)
            if rng.random() < 0.02:
                os.unlink(seen / e.name)
                removed.add(e.name)
            if rng.random() < 0.001:
                (seen / f"x{len(found)}").touch()
    assert removed and len(found) == len(set(found)) == ENTRIES
    assert {n for n in names(seen) if n[0] == "f"} == set(found) - removed
