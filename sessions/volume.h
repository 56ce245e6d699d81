/*
 * A workspace that is a volume of an engine: the tree of it, which is the session's container's at
 * the workdir. Its root is a node of its own, which is there without an engine being asked; what
 * is looked for below it are nodes of the container's tree, which is made for that, and not
 * started.
 */
#ifndef AIB_SESSIONS_VOLUME_H
#define AIB_SESSIONS_VOLUME_H

#include "session.h"

/* "aib-w-ROOT-NAME": of the root and the session's name alone, since it outlives the session. */
#define VOLUME_NAME_SIZE (sizeof("aib-w--") + STORE_ID_SIZE + STORE_NAME_MAX)
void volume_name(const struct store *store, const char *session, char ret[VOLUME_NAME_SIZE]);

/* ROUTE is copied; S is borrowed, and outlives it. */
int volume_new(struct session *s, const char *route, struct bk **ret);
bool volume_is(const struct bk *bk);
/* The root's attributes as they were seen last, or as they are at first. Does not block. */
void volume_stat(const struct bk *bk, struct stat *ret_st);

#endif
