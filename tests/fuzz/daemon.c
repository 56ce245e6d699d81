#include "daemon.h"

#include "base/log.h"
#include "fuzz.h"
#include "server/server.h"

#include <cjson/cJSON.h>
#include <ftw.h>
#include <signal.h>
#include <unistd.h>

#define MOUNTPOINT "/usr"

static int no_command(struct bk_req *req, struct bk *bk, const struct bk_exec *exec,
		      struct bk_stream **ret, struct err *err)
{
	return err_set(err, -EIO, "no command starts here");
}

static void nothing(struct bk *bk)
{
}

static int no_text(struct bk *bk, struct buf *out)
{
	return buf_adds(out, "state none\n");
}

static const struct bk_sandbox_ops sandbox_ops = {
    .exec = no_command, .changed = nothing, .status = no_text, .error = no_text};
static const struct bk_ops ops = {.type = "docker", .sandbox = &sandbox_ops};
static struct bk py = {.ops = &ops};
static struct route routes[] = {
    {.path = "/", .type = "memory", .source = ""},
    {.path = "/py", .type = "docker", .source = "none", .name = "py", .bk = &py}};

/* OpenSSL frees what it keeps for a thread before the server's threads have ended. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libcrypto";
}

static char directory[] = "/tmp/aib-fuzz-XXXXXX";
static struct server *server;
static struct daemon made;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static void clean_up(void)
{
	server_free(server);
	bk_free(made.control);
	bk_free(routes[0].bk);
	nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void make_trees(void)
{
	static const struct bk_mount mount = {.id = "fuzz", .mountpoint = MOUNTPOINT};
	static const struct control_mount control = {routes, ARRAY_SIZE(routes), MOUNTPOINT, "/s"};
	const struct bk_type *type;

	CHECK_EQ(bk_type_find("memory", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", NULL, NULL, &routes[0].bk, NULL), 0);
	CHECK_EQ(
	    control_new(&(struct control_conf){.uid = getuid(), .gid = getgid()}, &made.control),
	    0);
	CHECK_EQ(control_populate(made.control, &control), 0);
}

void daemon_start(struct daemon *ret)
{
	static char socket_path[64], job_dir[64];
	static struct ops_tree tree = {.mountpoint = MOUNTPOINT, .deadline_ms = 5000, .threads = 2};
	struct server_conf conf = {
	    .socket_path = socket_path,
	    .mountpoint = MOUNTPOINT,
	    .routes = routes,
	    .n_routes = ARRAY_SIZE(routes),
	    .tree = &tree,
	    .jobs = {.dir = job_dir, .keep_jobs = 4, .max_jobs = 8},
	};
	struct err err = {""};

	log_set_stderr(0);
	signal(SIGPIPE, SIG_IGN);
	CHECK(mkdtemp(directory));
	snprintf(socket_path, sizeof(socket_path), "%s/socket", directory);
	snprintf(job_dir, sizeof(job_dir), "%s/jobs", directory);
	make_trees();
	tree.root = routes[0].bk;
	conf.uid = tree.owner = getuid();
	conf.control = made.control;
	CHECK_EQ(server_new(&conf, &server, &err), 0);
	atexit(clean_up);
	made.socket_path = socket_path;
	*ret = made;
}
