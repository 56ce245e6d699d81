/*
 * Jobs on disk, DIR/ID/ for each: `state` as JSON, written whole or not at all, and `stdin`,
 * `stdout` and `stderr`. DIR is the daemon's alone, and made with the first job. What is written is
 * there for the next daemon as soon as write(2) has returned; it is not forced to the disk, so a
 * machine that crashes may lose the newest of it.
 */
#include "job.h"

#include "../../backends/base/io.h"
#include "../../backends/base/json.h"
#include "../../backends/base/log.h"
#include "conn.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define MAX_STATE (8 << 20)

static const char *const outputs[2] = {"stdout", "stderr"};
static const char *const value_keys[JOB_N_VALUES] = {"cmd", "cwd", "env", "timeout"};

/* ---- The directory ---- */

/* PATH with its parents, each 0700. */
static int make_dirs(const char *path)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= n; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

static int open_dir(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || st.st_uid != geteuid() || st.st_mode & 022) {
		close(fd);
		return -EPERM;
	}
	return fd;
}

/* The directory of all, made where it is not there. */
static int jobs_dir(struct jobs *t, struct err *err)
{
	int fd, r = 0;

	pthread_mutex_lock(&t->lock);
	fd = t->dirfd;
	if (fd < 0) {
		r = make_dirs(t->conf.dir);
		fd = r < 0 ? r : open_dir(t->conf.dir);
		t->dirfd = fd < 0 ? -1 : fd;
	}
	pthread_mutex_unlock(&t->lock);
	if (fd < 0)
		return err_set(err, fd, "jobs' directory %s: %s (-o job_dir=DIR)", t->conf.dir,
			       strerror(-fd));
	return fd;
}

int job_open(const struct job *j, const char *name, int flags)
{
	char path[JOB_ID_SIZE + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", j->id, name);
	fd = openat(j->jobs->dirfd, path, flags | O_NOFOLLOW | O_CLOEXEC, 0600);
	return fd < 0 ? -errno : fd;
}

int job_store_new(struct job *j, struct err *err)
{
	int fd = jobs_dir(j->jobs, err), r;

	if (fd < 0)
		return fd;
	r = mkdirat(fd, j->id, 0700) < 0 ? -errno : job_save(j);
	return r < 0 ? err_set(err, r, "job %s: %s/%s: %s", j->name, j->jobs->conf.dir, j->id,
			       strerror(-r))
		     : 0;
}

static void store_remove(struct job *j)
{
	static const char *const names[] = {"state", "new", "stdin", "stdout", "stderr"};
	char path[JOB_ID_SIZE + 16];

	if (j->jobs->dirfd < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", j->id, names[i]);
		(void)unlinkat(j->jobs->dirfd, path, 0);
	}
	if (unlinkat(j->jobs->dirfd, j->id, AT_REMOVEDIR) < 0 && errno != ENOENT)
		log_warning("job %s: %s/%s stays: %m", j->name, j->jobs->conf.dir, j->id);
}

void job_store_hold(struct job *j)
{
	atomic_fetch_add(&j->store_refs, 1);
}

void job_store_drop(struct job *j)
{
	if (atomic_fetch_sub(&j->store_refs, 1) == 1)
		store_remove(j);
}

void jobs_store_done(struct jobs *t)
{
	if (t->dirfd < 0)
		return;
	close(TAKE_FD(t->dirfd));
	(void)rmdir(t->conf.dir); /* where nothing is left */
}

ssize_t job_read(const struct job *j, int output, uint64_t pos, void *data, size_t size)
{
	int fd = job_open(j, outputs[output], O_RDONLY);
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	n = pread(fd, data, size, pos);
	n = n < 0 ? -errno : n;
	close(fd);
	return n;
}

/* ---- The state ---- */

/* One whose guest still waits is found by a next daemon as one that runs: it looks for the guest,
 * and has the end already where that is gone (job_gone). */
static cJSON *state_locked(const struct job *j)
{
	cJSON *o = job_json_locked(j);

	if (j->owed)
		cJSON_ReplaceItemInObjectCaseSensitive(
		    o, "state", cJSON_CreateString(job_state_name(JOB_RUNNING)));
	cJSON_AddBoolToObject(o, "removed", j->removed);
	cJSON_AddBoolToObject(o, "lasts", j->lasts);
	cJSON_AddNumberToObject(o, "how", j->exit.how);
	cJSON_AddNumberToObject(o, "value", j->exit.value);
	for (size_t i = 0; i < JOB_N_VALUES; i++) {
		cJSON_DeleteItemFromObjectCaseSensitive(o, value_keys[i]);
		if (j->values[i])
			cJSON_AddStringToObject(o, value_keys[i], j->values[i]);
	}
	if (j->request.json)
		cJSON_AddItemReferenceToObject(o, "request", j->request.json);
	return o;
}

static int write_state(const struct job *j, const char *text)
{
	char from[JOB_ID_SIZE + 16], to[JOB_ID_SIZE + 16];
	int fd = job_open(j, "new", O_WRONLY | O_CREAT | O_TRUNC), r;

	if (fd < 0)
		return fd;
	r = io_write_all(fd, text, strlen(text));
	close(fd);
	snprintf(from, sizeof(from), "%s/new", j->id);
	snprintf(to, sizeof(to), "%s/state", j->id);
	if (r == 0 && renameat(j->jobs->dirfd, from, j->jobs->dirfd, to) < 0)
		r = -errno;
	return r;
}

int job_save(struct job *j)
{
	struct jobs *t = j->jobs;
	_cleanup_free_ char *text = NULL;
	cJSON *o;
	int r;

	pthread_mutex_lock(&t->save_lock);
	pthread_mutex_lock(&t->lock);
	o = state_locked(j);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	pthread_mutex_unlock(&t->lock);
	r = text ? write_state(j, text) : -ENOMEM;
	pthread_mutex_unlock(&t->save_lock);
	if (r < 0)
		log_error("job %s: its state cannot be written: %s", j->name, strerror(-r));
	return r;
}

/* ---- Loading ---- */

static double number(const cJSON *o, const char *key)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, key);

	return cJSON_IsNumber(v) ? v->valuedouble : 0;
}

static enum job_state state_of(const char *name)
{
	int s = JOB_NEW;

	while (s < JOB_LOST && strcmp(job_state_name(s), name) != 0)
		s++;
	return s;
}

/* The request as it was; its sandbox may be another one's now, or nobody's. */
static void load_request(struct job *j, const cJSON *o)
{
	cJSON *request = cJSON_DetachItemFromObjectCaseSensitive((cJSON *)o, "request");
	struct err err = {""};

	if (!request)
		return;
	if (request_parse(&j->jobs->server->world, job_uid(j->jobs, j->uid), request, &j->request,
			  &err) < 0)
		log_info("job %s: %s", j->name, err.text);
	job_request_finish(j);
}

/* What is in the files counts: the state is not written with each byte. */
static void load_sizes(struct job *j, const cJSON *o)
{
	for (int i = 0; i < 2; i++) {
		struct stat st;
		int fd = job_open(j, outputs[i], O_RDONLY);

		j->total[i] = number(o, outputs[i]);
		if (fd >= 0 && fstat(fd, &st) == 0)
			j->stored[i] = st.st_size;
		if (j->total[i] < j->stored[i])
			j->total[i] = j->stored[i];
		closep(&fd);
	}
}

static void fill(struct job *j, const cJSON *o)
{
	snprintf(j->name, sizeof(j->name), "%s", json_text(o, "name"));
	snprintf(j->sandbox, sizeof(j->sandbox), "%s", json_text(o, "sandbox"));
	err_set(&j->error, 0, "%s", json_text(o, "error"));
	j->uid = number(o, "uid");
	j->state = state_of(json_text(o, "state"));
	j->removed = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "removed"));
	j->lasts = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "lasts"));
	j->started_ms = number(o, "started_ms");
	j->ended_ms = number(o, "ended_ms");
	j->exit =
	    (struct proto_exit){number(o, "how"), number(o, "value"),
				cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "timed_out"))};
	for (size_t i = 0; i < JOB_N_VALUES; i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(o, value_keys[i]);

		if (cJSON_IsString(v))
			j->values[i] = strdup(v->valuestring);
	}
	load_sizes(j, o);
	if (job_is_live(j->state))
		load_request(j, o);
}

static int read_state(const struct job *j, cJSON **ret)
{
	_cleanup_close_ int fd = job_open(j, "state", O_RDONLY);
	_cleanup_buf_ struct buf b = BUF_INIT(MAX_STATE);
	ssize_t n = 1;

	if (fd < 0)
		return fd;
	while (n > 0) {
		char data[16384];

		n = read(fd, data, sizeof(data));
		if (n < 0 || (n > 0 && buf_add(&b, data, n) < 0))
			return -EIO;
	}
	*ret = cJSON_ParseWithLength(b.data ? b.data : "", b.len);
	return cJSON_IsObject(*ret) ? 0 : -EBADMSG;
}

static void load_one(struct jobs *t, const char *id, void (*found)(struct jobs *t, struct job *j))
{
	struct job *j = job_alloc(t, 0);
	cJSON *o = NULL;
	int r;

	if (!j)
		return;
	strcpy(j->id, id);
	r = read_state(j, &o);
	if (r == 0) {
		fill(j, o);
		found(t, j);
	} else {
		/* The daemon was killed, or the machine, before it was written: nothing was
		 * started. */
		bool unwritten = r == -ENOENT || r == -EBADMSG;

		log_warning("job %s: its state: %s: it %s", id, strerror(-r),
			    unwritten ? "is removed" : "is left alone");
		if (unwritten)
			job_store_drop(j);
		job_unref(j);
	}
	cJSON_Delete(o);
}

int job_load_all(struct jobs *t, void (*found)(struct jobs *t, struct job *j))
{
	struct dirent *e;
	int fd = open_dir(t->conf.dir);
	DIR *d;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	t->dirfd = fd;
	d = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	while (d && (e = readdir(d)))
		if (strspn(e->d_name, "0123456789abcdef") == JOB_ID_SIZE - 1 &&
		    strlen(e->d_name) == JOB_ID_SIZE - 1)
			load_one(t, e->d_name, found);
	if (d)
		closedir(d);
	return d ? 0 : -errno;
}
