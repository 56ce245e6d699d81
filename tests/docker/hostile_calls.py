"""Random file operations below a directory that lies: hostile_calls.py DIR SEED SECONDS LEAST SECRET:
for SECONDS, and on until there were more than LEAST.

A program of its own, since what it looks at may hold it or kill it (SIGBUS). Prints JSON: how many
calls there were, which errnos, the slowest call, and what must not be: `leaks`, places at which the
SECRET (a text) was read, or a device was opened."""

import collections
import errno
import json
import mmap
import os
import random
import stat
import sys
import time

NAMES = ["a", "b", "c", "d", "e"]
FLAGS = [os.O_RDONLY, os.O_RDONLY, os.O_RDWR, os.O_WRONLY | os.O_APPEND, os.O_RDWR | os.O_CREAT,
         os.O_WRONLY | os.O_CREAT | os.O_TRUNC, os.O_RDWR | os.O_CREAT | os.O_EXCL]  # fmt: skip


class Calls:
    def __init__(self, top, seed, secret):
        self.top = top
        self.rnd = random.Random(seed)
        self.secret = secret.encode()
        self.seen = list(NAMES)  # names that were listed, too
        self.errors = collections.Counter()
        self.calls = 0
        self.slowest = (0, "")
        self.leaks = []

    def place(self):
        depth = self.rnd.choice([0, 0, 1, 1, 2, 3])
        return os.path.join(self.top, *(self.rnd.choice(self.seen) for _ in range(depth + 1)))

    def call(self, what, f, *args, **kw):
        self.calls += 1
        before = time.monotonic()
        try:
            return f(*args, **kw)
        except OSError as e:
            self.errors[errno.errorcode.get(e.errno, str(e.errno))] += 1
        except ValueError as e:  # a name with a surrogate, a mapping of nothing
            self.errors[type(e).__name__] += 1
        finally:
            took = time.monotonic() - before
            if took > self.slowest[0]:
                self.slowest = (took, f"{what} {args!r:.200}")
        return None

    def check(self, data, where):
        if data and self.secret in data:
            self.leaks.append(str(where))

    def stat(self, f):
        st = self.call(f.__name__, f, self.place())
        if st and st.st_blksize > 16 << 20:
            self.leaks.append(f"a buffer of {st.st_blksize} bytes")

    def read_all(self, fd, path):
        for _ in range(6):
            at = self.rnd.choice([0, 0, 0, 4096, 1 << 20, 1 << 40])
            size = self.rnd.choice([1, 4096, 100000, 1 << 20])
            self.check(self.call("pread", os.pread, fd, size, at), path)

    def map(self, fd, path):
        """In a child: what a file has less than it tells ends who looks there."""
        pid = os.fork()
        if pid == 0:
            try:
                size = min(max(os.fstat(fd).st_size, 1), 1 << 20)
                with mmap.mmap(fd, size, mmap.MAP_SHARED, mmap.PROT_READ) as m:
                    os._exit(3 if self.secret in m[:] else 0)
            except (OSError, ValueError):
                os._exit(1)
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 3:
            self.leaks.append(f"mmap {path}")

    def open(self):
        path = self.place()
        fd = self.call("open", os.open, path, self.rnd.choice(FLAGS) | os.O_NONBLOCK, 0o644)
        if fd is None:
            return
        try:
            st = self.call("fstat", os.fstat, fd)
            if st and stat.S_ISCHR(st.st_mode) or st and stat.S_ISBLK(st.st_mode):
                self.leaks.append(f"device {path}")
            for _ in range(3):
                self.rnd.choice([
                    lambda: self.read_all(fd, path),
                    lambda: self.call("pwrite", os.pwrite, fd, b"x" * self.rnd.choice([1, 5000, 200000]), 0),
                    lambda: self.call("ftruncate", os.ftruncate, fd, self.rnd.randrange(100000)),
                    lambda: self.call("fsync", os.fsync, fd),
                    lambda: self.call("seek", os.lseek, fd, 0, os.SEEK_DATA),
                    lambda: self.call("fallocate", os.posix_fallocate, fd, 0, 4096),
                    lambda: self.rnd.random() < 0.2 and self.map(fd, path),
                ])()  # fmt: skip
        finally:
            self.call("close", os.close, fd)

    def list(self):
        fd = self.call("opendir", os.open, self.place(), os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK)
        if fd is None:
            return
        try:
            with os.scandir(fd) as it:
                for _ in range(200):  # it may never end
                    entry = self.call("readdir", next, it, None)
                    if entry is None:
                        break
                    # Not the guest: where all names are the root's it would be removed.
                    ours = entry.name.startswith(".aib")
                    if not ours and self.rnd.random() < 0.3 and len(self.seen) < 40:
                        self.seen.append(entry.name)
        except OSError as e:
            self.errors[errno.errorcode.get(e.errno, "?")] += 1
        self.call("close", os.close, fd)

    def one(self):
        r, call = self.rnd, self.call
        if len(self.seen) > len(NAMES) and r.random() < 0.02:
            self.seen.pop()
        ops = [
            (8, lambda: self.stat(os.stat)),
            (6, lambda: self.stat(os.lstat)),
            (10, self.open),
            (4, self.list),
            (4, lambda: call("readlink", os.readlink, self.place())),
            (2, lambda: call("mkdir", os.mkdir, self.place())),
            (2, lambda: call("rename", os.rename, self.place(), self.place())),
            (2, lambda: call("link", os.link, self.place(), self.place(), follow_symlinks=False)),
            (2, lambda: call("symlink", os.symlink, r.choice(NAMES), self.place())),
            (2, lambda: call("unlink", os.unlink, self.place())),
            (1, lambda: call("rmdir", os.rmdir, self.place())),
            (1, lambda: call("mkfifo", os.mkfifo, self.place())),
            (1, lambda: call("chmod", os.chmod, self.place(), r.randrange(0o10000))),
            (1, lambda: call("chown", os.chown, self.place(), r.randrange(3), -1, follow_symlinks=False)),
            (1, lambda: call("utime", os.utime, self.place())),
            (1, lambda: call("truncate", os.truncate, self.place(), r.choice([0, 1, 70000, 1 << 40]))),
            (1, lambda: call("statvfs", os.statvfs, self.place())),
            (2, lambda: self.check(call("getxattr", os.getxattr, self.place(), "user.a"), "xattr")),
            (1, lambda: call("setxattr", os.setxattr, self.place(), "user.a", b"v" * r.randrange(1, 3000))),
            (1, lambda: call("listxattr", os.listxattr, self.place())),
        ]  # fmt: skip
        r.choices([f for _, f in ops], [w for w, _ in ops])[0]()


def main():
    top, seed, seconds, least, secret = sys.argv[1:]
    c = Calls(top, int(seed), secret)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end or c.calls <= int(least):
        c.one()
    print(json.dumps({"calls": c.calls, "errors": c.errors, "slowest": c.slowest, "leaks": c.leaks}))


main()
