"""Which tests are for which engine, and when. With AIB_TEST_ENGINE_KIND=podman, AIB_TEST_ENGINE is Podman's service, and
the tests of these tables are left out: the rest is what Podman has to do as Docker does."""

import fnmatch

import pytest

import harness

DOCKER_ONLY = {
    "no engine of the session's is in it": [
        "test_engine.py::test_answer_*", "test_engine.py::test_call_*", "test_engine.py::test_deadline_*",
        "test_engine.py::test_engine_that_hangs*", "test_engine.py::test_credentials_*",
        "test_tls.py::*", "test_engines.py::*",
    ],
    "about the guest or ssh, whatever engine there is, and long": [
        "test_hostile.py::*", "test_ssh.py::*", "test_races.py::*",
        "test_shapes.py::*", "test_users.py::*", "test_soak.py::*", "test_escape.py::*",
        "test_signals.py::*", "test_container_life.py::*", "test_engine_faults.py::*", "test_engine_life.py::*",
    ],
    "archives are slow in Podman (a HEAD takes 30 ms, / of a Debian a minute)": [
        "test_contract.py::test_docker_by_archives*", "test_sandbox.py::test_walking_a_whole_container_*",
        "test_sandbox.py::test_a_large_file_streams*", "test_road.py::test_grep_find_and_ls_work_*",
        "test_coherence.py::test_nothing_is_stale_*",
    ],
    "archives of Podman follow a link that is the last component": [
        "test_links.py::*[[]archive*", "test_links.py::test_any_target_can_be_made*",
        "test_links.py::test_loops_can_be_made*", "test_links.py::test_a_link_out_of_a_volume_*",
        "test_sandbox.py::test_links_never_lead_out[[]archive]",
    ],
    "archives of Podman write below a tmpfs or a read-only root, as another owner, without nanoseconds": [
        "test_sandbox.py::test_nothing_is_lost_below_a_tmpfs[[]archive]",
        "test_live.py::test_the_sandboxs_user_and_the_mounts_owner_*[[]archive]",
        "test_engine.py::test_real_engine[[]archive]", "test_engine.py::test_real_engine[[]readonly_root]",
        "test_engine.py::test_names_survive_in_any_locale",
    ],
    "compares with Docker's exec; Podman's has other groups and words": [
        "test_commands.py::test_it_is_what_the_engines_exec_gives*",
        "test_commands.py::test_who_is_not_there_*", "test_commands.py::test_a_root_without_rights_*",
    ],
    "Podman has no network named host": ["test_sandbox.py::test_names_that_are_there_are_taken*"],
    "Podman wants a registry without TLS to be configured": [
        "test_engine.py::test_pull_from_a_registry", "test_road.py::test_pull_from_a_registry_at_mount",
        "test_runtimes.py::test_a_base_comes_from_its_registry",
    ],
    "a build of Podman ends its command when that ends, whoever has gone (4.3)": [
        "test_runtimes.py::test_an_interrupt_aborts_a_build",
        "test_runtimes.py::test_a_mount_that_is_interrupted_aborts_its_build",
    ],
}  # fmt: skip


# Left out without --long: they take long, and another one that stays tries the same by another way.
LONG = [
    "test_contract.py::test_docker_by_archives[[]threads_*", "test_contract.py::test_docker_by_archives[[]many_*",
    "test_container_ops.py::*[[]archive*", "test_races.py::test_nothing_leads_out_by_archives",
    "test_sandbox.py::*[[]archive*", "test_links.py::*[[]archive*", "test_container_life.py::*[[]stream]", "test_coherence.py::*[[]stream]",
    "test_jobs.py::test_jobs_survive_*[[]engine-*", "test_jobs.py::test_fifty_jobs_*[[]engine*", "test_hostile.py::test_stalls[[]stream]",
    "test_road.py::test_grep_find_and_ls_work_*", "test_ssh.py::test_archives_over_ssh_*",
    "test_ssh.py::test_real_engine_over_ssh[[]*e*_*]", "test_ssh.py::test_real_engine_over_ssh[[]archive]",
    "test_sessions.py::test_echo_cat_*", "test_engine_faults.py::test_each_kind_*[[]archive]",
    "test_faults.py::*[[]archive*", "test_engine_life.py::*[[]containers outlive it]", "test_runtimes.py::test_npm", "test_runtimes.py::test_pip", "test_runtimes.py::test_apt",
]  # fmt: skip

# Run by themselves: they load the machine, or bound what they wait for.
ALONE = [
    "test_hostile.py::*", "test_soak.py::*", "test_escape.py::*", "test_ssh.py::*", "test_signals.py::*", "test_engine_faults.py::*", "test_engine_life.py::*",
    "test_sessions.py::test_many_callers_*", "test_sessions.py::test_echo_cat_*", "test_supervise.py::*",
]

# Left out of Podman's without --long: it takes minutes for them, and each stands beside one that stays or does not
# depend on the engine's kind.
LONG_PODMAN = [
    "test_contract.py::*", "test_coherence.py::*", "test_road.py::*", "test_recall.py::*",
    "test_runtimes.py::*", "test_session_pool.py::*", "test_harness.py::*", "test_supervise.py::*",
    "test_mcp.py::*", "test_rules.py::*", "test_faults.py::*", "test_search.py::*", "test_container_ops.py::*",
    "test_*::*[[]archive*", "test_jobs.py::*[[]stream]", "test_jobs.py::*[[]engine*", "test_jobs.py::test_fifty_jobs_*",
    *(
        f"test_sessions.py::test_{name}*" for name in (
            "many_callers_", "echo_cat_", "other_ways_to_sleep", "remove_after_", "links_of_a_workspace_", "names_that_are_none",
            "callers_at_once_", "a_repository_", "control_files_", "leftovers_", "idle_sessions_cost_", "runtimes_of_sessions",
            "a_pool_goes_on_", "an_engine_elsewhere_", "two_daemons_", "anyone_may_",
        )
    ),
]  # fmt: skip


@pytest.fixture
def root(world, engine):
    """A workspace root; what its containers are is removed at the end of the test."""
    path = world.dir / "root"
    yield path
    for m in world.mounts:
        assert not m.end()
    for c in engine.sessions(path):
        engine.docker("rm", "-f", c["id"], check=False)  # it may be going already


def is_of(item, patterns):
    name = f"{item.path.name}::{item.nodeid.partition('::')[2]}"  # parameters may have slashes
    return any(fnmatch.fnmatchcase(name, p) for p in patterns)


def left_out():
    if not harness.LONG:
        yield from LONG
    if harness.KIND == "podman":
        for patterns in DOCKER_ONLY.values():
            yield from patterns
        if not harness.LONG:
            yield from LONG_PODMAN


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    patterns = list(left_out())
    out = [item for item in items if is_of(item, patterns)]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]
    for item in items:
        if is_of(item, ALONE):
            item.add_marker("alone")
