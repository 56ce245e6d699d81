#include "guest_world.h"

#include "base/log.h"
#include "test.h"

#include <cjson/cJSON.h>

extern const struct bk_type docker_type, container_type;

static struct bk_mount mount = {.id = "guest", .mountpoint = "/nowhere/guest", .spool_dir = "/tmp"};

struct docker *world_route(const char *transport)
{
	const char *image = getenv("AIB_TEST_IMAGE"), *attached = getenv("AIB_TEST_CONTAINER");
	const struct bk_type *type = attached ? &container_type : &docker_type;
	cJSON *options = cJSON_CreateObject();
	struct err err = {""};
	struct bk_req req;
	char name[64];
	struct bk *bk;
	int r;

	CHECK((attached || image) && getenv("AIB_TEST_GUEST"));
	umask(0);
	log_set_level(getenv("AIB_TEST_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING);
	mount.uid = getuid();
	mount.gid = getgid();
	mount.guest = getenv("AIB_TEST_GUEST");
	snprintf(name, sizeof(name), "aib-guest-%d", getpid());
	cJSON_AddStringToObject(options, type->source_key, attached ? attached : image);
	if (!attached)
		cJSON_AddStringToObject(options, "name", name);
	cJSON_AddStringToObject(options, "transport", transport);
	bk_req_init(&req, 0, 0, 0, 60000);
	r = type->make(&mount, "/guest", options, NULL, &bk, &err);
	if (r == 0)
		r = bk->ops->prepare(&req, bk, NULL, NULL, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK_EQ(r, 0);
	bk_req_done(&req);
	cJSON_Delete(options);
	return container_of(bk, struct docker, bk);
}

struct bk_node *world_workspace(struct bk *bk)
{
	struct bk_node *root = bk_root(bk), *node;
	struct bk_req req;
	struct stat st;

	bk_req_init(&req, 0, 0, 0, 60000);
	CHECK_EQ(bk_lookup(&req, root, "workspace", &node, &st), 0);
	bk_req_done(&req);
	bk_node_unref(root);
	return node;
}

struct bk_node *world_directory(struct bk_node *workspace)
{
	static unsigned count;
	struct bk_node *node;
	struct bk_req req;
	struct stat st;
	char name[32];

	snprintf(name, sizeof(name), "test-%u", ++count);
	bk_req_init(&req, getuid(), getgid(), 0, 60000);
	CHECK_EQ(bk_mkdir(&req, workspace, name, 0755, &node, &st), 0);
	bk_req_done(&req);
	return node;
}

enum guest_way world_way(void)
{
	const char *way = getenv("AIB_TEST_WAY");

	if (way && strcmp(way, "stream") == 0)
		return GUEST_STREAM;
	return way && strcmp(way, "direct") == 0 ? GUEST_DIRECT : GUEST_AUTO;
}

int world_connect(struct docker *d, struct guest **ret)
{
	struct err err = {""};
	struct bk_req req;
	int r;

	bk_req_init(&req, 0, 0, 0, 60000);
	r = guest_connect(&req, &d->sb, world_way(), ret, &err);
	bk_req_done(&req);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r;
}
