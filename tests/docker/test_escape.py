"""What a sandbox with the defaults keeps in (escape.c), and bombs in it: its neighbours keep working, the daemon stays
small, and the sandbox can be ended."""

import contextlib
import os
import shutil
import socket
import subprocess
import threading
import time

import pytest

from harness import BUILD, LONG, SLOW, program, run, small_disk, wait_for

IMAGE = "aib-test:busybox"
ESCAPE = BUILD / "tests/docker/escape"
MOST_KB = 256 << 10  # of the daemon's memory at its largest

# What is not stopped, and why nobody outside is harmed by it.
ALLOWED = {
    "trace_init": "its own process, as root as itself: PID 1 of a sandbox parses no message and guards nothing",
    "trace_guest": "the guest is a process of the sandbox, and the daemon trusts nothing that it says (test_hostile.py)",
    "read_guest": "as trace_guest: it has no secret of the host",
    "stop_init": "the kernel says yes, and PID 1 does not get it",
    "kill_guest": "its own route waits for another one (test_live.py)",
    "io_uring": "older Engines' seccomp profile lets it pass; what it opens is checked as by the calls themselves",
    "vsock": "older Engines' seccomp profile lets it pass. A socket alone is nothing; where the machine is a virtual one "
    "whose host offers something over vsock, network=none does not keep that away",
}
# The probes find a way where there is one: these are done in a container with these rights, and harm nobody there.
RIGHTS = ["SYS_ADMIN", "SYS_CHROOT", "NET_RAW", "SYS_NICE", "SYSLOG"]
CONTROL = [
    "mount_tmpfs", "mount_proc", "mount_bind", "fs_open", "open_tree", "unshare_user", "unshare_mount", "unshare_pid",
    "unshare_net", "clone_user", "clone3_user", "chroot_escape", "core_pattern", "sysctl_any", "kernel_log", "bpf", "perf",
    "add_key", "set_host_name", "more_priority", "set_uid_program", "raw_socket", "packet_socket",
]  # fmt: skip

pytestmark = pytest.mark.usefixtures("engine")


def peak_kb(pid):
    lines = open(f"/proc/{pid}/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def p99_ms(times):
    return sorted(times)[len(times) * 99 // 100] * 1000 if times else float("nan")


class Neighbours:
    """Files in memory and on the host, and commands in another container, which are used from start to end."""

    def __init__(self, box):
        self.box, self.wrong, self.ended = box, [], threading.Event()
        self.times = {"m": [], "h": [], "n": []}
        self.calm = {}

    def note_calm(self):
        """What came before is what they take when nothing else happens."""
        rounds = 100 if LONG else 5
        wait_for("a few rounds", lambda: self.wrong or all(len(times) >= rounds for times in self.times.values()), 60)
        self.calm = {place: len(times) for place, times in self.times.items()}

    def _files(self, place):
        path = self.box / place / "neighbour"
        path.write_text("x" * 1000)
        os.rename(path, path.with_name("moved"))
        assert path.with_name("moved").read_text() == "x" * 1000
        os.unlink(path.with_name("moved"))

    def _command(self, place):
        p = run(program("aib-exec"), "echo", "here", cwd=self.box / place, check=False)
        assert (p.returncode, p.stdout) == (0, "here\n"), p

    def _use(self, place):
        work = self._command if place == "n" else self._files
        try:
            while not self.ended.wait(0.02):
                start = time.monotonic()
                work(place)
                self.times[place].append(time.monotonic() - start)
        except BaseException as e:
            self.wrong.append(f"/{place}: {e!r}")

    @contextlib.contextmanager
    def used(self):
        threads = [threading.Thread(target=self._use, args=(p,), daemon=True) for p in self.times]
        for t in threads:
            t.start()
        try:
            yield self
        finally:
            self.ended.set()
            for t in threads:
                t.join(60 * SLOW)
        assert not any(t.is_alive() for t in threads), "a neighbour hangs"
        assert not self.wrong, self.wrong
        for place, times in self.times.items():
            calm, bombed = times[: self.calm[place]], times[self.calm[place] :]
            assert bombed, f"/{place} was never used"
            print(f"/{place}: {len(bombed)} rounds, p99 {p99_ms(bombed):.1f} ms; before {len(calm)}, {p99_ms(calm):.1f} ms")
            assert max(bombed) < 20 * SLOW, (place, max(bombed))


@pytest.fixture
def bombed(mount, world):
    """bombed(options of the sandbox /b) → a mount whose neighbours are used until the end of the test."""
    with contextlib.ExitStack() as stack:

        def make(options=""):
            box = mount(
                f"/b=docker:{IMAGE}{options}", "/m=memory", f"/h=host:{world.dir}/src", f"/n=docker:{IMAGE}",
                options=f"spool={world.dir}/tmp",
            )  # fmt: skip
            for place in ("b", "n"):
                box.exec("true", cwd=place, check=True)
            stack.enter_context(Neighbours(box).used()).note_calm()
            return box

        yield make
    for m in world.mounts:
        print(f"most memory of the daemon: {peak_kb(m.pid)} kB")
        assert SLOW > 1 or peak_kb(m.pid) < MOST_KB  # sanitizers keep what is freed


def status(box, name="b"):
    return (box / f".aib/sandboxes/{name}/status").read_text()


def works(box):
    """The sandbox takes commands and files again."""
    wait_for("a command", lambda: box.exec("true", cwd="b").returncode == 0, 60)
    (box / "b/root/after").write_text("after\n")
    assert box.exec("cat", "/root/after", cwd="b").stdout == "after\n"


# ---- Escapes ----


@contextlib.contextmanager
def listeners(world):
    """A service on loopback and one at an abstract name, as words for escape; who connects is noted in `seen`."""
    seen = []
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("0.0.0.0", 0))
        unix.bind(f"\0{world.id}")
        for s in (tcp, unix):
            s.listen()
            s.settimeout(0)
        yield [f"abstract={world.id}", f"port={tcp.getsockname()[1]}"], seen
        for s in (tcp, unix):
            with contextlib.suppress(BlockingIOError):
                seen.append(s.accept())


def disk():
    """The number of the device that has /."""
    dev = os.stat("/").st_dev
    return f"disk={os.major(dev)}:{os.minor(dev)}"


def told(text):
    return dict(line.split(" ", 1) for line in text.splitlines())


@pytest.mark.parametrize("place", ["b", "sessions/s"])
def test_nothing_leads_out_of_a_sandbox(mount, engine, world, place):
    box = mount(
        f"/b=docker:{IMAGE}", f"/sessions=sessions,image={IMAGE},workspace_root={world.dir}/root", f"/h=host:{world.dir}/src"
    )
    where = box / place
    if place != "b":
        where.mkdir()
    victim = subprocess.Popen(["sleep", "1000"])
    try:
        shutil.copy(ESCAPE, where / "tmp/escape" if place == "b" else where / "escape")
        path = "/tmp/escape" if place == "b" else "/workspace/escape"
        with listeners(world) as (words, seen):
            words += [disk(), f"socket={engine.host.removeprefix('unix://')}", f"pid={victim.pid}"]
            p = box.exec(path, *words, cwd=place, check=True)
        assert not seen, seen
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()
        if place != "b":
            run("aib", "session", "rm", "--workspace", "s", "--mount", box)
    result = told(p.stdout)
    print("\n".join(f"{k} {v}" for k, v in result.items()))
    assert len(result) > 60
    done = {name for name, how in result.items() if how == "done"}
    assert done <= set(ALLOWED), sorted(done - set(ALLOWED))
    assert not [n for n, how in result.items() if "signal" in how], p.stdout


def test_the_probes_find_what_is_open(engine, container):
    flags = [f"--cap-add={c}" for c in RIGHTS]
    flags += [f"--security-opt={what}=unconfined" for what in ("seccomp", "systempaths")]
    name = container(IMAGE, flags=flags)
    engine.docker("cp", ESCAPE, f"{name}:/escape")
    result = told(engine.docker("exec", name, "/escape", *CONTROL).stdout)
    stopped = {n: how for n, how in result.items() if how != "done"}
    assert set(result) == set(CONTROL) and not stopped, stopped


def test_nothing_of_a_sandbox_gains_rights_on_the_host(mount):
    """A setuid program and a device of the sandbox, through the mount."""
    box = mount(f"/b=docker:{IMAGE},host_exec")
    shutil.copy(ESCAPE, box / "b/tmp/suid")
    box.exec("chmod", "6755", "/tmp/suid", cwd="b", check=True)
    assert os.stat(box / "b/tmp/suid").st_mode & 0o6000
    flags = os.statvfs(box).f_flag
    assert flags & os.ST_NOSUID and flags & os.ST_NODEV
    p = run("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", box / "b/tmp/suid", "is-root", check=False)
    assert p.returncode == 1, "it had its owner's rights"


# ---- Bombs ----


@contextlib.contextmanager
def client(box, line, **kw):
    """An aib-exec of a shell's LINE, which is killed at the end."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kw}
    with subprocess.Popen([program("aib-exec"), "sh", "-c", line], cwd=box / "b", **streams) as p:
        try:
            yield p
        finally:
            p.kill()


def many_files(box):
    """Made inside, listed outside."""
    n = 50_000 if LONG else 1_000
    box.exec("sh", "-c", f"mkdir /root/d; cd /root/d; seq {n} | xargs touch", cwd="b", check=True, timeout=300)
    assert len(os.listdir(box / "b/root/d")) == n
    run("find", box / "b/root/d", "-type", "f", "-size", "+1", timeout=300)
    box.exec("rm", "-r", "/root/d", cwd="b", check=True, timeout=300)
    assert not (box / "b/root/d").exists()


def output_that_waits_for_its_reader(box):
    """What comes then is all of it."""
    size, n = (1000 if LONG else 100) << 20, 0
    with client(box, f"head -c {size} /dev/zero", stdout=subprocess.PIPE) as p:
        time.sleep(1)
        while data := p.stdout.read(1 << 20):
            n += len(data)
        assert (n, p.wait()) == (size, 0)


def output_that_nobody_reads(box):
    with client(box, "yes bomb; sleep 1", stdout=subprocess.PIPE) as p:
        assert p.stdout.read(1 << 16)
        time.sleep(1)


def output_of_a_job(box):
    """`job_output` of it is kept."""
    box.exec("-d", "--name", "bomb", "sh", "-c", "yes", cwd="b", check=True)
    time.sleep(5 if LONG else 2)
    run("aib", "job", "kill", "-KILL", "bomb", "--mount", box)
    top = os.environ["AIB_JOB_DIR"]
    kept = sum(os.path.getsize(os.path.join(d, f)) for d, _, fs in os.walk(top) for f in fs)
    assert 0 < kept < 40 << 20, kept
    run("aib", "job", "rm", "bomb", "--mount", box)


def arguments(box):
    """Many at the start of a command, and too long a variable in it."""
    p = box.exec("sh", "-c", "echo $#", "-", *["x" * 100_000] * 15, cwd="b")
    assert (p.returncode, p.stdout) == (0, "15\n") or p.returncode in (125, 126), p.stderr
    line = "i=0; while [ $i -lt 18 ]; do x=x$x$x; i=$((i + 1)); done; export x; /bin/busybox true"
    p = box.exec("sh", "-c", line, cwd="b")
    assert p.returncode != 0 and "too long" in p.stderr, p


def descriptors(box):
    """In the sandbox, and of the daemon by files of it that are open."""
    line = 'i=3; while [ $i -lt 3000 ]; do eval "exec $i</etc/passwd" || exit 3; i=$((i + 1)); done'
    box.exec("sh", "-c", f"for k in 1 2 3; do ({line}; sleep 1) & done; wait", cwd="b")
    held = []
    with contextlib.suppress(OSError):
        while len(held) < (15_000 if LONG else 800):
            held.append(os.open(box / "b/etc/passwd", os.O_RDONLY))
    assert len(held) > 500
    for fd in held:
        os.close(fd)


@pytest.mark.timeout(600)
def test_bombs_stay_in_their_sandbox(bombed):
    """Each leaves it usable. The small limit is for the machine's sake: it is 2 GiB where nothing is said."""
    box = bombed(",memory=128M")
    for bomb in (
        arguments, descriptors, many_files, output_that_waits_for_its_reader, output_that_nobody_reads, output_of_a_job,
    ):  # fmt: skip
        start = time.monotonic()
        bomb(box)
        works(box)
        print(f"{bomb.__name__}: {time.monotonic() - start:.1f} s")


# Each process doubles itself, without an end, and the first takes each place that comes free: where it cannot fork, a
# shell ends, and this one begins anew.
FORK_BOMB = """trap 'exec sh -c "$BOMB"' EXIT; f() { f | f & }; f; while :; do sleep 1000 & done"""


@pytest.mark.timeout(600)
def test_a_fork_bomb_ends_with_its_command(bombed):
    """By its time limit, as a whole: at most `pids` processes, and none of them left."""
    box = bombed(",memory=256M,pids=150")
    p = box.exec("--timeout", "3", "-e", f"BOMB={FORK_BOMB}", "sh", "-c", FORK_BOMB, cwd="b", timeout=120)
    assert p.returncode == 124, p
    works(box)
    left = box.exec("ps", "-o", "args", cwd="b", check=True).stdout
    assert FORK_BOMB not in left and "sleep 1000" not in left, left


@pytest.mark.timeout(600)
def test_a_fork_bomb_that_outlives_its_command_is_named_and_ended_by_a_restart(bombed):
    box = bombed(",memory=256M,pids=100")
    box.exec("-e", f"BOMB={FORK_BOMB}", "sh", "-c", 'sh -c "$BOMB" >/dev/null 2>&1 & sleep 1', cwd="b", timeout=120)
    refused = wait_for("a refusal", lambda: (p := box.exec("true", cwd="b", timeout=120)).returncode and p, 60)
    assert "pids" in refused.stderr and "ctl" in refused.stderr, refused
    (box / ".aib/sandboxes/b/ctl").write_text("restart\n")
    works(box)
    left = box.exec("ps", "-o", "args", cwd="b", check=True).stdout
    assert "sleep 1000" not in left, left


MEMORY_BOMBS = {
    "a process": "tail /dev/zero",
    "many processes": "for i in 1 2 3 4 5 6 7 8; do tail /dev/zero & done; wait $!",
    "files in memory": "dd if=/dev/zero of=/dev/shm/bomb bs=1M count=500",
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("bomb", MEMORY_BOMBS)
def test_a_memory_bomb_is_killed_in_its_sandbox(bombed, bomb):
    box = bombed(",memory=48M")
    p = box.exec("sh", "-c", MEMORY_BOMBS[bomb], cwd="b", timeout=120)
    assert p.returncode != 0, p
    works(box)
    box.exec("rm", "-f", "/dev/shm/bomb", cwd="b", check=True)


@pytest.fixture
def disk_of_32m(world):
    with small_disk(world, "32m") as disk:
        yield disk


@pytest.mark.timeout(600)
def test_a_disk_bomb_fills_what_it_was_given(disk_of_32m, bombed):
    """A volume of a full disk, from inside and through the mount; it is usable again once there is room."""
    box = bombed(f",volume={disk_of_32m}:/disk")
    p = box.exec("sh", "-c", "cat /dev/zero >/disk/bomb", cwd="b", timeout=120)
    assert p.returncode != 0 and "No space left" in p.stderr, p
    with pytest.raises(OSError, match="No space left"):
        (box / "b/disk/more").write_bytes(b"x" * (1 << 20))
    works(box)
    box.exec("rm", "/disk/bomb", cwd="b", check=True)
    (box / "b/disk/more").write_bytes(b"x" * (1 << 20))
    assert box.exec("wc", "-c", "/disk/more", cwd="b", check=True).stdout.split()[0] == str(1 << 20)
