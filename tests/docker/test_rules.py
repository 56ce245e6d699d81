"""Rules of a host route and the sandbox that it is bound into: what commands there could pass is refused, and what a bind can say
is held there too."""

import os

import pytest

IMAGE = "aib-test:busybox"
pytestmark = pytest.mark.usefixtures("engine")


@pytest.mark.parametrize("word", ["readonly", "rules=read-only", "rules=deny:x,rules=read-only,rules=readonly:y"])
def test_a_read_only_directory_is_so_in_the_sandbox(mount, world, word):
    (world.dir / "src/f").write_text("text\n")
    (world.dir / "src").chmod(0o777)
    (world.dir / "src/f").chmod(0o666)
    box = mount(f"/p=host:{world.dir}/src,exec=/b,{word}", f"/b=docker:{IMAGE}")
    p = box.exec("cat", "f", cwd="p")
    assert (p.returncode, p.stdout) == (0, "text\n")
    for line in ("echo x >f", "echo x >new", "rm f", "chmod 600 f", "mv f g", "ln f g"):
        p = box.exec("-c", line, cwd="p")
        assert p.returncode != 0 and "Read-only file system" in p.stderr, p
    assert os.listdir(world.dir / "src") == ["f"]
    assert (world.dir / "src/f").read_text() == "text\n"


def test_a_directory_without_rules_is_writable_in_the_sandbox(mount, world):
    box = mount(f"/p=host:{world.dir}/src,exec=/b", f"/b=docker:{IMAGE}")
    assert box.exec("-c", "echo x >new", cwd="p").returncode == 0
    assert (world.dir / "src/new").read_text() == "x\n"


@pytest.mark.parametrize(
    "routes",
    [
        ["/p=host:{src},exec=/b,rules=secrets-hidden", "/b=docker:{image}"],
        ["/p=host:{src},rules=secrets-hidden", "/b=docker:{image},volume={src}:/w"],
        ["/p=docker:{image},rules=secrets-hidden"],
        ["/p=sessions,image={image},rules=secrets-hidden"],
    ],
)
def test_what_commands_would_pass_is_not_mounted(mount, world, routes):
    with pytest.raises(AssertionError, match="rules: "):
        mount(*(r.format(src=world.dir / "src", image=IMAGE) for r in routes))
