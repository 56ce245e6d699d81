/*
 * The contract suite on the docker backend, in one container of a real engine that all tests
 * share, each with a directory of its own. Run by tests/docker/test_contract.py, which provides
 * the engine: DOCKER_HOST; AIB_TEST_IMAGE and AIB_TEST_GUEST say the image and where aib-guest is.
 */
#include "contract.h"
#include "test.h"

#include "base/log.h"

#include <cjson/cJSON.h>

extern const struct bk_type docker_type;

static struct bk_mount mount = {.id = "contract", .mountpoint = "/nowhere/contract"};
static struct bk *bk;
static struct bk_node *workspace;

static struct bk_node *must_mkdir(struct bk_node *dir, const char *name)
{
	struct bk_req req;
	struct bk_node *node;
	struct stat st;

	bk_req_init(&req, getuid(), getgid(), 0, 60000);
	CHECK_EQ(bk_mkdir(&req, dir, name, 0755, &node, &st), 0);
	bk_req_done(&req);
	return node;
}

static int setup(struct contract_place *ret)
{
	static unsigned count;
	char name[32];

	snprintf(name, sizeof(name), "test-%u", ++count);
	ret->bk = bk;
	ret->dir = must_mkdir(workspace, name);
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

static void make(const char *transport)
{
	cJSON *options = cJSON_CreateObject();
	struct err err = {""};
	struct bk_req req;
	struct bk_node *root;
	struct stat st;
	char name[64];
	int r;

	snprintf(name, sizeof(name), "aib-contract-%d", getpid());
	cJSON_AddStringToObject(options, "image", getenv("AIB_TEST_IMAGE"));
	cJSON_AddStringToObject(options, "name", name);
	cJSON_AddStringToObject(options, "transport", transport);
	bk_req_init(&req, 0, 0, 0, 60000);
	r = docker_type.make(&mount, "/contract", options, NULL, &bk, &err);
	if (r == 0)
		r = bk->ops->prepare(&req, bk, NULL, NULL, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK_EQ(r, 0);
	root = bk_root(bk);
	CHECK_EQ(bk_lookup(&req, root, "workspace", &workspace, &st), 0);
	bk_node_unref(root);
	bk_req_done(&req);
	cJSON_Delete(options);
}

int main(int argc, char **argv)
{
	const char *transport = getenv("AIB_TEST_TRANSPORT");
	bool live;
	int status;

	transport = transport ? transport : "archive";
	live = strcmp(transport, "guest") == 0;
	CHECK(getenv("AIB_TEST_IMAGE") && getenv("AIB_TEST_GUEST"));
	umask(0);
	mount.uid = getuid();
	mount.gid = getgid();
	mount.spool_dir = "/tmp";
	mount.guest = getenv("AIB_TEST_GUEST");
	log_set_level(getenv("AIB_TEST_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING);
	make(transport);
	status = contract_main(argc, argv, live ? &docker_guest : &docker);
	bk_node_unref(workspace);
	bk_free(bk);
	return status;
}
