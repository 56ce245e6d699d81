"""Signals that do not kill change no answer; those that kill end every call at once (signals.c)."""

import pytest

from harness import BUILD, LONG, run

SIGNALS = BUILD / "tests/mount/signals"
CALLS = 100_000 if LONG else 3_000


@pytest.mark.timeout(900 if LONG else 120)
@pytest.mark.parametrize(
    "route, options",
    [
        ("/r=memory", None),
        ("/=memory", "control=none"),
        ("/r=host:{src}", None),
        ("/r=host:{src}", "passthrough=no"),
    ],
    ids=["memory", "memory-alone", "host", "host-no-passthrough"],
)
def test_no_call_is_disturbed_by_signals(world, mount, route, options):
    box = mount(route.format(src=world.dir / "src"), options=options)
    work = box / "r" if route.startswith("/r") else box.path
    p = run(SIGNALS, "calls", str(CALLS), work, check=False, timeout=800)
    assert p.returncode == 0, p.stdout
    print(p.stdout)
