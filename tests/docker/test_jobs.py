"""Jobs in containers, through the control tree: as shells, Python and editors use it, over both ways
to a command, with daemons that are killed and containers that are stopped."""

import errno
import hashlib
import os
import signal
import subprocess
import time

import pytest

from harness import Mount, program, run, wait_for

IMAGE = "aib-test:busybox"
NOBODY = 65534

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture(params=["direct", "engine"])
def way(request):
    """Commands are started by the guest, or by the engine."""
    return "" if request.param == "direct" else ",transport=archive"


def state(box, name, key="state"):
    lines = (box / f".aib/jobs/{name}/status").read_text().splitlines()
    return dict(line.split(" ", 1) for line in lines)[key]


def make(box, name, cmd, cwd="/bb", start=True, **values):
    job = box / ".aib/jobs" / name
    job.mkdir()
    for key, value in {"cmd": cmd, "cwd": cwd, **values}.items():
        (job / key).write_text(value)
    if start:
        (job / "ctl").write_text("start\n")
    return job


def wait(job):
    return (job / "wait").read_text()


def commands(engine, container):
    return [c for c in engine.commands(container) if "aib-guest" not in c]


def mine(engine, world):
    (c,) = [c for c in engine.containers("label=aib.mount") if str(world.dir) in str(engine.inspect(c))]
    return c


def pattern(n):
    """What the shell line below writes."""
    return b"".join(b"%07d\n" % i for i in range(1, n // 8 + 1))


def write_pattern(n):
    return f"seq 1 {n // 8} | awk '{{printf \"%07d\\n\", $1}}'"


def test_the_lines_of_the_design_work_as_they_are(mount, way):
    box = mount(f"/py=docker:{IMAGE}{way}")
    (box / "py/workspace").mkdir(exist_ok=True)
    (box / "py/bin/make").write_text("#!/bin/sh\necho made $1 in $PWD\n")
    (box / "py/bin/make").chmod(0o755)
    script = """
        mkdir .aib/jobs/t; echo /py/workspace > .aib/jobs/t/cwd; echo 'make test' > .aib/jobs/t/cmd
        echo start > .aib/jobs/t/ctl; cat .aib/jobs/t/wait          # blocks, then: exit 0
        cat .aib/jobs/t/stdout
        rmdir .aib/jobs/t
        ls .aib/jobs
    """
    p = run("sh", "-e", "-c", script, cwd=box)
    assert p.stdout == f"exit 0\nmade test in {box}/py/workspace\n"


def test_values_and_how_it_ended(mount, way):
    box = mount(f"/bb=docker:{IMAGE}{way}")
    job = make(box, "all", "read a; echo $a $K $L; echo err >&2; exit 3", cwd=f"{box}/bb/tmp",
               env="K=v w\nL=2\n", timeout="30\n", stdin="typed\nmore")  # fmt: skip
    assert wait(job) == "exit 3\n"
    assert (job / "stdout").read_text() == "typed v w 2\n"
    assert (job / "stderr").read_text() == "err\n"
    assert (state(box, "all"), state(box, "all", "exit")) == ("exited", "3")
    assert (job / "stdin").read_text() == "typed\nmore"
    job = make(box, "kill", "exec sleep 1000")
    wait_for("its start", lambda: state(box, "kill") == "running")
    (job / "ctl").write_text("kill INT")
    assert wait(job) == "signal 2\n"
    job = make(box, "late", "sleep 1000", timeout="200ms")
    assert wait(job) == "timeout\n"
    job = make(box, "none", "exec no-such-program")
    assert wait(job) == "exit 127\n"
    job = make(box, "cwd", "true", cwd="/bb/no/such")
    assert wait(job) == "exit 125\n"
    assert "No such file" in (job / "error").read_text()


def test_what_is_refused_is_said(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    jobs = box / ".aib/jobs"
    for name in ("-x", ".x", "x" * 65, "a b"):
        with pytest.raises(OSError) as e:
            (jobs / name).mkdir()
        assert e.value.errno == errno.EINVAL, name
    job = jobs / "j"
    job.mkdir()
    with pytest.raises(FileExistsError):
        job.mkdir()

    def refused(code, file, text, error):
        with pytest.raises(OSError) as e:
            (job / file).write_text(text)
        assert e.value.errno == code
        assert error in (job / "error").read_text()

    refused(errno.EINVAL, "ctl", "begin", "ctl takes")
    refused(errno.EINVAL, "ctl", "start", "cmd says nothing")
    (job / "cmd").write_text("sleep 1000")
    refused(errno.EINVAL, "ctl", "start", "cwd says nothing")
    refused(errno.EINVAL, "env", "no variable\n", "NAME=VALUE")
    refused(errno.EINVAL, "timeout", "soon", "duration")
    refused(errno.EINVAL, "cmd", "a\0b", "NUL")
    (job / "cwd").write_text("/")
    refused(errno.ENOEXEC, "ctl", "start", "has no sandbox")
    refused(errno.ESRCH, "ctl", "kill", "does not run")
    (job / "cwd").write_text("/bb")
    (job / "ctl").write_text("start")
    refused(errno.EBUSY, "ctl", "start", "already")
    refused(errno.EBUSY, "cmd", "true", "already")
    refused(errno.EINVAL, "ctl", "kill NOSIG", "no signal")
    (job / "ctl").write_text("kill")
    assert wait(job) == "signal 15\n"


def test_every_way_to_write_a_value(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    (box / ".aib/jobs/j").mkdir()
    cmd = box / ".aib/jobs/j/cmd"
    shell = lambda line: run("bash", "-c", line, env={**os.environ, "F": str(cmd)})  # noqa: E731
    shell("{ echo one; echo two; } > $F")
    assert cmd.read_text() == "one\ntwo\n"
    shell("echo three >> $F")
    assert cmd.read_text() == "one\ntwo\nthree\n"
    with open(cmd, "r+") as f:
        f.write("ONE")
    assert cmd.read_text() == "ONE\ntwo\nthree\n"
    shell("cp /etc/hostname $F && cmp /etc/hostname $F")
    run("dd", "if=/dev/zero", f"of={cmd}", "bs=1", "count=0", "conv=notrunc")
    vi = {**os.environ, "TERM": "xterm", "HOME": "/nonexistent"}
    for line in ("set nobackup nowritebackup", "set backupcopy=yes"):
        cmd.write_text("echo from vi?\n")
        p = run("script", "-qec", f"vi -u NONE -i NONE -n '+{line}' '+%s/?/!/' '+w!' '+q!' {cmd}", "/dev/null",
                env=vi, check=False)  # fmt: skip
        assert cmd.read_text() == "echo from vi!\n", p.stdout
    (box / ".aib/jobs/j/cwd").write_text("/bb")
    (box / ".aib/jobs/j/ctl").write_text("start")
    assert wait(box / ".aib/jobs/j") == "exit 0\n"
    assert (box / ".aib/jobs/j/stdout").read_text() == "from vi!\n"


def test_tail_follows_what_grows(mount, way):
    box = mount(f"/bb=docker:{IMAGE}{way}")
    job = make(box, "t", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.05; done")
    p = subprocess.Popen(["tail", "-f", "-n", "+1", job / "stdout"], stdout=subprocess.PIPE)
    seen = [p.stdout.readline() for _ in range(40)]
    assert seen == [b"line %d\n" % i for i in range(1, 41)]
    p.terminate()
    p.wait()
    p.stdout.close()
    assert wait(job) == "exit 0\n"
    assert (job / "stdout").stat().st_size == len(b"".join(seen))


@pytest.mark.timeout(180)
def test_binary_output_within_and_beyond_the_limit(mount, way):
    box = mount(f"/bb=docker:{IMAGE}{way}", options="job_output=40M")
    job = make(box, "in", f"head -c {32 << 20} /dev/urandom | tee /tmp/out; sha256sum /tmp/out >&2")
    assert wait(job) == "exit 0\n"
    want = (job / "stderr").read_text().split()[0]
    assert hashlib.sha256((job / "stdout").read_bytes()).hexdigest() == want
    assert state(box, "in", "truncated") == "no"
    job = make(box, "out", f"head -c {41 << 20} /dev/urandom | tee /tmp/out; head -c {40 << 20} /tmp/out | sha256sum >&2")
    assert wait(job) == "exit 0\n"
    want = (job / "stderr").read_text().split()[0]
    assert hashlib.sha256((job / "stdout").read_bytes()).hexdigest() == want
    assert state(box, "out", "truncated") == "yes"
    assert state(box, "out", "stdout") == str(41 << 20)


def test_wait_ends_at_a_signal_and_the_job_does_not(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    job = make(box, "w", "exec sleep 1000")
    p = subprocess.Popen(["cat", job / "wait"], stdout=subprocess.PIPE)
    wait_for("its start", lambda: state(box, "w") == "running")
    time.sleep(0.2)
    p.send_signal(signal.SIGINT)
    assert p.wait(5) == -signal.SIGINT
    p.stdout.close()
    assert state(box, "w") == "running"
    p = subprocess.Popen(["cat", job / "wait"], stdout=subprocess.PIPE)
    time.sleep(0.2)
    (job / "ctl").write_text("kill KILL")
    assert p.communicate(timeout=10)[0] == b"signal 9\n"


def test_rmdir_kills_the_whole_tree(engine, mount, way, world):
    box = mount(f"/bb=docker:{IMAGE}{way}")
    job = make(box, "r", "setsid sh -c 'setsid sleep 4000 & exec sleep 2000' & echo up; exec sleep 3000")
    wait_for("its start", lambda: (job / "stdout").read_text())
    wait_for("all of it", lambda: len([c for c in commands(engine, mine(engine, world)) if "000" in c]) >= 3)
    with open(job / "stdout") as f:
        job.rmdir()
        assert not job.exists() and list((box / ".aib/jobs").iterdir()) == []
        assert f.read() == "up\n"  # what is open stays
    wait_for("its end", lambda: not [c for c in commands(engine, mine(engine, world)) if "000" in c])
    wait_for("its state to go", lambda: not list((world.dir / "state/jobs").glob("*/*")))
    make(box, "r", "true")  # the name is free
    assert wait(job) == "exit 0\n"


def is_dead(box):
    """Its threads have all gone, and with them what holds the connection."""
    try:
        os.stat(box)
    except OSError as e:
        return e.errno == errno.ENOTCONN
    return False


def kill_daemon(box, world):
    os.kill(box.pid, signal.SIGKILL)
    wait_for("the daemon's end", lambda: box.pid not in world.processes() and is_dead(box))
    box.ended = True


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kind", ["attached", "kept"])
def test_jobs_survive_a_killed_daemon(engine, mount, container, way, world, kind):
    route = f"/bb=container:{container()}{way}" if kind == "attached" else f"/bb=docker:{IMAGE},keep{way}"
    box = mount(route)
    size = 8 << 20
    make(box, "big", write_pattern(size) + "; echo end >&2; exit 9")
    make(box, "slow", "sleep 1; echo woke; kill -USR1 $$")
    make(box, "new", "echo $K", env="K=kept", start=False)
    make(box, "gone", "exec sleep 5000")
    wait_for("its start", lambda: state(box, "gone") == "running")
    wait_for("output", lambda: (box / ".aib/jobs/big/stdout").stat().st_size > 100000)
    for _ in range(3):
        kill_daemon(box, world)
        box = Mount(world, [route], path=box.path)
    assert wait(box / ".aib/jobs/big") == "exit 9\n"
    kill_daemon(box, world)
    box = Mount(world, [route], path=box.path)
    assert wait(box / ".aib/jobs/big") == "exit 9\n"
    assert (box / ".aib/jobs/big/stdout").read_bytes() == pattern(size)
    assert (box / ".aib/jobs/big/stderr").read_text() == "end\n"
    assert wait(box / ".aib/jobs/slow") == "signal 10\n"
    (box / ".aib/jobs/new/ctl").write_text("start")
    assert wait(box / ".aib/jobs/new") == "exit 0\n"
    assert (box / ".aib/jobs/new/stdout").read_text() == "kept\n"
    (box / ".aib/jobs/gone").rmdir()
    for name in ("big", "slow", "new"):
        (box / f".aib/jobs/{name}").rmdir()
    (c,) = engine.containers("label=aib.mount") if kind == "kept" else engine.containers(f"label=test.world={world.id}")
    wait_for("its end", lambda: not [x for x in engine.commands(c) if "5000" in x or " run " in x])
    box.umount()
    if kind == "kept":
        engine.docker("rm", "-f", c)


def test_the_end_of_the_sandbox_is_the_end_of_its_jobs(engine, mount, way, world):
    box = mount(f"/bb=docker:{IMAGE}{way}")
    job = make(box, "s", "echo up; exec sleep 1000")
    wait_for("its start", lambda: (job / "stdout").read_text())
    (box / ".aib/sandboxes/bb/ctl").write_text("stop")
    assert wait(job) in ("signal 15\n", "signal 9\n", "lost\n")
    wait_for("its end", lambda: "state stopped" in (box / ".aib/sandboxes/bb/status").read_text())
    job = make(box, "k", "echo up; exec sleep 1000")
    wait_for("its start", lambda: (job / "stdout").read_text())
    engine.docker("kill", mine(engine, world))
    assert wait(job) == "lost\n"
    assert (job / "error").read_text()
    # A container of the mount's own goes with it, and so does what was remembered of its jobs.
    make(box, "u", "exec sleep 1000")
    wait_for("its start", lambda: state(box, "u") == "running")
    box.umount()
    assert not list((world.dir / "state/jobs").glob("*"))


def test_only_its_user_may_use_a_job(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    make(box, "mine", "exec sleep 1000")
    names = ["", "/cmd", "/ctl", "/status", "/stdout", "/wait"]
    script = (
        "import os, sys\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "for name in sys.argv[1:]:\n"
        "    for flags in (os.O_RDONLY, os.O_WRONLY):\n"
        "        try: os.close(os.open(name, flags))\n"
        "        except PermissionError: continue\n"
        "        except IsADirectoryError: continue\n"
        "        sys.exit(f'opened {name} {flags}')\n"
        "try: os.rmdir(sys.argv[1])\n"
        "except PermissionError: sys.exit(0)\n"
        "sys.exit('removed')\n"
    )
    run("python3", "-c", script, *(f"{box}/.aib/jobs/mine{n}" for n in names))
    wait_for("its start", lambda: state(box, "mine") == "running")
    (box / ".aib/jobs/mine").rmdir()


@pytest.mark.timeout(180)
def test_fifty_jobs_from_eight_processes(mount, way):
    box = mount(f"/bb=docker:{IMAGE}{way}")
    script = (
        "for i in 1 2 3 4 5 6 7; do j=.aib/jobs/$0-$i; mkdir $j; echo /bb > $j/cwd; echo \"echo $0-$i; exit $i\" > $j/cmd;"
        " echo start > $j/ctl; [ \"$(cat $j/wait)\" = \"exit $i\" ] || exit 1;"
        " [ \"$(cat $j/stdout)\" = $0-$i ] || exit 2; done"
    )
    callers = [subprocess.Popen(["bash", "-e", "-c", script, f"c{n}"], cwd=box) for n in range(8)]
    assert [p.wait(150) for p in callers] == [0] * 8
    assert len(list((box / ".aib/jobs").iterdir())) == 56


def test_after_wait_the_mount_shows_what_the_job_did(mount):
    box = mount(f"/bb=docker:{IMAGE}")
    run("true", cwd=box / "bb")
    for i in range(10):
        assert not (box / f"bb/tmp/made{i}").exists()
        job = make(box, f"j{i}", f"echo {i} > /tmp/made{i}")
        assert wait(job) == "exit 0\n"
        assert (box / f"bb/tmp/made{i}").read_text() == f"{i}\n"


def test_without_a_control_tree(mount, way):
    box = mount(f"/bb=docker:{IMAGE}{way}", options="control=none")
    p = box.exec("-d", "sh", "-c", "echo hello; exit 4", cwd="bb", check=True)
    p = run(program("aib"), "job", "wait", p.stdout.strip(), cwd=box, check=False)
    assert p.returncode == 4
    assert run(program("aib"), "job", "logs", "bb-1", cwd=box).stdout == "hello\n"
