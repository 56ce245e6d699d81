"""Holds the shape of the code (README.md's map): includes go one way.

    base <- backend.h <- each backend <- exec <- sessions <- fuse

Siblings do not include each other (remote's public headers are for those who use it), and only fuse/ knows libfuse. Besides, the folders that README.md
names exist, and each folder with sources is named there.
"""

import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
SOURCE = ("backends", "exec", "sessions", "fuse")
BASE = "backends/base"
REMOTE_CLIENT, REMOTE_SERVER = "backends/remote/remote.h", "backends/remote/serve.h"
REMOTE_OFFER = "backends/remote/offer.h"
FAR_SEARCH = "backends/ops/far.h"

# What a component's files may include beside the component's own: other components, or single headers.
# A component is a folder; files that lie flat in backends/ (the contract and what stands on it for
# all) are one, and so are those in exec/ (the protocol and other leaves).
MAY = {
    "backends/base": [],
    "backends": [BASE],
    "backends/registry.c": [BASE, "backends", "backends/*"],
    "backends/*": [BASE, "backends"],
    # What is at the other end of a stream may be a part of any backend: remote is a leaf as base is, and
    # is known by its public headers.
    "backends/docker": [BASE, "backends", REMOTE_CLIENT, REMOTE_OFFER],
    "exec": [BASE],
    # Its `serve` is the host backend behind the server end of remote, with the far end of searches.
    "exec/guest": [BASE, "backends", "backends/host", REMOTE_SERVER, REMOTE_OFFER, FAR_SEARCH, "exec/protocol.h",
                   "exec/pump.h", "exec/pass.h"],
    "exec/client": [BASE, "exec"],
    "exec/mcp": [BASE, "exec"],
    "exec/server": [BASE, "backends", "backends/*", "exec"],
    "sessions": [BASE, "backends", "backends/*", "exec", "exec/server"],
    "fuse": [BASE, "backends", "backends/*", "exec", "exec/server", "sessions"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def component(path):
    """backends/base, backends/memory, backends, exec, exec/guest, fuse; docker/engine is docker."""
    parts = path.parts
    return "/".join(parts[:2]) if len(parts) > 2 else parts[0]


def rule(path):
    """What MAY says of a file: by its name, its component, or `backends/*`."""
    c = component(path)
    for key in (str(path), c, f"{c.split('/')[0]}/*"):
        if key in MAY:
            return MAY[key]
    return []


def allowed(path, target):
    c = component(target)
    names = {c, str(target)}
    if "/" in c and c != BASE:
        names.add(f"{c.split('/')[0]}/*")
    return c == component(path) or not names.isdisjoint(rule(path))


def resolve(file, name):
    """The header of ours that an #include means, or None."""
    for base in (file.parent, TOP / "backends", TOP / "exec", TOP / "sessions", TOP / "fuse", TOP):
        found = (base / name).resolve()
        if found.is_file() and TOP in found.parents:
            return found.relative_to(TOP)
    return None


def check_file(file):
    path = file.relative_to(TOP)
    for kind, name in INCLUDE.findall(file.read_text()):
        if re.match(r"fuse(3/|_|\.h)", name) and kind == "<" and path.parts[0] != "fuse":
            yield f"{path}: <{name}>: only fuse/ knows libfuse"
        target = resolve(file, name) if kind == '"' else None
        if target and not allowed(path, target):
            yield f"{path}: includes {target}: not along the arrows"


def check_readme():
    readme = (TOP / "README.md").read_text()
    named = set(re.findall(r"^\| `([\w./]+/)` \|", readme, re.M))
    for folder in sorted(named):
        if not (TOP / folder).is_dir():
            yield f"README.md: there is no {folder}"
    for top in SOURCE:
        for folder in sorted({p.parent for p in (TOP / top).rglob("*.c")}):
            name = f"{folder.relative_to(TOP)}/"
            if not any(name.startswith(n) for n in named):
                yield f"README.md: does not name {name}"


def main():
    wrong = list(check_readme()) if (TOP / "README.md").exists() else ["there is no README.md"]
    for top in SOURCE:
        for file in sorted((TOP / top).rglob("*.[ch]")):
            wrong += check_file(file)
    for line in wrong:
        print(line, file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
