/*
 * Who owns files, on both sides of a route. With idmap=user the user of the sandbox's commands and
 * the owner of the mount are shown as each other, so that what one makes is the other's; everyone
 * else is a number. It is its own inverse.
 */
#ifndef AIB_DOCKER_IDMAP_H
#define AIB_DOCKER_IDMAP_H

#include "../backend.h"

struct idmap {
	bool on;
	uid_t uid[2]; /* in the container, of the mount */
	gid_t gid[2];
};

static inline unsigned idmap_swap(unsigned id, unsigned a, unsigned b)
{
	return id == a ? b : id == b ? a : id;
}

static inline uid_t idmap_uid(const struct idmap *m, uid_t uid)
{
	return m->on ? idmap_swap(uid, m->uid[0], m->uid[1]) : uid;
}

static inline gid_t idmap_gid(const struct idmap *m, gid_t gid)
{
	return m->on ? idmap_swap(gid, m->gid[0], m->gid[1]) : gid;
}

/* The attributes ST as the other side sees them. */
static inline void idmap_stat(const struct idmap *m, struct stat *st)
{
	st->st_uid = idmap_uid(m, st->st_uid);
	st->st_gid = idmap_gid(m, st->st_gid);
}

/* Whom REQ is from, as the other side knows them. Called again it is as it was. */
static inline void idmap_req(const struct idmap *m, struct bk_req *req)
{
	if (!req)
		return;
	req->uid = idmap_uid(m, req->uid);
	req->gid = idmap_gid(m, req->gid);
}

#endif
