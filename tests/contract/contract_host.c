/*
 * The contract suite on the host backend, over a new directory for each test. As root it runs again
 * as nobody, so that both ways of finding a file again (by handle, by name) are used; and both with
 * openat2(2) refused. AIB_TEST_DIR says where the directories are made (default /tmp).
 */
#include "contract.h"
#include "test.h"

#include "limit.h"

#include <cjson/cJSON.h>
#include <grp.h>
#include <sys/wait.h>

extern const struct bk_type host_type;

/* Small enough that evicting is the rule. */
#define FD_CACHE 8

static int setup(struct contract_place *ret)
{
	const char *base = getenv("AIB_TEST_DIR");
	const struct bk_mount mount = {.can_switch_user = geteuid() == 0};
	_cleanup_free_ char *path = NULL;
	cJSON *options = cJSON_CreateObject();
	int r;

	CHECK(asprintf(&path, "%s/aib-host-XXXXXX", base ? base : "/tmp") > 0);
	CHECK(mkdtemp(path));
	cJSON_AddStringToObject(options, "path", path);
	cJSON_AddNumberToObject(options, "fd_cache", FD_CACHE);
	r = host_type.make(&mount, "/host", options, NULL, &ret->bk, NULL);
	cJSON_Delete(options);
	if (r == 0)
		r = ret->bk->ops->prepare(NULL, ret->bk, NULL, NULL, NULL);
	if (r < 0)
		return r;
	ret->dir = bk_root(ret->bk);
	ret->ctx = TAKE(path);
	return 0;
}

static void teardown(struct contract_place *place)
{
	_cleanup_free_ char *path = place->ctx;
	_cleanup_free_ char *command = NULL;

	bk_node_unref(place->dir);
	bk_free(place->bk);
	CHECK(asprintf(&command, "rm -rf '%s'", path) > 0);
	CHECK_EQ(system(command), 0);
}

static struct contract_backend backend = {
    .name = "host",
    .traits =
	{
	    .holes = true,
	    .unlinked_open = true,
	    .owner_of_request = true,
	    .append = true,
	},
    .setup = setup,
    .teardown = teardown,
};

struct variant {
	const char *name;
	bool nobody, no_openat2;
};

static int run(const struct variant *v, int argc, char **argv)
{
	umask(0);
	backend.name = v->name;
	if (v->no_openat2)
		limit_refuse_openat2();
	if (v->nobody) {
		limit_to_nobody();
		backend.traits.device = -EPERM;
		backend.traits.chown = -EPERM;
	}
	return contract_main(argc, argv, &backend);
}

int main(int argc, char **argv)
{
	static const struct variant variants[] = {
	    {"host", false, false},
	    {"host without openat2", false, true},
	    {"host as nobody", true, false},
	    {"host as nobody without openat2", true, true},
	};
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		int status;
		pid_t pid;

		if (variants[i].nobody && geteuid() != 0)
			continue; /* the first two ran as nobody in particular */
		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0)
			exit(run(&variants[i], argc, argv));
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		failed |= !WIFEXITED(status) || WEXITSTATUS(status) != 0;
	}
	return failed;
}
