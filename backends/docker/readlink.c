/*
 * Links as the mount shows them. A target that stays inside is shown as it is stored. Any other is
 * resolved as the container would, by the Engine itself (a HEAD tells where a link leads in the
 * container's root), and shown as an absolute path below the mount.
 */
#include "docker.h"

#include "../base/link.h"

#include <string.h>

static size_t depth_of(const char *path)
{
	size_t n = 0;

	for (path++; (path = strchr(path, '/')); path++)
		n++;
	return n;
}

/* Whether the names before the last ".." of TARGET, seen from the directory of PATH, are all real
 * directories. */
static int walks_inside(struct bk_req *req, struct docker *d, const char *path, const char *target)
{
	char at[PATH_MAX];
	size_t n = strlen(target), pos = 0, last = 0, end, len;
	const char *name;

	while ((len = link_next(target, n, &pos, &name)) > 0)
		if (len == 2 && memcmp(name, "..", 2) == 0)
			last = pos;
	snprintf(at, sizeof(at), "%.*s", (int)(strrchr(path, '/') - path), path);
	for (pos = 0; pos < last && (len = link_next(target, n, &pos, &name)) > 0;) {
		struct engine_stat st = {0};
		int r;

		end = strlen(at);
		if (len == 2 && memcmp(name, "..", 2) == 0) {
			if (end == 0)
				return 0;
			*strrchr(at, '/') = '\0';
			continue;
		}
		if (end + 1 + len >= sizeof(at))
			return -ENAMETOOLONG;
		at[end] = '/';
		memcpy(at + end + 1, name, len);
		at[end + 1 + len] = '\0';
		r = head_path(req, d, at, &st, NULL);
		free(st.link);
		if (r < 0)
			return r == -ENOENT ? 0 : r;
		if (!S_ISDIR(st.mode))
			return 0;
	}
	return 1;
}

static int is_shown_as_stored(struct bk_req *req, struct docker *d, const char *path,
			      const char *target)
{
	switch (link_classify(target, strlen(target), depth_of(path))) {
	case LINK_INSIDE:
		return 1;
	case LINK_NEEDS_WALK:
		return walks_inside(req, d, path, target);
	case LINK_OUTSIDE:
		break;
	}
	return 0;
}

static int resolved(struct bk_req *req, struct docker *d, const char *path, char *buf)
{
	const char *route = strcmp(d->bk.route, "/") ? d->bk.route : "";
	struct engine_stat st = {0};
	struct err err = {""};
	int r = head_path(req, d, path, &st, &err), n;

	if (r == 0 && (!st.link || !path_is_plain(st.link)))
		r = sandbox_fail(&d->sb, -EIO, "%s: the engine does not tell where the link leads",
				 path);
	if (r == 0) {
		const char *below = strcmp(st.link, "/") ? st.link : "";
		char out[3 * PATH_MAX];

		n = snprintf(out, sizeof(out), "%s%s%s", d->mount->mountpoint, route, below);
		r = n >= PATH_MAX ? -ENAMETOOLONG : n;
		if (r > 0)
			memcpy(buf, out, n);
	}
	free(st.link);
	return r;
}

int docker_readlink(struct bk_req *req, struct bk_node *node, char *buf)
{
	struct docker *d = docker_of(node);
	struct owner o = {.generation = 0};
	char path[PATH_MAX];
	struct stat st;
	size_t n;
	int r = node_path(d, dnode_of(node), path);

	if (r < 0)
		return r;
	if (dnode_of(node)->type != S_IFLNK)
		return -EINVAL;
	r = stat_path(req, d, path, dnode_of(node), &st, &o);
	if (r < 0)
		return r;
	if (!o.link)
		return -ESTALE;
	n = strlen(o.link);
	r = 1;
	if (strcmp(d->conf.symlinks, "verbatim") != 0)
		r = is_shown_as_stored(req, d, path, o.link);
	if (r > 0 && n < PATH_MAX)
		memcpy(buf, o.link, r = n);
	else if (r == 0)
		r = resolved(req, d, path, buf);
	else if (r > 0)
		r = -ENAMETOOLONG;
	owner_done(&o);
	return r;
}
