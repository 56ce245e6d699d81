/*
 * The docker backend inside: one sandbox and its tree over the archive transport. A node is a
 * place (parent and name) in the container, since the archive API has no inode numbers; a rename
 * moves the node. What was cached is good for one generation of the sandbox and one second.
 *
 * Locks, in order: the gate of names (slots.c), a node's gate, the sandbox's gate or the indexes'
 * gate; then, short and alone, a node's lock, nodes.lock, indexes.lock, sandbox.lock, a spool's
 * lock. No short lock is held across a call of the engine.
 */
#ifndef AIB_DOCKER_DOCKER_H
#define AIB_DOCKER_DOCKER_H

#include "idmap.h"
#include "index.h"
#include "sandbox.h"
#include "spool.h"
#include "transport.h"

#include "../base/clock.h"

#include <limits.h>
#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

/* How long anything cached is believed without asking again, ms. */
#define FRESH_MS 1000

struct ino_override;

struct nodes {
	pthread_mutex_t lock;
	struct dnode *root;
	struct dnode *live;	 /* all that have a remote node */
	struct dnode *by_remote; /* the same but links, by it; weak */
	struct ino_override *overrides;
	uint64_t fresh_inos;
};

struct docker {
	struct bk bk;
	struct docker_conf conf;
	const struct bk_mount *mount;
	struct sandbox sb;
	struct idmap idmap; /* constant after prepare */
	struct transport transport;
	struct gate names; /* held while paths are used, alone by what changes names */
	struct nodes nodes;
	struct indexes indexes;
	struct spool_budget budget;
	pthread_mutex_t claimed_lock; /* a leaf, below a node's lock */
	struct dnode *claimed;	      /* nodes with claims on their content; weak */
	/* Raised by each change through the mount: attributes of before it are asked for again. */
	atomic_uint_fast64_t changes;
	/* When something last came of an archive that is being read. The engine makes all else that
	 * is asked of a container wait meanwhile. */
	atomic_uint_fast64_t progress_ms;
};

/* What the engine does not tell cheaply of a file, and what it was when that was learned. */
struct owner {
	uint64_t generation; /* 0: nothing known */
	mode_t mode;
	uint64_t size;
	time_t mtime;
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	char *link; /* the target as stored, of a symlink; else NULL */
	/* Of a HEAD: it answers for FRESH_MS while nothing was changed. 0: none */
	uint64_t seen_ms, changes;
};

/* Something that holds until then, and in that generation. */
struct known {
	uint64_t until_ms, generation;
};

struct dnode {
	struct bk_node base;
	mode_t type; /* S_IFMT bits; constant */
	uint64_t ino;

	/* guarded by nodes.lock */
	struct dnode *parent; /* referenced; NULL for the root */
	char *name;
	struct dnode *children; /* weak */
	UT_hash_handle hh;	/* in parent->children while `linked` */
	bool linked;
	bool gone; /* its name is no longer this file's */
	struct owner owner;
	/* What it stands for over the guest (live.h): both or none; references. */
	struct channel *channel;
	struct bk_node *remote;
	uint64_t remote_ino, start; /* its number, and the container's start, when last known */
	bool by_remote;
	UT_hash_handle hh_remote;
	struct dnode *live_prev, *live_next;
	struct known whole; /* a directory has no other names than its children: live_names.c */
	struct known no_capability; /* it has no file capability: live_attr.c */

	atomic_bool pending; /* its name is not in the container yet; changed under `lock` */

	/* Regular files: one change of content at a time. */
	struct gate gate;
	/* guarded by lock */
	pthread_mutex_t lock;
	struct dnode *claimed_prev, *claimed_next; /* while there are claims; docker.claimed_lock */
	unsigned claims; /* open handles, and changes of size: while there are any, `spool` stays */
	struct spool *spool; /* the content, while it is open or differs from the container's */
	bool dirty;	     /* content or `st` are not in the container yet */
	struct stat st;	     /* while dirty, pending or gone */
	uint64_t seen_generation, seen_ms; /* when `spool` was last known to be the content */
	uint64_t seen_size;
	struct timespec seen_mtime;
};

static inline struct docker *docker_of(const struct bk_node *node)
{
	return container_of(node->bk, struct docker, bk);
}

static inline struct dnode *dnode_of(struct bk_node *node)
{
	return container_of(node, struct dnode, base);
}

static inline uint64_t generation(struct docker *d)
{
	return atomic_load(&d->sb.generation);
}

static inline bool known_holds(struct docker *d, const struct known *k)
{
	return clock_ms() < k->until_ms && k->generation == generation(d);
}

/* Whether who waits for his turn at the container may wait on. */
static inline bool docker_progresses(struct docker *d)
{
	return clock_ms() - atomic_load(&d->progress_ms) < FRESH_MS;
}

/* ---- docker.c ---- */
int docker_prepare(struct bk_req *, struct bk *, void (*progress)(void *ctx, const char *text),
		   void *ctx, struct err *);
void docker_destroy(struct bk *);
struct bk_node *docker_root(struct bk *);
int docker_statfs(struct bk_req *, struct bk_node *, struct statvfs *);

/* ---- slots.c ---- */
extern const struct bk_ops docker_ops, container_ops;

/* The operations below run with the gate of names held as slots.c does, and call each other so. */

/* ---- node.c ---- */
int nodes_init(struct docker *d);
void nodes_done(struct docker *d);
/* The node at NAME, of that type, with a reference: the one there is, or a new one. */
int node_get(struct docker *d, struct dnode *dir, const char *name, mode_t type,
	     struct dnode **ret);
/* The node at NAME where there is one, with a reference; else NULL. */
struct dnode *node_find(struct docker *d, struct dnode *dir, const char *name);
/* -ENOENT where the file or a directory above it is gone, -ENAMETOOLONG. */
int node_path(struct docker *d, struct dnode *node, char path[PATH_MAX]);
int child_path(struct docker *d, struct dnode *dir, const char *name, char path[PATH_MAX]);
uint64_t child_ino(struct docker *d, struct dnode *dir, const char *name);
bool node_is_gone(struct docker *d, const struct dnode *node);
/* The name is no longer NODE's (removed, replaced): it keeps its number, its place gets another. */
void node_gone(struct docker *d, struct dnode *node);
/* Names moved; with EXCHANGE the other way too. Whatever was at the new place is gone. */
void node_moved(struct docker *d, struct dnode *dir, const char *name, struct dnode *new_dir,
		const char *new_name, bool exchange);
void docker_node_free(struct bk_node *node);
/* With nodes.lock held. node_find_locked gives no reference; node_place_locked takes NAME and
 * returns the parent of before, for the caller to unreference once no lock is held. */
struct dnode *node_find_locked(struct dnode *dir, const char *name);
void node_unlink_locked(struct dnode *node);
void node_gone_locked(struct docker *d, struct dnode *node);
struct dnode *node_place_locked(struct dnode *node, struct dnode *dir, char *name);
/* A node without a place or number, with a reference; NULL without memory. */
struct dnode *node_new(struct docker *d, mode_t type);
/* References on the children that are not in the container yet: up to MAX of them. */
size_t node_pending(struct docker *d, struct dnode *dir, struct dnode **ret, size_t max);

/* ---- owner.c ---- */
/* The attributes of PATH as the container has them. NODE may be NULL; else it keeps the owner. */
int stat_path(struct bk_req *req, struct docker *d, const char *path, struct dnode *node,
	      struct stat *ret, struct owner *ret_owner);
/* A HEAD of PATH. The engine makes it wait while a file of the container is fetched: that counts as
 * progress. The caller frees ret->link. */
int head_path(struct bk_req *req, struct docker *d, const char *path, struct engine_stat *ret,
	      struct err *err);
void owner_done(struct owner *o);
void owner_stat(struct stat *ret, const struct owner *o);
/* A copy of O is NODE's (which may be NULL). */
void node_keep_owner(struct docker *d, struct dnode *node, const struct owner *o);
/* We know whose NODE is, since we made it: spares the first question. */
void node_set_owner(struct docker *d, struct dnode *node, const struct stat *st, const char *link);
void node_forget_owner(struct docker *d, struct dnode *node);

/* ---- attr.c ---- */
/* The attributes of a node, with what was not written back yet. */
int stat_node(struct bk_req *req, struct docker *d, struct dnode *node, struct stat *ret);
/* Something at PATH was changed by us. */
void touched(struct docker *d, const char *path);

int docker_lookup(struct bk_req *, struct bk_node *, const char *, struct bk_node **,
		  struct stat *);
int docker_getattr(struct bk_req *, struct bk_node *, struct bk_file *, struct stat *);
int docker_setattr(struct bk_req *, struct bk_node *, struct bk_file *, const struct bk_setattr *,
		   struct stat *);
int docker_readlink(struct bk_req *, struct bk_node *, char *);
/* The link at PATH, whose stored target is TARGET, as the mount shows it, into BUF (PATH_MAX):
 * its length. C: what it leads over is asked of the guest; NULL: of the engine. */
int link_show(struct bk_req *req, struct docker *d, struct channel *c, const char *path,
	      const char *target, char *buf);
/* Drop what nodes have of other connections than C. */
void live_forget(struct docker *d, struct channel *c);

/* ---- content.c: a file's content between the container and its spool ---- */
/* For a reader: the content, with the bytes up to END here. *ret comes with a reference. */
int content_get(struct bk_req *req, struct docker *d, struct dnode *node, uint64_t end,
		struct spool **ret);
/* Keep NODE's content; it is given up with the last claim. Each handle has one. */
void content_claim(struct docker *d, struct dnode *node);
void content_unclaim(struct docker *d, struct dnode *node);
/* Write back all that is ahead of the container. The gate of names is the caller's, alone. */
int content_flush_all(struct bk_req *req, struct docker *d);
/* NODE's gate is the caller's for all of these. */
int content_refresh(struct bk_req *req, struct docker *d, struct dnode *node);
/* The whole content is in the spool, as a change needs it. */
int content_whole(struct bk_req *req, struct docker *d, struct dnode *node);
/* Note that `st` and the spool are ahead of the container. -errno where `st` cannot be known. */
int content_dirty(struct bk_req *req, struct docker *d, struct dnode *node);
int content_put(struct bk_req *req, struct docker *d, struct dnode *node);
int content_empty(struct docker *d, struct dnode *node);
/* Write back; takes the gate. */
int content_flush(struct bk_req *req, struct docker *d, struct dnode *node);
/* The name goes: keep what open handles will want to read. */
int content_keep(struct bk_req *req, struct docker *d, struct dnode *node);
/* Whether the node is ahead of the container. */
bool content_local(struct dnode *node);
/* The same, or the node was removed while it was open: what is left of it is here. */
bool content_only_here(struct docker *d, struct dnode *node);

/* ---- file.c, dir.c, name.c ---- */
int docker_open(struct bk_req *, struct bk_node *, int, struct bk_file **);
int docker_create(struct bk_req *, struct bk_node *, const char *, mode_t, int, struct bk_node **,
		  struct bk_file **, struct stat *);
ssize_t docker_read(struct bk_req *, struct bk_file *, void *, size_t, off_t);
ssize_t docker_write(struct bk_req *, struct bk_file *, const void *, size_t, off_t);
int docker_flush(struct bk_req *, struct bk_file *);
int docker_fsync(struct bk_req *, struct bk_file *, bool);
void docker_release(struct bk_file *);
int docker_opendir(struct bk_req *, struct bk_node *, struct bk_file **);
void docker_releasedir(struct bk_file *);
int docker_readdir(struct bk_req *, struct bk_file *, uint64_t, bk_fill_fn, void *);
/* Whether PATH is the kernel's: /proc, /sys, /dev and below; whether it is to list as empty. */
bool dir_is_kernels(const char *path);
bool dir_is_pseudo(struct docker *d, const char *path);
/* PATH's entry in a new listing of its directory; -ENOENT where it has none. *ret_index comes with
 * a reference. */
int list_name(struct bk_req *req, struct docker *d, const char *path, struct index **ret_index,
	      struct index_entry *ret);
int docker_mknod(struct bk_req *, struct bk_node *, const char *, mode_t, dev_t, struct bk_node **,
		 struct stat *);
int docker_mkdir(struct bk_req *, struct bk_node *, const char *, mode_t, struct bk_node **,
		 struct stat *);
int docker_symlink(struct bk_req *, struct bk_node *, const char *, const char *, struct bk_node **,
		   struct stat *);
int docker_link(struct bk_req *, struct bk_node *, struct bk_node *, const char *,
		struct bk_node **, struct stat *);
int docker_unlink(struct bk_req *, struct bk_node *, const char *);
int docker_rmdir(struct bk_req *, struct bk_node *, const char *);
int docker_rename(struct bk_req *, struct bk_node *, const char *, struct bk_node *, const char *,
		  unsigned);
/* Whether archives can hold it. */
bool name_is_utf8(const char *name);
/* Before making NAME in DIR: its path, who will own it; -EEXIST where it is there. */
int make_prepare(struct bk_req *req, struct docker *d, struct dnode *dir, const char *name,
		 char path[PATH_MAX], struct stat *ret_st);

/* ---- exec.c ---- */
extern const struct bk_sandbox_ops docker_sandbox_ops;

#endif
