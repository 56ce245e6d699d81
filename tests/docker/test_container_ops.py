"""The operations on a container's files say what they say on a host directory's, over the guest and over archives."""

import json
import os

import pytest

from harness import LONG, program, run

IMAGE = "aib-test:busybox"
TREE = {
    "a.py": b"import os\nprint('hit')\n", "src/b.py": b"hit\r\nmiss\r\n", "src/deep/c.txt": b"no newline hit", "src/.hidden": b"hit\n",
    "bin": b"hit\0\n", "empty": b"", "src/caf\u00e9.txt": "Gr\u00fc\u00dfe hit\n".encode(), "latin": b"\xe9 hit\n", ".gitignore": b"*.txt\n",
}  # fmt: skip
COMMANDS = [
    ["ls", "."], ["ls", "--json", "src"], ["ls", "nope"], ["read", "a.py"], ["read", "--offset", "1", "--limit", "1", "src/b.py"],
    ["read", "--json", "latin"], ["read", "nope"], ["read", "src"], ["read", "--offset", "9", "a.py"], ["read", "link"], ["read", "empty"],
    ["glob", "**/*.py"], ["glob", "--hidden", "**"], ["glob", "--gitignore", "**"], ["glob", "{src,nope}/*.{py,txt}"], ["grep", "hit"],
    ["grep", "--json", "hit", "."], ["grep", "-i", "--glob", "*.py", "HIT"], ["grep", "--mode", "count", "hit", "src"],
    ["grep", "--gitignore", "--mode", "files", "hit"], ["grep", "nothing"], ["grep", "("], ["grep", "--max", "2", "hit"],
    ["edit", "--old", "x", "--new", "y", "nope"], ["edit", "--old", "zzz", "--new", "y", "a.py"], ["edit", "--old", "i", "--new", "y", "a.py"],
    ["edit", "--old", "hit\r\nmiss", "--new", "one\r\ntwo", "src/b.py"], ["write", "--json", "--content", "new", "x/y/z"],
    ["write", "--expect", "00", "--content", "q", "a.py"], ["write", "--content", "shorter", "a.py"], ["read", "a.py"], ["read", "--raw", "src/b.py"],
    ["ls", "x/y"], ["grep", "one|new|short", "."],
]  # fmt: skip


def make(directory):
    directory.mkdir(parents=True)
    for name, data in TREE.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    os.symlink("src/b.py", directory / "link")
    run("find", directory, "-exec", "touch", "-h", "-d", "2024-05-06 07:08:09", "{}", "+")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("transport", ["guest", "archive"])
def test_a_container_route_says_what_a_host_route_says(mount, world, transport, engine):
    box = mount(f"/h=host:{world.dir}/src", f"/bb=docker:{IMAGE},transport={transport}")
    places = box / "h/t", box / "bb/t"
    for place in places:
        make(place)
    for argv in COMMANDS if transport == "guest" or LONG else COMMANDS[2::3]:
        host, container = (run(program("aib"), *argv, cwd=p, check=False, text=False) for p in places)
        said = [(p.returncode, clean(argv, p.stdout), p.stderr) for p in (host, container)]
        assert said[0] == said[1], argv
    assert (box / "bb/t/a.py").read_text() == "shorter"
    assert not [n for n in os.listdir(box / "bb/t") if n.startswith(".aib-")]


def clean(argv, out):
    """Archives have whole seconds; when what was just made was made is another minute's."""
    if argv[0] == "ls" and "--json" in argv:
        doc = json.loads(out)
        for entry in doc["entries"]:
            entry["modified_at"] = entry["modified_at"][:19]
            if entry["is_dir"]:
                del entry["modified_at"]
        return doc
    return b"\n".join(b" ".join(f for i, f in enumerate(line.split()) if i not in (2, 3)) for line in out.splitlines()) if argv[0] == "ls" else out


def test_what_aib_wrote_is_there_for_a_command_and_the_other_way(mount, engine):
    box = mount(f"/bb=docker:{IMAGE}")
    run(program("aib"), "write", "--content", "from the host\n", box / "bb/tmp/f")
    assert box.exec("cat", "/tmp/f", cwd="bb").stdout == "from the host\n"
    box.exec("-c", "echo from inside >/tmp/f", cwd="bb")
    assert run(program("aib"), "read", "--raw", box / "bb/tmp/f").stdout == "from inside\n"
    assert run(program("aib"), "edit", "--old", "inside", "--new", "both", box / "bb/tmp/f").stdout == "1 occurrence replaced\n"
    assert box.exec("cat", "/tmp/f", cwd="bb").stdout == "from both\n"
    assert (box / "bb/tmp/f").read_text() == "from both\n"
