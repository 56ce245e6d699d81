/*
 * The body of POST /containers/create for a sandbox: what it may do and may not (security
 * defaults), from its options alone.
 */
#ifndef AIB_DOCKER_SPEC_H
#define AIB_DOCKER_SPEC_H

#include "conf.h"

#define GUEST_PATH "/.aib-guest"
#define GUEST_HOME "/home/aib"

struct spec_input {
	const struct docker_conf *conf;
	const char *mount_id, *mountpoint, *route;
	const char *alive; /* see struct bk_mount */
	bool home;   /* HOME is GUEST_HOME */
	double cpus; /* 0: no limit */
};

/* The caller owns *ret. Returns 0 or -ENOMEM. */
int spec_make(const struct spec_input *in, cJSON **ret);

#endif
