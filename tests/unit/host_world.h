/*
 * A host backend over a fresh directory, for the tests of what the contract suite cannot see:
 * what happens beside the mount, descriptors, users, links.
 */
#ifndef AIB_TEST_HOST_WORLD_H
#define AIB_TEST_HOST_WORLD_H

#include "backend.h"
#include "test.h"

#include <fcntl.h>

struct world {
	struct bk *bk;
	struct bk_node *root;
	struct bk_req req;
	char path[64];
	int dirfd; /* of path: the side beside the mount */
};

/* OPTIONS is a JSON object without "path", or NULL. */
void world_init(struct world *w, const char *options);
void world_done(struct world *w);

/* A variant of the process: who it is and what it may call. Ends the process on a failure. */
struct variant {
	const char *name;
	bool nobody;
	long refused; /* a system call, or 0 */
};
/* Run RUN in a child for each variant that this process can be. Returns an exit status. */
int world_variants(void (*run)(void));
/* The current variant's. */
bool world_is_root(void);

/* These must succeed; nodes come with a reference. */
struct bk_node *w_lookup(struct world *w, struct bk_node *dir, const char *name);
struct bk_node *w_file(struct world *w, struct bk_node *dir, const char *name, const char *text);
struct bk_node *w_dir(struct world *w, struct bk_node *dir, const char *name);
struct bk_node *w_symlink(struct world *w, struct bk_node *dir, const char *name,
			  const char *target);
struct stat w_stat(struct world *w, struct bk_node *node);
/* 0 or -errno. */
int w_try(struct world *w, struct bk_node *dir, const char *name);
/* Descriptors that are open in this process. */
unsigned w_fds(void);
/* Make the backend use its descriptors for other files. */
void w_evict(struct world *w);

#endif
