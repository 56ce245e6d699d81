/*
 * The contract suite over a stream: the host backend, over a new directory for each test, served by
 * a thread of this process. AIB_TEST_DIR says where the directories are made (default /tmp);
 * with AIB_TEST_FDS the server passes descriptors.
 */
#include "contract.h"
#include "remote/remote.h"
#include "remote/serve.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <sys/socket.h>

extern const struct bk_type host_type;

/* What one place has beside the backend under test. */
struct served {
	struct bk *host;
	char *path;
	int fd;
	pthread_t thread;
};

static void make_host(struct served *s)
{
	const char *base = getenv("AIB_TEST_DIR");
	const struct bk_mount mount = {.can_switch_user = geteuid() == 0};
	cJSON *options = cJSON_CreateObject();

	CHECK(asprintf(&s->path, "%s/aib-remote-XXXXXX", base ? base : "/tmp") > 0);
	CHECK(mkdtemp(s->path));
	cJSON_AddStringToObject(options, "path", s->path);
	CHECK_EQ(host_type.make(&mount, "/host", options, NULL, &s->host, NULL), 0);
	CHECK_EQ(s->host->ops->prepare(NULL, s->host, NULL, NULL, NULL), 0);
	cJSON_Delete(options);
}

static void *serve(void *arg)
{
	struct served *s = arg;

	CHECK_EQ(remote_serve(s->host, s->fd, s->fd, NULL), 0);
	return NULL;
}

static bool take_any(void *ctx, const struct stat *st)
{
	return true;
}

static int setup(struct contract_place *ret)
{
	const bool pass = getenv("AIB_TEST_FDS");
	const struct remote_conf conf = {.fd_ok = pass ? take_any : NULL, .attrs_here = pass};
	struct served *s = calloc(1, sizeof(*s));
	int fds[2], r;

	make_host(s);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	s->fd = fds[1];
	CHECK_EQ(pthread_create(&s->thread, NULL, serve, s), 0);
	r = remote_new(NULL, fds[0], fds[0], "/remote", &conf, &ret->bk, NULL);
	if (r < 0)
		return r;
	ret->dir = bk_root(ret->bk);
	ret->ctx = s;
	return 0;
}

static void teardown(struct contract_place *place)
{
	_cleanup_free_ struct served *s = place->ctx;
	_cleanup_free_ char *path = s->path;
	_cleanup_free_ char *command = NULL;

	bk_node_unref(place->dir);
	bk_free(place->bk);
	CHECK_EQ(pthread_join(s->thread, NULL), 0);
	bk_free(s->host);
	CHECK(asprintf(&command, "rm -rf '%s'", path) > 0);
	CHECK_EQ(system(command), 0);
}

static const struct contract_backend backend = {
    .name = "remote",
    .traits =
	{
	    .holes = true,
	    .unlinked_open = true,
	    .owner_of_request = true,
	    .append = true,
	},
    .setup = setup,
    .teardown = teardown,
};

int main(int argc, char **argv)
{
	umask(0);
	return contract_main(argc, argv, &backend);
}
