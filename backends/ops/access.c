/*
 * Permissions: what the kernel checks of a mount with default_permissions, here once for all
 * operations, since they do not come by the kernel. Modes decide, by owner, groups, others; root
 * may all.
 */
#include "internal.h"

#include <string.h>

static bool in_group(const struct ops_who *w, gid_t gid)
{
	if (w->gid == gid)
		return true;
	for (size_t i = 0; i < w->n_groups; i++)
		if (w->groups[i] == gid)
			return true;
	return false;
}

int ops_may(const struct ops *o, const struct stat *st, int want)
{
	const struct ops_who *w = o->who;
	mode_t mode = st->st_mode;

	if (o->root)
		return 0;
	if (w->uid == st->st_uid)
		mode >>= 6;
	else if (in_group(w, st->st_gid))
		mode >>= 3;
	return (mode & want) == (mode_t)want ? 0 : -EACCES;
}

int ops_may_enter(const struct ops *o)
{
	_cleanup_free_ char *path = strdup(o->tree->mountpoint);
	struct stat st;
	char *slash;

	if (!path)
		return -ENOMEM;
	/* As fuse_allow_current_process of the kernel: root is no exception. */
	if (!o->tree->allow_other && o->who->uid != o->tree->owner)
		return -EACCES;
	if (o->who->uid == 0)
		return 0;
	/* Every directory above the mount point; the point itself is the tree's root. */
	while ((slash = strrchr(path, '/'))) {
		*slash = '\0';
		if (stat(slash == path ? "/" : path, &st) < 0 || ops_may(o, &st, X_OK) < 0)
			return -EACCES;
	}
	return 0;
}

int ops_may_replace(const struct ops *o, const struct stat *dir, const struct stat *file)
{
	uid_t uid = o->who->uid;
	int r = ops_may(o, dir, W_OK | X_OK);

	if (r < 0 || !file)
		return r;
	if (dir->st_mode & S_ISVTX && uid != 0 && uid != dir->st_uid && uid != file->st_uid)
		return -EPERM;
	return ops_may(o, file, W_OK);
}
