#include "host_world.h"

#include "limit.h"

#include <cjson/cJSON.h>
#include <dirent.h>
#include <sys/wait.h>

extern const struct bk_type host_type;

void world_init(struct world *w, const char *options)
{
	const struct bk_mount mount = {.mountpoint = "/nowhere",
				       .can_switch_user = world_is_root()};
	cJSON *o = options ? cJSON_Parse(options) : cJSON_CreateObject();
	struct err err = {""};

	CHECK(o);
	strcpy(w->path, "/tmp/aib-test-host-XXXXXX");
	CHECK(mkdtemp(w->path));
	w->dirfd = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK(w->dirfd >= 0);
	cJSON_AddStringToObject(o, "path", w->path);
	bk_req_init(&w->req, geteuid(), getegid(), getpid(), 0);
	CHECK_EQ(host_type.make(&mount, "/h", o, NULL, &w->bk, &err), 0);
	CHECK_EQ(w->bk->ops->prepare(&w->req, w->bk, NULL, NULL, &err), 0);
	w->root = bk_root(w->bk);
	cJSON_Delete(o);
}

void world_done(struct world *w)
{
	char command[128];

	bk_node_unref(w->root);
	bk_free(w->bk);
	bk_req_done(&w->req);
	close(w->dirfd);
	snprintf(command, sizeof(command), "rm -rf '%s'", w->path);
	CHECK_EQ(system(command), 0);
}

bool world_is_root(void)
{
	return geteuid() == 0;
}

int world_variants(void (*run)(void))
{
	static const struct variant variants[] = {
	    {"as it is", false, 0},
	    {"without openat2", false, SYS_openat2},
	    {"without open_by_handle_at", false, SYS_open_by_handle_at},
	    {"without name_to_handle_at", false, SYS_name_to_handle_at},
	    {"as nobody", true, 0},
	    {"as nobody without openat2", true, SYS_openat2},
	    {"as nobody without name_to_handle_at", true, SYS_name_to_handle_at},
	};

	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		const struct variant *v = &variants[i];
		int status;
		pid_t pid;

		if (v->nobody && !world_is_root())
			continue; /* the ones before ran as somebody already */
		printf("%s\n", v->name);
		fflush(stdout);
		pid = fork();
		CHECK(pid >= 0);
		if (pid == 0) {
			umask(0);
			if (v->nobody)
				limit_to_nobody();
			if (v->refused)
				limit_refuse(v->refused, EPERM);
			run();
			exit(0);
		}
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			return 1;
	}
	return 0;
}

struct bk_node *w_lookup(struct world *w, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_lookup(&w->req, dir, name, &node, &st), 0);
	return node;
}

struct bk_node *w_file(struct world *w, struct bk_node *dir, const char *name, const char *text)
{
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;

	CHECK_EQ(bk_create(&w->req, dir, name, 0644, O_CREAT | O_EXCL | O_RDWR, &node, &file, &st),
		 0);
	CHECK_EQ(bk_write(&w->req, file, text, strlen(text), 0), strlen(text));
	bk_release(file);
	return node;
}

struct bk_node *w_dir(struct world *w, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_mkdir(&w->req, dir, name, 0755, &node, &st), 0);
	return node;
}

struct bk_node *w_symlink(struct world *w, struct bk_node *dir, const char *name,
			  const char *target)
{
	struct bk_node *node;
	struct stat st;

	CHECK_EQ(bk_symlink(&w->req, dir, name, target, &node, &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	return node;
}

struct stat w_stat(struct world *w, struct bk_node *node)
{
	struct stat st;

	CHECK_EQ(bk_getattr(&w->req, node, NULL, &st), 0);
	return st;
}

int w_try(struct world *w, struct bk_node *dir, const char *name)
{
	struct bk_node *node;
	struct stat st;
	int r = bk_lookup(&w->req, dir, name, &node, &st);

	if (r == 0)
		bk_node_unref(node);
	return r;
}

unsigned w_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void w_evict(struct world *w)
{
	struct bk_node *nodes[16];
	char name[32];

	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++) {
		snprintf(name, sizeof(name), "filler%zu", i);
		close(openat(w->dirfd, name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
		nodes[i] = w_lookup(w, w->root, name);
	}
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		bk_node_unref(nodes[i]);
}
