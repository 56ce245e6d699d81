#include "leftover.h"

#include "store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

/* Of a root that is there: whether NAME is a session, and SESSION_ID it. */
static const char *look(struct store *s, const char *name, const char *session_id, bool runs)
{
	_cleanup_close_ int alone = -1, daemons = -1;
	cJSON *json = NULL;
	const char *id;
	bool same;
	int r = store_read(s, name, &json);

	id = r == 0 ? cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id")) : NULL;
	same = id && strcmp(id, session_id) == 0;
	cJSON_Delete(json);
	if (r < 0 && r != -ENOENT)
		return NULL;
	alone = store_hold(NULL, s, name, true);
	if (alone == -EBUSY)
		return NULL;
	if (!same)
		return "remove";
	daemons = openat(s->fd, ".daemons", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	return runs && daemons >= 0 && flock(daemons, LOCK_EX | LOCK_NB) == 0 ? "stop" : NULL;
}

const char *leftover_session(const char *path, const char *root_id, const char *name,
			     const char *session_id, bool runs)
{
	_cleanup_close_ int fd = *path == '/' ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	_cleanup_close_ int id_fd = -1;
	struct store s = {.fd = fd, .daemons_fd = -1};
	char id[STORE_ID_SIZE] = "";

	if (!name_is_plain(name))
		return NULL;
	if (fd < 0)
		return *path == '/' && errno == ENOENT ? "remove" : NULL;
	id_fd = openat(fd, ".root", O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (id_fd < 0 && errno != ENOENT)
		return NULL;
	if (id_fd >= 0 && read(id_fd, id, sizeof(id) - 1) < 0)
		return NULL;
	return strcmp(id, root_id) == 0 ? look(&s, name, session_id, runs) : "remove";
}
