"""aib mcp over memory and host routes, with a mount and without, and over a sandbox that is this machine
(exec_daemon.c): the protocol by hand, bad clients, and the official ones."""

import base64
import json
import os
import select
import signal
import subprocess
import threading
import time

import pytest

from harness import BUILD, SLOW, program, rss_kb, run, wait_for
from mcp_client import MODERN, NEWEST_HANDSHAKE, Client, Official

HANDSHAKES = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"]


@pytest.fixture
def sandbox(world):
    """A directory of a sandbox that is this machine, and its mount point."""
    top, work = world.dir / "box", world.dir / "work"
    work.mkdir()
    inside = top / "py" / str(work)[1:]
    inside.mkdir(parents=True)
    daemon = subprocess.Popen(
        [BUILD / "tests/mount/exec_daemon", top, BUILD / "exec/guest/aib-guest-test"], stdout=subprocess.PIPE
    )
    assert daemon.stdout.readline() == b"ready\n"
    yield inside
    daemon.terminate()
    daemon.wait()
    daemon.stdout.close()


def running(world, what):
    return [pid for pid, line in world.processes().items() if line.strip() == what]


# ---- Which revision ----


@pytest.mark.parametrize("version", HANDSHAKES)
def test_a_handshake_agrees_on_the_revision_asked_for(version):
    with Client("-r", "/=memory", version=version) as c:
        assert c.about["protocolVersion"] == version
        assert c.about["serverInfo"]["name"] == "aib" and "Its root is /;" in c.about["instructions"]
        assert c.result(c.ask("ping")) == {}
        assert set(c.result(c.ask("tools/list"))) == {"tools"}  # nothing of later revisions
        assert c.error("server/discover")[0] == -32601


def test_an_unknown_revision_is_answered_with_the_newest():
    with Client("-r", "/=memory", version="1999-01-01") as c:
        assert c.about["protocolVersion"] == NEWEST_HANDSHAKE


def test_the_current_revision_has_no_handshake():
    with Client("-r", "/=memory", version=MODERN) as c:
        about = c.result(c.ask("server/discover"))
        assert about["supportedVersions"] == [MODERN, *HANDSHAKES]
        assert set(about["capabilities"]) == {"tools", "resources"}
        tools = c.result(c.ask("tools/list"))
        for result in (about, tools):
            assert result["resultType"] == "complete" and result["ttlMs"] > 0 and result["cacheScope"] == "private"
            assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "aib"
        assert c.good("write", path="a", content="x")["size"] == 1
        assert c.error("ping")[0] == c.error("initialize")[0] == -32601
        assert c.error("resources/read", uri="aib:///nope")[0] == -32602


def test_a_revision_that_is_not_there_is_refused_with_those_that_are():
    with Client("-r", "/=memory", version=None) as c:
        meta = {"io.modelcontextprotocol/protocolVersion": "2031-01-01"}
        error = c.ask("tools/list", _meta=meta)["error"]
        assert error["code"] == -32022
        assert error["data"] == {"supported": [MODERN, *HANDSHAKES], "requested": "2031-01-01"}
        assert c.error("tools/list")[0] == -32602  # neither a handshake nor a version


# ---- The same answers as the commands ----

SAME = [
    ("read", ["src/a.py"], {"path": "src/a.py"}),
    ("read", ["--offset", "1", "--limit", "1", "src/a.py"], {"path": "src/a.py", "offset": 1, "limit": 1}),
    ("read", ["nope"], {"path": "nope"}),
    ("read", ["src"], {"path": "src"}),
    ("read", ["--offset", "99", "src/a.py"], {"path": "src/a.py", "offset": 99}),
    ("ls", [], {}),
    ("ls", ["src"], {"path": "src"}),
    ("ls", ["h"], {"path": "h"}),
    ("ls", ["nope"], {"path": "nope"}),
    ("glob", ["**/*.py"], {"pattern": "**/*.py"}),
    ("glob", ["src/*"], {"pattern": "src/*"}),
    ("glob", ["none/*"], {"pattern": "none/*"}),
    ("glob", ["--hidden", "--sort", "mtime", "--max", "2", "*", "src"],
     {"pattern": "*", "path": "src", "hidden": True, "sort": "mtime", "max": 2}),
    ("grep", ["def|import"], {"pattern": "def|import"}),
    ("grep", ["-i", "--glob", "*.py", "--mode", "count", "DEF", "src"],
     {"pattern": "DEF", "path": "src", "glob": "*.py", "mode": "count", "ignore_case": True}),
    ("grep", ["--mode", "files", "--max", "1", "e"], {"pattern": "e", "mode": "files", "max": 1}),
    ("grep", ["zzz"], {"pattern": "zzz"}),
    ("grep", ["("], {"pattern": "("}),
    ("edit", ["--old", "x", "--new", "y", "src/a.py"], {"path": "src/a.py", "old": "x", "new": "y"}),
    ("edit", ["--old", "", "--new", "y", "src/a.py"], {"path": "src/a.py", "old": "", "new": "y"}),
]  # fmt: skip


def test_tools_answer_what_the_commands_do(mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    (box / "src").mkdir()
    (box / "src/a.py").write_text("import os\ndef f():\n    return 'é'\nx x\n" + "e" * 3000 + "\n")
    (box / "src/.hidden").write_bytes(b"\xff\xfe raw\n")
    (box / "h/b.py").write_text("def g(): pass\n")
    with Client("--mount", box) as c:
        for name, argv, arguments in SAME:
            doc = run(program("aib"), name, "--json", *argv, cwd=box, check=False)
            text = run(program("aib"), name, *argv, cwd=box, check=False)
            result = c.call(name, **arguments)
            assert len(result["content"]) == 1 and result["content"][0]["type"] == "text"
            shown = result["content"][0]["text"].rstrip("\n")
            assert shown == (text.stdout + text.stderr).rstrip("\n") or (shown, text.stdout) == ("(nothing)", ""), name
            want = json.loads(doc.stdout)
            if set(want) == {"error"}:
                assert result["isError"] and "structuredContent" not in result, (name, arguments)
                assert want["error"] == shown
            else:
                assert result["structuredContent"] == want, (name, arguments)
                assert result["isError"] == (want.get("error") is not None)


def test_changes_are_those_of_the_commands(mount, world):
    """Written by the tool, read by whoever: and the other way round; what was told before is checked."""
    box = mount(f"/h=host:{world.dir}/src")
    with Client("--mount", box, "-w", box / "h") as c:
        text = "one\r\ntwo \U0001f600 \\u0000 é\n" * 30000  # more than a frame of the daemon's protocol
        sha = c.good("write", path="deep/f", content=text)["sha256"]
        assert (box / "h/deep/f").read_bytes() == text.encode()
        assert c.good("edit", path=f"{box}/h/deep/f", old="one", new="1", replace_all=True, expect=sha)["occurrences"] == 30000
        assert (box / "h/deep/f").read_bytes() == text.replace("one", "1").encode()
        assert "has changed since" in c.bad("write", path="deep/f", content="x", expect=sha)
        (box / "h/deep/f").write_text("by hand\n")
        assert c.call("read", path="deep/f")["content"][0]["text"] == "     1\tby hand"
        assert c.good("write", path="empty", content="")["size"] == 0
        assert "outside the mount" in c.bad("read", path="/etc/passwd")
        assert "outside the mount" in c.bad("read", path="../../../etc/passwd")


# ---- Without a mount ----

HIDE = """mount -t tmpfs -o mode=755 dev /dev && mknod -m 666 /dev/null c 1 3 && mknod -m 444 /dev/urandom c 1 9 &&
test ! -e /dev/fuse && exec setpriv --reuid 65534 --regid 65534 --clear-groups --bounding-set -all --no-new-privs "$@" """


def test_routes_without_dev_fuse_and_without_privileges(world):
    for name in ("src", "run", "tmp", "state"):
        os.chown(world.dir / name, 65534, 65534)
    (world.dir / "src/there").write_text("host\n")
    before = ["unshare", "-m", "sh", "-c", HIDE, "sh"]
    with Client("-r", "/=memory", "-r", f"/h=host:{world.dir}/src", before=before) as c:
        assert [e["path"] for e in c.good("ls")["entries"]] == ["h"]
        c.good("write", path="/a/b", content="one two\n")
        c.good("write", path="h/new", content="one two\n")
        assert c.good("edit", path="/h/new", old="one", new="1")["occurrences"] == 1
        assert [m["path"] for m in c.good("grep", pattern="two", path="/")["matches"]] == ["/a/b", "/h/new"]
        assert [f["path"] for f in c.good("glob", pattern="/h/*")["files"]] == ["/h/new", "/h/there"]
        assert c.good("read", path="/h/there")["content"] == "     1\thost"
        assert "has no sandbox" in c.bad("exec", command="id", cwd="/h")
        assert "outside the mount /" in c.bad("ls", path="..")
    assert (world.dir / "src/new").read_text() == "1 two\n"


def test_a_daemon_of_its_own_ends_with_it(world):
    """However it ends; what it leaves is looked for at the test's end."""
    for end in ("input", signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        with Client("-r", "/=memory") as c:
            c.good("write", path="f", content="x")
            assert len(world.daemons()) == 1
            if end != "input":
                c.process.send_signal(end)
        wait_for("the daemon to end", lambda: not world.daemons())
        assert c.process.returncode == (-9 if end == signal.SIGKILL else 0)


@pytest.mark.alone
def test_it_is_in_no_list_of_mounts(world):
    with Client("-r", "/=memory") as c:
        c.good("ls")
        assert json.loads(run(program("aib"), "status", "--json").stdout) in ([], {"mounts": []})
        p = run(program("aib"), "ls", "/", check=False)
        assert p.returncode != 0 and "in no mount" in p.stderr
        with Client("-r", "/=memory") as other:  # as many as one likes, each with its own tree
            c.good("write", path="/f", content="x")
            assert "not found" in other.bad("read", path="/f")


def test_a_daemon_that_does_not_start_is_said(world):
    with Client("-r", f"/h=host:{world.dir}/none", stderr=subprocess.PIPE) as c:
        assert "the daemon has ended" in c.bad("ls")
        assert c.next() is None
        assert f"{world.dir}/none" in c.process.stderr.read().decode()
        c.process.stderr.close()
    assert c.process.returncode == 1


@pytest.mark.parametrize(
    "args, said",
    [
        (["--mount", "/nowhere"], "--mount /nowhere: no mount is there"),
        (["--mount", "/", "-r", "/=memory"], "give one of them"),
        (["-r", "/=memory", "-w", "rel"], "begins with /"),
        (["--max-requests", "0"], "--max-requests 0: expected 1 to 10000"),
        (["--max-result", "lots"], "--max-result lots"),
        (["--nope"], "aib mcp --help"),
        (["word"], 'no argument "word"'),
    ],
)
def test_a_wrong_command_line_is_explained(args, said):
    p = run(program("aib"), "mcp", *args, check=False)
    assert p.returncode in (1, 2) and p.stdout == "" and said in p.stderr


# ---- Bad clients ----


def test_bad_messages_are_answered_and_nothing_else_happens():
    with Client("-r", "/=memory", "--max-message", "64K") as c:
        for line, code in [
            (b"nonsense", -32700),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "ping"} x', -32700),
            (b"\xff\xfe", -32700),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "pi\xc3ng"}', -32700),
            (b"[" * 60000, -32700),
            (b'{"a":' * 10000 + b"1" + b"}" * 10000, -32700),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "' + b"x" * 70000 + b'"}}', -32700),
            (b'{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "write\\u0000"}}', -32700),
            (b'{"jsonrpc": "2.0", "id": 1, "method": "\\ud800"}', -32700),
            (b"[]", -32600),
            (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]', -32600),
            (b"17", -32600),
            (b'{"id": 1, "method": "ping"}', -32600),
            (b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}', -32600),
            (b'{"jsonrpc": "2.0", "id": 1, "method": 3}', -32600),
            (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}', -32600),
            (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}', -32600),
            (b'{"jsonrpc": "2.0", "id": 1e300, "method": "ping"}', -32600),
            (b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}', -32600),
        ]:
            c.raw(line + b"\n")
            message = c.next()
            assert message["error"]["code"] == code and "id" not in message, (line[:80], message)
        for line in (b"", b"\r", b'{"jsonrpc": "2.0", "method": "nope"}', b'{"jsonrpc": "2.0", "id": 4, "result": {}}'):
            c.raw(line + b"\n")  # notifications and answers are not answered
        c.notify("notifications/cancelled", requestId=99)
        c.notify("notifications/cancelled", requestId=[{}])
        c.notify("notifications/cancelled")
        assert c.error("nope")[0] == -32601
        assert c.error("tools/call", name="nope", arguments={})[0] == -32602
        assert c.error("tools/call")[0] == -32602
        assert c.error("resources/list", cursor="x")[0] == c.error("resources/read", uri="file:///x")[0] == -32602
        assert c.error("resources/read", uri="aib:///%zz")[0] == c.error("resources/read")[0] == -32602
        c.raw(b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": [1]}\n')
        assert c.answer(5)["error"]["code"] == -32602
        for id in ("a", "", 0, -1, 2**53 - 1):
            assert c.answer(c.send("ping", id=id))["result"] == {}


def test_wrong_arguments_are_for_the_model_to_read():
    with Client("-r", "/=memory") as c:
        assert c.bad("read", pth="x") == 'read: unknown argument "pth"; there are path, offset, limit, raw'
        assert c.bad("read", path="x", at="/x").startswith('read: unknown argument "at"')
        assert c.bad("read").startswith('read: "path" is missing')
        assert c.bad("read", path=3) == 'read: "path" must be a string'
        assert c.bad("read", path="x", limit=-1) == 'read: "limit" must be a whole number from 0'
        assert c.bad("read", path="x", limit=1.5) == 'read: "limit" must be a whole number from 0'
        assert c.bad("grep", pattern="x", ignore_case="yes") == 'grep: "ignore_case" must be true or false'
        assert "content|files|count" in c.bad("grep", pattern="x", mode="lines")
        assert c.bad("exec", argv=["a", 1]) == 'exec: "argv" must be a list of strings'
        assert c.bad("exec", command="a", env={"A": 1}) == 'exec: "env" must be an object of strings'
        assert "command" in c.bad("exec") and "command" in c.bad("exec", command="a", argv=["a"])
        assert c.bad("exec", command="x", user="0").startswith('exec: unknown argument "user"')
        for name in ("read", "exec"):
            result = c.result(c.ask("tools/call", name=name, arguments=[1]))
            assert result["isError"] and "must be an object" in result["content"][0]["text"]


def test_what_is_too_long_is_refused_whole(world):
    with Client("-r", "/=memory", "--max-result", "100K") as c:
        c.good("write", path="f", content="x" * 200000)
        assert "longer than 102400 bytes" in c.bad("read", path="f")
        assert "longer than 102400 bytes" in c.error("resources/read", uri="aib:///f")[1]
        assert "too long" in c.bad("edit", path="f", old="x" * (5 << 20), new="y")
        assert c.good("read", path="f", limit=0)["size"] == 200000


@pytest.mark.timeout(240)
def test_a_client_that_does_not_read_is_waited_for(world):
    """It costs no memory, and gets all that it asked for: 120 MB here."""
    (world.dir / "src/f").write_text("x" * 400000)
    n = 300
    asks = [{"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}}]
    for id in range(1, n + 1):
        params = {"name": "read", "arguments": {"path": "f"}}
        asks.append({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    data = b"".join(json.dumps(ask).encode() + b"\n" for ask in asks)
    p = subprocess.Popen(
        [program("aib"), "mcp", "-r", f"/=host:{world.dir}/src", "--max-requests", str(n)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    writer = threading.Thread(target=lambda: (p.stdin.write(data), p.stdin.flush()))
    writer.start()
    wait_for("an answer", lambda: select.select([p.stdout], [], [], 0)[0])
    time.sleep(1)  # for more than it may hold, if it did
    if SLOW == 1:  # sanitizers keep what is freed
        assert rss_kb(p.pid) < 60000
    answers = [json.loads(p.stdout.readline()) for _ in range(n + 1)]
    assert {a["id"] for a in answers} == set(range(n + 1)) and all("result" in a for a in answers)
    writer.join()
    p.stdin.close()
    assert p.wait(20 * SLOW) == 0
    p.stdout.close()


# ---- Resources ----


def test_files_are_resources(mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    odd = "a b%ü#?.txt"
    (box / "h/dir").mkdir()
    (box / "h" / odd).write_text("é\n")
    (box / "h/raw").write_bytes(bytes(range(256)))
    (box / "h/empty").touch()
    with Client("--mount", box, "-w", box / "h") as c:
        listed = {r["name"]: r for r in c.result(c.ask("resources/list"))["resources"]}
        assert list(listed) == ["dir", odd, "empty", "raw"]
        assert listed["dir"]["uri"] == f"aib://{box}/h/dir/" and listed["dir"]["mimeType"] == "inode/directory"
        assert listed["raw"]["size"] == 256 and listed["raw"]["annotations"]["lastModified"].endswith("Z")

        def read(uri):
            contents = c.result(c.ask("resources/read", uri=uri))["contents"]
            assert len(contents) == 1 and contents[0]["uri"] == uri
            return contents[0]

        assert read(listed[odd]["uri"])["text"] == "é\n"
        assert read(listed["empty"]["uri"])["text"] == ""
        assert base64.b64decode(read(listed["raw"]["uri"])["blob"]) == bytes(range(256))
        entries = json.loads(read(f"aib://{box}/h/")["text"])["entries"]
        assert [e["name"] for e in entries] == ["dir", odd, "empty", "raw"]
        assert c.error("resources/read", uri=f"aib://{box}/h/nope") == (-32002, f"Error: File '{box}/h/nope' not found")
        assert "is a directory" in c.error("resources/read", uri=f"aib://{box}/h/dir")[1]
        templates = c.result(c.ask("resources/templates/list"))["resourceTemplates"]
        assert templates[0]["uriTemplate"] == "aib://{+path}"


def test_a_long_listing_comes_in_pages(world):
    names = [f"{i:04}" for i in range(1234)]
    for name in names:
        (world.dir / "src" / name).touch()
    with Client("-r", f"/=host:{world.dir}/src") as c:
        page = c.result(c.ask("resources/list"))
        seen = [r["name"] for r in page["resources"]]
        while "nextCursor" in page:
            page = c.result(c.ask("resources/list", cursor=page["nextCursor"]))
            seen += [r["name"] for r in page["resources"]]
        assert seen == names


# ---- Commands ----


def test_exec_has_output_status_and_the_rest(sandbox):
    with Client("--mount", sandbox, "-w", sandbox) as c:
        doc = c.good("exec", command="echo out; sleep 0.2; echo err >&2; exit 3")
        assert doc.pop("duration_ms") >= 200
        assert doc == {
            "output": "out\nerr\n", "stdout": "out\n", "stderr": "err\n", "exit_code": 3, "signal": None,
            "truncated": False, "timed_out": False,
        }  # fmt: skip
        result = c.call("exec", command="echo out; exit 3")
        assert result["content"][0]["text"] == "out\n[exit status 3]\n" and not result["isError"]
        assert c.good("exec", argv=["printf", "%s|", "a b", "$HOME"])["stdout"] == "a b|$HOME|"
        assert c.good("exec", command="cat; pwd", stdin="in\n" * 100000)["truncated"]
        assert c.good("exec", command="wc -c", stdin="é" * 1000000)["stdout"].strip() == "2000000"
        assert c.good("exec", command="cat")["output"] == ""  # nothing to wait for
        assert c.good("exec", command="echo $K", env={"K": "v=1"})["stdout"] == "v=1\n"
        assert c.good("exec", command="kill -9 $$")["signal"] == 9
        late = c.good("exec", command="echo begun; sleep 100", timeout=0.5)
        assert late["timed_out"] and late["exit_code"] == 124 and late["stdout"] == "begun\n"
        assert c.good("exec", argv=["/nope"])["exit_code"] == 127
        assert c.good("exec", command="printf 'a\\0\\377b'")["stdout"] == "a\ufffd\ufffdb"
        assert "outside the routes" in c.bad("exec", command="id", cwd="/")
        assert "no sandbox" in c.bad("exec", command="id", sandbox="nope")


def test_cancelling_ends_the_whole_tree_and_is_not_answered(sandbox, world):
    with Client("--mount", sandbox, "-w", sandbox) as c:
        id = c.send("tools/call", name="exec", arguments={"command": "sleep 1234 & sleep 2345; wait"})
        wait_for("the command", lambda: running(world, "sleep 1234") and running(world, "sleep 2345"))
        assert c.error("ping", id=id) == (-32600, "id: a request of this id runs")
        c.notify("notifications/cancelled", requestId=str(id))  # another one
        assert c.good("exec", command="echo goes on")["stdout"] == "goes on\n"
        assert running(world, "sleep 2345")
        c.notify("notifications/cancelled", requestId=id)
        wait_for("its end", lambda: not running(world, "sleep 1234") and not running(world, "sleep 2345"))
        assert c.result(c.ask("ping", id=id)) == {}  # the next message is not an answer to it


@pytest.mark.parametrize("end", ["input", "TERM", "KILL", "reader"])
def test_its_end_is_the_end_of_its_commands(sandbox, world, end):
    with Client("--mount", sandbox, "-w", sandbox) as c:
        c.send("tools/call", name="exec", arguments={"command": "sleep 1234"})
        wait_for("the command", lambda: running(world, "sleep 1234"))
        if end == "input":
            c.process.stdin.close()
        elif end != "reader":
            c.process.send_signal(getattr(signal, f"SIG{end}"))
        if end != "reader":
            c.process.wait(10 * SLOW)
    wait_for("its end", lambda: not running(world, "sleep 1234"))


def test_what_was_asked_before_the_input_ended_is_answered(sandbox):
    ask = {"name": "exec", "arguments": {"command": "sleep 0.3; echo late"}}
    lines = [
        {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-06-18"}},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": ask},
    ]
    text = "\n".join(map(json.dumps, lines))  # the last without its newline
    p = run(program("aib"), "mcp", "--mount", sandbox, "-w", sandbox, input=text)
    answers = [json.loads(line) for line in p.stdout.splitlines()]
    assert [a["id"] for a in answers] == [0, 1]
    assert answers[1]["result"]["structuredContent"]["stdout"] == "late\n"


def test_progress_is_told_while_a_command_runs(sandbox):
    with Client("--mount", sandbox, "-w", sandbox) as c:
        command = "for i in 1 2 3 4 5 6 7 8; do echo step $i; sleep 0.4; done"
        id = c.send("tools/call", name="exec", arguments={"command": command}, _meta={"progressToken": "t"})
        c.answer(id)
        assert len(c.told) >= 2 and {t["progressToken"] for t in c.told} == {"t"}
        assert [t["progress"] for t in c.told] == sorted({t["progress"] for t in c.told})
        assert all(t["message"].startswith("step ") for t in c.told)
        c.told.clear()
        c.good("exec", command="sleep 2")
        assert c.told == []  # nobody asked


def test_only_so_many_run_at_once(sandbox, world):
    with Client("--mount", sandbox, "-w", sandbox, "--max-requests", "2") as c:
        ids = [c.send("tools/call", name="exec", arguments={"command": f"sleep {i}000"}) for i in (3, 4)]
        wait_for("both", lambda: running(world, "sleep 3000") and running(world, "sleep 4000"))
        assert c.error("tools/call", name="exec", arguments={"command": "true"}) == (
            -32603, "2 requests run already (--max-requests)",
        )  # fmt: skip
        assert c.result(c.ask("ping")) == {}
        c.notify("notifications/cancelled", requestId=ids[0])
        assert c.good("exec", command="echo now")["stdout"] == "now\n"


def test_jobs_go_on_by_themselves(sandbox):
    with Client("--mount", sandbox, "-w", sandbox) as c:
        assert c.good("job_start", command="echo begun; sleep 1000", name="one") == {"job": "one"}
        wait_for("its output", lambda: c.good("job_logs", name="one")["output"] == "begun\n")
        assert [(j["name"], j["state"]) for j in c.good("job_ls")["jobs"]] == [("one", "running")]
        assert c.good("job_kill", name="one") == {}
        assert c.good("job_wait", name="one")["state"] == "exited"
        job = c.good("job_start", command="echo out; echo err >&2; exit 4")["job"]
        assert c.good("job_wait", name=job)["status"] == 4
        assert c.good("job_logs", name=job, no_stderr=True) == {"output": "out\n", "truncated": False}
        listed = json.loads(run(program("aib"), "job", "ls", "--json", cwd=sandbox).stdout)
        assert c.good("job_ls") == listed
        assert c.good("job_rm", name=job) == {} and "no job" in c.bad("job_wait", name=job)
        assert "127" in c.bad("job_start", argv=["/nope"]) or "no such program" in c.bad("job_start", argv=["/nope"])


def test_the_end_of_a_long_output_is_kept(sandbox):
    with Client("--mount", sandbox, "-w", sandbox, "--max-result", "64K") as c:
        job = c.good("job_start", command="seq 100000")["job"]
        c.good("job_wait", name=job)
        logs = c.good("job_logs", name=job)
        assert logs["truncated"] and logs["output"].endswith("99999\n100000\n") and len(logs["output"]) == 65536


# ---- The official clients ----


@pytest.mark.parametrize("kind, version", [("sdk", None), ("client", MODERN)])
def test_an_official_client(kind, version, mount, world):
    box = mount(f"/h=host:{world.dir}/src")
    with Official(kind, "--mount", box) as c:
        about = c.ask("about")
        assert about["server"]["name"] == "aib" and str(box) in about["instructions"]
        assert about["version"] == version
        tools = {t["name"]: t for t in c.ask("tools")["tools"]}
        assert {"read", "write", "edit", "ls", "glob", "grep", "exec", "job_start", "session_get"} <= set(tools)
        assert tools["read"]["annotations"]["readOnlyHint"] and tools["write"]["annotations"]["destructiveHint"]
        # The client checks each answer against its schema.
        assert c.good("write", path="h/a.txt", content="one\ntwo\n")["size"] == 8
        assert c.good("edit", path="h/a.txt", old="two", new="2")["occurrences"] == 1
        assert c.good("read", path="h/a.txt")["content"] == "     1\tone\n     2\t2"
        assert [e["name"] for e in c.good("ls", path="h")["entries"]] == ["a.txt"]
        assert [f["path"] for f in c.good("glob", pattern="**/*.txt")["files"]] == ["h/a.txt"]
        assert c.good("grep", pattern="one")["matches"][0]["line_number"] == 1
        assert c.good("grep", pattern="one", mode="count")["matches"] == [{"path": "h/a.txt", "count": 1}]
        wrong = c.call("read", path="nope")["result"]
        assert wrong["isError"] and wrong["content"][0]["text"] == "Error: File 'nope' not found"
        assert "no tool" in c.call("nope")["error"]
        assert [r["name"] for r in c.ask("resources")["resources"]] == ["h"]
        assert c.ask("read", uri=f"aib://{box}/h/a.txt")["contents"][0]["text"] == "one\n2\n"
        assert c.ask("read", uri=f"aib://{box}/h/none")["code"] == (-32002 if kind == "sdk" else -32602)
        assert len(c.ask("templates")["resourceTemplates"]) == 1


@pytest.mark.parametrize("kind", ["sdk", "client"])
def test_an_official_client_cancels(kind, sandbox, world):
    with Official(kind, "--mount", sandbox, "-w", sandbox) as c:
        assert c.good("exec", command="echo hi; exit 2")["exit_code"] == 2
        answer = c.call("exec", {"progress": True}, command="echo a line; sleep 2.5")
        assert answer["result"]["structuredContent"]["stdout"] == "a line\n"
        assert answer["told"][0]["message"] == "a line" and len(answer["told"]) >= 2
        answer = c.call("exec", {"cancel": True}, command="sleep 1234 & sleep 2345")
        assert "error" in answer
        wait_for("its end", lambda: not running(world, "sleep 1234") and not running(world, "sleep 2345"))
        assert c.good("exec", command="echo still here")["stdout"] == "still here\n"
