"""`.aib/metrics`, as Prometheus' own parser reads it."""

import os

import pytest
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.alone


def read(box):
    """{(sample's name, value of its label route, of le): value}"""
    families = list(text_string_to_metric_families((box / ".aib/metrics").read_text()))
    names = [f.name for f in families]
    assert len(names) == len(set(names))
    assert all(f.documentation and f.type != "unknown" for f in families)
    return {
        (s.name, s.labels.get("route"), s.labels.get("le")): s.value
        for f in families
        for s in f.samples
    }


def test_what_is_done_on_a_route_is_counted_there(mount, world):
    box = mount("/=memory", f"/h=host:{world.dir}/src")
    before = read(box)
    for i in range(20):
        (box / f"h/{i}").write_text("x")
    try:
        os.stat(box / "h/missing")
    except FileNotFoundError:
        pass
    after = read(box)
    grown = {key: after[key] - before.get(key, 0) for key in after}
    assert grown["aib_route_operations_total", "/h", None] >= 40
    assert grown["aib_route_errors_total", "/h", None] >= 1
    assert grown["aib_route_operations_total", "/", None] < 20
    assert grown["aib_route_request_seconds_count", "/h", None] >= 40
    assert grown["aib_route_request_seconds_bucket", "/h", "+Inf"] >= 40
    assert after["aib_route_request_seconds_sum", "/h", None] > 0


def test_buckets_only_grow_with_their_bound(mount):
    figures = read(mount())
    buckets = [
        (float(le), value)
        for (name, route, le), value in figures.items()
        if name == "aib_route_request_seconds_bucket" and route == "/"
    ]
    assert len(buckets) == 8
    values = [value for _, value in sorted(buckets)]
    assert values == sorted(values)
    assert values[-1] == figures["aib_route_request_seconds_count", "/", None]


def test_open_files_are_counted_while_they_are_open(mount, world):
    box = mount("/=memory")
    before = read(box)["aib_open_files", None, None]
    files = [open(box / f"{i}", "w") for i in range(5)]
    assert read(box)["aib_open_files", None, None] == before + 5
    for f in files:
        f.close()
    assert read(box)["aib_nodes", None, None] >= 5


def test_names_of_routes_are_escaped(mount, world):
    path = '/a"b\\c'
    figures = read(mount("/=memory", f"{path}=memory"))
    assert ("aib_route_operations_total", path, None) in figures


def test_what_the_exec_server_has_is_counted(mount):
    figures = read(mount())
    assert figures["aib_commands_running", None, None] == 0
    assert ("aib_jobs", None, None) in figures
