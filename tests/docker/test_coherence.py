"""After a command has returned nothing that it changed is seen as it was: bytes, sizes, names, missing
names, attributes; by path, by open files, from a working directory. Thousands of rounds, since what is
stale is so for moments."""

import os
import random
import subprocess
import threading

import pytest

from harness import LONG

IMAGE = "aib-test:busybox"

pytestmark = pytest.mark.usefixtures("engine")

# Of as many commands as there are kinds of change (fourteen). Over the stream each is the Engine's own exec.
ROUNDS = {"direct": 250, "stream": 25} if LONG else {"direct": 80, "stream": 4}


class Sandbox:
    """One change after another in the sandbox, each a command of its own."""

    def __init__(self, box, cwd):
        self.box, self.cwd = box, cwd

    def __call__(self, line):
        p = subprocess.run(["aib-exec", "sh", "-c", line], cwd=self.cwd, capture_output=True, text=True)
        assert p.returncode == 0, (line, p.stderr)


def all_kinds(run, d, rng, round):
    a, b = f"a{rng.randrange(4)}", f"b{rng.randrange(4)}"
    text = f"{round}-{'x' * rng.randrange(5000)}\n"

    # bytes and sizes, of a name that was read a moment ago, and by files that are open
    (d / a).write_text("before")
    with open(d / a) as reader, open(d / a, "rb", buffering=0) as raw:
        assert reader.read() == "before" and os.stat(d / a).st_size == 6
        run(f"printf %s '{text.strip()}' > {a}")
        assert (d / a).read_text() == text.strip()
        assert os.stat(d / a).st_size == os.fstat(raw.fileno()).st_size == len(text) - 1
        raw.seek(0)
        assert raw.read() == text.strip().encode()
    # of the same size, at once
    with open(d / a, "rb", buffering=0) as raw:
        for byte in b"AB":
            run(f"printf {chr(byte)} >{a}")
            raw.seek(0)
            assert raw.read() == bytes([byte]) == (d / a).read_bytes()

    # a missing name, a new one, a removed one
    assert not (d / b).exists()
    run(f"echo {round} >{b}")
    assert (d / b).read_text() == f"{round}\n" and b in os.listdir(d)
    run(f"rm {b}")
    assert not (d / b).exists() and b not in os.listdir(d)

    # another file of the same name, another type
    before = os.stat(d / a).st_ino
    run(f"echo other >{b}; mv {b} {a}")
    assert (d / a).read_text() == "other\n" and os.stat(d / a).st_ino != before
    run(f"rm {a}; mkdir {a}; echo in >{a}/f")
    assert (d / a / "f").read_text() == "in\n"
    run(f"rm -r {a}; ln -s f {a}")
    assert os.readlink(d / a) == "f"
    run(f"rm {a}; echo back >{a}")
    assert (d / a).read_text() == "back\n"

    # attributes, and a directory's own from within
    mode = rng.choice((0o600, 0o644, 0o755))
    links = os.stat(d).st_nlink
    run(f"chmod {mode:o} {a}; touch -d '2001-02-03 04:05:{round % 60:02}' {a}; mkdir sub")
    st = os.stat(d / a)
    assert st.st_mode & 0o777 == mode and int(st.st_mtime) % 60 == round % 60
    assert os.stat(d).st_nlink == os.stat(".").st_nlink
    run("rmdir sub")
    assert os.stat(".").st_nlink <= links

    # names in a directory that was just made here, and its attributes after a change here
    os.mkdir(d / "new")
    (d / "new/mine").write_text("1")
    assert not (d / "new/other").exists() and os.stat(d / "new").st_nlink == 2
    run("echo other >new/other; mkdir new/sub; chmod 711 new/mine")
    assert (d / "new/other").read_text() == "other\n" and os.stat(d / "new").st_nlink == 3
    assert os.stat(d / "new/mine").st_mode & 0o777 == 0o711
    with open(d / "new/last", "w") as f:
        os.fchmod(f.fileno(), 0o640)
        os.utime(f.fileno(), (1, 2))
        run("[ $(stat -c %a,%X,%Y new/last) = 640,1,2 ] && chmod 600 new/last && rm -r new/sub")
        assert os.fstat(f.fileno()).st_mode & 0o777 == 0o600 and os.stat(d / "new").st_nlink == 2
    run("rm -r new")
    assert not (d / "new").exists()

    # a truncation under a mapping's feet, and through here into the sandbox
    with open(d / a, "r+") as f:
        f.write("longer than it was, much longer")
        f.flush()
        f.truncate(4)
    run(f"[ $(stat -c %s {a}) = 4 ]")
    os.rename(d / a, d / b)
    run(f"[ ! -e {a} ] && [ -e {b} ]")
    os.unlink(d / b)
    run(f"[ ! -e {b} ]")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("guest", ["direct", "stream"])
def test_nothing_is_stale_after_a_command(mount, monkeypatch, guest):
    box = mount(f"/bb=docker:{IMAGE},transport=guest,guest={guest}")
    d = box / "bb/workspace"
    monkeypatch.chdir(d)
    rng = random.Random(1)
    for round in range(ROUNDS[guest]):
        all_kinds(Sandbox(box, d), d, rng, round)
    monkeypatch.chdir("/")


@pytest.mark.timeout(300)
def test_nothing_is_stale_while_others_look(mount, monkeypatch):
    """The same while threads fill every cache there is."""
    box = mount(f"/bb=docker:{IMAGE},transport=guest")
    d = box / "bb/workspace"
    monkeypatch.chdir(d)
    stop = threading.Event()

    def look():
        while not stop.is_set():
            for name in os.listdir(d):
                try:
                    os.stat(d / name)
                    (d / name).read_bytes()
                except OSError:
                    pass
            for i in range(4):
                os.path.exists(d / f"a{i}"), os.path.exists(d / f"b{i}")

    threads = [threading.Thread(target=look) for _ in range(3)]
    for t in threads:
        t.start()
    try:
        rng = random.Random(2)
        for round in range(60 if LONG else 20):
            all_kinds(Sandbox(box, d), d, rng, round)
    finally:
        stop.set()
        for t in threads:
            t.join()
        monkeypatch.chdir("/")


def test_a_change_in_the_background_shows_within_a_second(mount):
    import time

    box = mount(f"/bb=docker:{IMAGE},transport=guest")
    d = box / "bb/workspace"
    with subprocess.Popen(
        ["aib-exec", "sh", "-c", "while read x; do echo $x >f; mkdir -p d$x; echo $x >m$x/n; mkdir m$x/s; echo; done"],
        cwd=d, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as p:  # fmt: skip
        for i in range(5):
            with open(d / "f", "a+") as f:
                f.seek(0)
                f.read()
                os.path.exists(d / f"d{i}")
                os.mkdir(d / f"m{i}")
                (d / f"m{i}/mine").touch()
                assert not (d / f"m{i}/n").exists() and os.stat(d / f"m{i}").st_nlink == 2
                p.stdin.write(f"{i}\n")
                p.stdin.flush()
                p.stdout.readline()
                time.sleep(1.05)
                assert (d / "f").read_text() == f"{i}\n" and (d / f"d{i}").is_dir()
                assert os.fstat(f.fileno()).st_size == 2
                assert (d / f"m{i}/n").exists() and os.stat(d / f"m{i}").st_nlink == 3
        p.stdin.close()
