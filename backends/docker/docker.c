/*
 * The docker backend's two types of route and its life: "docker" (and "runtime") makes a container
 * of its own, "container" attaches to one that exists.
 */
#include "docker.h"

#include "../base/log.h"

#include <string.h>

extern const struct bk_type docker_type, runtime_type, container_type;

int docker_prepare(struct bk_req *req, struct bk *bk, void (*progress)(void *ctx, const char *text),
		   void *ctx, struct err *err)
{
	struct docker *d = container_of(bk, struct docker, bk);
	int r = sandbox_prepare(req, &d->sb, progress, ctx, err);

	d->idmap = (struct idmap){
	    .on = strcmp(d->conf.idmap, "user") == 0,
	    .uid = {d->sb.uid, d->mount->uid},
	    .gid = {d->sb.gid, d->mount->gid},
	};
	return r;
}

void docker_destroy(struct bk *bk)
{
	struct docker *d = container_of(bk, struct docker, bk);

	transport_end(d);
	sandbox_end(&d->sb);
	nodes_done(d);
	transport_done(&d->transport);
	indexes_done(&d->indexes);
	sandbox_done(&d->sb);
	gate_done(&d->names);
	pthread_mutex_destroy(&d->claimed_lock);
	docker_conf_free(&d->conf);
	bk_done(bk);
	free(d);
}

struct bk_node *docker_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct docker, bk)->nodes.root->base);
}

/* What the engine's own disk has; nobody tells of another machine's: enough, for programs ask
 * whether there is room before they write. */
int docker_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	const char *dir = docker_of(node)->sb.data_dir;

	if (dir && statvfs(dir, ret) == 0) {
		ret->f_namemax = NAME_MAX;
		return 0;
	}
	*ret = (struct statvfs){
	    .f_bsize = 4096,
	    .f_frsize = 4096,
	    .f_blocks = 1ULL << 30,
	    .f_bfree = 1ULL << 29,
	    .f_bavail = 1ULL << 29,
	    .f_files = 1ULL << 30,
	    .f_ffree = 1ULL << 29,
	    .f_favail = 1ULL << 29,
	    .f_namemax = NAME_MAX,
	};
	return 0;
}

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
	/* A command may change anything: it holds until one ends. Of archives nothing may be
	 * believed without asking, since they do so for a second themselves. */
	d->bk.blocking = true;
	d->bk.no_host_exec = true;
	d->bk.recall = true;
	d->bk.entry_ttl_ms = d->bk.attr_ttl_ms = 0;
	r = docker_conf_parse(&d->conf, mount, attach, options, binds, err);
	if (r < 0)
		goto fail_conf;
	d->budget.max = d->conf.spool_max;
	d->budget.progress_ms = &d->progress_ms;
	r = sandbox_init(&d->sb, &d->conf, mount, d->bk.route, attach, err);
	if (r < 0)
		goto fail_sandbox;
	gate_init(&d->names);
	pthread_mutex_init(&d->claimed_lock, NULL);
	transport_init(&d->transport, d->conf.transport, d->conf.guest);
	indexes_init(&d->indexes);
	r = nodes_init(d);
	if (r < 0)
		goto fail_nodes;
	*ret = &d->bk;
	return 0;

fail_nodes:
	nodes_done(d);
	transport_done(&d->transport);
	pthread_mutex_destroy(&d->claimed_lock);
	gate_done(&d->names);
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
    .runs = true,
    .options = docker_options,
};

/* With the image of a runtime. */
const struct bk_type runtime_type = {
    .name = "runtime",
    .source_key = "runtime",
    .make = make_docker,
    .runs = true,
    .options = docker_options,
};

const struct bk_type container_type = {
    .name = "container",
    .source_key = "container",
    .make = make_container,
    .runs = true,
    .options = container_options,
};
