#include "mount_world.h"
#include "test.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>

struct fs *fs;
char mount_dir[64];
static pthread_t server;

static void *serve(void *arg)
{
	return (void *)(intptr_t)fs_run(fs);
}

/* A failed check ends the process here. */
static void leave_nothing(int sig)
{
	(void)umount2(mount_dir, MNT_DETACH);
	(void)rmdir(mount_dir);
	signal(sig, SIG_DFL);
	raise(sig);
}

void mount_start(struct bk *root, const struct fs_conf *conf, const char *name)
{
	snprintf(mount_dir, sizeof(mount_dir), "/tmp/aib-test-%s.XXXXXX", name);
	CHECK(mkdtemp(mount_dir));
	signal(SIGABRT, leave_nothing);
	CHECK_EQ(fs_new(root, conf, &fs), 0);
	CHECK_EQ(fs_mount(fs, mount_dir, NULL), 0);
	CHECK_EQ(pthread_create(&server, NULL, serve, NULL), 0);
}

void mount_finish(void)
{
	void *r;

	fs_exit(fs);
	pthread_join(server, &r);
	CHECK_EQ((intptr_t)r, 0);
	fs_free(fs);
	CHECK_EQ(rmdir(mount_dir), 0);
	signal(SIGABRT, SIG_DFL);
}
