/*
 * Another file in the place of one, whole or not at all: written under a name of its own in the
 * same directory, made durable, and renamed. It has the mode, owner and extended attributes of the
 * one that was there; further hard links keep the old content.
 */
#ifndef AIB_OPS_REPLACE_H
#define AIB_OPS_REPLACE_H

#include "hash.h"
#include "internal.h"

struct replacement {
	struct ops *ops;
	struct ops_place *dir; /* borrowed */
	const char *name;      /* borrowed */
	char temp[32];
	struct bk_node *node;
	struct bk_file *file;
	uint64_t size;
	struct hash *hash; /* of what was written */
};

/* What has to hold of the file that is replaced, at the moment of it. */
struct replace_only {
	const char *expect;	   /* its SHA-256; NULL: any */
	const struct bk_node *was; /* it is this one, unchanged since `st`; NULL: any, or none */
	struct stat st;
};

/* Begin: MODE is of a file that is new. 0 or -errno. */
int replace_begin(struct ops *o, struct ops_place *dir, const char *name, mode_t mode,
		  struct replacement *ret);
int replace_write(struct replacement *x, const void *data, size_t len);
/* The end. -ESTALE: the file is not the one that it is to be. Nothing is left behind on failure. */
int replace_commit(struct replacement *x, const struct replace_only *only);
void replace_abort(struct replacement *x); /* takes what is zeroed, or committed */

/*
 * Nobody else of the operations replaces NAME of DIR from here to the unlock: waits for who does.
 * 0, -EINTR, -ETIMEDOUT.
 */
struct replace_lock {
	const struct bk_node *dir;
	const char *name;
	struct replace_lock *next;
};
int replace_lock(struct ops *o, struct ops_place *dir, const char *name, struct replace_lock *ret);
void replace_unlock(struct replace_lock *l);

/* The SHA-256 of a file's content. */
int replace_hash(struct ops *o, struct bk_node *node, const struct stat *st, char ret[HASH_HEX]);

#endif
