/*
 * The contract suite on a container's files through its guest: the host backend in one container of
 * a real engine that all tests share, over the Engine's exec, each test with a directory of its own
 * below /workspace. Run by tests/docker/test_contract.py; see guest_world.h for the environment.
 */
#include "contract.h"
#include "guest_world.h"
#include "test.h"

static struct guest *guest;
static struct bk_node *workspace;

static int setup(struct contract_place *ret)
{
	ret->bk = guest_bk(guest);
	ret->dir = world_directory(workspace);
	return 0;
}

static void teardown(struct contract_place *place)
{
	bk_node_unref(place->dir);
}

static const struct contract_backend backend = {
    .name = "guest",
    .traits =
	{
	    .device = -EPERM, /* root of the container, without CAP_MKNOD */
	    .links_verbatim = true,
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

int main(int argc, char **argv)
{
	struct docker *d = world_route("auto");
	int status;

	CHECK_EQ(world_connect(d, &guest), 0);
	workspace = world_workspace(guest_bk(guest));
	status = contract_main(argc, argv, &backend);
	bk_node_unref(workspace);
	guest_close(guest);
	bk_free(&d->bk);
	return status;
}
