#include "recipe.h"

#include "package.h"

#include <openssl/evp.h>
#include <string.h>

#define MAX_DOCKERFILE (512 << 10)

/* ---- Lines ---- */

/* RUN in exec form: the builder takes it for JSON, and expands and continues nothing in it. */
static int add_run(struct buf *out, const cJSON *argv)
{
	_cleanup_free_ char *text = argv ? cJSON_PrintUnformatted(argv) : NULL;

	return text ? buf_addf(out, "RUN %s\n", text) : -ENOMEM;
}

static int add_setup(struct buf *out, const cJSON *commands)
{
	const cJSON *v;
	int r = 0;

	cJSON_ArrayForEach (v, commands) {
		const char *argv[] = {"/bin/sh", "-c", v->valuestring};
		cJSON *json = cJSON_CreateStringArray(argv, ARRAY_SIZE(argv));

		r = add_run(out, json);
		cJSON_Delete(json);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_packages(struct buf *out, const struct runtime *rt)
{
	cJSON *argv;
	int r;

	if (cJSON_GetArraySize(rt->packages) == 0)
		return 0;
	argv = package_install(rt->package_manager, rt->packages);
	r = add_run(out, argv);
	cJSON_Delete(argv);
	return r;
}

/* In double quotes, where a backslash, a quote and a dollar have a meaning and nothing else. */
static int add_quoted(struct buf *out, const char *s)
{
	int r = buf_adds(out, "\"");

	for (; r == 0 && *s; s++) {
		if (strchr("\\\"$", *s))
			r = buf_adds(out, "\\");
		if (r == 0)
			r = buf_add(out, s, 1);
	}
	return r < 0 ? r : buf_adds(out, "\"");
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(const cJSON *const *)a)->string, (*(const cJSON *const *)b)->string);
}

/* In the order of names, so that an object's order makes no other image. */
static int add_env(struct buf *out, const cJSON *env)
{
	size_t n = cJSON_GetArraySize(env), i = 0;
	_cleanup_free_ const cJSON **sorted = calloc(n + 1, sizeof(*sorted));
	const cJSON *v;
	int r = 0;

	if (!sorted)
		return -ENOMEM;
	cJSON_ArrayForEach (v, env)
		sorted[i++] = v;
	qsort(sorted, n, sizeof(*sorted), by_name);
	for (i = 0; r == 0 && i < n; i++) {
		r = buf_addf(out, "ENV %s=", sorted[i]->string);
		if (r == 0)
			r = add_quoted(out, sorted[i]->valuestring);
		if (r == 0)
			r = buf_adds(out, "\n");
	}
	return r;
}

static int add_workdir(struct buf *out, const char *dir)
{
	int r = buf_adds(out, "WORKDIR ");

	if (r == 0)
		r = add_quoted(out, dir);
	return r < 0 ? r : buf_adds(out, "\n");
}

/* ---- The whole ---- */

static int make_dockerfile(const struct runtime *rt, char **ret)
{
	_cleanup_buf_ struct buf out = BUF_INIT(MAX_DOCKERFILE);
	int r = buf_addf(&out, "FROM %s\n", runtime_base(rt));

	if (r == 0)
		r = add_setup(&out, rt->setup_commands);
	if (r == 0)
		r = add_packages(&out, rt);
	if (r == 0)
		r = add_env(&out, rt->env);
	if (r == 0)
		r = add_workdir(&out, rt->workdir);
	if (r < 0)
		return r;
	*ret = buf_take(&out);
	return *ret ? 0 : -ENOMEM;
}

int recipe_hash(const char *text, char ret[65])
{
	unsigned char digest[EVP_MAX_MD_SIZE];

	if (!EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL))
		return -EIO;
	for (size_t i = 0; i < 32; i++)
		sprintf(ret + 2 * i, "%02x", digest[i]);
	return 0;
}

void recipe_tag(const char *name, const char *hash, char ret[RECIPE_MAX_TAG])
{
	snprintf(ret, RECIPE_MAX_TAG, "aib-runtime-%s:%.12s", name, hash);
}

int recipe_make(const struct runtime *rt, struct recipe *ret)
{
	struct recipe out = {0};
	int r = make_dockerfile(rt, &out.dockerfile);

	if (r == 0)
		r = recipe_hash(out.dockerfile, out.hash);
	if (r < 0) {
		recipe_done(&out);
		return r;
	}
	recipe_tag(rt->name, out.hash, out.tag);
	*ret = out;
	return 0;
}

void recipe_done(struct recipe *r)
{
	free(TAKE(r->dockerfile));
}
