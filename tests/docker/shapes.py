"""Shapes of links and special files, from components. As a program, in a sandbox: shapes.py DIR < SPEC makes
them. A spec is a list of [directory, [[kind, name, argument]…]]."""

import itertools
import os
import socket
import stat
import sys

NAMES = ["{}", "new\nline {}", "\udcff\udc80 {}", "{}...", " {} ", "-{}", "{} " + "x" * 240, "*{}?", "\t{}\\", "{}:\u00e4"]

# Of the canary, in who walks. Not one that the guest may have for a directory of what is walked: /proc/self is the
# guest's own in a container's route, and round such a link tools go without end.
DESCRIPTOR = 4500


def links(canary, mountpoint, pid):
    """Targets that lead to the canary, or to what a process has of it."""
    root = ["", "/", "/.", "/proc/self/root", "/proc/1/root", f"/proc/{pid}/root", "/proc/thread-self/root",
            "../" * 3, "../" * 24, "./" * 20 + "../" * 24, "sub/../" + "../" * 24, "sub/../../" + "../" * 24,
            "/proc/self/cwd/" + "../" * 24, "/etc/" + "../" * 9, "/dev/fd/../../.." + "/.." * 9,
            f"{mountpoint}" + "/.." * 9, f"{mountpoint}/other/.." + "/.." * 9, "../aux/up", "../aux/abs", "../aux/proc",
            "../aux/two"]  # fmt: skip
    ends = ["/file", "/dir", "/dir/inner", "/suid", "/dir/", "/dir/.", "/missing", "/dir/../file", "//file"]
    yield from (r + canary + e for e, r in itertools.product(ends, root))
    yield from (f"{r}/{what}" for r in ("/dev/fd", "/proc/self/fd", "/proc/thread-self/fd", f"/proc/{pid}/fd")
                for what in ("0", f"{DESCRIPTOR}"))  # fmt: skip
    yield from (f"/proc/{pid}/{what}" for what in ("environ", "cwd/file", "cwd", "root" + canary, "exe", "mem", "task"))
    yield from (f"{mountpoint}/{what}" for what in ("other/secret", "other", ".aib/status", ".aib/socket"))
    yield from ("../" * n + "other/secret" for n in range(1, 5))


def auxiliary(canary, mountpoint):
    """What links lead through; beside what is walked."""
    return [["link", "up", "../" * 24], ["link", "abs", "/"], ["link", "proc", "/proc/self/root"], ["link", "two", "up"],
            ["link", "last", canary + "/file"], ["link", "before", "last"]]  # fmt: skip


def specials(device):
    suid = [["file", "suid"], ["hard", "hard-suid", "suid"], ["link", "l0", "/x"], ["hard", "hard-link", "l0"]]
    nodes = [["dev", f"{kind} {n}", [kind, major, minor]] for n, (kind, major, minor) in enumerate(
        [["b", *device], ["c", 1, 1], ["c", 1, 3], ["c", 1, 9], ["c", 5, 0], ["c", 4, 0]])]  # fmt: skip
    others = [["fifo", "fifo"], ["link", "to fifo", "fifo"], ["sock", "sock"], ["link", "to sock", "sock"],
              ["link", "to device", "b 0"], ["link", "before", "../aux/before"], ["hard", "hard-fifo", "fifo"]]  # fmt: skip
    return suid + nodes + others


def loops():
    """None of them is a directory's: `tar -h` goes round that without end, anywhere."""
    ring = [["link", f"ring{n}", f"ring{(n + 1) % 5}"] for n in range(5)]
    return ring + [["link", "self", "self"], ["link", "up", "sub/../plain"], ["link", "through", "fifo/x"],
                   ["link", "empty", " "], ["link", "long", "x/" * 2040], ["link", "dots", "./" * 2000 + "plain"]]  # fmt: skip


def batches(canary, mountpoint, pid, device):
    """200 shapes or more, in lists for a directory each."""
    targets = list(dict.fromkeys(links(canary, mountpoint, pid)))
    named = [["link", NAMES[i % len(NAMES)].format(i), t] for i, t in enumerate(targets)]
    yield from (named[i : i + 40] for i in range(0, len(named), 40))
    yield specials(device)
    yield loops()


def make_one(kind, name, arg=None):
    if kind == "link":
        os.symlink(arg, name)
    elif kind == "hard":
        os.link(arg, name, follow_symlinks=False)
    elif kind == "fifo":
        os.mkfifo(name)
    elif kind == "sock":
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(name)
    elif kind == "dev":
        mode = stat.S_IFBLK if arg[0] == "b" else stat.S_IFCHR
        os.mknod(name, mode | 0o666, os.makedev(arg[1], arg[2]))
    else:
        with open(name, "w") as f:
            f.write("inside\n")
        os.chmod(name, 0o4755)


def make(directory, spec):
    os.makedirs(f"{directory}/sub")
    os.chdir(directory)
    make_one("file", "plain")
    for entry in spec:
        make_one(*entry)


if __name__ == "__main__":
    for where, entries in eval(sys.stdin.read()):  # the sandbox's Python has no json
        make(f"{sys.argv[1]}/{where}", entries)
