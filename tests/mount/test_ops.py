"""The operations (aib read, write, edit, ls, glob, grep) over memory and host routes of a real mount:
formats and messages, permissions, atomicity, and what git and bash say of patterns."""

import contextlib
import hashlib
import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import threading
import time

import pytest

from harness import SLOW, program, rss_kb, run, wait_for

NOBODY = 65534


def aib(*argv, cwd=None, **kw):
    kw.setdefault("check", False)
    return run(program("aib"), *argv, cwd=cwd, **kw)


def good(*argv, **kw):
    p = aib(*argv, **kw)
    assert (p.returncode, p.stderr) == (0, "" if kw.get("text", True) else b""), p
    return p.stdout


def error(*argv, **kw):
    """The status and the message of what fails; JSON says the same."""
    p = aib(*argv, **kw)
    q = aib(argv[0], "--json", *argv[1:], **kw)
    assert p.returncode != 0 and p.stdout == "", p
    assert q.returncode == p.returncode and q.stderr == "", q
    assert json.loads(q.stdout)["error"] + "\n" == p.stderr
    return p.returncode, p.stderr.rstrip("\n")


@pytest.fixture(params=["memory", "host"])
def place(request, mount, world):
    """A directory of the route that everybody may write to."""
    box = mount(f"/h=host:{world.dir}/src", options="control_users=nobody")
    directory = box / ("h" if request.param == "host" else "") / "work"
    directory.mkdir()
    directory.chmod(0o777)
    return directory


def sha(data):
    return hashlib.sha256(data).hexdigest()


# ---- read ----


def test_read_numbers_lines_and_says_how_many_are_left(place):
    (place / "f").write_bytes(b"one\ntwo\r\n\nlast")
    assert good("read", "f", cwd=place, text=False) == b"     1\tone\n     2\ttwo\r\n     3\t\n     4\tlast\n"
    assert good("read", "--offset", "1", "--limit", "2", "f", cwd=place, text=False) == (
        b"     2\ttwo\r\n     3\t\n\n... (1 more lines)\n"
    )
    assert good("read", "--raw", "f", cwd=place, text=False) == b"one\ntwo\r\n\nlast"
    assert good("read", "--raw", "--offset", "1", "--limit", "1", "f", cwd=place, text=False) == b"two\r\n"
    doc = json.loads(good("read", "--json", "--limit", "1", "f", cwd=place))
    assert doc == {
        "path": "f", "content": "     1\tone\n\n... (3 more lines)", "offset": 0, "lines": 1, "total_lines": 4,
        "size": 14, "sha256": sha(b"one\ntwo\r\n\nlast"),
    }  # fmt: skip


def test_read_shows_two_thousand_lines_by_default(place):
    (place / "f").write_text("x\n" * 2345)
    lines = good("read", place / "f").splitlines()
    assert len(lines) == 2002 and lines[1999:] == ["  2000\tx", "", "... (345 more lines)"]


def test_read_of_an_empty_file_is_nothing(place):
    (place / "f").touch()
    assert good("read", place / "f") == ""
    assert json.loads(good("read", "--json", place / "f"))["content"] == ""
    assert error("read", "--offset", "3", "f", cwd=place) == (1, "Error: Offset 3 exceeds file length (0 lines)")


def test_read_says_what_is_wrong(place):
    (place / "d").mkdir()
    (place / "f").write_text("a\nb\n")
    os.mkfifo(place / "p")
    assert error("read", "no", cwd=place) == (1, "Error: File 'no' not found")
    assert error("read", "f/x", cwd=place) == (1, "Error: File 'f/x' not found")
    assert error("read", "d", cwd=place) == (1, "Error: 'd' is a directory")
    assert error("read", "p", cwd=place) == (1, "Error: 'p' is not a regular file")
    assert error("read", "--offset", "2", "f", cwd=place) == (1, "Error: Offset 2 exceeds file length (2 lines)")


def test_read_is_bytes_in_text_and_replacement_in_json(place):
    data = b"caf\xe9 \xe2\x82\xac \xff\x00\x1b\"\\\n"
    (place / "f").write_bytes(data)
    assert good("read", place / "f", text=False) == b"     1\t" + data
    doc = json.loads(good("read", "--json", place / "f"))
    assert doc["content"] == "     1\t" + data.decode(errors="replace").rstrip("\n")


def test_a_character_over_the_border_of_a_piece_is_whole_in_json(place):
    for shift in range(4):
        text = "x" * (256 * 1024 - 7 + shift) + "\u20ac\U0001f600" * 100000
        (place / "f").write_text(text)
        assert json.loads(good("read", "--json", "--raw", place / "f"))["content"] == text


def test_reading_near_the_end_of_a_gigabyte_does_not_hold_it(place, world):
    path = place / "big"
    with open(path, "wb") as f:
        f.write(b"first\n")
        f.truncate(1 << 30)
        f.seek(0, 2)
        f.write(b"\nnear\nlast\n")
    pid = world.daemons()[0]
    peak = []
    done = threading.Event()

    def watch():
        while not done.wait(0.01):
            peak.append(rss_kb(pid))

    thread = threading.Thread(target=watch)
    thread.start()
    out = good("read", "--offset", "2", path)
    done.set()
    thread.join()
    assert out == "     3\tnear\n     4\tlast\n"
    assert max(peak) < 300 * 1024


# ---- write ----


def test_write_makes_parents_and_keeps_mode_and_owner(place):
    assert good("write", "a/b/c/f", cwd=place, input="text\n") == ""
    assert (place / "a/b/c/f").read_text() == "text\n"
    assert (place / "a/b/c/f").stat().st_mode & 0o777 == 0o644
    os.chmod(place / "a/b/c/f", 0o751)
    os.chown(place / "a/b/c/f", 12, 34)
    doc = json.loads(good("write", "--json", "--content", "two", "a/b/c/f", cwd=place))
    assert doc == {"path": "a/b/c/f", "size": 3, "sha256": sha(b"two")}
    st = (place / "a/b/c/f").stat()
    assert (st.st_mode & 0o777, st.st_uid, st.st_gid) == (0o751, 12, 34)
    assert (place / "a/b/c/f").read_text() == "two"
    assert os.listdir(place / "a/b/c") == ["f"]


def test_write_obeys_the_callers_umask_and_takes_any_bytes(place):
    data = os.urandom(3_000_000)
    run("sh", "-c", f"umask 077; exec '{program('aib')}' write d/f", cwd=place, input=data, text=False)
    assert (place / "d/f").read_bytes() == data
    assert (place / "d/f").stat().st_mode & 0o777 == 0o600
    assert (place / "d").stat().st_mode & 0o777 == 0o700
    good("write", "d/f", cwd=place, input="")
    assert (place / "d/f").read_bytes() == b""


def test_write_keeps_extended_attributes(place):
    (place / "f").write_text("x")
    os.setxattr(place / "f", "user.note", b"kept\0")
    good("write", "--content", "y", place / "f")
    assert os.getxattr(place / "f", "user.note") == b"kept\0"


def test_write_through_a_link_writes_its_target(place):
    (place / "f").write_text("x")
    os.symlink("f", place / "l")
    good("write", "--content", "y", place / "l")
    assert os.readlink(place / "l") == "f" and (place / "f").read_text() == "y"


def test_write_with_expect_wants_the_version_that_was_read(place):
    (place / "f").write_text("one")
    seen = json.loads(good("read", "--json", place / "f"))["sha256"]
    good("write", "--expect", seen, "--content", "two", place / "f")
    status, text = error("write", "--expect", seen, "--content", "three", "f", cwd=place)
    assert status == 1 and text.startswith("Error: File 'f' has changed since it was read")
    assert error("write", "--expect", seen, "--content", "x", "new", cwd=place)[0] == 1
    assert (place / "f").read_text() == "two"
    assert sorted(os.listdir(place)) == ["f"]


def has_begun(place):
    """Whether a writer's new file is beside the only one; a listing that the kernel has from before does not tell."""
    return len(run(program("aib"), "ls", place).stdout.splitlines()) == 2


def test_a_writer_that_dies_leaves_what_was_there(place):
    (place / "f").write_text("old")
    p = subprocess.Popen([program("aib"), "write", place / "f"], stdin=subprocess.PIPE)
    p.stdin.write(b"half")
    p.stdin.flush()
    wait_for("the writer to begin", lambda: has_begun(place))
    p.kill()
    p.wait()
    p.stdin.close()
    wait_for("the rest to go", lambda: os.listdir(place) == ["f"])
    assert (place / "f").read_text() == "old"


def test_a_full_route_keeps_the_old_file(mount):
    box = mount("/=memory,size=1M")
    (box / "f").write_text("old")
    status, text = error("write", "f", cwd=box, input="x" * 2_000_000)
    assert (status, text) == (1, "Error: 'f': No space left on device")
    assert os.listdir(box) == ["f"] and (box / "f").read_text() == "old"
    (box / "g").write_text("y" * 600_000)
    assert error("edit", "--old", "y", "--new", "zz", "--replace-all", "g", cwd=box)[1] == "Error: 'g': No space left on device"
    assert sorted(os.listdir(box)) == ["f", "g"] and (box / "g").stat().st_size == 600_000


@pytest.mark.parametrize("route, options", [("readonly", None), ("symlinks=contain", "ro")])
def test_nothing_is_written_where_the_mount_says_read_only(mount, world, route, options):
    (world.dir / "src/f").write_text("old")
    box = mount(f"/h=host:{world.dir}/src,{route}", options=options)
    for argv in (["write", "--content", "x", "f"], ["write", "--content", "x", "d/g"], ["edit", "--old", "o", "--new", "x", "f"]):
        status, text = error(*argv, cwd=box / "h")
        assert status == 1 and text.endswith("Read-only file system")
    assert os.listdir(world.dir / "src") == ["f"]


def test_readers_never_see_a_torn_file(place):
    """Writes of two versions, over and over: each read is one of both, whole."""
    versions = {b"a" * 20000, b"b" * 30000}
    (place / "f").write_bytes(b"a" * 20000)
    wrong, reads, done = [], [0], threading.Event()

    def read():
        while not done.is_set():
            data = (place / "f").read_bytes()
            reads[0] += 1
            if data not in versions:
                wrong.append(len(data))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for t in readers:
        t.start()
    script = (
        "i=0; head -c 20000 /dev/zero | tr '\\0' a >\"$2/a\"; head -c 30000 /dev/zero | tr '\\0' b >\"$2/b\"\n"
        f"while [ $i -lt {150 // SLOW ** 2} ]; do \"$0\" write \"$1\" <\"$2/b\" && \"$0\" write \"$1\" <\"$2/a\" || exit 1; i=$((i+1)); done"
    )
    src = place.parent
    try:
        run("sh", "-c", script, program("aib"), place / "f", src, timeout=100)
    finally:
        done.set()
        for t in readers:
            t.join()
    assert not wrong and reads[0] > 10


# ---- edit ----


def test_edit_takes_bytes_as_they_are(place):
    cases = [
        (b"a\r\nb\r\nc\r\n", "b\r\nc", "x", b"a\r\nx\r\n"),
        (b"caf\xe9 one\n", "one", "two", b"caf\xe9 two\n"),
        (b"no newline", "newline", "end", b"no end"),
        (b"l1\nl2\nl3\n", "l1\nl2\n", "", b"l3\n"),
        (b"nul\0here", "here", "there", b"nul\0there"),
    ]
    for before, old, new, after in cases:
        (place / "f").write_bytes(before)
        assert good("edit", "--old", old, "--new", new, place / "f") == "1 occurrence replaced\n"
        assert (place / "f").read_bytes() == after
    (place / "f").write_bytes(b"x\xe9y")
    run(program("aib"), "edit", "--old", os.fsdecode(b"\xe9"), "--new", os.fsdecode(b"\xff\xfe"), place / "f")
    assert (place / "f").read_bytes() == b"x\xff\xfey"


def test_edit_messages_are_the_seeds(place):
    (place / "f").write_text("one two two")
    assert error("edit", "--old", "x", "--new", "y", "no", cwd=place) == (1, "File 'no' not found")
    assert error("edit", "--old", "x", "--new", "y", "f", cwd=place) == (1, "String 'x' not found in file")
    assert error("edit", "--old", "two", "--new", "y", "f", cwd=place) == (
        1,
        "String 'two' found 2 times. Use replace_all=True to replace all, or provide more context.",
    )
    assert error("edit", "--old", "", "--new", "y", "f", cwd=place)[0] == 1
    assert error("edit", "--old", "one", "--new", "one", "f", cwd=place)[0] == 1
    assert (place / "f").read_text() == "one two two"
    doc = json.loads(good("edit", "--json", "--replace-all", "--old", "two", "--new", "2", "f", cwd=place))
    assert doc == {"path": "f", "occurrences": 2, "size": 7, "sha256": sha(b"one 2 2")}


def test_edit_keeps_mode_and_owner(place):
    (place / "f").write_text("x")
    os.chmod(place / "f", 0o640)
    os.chown(place / "f", 12, 34)
    good("edit", "--old", "x", "--new", "y", place / "f")
    st = (place / "f").stat()
    assert (st.st_mode & 0o7777, st.st_uid, st.st_gid) == (0o640, 12, 34)


def test_edits_at_once_are_all_done(place):
    """Each of 40 editors replaces a word of its own: none undoes another's."""
    (place / "f").write_text("".join(f"<w{i}>\n" for i in range(40)))
    procs = [subprocess.Popen([program("aib"), "edit", "--old", f"<w{i}>", "--new", f"done{i}", place / "f"],
                              stdout=subprocess.DEVNULL) for i in range(40)]  # fmt: skip
    assert [p.wait(60) for p in procs] == [0] * 40
    assert (place / "f").read_text() == "".join(f"done{i}\n" for i in range(40))


def test_of_two_edits_of_one_version_one_is_refused(place):
    (place / "f").write_text("start")
    seen = sha(b"start")
    procs = [subprocess.Popen([program("aib"), "edit", "--expect", seen, "--old", "start", "--new", f"v{i}", place / "f"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for i in range(8)]  # fmt: skip
    assert sorted(p.wait(60) for p in procs) == [0] + [1] * 7


def test_what_was_edited_is_seen_through_the_mount_at_once(place):
    for i in range(50):
        (place / "f").write_text(f"v{i}")
        os.stat(place / "f")
        good("edit", "--old", f"v{i}", "--new", f"longer{i}", place / "f")
        assert (place / "f").read_text() == f"longer{i}"
        assert not (place / f"new{i}").exists()
        good("write", "--content", "x", place / f"new{i}")
        assert (place / f"new{i}").exists()


@pytest.mark.timeout(240)
def test_edit_of_a_gigabyte_does_not_hold_it(mount, world):
    path = world.dir / "src/big"
    with open(path, "wb") as f:
        f.truncate(1 << 30)
        f.seek(1 << 29)
        f.write(b"needle")
        f.seek((1 << 30) - 3)
        f.write(b"end")
    box = mount(f"/h=host:{world.dir}/src")
    good("edit", "--old", "needle", "--new", "pin", box / "h/big", timeout=200)
    assert rss_kb(box.pid) < 100 * 1024
    with open(path, "rb") as f:
        f.seek(1 << 29)
        assert f.read(4) == b"pin\0"
        assert f.seek(0, 2) == (1 << 30) - 3


# ---- ls ----


def test_ls_lists_directories_first(place):
    (place / "b.txt").write_text("12345")
    (place / "a").mkdir()
    (place / "a-b").mkdir()
    (place / ".hidden").touch()
    os.symlink("a", place / "z")
    os.utime(place / "b.txt", ns=(0, 1_700_000_000_123_456_789))
    doc = json.loads(good("ls", "--json", ".", cwd=place))
    assert [(e["path"], e["is_dir"]) for e in doc["entries"]] == [
        ("./a", True), ("./a-b", True), ("./z", True), ("./.hidden", False), ("./b.txt", False),
    ]  # fmt: skip
    assert doc["error"] is None and doc["entries"][0]["size"] is None
    assert doc["entries"][-1] == {
        "name": "b.txt", "path": "./b.txt", "is_dir": False, "size": 5, "mode": "-rw-r--r--",
        "modified_at": "2023-11-14T22:13:20.123456789Z",
    }  # fmt: skip
    lines = good("ls", cwd=place).splitlines()
    assert lines[-1] == "-rw-r--r--          5 2023-11-14 22:13 b.txt"
    assert [line.split()[-1] for line in lines] == ["a/", "a-b/", "z/", ".hidden", "b.txt"]
    assert good("ls", "b.txt", cwd=place) == lines[-1] + "\n"
    assert error("ls", "no", cwd=place) == (1, "Error: Path 'no' not found")


# ---- glob ----

TREE = [
    "a.py", "b.txt", "src/a.py", "src/b.js", "src/sub/c.py", "src/sub/deep/d.py", ".hidden.py", ".dir/e.py",
    "src/.h/f.py", "src-x/g.py", "src/[odd].py", "src/s p.py", "src/{brace}.py", "z/1.py", "z/10.py", "z/2.py",
]  # fmt: skip
PATTERNS = [
    "*.py", "**/*.py", "src/*.py", "src/**", "**", "src/**/*.py", "*/*.py", "[ab].*", "[!a].*", "[a-b].py", "?.py",
    "**/{a,d}.py", "*.{py,txt}", "src/{sub,nope}/*.py", ".*.py", ".dir/*", "**/.h/*", "src/sub/**/d.py", "z/[0-9].py",
    "**/sub/**", "src*/*.py", "*/**/*.js", "src/\\[odd\\].py", "src/[[]odd].py", "{a,b{.txt,x}}*", "nope/**", "**/**/c.py",
]  # fmt: skip


def make_tree(directory, names=TREE):
    for name in names:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")


@pytest.mark.parametrize("hidden", [False, True])
def test_glob_finds_what_bash_finds(place, hidden):
    make_tree(place)
    os.symlink("a.py", place / "link.py")
    os.symlink("src", place / "dirlink")
    for pattern in PATTERNS:
        script = f"shopt -s globstar nullglob {'dotglob' if hidden else ''}; printf '%s\\n' {pattern}"
        found = run("bash", "-c", script, cwd=place, env={"LC_ALL": "C", "PATH": os.environ["PATH"]}).stdout.splitlines()
        want = sorted({name for name in found if (place / name).is_file() and "dirlink" not in name}, key=os.fsencode)
        got = good("glob", *(["--hidden"] if hidden else []), pattern, cwd=place).splitlines()
        assert [g for g in got if "dirlink" not in g] == want, pattern


def test_glob_paths_are_as_they_were_given(place):
    make_tree(place)
    assert good("glob", "*.py", "src/sub", cwd=place) == "src/sub/c.py\n"
    assert good("glob", "*.py", "./src/sub/", cwd=place) == "./src/sub/c.py\n"
    assert good("glob", "*.py", place / "src/sub", cwd="/") == f"{place}/src/sub/c.py\n"
    assert good("glob", f"{place}/src/sub/*.py", cwd="/") == f"{place}/src/sub/c.py\n"
    assert good("glob", "../src/sub/*.py", cwd=place / "src") == "../src/sub/c.py\n"
    assert good("glob", "a.py", cwd=place) == "a.py\n"


def test_glob_sorts_by_time_and_stops_at_the_maximum(place):
    make_tree(place)
    for i, name in enumerate(["z/10.py", "a.py", "z/1.py"]):
        os.utime(place / name, (1e9 - i, 1e9 + 1e9 - i))
    assert good("glob", "--sort", "mtime", "--max", "3", "**/*.py", cwd=place).splitlines() == ["z/10.py", "a.py", "z/1.py"]
    doc = json.loads(good("glob", "--json", "--max", "2", "**/*.py", cwd=place))
    assert [f["path"] for f in doc["files"]] == ["a.py", "src-x/g.py"] and doc["truncated"] is True
    assert error("glob", "../*", "src", cwd=place) == (1, "Error: Invalid glob pattern: '..' in '../*'")


IGNORES = {
    ".gitignore": "*.log\n!keep.log\n/build\nnode_modules/\n# comment\n\\#odd\ndoc/*.tmp\n**/cache\na/**/z\ntrail \n\\!bang\nsub/**\n!sub/\n",
    "lib/.gitignore": "*.txt\n!/important.txt\n!debug.log\n",
    "lib/deep/.gitignore": "!*.txt\nq?[0-9]\n",
}
NAMES = [
    "x.log", "keep.log", "build/out", "lib/build/out", "node_modules/m/index.js", "lib/node_modules/n.js", "#odd", "doc/a.tmp",
    "doc/in/b.tmp", "cache/x", "lib/cache", "a/z", "a/b/c/z", "a/b/y", "trail", "!bang", "sub/one", "lib/a.txt", "lib/important.txt",
    "lib/debug.log", "lib/deep/a.txt", "lib/deep/qx1", "lib/deep/qx", "lib/deep/important.txt", "lib/other.log", "plain", ".dot/file",
]  # fmt: skip


def test_gitignore_is_what_git_says(place):
    make_tree(place, NAMES)
    for name, text in IGNORES.items():
        (place / name).write_text(text)
    run("git", "init", "-q", place)
    (place / ".git/info/exclude").write_text("plain\n")
    git = ["git", "-c", f"safe.directory={place}", "-c", "core.excludesFile=/dev/null", "-C", place, "-c", "core.quotePath=off"]
    for base in (".", "lib", "lib/deep"):
        want = run(*git, "ls-files", "-co", "--exclude-standard", base).stdout.splitlines()
        got = good("glob", "--gitignore", "--hidden", "**", place / base, cwd=place).splitlines()
        assert sorted(os.path.relpath(g, place) for g in got) == sorted(want)
        files = aib("grep", "--gitignore", "--mode", "files", "", place / base).stdout.splitlines()
        assert sorted(os.path.relpath(g, place) for g in files) == sorted(n for n in want if (place / n).stat().st_size)


# ---- grep ----


def test_grep_prints_paths_lines_and_numbers_sorted(place):
    make_tree(place)
    got = good("grep", "py$", cwd=place).splitlines()
    want = run("sh", "-c", "grep -rn 'py$' . | sed 's|^\\./||' | LC_ALL=C sort", cwd=place).stdout.splitlines()
    assert got == want and len(got) == 14
    assert good("grep", "C.PY", "-i", "src/sub", cwd=place) == "src/sub/c.py:1:src/sub/c.py\n"
    assert good("grep", "d.py", place / "src/sub/deep/d.py", cwd="/") == f"{place}/src/sub/deep/d.py:1:src/sub/deep/d.py\n"
    assert aib("grep", "nothing at all", cwd=place).returncode == 1


def test_grep_modes_globs_and_maximum(place):
    make_tree(place)
    (place / "many").write_text("hit\nno\nhit hit\n")
    assert good("grep", "--mode", "count", "hit", cwd=place) == "many:2\n"
    assert good("grep", "--mode", "files", "hit", cwd=place) == "many\n"
    assert good("grep", "--glob", "[cd].py", ".", cwd=place).splitlines() == [
        "src/sub/c.py:1:src/sub/c.py", "src/sub/deep/d.py:1:src/sub/deep/d.py",
    ]  # fmt: skip
    assert good("grep", "--glob", "src/*.{py,js}", "--mode", "files", "[ab]\\.", cwd=place).splitlines() == ["src/a.py", "src/b.js"]
    assert good("grep", "--max", "2", "py", cwd=place).splitlines() == good("grep", "py", cwd=place).splitlines()[:2]
    doc = json.loads(good("grep", "--json", "--max", "1", "hit", cwd=place))
    assert doc == {"matches": [{"path": "many", "line_number": 1, "line": "hit"}], "truncated": True, "denied": 0, "error": None}
    assert json.loads(good("grep", "--json", "--mode", "count", "hit", cwd=place))["matches"] == [{"path": "many", "count": 2}]
    assert json.loads(aib("grep", "--json", "no such", cwd=place).stdout) == {"matches": [], "truncated": False, "denied": 0, "error": None}


def test_grep_errors_are_errors(place):
    make_tree(place)
    status, text = error("grep", "(", cwd=place)
    assert status == 2 and text.startswith("Error: Invalid regex pattern: ")
    assert error("grep", "x", "no", cwd=place) == (2, "Error: File 'no' not found")


def test_grep_skips_binary_files_and_cuts_long_lines(place):
    (place / "bin").write_bytes(b"text\nhit\0\n")
    (place / "late").write_bytes(b"x" * 9000 + b"\nhit\0\n")
    (place / "long").write_text("hit" + "y" * 5000 + "\n")
    lines = good("grep", "hit", cwd=place, text=False).splitlines()
    assert lines == [b"late:2:hit\0", b"long:1:hit" + b"y" * 1997]
    assert len(json.loads(good("grep", "--json", "hit", "long", cwd=place))["matches"][0]["line"]) == 5003


def test_grep_matches_lines_by_themselves(place):
    """What spans lines, looks around or is anchored says what grep says of each line."""
    (place / "f").write_bytes(b"foo\nbar\r\n\n a b\nfoo bar\nx" + b"\nlast")
    for pattern in ["foo\\sbar", "^$", "^", "$", "a\\s", "(?<!\\s)bar", "[^x]+", "o(?!\\n)", "x*", "\\Abar", "t\\z", "r.$", "foo$", "\\bb"]:
        want = run("grep", "-nP", pattern, place / "f", check=False, text=False).stdout
        got = aib("grep", pattern, place / "f", text=False).stdout
        assert got == b"".join(f"{place}/f:".encode() + line + b"\n" for line in want.split(b"\n")[:-1]), pattern


def test_grep_reads_utf8_and_what_is_not(place):
    (place / "u").write_text("Grüße €5\n")
    (place / "l").write_bytes(b"Gr\xfc\xdfe hit\nhit\n")
    assert good("grep", "-i", "GRÜSSE|grüße", "u", cwd=place) == "u:1:Grüße €5\n"
    assert good("grep", "€.$", "u", cwd=place) == "u:1:Grüße €5\n"
    assert good("grep", "hit$", "l", cwd=place, text=False) == b"l:1:Gr\xfc\xdfe hit\nl:2:hit\n"
    assert good("grep", os.fsdecode(b"r\xfc"), "l", cwd=place, text=False) == b"l:1:Gr\xfc\xdfe hit\n"


def test_a_pattern_that_runs_away_is_an_error(place):
    (place / "f").write_text("a" * 5000 + "!\n")
    status, text = aib("grep", "(a+)+$", "f", cwd=place).returncode, aib("grep", "(a+)+$", "f", cwd=place).stderr
    assert status == 2 and "match limit" in text


def test_the_order_is_the_same_however_many_results(place):
    """Files of many hits and of few, more than one batch holds: as one sorted search says."""
    for i in range(300):
        d = place / f"d{i % 7}"
        d.mkdir(exist_ok=True)
        (d / f"f{i}").write_text("hit\n" * (20000 if i % 50 == 0 else i % 5))
    want = run("sh", "-c", "find . -type f | sed 's|^\\./||' | LC_ALL=C sort | xargs grep -nH hit", cwd=place).stdout
    for _ in range(3):
        assert good("grep", "hit", cwd=place) == want


def test_the_root_covers_all_routes_and_nested_ones(mount, world):
    make_tree(world.dir / "src", ["in/host.txt"])
    (world.dir / "src2").mkdir()
    make_tree(world.dir / "src2", ["nested.txt"])
    box = mount("/=memory", f"/h=host:{world.dir}/src", f"/h/in/deep=host:{world.dir}/src2")
    make_tree(box.path, ["mem.txt"])
    assert good("glob", "**/*.txt", cwd=box).splitlines() == ["h/in/deep/nested.txt", "h/in/host.txt", "mem.txt"]
    assert good("grep", "--mode", "files", "txt", cwd=box).splitlines() == ["h/in/deep/nested.txt", "h/in/host.txt", "mem.txt"]
    assert error("write", "--content", "x", "h", cwd=box) == (1, "Error: 'h' is a directory")
    assert good("read", ".aib/version", cwd=box) != ""


# ---- Links and places ----


def test_links_are_followed_in_their_route_only(mount, world):
    (world.dir / "secret").write_text("secret\n")
    src = world.dir / "src"
    make_tree(src, ["d/f"])
    for name, target in [("in", "d/f"), ("out", "../secret"), ("abs", str(world.dir / "secret")), ("loop", "loop"), ("up", "d/../d/f")]:
        os.symlink(target, src / name)
    box = mount("/=memory", f"/h=host:{src}", f"/v=host:{src},symlinks=verbatim")
    os.symlink("h/d/f", box / "across")
    os.symlink("/etc/passwd", box / "passwd")
    assert good("read", "in", cwd=box / "h") == "     1\td/f\n"
    assert good("read", "up", cwd=box / "h") == "     1\td/f\n"
    for route, name in itertools.product("hv", ["out", "abs"]):
        assert error("read", name, cwd=box / route)[1].endswith("Operation not permitted"), (route, name)
        assert error("write", "--content", "x", name, cwd=box / route)[0] == 1
    assert error("read", "across", cwd=box)[1].endswith("Operation not permitted")
    assert error("read", "passwd", cwd=box)[1].endswith("Operation not permitted")
    assert error("read", "loop", cwd=box / "h")[1].endswith("Too many levels of symbolic links")
    assert aib("grep", "secret", cwd=box).returncode == 1
    assert (world.dir / "secret").read_text() == "secret\n"


def test_paths_lead_in_from_outside_and_not_out(mount, world):
    box = mount("/=memory")
    (box / "d").mkdir()
    (box / "d/f").write_text("x\n")
    os.symlink(box.path, world.dir / "way")
    assert good("read", world.dir / "way/d/f") == "     1\tx\n"
    assert good("read", f"{box}/d/../d//./f") == "     1\tx\n"
    assert good("read", "f", cwd=box / "d") == "     1\tx\n"
    assert error("read", f"{box}/../x")[1] == f"Error: '{box}/../x' is outside the mount {box}"
    p = aib("read", "/etc/passwd")
    assert p.returncode == 1 and "is in no mount" in p.stderr


# ---- Permissions ----


def as_nobody(*argv, groups="--clear-groups", **kw):
    return run("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", groups, *argv, check=False, **kw)


def test_another_user_may_what_the_mount_lets_him(place):
    (place / "d").mkdir()
    for name, mode, uid, gid in [
        ("open", 0o644, 0, 0), ("closed", 0o600, 0, 0), ("mine", 0o400, NOBODY, 0), ("group", 0o640, 0, 1234),
        ("notmine", 0o044, NOBODY, 0), ("d/x", 0o644, 0, 0), ("w", 0o666, 0, 0),
    ]:  # fmt: skip
        (place / name).write_text("text\n")
        os.chown(place / name, uid, gid)
        os.chmod(place / name, mode)
    for groups, mode in itertools.product(["--clear-groups", "--groups=1234"], [0o755, 0o750, 0o711, 0o744, 0o770, 0o773, 0o1777]):
        os.chmod(place / "d", mode)
        for name in ("open", "closed", "mine", "group", "notmine", "d/x"):
            cat = as_nobody("cat", place / name, groups=groups)
            read = as_nobody(program("aib"), "read", "--raw", place / name, groups=groups)
            grep = as_nobody(program("aib"), "grep", "", place / name, groups=groups)
            assert (read.returncode == 0, read.stdout) == (cat.returncode == 0, cat.stdout), (name, oct(mode), groups)
            assert grep.returncode == (0 if cat.returncode == 0 else 2), (name, oct(mode))
            assert as_nobody(program("aib"), "write", "--content", "text\n", place / name, groups=groups).returncode == int(
                as_nobody("sh", "-c", 'test -w "$1" && test -w "$2" && test -x "$2"', "-", place / name, (place / name).parent,
                          groups=groups).returncode
                or (mode & 0o1000 != 0 and name == "d/x")
            ), (name, oct(mode), groups)  # fmt: skip
        ls = as_nobody("ls", "-l", place / "d", groups=groups)
        assert (as_nobody(program("aib"), "ls", place / "d", groups=groups).returncode == 0) == (ls.returncode == 0), oct(mode)
        glob = as_nobody(program("aib"), "glob", "*", place / "d", groups=groups)
        assert (glob.returncode == 0) == (as_nobody("ls", place / "d", groups=groups).returncode == 0), oct(mode)
        made = as_nobody("touch", place / "d/new", groups=groups)
        with contextlib.suppress(FileNotFoundError):
            (place / "d/new").unlink()
        wrote = as_nobody(program("aib"), "write", "--content", "x", place / "d/new", groups=groups)
        assert (wrote.returncode == 0) == (made.returncode == 0), oct(mode)
        if wrote.returncode == 0:
            assert (place / "d/new").stat().st_uid == NOBODY
            (place / "d/new").unlink()
    # A file of another's, in a directory that all may write to: its owner stays.
    assert as_nobody(program("aib"), "write", "--content", "new", place / "w").returncode == 0
    assert ((place / "w").read_text(), (place / "w").stat().st_uid) == ("new", 0)


def test_grep_goes_on_where_a_directory_is_closed_and_says_so(place):
    make_tree(place, ["a/f", "b/f", "c/f"])
    os.chmod(place / "b", 0o700)
    os.chmod(place / "c/f", 0o600)
    p = as_nobody(program("aib"), "grep", "f", cwd=place)
    assert (p.returncode, p.stdout) == (2, "a/f:1:a/f\n")
    assert p.stderr == "Error: 'b': Permission denied (and 1 more errors)\n"


def test_the_way_to_the_mount_counts_too(mount, world):
    (world.dir / "closed").mkdir(mode=0o700)
    (world.dir / "closed/m").mkdir()
    box = mount("/=memory,mode=0777", options="control_users=nobody", path=world.dir / "closed/m")
    (box / "f").write_text("x\n")
    assert as_nobody(program("aib"), "read", box / "f").returncode == 1
    os.chmod(world.dir / "closed", 0o711)
    assert as_nobody(program("aib"), "read", box / "f").stdout == "     1\tx\n"


def test_setuid_bits_go_when_another_writes(place):
    (place / "f").write_text("x")
    os.chown(place / "f", NOBODY, NOBODY)
    os.chmod(place / "f", 0o6777)
    assert as_nobody(program("aib"), "write", "--content", "y", place / "f").returncode == 0
    assert (place / "f").stat().st_mode & 0o7777 == 0o777


# ---- Ends ----


def test_an_interrupt_ends_it_at_once_and_a_slow_reader_is_waited_for(place, world):
    for i in range(400):
        (place / f"f{i}").write_text("some line that is found\n" * 2000)
    p = subprocess.Popen([program("aib"), "grep", "found"], cwd=place, stdout=subprocess.PIPE)
    first = p.stdout.read(100)
    pid = world.daemons()[0]
    time.sleep(0.5)  # its output goes nowhere meanwhile, and is not gathered
    held = rss_kb(pid)
    p.send_signal(signal.SIGINT)
    assert p.wait(5) != 0
    p.stdout.close()
    assert first.startswith(b"f0:1:some line") and held < 150 * 1024 * SLOW
    # Its threads are free again: as many as may be at once, and one more.
    for _ in range(17):
        q = subprocess.Popen([program("aib"), "grep", "found"], cwd=place, stdout=subprocess.PIPE)
        q.stdout.read(10)
        q.kill()
        q.wait()
        q.stdout.close()
    assert good("grep", "--max", "1", "found", cwd=place) == "f0:1:some line that is found\n"


def test_the_mount_ends_though_an_operation_waits(place, world):
    (place / "f").write_text("old")
    p = subprocess.Popen([program("aib"), "write", place / "f"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("the writer to begin", lambda: has_begun(place))
    world.mounts[0].umount("--force")
    p.stdin.close()
    assert p.wait(20) == 1
    p.stderr.close()


@pytest.mark.parametrize("command", ["read", "write", "edit", "ls", "glob", "grep", "status", "umount", "job ls", "session ls", "mcp"])
def test_an_unknown_option_leads_to_the_help(command):
    p = run(program("aib"), *command.split(), "--nope", check=False)
    assert p.returncode == 2 and "--nope" in p.stderr and p.stdout == ""
    assert p.stderr.splitlines()[-1].endswith(f"see aib {command.split()[0]} --help")
