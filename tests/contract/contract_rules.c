/*
 * Rules over memory and over a host directory (AIB_TEST_DIR says where, default /tmp), none of
 * which says anything of the names that the suite uses: then it must be as if they were not there.
 */
#include "contract.h"
#include "rules/rules.h"

#include <cjson/cJSON.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const texts[] = {"secrets-hidden", "readonly:**/no/such"};

/* What BK, which is taken, is with them. */
static int wrap(struct bk *bk, struct contract_place *ret)
{
	cJSON *list = cJSON_CreateStringArray(texts, ARRAY_SIZE(texts));
	struct rules *rules;
	int r = rules_parse(list, &rules, NULL);

	cJSON_Delete(list);
	if (r == 0)
		r = rules_wrap(bk, rules, &ret->bk);
	if (r == 0)
		r = ret->bk->ops->prepare(NULL, ret->bk, NULL, NULL, NULL);
	if (r < 0)
		return r;
	ret->bk->ino_space = 7;
	ret->dir = bk_root(ret->bk);
	return 0;
}

static int make(const char *name, const cJSON *options, struct bk **ret)
{
	const struct bk_mount mount = {
	    .id = "test",
	    .mountpoint = "/nowhere",
	    .uid = geteuid(),
	    .gid = getegid(),
	    .can_switch_user = geteuid() == 0,
	};
	const struct bk_type *type;
	int r = bk_type_find(name, &type, NULL);

	return r < 0 ? r : type->make(&mount, "/r", options, NULL, ret, NULL);
}

static int setup_memory(struct contract_place *ret)
{
	struct bk *bk;
	int r = make("memory", NULL, &bk);

	return r < 0 ? r : wrap(bk, ret);
}

static void teardown(struct contract_place *p)
{
	_cleanup_free_ char *path = p->ctx, *command = NULL;

	bk_node_unref(p->dir);
	bk_free(p->bk);
	if (path && asprintf(&command, "rm -rf '%s'", path) > 0 && system(command) != 0)
		abort();
}

static int setup_host(struct contract_place *ret)
{
	const char *base = getenv("AIB_TEST_DIR");
	cJSON *options = cJSON_CreateObject();
	char *path;
	struct bk *bk;
	int r;

	if (asprintf(&path, "%s/aib-rules-XXXXXX", base ? base : "/tmp") < 0 || !mkdtemp(path))
		return -errno;
	ret->ctx = path;
	cJSON_AddStringToObject(options, "path", path);
	r = make("host", options, &bk);
	cJSON_Delete(options);
	return r < 0 ? r : wrap(bk, ret);
}

static const struct contract_backend backends[] = {
    {
	.name = "rules over memory",
	.traits = {.links_verbatim = true,
		   .holes = true,
		   .unlinked_open = true,
		   .dir_links = true,
		   .owner_of_request = true,
		   .append = true},
	.setup = setup_memory,
	.teardown = teardown,
    },
    {
	.name = "rules over a host directory",
	.traits = {.holes = true, .unlinked_open = true, .owner_of_request = true, .append = true},
	.setup = setup_host,
	.teardown = teardown,
    },
};

int main(int argc, char **argv)
{
	int failed = 0;

	umask(0);
	for (size_t i = 0; i < ARRAY_SIZE(backends); i++)
		failed |= contract_main(argc, argv, &backends[i]);
	return failed;
}
