"""aib mcp over containers: commands, files and sessions, without a mount and with one."""

import json
import os

import pytest

from harness import program, run, wait_for
from mcp_client import MODERN, Client, Official


def in_container(engine, container, what):
    return [line for line in engine.commands(container) if line == what]


def test_commands_and_files_of_a_container_without_a_mount(engine, world):
    (world.dir / "src/f").write_text("host\n")
    routes = ["-r", f"/w=host:{world.dir}/src,exec=/py", "-r", "/py=docker:aib-test:busybox"]
    with Client(*routes, "-w", "/py/workspace", version=MODERN) as c:
        assert c.good("write", path="x.sh", content="echo hello from $PWD; exit 3\n")["size"] == 29
        doc = c.good("exec", argv=["sh", "x.sh"])
        assert (doc["output"], doc["exit_code"]) == ("hello from /py/workspace\n", 3)
        # One path on both sides: of the container's own files, and of those that are bound into it.
        assert c.good("exec", command="cat /py/workspace/x.sh >/w/g; cat f", cwd="/w")["stdout"] == "host\n"
        assert "hello" in c.good("read", path="/w/g")["content"]
        assert (world.dir / "src/g").exists()
        c.good("exec", command="mkdir d; echo needle >d/a; echo hay >d/b")
        assert [m["path"] for m in c.good("grep", pattern="needle", path="/py/workspace")["matches"]] == ["/py/workspace/d/a"]
        assert [f["path"] for f in c.good("glob", pattern="d/*")["files"]] == ["d/a", "d/b"]
        listed = c.result(c.ask("resources/list"))["resources"]
        assert [r["uri"] for r in listed] == ["aib:///py/workspace/d/", "aib:///py/workspace/x.sh"]
        name = engine.containers("label=aib.mount")[0]
        id = c.send("tools/call", name="exec", arguments={"command": "sleep 1234 & sleep 2345"})
        wait_for("the command", lambda: in_container(engine, name, "sleep 2345"))
        c.notify("notifications/cancelled", requestId=id)
        wait_for("its end", lambda: not in_container(engine, name, "sleep 2345"))
        assert not in_container(engine, name, "sleep 1234")
        job = c.good("job_start", command="sleep 3456")["job"]
        assert c.good("job_ls")["jobs"][0]["state"] == "running"
        assert job
    assert engine.containers("label=aib.mount") == []
    assert list((world.dir / "state/jobs").iterdir()) == []


def test_exec_answers_as_the_control_tree_does(engine, mount):
    box = mount("/py=docker:aib-test:busybox")
    with Client("--mount", box) as c:
        for ask in [
            {"command": "echo a; echo b >&2; exit 7", "cwd": "/py/workspace"},
            {"argv": ["cat"], "stdin": "in", "cwd": "/py", "env": {"A": "b"}},
            {"argv": ["/nope"], "cwd": "/py"},
            {"command": "pwd", "cwd": "/py/nope"},
            {"command": "yes | head -c 300000", "cwd": "/py"},
            {"command": "sleep 9", "timeout": 0.2, "sandbox": "py"},
            {"command": "true", "sandbox": "nope"},
        ]:
            fd = os.open(box / ".aib/exec", os.O_RDWR)
            os.write(fd, json.dumps(ask).encode())
            want = json.loads(os.read(fd, 1 << 22))
            os.close(fd)
            mine = {**ask, "cwd": f"{box}{ask['cwd']}"} if "cwd" in ask else ask
            result = c.call("exec", **mine)
            got = result["structuredContent"]
            assert got.pop("duration_ms") >= 0 and want.pop("duration_ms") >= 0
            assert got == want
            assert result["isError"] == ("error" in want)


def test_sessions_are_those_of_the_command(engine, mount):
    box = mount("/s=sessions,image=aib-test:busybox,workspace_root=" + os.environ["XDG_STATE_HOME"] + "/ws")
    with Official("sdk", "--mount", box) as c:
        made = c.good("session_get", name="alice", env={"WHO": "alice"})
        listed = json.loads(run(program("aib"), "session", "ls", "--json", "--mount", box).stdout)
        assert [s["name"] for s in c.good("session_ls")["sessions"]] == [s["name"] for s in listed["sessions"]] == ["alice"]
        assert c.good("write", path="s/alice/f", content="kept\n")
        done = c.good("exec", command="cat f; echo $WHO", cwd="s/alice")
        assert done["stdout"] == "kept\nalice\n"
        assert c.good("session_status", name="alice")["workspace"] == made["workspace"]
        assert "another" not in json.dumps(c.good("session_release", name="alice"))
        assert c.good("session_ls")["sessions"] == []
        assert c.good("session_get", name="alice")["name"] == "alice"
        assert c.good("read", path="s/alice/f")["content"] == "     1\tkept"
        c.good("session_rm", name="alice", workspace=True)
        wrong = c.call("session_status", name="alice")["result"]
        assert wrong["isError"]
        wrong = c.call("session_get", name="../x")["result"]
        assert wrong["isError"]


@pytest.mark.parametrize("kind", ["sdk", "client"])
def test_an_official_client_over_a_session_without_a_mount(engine, world, kind):
    root = world.dir / "state/ws"
    with Official(kind, "-r", f"/s=sessions,image=aib-test:busybox,workspace_root={root}", "-w", "/s/bob") as c:
        assert c.good("session_get", name="bob")["name"] == "bob"
        c.good("write", path="a", content="1\n")
        told = c.call("exec", {"progress": True}, command="cat a; sleep 1.5")
        assert told["result"]["structuredContent"]["stdout"] == "1\n"
        assert told["told"][-1]["message"] == "1"
        assert "error" in c.call("exec", {"cancel": True}, command="sleep 1234")
        wait_for("its end", lambda: c.good("exec", command="ps | grep -c '[s]leep 1234'")["stdout"] == "0\n")
        assert (root / "bob/workspace/a").read_text() == "1\n"
        c.good("session_rm", name="bob", workspace=True)
    assert not (root / "bob").exists()


def test_an_attached_container_stays_and_nothing_of_ours(engine, container, world):
    name = container()
    with Client("-r", f"/c=container:{name}", "-w", "/c/tmp") as c:
        assert c.good("job_start", command="sleep 4567", name="left") == {"job": "left"}
        assert c.good("exec", command="echo x >made; pwd")["stdout"] == "/tmp\n"
        assert c.good("read", path="made")["content"] == "     1\tx"
    assert engine.inspect(name)["State"]["Running"]
    assert list((world.dir / "state/jobs").iterdir()) == []
