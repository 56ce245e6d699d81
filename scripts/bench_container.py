"""The container part of scripts/bench: a route into a container against the same work inside it.

"Inside" is what the same program of the host does, as root, through /proc/PID/root of the container's
init: so both sides run the same program on the same files of the same file system, and what differs
is the way to them. Where a figure is cold, dentries and inodes are dropped before each side, and what
the mount lets the kernel remember has timed out. Writes start with nothing dirty and end with fsync;
they are in place, since finding room for a gigabyte takes now one second and now four.

The engine's files are on an ext4 of their own, and no tree is removed before the end: ext4 gives the
numbers of removed files to nobody for minutes, and looks at each of them again whenever a file is made,
which makes a `tar x` soon after an `rm -r` ten times slower, inside as over the mount.
"""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
import time

from bench_common import BIN, TOP, limit, progress, sh, show_time, spawn, timed

IMAGE = "aib-test:busybox"
INSIDE, MOUNT = "inside", "mount"
DOCKER, SH, AIB = "docker exec", "sh -c", "aib-exec"
GREP = "aib grep"
REMEMBERED = 1.1  # seconds: longer than any timeout of the mount
LIMIT = 300  # seconds: nothing takes that long but what hangs
CALLS = {DOCKER: 3, SH: 30, AIB: 30}  # of a command, in each round


# ---- Figures: what is told of the jobs below, and the target of each ------------------------


@dataclasses.dataclass(frozen=True)
class Figure:
    """WAY of JOB against BASE; KIND says of what LIMIT is the limit."""

    job: str
    base: str
    way: str
    kind: str  # ratio: WAY / BASE; more: WAY - BASE, seconds; time: WAY, seconds; rate: WAY, bytes/s
    limit: float
    target: str

    def is_met(self, base, way, size):
        return {
            "ratio": way / base <= self.limit,
            "more": way - base <= self.limit,
            "time": way <= self.limit,
            "rate": size / way >= self.limit,
        }[self.kind]

    @property
    def text(self):
        words = self.job.removeprefix("container_").replace("_", " ")
        return words if self.base == INSIDE else f"{words} / {self.base}"


FIGURES = [
    Figure("container_sequential_read", INSIDE, MOUNT, "ratio", 1.11, "0.9 of the speed"),
    Figure("container_sequential_write", INSIDE, MOUNT, "ratio", 1.11, "0.9 of the speed"),
    Figure("container_random_read_4k", INSIDE, MOUNT, "ratio", 1.11, "0.9 of the speed"),
    Figure("container_random_write_4k", INSIDE, MOUNT, "ratio", 1.11, "0.9 of the speed"),
    Figure("container_exec_true", DOCKER, AIB, "ratio", 0.02, "50 times faster"),
    Figure("container_exec_true", SH, AIB, "more", 0.003, "3 ms more"),
    Figure("container_find_ls_cold", INSIDE, MOUNT, "ratio", 3, "3 times"),
    Figure("container_tar_x", INSIDE, MOUNT, "ratio", 4, "4 times"),
    Figure("container_grep", INSIDE, GREP, "ratio", 1.5, "1.5 times"),
    Figure("container_grep_stream", INSIDE, GREP, "ratio", 1.5, "1.5 times"),
    Figure("container_first_ls", INSIDE, MOUNT, "time", 0.010, "10 ms"),
    Figure("container_stream_read", INSIDE, MOUNT, "rate", 300e6, "300 MB/s"),
    Figure("container_stream_read", DOCKER, MOUNT, "ratio", 1, "as fast as cat"),
]
JOBS = list(dict.fromkeys(f.job for f in FIGURES))


def ways_of(job):
    return list(dict.fromkeys(w for f in FIGURES if f.job == job for w in (f.base, f.way)))


# ---- A mount with sandboxes that run --------------------------------------------------------


class Mount:
    """`aib mount` of ROUTES ({name: source}) at DIRECTORY; the sandboxes run."""

    def __init__(self, env, directory, routes):
        self.env, self.path = env, directory
        directory.mkdir()
        argv = [word for name, source in routes.items() for word in ("-r", f"/{name}={source}")]
        sh(BIN / "aib", "mount", *argv, directory, env=env, timeout=LIMIT)
        for name in routes:
            self.control(name, "ctl").write_text("start\n")
        end = time.monotonic() + LIMIT
        while not all(self.status(name)["state"] == "running" for name in routes):
            if time.monotonic() > end:
                raise TimeoutError("a sandbox does not start")
            time.sleep(0.01)

    def control(self, name, file):
        return self.path / ".aib/sandboxes" / name / file

    def status(self, name):
        lines = self.control(name, "status").read_text().splitlines()
        return dict(line.partition(" ")[::2] for line in lines)

    def inside(self, name):
        """The root of the container, as its init has it."""
        p = sh("docker", "inspect", "-f", "{{.State.Pid}}", self.status(name)["container"],
               env=self.env, stdout=subprocess.PIPE, text=True, timeout=LIMIT)  # fmt: skip
        return pathlib.Path(f"/proc/{p.stdout.strip()}/root")

    def close(self):
        with contextlib.suppress(subprocess.SubprocessError):
            sh(BIN / "aib", "umount", self.path, env=self.env, timeout=60)
        if os.path.ismount(self.path):
            subprocess.run(["umount", "-l", self.path])
        with contextlib.suppress(OSError):
            self.path.rmdir()


# ---- Jobs: seconds that the work takes, one way ---------------------------------------------


class Container:
    def __init__(self, quick, scratch, env):
        self.files = 4000 if quick else 20000
        self.bytes = (256 if quick else 1024) << 20
        self.random_bytes = (64 if quick else 256) << 20
        self.seconds = 1 if quick else 3
        self.scratch, self.env = scratch, env
        self.turns = 0
        self.archive = scratch / "small.tar"
        self.at = {}  # {way: directory}
        self.at_stream = {}

    def prepare(self, mount, jobs):
        self.mount = mount
        self.name = mount.status("c")["container"]
        for route, at in (("c", self.at), ("s", self.at_stream)):
            root = mount.inside(route)
            at.update({INSIDE: root / "bench", MOUNT: mount.path / route / "bench"})
            at[INSIDE].mkdir()
            if any("read" in job for job in jobs):
                self.fill(at[INSIDE] / "big", self.bytes)
        self.fill(self.at[INSIDE] / "written", self.bytes)
        self.fill(self.at[INSIDE] / "random", self.random_bytes)
        self.make_archive()
        for at in (self.at, self.at_stream):
            (at[INSIDE] / "tree").mkdir()
            self.run("tar", "-C", at[INSIDE] / "tree", "-xf", self.archive)

    @staticmethod
    def fill(file, size):
        with open(file, "wb") as f:
            for _ in range(size >> 20):
                f.write(os.urandom(1 << 20))
            os.fsync(f.fileno())

    def make_archive(self):
        text = b"".join(b"line %d of some text\n" % i for i in range(120))
        with tarfile.open(self.archive, "w") as tar:
            for i in range(self.files):
                if i % 20 == 0:
                    directory = tarfile.TarInfo(f"d{i // 100}/s{i // 20 % 5}")
                    directory.type, directory.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(directory)
                member = tarfile.TarInfo(f"d{i // 100}/s{i // 20 % 5}/f{i}.txt")
                member.size = 200 + i % 2000
                tar.addfile(member, io.BytesIO(text[: member.size]))

    def run(self, *argv, **kw):
        with limit(LIMIT):
            return sh(*argv, env=self.env, stderr=subprocess.DEVNULL, **kw)

    @staticmethod
    def cold():
        os.sync()
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("2\n")
        time.sleep(REMEMBERED)

    def fresh(self, way):
        """A new directory: no name is used twice, so that nobody remembers it."""
        self.turns += 1
        directory = self.at[way] / f"out{self.turns}"
        directory.mkdir()
        return directory

    # -- the jobs --

    def sequential_read(self, way):
        return timed(self.run, "dd", f"if={self.at[way]}/big", "of=/dev/null", "bs=1M")

    def stream_read(self, way):
        """DOCKER: cat, whose bytes the same engine copies."""
        if way == DOCKER:
            return timed(self.run, "docker", "exec", self.mount.status("s")["container"], "cat", "/bench/big", stdout=subprocess.DEVNULL)
        return timed(self.run, "dd", f"if={self.at_stream[way]}/big", "of=/dev/null", "bs=1M")

    def sequential_write(self, way):
        os.sync()
        return timed(self.run, "dd", "if=/dev/zero", f"of={self.at[way]}/written", "bs=1M",
                     f"count={self.bytes >> 20}", "conv=fsync,notrunc")  # fmt: skip

    def fio(self, way, rw):
        os.sync()
        p = self.run("fio", "--name=r", f"--rw={rw}", "--bs=4k", f"--filename={self.at[way]}/random",
                     "--thread", "--invalidate=0", "--ioengine=psync", f"--size={self.random_bytes}",
                     "--time_based", f"--runtime={self.seconds}", "--end_fsync=1", "--output-format=json",
                     stdout=subprocess.PIPE, cwd=self.scratch)  # fmt: skip
        return 1 / json.loads(p.stdout)["jobs"][0][rw[4:]]["iops"]

    def random_read_4k(self, way):
        return self.fio(way, "randread")

    def random_write_4k(self, way):
        return self.fio(way, "randwrite")

    def exec_true(self, way):
        argv, cwd = {
            DOCKER: (["docker", "exec", self.name, "true"], "/"),
            SH: (["sh", "-c", "true"], "/"),
            AIB: ([BIN / "aib-exec", "true"], self.mount.path / "c"),
        }[way]
        with limit(LIMIT), contextlib.chdir(cwd):
            return statistics.median(timed(spawn, argv, self.env) for _ in range(CALLS[way]))

    def find_ls_cold(self, way):
        self.cold()
        return timed(self.run, "find", self.at[way] / "tree", "-ls")

    def search(self, way, at):
        """Of what is not there; the files are warm."""
        argv = [BIN / "aib", "grep", "no such text", at[MOUNT] / "tree"] if way == GREP else ["grep", "-r", "no such text", at[INSIDE] / "tree"]
        with limit(LIMIT):
            return timed(subprocess.run, argv, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def grep(self, way):
        return self.search(way, self.at)

    def grep_stream(self, way):
        return self.search(way, self.at_stream)

    def tar_x(self, way):
        out = self.fresh(way)
        self.cold()
        return timed(self.run, "tar", "-C", out, "-xf", self.archive)

    def first_ls(self, way):
        if way == INSIDE:
            return timed(self.run, "ls", self.at[INSIDE].parent)
        self.turns += 1
        mount = Mount(self.env, self.scratch / f"new{self.turns}", {"c": f"docker:{IMAGE}"})
        try:
            return timed(self.run, "ls", mount.path / "c")
        finally:
            mount.close()


# ---- Measuring ------------------------------------------------------------------------------


@contextlib.contextmanager
def file_system(scratch):
    """A new ext4 in a file of SCRATCH, which ends with the block."""
    image, point = scratch / "disk.img", scratch / "disk"
    point.mkdir()
    with open(image, "wb") as f:
        f.truncate(16 << 30)  # most of it is never written
    sh("mkfs.ext4", "-q", "-F", "-N", "600000", "-E", "lazy_itable_init=0,lazy_journal_init=0", image)
    sh("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        if subprocess.run(["umount", point]).returncode != 0:
            subprocess.run(["umount", "-l", point])


@contextlib.contextmanager
def private_engine(env, scratch):
    """An engine in ENV: AIB_TEST_ENGINE, or else a new one, which ends with the block."""
    if env.get("AIB_TEST_ENGINE"):
        env["DOCKER_HOST"] = env["AIB_TEST_ENGINE"]
        yield
        return
    with file_system(scratch) as root:
        start = [TOP / "scripts/engine", "start", str(os.getpid())]
        p = sh(*start, env={**env, "AIB_ENGINE_ROOT": str(root)}, stdout=subprocess.PIPE, text=True)
        directory = p.stdout.strip()
        env["DOCKER_HOST"] = f"unix://{directory}/docker.sock"
        try:
            yield
        finally:
            sh(TOP / "scripts/engine", "stop", directory)


def measure(args, scratch, jobs):
    """{job: {way: [seconds]}}, and how the routes reach their files."""
    scratch = scratch / "container"
    (scratch / "run").mkdir(parents=True)
    (scratch / "run").chmod(0o700)
    env = {**os.environ, "AIB_RUNTIME_DIR": str(scratch / "run")}
    results = {job: {way: [] for way in ways_of(job)} for job in jobs}
    with contextlib.ExitStack() as stack:
        progress("container: starting an engine")
        stack.enter_context(private_engine(env, scratch))
        sh(TOP / "scripts/images", f"{IMAGE}=busybox", env=env)
        routes = {"c": f"docker:{IMAGE}", "s": f"docker:{IMAGE},guest=stream"}
        mount = stack.enter_context(contextlib.closing(Mount(env, scratch / "box", routes)))
        container = Container(args.quick, scratch, env)
        progress("container: preparing")
        container.prepare(mount, jobs)
        for job in jobs:
            run = getattr(container, job.removeprefix("container_"))
            for n in range(args.rounds + 1):
                # Who comes first changes, since it may leave something to the other.
                for way in ways_of(job)[:: -1 if n % 2 else 1]:
                    progress(f"{job}: {way}, round {n}")
                    seconds = run(way)
                    if n > 0:  # the first one warms up
                        results[job][way].append(seconds)
        transports = {route: mount.status(route).get("transport_way", "archive") for route in routes}
        sizes = {"bytes": container.bytes, "files": container.files, "transports": transports}
    return {"measurements": results, "figures": figures_of(results, container.bytes), **sizes}


def figures_of(results, size):
    rows = []
    for f in FIGURES:
        if f.job in results:
            base, way = (statistics.median(results[f.job][w]) for w in (f.base, f.way))
            rows.append({**dataclasses.asdict(f), "text": f.text, "base_seconds": base, "way_seconds": way,
                         "ratio": way / base, "met": f.is_met(base, way, size),
                         "bytes_per_second": size / way if f.kind == "rate" else None})  # fmt: skip
    return rows


def show(found):
    print(f"\n{found['bytes'] >> 20} MiB, {found['files']} files; the guest: "
          + ", ".join(f"{way} (/{route})" for route, way in found["transports"].items()))  # fmt: skip
    print(f"{'container':28}{'base':>14}{'mount':>14}{'ratio':>10}   target")
    for row in found["figures"]:
        base, way = show_time(row["base_seconds"]), show_time(row["way_seconds"])
        if row["bytes_per_second"]:
            base, way = (f"{found['bytes'] / row[w] / 1e6:.0f} MB/s" for w in ("base_seconds", "way_seconds"))
        ratio = f"{row['ratio']:.3f}x" if row["ratio"] < 0.1 else f"{row['ratio']:.2f}x"
        mark = "yes" if row["met"] else "NO"
        print(f"{row['text']:28}{base:>14}{way:>14}{ratio:>10}   {row['target']:18}{mark}")
    sys.stdout.flush()
