/*
 * The options of a docker or container route, parsed and checked. Nothing here talks to an engine.
 */
#ifndef AIB_DOCKER_CONF_H
#define AIB_DOCKER_CONF_H

#include "../backend.h"
#include "../base/path.h"
#include "engine.h"

/* A host directory in the container. */
struct volume {
	char *host;  /* resolved */
	char *given; /* as the configuration has it */
	char *place;
	bool readonly;
	bool route; /* of a host route that names this one in `exec`, not of `volumes` */
};

struct docker_conf {
	/* as given */
	char *
	    runtime; /* never here: whoever makes the route puts the runtime's image in its place */
	char *image, *container, *engine, *name, *network, *user, *workdir, *oci_runtime;
	char *pull, *symlinks, *pseudo, *transport, *guest, *idmap, *end;
	cJSON *volumes_json, *volume_json, *env_json, *labels_json, *links_json, *workspace_json;
	uint64_t memory, disk, pids;
	uint64_t start_timeout, timeout; /* ms */
	uint64_t spool_max, index_max;
	double cpus;
	bool keep, host_paths; /* `keep` is what `end` says, where that is given */

	/* made of the above */
	struct volume *volumes;
	size_t n_volumes;
	cJSON *env; /* array of "K=V" */
	/* A volume of the engine at the workdir, made where missing with these labels; borrowed
	 * from workspace_json. NULL: none. */
	const char *workspace;
	const cJSON *workspace_labels;
	struct engine_conf at; /* of the engine */
};

extern const struct option docker_options[], container_options[];

/* Fill *CONF. On failure it is empty again. ATTACH: of type container. */
int docker_conf_parse(struct docker_conf *conf, const struct bk_mount *mount, bool attach,
		      const cJSON *options, const cJSON *binds, struct err *err);
void docker_conf_free(struct docker_conf *conf);

/* Whether commands run as the mount's owner where nothing else is said: a host route has its
 * commands run here, or the workdir is a workspace. */
bool conf_is_owners(const struct docker_conf *conf);

/* Whether PATH is absolute, without empty components, "." or "..", and without a slash at its end
 * (but "/" itself). */
bool path_is_plain(const char *path);

#endif
