/*
 * Links as the mount shows them. A target that stays inside is shown as it is stored, but for its
 * "name/..": the name may be a link by the time that the kernel goes that way, or at once where the
 * guest says one thing to us and another to the kernel. Any other is shown as an absolute path
 * below the mount without "..". Only ".." has to be resolved for that, as the container's kernel
 * would: what it is taken of must be a directory, or the target of a link. The rest stays as it is,
 * for the kernel walks it through the mount, whose links are shown so too.
 */
#include "live.h"

#include "../base/link.h"

#include <string.h>

#define LINKS_MAX 40 /* the kernel's */

/* On the way from a link's directory along its target. */
struct walk {
	struct channel *channel; /* whose guest is asked; NULL: the engine */
	char at[PATH_MAX];	 /* where it has come; "" is the root */
	char rest[PATH_MAX];
	size_t pos; /* of what is left in `rest` */
	unsigned links;
	bool outside; /* it was above the root or in a link: not to be shown as it is stored */
};

static size_t depth_of(const char *path)
{
	size_t n = 0;

	for (path++; (path = strchr(path, '/')); path++)
		n++;
	return n;
}

/* How many directories there are to climb from the link at PATH before the route is left: of a
 * workspace its own, for it may be a route's root. */
static size_t room_of(const struct docker *d, const char *path)
{
	const char *dir = d->conf.workspace ? d->conf.workdir : "/";

	if (strcmp(dir, "/") == 0 || !path_below(path, dir) || !path[strlen(dir)])
		return depth_of(path);
	return depth_of(path + strlen(dir));
}

static bool is_up(const char *name, size_t n)
{
	return n == 2 && memcmp(name, "..", 2) == 0;
}

static int push(struct walk *w, const char *name, size_t n)
{
	size_t len = strlen(w->at);

	if (len + 1 + n >= sizeof(w->at))
		return -ENAMETOOLONG;
	w->at[len] = '/';
	memcpy(w->at + len + 1, name, n);
	w->at[len + 1 + n] = '\0';
	return 0;
}

static void pop(struct walk *w)
{
	char *slash = strrchr(w->at, '/');

	if (slash)
		*slash = '\0';
	else
		w->outside = true;
}

static size_t next(struct walk *w, const char **ret)
{
	return link_next(w->rest, strlen(w->rest), &w->pos, ret);
}

static bool goes_up(const struct walk *w)
{
	size_t pos = w->pos, n, len = strlen(w->rest);
	const char *name;

	while ((n = link_next(w->rest, len, &pos, &name)) > 0)
		if (is_up(name, n))
			return true;
	return false;
}

/* What is left, but for "..". */
static int push_rest(struct walk *w)
{
	const char *name;
	size_t n;
	int r = 0;

	while (r == 0 && (n = next(w, &name)) > 0)
		if (!is_up(name, n))
			r = push(w, name, n);
	return r;
}

static int go_to(struct walk *w, const char *target)
{
	char rest[PATH_MAX];
	int n = snprintf(rest, sizeof(rest), "%s/%s", target, w->rest + w->pos);

	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	if (*target == '/')
		w->at[0] = '\0';
	memcpy(w->rest, rest, n + 1);
	w->pos = 0;
	return 0;
}

/* The type of what is at the place where W has come, and the target of a link (the caller's). */
static int look(struct bk_req *req, struct docker *d, const struct walk *w, mode_t *ret_type,
		char **ret_link)
{
	const char *path = w->at;
	struct owner o = {.generation = 0};
	struct engine_stat head = {0};
	struct stat st;
	int r;

	if (w->channel)
		return live_look(req, d, w->channel, path, ret_type, ret_link);
	r = head_path(req, d, path, &head, NULL);
	free(head.link);
	if (r == 0 && !S_ISLNK(head.mode)) {
		*ret_type = head.mode & S_IFMT;
		return 0;
	}
	/* A link is followed by the Engine, or was in vain. */
	if (r == 0 || r == -EIO)
		r = stat_path(req, d, path, NULL, &st, &o);
	if (r < 0)
		return r;
	*ret_type = st.st_mode & S_IFMT;
	*ret_link = o.link;
	return 0;
}

/* Into the last name of `at`. 1: nothing goes on from there. */
static int enter(struct bk_req *req, struct docker *d, struct walk *w)
{
	_cleanup_free_ char *link = NULL;
	mode_t type;
	int r = look(req, d, w, &type, &link);

	if (r < 0 && r != -ENOENT && r != -ENOTDIR)
		return r;
	if (r == 0 && S_ISDIR(type))
		return 0;
	w->outside = true;
	if (r < 0)
		return 1;
	if (!S_ISLNK(type)) { /* "file/.." is nowhere, as "file/." is */
		r = push(w, ".", 1);
		return r < 0 ? r : 1;
	}
	if (++w->links > LINKS_MAX)
		return -ELOOP;
	pop(w);
	return link ? go_to(w, link) : -ESTALE;
}

static int walk(struct bk_req *req, struct docker *d, struct walk *w)
{
	const char *name;
	size_t n;
	int r = 0;

	while (r == 0 && goes_up(w)) {
		n = next(w, &name);
		if (is_up(name, n)) {
			pop(w);
			continue;
		}
		r = push(w, name, n);
		if (r == 0)
			r = enter(req, d, w);
	}
	return r < 0 ? r : push_rest(w);
}

/* An absolute path below the mount. */
static int show(struct docker *d, const char *path, char *buf)
{
	const char *route = strcmp(d->bk.route, "/") ? d->bk.route : "";
	char out[3 * PATH_MAX];
	int n = snprintf(out, sizeof(out), "%s%s%s", d->mount->mountpoint, route, path);

	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(buf, out, n);
	return n;
}

static int contained(struct bk_req *req, struct docker *d, struct channel *c, const char *path,
		     const char *target, char *buf)
{
	size_t n = strlen(target);
	enum link_class class = link_classify(target, n, room_of(d, path));
	struct walk w = {.channel = c, .outside = class == LINK_OUTSIDE};
	int r = 0;

	if (class != LINK_INSIDE) {
		snprintf(w.at, sizeof(w.at), "%.*s", (int)(strrchr(path, '/') - path), path);
		r = go_to(&w, target);
	}
	if (r == 0 && class != LINK_INSIDE)
		r = walk(req, d, &w);
	if (r == -ELOOP) /* as it is there: the link leads to itself */
		return show(d, path, buf);
	if (r < 0)
		return r;
	if (w.outside)
		return show(d, w.at, buf);
	memcpy(buf, target, n);
	return class == LINK_INSIDE ? n : link_straighten(buf, n);
}

int link_show(struct bk_req *req, struct docker *d, struct channel *c, const char *path,
	      const char *target, char *buf)
{
	size_t n = strlen(target);

	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	if (strcmp(d->conf.symlinks, "verbatim") != 0)
		return contained(req, d, c, path, target, buf);
	memcpy(buf, target, n);
	return n;
}

int docker_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	struct docker *d = docker_of(node);
	struct owner o = {.generation = 0};
	char path[PATH_MAX];
	struct stat st;
	int r = node_path(d, dnode_of(node), path);

	if (r < 0)
		return r;
	if (dnode_of(node)->type != S_IFLNK)
		return -EINVAL;
	r = stat_path(req, d, path, dnode_of(node), &st, &o);
	if (r < 0)
		return r;
	r = o.link ? link_show(req, d, NULL, path, o.link, buf) : -ESTALE;
	owner_done(&o);
	return r;
}
