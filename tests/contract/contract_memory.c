/* The memory backend does everything. */
#include "contract.h"

#include <unistd.h>

static int setup(struct contract_place *ret)
{
	struct bk_mount mount = {
	    .id = "test",
	    .mountpoint = "/nowhere",
	    .uid = getuid(),
	    .gid = getgid(),
	};
	const struct bk_type *type;
	int r = bk_type_find("memory", &type, NULL);

	if (r == 0)
		r = type->make(&mount, "/", NULL, NULL, &ret->bk, NULL);
	if (r < 0)
		return r;
	ret->dir = bk_root(ret->bk);
	return 0;
}

static void teardown(struct contract_place *p)
{
	bk_node_unref(p->dir);
	bk_free(p->bk);
}

static const struct contract_backend memory = {
    .name = "memory",
    .traits =
	{
	    .links_verbatim = true,
	    .holes = true,
	    .unlinked_open = true,
	    .dir_links = true,
	    .owner_of_request = true,
	    .append = true,
	},
    .setup = setup,
    .teardown = teardown,
};

int main(int argc, char **argv)
{
	return contract_main(argc, argv, &memory);
}
