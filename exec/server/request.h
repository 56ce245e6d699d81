/*
 * From the JSON of a request to a command in a sandbox: which one, where, and with what. Paths are
 * mapped by their spelling against the routes; whether a directory exists is the sandbox's to say.
 * The sandbox is in use until request_done.
 */
#ifndef AIB_EXEC_REQUEST_H
#define AIB_EXEC_REQUEST_H

#include "../../backends/route.h"

#include <cjson/cJSON.h>

struct request {
	struct bk_use sandbox; /* that runs the command */
	struct bk_exec exec;   /* its strings are the request's */
	bool stream;	       /* the client can speak with the guest itself */
	cJSON *json;	       /* owns the strings that were not mapped */
	char *cwd, *spelled;   /* owned: the directory in the sandbox, and as the caller says it */
	const char **argv, **env; /* the arrays are owned, the strings are json's */
};

struct request_world {
	const struct route *routes;
	size_t n_routes;
	const char *mountpoint;
};

/*
 * UID is who asks, 0 for who may use every sandbox; others may use those that let them enter. Takes
 * JSON, also on failure. Returns 0 or -errno with text.
 */
int request_parse(const struct request_world *world, uid_t uid, cJSON *json, struct request *ret,
		  struct err *err);
/* A path of the mount's own ("/py/workspace"), or one of the host's below the mount point, as the
 * latter; the caller's. NULL where memory is out. */
char *request_host_path(const struct request_world *world, const char *path);
void request_done(struct request *r);

#endif
