/*
 * The contract suite on the docker backend, in one container of a real engine that all tests
 * share, each with a directory of its own below /workspace. Run by tests/docker/test_contract.py;
 * see guest_world.h for the environment. AIB_TEST_TRANSPORT is "archive" (as without it) or
 * "guest".
 */
#include "contract.h"
#include "guest_world.h"
#include "test.h"

static struct bk *bk;
static struct bk_node *workspace;

static int setup(struct contract_place *ret)
{
	ret->bk = bk;
	ret->dir = world_directory(workspace);
	return 0;
}

static void teardown(struct contract_place *place)
{
	bk_node_unref(place->dir);
}

/* Over the guest (AIB_TEST_TRANSPORT=guest): what the host backend can in a container. */
static const struct contract_backend docker_guest = {
    .name = "docker, guest",
    .traits =
	{
	    .device = -EPERM, /* root of the container, without CAP_MKNOD */
	    .holes = true,
	    .unlinked_open = true,
	    .owner_of_request = true,
	    .append = true,
	    .many = 5000,
	    .steps = 1000,
	},
    .setup = setup,
    .teardown = teardown,
};

/* By archives. */
static const struct contract_backend docker = {
    .name = "docker, archive",
    .traits =
	{
	    .xattr = -EOPNOTSUPP,
	    .fallocate = -EOPNOTSUPP,
	    .device = -EPERM,
	    .unlinked_open = true,
	    .owner_of_request = true,
	    .append = true,
	    .links_apart = true,
	    .writes_replace = true,
	    .no_atime = true,
	    .utf8_names = true,
	    .time_step_ns = 1000000000,
	    .max_offset = 8 << 20,
	    .many = 20,
	    .steps = 20,
	    .keeps_fds = true,
	},
    .setup = setup,
    .teardown = teardown,
};

int main(int argc, char **argv)
{
	const char *transport = getenv("AIB_TEST_TRANSPORT");
	bool live;
	int status;

	transport = transport ? transport : "archive";
	live = strcmp(transport, "guest") == 0;
	bk = &world_route(transport)->bk;
	workspace = world_workspace(bk);
	status = contract_main(argc, argv, live ? &docker_guest : &docker);
	bk_node_unref(workspace);
	bk_free(bk);
	return status;
}
