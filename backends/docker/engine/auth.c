/*
 * Credentials for a registry from the docker client's configuration: "auths", or what a credential
 * helper prints. They go into one header and are never logged.
 */
#include "client.h"

#include "../../base/clock.h"
#include "base64.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>

#define MAX_SECRET (64 << 10)
#define HELPER_MS 10000

/* ---- Helpers ---- */

static pid_t spawn_helper(const char *name, int in, int out)
{
	char program[256];
	char *argv[] = {program, (char *)"get", NULL};
	posix_spawn_file_actions_t fds;
	pid_t pid;

	snprintf(program, sizeof(program), "docker-credential-%s", name);
	posix_spawn_file_actions_init(&fds);
	posix_spawn_file_actions_adddup2(&fds, in, 0);
	posix_spawn_file_actions_adddup2(&fds, out, 1);
	if (posix_spawnp(&pid, program, &fds, NULL, argv, environ) != 0)
		pid = -1;
	posix_spawn_file_actions_destroy(&fds);
	return pid;
}

/* All that comes until the end, within HELPER_MS. */
static bool read_all(int fd, struct buf *out)
{
	uint64_t end = clock_ms() + HELPER_MS, now;

	while ((now = clock_ms()) < end && buf_reserve(out, 4096) == 0) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (poll(&p, 1, end - now) <= 0)
			continue;
		n = read(fd, out->data + out->len, 4096);
		if (n <= 0)
			return n == 0;
		out->len += n;
		out->data[out->len] = '\0';
	}
	return false;
}

/* Run `docker-credential-NAME get` with REGISTRY as its input: what it printed, or NULL. */
static char *run_helper(const char *name, const char *registry)
{
	_cleanup_close_ int in_r = -1, in_w = -1, out_r = -1, out_w = -1;
	_cleanup_buf_ struct buf out = BUF_INIT(MAX_SECRET);
	int fds[2], status = -1;
	bool whole;
	pid_t pid;

	if (strchr(name, '/') || pipe2(fds, O_CLOEXEC) < 0)
		return NULL;
	in_r = fds[0];
	in_w = fds[1];
	if (pipe2(fds, O_CLOEXEC) < 0)
		return NULL;
	out_r = fds[0];
	out_w = fds[1];
	/* Before the child is there: it fits into the pipe, whose other end is ours still. */
	if (write(in_w, registry, strlen(registry)) < 0)
		return NULL;
	close(TAKE_FD(in_w));
	pid = spawn_helper(name, in_r, out_w);
	if (pid < 0)
		return NULL;
	close(TAKE_FD(out_w));
	whole = read_all(out_r, &out);
	if (!whole)
		kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return whole && status == 0 ? buf_take(&out) : NULL;
}

/* ---- The header ---- */

/* USER "<token>" means that SECRET is an identity token. */
static char *make(const char *user, const char *secret, const char *registry)
{
	bool token = strcmp(user, "<token>") == 0;
	cJSON *json = cJSON_CreateObject();
	char *text = NULL, *r = NULL;

	if (!token)
		cJSON_AddStringToObject(json, "username", user);
	cJSON_AddStringToObject(json, token ? "identitytoken" : "password", secret);
	if (cJSON_AddStringToObject(json, "serveraddress", registry))
		text = cJSON_PrintUnformatted(json);
	cJSON_Delete(json);
	if (text)
		r = base64_encode_url(text);
	free(text);
	return r;
}

static char *from_helper(const char *name, const char *registry)
{
	_cleanup_free_ char *said = run_helper(name, registry);
	cJSON *json = said ? cJSON_Parse(said) : NULL;
	const char *user = json_string(json, "Username"), *secret = json_string(json, "Secret");
	char *r = user && secret ? make(user, secret, registry) : NULL;

	cJSON_Delete(json);
	return r;
}

/* An entry of "auths": {"auth": base64 of USER:PASSWORD} or {"identitytoken"}. */
static char *from_entry(const cJSON *entry, const char *registry)
{
	const char *auth = json_string(entry, "auth"), *token = json_string(entry, "identitytoken");
	_cleanup_free_ char *pair = auth ? base64_decode(auth) : NULL;
	char *colon = pair ? strchr(pair, ':') : NULL;

	if (token && token[0])
		return make("<token>", token, registry);
	if (!colon)
		return NULL;
	*colon = '\0';
	return make(pair, colon + 1, registry);
}

static const cJSON *find_entry(const cJSON *auths, const char *registry)
{
	char url[512];
	const cJSON *entry = cJSON_GetObjectItemCaseSensitive(auths, registry);

	snprintf(url, sizeof(url), "https://%s", registry);
	return entry ? entry : cJSON_GetObjectItemCaseSensitive(auths, url);
}

char *registry_auth(const char *registry)
{
	char dir[PATH_MAX];
	cJSON *config = docker_config(dir);
	const char *helper =
	    json_string(cJSON_GetObjectItemCaseSensitive(config, "credHelpers"), registry);
	const cJSON *entry =
	    find_entry(cJSON_GetObjectItemCaseSensitive(config, "auths"), registry);
	char *r = NULL;

	if (!helper)
		helper = json_string(config, "credsStore");
	if (helper && helper[0])
		r = from_helper(helper, registry);
	if (!r)
		r = from_entry(entry, registry);
	cJSON_Delete(config);
	return r;
}
