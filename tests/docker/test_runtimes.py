"""Runtimes: images that are really built, by real package managers, and used by routes. Commands of
a build have the machine's network (build_network=host): the test engine has no bridge."""

import concurrent.futures
import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import threading

import fake_engine
import harness
import pytest
from harness import program, run, wait_for

BASE = "aib-test:busybox"
MANAGERS = "aib-test:managers"


@pytest.fixture(scope="session")
def managers(shared_engine):
    """A base with apt, pip and npm."""
    run(harness.TOP / "scripts/images", f"{MANAGERS}=managers", env=shared_engine.env, timeout=900)
    return MANAGERS


class Counter:
    """How often a command of a build ran: it calls here over the machine's network."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.command = f"nc 127.0.0.1 {self.listener.getsockname()[1]} </dev/null"
        self.count = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()
                self.count += 1

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


@pytest.fixture
def counter():
    counter = Counter()
    yield counter
    counter.close()


class Runtimes:
    """Runtimes of a test's own, whose names have the test's in them, and all that is built of them."""

    def __init__(self, world, engine):
        self.world, self.engine = world, engine
        self.runtimes = {}
        self.options = {"build_network": "host", "pull": "never"}

    def name(self, name):
        return f"{self.world.id.lower().replace('_', 'x')}-{name}"

    def add(self, name, **definition):
        self.runtimes[self.name(name)] = definition
        return self.name(name)

    def config(self, routes={}):
        return {"routes": routes, "runtimes": self.runtimes, "options": self.options}

    def file(self):
        path = self.world.dir / "src/runtimes.json"
        path.write_text(json.dumps(self.config()))
        return path

    def aib(self, *argv, check=True, **kw):
        return run(program("aib"), "runtime", *argv, "-c", self.file(), check=check, **kw)

    def about(self, name):
        return json.loads(self.aib("show", "--json", self.name(name)).stdout)

    def images(self):
        """{name: id} of all images whose name has the test's in it."""
        lines = self.engine.docker("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").stdout
        return dict(line.split() for line in lines.splitlines() if self.name("") in line)

    def building(self, command):
        """Whether there is a container of a build, which runs this or did."""
        return command in self.engine.docker("ps", "-a", "--no-trunc").stdout

    def close(self):
        for image in self.images():
            self.engine.docker("rmi", image, check=False)


@pytest.fixture
def runtimes(world, engine):
    runtimes = Runtimes(world, engine)
    yield runtimes
    for mount in reversed(world.mounts):  # an image goes after its containers
        mount.end()
    runtimes.close()


# ---- Routes ----


def test_a_route_runs_in_a_runtimes_image_which_is_built_once(mount, runtimes, counter):
    name = runtimes.add(
        "first", base_image=BASE, setup_commands=[counter.command, "echo stamp > /stamp"],
        env={"A": "of the runtime", "B": 'x $HOME "q" \\ \'y\''}, workdir="/app",
    )  # fmt: skip
    routes = {
        "/a": {"type": "docker", "runtime": name},
        "/b": {"type": "docker", "runtime": name, "workdir": "/own", "env": {"A": "of the route"}},
    }
    box = mount(f"/c=runtime:{name}", config=runtimes.config(routes))
    say = ("sh", "-c", 'cat /stamp; echo "$A,$B"')
    values = 'x $HOME "q" \\ \'y\''
    assert box.exec(*say, cwd="a/app").stdout == f"stamp\nof the runtime,{values}\n"
    assert box.exec(*say, cwd="b/own").stdout == f"stamp\nof the route,{values}\n"
    assert box.exec(*say, cwd="c/app").stdout == f"stamp\nof the runtime,{values}\n"
    assert (box / "a/stamp").read_text() == "stamp\n"
    assert counter.count == 1
    box.end()
    assert mount(config=runtimes.config(routes)).exec(*say, cwd="a/app").returncode == 0
    assert counter.count == 1
    # In the image itself too, for whoever uses that without us.
    (image,) = runtimes.images()
    config = runtimes.engine.inspect(image)["Config"]
    assert f"B={values}" in config["Env"] and config["WorkingDir"] == "/app"


def test_an_image_that_needs_nothing_is_used_as_it_is(mount, runtimes):
    as_it_is = runtimes.add("asitis", image=BASE, env={"A": "1"}, work_dir="/w")
    based = runtimes.add("based", base_image=BASE)
    box = mount(f"/a=runtime:{as_it_is}", f"/b=runtime:{based}", config=runtimes.config())
    assert box.exec("sh", "-c", "echo $A", cwd="a/w").stdout == "1\n"
    assert box.exec("pwd", cwd="b/workspace").returncode == 0
    assert runtimes.images() == {}
    shown = json.loads((box / ".aib/runtimes" / based).read_text())
    assert shown["state"] == "no build needed"


def test_the_control_tree_shows_what_is_known(mount, runtimes):
    used = runtimes.add("used", base_image=BASE, setup_commands=["true"], env={"TOKEN": "hunter2"})
    other = runtimes.add("other", base_image=BASE, packages=["jq"], package_manager="apt")
    bad = runtimes.add("bad", base_image=BASE, setup_commands=["echo oh no; exit 3"])
    routes = {"/bad": {"type": "docker", "runtime": bad, "nofail": True}}
    box = mount(f"/a=runtime:{used}", config=runtimes.config(routes))
    runtimes_dir = box / ".aib/runtimes"
    assert set(runtimes.runtimes) | {"python-minimal", "go"} <= set(os.listdir(runtimes_dir))
    about = json.loads((runtimes_dir / used).read_text())
    assert about["state"] == "built" and about["engine"] == runtimes.engine.host
    assert about["built_image"] in runtimes.images()
    assert about["env"] == {"TOKEN": "***"}
    about = json.loads((runtimes_dir / other).read_text())
    assert about["state"] == "not built" and about["packages"] == ["jq"]
    about = json.loads((runtimes_dir / bad).read_text())
    assert about["state"] == "failed" and "oh no" in about["error"]
    assert not (box / "bad").exists()
    assert "/bad docker failed" in (box / ".aib/routes").read_text()
    assert "hunter2" not in (box / ".aib/log").read_text()


def test_a_build_that_fails_is_an_error_of_its_route_with_the_builds_last_lines(mount, runtimes):
    lines = "; ".join(f"echo line {i}" for i in range(1, 30))
    name = runtimes.add("bad", base_image=BASE, setup_commands=[f"{lines}; echo no such thing; exit 7"])
    with pytest.raises(AssertionError) as failure:
        mount(f"/ds=runtime:{name}", config=runtimes.config())
    text = str(failure.value)
    assert f"route /ds: runtime {name}: the build failed" in text
    assert "its last lines:" in text and "\n  no such thing" in text and "\n  line 29" in text
    assert "\n  line 3\n" not in text
    assert runtimes.images() == {}


def test_a_base_that_is_missing_is_not_pulled_where_that_is_not_wanted(runtimes):
    name = runtimes.add("x", base_image="aib-test:none", setup_commands=["true"])
    p = runtimes.aib("build", name, check=False)
    assert p.returncode == 1
    assert f"runtime {name}: image aib-test:none is not on engine" in p.stderr


def test_a_base_comes_from_its_registry(runtimes, registry):
    reference = registry.push(BASE, "aib-test-runtime:base")
    name = runtimes.add("pulled", base_image=reference, setup_commands=["true"])
    runtimes.options["pull"] = "missing"
    p = runtimes.aib("build", name)
    assert p.stdout.startswith(f"aib-runtime-{name}:") and "Pull" in p.stderr
    runtimes.aib("rm", name)
    runtimes.engine.docker("rmi", reference)


# ---- Package managers ----


@pytest.mark.timeout(240)
def test_apt(runtimes, managers):
    name = runtimes.add("apt", base_image=managers, package_manager="apt", packages=["hello", "jq"])
    image = runtimes.aib("build", name, timeout=200).stdout.strip()
    p = runtimes.engine.docker("run", "--rm", "--network", "none", image, "sh", "-c", "hello; jq --version")
    assert p.stdout.startswith("Hello, world!\njq-")


@pytest.mark.timeout(240)
def test_npm(runtimes, managers):
    name = runtimes.add("npm", base_image=managers, package_manager="npm",
                        packages=["is-number@^7.0.0", "@types/ms"], workdir="/app")  # fmt: skip
    image = runtimes.aib("build", name, timeout=200).stdout.strip()
    p = runtimes.engine.docker("run", "--rm", "--network", "none", image, "sh", "-c", "pwd; npm ls -g")
    assert p.stdout.startswith("/app\n")
    assert "is-number@7" in p.stdout and "@types/ms@" in p.stdout


WHEEL = """
import zipfile
with zipfile.ZipFile("/wheels/aibtest-1.2-py3-none-any.whl", "w") as z:
    z.writestr("aibtest.py", "print('from the wheel')")
    info = "aibtest-1.2.dist-info/"
    z.writestr(info + "METADATA", "Metadata-Version: 2.1\\nName: aibtest\\nVersion: 1.2\\nProvides-Extra: more\\n")
    z.writestr(info + "WHEEL", "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    z.writestr(info + "RECORD", "")
"""
PIP_CONF = "[global]\\nno-index = true\\nfind-links = /wheels\\nbreak-system-packages = true\\n"


def test_pip(runtimes, managers):
    definition = {
        "base_image": managers,
        "setup_commands": [
            "mkdir /wheels",
            f"python3 -c 'exec({json.dumps(WHEEL)})'".replace("'from the wheel'", "chr(104)+chr(105)"),
            f"printf '{PIP_CONF}' > /etc/pip.conf",
        ],
    }
    good = runtimes.add("pip", **definition, packages=["aibtest[more] >= 1, < 2"])
    bad = runtimes.add("bad", **definition, packages=["aibtest==9"])
    image = runtimes.aib("build", good).stdout.strip()
    p = runtimes.engine.docker("run", "--rm", "--network", "none", image, "python3", "-m", "aibtest")
    assert p.stdout == "hi\n"
    p = runtimes.aib("build", bad, check=False)
    assert p.returncode == 1 and "No matching distribution found for aibtest==9" in p.stderr.split("last lines:")[1]


def test_cargo_where_it_is_missing(runtimes):
    name = runtimes.add("cargo", base_image=BASE, package_manager="cargo", packages=["ripgrep@14.1.0"])
    p = runtimes.aib("build", name, check=False)
    assert p.returncode == 1 and f"aib: runtime {name}: the build failed" in p.stderr
    assert "executable file not found" in p.stderr


# ---- Once ----


def test_users_at_once_build_once(mount, runtimes, counter):
    """Daemons and commands, each a process of its own."""
    name = runtimes.add("once", base_image=BASE, setup_commands=[counter.command, "sleep 2", "head -c 9 /dev/urandom > /stamp"])
    file = runtimes.file()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        commands = [
            pool.submit(run, program("aib"), "runtime", "build", name, "-c", file) for _ in range(4)
        ]  # fmt: skip
        box = mount(f"/a=runtime:{name}", f"/b=runtime:{name}", config=runtimes.config())
        images = {c.result().stdout for c in commands}
    assert len(images) == 1 and counter.count == 1
    assert (box / "a/stamp").read_bytes() == (box / "b/stamp").read_bytes()
    assert any("waiting for another build" in c.result().stderr for c in commands)


def test_who_waits_goes_on_when_the_builder_is_killed(runtimes, world):
    name = runtimes.add("heir", base_image=BASE, setup_commands=["sleep 2"])
    argv = [program("aib"), "runtime", "build", name, "-c", runtimes.file()]
    first = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    wait_for("the build", lambda: "sleep 2" in first.stdout.readline())
    second = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for("its waiting", lambda: "waiting for another build" in second.stderr.readline())
    first.kill()
    first.communicate()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0 and out.startswith(f"aib-runtime-{name}:")


def test_an_image_that_is_not_to_be_cached_is_built_at_each_use(runtimes, counter):
    name = runtimes.add("fresh", base_image=BASE, cache_image=False,
                        setup_commands=[counter.command, "head -c 9 /dev/urandom > /stamp"])  # fmt: skip
    ids = []
    for _ in range(2):
        image = runtimes.aib("build", name).stdout.strip()
        ids.append(runtimes.engine.inspect(image)["Id"])
    assert ids[0] != ids[1] and counter.count == 2
    # The one before has no name any more, and does not stay for nothing.
    assert runtimes.engine.docker("inspect", ids[0], check=False).returncode != 0


def test_an_interrupt_aborts_a_build(runtimes, world):
    name = runtimes.add("long", base_image=BASE, setup_commands=["echo begun; sleep 1000"])
    p = subprocess.Popen(
        [program("aib"), "runtime", "build", name, "-c", runtimes.file()],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_for("the build", lambda: p.stdout.readline() == "begun\n")
    p.send_signal(signal.SIGINT)
    out, _ = p.communicate(timeout=20)
    assert p.returncode == 130 and "interrupted" in out
    assert list((world.dir / "run").iterdir()) == []
    wait_for("the engine to end it", lambda: not runtimes.building("sleep 1000"))
    assert runtimes.images() == {}


def test_a_mount_that_is_interrupted_aborts_its_build(runtimes, world):
    name = runtimes.add("long", base_image=BASE, setup_commands=["echo begun; sleep 1001"])
    (world.dir / "m").mkdir()
    p = subprocess.Popen(
        [program("aib"), "mount", "-c", runtimes.file(), "-r", f"/a=runtime:{name}", world.dir / "m"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip

    wait_for("the build", lambda: runtimes.building("sleep 1001"))
    p.send_signal(signal.SIGINT)
    p.communicate(timeout=20)
    assert p.returncode != 0
    wait_for("the engine to end it", lambda: not runtimes.building("sleep 1001"))


# ---- Engines that are not well ----


@pytest.mark.parametrize("fault, says", [
    ("build_nothing", "the build ended without an image"),
    ("build_garbage", "the build failed: engine"),
    ("build_types", "the build ended without an image"),
    ("build_long", "the build failed: engine"),
    ("build_lines", "the build failed: engine"),
    ("build_hang", "the build failed: engine"),
    ("build_cut", "the build failed: engine"),
    ("hang", "no answer"),
])  # fmt: skip
def test_a_build_by_an_engine_that_is_not_well_ends_with_an_error(runtimes, world, fault, says):
    name = runtimes.add("x", base_image=BASE, setup_commands=["true"])
    runtimes.options |= {"build_timeout": "1s", "prepare_timeout": "3s"}
    engine = fake_engine.FakeEngine(world.dir / "e.sock", fault)
    p = runtimes.aib("build", name, "--engine", engine.host, check=False, timeout=50)
    engine.close()
    assert p.returncode == 1 and says in p.stderr
    assert max(map(len, p.stderr.splitlines())) < 1200
    assert list((world.dir / "run").iterdir()) == []


# ---- aib runtime ----


def test_ls_and_show(runtimes):
    built = runtimes.add("built", base_image=BASE, setup_commands=["true"])
    other = runtimes.add("other", base_image=BASE, packages=["jq", "git"], package_manager="apt")
    runtimes.aib("build", built)
    listed = {r["name"]: r for r in json.loads(runtimes.aib("ls", "--json").stdout)}
    assert listed[built]["built"] is True and listed[other]["built"] is False
    assert listed["go"]["built"] is None and listed["go"]["builtin"] is True
    rows = {row.split()[0]: row for row in runtimes.aib("ls").stdout.splitlines()}
    assert " built " in rows[built] and " not built " in rows[other]
    assert rows[other].endswith("apt: jq git")
    assert runtimes.about("other")["packages"] == ["jq", "git"]
    p = runtimes.aib("show", "built-" + built, check=False)
    assert p.returncode == 1 and "unknown runtime" in p.stderr


def test_ls_without_an_engine_says_so(runtimes):
    name = runtimes.add("x", base_image=BASE, setup_commands=["true"])
    p = runtimes.aib("ls", "--engine", "unix:///nonexistent/docker.sock", check=False)
    assert p.returncode == 1 and "/nonexistent/docker.sock" in p.stderr
    row = next(row for row in p.stdout.splitlines() if row.startswith(name))
    assert " unknown " in row


def test_rm_and_prune_remove_ours_alone(runtimes, container):
    engine, mine = runtimes.engine, runtimes.name
    runtimes.add("a", base_image=BASE, setup_commands=["echo 1"])
    runtimes.add("b", base_image=BASE, setup_commands=["echo 2"])
    a = runtimes.aib("build", mine("a")).stdout.strip()
    b = runtimes.aib("build", mine("b")).stdout.strip()
    # Others': built on one of ours, another name of one, and labels alone.
    run("docker", "build", "-q", "-t", mine("child"), "-", input=f"FROM {a}\nRUN true\n", env=engine.env)
    engine.docker("tag", b, mine("alias"))
    run("docker", "build", "-q", "-t", mine("labels"), "--label", f"aib.runtime={mine('a')}",
        "--label", "aib.recipe=0123456789abcdef", "-", input=f"FROM {BASE}\n", env=engine.env)  # fmt: skip
    others = {f"{mine(n)}:latest" for n in ("child", "alias", "labels")}
    assert set(runtimes.images()) == {a, b} | others

    runtimes.runtimes[mine("a")]["setup_commands"] = ["echo 3"]
    new = runtimes.aib("build", mine("a")).stdout.strip()
    assert new != a
    assert a in runtimes.aib("prune", "--dry-run").stdout.splitlines()
    assert a in runtimes.images()
    pruned = runtimes.aib("prune").stdout.splitlines()
    assert a in pruned and b not in pruned and new not in pruned
    assert set(runtimes.images()) == {new, b} | others

    container(b)
    p = runtimes.aib("rm", mine("b"), check=False)
    if p.returncode:  # an engine may keep the name of what a container is of
        assert "a container is of it" in p.stderr and b in runtimes.images()
    assert runtimes.aib("rm", mine("a")).stdout == f"{new}\n"
    assert set(runtimes.images()) - {b} == others
    del runtimes.runtimes[mine("a")]
    p = runtimes.aib("rm", mine("a"), check=False)
    assert p.returncode == 1 and "unknown runtime" in p.stderr


def test_a_terminal_sees_one_line_that_changes(runtimes):
    name = runtimes.add("tty", base_image=BASE, setup_commands=[
        "printf 'one\\033[31mred\\033[0m\\n'", "echo two"], env={"TOKEN": "hunter2"})  # fmt: skip
    ours, theirs = pty.openpty()
    p = subprocess.Popen(
        [program("aib"), "runtime", "build", name, "-c", runtimes.file()], stdout=subprocess.DEVNULL, stderr=theirs
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while data := os.read(ours, 65536):
            seen += data
    except OSError:  # the end of a terminal
        pass
    os.close(ours)
    assert p.wait(20) == 0
    assert seen.count(b"\n") == 1 and f"\r\x1b[K{name}: ready (".encode() in seen
    assert f"{name}: onered".encode() in seen and b"\x1b[31m" not in seen
    assert b"ENV TOKEN=" in seen and b"hunter2" not in seen


def test_words_that_are_none(runtimes):
    for argv in (["biuld"], ["build"], ["ls", "x"], ["show", "a", "b"]):
        p = run(program("aib"), "runtime", *argv, check=False)
        assert p.returncode == 2 and p.stderr.startswith("aib: runtime ")
    p = run(program("aib"), "runtime", "biuld", check=False)
    assert 'did you mean "build"' in p.stderr
