/*
 * Where the engine is: what the caller says, DOCKER_HOST, the docker client's current context, or
 * the first of the usual sockets. Reads the environment and small files; asks nobody.
 */
#include "client.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#define MAX_CONFIG (1 << 20)

static const char default_socket[] = "/var/run/docker.sock";

void place_done(struct place *p)
{
	free(p->host);
	free(p->cert);
}

char *read_text(const char *path, size_t max)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_buf_ struct buf b = BUF_INIT(max);
	size_t n;

	if (!f)
		return NULL;
	do {
		if (buf_reserve(&b, 4096) < 0)
			return NULL;
		n = fread(b.data + b.len, 1, 4096, f);
		b.len += n;
		b.data[b.len] = '\0';
	} while (n > 0);
	return ferror(f) ? NULL : buf_take(&b);
}

static cJSON *read_json(const char *path)
{
	_cleanup_free_ char *text = read_text(path, MAX_CONFIG);

	return text ? cJSON_Parse(text) : NULL;
}

static const char *env(const char *name)
{
	const char *s = getenv(name);

	return s && *s ? s : NULL;
}

cJSON *docker_config(char *dir)
{
	const char *own = env("DOCKER_CONFIG"), *home = env("HOME");
	char path[PATH_MAX + 16];

	if (own)
		snprintf(dir, PATH_MAX, "%s", own);
	else
		snprintf(dir, PATH_MAX, "%s/.docker", home ? home : "");
	snprintf(path, sizeof(path), "%s/config.json", dir);
	return read_json(path);
}

static int set(char **to, const char *value)
{
	*to = strdup(value);
	return *to ? 0 : -ENOMEM;
}

/* ---- Contexts ---- */

/* Fill P from one context's meta.json where its name is NAME: 1, else 0. */
static int try_context(const char *dir, const char *entry, const char *name, struct place *p)
{
	char path[2 * PATH_MAX];
	const cJSON *ends, *docker;
	const char *host, *is;
	cJSON *meta;
	int r = 0;

	snprintf(path, sizeof(path), "%s/contexts/meta/%s/meta.json", dir, entry);
	meta = read_json(path);
	is = json_string(meta, "Name");
	ends = cJSON_GetObjectItemCaseSensitive(meta, "Endpoints");
	docker = cJSON_GetObjectItemCaseSensitive(ends, "docker");
	host = json_string(docker, "Host");
	if (is && host && strcmp(is, name) == 0) {
		p->insecure = json_bool(docker, "SkipTLSVerify");
		snprintf(path, sizeof(path), "%s/contexts/tls/%s/docker", dir, entry);
		p->tls = access(path, F_OK) == 0;
		r = set(&p->host, host);
		if (r == 0 && p->tls)
			r = set(&p->cert, path);
		if (r == 0)
			r = 1;
	}
	cJSON_Delete(meta);
	return r;
}

/* Folders of contexts have hashes for names: the one that says NAME is it. */
static int find_context(const char *dir, const char *name, struct place *p, struct err *err)
{
	char path[PATH_MAX + 32];
	struct dirent *d;
	int r = 0;
	DIR *all;

	snprintf(path, sizeof(path), "%s/contexts/meta", dir);
	all = opendir(path);
	while (all && r == 0 && (d = readdir(all)))
		if (d->d_name[0] != '.')
			r = try_context(dir, d->d_name, name, p);
	if (all)
		closedir(all);
	if (r == 0)
		return err_set(err, -ENOENT, "docker context %s: not found in %s", name, path);
	return r < 0 ? r : 0;
}

/* Returns 0 with or without a place. */
static int place_of_context(struct place *p, struct err *err)
{
	char dir[PATH_MAX];
	cJSON *config = docker_config(dir);
	const char *name = env("DOCKER_CONTEXT");
	int r = 0;

	if (!name)
		name = json_string(config, "currentContext");
	if (name && name[0] && strcmp(name, "default") != 0)
		r = find_context(dir, name, p, err);
	cJSON_Delete(config);
	return r;
}

/* ---- Places ---- */

static int place_of_env(struct place *p, const char *host)
{
	const char *certs = env("DOCKER_CERT_PATH"), *home = env("HOME");
	char path[PATH_MAX];
	int r = set(&p->host, host);

	p->tls = env("DOCKER_TLS_VERIFY") != NULL;
	if (r < 0 || !p->tls)
		return r;
	snprintf(path, sizeof(path), "%s/.docker", home ? home : "");
	return set(&p->cert, certs ? certs : path);
}

static int place_of_socket(struct place *p)
{
	static const struct {
		const char *variable, *path;
	} usual[] = {
	    {NULL, default_socket},
	    {"XDG_RUNTIME_DIR", "/docker.sock"},
	    {"HOME", "/.docker/run/docker.sock"},
	    {NULL, "/run/podman/podman.sock"},
	    {"XDG_RUNTIME_DIR", "/podman/podman.sock"},
	};
	char path[PATH_MAX], host[PATH_MAX + 8];

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++) {
		const char *base = usual[i].variable ? env(usual[i].variable) : "";

		if (!base)
			continue;
		snprintf(path, sizeof(path), "%s%s", base, usual[i].path);
		if (access(path, F_OK) != 0)
			continue;
		snprintf(host, sizeof(host), "unix://%s", path);
		return set(&p->host, host);
	}
	snprintf(host, sizeof(host), "unix://%s", default_socket);
	return set(&p->host, host);
}

int place_find(const struct engine_conf *conf, struct place *ret, struct err *err)
{
	int r;

	if (conf && conf->host) {
		ret->tls = conf->tls || conf->cert;
		r = set(&ret->host, conf->host);
		if (r == 0 && conf->cert)
			r = set(&ret->cert, conf->cert);
		return r;
	}
	if (env("DOCKER_HOST"))
		return place_of_env(ret, env("DOCKER_HOST"));
	r = place_of_context(ret, err);
	if (r < 0 || ret->host)
		return r;
	return place_of_socket(ret);
}
