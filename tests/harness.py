"""What the integration tests stand on: a private world for each test, mounts, engines, and the
check that nothing of them is left behind. conftest.py makes fixtures of it.

Every process of a test carries AIB_TEST_WORLD in its environment: so its leftovers are found,
whoever is their parent by then.
"""

import contextlib
import fcntl
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("AIB_BUILD", TOP / "build")).resolve()
BIN = BUILD / "bin"
SLOW = int(os.environ.get("AIB_TEST_SLOW", "1"))  # factor on timeouts, for sanitizers
LONG = os.environ.get("AIB_TEST_LONG") == "1"
KIND = os.environ.get("AIB_TEST_ENGINE_KIND", "docker")  # of engine

# Reports of sanitizers go to files, for a daemon has no terminal.
SANITIZERS = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS")


# Git without anybody's configuration.
GIT = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent",
}  # fmt: skip


def program(name):
    return str(BIN / name)


def run(*argv, check=True, timeout=60, text=True, **kw):
    """Run to the end. With check, a status other than 0 is an error that shows both streams."""
    argv = [os.fspath(a) for a in argv]
    if kw.get("input") is None and "stdin" not in kw:
        kw["stdin"] = subprocess.DEVNULL
    p = subprocess.run(argv, capture_output=True, timeout=timeout * SLOW, text=text, **kw)
    if check and p.returncode != 0:
        raise AssertionError(
            f"{' '.join(argv)}: status {p.returncode}\n{p.stdout!s}\n{p.stderr!s}"
        )
    return p


def wait_for(what, condition, timeout=10):
    """Poll until condition() is true and return it."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {timeout} s: {what}")
        time.sleep(0.05)


def traced(box, calls, trace, call):
    """What BOX's daemon asked the kernel for meanwhile, of CALLS (as strace(1) takes them), by way of the file TRACE."""
    argv = ["strace", "-f", "-e", f"trace={calls}", "-o", trace, "-p", str(box.pid)]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True) as p:
        while "attached" not in p.stderr.readline():
            assert p.poll() is None
        call()
        p.terminate()
        p.communicate()
    return trace.read_text().splitlines()


def timed(call):
    """What a call of the system ends with, its errno or 0, and how many seconds it takes."""
    start, code = time.monotonic(), 0
    try:
        call()
    except OSError as e:
        code = e.errno
    return code, time.monotonic() - start


def mounts_below(path):
    """(mount point, type) of all mounts at or below path, deepest first."""
    found = []
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = fields[4].encode().decode("unicode_escape")
        if (point + "/").startswith(f"{path}/"):
            found.append((point, fields[fields.index("-") + 1]))
    return sorted(found, reverse=True)


def stat_of(entry):
    """(state, parent's pid) of a process, by its directory in /proc; of one that is gone, nothing."""
    try:
        fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
        return fields[0], int(fields[1])
    except OSError:
        return ()


def rss_kb(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


class World:
    """The private directory of a test: run (AIB_RUNTIME_DIR), tmp (TMPDIR), mnt… and src for its
    use. Its name is short, for sockets' sake."""

    def __init__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="aibt-", dir="/tmp"))
        self.dir.chmod(0o755)
        self.id = self.dir.name
        for name in ("run", "tmp", "src", "state", "reports"):
            (self.dir / name).mkdir()
        self.mounts = []
        options = f"log_path={self.dir}/reports/r:" + "exitcode=0:print_stacktrace=1"
        self.env = {
            "AIB_TEST_WORLD": self.id,
            "AIB_RUNTIME_DIR": str(self.dir / "run"),
            "XDG_STATE_HOME": str(self.dir / "state"),
            "AIB_JOB_DIR": str(self.dir / "state" / "jobs"),
            "TMPDIR": str(self.dir / "tmp"),
            "PATH": f"{BIN}:{os.environ['PATH']}",
            **{name: ":".join(filter(None, (os.environ.get(name), options))) for name in SANITIZERS},
        }

    def processes(self):
        """{pid: command line} of the living processes of this world, but the test itself."""
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if f"AIB_TEST_WORLD={self.id}".encode() not in (entry / "environ").read_bytes():
                    continue
                if (entry / "stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                    continue
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found[int(entry.name)] = line
        return found

    def daemons(self):
        return [pid for pid, line in self.processes().items() if line.split(" ")[0].endswith("aibfs")]

    def kill(self):
        """Free whoever hangs in one of our mounts: without a daemon their calls end at once."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def close(self):
        """End and remove everything. Returns a list of what should not have been there any more."""
        wrong = []
        for mount in reversed(self.mounts):
            with contextlib.suppress(Exception):
                wrong += mount.end()
        with contextlib.suppress(AssertionError):  # what was told to end may take a moment
            wait_for("processes to end", lambda: not self.processes(), timeout=3)
        for pid, line in self.processes().items():
            wrong.append(f"process left: {pid} {line}")
        self.kill()
        for point, kind in mounts_below(self.dir):
            wrong.append(f"mount left: {point} ({kind})")
            subprocess.run(["umount", "-l", point], stderr=subprocess.DEVNULL)
        for name in ("run", "tmp"):
            for left in (self.dir / name).rglob("*"):
                if not left.is_dir():
                    wrong.append(f"file left: {left.relative_to(self.dir)}")
        for report in sorted((self.dir / "reports").iterdir()):
            wrong.append(f"sanitizer report:\n{report.read_text(errors='replace')[:6000]}")
        if not mounts_below(self.dir):
            shutil.rmtree(self.dir, ignore_errors=True)
        return wrong


class Mount:
    """One `aib mount`. It is a path: mount / "a" and open(mount / "a")."""

    def __init__(self, world, routes, options=None, config=None, flags=(), path=None, timeout=60):
        self.world = world
        self.path = pathlib.Path(path) if path else world.dir / f"m{len(world.mounts)}"
        if not path:  # one that is given may hold a dead mount, at which nobody can look
            self.path.mkdir()
        argv = [program("aib"), "mount", *flags]
        if config is not None:
            file = world.dir / f"c{len(world.mounts)}.json"
            file.write_text(json.dumps(config))
            argv += ["-c", str(file)]
        for route in routes:
            argv += ["-r", route]
        if options:
            argv += ["-o", options]
        before = set(world.daemons())
        self.log = world.dir / f"l{len(world.mounts)}"
        self.ended = False
        world.mounts.append(self)
        with open(self.log, "wb") as log:
            p = subprocess.Popen([*argv, str(self.path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            try:
                status = p.wait(timeout * SLOW)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                status = "timeout"
        if status != 0:
            raise AssertionError(f"aib mount: status {status}\n{self.log.read_text()}")
        started = sorted(set(world.daemons()) - before)
        assert started, "aib mount returned 0, but there is no daemon"
        self.pid = started[-1]

    def __fspath__(self):
        return str(self.path)

    def __str__(self):
        return str(self.path)

    def __truediv__(self, name):
        return self.path / name

    @property
    def mounted(self):
        return bool(mounts_below(self.path))

    def exec(self, *argv, cwd="", **kw):
        """aib-exec of argv (its own options first) from the directory cwd of the mount."""
        kw.setdefault("check", False)
        return run(program("aib-exec"), *argv, cwd=self.path / cwd, **kw)

    def umount(self, *flags):
        return run(program("aib"), "umount", *flags, self.path)

    def end(self):
        """Unmount, by force where it must be. Returns what went wrong."""
        if self.ended:
            return []
        self.ended = True
        if not self.mounted:
            return []
        wrong = []
        try:
            p = run(program("aib"), "umount", self.path, check=False, timeout=30)
            if p.returncode != 0:
                wrong.append(f"aib umount: status {p.returncode}: {p.stderr.strip()}")
        except subprocess.TimeoutExpired:
            wrong.append("aib umount: did not end")
        if self.mounted:
            wrong.append("still mounted after aib umount")
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            subprocess.run(["umount", "-l", str(self.path)], stderr=subprocess.DEVNULL)
        return wrong


IO_URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")


@contextlib.contextmanager
def io_uring():
    """The kernel lets FUSE use io_uring while mounts are made within the block: True. False: it has
    none, or only root could turn it on."""
    if not IO_URING.exists():
        yield False
        return
    with open(IO_URING) as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        before = IO_URING.read_text()
        if before.strip() == "Y" or os.getuid() != 0:
            yield before.strip() == "Y"
            return
        IO_URING.write_text("Y")
        try:
            yield True
        finally:
            IO_URING.write_text(before)


@contextlib.contextmanager
def small_disk(world, size):
    """A file system of SIZE (as mount(8) takes it) for WORLD's mounts, which end before it."""
    top = world.dir / "small"
    top.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", top)
    try:
        yield top
    finally:
        for made in world.mounts:
            made.end()
        run("umount", top)


class Engine:
    """A Docker Engine to test with. Of several workers (pytest -n), each after the first has one of its own: a test
    looks at all that is in its engine."""

    def __init__(self):
        first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
        self.host = os.environ.get("AIB_TEST_ENGINE") if first else None
        self.dir = None
        if not self.host:
            p = run(TOP / "scripts/engine", "start", str(os.getpid()), KIND, check=False, timeout=300)
            if p.returncode != 0:
                raise AssertionError(f"these tests need a Docker Engine:\n{p.stderr}")
            self.dir = p.stdout.strip()
            self.host = f"unix://{self.dir}/docker.sock"
        self.env = {**os.environ, "DOCKER_HOST": self.host}
        run(TOP / "scripts/images", env=self.env, timeout=600)

    def docker(self, *argv, check=True, **kw):
        return run("docker", *argv, env=self.env, check=check, **kw)

    def containers(self, *filters):
        argv = [a for f in filters for a in ("--filter", f)]
        return self.docker("ps", "-aq", "--no-trunc", *argv).stdout.split()

    def volumes(self):
        """Those of workspaces."""
        return self.docker("volume", "ls", "-q", "--filter", "label=aib.root").stdout.split()

    def sessions(self, root):
        """The containers of a workspace root."""
        if not (root / ".root").exists():
            return []
        label = f"label=aib.root={(root / '.root').read_text()}"
        lines = self.docker("ps", "-a", "--no-trunc", "--filter", label, "--format",
                            '{{.ID}} {{.Label "aib.session"}} {{.State}}').stdout.splitlines()
        return [dict(zip(("id", "session", "state"), line.split())) for line in lines]

    def inspect(self, container, missing_ok=False):
        p = self.docker("inspect", container, check=not missing_ok)
        return None if missing_ok and "No such object" in p.stderr else json.loads(p.stdout)[0]

    def processes(self, container):
        """{pid: name and command line} of what runs in a container, dead ones that nobody has reaped included, as
        this machine numbers them (Podman's `top` does not)."""
        world = os.readlink(f"/proc/{self.inspect(container)['State']['Pid']}/ns/pid")
        found = {}
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == world:
                    text = (entry / "comm").read_text() + (entry / "cmdline").read_text()
                    found[int(entry.name)] = text.replace("\0", " ").replace("\n", " ").strip()
        return found

    def commands(self, container):
        """The command lines of what runs in a container; of one that has stopped none."""
        p = self.docker("top", container, "-eo", "pid,args", check=False)
        assert p.returncode == 0 or "is not running" in p.stderr or "No such container" in p.stderr, p.stderr
        lines = p.stdout.splitlines()[1:]
        return [line.strip().split(None, 1)[1] for line in lines]

    def close(self):
        if self.dir:
            run(TOP / "scripts/engine", "stop", self.dir, timeout=120)


class Registry:
    """A registry on this machine (docker-registry), for pulls; REFERENCE to pull is push()'s."""

    def __init__(self, engine, directory):
        self.engine = engine
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{s.getsockname()[1]}"
        config = pathlib.Path(directory) / "registry.yml"
        config.write_text(
            "version: 0.1\n"
            f"storage: {{filesystem: {{rootdirectory: {directory}/registry}}}}\n"
            f"http: {{addr: {self.address}}}\n"
        )
        self.process = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        wait_for("the registry", self._answers)

    def _answers(self):
        with contextlib.suppress(OSError):
            return urllib.request.urlopen(f"http://{self.address}/v2/", timeout=2).status == 200

    def push(self, image, name):
        """Push IMAGE as NAME and drop it from the engine, so that its use is a pull."""
        reference = f"{self.address}/{name}"
        self.engine.docker("tag", image, reference)
        self.engine.docker("push", reference)
        self.engine.docker("rmi", reference)
        return reference

    def close(self):
        self.process.terminate()
        self.process.wait(10)
