/*
 * What a sandbox tells and is told: control verbs, status lines, the newest error, and where host
 * directories are seen in it.
 */
#include "processes.h"
#include "sandbox.h"

#include "../base/clock.h"

#include <limits.h>
#include <string.h>

/* What the engine says it has done is looked at: an engine, or what is before it, may be wrong. */
static int check_done(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	static const struct {
		const char *verb;
		enum sandbox_state wrong;
	} undone[] = {
	    {"stop", SANDBOX_RUNNING},
	    {"pause", SANDBOX_RUNNING},
	    {"unpause", SANDBOX_PAUSED},
	};
	struct sandbox_look look;
	int r;

	bk_req_extend(req, sb->conf->timeout);
	r = sandbox_refresh(req, sb, err);
	if (r < 0)
		return err_prefix(err, r, "container %s: after %s", sandbox_name(sb), verb);
	sandbox_look(sb, &look);
	for (size_t i = 0; i < ARRAY_SIZE(undone); i++)
		if (strcmp(undone[i].verb, verb) == 0 && look.state == undone[i].wrong)
			return err_set(
			    err, -EIO,
			    "container %s: engine %s says that it has done %s, but it is %s",
			    sandbox_name(sb), engine_host(sb->engine), verb,
			    sandbox_state_name(look.state));
	return 0;
}

static int act(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	struct err ignored;
	int r = gate_enter(req, &sb->gate);

	if (r < 0)
		return r;
	r = engine_container_action(req, sb->engine, sb->ref, verb, 1, err);
	atomic_fetch_add(&sb->generation, 1);
	if (r == 0)
		r = check_done(req, sb, verb, err);
	else
		sandbox_refresh(req, sb, &ignored);
	gate_leave(&sb->gate);
	return r;
}

/* What was known may be old: who asks for a start may have seen it die. */
static int start(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	int r;

	bk_req_extend(req, sb->conf->start_timeout); /* another may be starting it */
	r = gate_enter(req, &sb->gate);
	bk_req_extend(req, sb->conf->timeout);
	if (r < 0)
		return err_set(err, r, "container %s: %s", sandbox_name(sb), strerror(-r));
	r = sandbox_refresh(req, sb, err);
	gate_leave(&sb->gate);
	return r < 0 ? r : sandbox_running(req, sb, err);
}

static int stop_and_start(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	int r = act(req, sb, "stop", err);

	return r < 0 && r != -ENOENT ? r : start(req, sb, verb, err);
}

static int reset(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	int r = gate_enter(req, &sb->gate);

	if (r < 0)
		return r;
	r = sandbox_renew(req, sb, err);
	gate_leave(&sb->gate);
	return r;
}

static int create(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	struct sandbox_look look;
	int r = gate_enter(req, &sb->gate);

	if (r < 0)
		return r;
	r = sandbox_refresh(req, sb, err);
	sandbox_look(sb, &look);
	if (r == 0 && look.state == SANDBOX_NONE)
		r = sandbox_create(req, sb, err);
	gate_leave(&sb->gate);
	return r;
}

int sandbox_ctl(struct bk_req *req, struct sandbox *sb, const char *verb, struct err *err)
{
	static const struct {
		const char *verb;
		int (*run)(struct bk_req *, struct sandbox *, const char *, struct err *);
	} verbs[] = {
	    {"start", start}, {"stop", act},	{"restart", stop_and_start}, {"pause", act},
	    {"unpause", act}, {"reset", reset}, {"create", create},
	};

	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++) {
		int r;

		if (strcmp(verb, verbs[i].verb) != 0)
			continue;
		if (sb->attached)
			r = err_set(err, -EOPNOTSUPP,
				    "%s: container %s is attached, not this mount's: %s", verb,
				    sandbox_name(sb), "use the engine's own commands");
		else
			r = verbs[i].run(req, sb, verb, err);
		if (r < 0)
			return sandbox_fail(sb, r, "%s", err->text);
		sandbox_works(sb);
		return 0;
	}
	return err_set(err, -EINVAL,
		       "\"%s\": expected start, stop, restart, pause, unpause or reset", verb);
}

void sandbox_set_opening(struct sandbox *sb, bool opening)
{
	pthread_mutex_lock(&sb->lock);
	sb->opening = opening;
	pthread_mutex_unlock(&sb->lock);
}

static const char *shown_state_locked(const struct sandbox *sb)
{
	bool opening = sb->opening && sb->state == SANDBOX_RUNNING;

	return sandbox_state_name(opening ? SANDBOX_STARTING : sb->state);
}

int sandbox_status(struct sandbox *sb, struct buf *out)
{
	char started[32] = "-", id[sizeof(sb->id)];
	struct tm tm;
	pid_t init;
	int r;

	pthread_mutex_lock(&sb->lock);
	if (sb->started && (sb->state == SANDBOX_RUNNING || sb->state == SANDBOX_PAUSED) &&
	    gmtime_r(&sb->started, &tm))
		strftime(started, sizeof(started), "%Y-%m-%dT%H:%M:%SZ", &tm);
	r = buf_addf(out,
		     "id %.12s\ncontainer %s\nimage %s\nstate %s\nengine %s\n"
		     "attached %s\nstarted %s\nerror %s\n",
		     *sb->id ? sb->id : "-",
		     sb->conf->container ? sb->conf->container
		     : sb->ref		 ? sb->ref
					 : "-",
		     *sb->image ? sb->image : "-", shown_state_locked(sb), engine_host(sb->engine),
		     sb->attached ? "yes" : "no", started, *sb->error.text ? sb->error.text : "-");
	init = sb->state == SANDBOX_RUNNING ? sb->init : 0;
	memcpy(id, sb->id, sizeof(id));
	pthread_mutex_unlock(&sb->lock);
	if (r == 0 && init)
		r = processes_list(init, id, out);
	return r;
}

static int add_limit(struct buf *out, const char *key, uint64_t value)
{
	return value ? buf_addf(out, "%s %llu\n", key, (unsigned long long)value)
		     : buf_addf(out, "%s -\n", key);
}

int sandbox_limits(struct sandbox *sb, struct buf *out)
{
	const struct docker_conf *c = sb->conf;
	int r;

	/* An attached container's are its maker's. */
	if (sb->attached)
		return buf_adds(out, "memory -\ncpus -\npids -\ndisk -\n");
	r = add_limit(out, "memory", c->memory);
	if (r == 0)
		r = buf_addf(out, "cpus %g\n", sb->cpus);
	if (r == 0)
		r = add_limit(out, "pids", c->pids);
	return r < 0 ? r : add_limit(out, "disk", c->disk);
}

int sandbox_error(struct sandbox *sb, struct buf *out)
{
	int r;

	pthread_mutex_lock(&sb->lock);
	r = *sb->error.text ? buf_addf(out, "%s\n", sb->error.text) : 0;
	pthread_mutex_unlock(&sb->lock);
	return r;
}

int sandbox_bound_at(struct sandbox *sb, const char *host_dir, char **ret)
{
	const struct docker_conf *c = sb->conf;
	const char *place = NULL, *rest = "";
	size_t longest = 0;

	for (size_t i = 0; i < c->n_volumes; i++) {
		const char *const names[] = {c->volumes[i].given, c->volumes[i].host};

		for (size_t k = 0; k < ARRAY_SIZE(names); k++) {
			size_t n = strlen(names[k]);

			if (n <= longest || !path_below(host_dir, names[k]))
				continue;
			longest = n;
			place = c->volumes[i].place;
			rest = n == 1 ? host_dir : host_dir + n;
		}
	}
	if (!place)
		return -ENOENT;
	if (asprintf(ret, "%s%s", place, strcmp(rest, "/") ? rest : "") < 0)
		return -ENOMEM;
	return 0;
}
