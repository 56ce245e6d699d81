/*
 * The host backend as a type of route: its options. In a program without JSON (aib-guest) it is
 * made by host_new instead.
 */
#include "host.h"

#include "base/options.h"

#include <string.h>

static const struct option host_options[] = {
    {"path", OPTION_STRING, offsetof(struct host_conf, path), NULL, "the directory, absolute",
     true},
    {"symlinks", OPTION_STRING, offsetof(struct host_conf, symlinks), "contain|verbatim",
     "contain: a link that leads out answers EPERM; verbatim: trust the directory"},
    {"entry_timeout", OPTION_DURATION, offsetof(struct host_conf, entry_timeout), NULL,
     "how long the kernel may remember names, missing ones too (1s)"},
    {"attr_timeout", OPTION_DURATION, offsetof(struct host_conf, attr_timeout), NULL,
     "how long the kernel may remember attributes (1s)"},
    {"blocking", OPTION_STRING, offsetof(struct host_conf, blocking), "auto|yes|no",
     "whether operations may wait; auto: yes on network and FUSE file systems"},
    {"fd_cache", OPTION_UINT, offsetof(struct host_conf, fd_cache), NULL,
     "descriptors kept for files not open (0: from the limit of open files)"},
    {"outside", OPTION_STRING, offsetof(struct host_conf, outside), NULL,
     "links that lead out are shown below this directory, where the root of a sandbox is …"},
    {"place", OPTION_STRING, offsetof(struct host_conf, place), NULL,
     "… in which this directory is here"},
    {NULL},
};

static int set_default(char **field, const char *value)
{
	*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static int parse(const cJSON *options, struct host_conf *conf, struct err *err)
{
	int r;

	conf->entry_timeout = conf->attr_timeout = 1000;
	r = set_default(&conf->symlinks, "contain");
	if (r == 0)
		r = set_default(&conf->blocking, "auto");
	if (r == 0)
		r = options_parse(host_options, options, conf, err);
	if (r < 0)
		return r;
	if (!conf->path || conf->path[0] != '/')
		return err_set(err, -EINVAL, "\"path\" must be an absolute path of a directory");
	if (conf->entry_timeout > UINT32_MAX || conf->attr_timeout > UINT32_MAX)
		return err_set(err, -EINVAL, "a timeout must be below 49 days");
	return 0;
}

static int host_make(const struct bk_mount *mount, const char *route, const cJSON *options,
		     const cJSON *binds, struct bk **ret, struct err *err)
{
	_cleanup_(host_conf_done) struct host_conf conf = {.path = NULL};
	int r = parse(options, &conf, err);

	return r < 0 ? r : host_new(mount, route, &conf, ret);
}

const struct bk_type host_type = {
    .name = "host",
    .source_key = "path",
    .make = host_make,
    .options = host_options,
};
