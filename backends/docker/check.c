/*
 * What a route names and an engine takes without looking: a network, which it would miss at the
 * first start, and names of a user and a group, which it would miss at the first command. A mount
 * is to fail of them, so they are looked up before; and so is what numbers they are.
 */
#include "sandbox.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX (1 << 20) /* of passwd and group, bytes */

int check_network(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	static const char *const modes[] = {"none", "host", "bridge", "default"};
	const char *name = sb->conf->network;
	cJSON *found = NULL;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
		if (strcmp(name, modes[i]) == 0)
			return 0;
	if (strchr(name, ':')) /* a mode with arguments, of which the engine knows */
		return 0;
	r = engine_network_inspect(req, sb->engine, name, &found, err);
	cJSON_Delete(found);
	if (r != -ENOENT)
		return r;
	return err_set(err, r,
		       "network=%s: engine %s has no such network; make it (docker network create "
		       "%s) or give another",
		       name, engine_host(sb->engine), name);
}

/* ---- Users ---- */

static int read_all(struct bk_req *req, struct engine_tar *tar, struct buf *out)
{
	char block[4096];
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = engine_tar_read(req, tar, block, sizeof(block))) != 0)
		r = n < 0 ? n : buf_add(out, block, n);
	return r;
}

/* The text of PATH in the container, through links; -ENOENT where it is no file. */
static int fetch(struct bk_req *req, struct sandbox *sb, const char *path, struct buf *out,
		 struct err *err)
{
	_cleanup_(engine_tar_closep) struct engine_tar *tar = NULL;
	_cleanup_free_ char *target = NULL;
	struct engine_stat st = {0};
	struct engine_tar_entry e;
	int r = engine_archive_stat(req, sb->engine, sb->ref, path, &st, err);

	if (r < 0)
		return r;
	target = TAKE(st.link);
	r = engine_archive_get(req, sb->engine, sb->ref, target ? target : path, &tar, err);
	if (r == 0)
		r = engine_tar_next(req, tar, &e);
	if (r <= 0)
		return r < 0 ? r : -EIO;
	return S_ISREG(e.st.st_mode) ? read_all(req, tar, out) : -ENOENT;
}

/* The entry of TEXT, lines of fields, whose first is NAME or whose third is the number ID; its
 * fields 2 and 3 as numbers. */
static bool find_entry(const char *text, const char *name, long id, unsigned *ret_2,
		       unsigned *ret_3)
{
	size_t n = name ? strlen(name) : 0;

	for (; text; text = strchr(text, '\n'), text = text ? text + 1 : NULL) {
		const char *second = strchr(text, ':');
		unsigned f2, f3 = 0;

		if (!second || !(second = strchr(second + 1, ':')))
			continue;
		if (sscanf(second, ":%u:%u", &f2, &f3) < 1)
			continue;
		if (name ? strncmp(text, name, n) == 0 && text[n] == ':' : f2 == id) {
			*ret_2 = f2;
			*ret_3 = f3;
			return true;
		}
	}
	return false;
}

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

static int no_entry(struct sandbox *sb, const char *file, const char *what, const char *name,
		    struct err *err)
{
	return err_set(err, -ENOENT,
		       "user=%s: %s has no %s \"%s\" in %s; give one that it has, or numbers "
		       "(user=1000:1000)",
		       sb->conf->user, sb->attached ? sb->conf->container : sb->conf->image, what,
		       name, file);
}

/* Look NAME, or the number that it is, up in FILE. -ENOENT (with text) for a name that is not
 * there.
 */
static int look_up(struct bk_req *req, struct sandbox *sb, const char *file, const char *what,
		   const char *name, unsigned *ret_id, unsigned *ret_gid, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	bool number = is_number(name);
	int r = fetch(req, sb, file, &text, err);

	if (r < 0 && r != -ENOENT)
		return err_prefix(err, r, "user=%s: reading %s", name, file);
	if (r == 0 && text.data &&
	    find_entry(text.data, number ? NULL : name, number ? atol(name) : -1, ret_id, ret_gid))
		return 0;
	if (!number)
		return no_entry(sb, file, what, name, err);
	*ret_id = strtoul(name, NULL, 10);
	*ret_gid = 0;
	return 0;
}

/* Root's group is 0; of another number the file knows one, which matters where none was given. */
static bool is_in_passwd(const char *user, const char *group)
{
	if (!*user || strcmp(user, "0") == 0)
		return false;
	return !is_number(user) || !group;
}

static int resolve(struct bk_req *req, struct sandbox *sb, const char *user, const char *group,
		   struct err *err)
{
	unsigned uid = 0, gid = 0, unused;
	int r = 0;

	if (is_in_passwd(user, group))
		r = look_up(req, sb, "/etc/passwd", "user", user, &uid, &gid, err);
	else
		uid = strtoul(user, NULL, 10);
	if (r == 0 && group && is_number(group))
		gid = strtoul(group, NULL, 10);
	else if (r == 0 && group)
		r = look_up(req, sb, "/etc/group", "group", group, &gid, &unused, err);
	sb->uid = uid;
	sb->gid = gid;
	return r;
}

int find_user(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	_cleanup_free_ char *user = strdup(sb->user);
	struct err ignored;
	char *group;
	int r;

	if (!user)
		return -ENOMEM;
	group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	/* What an image says of itself is the engine's to judge, when something is run. */
	r = resolve(req, sb, user, group, sb->conf->user ? err : &ignored);
	return sb->conf->user || r == -EINTR || r == -ETIMEDOUT ? r : 0;
}
