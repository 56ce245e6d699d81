/*
 * The composite over memory: the suite works in the composite's own root, a spot, so that every
 * change goes through it to the backend that serves the spot. What only a composite does is in the
 * unit test of its own.
 */
#include "composite/composite.h"
#include "contract.h"

#include <unistd.h>

struct world {
	struct bk *below, *covered;
};

static int make_memory(const char *route, struct bk **ret)
{
	struct bk_mount mount = {
	    .id = "test",
	    .mountpoint = "/nowhere",
	    .uid = getuid(),
	    .gid = getgid(),
	};
	const struct bk_type *type;
	int r = bk_type_find("memory", &type, NULL);

	return r < 0 ? r : type->make(&mount, route, NULL, NULL, ret, NULL);
}

static int setup(struct contract_place *ret)
{
	struct world *w = calloc(1, sizeof(*w));
	int r = make_memory("/", &w->below);

	if (r == 0)
		r = make_memory("/hidden", &w->covered);
	if (r < 0)
		return r;
	w->below->ino_space = 1;
	w->covered->ino_space = 2;
	const struct route routes[] = {
	    {.path = "/", .bk = w->below},
	    {.path = "/hidden", .bk = w->covered, .hidden = true},
	};
	r = composite_new(routes, 2, &ret->bk, NULL);
	if (r < 0)
		return r;
	ret->dir = bk_root(ret->bk);
	ret->ctx = w;
	return 0;
}

static void teardown(struct contract_place *p)
{
	struct world *w = p->ctx;

	bk_node_unref(p->dir);
	bk_free(p->bk);
	bk_free(w->below);
	bk_free(w->covered);
	free(w);
}

static const struct contract_backend composite = {
    .name = "composite",
    .traits =
	{
	    .links_verbatim = true,
	    .holes = true,
	    .unlinked_open = true,
	    .owner_of_request = true,
	    .append = true,
	},
    .setup = setup,
    .teardown = teardown,
};

int main(int argc, char **argv)
{
	return contract_main(argc, argv, &composite);
}
