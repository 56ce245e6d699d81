"""Rules of a route's paths over a real mount: no system call reads what is denied or changes what is readonly, as
root and as the files' own owner, with passthrough and without."""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import pathlib
import stat
import subprocess

import pytest

from harness import program, run

libc = ctypes.CDLL(None, use_errno=True)
NOBODY = 65534
AT_FDCWD, AT_SYMLINK_FOLLOW, RENAME_EXCHANGE = -100, 0x400, 2
SECRET = "token-4711\n"
RULES = "rules=secrets-hidden,rules=readonly:vendor/**,rules=deny:secrets/**,rules=deny:hid,rules=allow:secrets/pub/*"
USERS = [0, NOBODY] if os.getuid() == 0 else [os.getuid()]


@pytest.fixture
def source(world):
    top = world.dir / "src"
    for name in ("sub", "vendor/d", "secrets/pub", "secrets/d", "hid", "plain/x"):
        (top / name).mkdir(parents=True)
    for name in (".env", "sub/.env", "secrets/s", "secrets/d/t", "hid/x", "plain/x/tool.key"):
        (top / name).write_text(SECRET)
    for name in ("a.txt", "sub/b.txt", "vendor/v.txt", "vendor/d/w.txt", "plain/x/c.txt", ".env.example", "secrets/pub/k"):
        (top / name).write_text(f"{name}\n")
    (top / "tool.pem").write_text("#!/bin/sh\necho ran\n")
    (top / "to-env").symlink_to(".env")
    (top / ".netrc").symlink_to("a.txt")
    os.setxattr(top / ".env", "user.note", b"hidden")
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o777)
        if os.getuid() == 0:
            os.lchown(path, NOBODY, NOBODY)
    return top


@pytest.fixture(params=["auto", "no"])
def top(request, mount, source):
    options = f"passthrough={request.param}" + (",control_users=nobody" if os.getuid() == 0 else "")
    return mount(f"/p=host:{source},{RULES}", options=options) / "p"


def outcome(call):
    """What CALL returns; of an OSError its name."""
    try:
        return call()
    except OSError as e:
        return errno.errorcode[e.errno]


def as_user(uid, calls):
    """The outcomes of CALLS, by their names, in a process of UID."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            if uid != os.getuid():
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            os.write(into, json.dumps({name: outcome(call) for name, call in calls.items()}).encode())
        os._exit(0)
    os.close(into)
    with open(out) as f:
        answer = json.load(f)
    os.waitpid(pid, 0)
    return answer


def checked(name, result):
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def exchange(a, b):
    checked("renameat2", libc.renameat2(AT_FDCWD, os.fsencode(a), AT_FDCWD, os.fsencode(b), RENAME_EXCHANGE))


def reopen(path, flags):
    fd = os.open(path, os.O_PATH)
    os.close(os.open(f"/proc/self/fd/{fd}", flags))


def link_by_descriptor(path, new):
    name = os.fsencode(f"/proc/self/fd/{os.open(path, os.O_PATH)}")
    checked("linkat", libc.linkat(AT_FDCWD, name, AT_FDCWD, os.fsencode(new), AT_SYMLINK_FOLLOW))


def opened(path, flags):
    os.close(os.open(path, flags, 0o666))


def changes(top, name, free):
    """Ways to change NAME; FREE is a file that may be changed."""
    path, other, new = top / name, top / free, top / "new"
    return {
        "write": lambda: opened(path, os.O_WRONLY),
        "both": lambda: opened(path, os.O_RDWR),
        "append": lambda: opened(path, os.O_WRONLY | os.O_APPEND),
        "cut": lambda: opened(path, os.O_RDONLY | os.O_TRUNC),
        "create": lambda: opened(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        "reopen": lambda: reopen(path, os.O_WRONLY),
        "truncate": lambda: os.truncate(path, 1),
        "link": lambda: os.link(path, new),
        "link by descriptor": lambda: link_by_descriptor(path, new),
        "rename": lambda: os.rename(path, new),
        "rename over": lambda: os.rename(other, path),
        "exchange": lambda: exchange(path, other),
        "exchange back": lambda: exchange(other, path),
        "unlink": lambda: os.unlink(path),
        "chmod": lambda: os.chmod(path, 0o600),
        "chown": lambda: os.chown(path, os.getuid(), -1),
        "utime": lambda: os.utime(path),
        "setxattr": lambda: os.setxattr(path, "user.x", b"y"),
        "removexattr": lambda: os.removexattr(path, "user.note"),
    }


def tree_of(source):
    """All that is there, to be compared."""
    return sorted(
        (str(p.relative_to(source)), p.lstat().st_mode, p.lstat().st_size, p.lstat().st_nlink, p.lstat().st_mtime_ns, p.lstat().st_ino)
        for p in source.rglob("*")
    )


def refused(calls, uid, name):
    assert as_user(uid, calls) == dict.fromkeys(calls, name)


@pytest.mark.parametrize("uid", USERS)
@pytest.mark.parametrize("name", [".env", "sub/.env", "secrets/s", "hid/x", "to-env"])
def test_what_is_denied_is_not_opened_in_any_way(top, source, name, uid):
    before = tree_of(source)
    path = top / name
    target = top / ".env" if name == "to-env" else path
    reads = {
        "read": lambda: opened(path, os.O_RDONLY),
        "noatime": lambda: opened(path, os.O_RDONLY | os.O_NONBLOCK),
        "reopen": lambda: reopen(path, os.O_RDONLY),
        "by dots": lambda: opened(top / "plain/x/../.." / name, os.O_RDONLY),
        "copy": lambda: opened(f"/proc/self/root{path}", os.O_RDONLY),
        "exec": lambda: os.execv(path, ["x"]),
        "getxattr": lambda: os.getxattr(path, "user.note") and None,
    }
    refused(reads, uid, "EACCES")
    calls = changes(top, target.relative_to(top), "a.txt")
    refused(calls, uid, "EACCES")
    assert tree_of(source) == before
    assert os.stat(path).st_size == len(SECRET)


@pytest.mark.parametrize("uid", USERS)
def test_what_is_readonly_is_read_and_not_changed(top, source, uid):
    before = tree_of(source)
    for name in ("vendor/v.txt", "vendor/d/w.txt"):
        assert as_user(uid, {"read": (top / name).read_text}) == {"read": f"{name}\n"}
        refused(changes(top, name, "a.txt"), uid, "EROFS")
    makes = {
        "mkdir": lambda: os.mkdir(top / "vendor/new"),
        "mknod": lambda: os.mkfifo(top / "vendor/new"),
        "symlink": lambda: os.symlink("x", top / "vendor/new"),
        "link": lambda: os.link(top / "a.txt", top / "vendor/new"),
        "create": lambda: opened(top / "vendor/d/new", os.O_WRONLY | os.O_CREAT),
        "rmdir": lambda: os.rmdir(top / "vendor/d"),
        "rename": lambda: os.rename(top / "a.txt", top / "vendor/new"),
    }
    refused(makes, uid, "EROFS")
    assert tree_of(source) == before
    with open(top / "vendor/v.txt", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as m:
        assert m[:] == b"vendor/v.txt\n"
        with pytest.raises(OSError):
            mmap.mmap(f.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ | mmap.PROT_WRITE)


@pytest.mark.parametrize("uid", USERS)
def test_nothing_is_made_at_a_denied_name(top, source, uid):
    before = tree_of(source)
    makes = {
        "create": lambda: opened(top / "plain/new.pem", os.O_WRONLY | os.O_CREAT),
        "mkdir": lambda: os.mkdir(top / "sub/x.key"),
        "mknod": lambda: os.mkfifo(top / ".env.local"),
        "symlink": lambda: os.symlink("a.txt", top / "id_rsa"),
        "link": lambda: os.link(top / "a.txt", top / "secrets/new"),
        "rename": lambda: os.rename(top / "a.txt", top / "plain/.envrc"),
        "rename of a directory": lambda: os.rename(top / "sub", top / "secrets/sub"),
    }
    refused(makes, uid, "EACCES")
    assert tree_of(source) == before


def test_denied_names_are_listed_with_their_attributes(top):
    assert {".env", "to-env", ".netrc", "hid", "secrets"} <= set(os.listdir(top))
    assert sorted(os.listdir(top / "secrets")) == ["d", "pub", "s"]
    with pytest.raises(PermissionError):
        os.listdir(top / "hid")
    with pytest.raises(PermissionError):
        os.readlink(top / ".netrc")
    assert stat.S_ISLNK(os.lstat(top / ".netrc").st_mode)
    p = run("ls", "-la", top / "sub", top / "secrets")
    assert p.stderr == "" and ".env" in p.stdout


def test_the_last_rule_wins(top):
    assert (top / ".env.example").read_text() == ".env.example\n"
    (top / "secrets/pub/k").write_text("new")
    (top / "secrets/pub/new").write_text("made")
    assert (top / "secrets/pub/k").read_text() == "new"


def test_directories_are_moved_only_to_where_the_same_rules_hold(top, source):
    def moves(a, b):
        with pytest.raises(OSError) as e:
            os.rename(top / a, top / b)
        return errno.errorcode[e.value.errno]

    assert moves("secrets", "q") == "EXDEV"
    assert moves("vendor", "q") == "EXDEV"
    assert moves("secrets/d", "q") == "EACCES"
    assert moves("vendor/d", "q") == "EROFS"
    with pytest.raises(OSError) as e:
        exchange(top / "plain", top / "secrets")
    assert e.value.errno == errno.EXDEV
    os.rename(top / "plain", top / "sub/plain")
    os.rename(top / "sub", top / "moved")
    for name in ("moved/.env", "moved/plain/x/tool.key"):
        with pytest.raises(PermissionError):
            (top / name).read_text()
    assert (top / "moved/plain/x/c.txt").read_text() == "plain/x/c.txt\n"
    # mv copies what may be read.
    p = run("mv", top / "vendor", top / "q", check=False)
    assert p.returncode != 0 and "Read-only" in p.stderr
    assert (top / "q/d/w.txt").read_text() == "vendor/d/w.txt\n"
    (top / "q/d/w.txt").write_text("mine")
    assert (source / "vendor/d/w.txt").read_text() == "vendor/d/w.txt\n"


def test_a_file_that_moves_stays_the_file_that_is_open(top):
    with open(top / "a.txt", "r+") as f:
        before = os.fstat(f.fileno())
        os.rename(top / "a.txt", top / "secrets/pub/a")
        f.write("x")
        f.flush()
        assert os.stat(top / "secrets/pub/a").st_ino == before.st_ino
        assert (top / "secrets/pub/a").read_text() == "x.txt\n"
        os.rename(top / "secrets/pub/a", top / "a.txt")


def test_a_hard_link_is_what_its_own_name_is(top, source):
    os.link(source / "vendor/v.txt", source / "free")
    os.link(source / ".env", source / "plain/open")
    for _ in range(2):  # whichever was looked at first
        assert (top / "plain/open").read_text() == SECRET
        with pytest.raises(PermissionError):
            (top / ".env").read_text()
        with open(top / "free", "r+") as f, open(top / "vendor/v.txt") as g:
            f.write("V")
            f.flush()
            assert g.read() == "Vendor/v.txt\n"
            with pytest.raises(OSError) as e:
                opened(top / "vendor/v.txt", os.O_WRONLY)
            assert e.value.errno == errno.EROFS
    assert os.stat(top / "free").st_ino == os.stat(top / "vendor/v.txt").st_ino


class Handle(ctypes.Structure):
    _fields_ = [("bytes", ctypes.c_uint), ("type", ctypes.c_int), ("data", ctypes.c_ubyte * 128)]


@pytest.mark.skipif(os.getuid() != 0, reason="open_by_handle_at and mount need root")
def test_handles_and_bind_mounts_are_no_way_around(top, world):
    handle, mount_id = Handle(bytes=128), ctypes.c_int()
    checked("name_to_handle_at", libc.name_to_handle_at(AT_FDCWD, os.fsencode(top / ".env"), ctypes.byref(handle), ctypes.byref(mount_id), 0))
    fd = os.open(top, os.O_RDONLY)
    for flags in (os.O_RDONLY, os.O_RDWR):
        assert libc.open_by_handle_at(fd, ctypes.byref(handle), flags) < 0
        assert ctypes.get_errno() in (errno.EACCES, errno.ESTALE)
    os.close(fd)
    other = world.dir / "bound"
    other.mkdir()
    run("mount", "--bind", top / "secrets", other)
    try:
        with pytest.raises(PermissionError):
            (other / "s").read_text()
        assert sorted(os.listdir(other)) == ["d", "pub", "s"]
    finally:
        run("umount", other)


def test_the_control_tree_and_nested_routes_are_not_ruled(mount, source):
    box = mount(f"/=host:{source},rules=read-only", "/sub=memory")
    assert (box / ".aib/version").read_text()
    (box / "sub/.env").write_text("x")
    assert (box / "sub/.env").read_text() == "x"
    for call in (lambda: (box / "a.txt").write_text("x"), lambda: (box / "new").mkdir(), lambda: os.chmod(box, 0o700)):
        with pytest.raises(OSError) as e:
            call()
        assert e.value.errno == errno.EROFS


# ---- Operations


def aib(*argv, cwd):
    return run(program("aib"), *argv, cwd=cwd, check=False)


def test_operations_say_which_rule_it_was(top, source):
    before = tree_of(source)
    for argv, text in [
        (("read", ".env"), "'.env': denied by the rule \".env\" of route /p"),
        (("read", "hid/x"), "'hid/x': denied by the rule \"hid\" of route /p"),
        (("ls", "hid"), "'hid': denied by the rule \"hid\" of route /p"),
        (("grep", "x", "sub/.env"), "'sub/.env': denied by the rule \".env\" of route /p"),
        (("edit", "--old", "t", "--new", "u", ".env"), "'.env': denied by the rule \".env\" of route /p"),
        (("write", "--content", "x", "secrets/s"), "'secrets/s': denied by the rule \"secrets/**\" of route /p"),
        (("write", "--content", "x", "vendor/a/b"), "'vendor/a/b': readonly by the rule \"vendor/**\" of route /p"),
        (("edit", "--old", "v.txt", "--new", "u", "vendor/v.txt"), "'vendor/v.txt': readonly by the rule \"vendor/**\" of route /p"),
    ]:
        p = aib(*argv, cwd=top)
        assert p.returncode != 0 and p.stderr == f"Error: {text}\n", p
    assert tree_of(source) == before
    assert aib("read", "--raw", "vendor/v.txt", cwd=top).stdout == "vendor/v.txt\n"
    assert aib("write", "--content", "x", "plain/n/f", cwd=top).returncode == 0


def test_glob_names_and_grep_leaves_out_what_is_denied(top):
    files = aib("glob", "--hidden", "**", cwd=top).stdout.splitlines()
    assert {".env", "sub/.env", "secrets/s", "vendor/v.txt"} <= set(files) and "hid/x" not in files
    p = aib("grep", "token|vendor/v", ".", cwd=top)
    assert (p.returncode, p.stdout, p.stderr) == (0, "./vendor/v.txt:1:vendor/v.txt\n", "")
    p = aib("grep", "--json", "token", cwd=top)
    answer = json.loads(p.stdout)
    assert p.returncode == 1 and answer["matches"] == [] and answer["error"] is None
    assert answer["denied"] == 5  # what is in directories that are denied is not even seen


# ---- Configuration


@pytest.mark.parametrize(
    "routes, text",
    [
        (["/p=host:{src},rules=secrets-hiden"], '-r /p: rules: unknown preset "secrets-hiden" (did you mean "secrets-hidden"?)'),
        (["/p=host:{src},rules=forbid:x"], '-r /p: rules: "forbid" is none of allow, deny and readonly'),
        (["/p=host:{src},rules=deny:"], '-r /p: rules: deny: "" is no pattern ("/" is all of the route)'),
        (["/p=host:{src},rules=deny:../x"], 'rules: the pattern "../x" has ".."'),
        (["/p=docker:x,rules=deny:.env"], "-r /p: rules: commands run in a route of type docker, and would pass them"),
        (["/p=sessions,image=x,rules=read-only"], "-r /p: rules: commands run in a route of type sessions"),
        (["/p=host:{src},exec=/d,rules=secrets-hidden", "/d=docker:x"], "commands in the sandbox of /d would pass them (exec)"),
        (["/p=host:{src},rules=secrets-hidden", "/q=host:{src}"], "-r /p: rules: route /q has {src} without them"),
        (["/p=host:{src}/sub,rules=secrets-hidden", "/q=host:{src}"], "-r /p: rules: route /q has {src} without them"),
        (["/p=host:{src},rules=secrets-hidden", "/q=host:{src}/sub,rules=secrets-hidden"], "route /q has {src}/sub without them"),
        (["/p=host:{src},rules=deny:x", "/q=host:{link}"], "route /q has {src} without them"),
        (["/p=host:{src},rules=deny:x", "/q=docker:x,volume={src}/sub:/w:ro"], "route /q has {src}/sub without them"),
        (["/p=host:{src},rules=deny:x", "/q=sessions,image=x,workspace_root={src}/w"], "route /q has {src}/w without them"),
    ],
)
def test_a_configuration_with_a_way_around_is_refused(world, source, routes, text):
    link = world.dir / "link"
    link.symlink_to(source)
    argv = [a for r in routes for a in ("-r", r.format(src=source, link=link))]
    p = run(program("aib"), "config", "show", *argv, check=False)
    assert p.returncode != 0 and text.format(src=source) in p.stderr, p


def test_what_gives_no_way_around_is_taken(source):
    for routes in (
        [f"/p=host:{source},exec=/d,rules=read-only", "/d=docker:x"],
        [f"/p=host:{source},rules=deny:x", f"/q=host:{source},rules=deny:x"],
        [f"/p=host:{source}/sub,rules=deny:x", f"/q=host:{source}/plain"],
        ["/p=memory,rules=deny:x", "/d=docker:x"],
    ):
        run(program("aib"), "config", "show", *(a for r in routes for a in ("-r", r)))


def test_presets_are_written_out(source):
    shown = json.loads(run(program("aib"), "config", "show", "-r", f"/p=host:{source},rules=workspace,rules=allow:x").stdout)
    rules = shown["routes"]["/p"]["rules"]
    assert rules[-1] == {"allow": "x"} and {"deny": ".env"} in rules
    assert {"readonly": "**/.git/{hooks,config,config.worktree}"} in rules


def test_git_works_in_a_workspace_but_for_its_hooks_and_config(mount, source):
    if os.getuid() == 0:  # whose files git takes
        run("chown", "-R", "0:0", source)
    run("git", "init", "-q", source)
    run("git", "-C", source, "config", "user.email", "a@b")
    run("git", "-C", source, "config", "user.name", "a")
    top = mount(f"/p=host:{source},rules=workspace") / "p"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    run("git", "-C", top, "add", "a.txt", "vendor", env=env)
    run("git", "-C", top, "commit", "-qm", "one", env=env)
    assert run("git", "-C", source, "log", "--format=%s").stdout == "one\n"
    assert run("git", "-C", top, "add", ".env", check=False, env=env).returncode != 0
    assert run("git", "-C", top, "config", "core.pager", "x", check=False, env=env).returncode != 0
    for call in (
        lambda: (top / ".git/hooks/post-commit").write_text("x"),
        lambda: os.rename(top / ".git/hooks", top / "h"),
        lambda: os.rename(top / ".git", top / "g"),
    ):
        with pytest.raises(OSError) as e:
            call()
        assert e.value.errno in (errno.EROFS, errno.EXDEV)
    subprocess.run(["rm", "-rf", top / ".git"], stderr=subprocess.DEVNULL)
    assert pathlib.Path(source, ".git/config").exists()
