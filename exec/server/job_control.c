/*
 * `.aib/jobs/`: a job is a directory, its values are files that are written before it starts, its
 * outputs grow, `ctl` takes one command at a write, and a read of `wait` ends when it does.
 */
#include "job.h"

#include "../../backends/base/io.h"
#include "conn.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* A file's object: the job and which of its values or outputs. */
struct job_file {
	struct job *job; /* a reference */
	int which;
};

static struct job *job_of(void *object)
{
	return ((struct job_file *)object)->job;
}

static void file_free(void *object)
{
	struct job_file *f = object;

	job_unref(f->job);
	free(f);
}

/* Keep the text of a refusal for `error`; returns R. */
static int refuse(struct job *j, int r, const struct err *err)
{
	pthread_mutex_lock(&j->jobs->lock);
	err_set(&j->error, 0, "%s", *err->text ? err->text : strerror(-r));
	pthread_mutex_unlock(&j->jobs->lock);
	return r;
}

static int refuse_text(struct job *j, int r, const char *text)
{
	struct err err;

	err_set(&err, r, "%s", text);
	return refuse(j, r, &err);
}

/* ---- Values ---- */

static int value_show(void *object, struct buf *out)
{
	const struct job_file *f = object;
	struct job *j = f->job;
	int r = 0;

	pthread_mutex_lock(&j->jobs->lock);
	if (j->values[f->which])
		r = buf_addf(out, "%s\n", j->values[f->which]);
	pthread_mutex_unlock(&j->jobs->lock);
	return r;
}

static int value_store(void *object, const struct bk_req *req, const char *text, size_t len)
{
	const struct job_file *f = object;
	struct job *j = f->job;
	struct err err = {""};
	char *value;
	int r;

	if (memchr(text, '\0', len))
		return refuse_text(j, -EINVAL, "a value has no NUL");
	while (len > 0 && text[len - 1] == '\n')
		len--;
	value = strndup(text, len);
	if (!value)
		return -ENOMEM;
	r = job_check_value(f->which, value, &err);
	pthread_mutex_lock(&j->jobs->lock);
	if (r == 0 && j->state != JOB_NEW)
		r = err_set(&err, -EBUSY, "the job was started already");
	if (r == 0) {
		char *old = j->values[f->which];

		j->values[f->which] = TAKE(value);
		free(old);
	}
	pthread_mutex_unlock(&j->jobs->lock);
	free(value);
	return r < 0 ? refuse(j, r, &err) : job_save(j);
}

/* ---- stdin ---- */

static int stdin_show(void *object, struct buf *out)
{
	int fd = job_open(job_of(object), "stdin", O_RDONLY), r = 0;
	char data[16384];
	ssize_t n;

	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	while (r == 0 && (n = read(fd, data, sizeof(data))) > 0)
		r = buf_add(out, data, n);
	close(fd);
	return r;
}

static int stdin_store(void *object, const struct bk_req *req, const char *text, size_t len)
{
	struct job *j = job_of(object);
	bool is_new;
	int fd, r;

	pthread_mutex_lock(&j->jobs->lock);
	is_new = j->state == JOB_NEW;
	pthread_mutex_unlock(&j->jobs->lock);
	if (!is_new)
		return refuse_text(j, -EBUSY, "the job was started already");
	fd = job_open(j, "stdin", O_WRONLY | O_CREAT | O_TRUNC);
	if (fd < 0)
		return fd;
	r = io_write_all(fd, text, len);
	close(fd);
	return r;
}

/* ---- ctl ---- */

static int ctl_start(struct job *j, struct err *err)
{
	int r = job_prepare(j, NULL, err);

	return r < 0 ? r : job_start(j);
}

static int signal_number(const char *text, uint8_t *ret)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text && !*end) {
		*ret = n;
		return n >= 1 && n < NSIG ? 0 : -EINVAL;
	}
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int sig = 1; sig < NSIG; sig++)
		if (sigabbrev_np(sig) && strcasecmp(sigabbrev_np(sig), text) == 0) {
			*ret = sig;
			return 0;
		}
	return -EINVAL;
}

static int ctl_kill(struct job *j, const char *which, struct err *err)
{
	uint8_t sig = 0;
	bool live;

	if (*which && signal_number(which, &sig) < 0)
		return err_set(err, -EINVAL, "kill: no signal \"%s\"", which);
	pthread_mutex_lock(&j->jobs->lock);
	live = job_is_live(j->state);
	pthread_mutex_unlock(&j->jobs->lock);
	if (!live)
		return err_set(err, -ESRCH, "the job does not run");
	return job_signal(j, sig);
}

static int ctl_command(void *object, const struct bk_req *req, const char *text)
{
	struct job *j = job_of(object);
	struct err err = {""};
	int r;

	if (strcmp(text, "start") == 0)
		r = ctl_start(j, &err);
	else if (strncmp(text, "kill", 4) == 0 && (text[4] == '\0' || text[4] == ' '))
		r = ctl_kill(j, text + 4 + strspn(text + 4, " "), &err);
	else
		r = err_set(&err, -EINVAL, "ctl takes \"start\" and \"kill [SIGNAL]\"");
	return r < 0 ? refuse(j, r, &err) : 0;
}

/* ---- What is read ---- */

static int status_show(void *object, struct buf *out)
{
	struct job *j = job_of(object);
	int r;

	pthread_mutex_lock(&j->jobs->lock);
	r = job_status_locked(j, out);
	pthread_mutex_unlock(&j->jobs->lock);
	return r;
}

static int error_show(void *object, struct buf *out)
{
	struct job *j = job_of(object);
	int r = 0;

	pthread_mutex_lock(&j->jobs->lock);
	if (*j->error.text)
		r = buf_addf(out, "%s\n", j->error.text);
	pthread_mutex_unlock(&j->jobs->lock);
	return r;
}

static uint64_t output_size(void *object)
{
	const struct job_file *f = object;
	uint64_t size;

	pthread_mutex_lock(&f->job->jobs->lock);
	size = f->job->stored[f->which];
	pthread_mutex_unlock(&f->job->jobs->lock);
	return size;
}

static ssize_t output_read(void *object, uint64_t pos, void *data, size_t size)
{
	const struct job_file *f = object;

	return job_read(f->job, f->which, pos, data, size);
}

static int wait_answer(struct control_reply *reply, int r, struct buf *text)
{
	control_reply_done(reply, r, text);
	buf_done(text);
	return 0;
}

static int wait_transact(void *object, uid_t uid, const char *request, size_t len,
			 struct control_reply *reply)
{
	struct job *j = job_of(object);
	struct job_reply *w = calloc(1, sizeof(*w));
	struct buf text = BUF_INIT(256);
	int r = 0;

	if (!w)
		return -ENOMEM;
	w->reply = reply;
	pthread_mutex_lock(&j->jobs->lock);
	if (job_is_over(j->state)) {
		r = job_result_locked(j, &text);
	} else if (j->removed) {
		r = -ENOENT;
	} else {
		w->next = j->replies;
		j->replies = TAKE(w);
	}
	pthread_mutex_unlock(&j->jobs->lock);
	if (!w)
		return 0;
	free(w);
	return wait_answer(reply, r, &text);
}

static void wait_cancel(void *object, struct control_reply *reply)
{
	struct job *j = job_of(object);
	struct job_reply *w, **at;
	struct buf nothing = BUF_INIT(0);

	pthread_mutex_lock(&j->jobs->lock);
	for (at = &j->replies; (w = *at) && w->reply != reply; at = &w->next)
		;
	if (w)
		*at = w->next;
	pthread_mutex_unlock(&j->jobs->lock);
	if (!w)
		return; /* it is being answered */
	free(w);
	wait_answer(reply, -EINTR, &nothing);
}

void job_control_answer(struct job *j)
{
	struct job_reply *list = NULL, *next;
	int result;

	pthread_mutex_lock(&j->jobs->lock);
	/* What is removed while it runs is killed first, and that is how it ended. */
	if (!job_is_live(j->state) && (job_is_over(j->state) || j->removed))
		list = TAKE(j->replies);
	result = job_is_over(j->state) ? 0 : -ENOENT;
	pthread_mutex_unlock(&j->jobs->lock);
	for (; list; list = next) {
		struct buf text = BUF_INIT(256);
		int r = result;

		next = list->next;
		pthread_mutex_lock(&j->jobs->lock);
		if (r == 0)
			r = job_result_locked(j, &text);
		pthread_mutex_unlock(&j->jobs->lock);
		wait_answer(list->reply, r, &text);
		free(list);
	}
}

/* ---- The directories ---- */

static const struct control_file_ops value_file = {
    .show = value_show, .store = value_store, .object_free = file_free};
static const struct control_file_ops stdin_file = {
    .show = stdin_show, .store = stdin_store, .object_free = file_free};
static const struct control_file_ops ctl_file = {.command = ctl_command, .object_free = file_free};
static const struct control_file_ops error_file = {.show = error_show, .object_free = file_free};
static const struct control_file_ops status_file = {.show = status_show, .object_free = file_free};
static void output_opened(void *object)
{
	job_store_hold(job_of(object));
}

static void output_closed(void *object)
{
	job_store_drop(job_of(object));
}

static const struct control_file_ops output_file = {.opened = output_opened,
						    .closed = output_closed,
						    .live_size = output_size,
						    .live_read = output_read,
						    .object_free = file_free};
static const struct control_file_ops wait_file = {
    .transact = wait_transact, .cancel = wait_cancel, .object_free = file_free, .read_only = true};

static const struct {
	const char *name;
	const struct control_file_ops *ops;
	int which;
} files[] = {
    {"cmd", &value_file, JOB_CMD}, {"cwd", &value_file, JOB_CWD},
    {"env", &value_file, JOB_ENV}, {"timeout", &value_file, JOB_TIMEOUT},
    {"stdin", &stdin_file, 0},	   {"ctl", &ctl_file, 0},
    {"error", &error_file, 0},	   {"status", &status_file, 0},
    {"stdout", &output_file, 0},   {"stderr", &output_file, 1},
    {"wait", &wait_file, 0},
};

static int add_files(struct job *j, struct control_dir *dir)
{
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(files) && r == 0; i++) {
		struct job_file *f = malloc(sizeof(*f));

		if (!f)
			return -ENOMEM;
		*f = (struct job_file){job_ref(j), files[i].which};
		r = control_add_file(j->jobs->control, dir, files[i].name, files[i].ops, f);
		if (r < 0)
			file_free(f);
	}
	return r;
}

int job_control_add(struct job *j)
{
	struct jobs *t = j->jobs;
	const struct control_dir_conf conf = {.owned = true, .uid = j->uid};
	struct control_dir *dir;
	bool listed;
	int r;

	if (!t->control)
		return 0;
	r = control_add_dir(t->control, t->control_dir, j->name, &conf, &dir);
	if (r < 0)
		return r;
	r = add_files(j, dir);
	pthread_mutex_lock(&t->lock);
	listed = j->listed;
	if (r == 0 && listed)
		j->dir = dir;
	pthread_mutex_unlock(&t->lock);
	/* It may have been removed meanwhile, by its name in the table. */
	if (r < 0 || !listed)
		control_remove(t->control, dir);
	return r < 0 || listed ? r : -ENOENT;
}

static int jobs_mkdir(void *object, const struct bk_req *req, const char *name)
{
	struct err err = {""};
	struct job *j;
	int r = job_new(object, name, NULL, req->uid, &j, &err);

	if (r == 0)
		job_unref(j);
	return r;
}

static int jobs_rmdir(void *object, const struct bk_req *req, const char *name)
{
	struct job *j = job_find(object, name, req->uid);

	if (!j)
		return -ENOENT;
	job_remove(j);
	job_unref(j);
	return 0;
}

static void jobs_free(void *object)
{
	jobs_unref(object);
}

int job_control_init(struct jobs *t)
{
	static const struct control_dir_ops ops = {
	    .mkdir = jobs_mkdir, .rmdir = jobs_rmdir, .object_free = jobs_free};
	const struct control_dir_conf conf = {.ops = &ops, .object = t, .open = true};
	int r;

	if (!t->control)
		return 0;
	atomic_fetch_add(&t->refs, 1);
	r = control_add_dir(t->control, NULL, "jobs", &conf, &t->control_dir);
	if (r < 0)
		jobs_unref(t);
	return r;
}
