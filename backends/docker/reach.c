/*
 * What the archive API sees of a container. It works on the container's layers with its volumes
 * mounted, not on what the container's own processes see: below a tmpfs it reads the layer beneath,
 * and what is put there is lost in silence. So such places are known and refused, with a reason.
 */
#include "sandbox.h"

#include "../base/log.h"

#include <string.h>

#define PLACES_MAX 4096

static const char mounted_inside[] = "mounted inside the container";

/* Caller holds the lock. The same place again replaces the old. */
static int add_locked(struct sandbox *sb, const char *path, enum reach reach, const char *what)
{
	struct place *p;

	for (size_t i = 0; i < sb->n_places; i++)
		if (strcmp(sb->places[i].path, path) == 0) {
			sb->places[i].reach = reach;
			sb->places[i].what = what;
			return 0;
		}
	if (sb->n_places == PLACES_MAX)
		return -E2BIG;
	p = realloc(sb->places, (sb->n_places + 1) * sizeof(*p));
	if (!p)
		return -ENOMEM;
	sb->places = p;
	p[sb->n_places] = (struct place){strdup(path), reach, what};
	if (!p[sb->n_places].path)
		return -ENOMEM;
	sb->n_places++;
	return 0;
}

/* The place that decides over PATH: the longest above it. Caller holds the lock. */
static const struct place *deciding_locked(struct sandbox *sb, const char *path)
{
	const struct place *best = NULL;
	size_t longest = 0;

	for (size_t i = 0; i < sb->n_places; i++) {
		size_t n = strlen(sb->places[i].path);

		if (n > longest && path_below(path, sb->places[i].path)) {
			best = &sb->places[i];
			longest = n;
		}
	}
	return best;
}

static int add_mount_locked(struct sandbox *sb, const cJSON *m)
{
	const cJSON *at = cJSON_GetObjectItemCaseSensitive(m, "Destination");
	const cJSON *type = cJSON_GetObjectItemCaseSensitive(m, "Type");
	const cJSON *rw = cJSON_GetObjectItemCaseSensitive(m, "RW");

	if (!cJSON_IsString(at) || !path_is_plain(at->valuestring))
		return 0;
	if (cJSON_IsString(type) && strcmp(type->valuestring, "tmpfs") == 0)
		return add_locked(sb, at->valuestring, REACH_HIDDEN, "a tmpfs");
	return add_locked(sb, at->valuestring, cJSON_IsFalse(rw) ? REACH_READ : REACH_ALL,
			  "a read-only volume");
}

int reach_inspect(struct sandbox *sb, const cJSON *inspect)
{
	static const char *const kernel[] = {"/proc", "/sys", "/dev"};
	static const char *const engines[] = {"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"};
	const cJSON *host = cJSON_GetObjectItemCaseSensitive(inspect, "HostConfig"), *i;
	bool readonly = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(host, "ReadonlyRootfs"));
	int r;

	pthread_mutex_lock(&sb->lock);
	r = add_locked(sb, "/", readonly ? REACH_READ : REACH_ALL, "a read-only root");
	for (size_t k = 0; k < ARRAY_SIZE(kernel) && r == 0; k++)
		r = add_locked(sb, kernel[k], REACH_HIDDEN, "made by the kernel");
	for (size_t k = 0; k < ARRAY_SIZE(engines) && r == 0; k++)
		r = add_locked(sb, engines[k], REACH_ALL, "the engine's");
	cJSON_ArrayForEach (i, cJSON_GetObjectItemCaseSensitive(host, "Tmpfs")) {
		if (r == 0 && path_is_plain(i->string))
			r = add_locked(sb, i->string, REACH_HIDDEN, "a tmpfs");
	}
	cJSON_ArrayForEach (i, cJSON_GetObjectItemCaseSensitive(inspect, "Mounts")) {
		if (r == 0)
			r = add_mount_locked(sb, i);
	}
	pthread_mutex_unlock(&sb->lock);
	return r;
}

/* In place: \040 and its like, as /proc/mounts writes blanks. */
static void unescape(char *s)
{
	char *out = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0');
			s += 4;
		} else {
			*out++ = *s++;
		}
	}
	*out = '\0';
}

/* Of an earlier start. */
static void forget_mounted_locked(struct sandbox *sb)
{
	size_t n = 0;

	for (size_t i = 0; i < sb->n_places; i++)
		if (sb->places[i].what == mounted_inside)
			free(sb->places[i].path);
		else
			sb->places[n++] = sb->places[i];
	sb->n_places = n;
}

int reach_mounts(struct sandbox *sb, const char *text)
{
	_cleanup_free_ char *copy = strdup(text);
	char *save = NULL;
	int r = 0;

	if (!copy)
		return -ENOMEM;
	pthread_mutex_lock(&sb->lock);
	forget_mounted_locked(sb);
	for (char *line = strtok_r(copy, "\n", &save); line && r == 0;
	     line = strtok_r(NULL, "\n", &save)) {
		char *inner = NULL, *path;
		bool known = false;

		if (!strtok_r(line, " ", &inner) || !(path = strtok_r(NULL, " ", &inner)))
			continue;
		unescape(path);
		if (!path_is_plain(path))
			continue;
		/* What the engine told of, it mounts for the archive API too. */
		for (size_t i = 0; i < sb->n_places; i++)
			known |= strcmp(sb->places[i].path, path) == 0;
		if (!known)
			r = add_locked(sb, path, REACH_HIDDEN, mounted_inside);
	}
	pthread_mutex_unlock(&sb->lock);
	return r;
}

static void reach_of(struct sandbox *sb, const char *path, enum reach *ret, const char **ret_what,
		     bool *ret_itself)
{
	const struct place *p;

	pthread_mutex_lock(&sb->lock);
	p = deciding_locked(sb, path);
	*ret = p ? p->reach : REACH_ALL;
	*ret_what = p ? p->what : "";
	*ret_itself = p && strcmp(p->path, path) == 0;
	pthread_mutex_unlock(&sb->lock);
}

int sandbox_reach(struct sandbox *sb, const char *path, bool change)
{
	enum reach reach;
	const char *what;
	bool itself;

	reach_of(sb, path, &reach, &what, &itself);
	if (reach == REACH_HIDDEN && (change || !itself))
		return sandbox_fail(sb, -EOPNOTSUPP,
				    "%s: it is %s, where the archive transport sees only what lies "
				    "beneath; use aib-exec there",
				    path, what);
	if (reach == REACH_READ && change)
		return sandbox_fail(sb, -EROFS, "%s: it is on %s", path, what);
	return 0;
}

bool sandbox_hidden(struct sandbox *sb, const char *path)
{
	enum reach reach;
	const char *what;
	bool itself;

	reach_of(sb, path, &reach, &what, &itself);
	return reach == REACH_HIDDEN;
}

int sandbox_before_change(struct bk_req *req, struct sandbox *sb)
{
	bool needed;
	struct err err;

	pthread_mutex_lock(&sb->lock);
	needed = sb->state == SANDBOX_RUNNING && !sb->learned && !sb->foreign;
	pthread_mutex_unlock(&sb->lock);
	if (!needed)
		return 0;
	return sandbox_running(req, sb, &err);
}
