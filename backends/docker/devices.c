/* See devices.h. Source: proc_pid_mountinfo(5). */
#include "devices.h"

#include "../base/macros.h"
#include "../base/procpid.h"

#include <string.h>
#include <sys/sysmacros.h>

/* What a container may have of both: its owner may make as many mounts as it likes. */
#define MAX_DEVICES 512
#define MAX_LINES 8192

static bool is_plain(const char *type)
{
	static const char *const types[] = {
	    "overlay", "ext4", "xfs", "btrfs", "tmpfs", "ext3", "ext2", "f2fs", "zfs", "bcachefs",
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

/* Of one line: "36 35 98:0 /root /place options tags - type source options". */
static bool parse(const char *line, dev_t *ret)
{
	unsigned major, minor;
	const char *rest = strstr(line, " - ");
	char type[32];

	if (!rest || sscanf(rest, " - %31s", type) != 1 || !is_plain(type) ||
	    sscanf(line, "%*u %*u %u:%u", &major, &minor) != 2)
		return false;
	*ret = makedev(major, minor);
	return true;
}

static void add_all(struct devices *d, FILE *mounts)
{
	_cleanup_free_ char *line = NULL;
	size_t size = 0;
	dev_t dev;

	for (int i = 0; i < MAX_LINES && getline(&line, &size, mounts) > 0; i++)
		if (d->n < MAX_DEVICES && parse(line, &dev) && !devices_have(d, dev))
			d->list[d->n++] = dev;
}

int devices_read(struct devices *d, pid_t pid)
{
	struct devices now = {.list = calloc(MAX_DEVICES, sizeof(*now.list))};
	_cleanup_fclose_ FILE *mounts = NULL;

	if (!now.list)
		return -ENOMEM;
	mounts = procpid_fopen(pid, "mountinfo");
	if (!mounts) {
		devices_done(&now);
		return -errno;
	}
	add_all(&now, mounts);
	devices_done(d);
	*d = now;
	return 0;
}

bool devices_have(const struct devices *d, dev_t dev)
{
	for (size_t i = 0; i < d->n; i++)
		if (d->list[i] == dev)
			return true;
	return false;
}

void devices_done(struct devices *d)
{
	int saved = errno;

	free(TAKE(d->list));
	d->n = 0;
	errno = saved;
}
