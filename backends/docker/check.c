/*
 * What a route names and an engine takes without looking: a network, which it would miss at the
 * first start, and names of a user and a group, which it would miss at the first command. A mount
 * is to fail of them, so they are looked up before.
 */
#include "sandbox.h"

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

/* Whether a line of TEXT begins with NAME and a colon. */
static bool has_entry(const char *text, const char *name)
{
	size_t n = strlen(name);

	while (text) {
		if (strncmp(text, name, n) == 0 && text[n] == ':')
			return true;
		text = strchr(text, '\n');
		text = text ? text + 1 : NULL;
	}
	return false;
}

static int check_name(struct bk_req *req, struct sandbox *sb, const char *file, const char *what,
		      const char *name, struct err *err)
{
	_cleanup_buf_ struct buf text = BUF_INIT(FILE_MAX);
	int r;

	if (name[strspn(name, "0123456789")] == '\0')
		return 0;
	r = fetch(req, sb, file, &text, err);
	if (r < 0 && r != -ENOENT)
		return err_prefix(err, r, "user=%s: reading %s", sb->conf->user, file);
	if (r == 0 && text.data && has_entry(text.data, name))
		return 0;
	return err_set(err, -ENOENT,
		       "user=%s: %s has no %s \"%s\" in %s; give one that it has, or numbers "
		       "(user=1000:1000)",
		       sb->conf->user, sb->attached ? sb->conf->container : sb->conf->image, what,
		       name, file);
}

int check_user(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	_cleanup_free_ char *user = NULL;
	char *group;
	int r;

	if (!sb->conf->user)
		return 0;
	user = strdup(sb->conf->user);
	if (!user)
		return -ENOMEM;
	group = strchr(user, ':');
	if (group)
		*group++ = '\0';
	r = check_name(req, sb, "/etc/passwd", "user", user, err);
	return r == 0 && group ? check_name(req, sb, "/etc/group", "group", group, err) : r;
}
