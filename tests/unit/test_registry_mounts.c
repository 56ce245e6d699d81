/* The registry of mounts: entries live as long as their daemon, and clients find the right one. */
#include "test.h"

#include "registry.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static char top[] = "/tmp/aib-test-XXXXXX";

static void an_entry_is_found_by_any_path_below_its_mount_point(void)
{
	struct registry_entry a, b;
	struct registry_mount m;
	struct err err;

	CHECK_EQ(registry_add("/mnt/a", &a, &err), 0);
	CHECK_EQ(registry_add("/mnt/a/deep", &b, &err), 0);
	CHECK_EQ(registry_find("/mnt/a/x", &m), 0);
	CHECK_STR(m.mountpoint, "/mnt/a");
	CHECK_EQ(m.pid, getpid());
	CHECK_EQ(m.uid, geteuid());
	registry_mount_done(&m);
	CHECK_EQ(registry_find("/mnt/a/deep/x", &m), 0);
	CHECK_STR(m.mountpoint, "/mnt/a/deep");
	registry_mount_done(&m);
	CHECK_EQ(registry_find("/mnt/ab", &m), -ENOENT);
	CHECK_EQ(registry_add("/mnt/a", &b, &err), -EBUSY);
	CHECK(strstr(err.text, "mounted already"));
	registry_remove(&a);
	registry_remove(&b);
	CHECK_EQ(registry_find("/mnt/a/x", &m), -ENOENT);
}

static void a_dead_daemons_entry_is_not_listed_and_is_taken_over(void)
{
	struct registry_entry e;
	struct registry_mount m;
	struct err err;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		CHECK_EQ(registry_add("/mnt/dead", &e, &err), 0);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(registry_find("/mnt/dead", &m), -ENOENT);
	CHECK_EQ(registry_add("/mnt/dead", &e, &err), 0);
	registry_remove(&e);
}

static void the_only_mount_is_chosen_and_several_are_named(void)
{
	struct registry_entry a, b;
	struct registry_mount m;
	struct err err;

	CHECK_EQ(chdir("/"), 0);
	CHECK_EQ(registry_choose(NULL, &m, &err), -ENOENT);
	CHECK_EQ(registry_add("/mnt/one", &a, &err), 0);
	CHECK_EQ(registry_choose(NULL, &m, &err), 0);
	CHECK_STR(m.mountpoint, "/mnt/one");
	registry_mount_done(&m);
	CHECK_EQ(registry_add("/mnt/two", &b, &err), 0);
	CHECK_EQ(registry_choose(NULL, &m, &err), -ENOTUNIQ);
	CHECK(strstr(err.text, "/mnt/one, /mnt/two"));
	CHECK_EQ(registry_choose("/mnt/two/x", &m, &err), 0);
	CHECK_STR(m.mountpoint, "/mnt/two");
	registry_mount_done(&m);
	setenv("AIB_MOUNT", "/mnt/one", 1);
	CHECK_EQ(registry_choose(NULL, &m, &err), 0);
	CHECK_STR(m.mountpoint, "/mnt/one");
	registry_mount_done(&m);
	unsetenv("AIB_MOUNT");
	registry_remove(&a);
	registry_remove(&b);
}

static void a_connection_is_made_to_whoever_may_be_trusted(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct registry_entry e;
	struct registry_mount m;
	struct err err;
	int l, c;

	CHECK_EQ(registry_add("/mnt/sock", &e, &err), 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/socket", e.dir);
	l = socket(AF_UNIX, SOCK_STREAM, 0);
	CHECK_EQ(bind(l, (struct sockaddr *)&addr, sizeof(addr)), 0);
	CHECK_EQ(listen(l, 1), 0);
	CHECK_EQ(registry_find("/mnt/sock", &m), 0);
	c = registry_connect(&m, &err);
	CHECK(c >= 0);
	close(c);
	close(l);
	CHECK(registry_connect(&m, &err) < 0);
	CHECK(strstr(err.text, "/mnt/sock: its daemon does not answer"));
	registry_mount_done(&m);
	registry_remove(&e);
	CHECK_EQ(access(addr.sun_path, F_OK), -1);
}

static void a_directory_of_another_user_is_refused(void)
{
	struct registry_entry e;
	struct err err;
	char dir[100];

	if (geteuid() != 0)
		return;
	snprintf(dir, sizeof(dir), "%s/theirs", top);
	CHECK_EQ(mkdir(dir, 0700), 0);
	CHECK_EQ(chown(dir, 12345, 12345), 0);
	setenv("AIB_RUNTIME_DIR", dir, 1);
	CHECK_EQ(registry_add("/mnt/x", &e, &err), -EPERM);
	setenv("AIB_RUNTIME_DIR", top, 1);
	CHECK_EQ(rmdir(dir), 0);
}

int main(void)
{
	CHECK(mkdtemp(top));
	setenv("AIB_RUNTIME_DIR", top, 1);
	unsetenv("AIB_MOUNT");
	an_entry_is_found_by_any_path_below_its_mount_point();
	a_dead_daemons_entry_is_not_listed_and_is_taken_over();
	a_connection_is_made_to_whoever_may_be_trusted();
	a_directory_of_another_user_is_refused();
	the_only_mount_is_chosen_and_several_are_named();
	CHECK_EQ(rmdir(top), 0);
	return 0;
}
