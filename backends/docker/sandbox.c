/*
 * The life of a sandbox's container once it is there: started lazily by whoever first needs it,
 * and commands of our own (`aib-guest fs`) in it.
 */
#include "sandbox.h"

#include "spec.h"

#include "../base/clock.h"
#include "../base/log.h"

#include <stdarg.h>
#include <string.h>

#define FS_OUTPUT_MAX (1 << 20)

int sandbox_init(struct sandbox *sb, const struct docker_conf *conf, const struct bk_mount *mount,
		 const char *route, bool attached, struct err *err)
{
	struct engine_conf ec = conf->at; /* borrowed */
	int r;

	*sb = (struct sandbox){.conf = conf, .mount = mount, .route = route, .attached = attached};
	gate_init(&sb->gate);
	pthread_mutex_init(&sb->lock, NULL);
	atomic_init(&sb->generation, 1);
	ec.timeout_ms = conf->timeout;
	r = engine_open(&ec, &sb->engine, err);
	if (r == 0) {
		ec.timeout_ms = conf->start_timeout;
		r = engine_open(&ec, &sb->slow, err);
	}
	if (r < 0)
		sandbox_done(sb);
	return r;
}

void sandbox_done(struct sandbox *sb)
{
	engine_close(TAKE(sb->engine));
	engine_close(TAKE(sb->slow));
	for (size_t i = 0; i < sb->n_places; i++)
		free(sb->places[i].path);
	free(TAKE(sb->places));
	sb->n_places = 0;
	free(TAKE(sb->ref));
	free(TAKE(sb->user));
	free(TAKE(sb->data_dir));
	pthread_mutex_destroy(&sb->lock);
	gate_done(&sb->gate);
}

int sandbox_fail(struct sandbox *sb, int code, const char *fmt, ...)
{
	struct err e;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(e.text, sizeof(e.text), fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&sb->lock);
	sb->error = e;
	pthread_mutex_unlock(&sb->lock);
	log_info("route %s: %s", sb->route, e.text);
	return code;
}

void sandbox_works(struct sandbox *sb)
{
	pthread_mutex_lock(&sb->lock);
	sb->error.text[0] = '\0';
	pthread_mutex_unlock(&sb->lock);
}

const char *sandbox_name(const struct sandbox *sb)
{
	return sb->attached ? sb->conf->container : sb->ref;
}

/* ---- State ---- */

static enum sandbox_state state_of(const cJSON *inspect)
{
	static const struct {
		const char *name;
		enum sandbox_state state;
	} states[] = {
	    {"created", SANDBOX_CREATED},     {"running", SANDBOX_RUNNING},
	    {"paused", SANDBOX_PAUSED},	      {"exited", SANDBOX_STOPPED},
	    {"stopped", SANDBOX_STOPPED},     {"configured", SANDBOX_CREATED},
	    {"initialized", SANDBOX_CREATED},
	};
	const cJSON *s = cJSON_GetObjectItemCaseSensitive(inspect, "State");

	s = cJSON_GetObjectItemCaseSensitive(s, "Status");
	for (size_t i = 0; cJSON_IsString(s) && i < ARRAY_SIZE(states); i++)
		if (strcmp(s->valuestring, states[i].name) == 0)
			return states[i].state;
	return SANDBOX_STOPPED;
}

static void set_state(struct sandbox *sb, enum sandbox_state state)
{
	pthread_mutex_lock(&sb->lock);
	if (state != sb->state) {
		sb->changes++;
		if (state == SANDBOX_RUNNING && sb->state != SANDBOX_PAUSED)
			sb->started = time(NULL);
		if (state != SANDBOX_RUNNING && state != SANDBOX_PAUSED)
			sb->learned = false;
		if (state == SANDBOX_NONE)
			sb->guest_checked = false;
	}
	sb->state = state;
	pthread_mutex_unlock(&sb->lock);
}

static enum sandbox_state get_state(struct sandbox *sb)
{
	enum sandbox_state s;

	pthread_mutex_lock(&sb->lock);
	s = sb->state;
	pthread_mutex_unlock(&sb->lock);
	return s;
}

/* Another first process is another start, whoever made it. */
static void set_init_locked(struct sandbox *sb, pid_t init)
{
	if (init && init != sb->init) {
		sb->starts++;
		sb->changes++;
		sb->learned = false;
		atomic_fetch_add(&sb->generation, 1);
	}
	if (init)
		sb->init = init;
}

void sandbox_look(struct sandbox *sb, struct sandbox_look *ret)
{
	pthread_mutex_lock(&sb->lock);
	*ret = (struct sandbox_look){sb->state, sb->changes, sb->starts};
	pthread_mutex_unlock(&sb->lock);
}

static void keep(char *to, size_t size, const char *text)
{
	if (!*to && strlen(text) < size)
		strcpy(to, text);
}

/* What an engine gives commands, and a guest has to be told. It never changes. */
static void learn_config_locked(struct sandbox *sb, const cJSON *inspect)
{
	const cJSON *v, *config = cJSON_GetObjectItemCaseSensitive(inspect, "Config");
	const cJSON *dir = cJSON_GetObjectItemCaseSensitive(config, "WorkingDir");

	if (cJSON_IsString(dir))
		keep(sb->workdir, sizeof(sb->workdir), dir->valuestring);
	cJSON_ArrayForEach (v, cJSON_GetObjectItemCaseSensitive(config, "Env")) {
		if (cJSON_IsString(v) && strncmp(v->valuestring, "HOME=", 5) == 0)
			keep(sb->home, sizeof(sb->home), v->valuestring);
	}
}

/* The gate is ours. */
int sandbox_refresh(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	cJSON *inspect = NULL;
	const cJSON *id, *pid;
	int r;

	r = engine_container_inspect(req, sb->engine, sb->ref, &inspect, err);
	if (r == -ENOENT) {
		set_state(sb, SANDBOX_NONE);
		return 0;
	}
	if (r < 0)
		return r;
	set_state(sb, state_of(inspect));
	atomic_store(&sb->alive_ms, clock_ms());
	id = cJSON_GetObjectItemCaseSensitive(inspect, "Id");
	pid = cJSON_GetObjectItemCaseSensitive(inspect, "State");
	pid = cJSON_GetObjectItemCaseSensitive(pid, "Pid");
	pthread_mutex_lock(&sb->lock);
	if (cJSON_IsString(id))
		snprintf(sb->id, sizeof(sb->id), "%.64s", id->valuestring);
	learn_config_locked(sb, inspect);
	set_init_locked(sb, cJSON_IsNumber(pid) && pid->valueint > 0 ? pid->valueint : 0);
	pthread_mutex_unlock(&sb->lock);
	r = reach_inspect(sb, inspect);
	cJSON_Delete(inspect);
	return r;
}

static int gone(struct sandbox *sb)
{
	return sandbox_fail(sb, -EIO, "container %s is gone; %s", sandbox_name(sb),
			    sb->attached ? "it is attached, so aib does not make it anew"
					 : "start makes a new one: echo start > ctl");
}

int sandbox_check_alive(struct bk_req *req, struct sandbox *sb, const char *missing)
{
	struct engine_stat st = {0};
	int r;

	if (strcmp(missing, "/") == 0 || get_state(sb) == SANDBOX_NONE)
		return gone(sb);
	if (clock_ms() - atomic_load(&sb->alive_ms) < 1000)
		return 0;
	r = engine_archive_stat(req, sb->engine, sb->ref, "/", &st, NULL);
	free(st.link);
	if (r == 0)
		atomic_store(&sb->alive_ms, clock_ms());
	if (r != -ENOENT)
		return r;
	return gone(sb);
}

/* ---- Start ---- */

static int guest_exec(struct bk_req *req, struct sandbox *sb, const char *const *args,
		      struct buf *out, struct buf *errors, struct err *err)
{
	const char *argv[10] = {GUEST_PATH, "fs"};
	struct engine_exec x = {.argv = argv, .user = "0:0", .workdir = "/"};
	size_t n = 2;

	while (*args && n < ARRAY_SIZE(argv) - 1)
		argv[n++] = *args++;
	return engine_exec_run(req, sb->engine, sb->ref, &x, NULL, 0, out, errors, err);
}

/* The gate is ours, the container runs: what its processes have mounted. */
static int learn(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	_cleanup_buf_ struct buf out = BUF_INIT(FS_OUTPUT_MAX), errors = BUF_INIT(4096);
	int r;

	r = guest_exec(req, sb, (const char *[]){"mounts", NULL}, &out, &errors, err);
	if (r < 0)
		return r;
	if (r > 0)
		return err_set(err, -EIO,
			       "container %s: " GUEST_PATH " does not run (status %d) %s",
			       sandbox_name(sb), r, errors.data ? errors.data : "");
	r = reach_mounts(sb, out.data ? out.data : "");
	if (r < 0)
		return r;
	pthread_mutex_lock(&sb->lock);
	sb->learned = true;
	pthread_mutex_unlock(&sb->lock);
	return 0;
}

/* The gate is ours. */
static int start_ours(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	int r;

	if (get_state(sb) == SANDBOX_PAUSED)
		return err_set(err, -EOPNOTSUPP, "container %s is paused; echo unpause > ctl",
			       sb->ref);
	if (get_state(sb) == SANDBOX_NONE || atomic_load(&sb->unfinished)) {
		r = sandbox_create(req, sb, err);
		if (r < 0)
			return r;
	}
	r = furnish_guest(req, sb, err);
	if (r < 0)
		return r;
	set_state(sb, SANDBOX_STARTING);
	bk_req_extend(req, sb->conf->start_timeout);
	r = engine_container_action(req, sb->slow, sb->ref, "start", 0, err);
	bk_req_extend(req, sb->conf->timeout);
	atomic_fetch_add(&sb->generation, 1);
	if (r < 0) {
		set_state(sb, SANDBOX_STOPPED);
		sandbox_forget_ready(sb); /* the guest, with which it starts, may not be there */
		return err_prefix(err, r, "starting container %s", sb->ref);
	}
	log_info("route %s: container %s started", sb->route, sb->ref);
	return sandbox_refresh(req, sb, err);
}

static int check_attached(struct sandbox *sb, struct err *err)
{
	enum sandbox_state s = get_state(sb);

	if (s == SANDBOX_RUNNING)
		return 0;
	return err_set(err, -EOPNOTSUPP,
		       "container %s %s; it is attached, so aib does not start it",
		       sandbox_name(sb),
		       s == SANDBOX_PAUSED ? "is paused"
		       : s == SANDBOX_NONE ? "is gone"
					   : "is stopped");
}

static bool is_ready(struct sandbox *sb)
{
	bool ready;

	pthread_mutex_lock(&sb->lock);
	ready = sb->state == SANDBOX_RUNNING && sb->learned;
	pthread_mutex_unlock(&sb->lock);
	return ready;
}

/* The gate is ours. */
static int make_ready(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	int r = 0;

	if (is_ready(sb)) /* another was faster */
		return 0;
	r = sandbox_refresh(req, sb, err);
	if (r == 0 && sb->attached)
		r = check_attached(sb, err);
	else if (r == 0 && get_state(sb) != SANDBOX_RUNNING)
		r = start_ours(req, sb, err);
	if (r == 0)
		r = furnish_guest(req, sb, err);
	if (r == 0)
		r = learn(req, sb, err);
	return r;
}

int sandbox_running(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	struct err own;
	int r;

	if (!err)
		err = &own;
	err->text[0] = '\0';
	if (is_ready(sb))
		return 0;
	if (sb->foreign)
		return sandbox_fail(
		    sb,
		    err_set(err, -EOPNOTSUPP,
			    "engine %s is a machine of another architecture: nothing "
			    "of aib can run in its containers",
			    engine_host(sb->engine)),
		    "%s", err->text);
	bk_req_extend(req, sb->conf->start_timeout);
	r = gate_enter(req, &sb->gate);
	bk_req_extend(req, sb->conf->timeout);
	if (r < 0)
		return err_set(err, r, "container %s: waiting for its start: %s", sandbox_name(sb),
			       strerror(-r));
	r = make_ready(req, sb, err);
	gate_leave(&sb->gate);
	if (r < 0 && r != -EINTR)
		return sandbox_fail(sb, r, "%s", err->text);
	if (r == 0)
		sandbox_works(sb);
	return r;
}

const char *sandbox_state_name(enum sandbox_state state)
{
	static const char *const names[] = {
	    [SANDBOX_NONE] = "none",	     [SANDBOX_CREATED] = "created",
	    [SANDBOX_STARTING] = "starting", [SANDBOX_RUNNING] = "running",
	    [SANDBOX_PAUSED] = "paused",     [SANDBOX_STOPPED] = "stopped",
	};

	return names[state];
}

static int not_running(struct sandbox *sb, struct err *err)
{
	enum sandbox_state s = get_state(sb);

	if (s == SANDBOX_RUNNING)
		return 0;
	return err_set(err, -ENOTCONN, "container %s is %s, not running", sandbox_name(sb),
		       s == SANDBOX_NONE ? "gone" : sandbox_state_name(s));
}

int sandbox_see_running(struct bk_req *req, struct sandbox *sb, struct err *err)
{
	int r;

	if (sb->foreign)
		return err_set(err, -EOPNOTSUPP, "engine %s is a machine of another architecture",
			       engine_host(sb->engine));
	if (get_state(sb) == SANDBOX_STARTING)
		return not_running(sb, err);
	r = gate_enter(req, &sb->gate);
	if (r < 0)
		return err_set(err, r, "container %s: %s", sandbox_name(sb), strerror(-r));
	r = sandbox_refresh(req, sb, err);
	gate_leave(&sb->gate);
	return r < 0 ? r : not_running(sb, err);
}

/* ---- Our own commands ---- */

void sandbox_forget_ready(struct sandbox *sb)
{
	pthread_mutex_lock(&sb->lock);
	sb->learned = false;
	sb->guest_checked = false;
	pthread_mutex_unlock(&sb->lock);
}

bool sandbox_is_lost(int r)
{
	return r == -ENOTCONN || r == -EBUSY || r == -ENOENT;
}

/* The same of one that was waited for: the guest did not run either. */
static bool is_lost(int r)
{
	return sandbox_is_lost(r) || r == 126 || r == 127;
}

int sandbox_exec(struct bk_req *req, struct sandbox *sb, const struct engine_exec *x,
		 struct bk_stream **ret, char **ret_id, struct err *err)
{
	_cleanup_free_ char *id = NULL;
	int r = sandbox_running(req, sb, err);

	if (r < 0)
		return r;
	r = engine_exec_start(req, sb->engine, sb->ref, x, ret, &id, err);
	if (sandbox_is_lost(r)) {
		sandbox_forget_ready(sb);
		r = sandbox_running(req, sb, err);
		if (r < 0)
			return r;
		free(TAKE(id));
		r = engine_exec_start(req, sb->engine, sb->ref, x, ret, &id, err);
	}
	if (r == 0 && ret_id)
		*ret_id = TAKE(id);
	return r;
}

int sandbox_fs_output(struct bk_req *req, struct sandbox *sb, const char *const *args,
		      struct buf *out, struct err *err)
{
	_cleanup_buf_ struct buf errors = BUF_INIT(4096);
	int r;

	for (int tries = 0;; tries++) {
		r = sandbox_running(req, sb, err);
		if (r < 0)
			return r;
		bk_req_extend(req, sb->conf->timeout);
		r = guest_exec(req, sb, args, out, &errors, err);
		if (!is_lost(r) || tries > 0)
			break;
		sandbox_forget_ready(sb);
	}
	if (r == 0)
		return 0;
	if (r == -ENOTCONN || r == -EBUSY || r == -ENOENT) /* of the engine, not of a file */
		r = -EIO;
	if (r > 125)
		r = err_set(err, -EIO, "container %s: " GUEST_PATH " cannot be run (status %d)",
			    sandbox_name(sb), r);
	else if (r == 125)
		r = err_set(err, -EIO, "container %s: fs %s: %s", sandbox_name(sb), args[0],
			    errors.data ? errors.data : "failed");
	else if (r > 0)
		r = err_set(err, -r, "fs %s: %s", args[0], errors.data ? errors.data : strerror(r));
	return r;
}

int sandbox_fs(struct bk_req *req, struct sandbox *sb, const char *const *args)
{
	_cleanup_buf_ struct buf out = BUF_INIT(4096);
	struct err err = {""};
	int r = sandbox_fs_output(req, sb, args, &out, &err);

	if (r == -EOPNOTSUPP || r == -EIO || r == -EROFS)
		sandbox_fail(sb, r, "%s", err.text);
	return r;
}

void sandbox_leave(struct bk_req *req, struct sandbox *sb)
{
	static const char *const args[] = {"unlink", GUEST_PATH, NULL};
	_cleanup_buf_ struct buf out = BUF_INIT(4096), errors = BUF_INIT(4096);
	struct err err = {""};
	bool put;
	int r;

	pthread_mutex_lock(&sb->lock);
	put = sb->guest_put;
	pthread_mutex_unlock(&sb->lock);
	if (!put)
		return;
	r = guest_exec(req, sb, args, &out, &errors, &err);
	if (r != 0)
		log_warning("route %s: " GUEST_PATH " stays in container %s: %s", sb->route,
			    sandbox_name(sb), r < 0 ? err.text : strerror(r));
}
