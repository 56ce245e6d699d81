"""The part of scripts/bench that measures operations: aib grep over a host route against rg on the native directory and against
grep -r through the mount, aib read and aib edit of a small file against cat. Everything takes turns within a round; caches of the
native directory are warm, `cold` is the mount's alone (its names are dropped before each turn)."""

import os
import shutil
import statistics
import subprocess

from bench_common import BIN, progress, sh, show_time, timed

JOBS = ("ops_grep", "ops_grep_cold", "ops_read", "ops_edit")
FILES = 20000


def make_tree(directory, files):
    text = "".join(f"line {i} of some text that grep has to read\n" for i in range(60))
    for i in range(files):
        d = directory / f"d{i // 100}/s{i // 20 % 5}"
        d.mkdir(parents=True, exist_ok=True)
        (d / f"f{i}.txt").write_text(text[: 200 + i % 2000])
    (directory / "small.txt").write_text(text[:500])


def none_found(*argv, **kw):
    if subprocess.run([os.fspath(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **kw).returncode != 1:
        raise AssertionError(f"{argv[0]}: not what it should find")


def drop_mount_names():
    """Cached names and pages of every file system go; the native ones are read again before the turn."""
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("3")


def measure(args, scratch, wanted):
    native, box = scratch / "ops", scratch / "opsbox"
    (scratch / "opsrun").mkdir(mode=0o700)
    native.mkdir()
    box.mkdir()
    files = FILES // 10 if args.quick else FILES
    make_tree(native, files)
    env = {**os.environ, "AIB_RUNTIME_DIR": str(scratch / "opsrun")}
    aib = lambda *argv: sh(BIN / "aib", *argv, env=env)
    words = ["line 3 ", "line E "]
    small, results = box / "h/small.txt", {}

    def take(job, name, seconds):
        results.setdefault(job, {}).setdefault(name, []).append(seconds)

    def edit():
        aib("edit", "--old", words[0], "--new", words[1], small)
        words.reverse()

    aib("mount", "-r", "/=memory", "-r", f"/h=host:{native}", box)
    try:
        for n in range(args.rounds + 1):
            for job in wanted:
                progress(f"{job}, round {n}")
                grep = lambda: none_found(BIN / "aib", "grep", "no such text", box / "h", env=env)
                rg = lambda: none_found("rg", "-uu", "no such text", native)
                turns = {
                    "ops_grep": [("rg", rg), ("aib grep", grep)],
                    "ops_grep_cold": [("grep -r", lambda: none_found("grep", "-r", "no such text", box / "h")), ("aib grep", grep)],
                    "ops_read": [("cat", lambda: sh("cat", small)), ("aib read", lambda: aib("read", small))],
                    "ops_edit": [("cat", lambda: sh("cat", small)), ("aib edit", edit)],
                }[job]
                for name, turn in turns:
                    if job == "ops_grep_cold":
                        drop_mount_names()
                        rg()
                    seconds = timed(turn)
                    if n > 0:  # the first one warms up
                        take(job, name, seconds)
    finally:
        aib("umount", box)
        shutil.rmtree(native, ignore_errors=True)
    return results


def show(results):
    print(f"\n{'operations':28}{'base':>14}{'aib':>14}{'ratio':>12}   target")
    for job, by_name in results.items():
        (base_name, base), (name, ours) = ((n, statistics.median(v)) for n, v in by_name.items())
        if job in ("ops_read", "ops_edit"):
            more = (ours - base) * 1000
            figure, target, met = f"{more:+.1f} ms", "+5 ms", more <= 5
        elif job == "ops_grep_cold":
            figure, target, met = f"1/{base / ours:.1f}", "1/5", base / ours >= 5
        else:
            figure, target, met = f"{ours / base:.2f}x", "1.5x", ours / base <= 1.5
        print(f"{f'{name} : {base_name}':28}{show_time(base):>14}{show_time(ours):>14}{figure:>12}   {target:8}{'' if met else '  MISSED'}")
