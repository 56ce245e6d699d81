/*
 * The docker backend's two types of route and its life: "docker" makes a container of its own,
 * "container" attaches to one that exists.
 */
#include "docker.h"

#include "../base/log.h"

extern const struct bk_type docker_type, container_type;

static int docker_prepare(struct bk_req *req, struct bk *bk,
			  void (*progress)(void *ctx, const char *text), void *ctx, struct err *err)
{
	return sandbox_prepare(req, &container_of(bk, struct docker, bk)->sb, progress, ctx, err);
}

static void docker_destroy(struct bk *bk)
{
	struct docker *d = container_of(bk, struct docker, bk);

	sandbox_end(&d->sb);
	nodes_done(d);
	indexes_done(&d->indexes);
	sandbox_done(&d->sb);
	docker_conf_free(&d->conf);
	bk_done(bk);
	free(d);
}

static struct bk_node *docker_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct docker, bk)->nodes.root->base);
}

#define OPS(name)                                                                                  \
	.type = name, .prepare = docker_prepare, .destroy = docker_destroy, .root = docker_root,   \
	.node_free = docker_node_free, .lookup = docker_lookup, .mknod = docker_mknod,             \
	.mkdir = docker_mkdir, .symlink = docker_symlink, .link = docker_link,                     \
	.unlink = docker_unlink, .rmdir = docker_rmdir, .rename = docker_rename,                   \
	.getattr = docker_getattr, .setattr = docker_setattr, .readlink = docker_readlink,         \
	.open = docker_open, .create = docker_create, .read = docker_read, .write = docker_write,  \
	.flush = docker_flush, .fsync = docker_fsync, .release = docker_release,                   \
	.opendir = docker_opendir, .readdir = docker_readdir, .sandbox = &docker_sandbox_ops

static const struct bk_ops docker_ops = {OPS("docker")};
static const struct bk_ops container_ops = {OPS("container")};

static int make(const struct bk_mount *mount, const char *route, bool attach, const cJSON *options,
		const cJSON *binds, struct bk **ret, struct err *err)
{
	struct docker *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	d->mount = mount;
	r = bk_init(&d->bk, attach ? &container_ops : &docker_ops, route);
	if (r < 0) {
		free(d);
		return r;
	}
	/* A command may change anything at any moment: nothing may be believed without asking. */
	d->bk.blocking = true;
	d->bk.no_host_exec = true;
	d->bk.entry_ttl_ms = d->bk.attr_ttl_ms = 0;
	r = docker_conf_parse(&d->conf, mount, attach, options, binds, err);
	if (r < 0)
		goto fail_conf;
	d->budget.max = d->conf.spool_max;
	r = sandbox_init(&d->sb, &d->conf, mount, d->bk.route, attach, err);
	if (r < 0)
		goto fail_sandbox;
	indexes_init(&d->indexes);
	r = nodes_init(d);
	if (r < 0)
		goto fail_nodes;
	*ret = &d->bk;
	return 0;

fail_nodes:
	nodes_done(d);
	indexes_done(&d->indexes);
	sandbox_done(&d->sb);
fail_sandbox:
	docker_conf_free(&d->conf);
fail_conf:
	bk_done(&d->bk);
	free(d);
	return r;
}

static int make_docker(const struct bk_mount *mount, const char *route, const cJSON *options,
		       const cJSON *binds, struct bk **ret, struct err *err)
{
	return make(mount, route, false, options, binds, ret, err);
}

static int make_container(const struct bk_mount *mount, const char *route, const cJSON *options,
			  const cJSON *binds, struct bk **ret, struct err *err)
{
	return make(mount, route, true, options, binds, ret, err);
}

const struct bk_type docker_type = {
    .name = "docker",
    .source_key = "image",
    .make = make_docker,
    .options = docker_options,
};

const struct bk_type container_type = {
    .name = "container",
    .source_key = "container",
    .make = make_container,
    .options = container_options,
};
