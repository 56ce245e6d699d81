"""The files' part of scripts/bench: a host route against its own directory, with bindfs and mergerfs
beside it, and a memory route, alone in its mount, against a tmpfs. Each is mounted a second time over
io_uring where root can turn that on for the run.

A figure is the median of the rounds' ratios to the base, taken in turn within a round. Every row has
its targets, times native; a host route has to be ahead of bindfs and mergerfs too.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import statistics
import subprocess

from bench_common import BIN, progress, sh, show_time, timed

ENABLE_URING = pathlib.Path("/sys/module/fuse/parameters/enable_uring")
POSTGRES = "postgres"  # the user that a server's programs run as: it refuses root


# What a tenth of the files of a source tree has at most, in bytes: of 23,600 headers, scripts and
# texts of the libraries of a distribution, with the few larger ones cut off.
SIZES = [1, 600, 1000, 1400, 2100, 2900, 4100, 6500, 12000, 28000, 64000]


def size_of(i):
    """Of the I-th file: its tenth by turns, and a place in that one that looks like chance."""
    low, high = SIZES[i % 10], SIZES[i % 10 + 1]
    return low + (high - low) * (i * 7919 % 1000) // 1000


# ---- Jobs: seconds that the work in a directory takes ---------------------------------------


class Jobs:
    """Each method that `ROWS` names is a job; what it does before the time is taken warms the caches."""

    def __init__(self, quick, scratch):
        self.made = 0
        self.files = 1000 if quick else 10000
        self.listed = 10000 if quick else 100000
        self.bytes = (64 if quick else 256) << 20
        self.seconds = 1 if quick else 3
        self.sources = 20 if quick else 100
        self.transactions = 1000 if quick else 5000
        self.tree = scratch / "tree"
        self.archive = scratch / "tree.tar"
        self.make_tree(2000 if quick else 20000)

    # -- What they work on

    def make_tree(self, files):
        text = "".join(f"line {i} of some text that grep has to read\n" for i in range(1600))
        for i in range(files):
            d = self.tree / f"d{i // 100}/s{i // 20 % 5}"
            d.mkdir(parents=True, exist_ok=True)
            (d / f"f{i}.txt").write_text(text[: size_of(i)])
        for argv in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "tree"]):
            self.git(self.tree, *argv)
        sh("tar", "-C", self.tree, "-cf", self.archive, "--exclude=.git", ".")

    @staticmethod
    def git(directory, *argv):
        sh("git", "-c", "safe.directory=*", "-c", "user.name=b", "-c", "user.email=b@example.org",
           "-c", "gc.auto=0", "-C", directory, *argv, stderr=subprocess.DEVNULL)  # fmt: skip

    # What is made in a directory before, by the jobs that need it.

    def make_copy(self, directory):
        shutil.copytree(self.tree, self.fresh(directory / "tree"), dirs_exist_ok=True)

    def make_many(self, directory):
        many = self.fresh(directory / "many")
        for i in range(self.listed):
            (many / f"f{i}").touch()

    def make_big(self, directory):
        with open(directory / "big", "wb") as f:
            for _ in range(self.bytes >> 20):
                f.write(os.urandom(1 << 20))
        shutil.copy(directory / "big", directory / "rand")

    def make_sources(self, directory):
        build = self.fresh(directory / "build")
        names = [f"m{i}" for i in range(self.sources)]
        declared = "".join(f"int {n}(int);\n" for n in names)
        (build / "all.h").write_text(f"#include <stdio.h>\n#include <stdlib.h>\n{declared}")
        for n in names:
            text = f'#include "all.h"\nint {n}(int x) {{ return printf("%d", x) + abs(x); }}\n'
            (build / f"{n}.c").write_text(text)
        objects = " ".join(n + ".o" for n in names)
        rules = f"libm.a: {objects}\n\tar rcs $@ $^\n%.o: %.c all.h\n\tcc -c -o $@ $<\n"
        (build / "Makefile").write_text(rules)

    def make_database(self, directory):
        self.fresh(directory / "pg").chmod(0o777)
        self.as_postgres("initdb", "-A", "trust", "-D", directory / "pg/data")
        with self.server(directory):
            self.as_postgres("pgbench", "-i", "-q", "-h", directory / "pg", "postgres")

    def another(self, directory, name):
        """A new directory where none was: a file system may avoid for a while what was just removed, which takes long."""
        self.made += 1
        path = directory / f"{name}{self.made}"
        path.mkdir()
        return path

    @staticmethod
    def fresh(directory):
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir()
        return directory

    def make_files(self, directory):
        for i in range(self.files):
            os.close(os.open(f"{directory}/f{i}", os.O_CREAT | os.O_WRONLY))

    @staticmethod
    def as_postgres(program, *argv, **kw):
        found = shutil.which(program) or max(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
        user = ["setpriv", f"--reuid={POSTGRES}", f"--regid={POSTGRES}", "--clear-groups"]
        return sh(*(user if os.getuid() == 0 else []), found, *argv, stderr=subprocess.DEVNULL, cwd="/", **kw)

    @contextlib.contextmanager
    def server(self, directory):
        pg = directory / "pg"
        options = f"-k {pg} -c listen_addresses='' -c fsync=on"
        self.as_postgres("pg_ctl", "-w", "-D", pg / "data", "-l", pg / "log", "-o", options, "start")
        try:
            yield
        finally:
            self.as_postgres("pg_ctl", "-w", "-D", pg / "data", "-m", "fast", "stop")

    # -- Large files

    def sequential_write(self, d):
        return timed(sh, "dd", "if=/dev/zero", f"of={d}/w", "bs=1M",
                          f"count={self.bytes >> 20}", stderr=subprocess.DEVNULL)  # fmt: skip

    def sequential_read(self, d):
        return timed(sh, "dd", f"if={d}/big", "of=/dev/null", "bs=1M", stderr=subprocess.DEVNULL)

    def fio(self, d, rw):
        p = sh("fio", "--name=r", f"--rw={rw}", "--bs=4k", f"--filename={d}/rand", "--invalidate=0",
               "--ioengine=psync", f"--size={self.bytes}", "--time_based", f"--runtime={self.seconds}",
               "--output-format=json", stdout=subprocess.PIPE, cwd=d)  # fmt: skip
        return 1 / json.loads(p.stdout)["jobs"][0][rw[4:]]["iops"]

    def random_read(self, d):
        return self.fio(d, "randread")

    def random_write(self, d):
        return self.fio(d, "randwrite")

    # -- Names and attributes

    def warm_stat(self, d):
        names = [f"{d}/many/f{i}" for i in range(self.files)]
        for name in names:
            os.stat(name)
        return timed(lambda: [os.stat(name) for name in names])

    def missing_names(self, d):
        names = [f"{d}/many/none{i}" for i in range(self.files)]
        look = lambda: [os.path.exists(name) for name in names]
        look()
        return timed(look)

    def ls_l(self, d):
        look = lambda: sh("ls", "-l", d / "many")
        look()
        return timed(look)

    # -- Programs

    def c_build(self, d):
        for o in (d / "build").glob("*.[oa]"):
            o.unlink()
        return timed(sh, "make", "-C", d / "build", "-j2")

    def sqlite_wal(self, d):
        for p in d.glob("db*"):
            p.unlink()
        script = "pragma journal_mode=wal; pragma synchronous=normal; create table t(i integer primary key, x text);\n"
        script += "".join(f"insert into t(x) values('{i:0100d}');\n" for i in range(self.transactions))
        script += "select count(*) from t where x like '%9%';\n"
        return timed(subprocess.run, ["sqlite3", d / "db"], input=script, text=True, check=True,
                     stdout=subprocess.DEVNULL)  # fmt: skip

    def pgbench(self, d):
        with self.server(d):
            return timed(self.as_postgres, "pgbench", "-n", "-c", "2", "-t", str(self.transactions // 5), "-h", d / "pg",
                         "postgres")  # fmt: skip

    def git_status(self, d):
        look = lambda: self.git(d / "tree", "status")
        look()
        return timed(look)

    def find_ls(self, d):
        look = lambda: sh("find", d / "tree", "-ls")
        look()
        return timed(look)

    def rg(self, d):
        look = lambda: subprocess.run(["rg", "-uu", "no such text", d / "tree"])
        look()
        return timed(look)

    def grep_r(self, d):
        look = lambda: subprocess.run(["grep", "-r", "no such text", d / "tree"])
        look()
        return timed(look)

    def git_clone(self, d):
        if (d / "clone").exists():
            shutil.rmtree(d / "clone")
        return timed(self.git, d, "clone", "-q", "--no-hardlinks", d / "tree", d / "clone")

    # -- Many small changes

    def tar_x(self, d):
        return timed(sh, "tar", "-C", self.another(d, "out"), "-xf", self.archive)

    def create(self, d):
        new = self.another(d, "new")
        return timed(self.make_files, new)

    def unlink(self, d):
        new = self.another(d, "new")
        self.make_files(new)
        return timed(lambda: [os.unlink(f"{new}/f{i}") for i in range(self.files)])

    def rm_rf(self, d):
        """Of files that were written out, as all are before long: only these have something to be freed."""
        out = self.another(d, "out")
        sh("tar", "-C", out, "-xf", self.archive)
        os.sync()
        return timed(sh, "rm", "-rf", out)


@dataclasses.dataclass
class Row:
    job: str
    host: float
    host_uring: float
    memory_uring: float
    needs: str = None  # the method that makes what it works on

    def target(self, way):
        return {"host": self.host, "host io_uring": self.host_uring, "memory io_uring": self.memory_uring}.get(way)


ROWS = [
    Row("sequential_read", 1.1, 1.15, 1.3, "make_big"),
    Row("sequential_write", 1.1, 1.15, 2),
    Row("random_read", 1.1, 1.15, 1.3, "make_big"),
    Row("random_write", 1.1, 1.15, 2, "make_big"),
    Row("warm_stat", 1.2, 1.2, 1.2, "make_many"),
    Row("missing_names", 1.2, 1.2, 1.2, "make_many"),
    Row("ls_l", 1.2, 1.2, 1.2, "make_many"),
    Row("c_build", 1.15, 1.15, 1.2, "make_sources"),
    Row("sqlite_wal", 1.15, 1.15, 1.2),
    Row("pgbench", 1.15, 1.15, 1.2, "make_database"),
    Row("git_status", 2, 1.8, 1.2, "make_copy"),
    Row("find_ls", 2, 1.8, 1.8, "make_copy"),
    Row("rg", 5, 3, 1.4, "make_copy"),
    Row("grep_r", 6.5, 4.5, 2.8, "make_copy"),
    Row("git_clone", 4, 3.5, 4, "make_copy"),
    Row("tar_x", 12, 8, 8),
    Row("create", 12, 8, 8),
    Row("unlink", 12, 8, 8),
    Row("rm_rf", 1.6, 1.6, 5),
]
JOBS = [row.job for row in ROWS]
PEERS = ("bindfs", "mergerfs")


# ---- Directories, and what each is compared with --------------------------------------------


@dataclasses.dataclass
class Place:
    directory: pathlib.Path
    base: str = None  # the way that it is compared with


class Mounts:
    """What is mounted for the run; all ends with `close`, the newest first."""

    def __init__(self, scratch):
        self.scratch = scratch
        self.places = {}
        self.ends = []
        self.env = {**os.environ, "AIB_RUNTIME_DIR": str(scratch / "run")}
        (scratch / "run").mkdir(mode=0o700)

    def directory(self, name):
        d = self.scratch / name.replace(" ", "-")
        d.mkdir()
        d.chmod(0o755)
        return d

    def add(self, name, base, mount, umount):
        d = self.directory(name)
        sh(*mount(d), env=self.env)
        self.ends.append(umount(d))
        self.places[name] = Place(d, base)

    def aib(self, name, base, route, io_uring):
        options = f"io_uring={'yes' if io_uring else 'no'}" + (",control=none" if base == "tmpfs" else "")
        mount = lambda d: [BIN / "aib", "mount", "-r", f"/={route}", "-o", options, d]
        self.add(name, base, mount, lambda d: [BIN / "aib", "umount", d])

    def peer(self, name, argv):
        root = os.getuid() == 0
        mount = lambda d: [*argv, *(["-o", "allow_other"] if root else []), self.places["native"].directory, d]
        self.add(name, "native", mount, lambda d: ["umount", d] if root else ["fusermount3", "-u", d])

    def close(self):
        for argv in reversed(self.ends):
            subprocess.run([os.fspath(a) for a in argv], env=self.env)


def io_uring_here():
    """Why there is none, or None."""
    if not ENABLE_URING.exists():
        return "this kernel has no FUSE over io_uring"
    if os.getuid() != 0 and ENABLE_URING.read_text().strip() != "Y":
        return "only root can turn it on"
    return None


@contextlib.contextmanager
def io_uring_enabled():
    """For mounts that are made within the block, whose rings may come after the mount has returned."""
    before = ENABLE_URING.read_text() if not io_uring_here() else None
    if before is not None and before.strip() != "Y":
        ENABLE_URING.write_text("Y")
    try:
        yield
    finally:
        if before is not None and before.strip() != "Y":
            ENABLE_URING.write_text(before)


@contextlib.contextmanager
def mounted(scratch):
    m = Mounts(scratch)
    scratch.chmod(0o755)
    m.places["native"] = Place(m.directory("native"))
    host = f"host:{m.places['native'].directory},symlinks=verbatim"
    with io_uring_enabled(), contextlib.closing(m):
        m.aib("host", "native", host, False)
        for name, argv in (("bindfs", ["bindfs"]), ("mergerfs", ["mergerfs", "-o", "cache.files=auto-full"])):
            if shutil.which(name):
                m.peer(name, argv)
        if os.getuid() == 0:
            m.add("tmpfs", None, lambda d: ["mount", "-t", "tmpfs", "-o", "size=3G", "bench", d],
                  lambda d: ["umount", d])  # fmt: skip
            m.aib("memory", "tmpfs", "memory,size=3G", False)
        if not io_uring_here():
            m.aib("host io_uring", "native", host, True)
            if os.getuid() == 0:
                m.aib("memory io_uring", "tmpfs", "memory,size=3G", True)
        yield m.places


# ---- Measuring ------------------------------------------------------------------------------


def prepare(jobs, wanted, places):
    needs = {row.needs: None for row in ROWS if row.job in wanted and row.needs}
    for name, place in places.items():
        (place.directory / "bench").mkdir(exist_ok=True)
        for make in needs if "native" in name or "tmpfs" in (name, place.base) else ():
            progress(f"{name}: {make.replace('_', ' ')}")
            getattr(jobs, make)(place.directory / "bench")


def measure(args, scratch, wanted):
    """{job: {way: seconds of each round, or None where it failed}}; a row is printed when it is done."""
    jobs = Jobs(args.quick, scratch)
    results = {}
    with mounted(scratch) as places:
        prepare(jobs, wanted, places)
        progress("")
        print(f"\n{'':18}" + "".join(f"{name:>18}" for name in places))
        for row in (row for row in ROWS if row.job in wanted):
            results[row.job] = {name: [] for name in places}
            for n in range(args.rounds + 1):
                for name, place in places.items():
                    progress(f"{row.job}: {name}, round {n}")
                    seconds = run(getattr(jobs, row.job), place.directory / "bench")
                    if n > 0:  # the first one warms up
                        results[row.job][name].append(seconds)
            progress("")
            show(row, results[row.job], places)
    if io_uring_here():
        print(f"io_uring is left out: {io_uring_here()}")
    return results


def run(job, directory):
    try:
        return job(directory)
    except subprocess.CalledProcessError:
        return None


def ratio_of(by_name, name, base):
    pairs = list(zip(by_name[name], by_name[base]))
    if any(a is None or b is None for a, b in pairs):
        return None
    return statistics.median(a / b for a, b in pairs)


def cell(row, ratios, name):
    """`1.05 met 1.1`, `3.2 MISSED 2`; a host route has to be ahead of its peers too."""
    value = ratios[name]
    if value is None:
        return "failed"
    target = row.target(name)
    if target is None:
        return f"{value:.2f}"
    if value > target:
        return f"{value:.2f} MISSED {target:g}"
    behind = [p for p in PEERS if name.startswith("host") and (ratios.get(p) or value) < value]
    return f"{value:.2f} BEHIND {behind[0]}" if behind else f"{value:.2f} met {target:g}"


def show(row, by_name, places):
    ratios = {n: ratio_of(by_name, n, p.base) for n, p in places.items() if p.base}
    line = f"{row.job.replace('_', ' '):18}"
    for name, place in places.items():
        text = cell(row, ratios, name) if place.base else show_time(statistics.median(by_name[name]))
        line += f"{text:>18}"
    print(line, flush=True)
