"""The contract suite on the docker backend, and over a container's guest, with a real engine."""

import os
import re
import subprocess

import pytest

from harness import BIN, BUILD, SLOW, TOP

TESTS = [
    name
    for source in sorted((TOP / "tests/contract").glob("test_*.c"))
    for name in re.findall(r"\bTEST\((\w+)\)", source.read_text())
]


def contract(program, *names, **more):
    env = dict(
        os.environ,
        **more,
        AIB_TEST_IMAGE="aib-test:busybox",
        AIB_TEST_GUEST=str(BIN / "aib-guest"),
    )
    p = subprocess.run(
        [BUILD / "tests/contract" / program, *names],
        env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=380 * SLOW,
    )  # fmt: skip
    assert p.returncode == 0, p.stdout + p.stderr


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", TESTS)
def test_docker_by_archives(engine, name):
    contract("contract_docker", name, AIB_TEST_TRANSPORT="archive")


@pytest.mark.timeout(400)
def test_docker_over_the_guest(engine):
    contract("contract_docker", AIB_TEST_TRANSPORT="guest")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("way", ["stream", "direct"])
def test_guest(engine, way):
    """All of them in one container: here they are quick, and the container's start is not."""
    contract("contract_guest", AIB_TEST_WAY=way)
