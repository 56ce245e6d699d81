/*
 * Options of host routes: what is refused, with which words, and what the rest becomes.
 */
#include "host_world.h"

#include <cjson/cJSON.h>
#include <limits.h>

extern const struct bk_type host_type;

/* Make and prepare a route with OPTIONS (JSON) in a mount at MOUNTPOINT. */
static int make(const char *options, const char *mountpoint, struct bk **ret, struct err *err)
{
	const struct bk_mount mount = {.mountpoint = mountpoint};
	cJSON *o = cJSON_Parse(options);
	int r;

	CHECK(o);
	err->text[0] = '\0';
	*ret = NULL;
	r = host_type.make(&mount, "/p", o, NULL, ret, err);
	cJSON_Delete(o);
	if (r == 0) {
		r = (*ret)->ops->prepare(NULL, *ret, NULL, NULL, err);
		if (r < 0)
			bk_free(TAKE(*ret));
	}
	return r;
}

static void refused(const char *options, const char *mountpoint, int error, const char *words)
{
	struct bk *bk;
	struct err err;

	CHECK_EQ(make(options, mountpoint, &bk, &err), error);
	if (!strstr(err.text, words)) {
		fprintf(stderr, "\"%s\" does not say \"%s\"\n", err.text, words);
		abort();
	}
}

static void bad_options_are_refused_by_name(void)
{
	refused("{}", "/m", -EINVAL, "path");
	refused("{\"path\": \"relative\"}", "/m", -EINVAL, "absolute");
	refused("{\"path\": \"/tmp\", \"colour\": 1}", "/m", -EINVAL, "colour");
	refused("{\"path\": \"/tmp\", \"symlinks\": \"maybe\"}", "/m", -EINVAL, "contain|verbatim");
	refused("{\"path\": \"/tmp\", \"blocking\": \"x\"}", "/m", -EINVAL, "blocking");
	refused("{\"path\": \"/tmp\", \"attr_timeout\": \"100d\"}", "/m", -EINVAL, "timeout");
	refused("{\"path\": \"/no/such/dir\"}", "/m", -ENOENT, "/no/such/dir");
	refused("{\"path\": \"/etc/passwd\"}", "/m", -ENOTDIR, "/etc/passwd");
}

static void a_route_around_or_within_the_mount_point_is_refused(void)
{
	char dir[] = "/tmp/aib-test-host-XXXXXX", link[PATH_MAX], inner[PATH_MAX], o[PATH_MAX + 32];
	struct bk *bk;
	struct err err;

	refused("{\"path\": \"/\"}", "/some/where", -EINVAL, "contains the mount point");
	CHECK(mkdtemp(dir));
	snprintf(inner, sizeof(inner), "%s/m", dir);
	CHECK_EQ(mkdir(inner, 0755), 0);
	snprintf(o, sizeof(o), "{\"path\": \"%s\"}", dir);
	refused(o, inner, -EINVAL, "contains the mount point");
	refused(o, dir, -EINVAL, "mount point");
	snprintf(o, sizeof(o), "{\"path\": \"%s\"}", inner);
	refused(o, dir, -EINVAL, "within the mount point");
	/* by another spelling */
	snprintf(link, sizeof(link), "%s-link", dir);
	CHECK_EQ(symlink(dir, link), 0);
	snprintf(o, sizeof(o), "{\"path\": \"%s/m/..\"}", link);
	refused(o, inner, -EINVAL, "contains the mount point");
	/* a brother with the same beginning is none of it */
	snprintf(o, sizeof(o), "{\"path\": \"%s/m\"}", link);
	snprintf(link + strlen(dir), sizeof(link) - strlen(dir), "/mount");
	CHECK_EQ(make(o, link, &bk, &err), 0);
	CHECK_STR(bk->ops->host_dir(bk) + strlen(dir), "-link/m");
	bk_free(bk);
	snprintf(o, sizeof(o), "rm -r %s %s-link", dir, dir);
	CHECK_EQ(system(o), 0);
}

static void defaults_and_settings_arrive(void)
{
	struct bk *bk;
	struct err err;

	CHECK_EQ(make("{\"path\": \"/tmp\"}", "/m", &bk, &err), 0);
	CHECK_EQ(bk->entry_ttl_ms, 1000);
	CHECK_EQ(bk->attr_ttl_ms, 1000);
	CHECK_EQ(bk->negative_ttl_ms, bk->entry_ttl_ms);
	CHECK(!bk->blocking);
	CHECK(!bk->ops->flush);
	bk_free(bk);
	CHECK_EQ(make("{\"path\": \"/tmp\", \"entry_timeout\": \"5s\", \"attr_timeout\": 0,"
		      " \"blocking\": \"yes\"}",
		      "/m", &bk, &err),
		 0);
	CHECK_EQ(bk->entry_ttl_ms, 5000);
	CHECK_EQ(bk->attr_ttl_ms, 0);
	CHECK(bk->blocking);
	CHECK(bk->ops->flush);
	bk_free(bk);
}

int main(void)
{
	bad_options_are_refused_by_name();
	a_route_around_or_within_the_mount_point_is_refused();
	defaults_and_settings_arrive();
	return 0;
}
