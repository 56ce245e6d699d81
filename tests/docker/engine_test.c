/*
 * The engine client against a real engine: `engine_test CASE [HOST] [IMAGE] [ARG]`. Each case makes
 * its own container and removes it. Run by test_engine.py.
 */
#include "../unit/test.h"
#include "base/clock.h"
#include "base/log.h"
#include "docker/engine.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

static struct bk_req req;
static struct engine *engine;
static struct err err;
static const char *image, *arg;
static char *box; /* a container that runs */

#define OK(call)                                                                                   \
	do {                                                                                       \
		int r_ = (call);                                                                   \
		if (r_ < 0) {                                                                      \
			fprintf(stderr, "%s:%d: %s: %s (%s)\n", __FILE__, __LINE__, #call,         \
				strerror(-r_), err.text);                                          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* ---- Boxes ---- */

static void box_create(bool readonly)
{
	char name[64];
	cJSON *spec = cJSON_CreateObject(), *cmd, *host, *labels;

	snprintf(name, sizeof(name), "aib-test-engine-%d", getpid());
	cJSON_AddStringToObject(spec, "Image", image);
	cmd = cJSON_AddArrayToObject(spec, "Cmd");
	cJSON_AddItemToArray(cmd, cJSON_CreateString("/bin/sleep"));
	cJSON_AddItemToArray(cmd, cJSON_CreateString("1000"));
	cJSON_AddNumberToObject(spec, "StopTimeout", 0);
	labels = cJSON_AddObjectToObject(spec, "Labels");
	cJSON_AddStringToObject(labels, "aib.test.engine", name);
	host = cJSON_AddObjectToObject(spec, "HostConfig");
	cJSON_AddStringToObject(host, "NetworkMode", "none");
	cJSON_AddBoolToObject(host, "ReadonlyRootfs", readonly);
	OK(engine_container_create(&req, engine, name, spec, &box, &err));
	CHECK_EQ(engine_container_create(&req, engine, name, spec, &(char *){NULL}, &err), -EEXIST);
	cJSON_Delete(spec);
}

static void box_start(void)
{
	box_create(false);
	OK(engine_container_action(&req, engine, box, "start", 0, &err));
}

static void box_remove(void)
{
	OK(engine_container_remove(&req, engine, box, &err));
	OK(engine_container_remove(&req, engine, box, &err));
	free(TAKE(box));
}

static int run_in(const char *const *argv, const char *input, size_t len, struct buf *out,
		  struct buf *errors)
{
	struct engine_exec x = {.argv = argv};

	return engine_exec_run(&req, engine, box, &x, input, len, out, errors, &err);
}

#define SH(line) ((const char *const[]){"/bin/sh", "-c", line, NULL})

/* ---- Cases ---- */

static void test_ping_and_info(void)
{
	cJSON *v, *i;

	OK(engine_ping(&req, engine, &err));
	OK(engine_version(&req, engine, &v, &err));
	OK(engine_info(&req, engine, &i, &err));
	CHECK(cJSON_HasObjectItem(v, "ApiVersion") && cJSON_HasObjectItem(i, "ID"));
	cJSON_Delete(v);
	cJSON_Delete(i);
}

static const char *state_of_box(void)
{
	static char state[32];
	cJSON *json;

	OK(engine_container_inspect(&req, engine, box, &json, &err));
	snprintf(state, sizeof(state), "%s",
		 cJSON_GetStringValue(
		     cJSON_GetObjectItem(cJSON_GetObjectItem(json, "State"), "Status")));
	cJSON_Delete(json);
	return state;
}

static void test_container_life(void)
{
	static const struct {
		const char *verb, *state;
	} steps[] = {
	    {"start", "running"}, {"start", "running"},	  {"pause", "paused"},
	    {"pause", "paused"},  {"unpause", "running"}, {"unpause", "running"},
	    {"stop", "exited"},	  {"stop", "exited"},	  {"restart", "running"},
	    {"kill", NULL},
	};
	char label[96];
	cJSON *list;

	box_create(false);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		OK(engine_container_action(&req, engine, box, steps[i].verb, 0, &err));
		if (steps[i].state)
			CHECK_STR(state_of_box(), steps[i].state);
	}
	snprintf(label, sizeof(label), "aib.test.engine=aib-test-engine-%d", getpid());
	OK(engine_container_list(&req, engine, label, &list, &err));
	CHECK_EQ(cJSON_GetArraySize(list), 1);
	cJSON_Delete(list);
	box_remove();
	OK(engine_container_list(&req, engine, label, &list, &err));
	CHECK_EQ(cJSON_GetArraySize(list), 0);
	cJSON_Delete(list);
	CHECK_EQ(engine_container_inspect(&req, engine, "aib-test-none", &list, &err), -ENOENT);
	CHECK(strstr(err.text, engine_host(engine)) && strstr(err.text, "aib-test-none"));
	CHECK_EQ(engine_image_inspect(&req, engine, "aib-test:none", &list, &err), -ENOENT);
	CHECK_EQ(engine_container_action(&req, engine, "x", "fly", 0, &err), -EINVAL);
}

static void test_exec(void)
{
	_cleanup_buf_ struct buf out = BUF_INIT(64), errors = BUF_INIT(64), more = BUF_INIT(64);
	static char big[3 << 20];
	_cleanup_buf_ struct buf back = BUF_INIT(sizeof(big));
	uint64_t t;

	box_start();
	CHECK_EQ(run_in(SH("echo out; echo err >&2; exit 7"), NULL, 0, &out, &errors), 7);
	CHECK_STR(out.data, "out\n");
	CHECK_STR(errors.data, "err\n");
	CHECK_EQ(run_in(SH("yes | head -c 1000000"), NULL, 0, &more, NULL), 0);
	CHECK_EQ(more.len, 64);
	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i * 2654435761U >> 13;
	CHECK_EQ(run_in(SH("cat"), big, sizeof(big), &back, NULL), 0);
	CHECK(back.len == sizeof(big) && memcmp(back.data, big, sizeof(big)) == 0);
	/* A command that does not read its input, and one whose child keeps the output open. */
	CHECK_EQ(run_in(SH("exit 3"), big, sizeof(big), NULL, NULL), 3);
	t = clock_ms();
	CHECK_EQ(run_in(SH("sleep 60 & exit 4"), NULL, 0, NULL, NULL), 4);
	CHECK(clock_ms() - t < 10000);
	CHECK_EQ(run_in(SH("sleep 2; exit 5"), NULL, 0, NULL, NULL), 5);
	CHECK(run_in((const char *const[]){"/bin/none", NULL}, NULL, 0, NULL, NULL) != 0);
	OK(engine_container_action(&req, engine, box, "stop", 0, &err));
	CHECK_EQ(run_in(SH("true"), NULL, 0, NULL, NULL), -ENOTCONN);
	box_remove();
	CHECK_EQ(engine_exec_run(&req, engine, "aib-test-none",
				 &(struct engine_exec){.argv = SH("true")}, NULL, 0, NULL, NULL,
				 &err),
		 -ENOENT);
}

static void test_exec_stream(void)
{
	struct engine_exec x = {
	    .argv = SH("echo $A $PWD; echo oops >&2; cat; exit 9"),
	    .env = (const char *const[]){"A=b", NULL},
	    .workdir = "/tmp",
	    .user = "0",
	};
	_cleanup_buf_ struct buf got = BUF_INIT(4 << 20);
	struct bk_stream *s;
	char *id, data[8192], text[64];
	int status, pid;
	size_t sent = 0;
	ssize_t n;

	box_start();
	OK(engine_exec_start(&req, engine, box, &x, &s, &id, &err));
	do
		CHECK_EQ(engine_exec_inspect(&req, engine, id, &status, &pid, &err), -EBUSY);
	while (pid == 0);
	memset(data, 'x', sizeof(data));
	while (got.len < 2000007) {
		struct pollfd p = {.fd = s->ops->fd(s),
				   .events = POLLIN | (sent < 2000000 ? POLLOUT : 0)};

		CHECK(s->ops->pending(s) || poll(&p, 1, 10000) > 0);
		n = sent < 2000000 ? s->ops->write(s, data,
						   sizeof(data) < 2000000 - sent ? sizeof(data)
										 : 2000000 - sent)
				   : 0;
		CHECK(n >= 0 || n == -EAGAIN);
		sent += n > 0 ? n : 0;
		n = s->ops->read(s, data + 4096, 4096);
		CHECK(n > 0 || n == -EAGAIN);
		if (n > 0)
			CHECK_EQ(buf_add(&got, data + 4096, n), 0);
		memset(data, 'x', sizeof(data));
	}
	CHECK(strncmp(got.data, "b /tmp\n", 7) == 0);
	CHECK_EQ(strspn(got.data + 7, "x"), 2000000);
	engine_exec_text(s, text, sizeof(text));
	CHECK_STR(text, "oops");
	/* The end of the connection is the end of the command's input. */
	s->ops->free(s);
	for (int i = 0;
	     i < 100 && engine_exec_inspect(&req, engine, id, &status, NULL, &err) == -EBUSY; i++)
		poll(NULL, 0, 50);
	CHECK_EQ(status, 9);
	free(id);
	box_remove();
}

static int file_of(const void *data, size_t n)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	CHECK(fd >= 0 && write(fd, data, n) == (ssize_t)n);
	return fd;
}

static const char long_name[] = "d/"
				"012345678901234567890123456789012345678901234567890123456789012345"
				"6789012345678901234567890123456789"
				"012345678901234567890123456789012345678901234567890123456789012345"
				"6789012345678901234567890123456789";

static void put_tree(void)
{
	struct timespec t = {1700000000, 123456789};
	int fd = file_of("hello", 5);
	static char big[5 << 20];
	int fd2;

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = i * 2654435761U >> 13;
	fd2 = file_of(big, sizeof(big));
#define ST(mode, n)                                                                                \
	{                                                                                          \
		.st_mode = (mode), .st_uid = 1234567, .st_gid = 99, .st_size = (n), .st_mtim = t   \
	}
	struct engine_put_entry all[] = {
	    {.path = "d", .st = ST(S_IFDIR | 01755, 0), .fd = -1},
	    {.path = "d/f", .st = ST(S_IFREG | 04640, 5), .fd = fd},
	    {.path = "d/empty", .st = ST(S_IFREG | 0600, 0), .fd = -1},
	    {.path = "d/big", .st = ST(S_IFREG | 0600, sizeof(big)), .fd = fd2},
	    {.path = "d/l", .link = "../etc/passwd", .st = ST(S_IFLNK | 0777, 0), .fd = -1},
	    {.path = "d/fifo", .st = ST(S_IFIFO | 0622, 0), .fd = -1},
	    {.path = "d/\xc3\xa4\xff\xfe b", .st = ST(S_IFREG | 0644, 5), .fd = fd},
	    {.path = "d/\xc3\xa4\xe2\x82\xac", .st = ST(S_IFREG | 0644, 5), .fd = fd},
	    {.path = long_name, .st = ST(S_IFREG | 0644, 5), .fd = fd},
	};
	OK(engine_archive_put(&req, engine, box, "/tmp", all, ARRAY_SIZE(all), &err));
	close(fd);
	close(fd2);
}

static void check_stat(void)
{
	struct engine_stat st;

	OK(engine_archive_stat(&req, engine, box, "/tmp/d/f", &st, &err));
	CHECK(st.mode == (S_IFREG | 04640) && st.size == 5 && !st.link);
	CHECK(st.mtime.tv_sec == 1700000000 && st.mtime.tv_nsec == 123456789);
	OK(engine_archive_stat(&req, engine, box, "/tmp/d", &st, &err));
	CHECK(st.mode == (S_IFDIR | 01755) && !st.link);
	OK(engine_archive_stat(&req, engine, box, "/tmp/d/l", &st, &err));
	CHECK(S_ISLNK(st.mode));
	CHECK(st.link && strstr(st.link, "etc/passwd"));
	free(st.link);
	OK(engine_archive_stat(&req, engine, box, "/tmp/d/\xc3\xa4\xff\xfe b", &st, &err));
	CHECK_EQ(st.size, 5);
	OK(engine_archive_stat(&req, engine, box, "/tmp/d/fifo", &st, &err));
	CHECK(S_ISFIFO(st.mode));
	CHECK_EQ(engine_archive_stat(&req, engine, box, "/tmp/none", &st, &err), -ENOENT);
	CHECK_EQ(engine_archive_stat(&req, engine, "aib-test-none", "/", &st, &err), -ENOENT);
}

static void check_get(void)
{
	struct engine_tar *t;
	struct engine_tar_entry x;
	char data[10000];
	unsigned found = 0;
	int r;

	OK(engine_archive_get(&req, engine, box, "/tmp/d", &t, &err));
	while ((r = engine_tar_next(&req, t, &x)) == 1) {
		uint64_t sum = 0;
		ssize_t n;

		CHECK_EQ(x.st.st_uid, 1234567);
		CHECK_EQ(x.st.st_gid, 99);
		CHECK_EQ(x.st.st_mtim.tv_sec, 1700000000); /* engines leave out the rest */
		if (strcmp(x.path, "d/big") == 0) {
			while ((n = engine_tar_read(&req, t, data, sizeof(data))) > 0) {
				for (ssize_t i = 0; i < n; i++)
					CHECK_EQ(data[i],
						 (char)((size_t)(sum + i) * 2654435761U >> 13));
				sum += n;
			}
			CHECK_EQ(n, 0);
			CHECK_EQ(sum, 5 << 20);
			found |= 1;
		} else if (strcmp(x.path, "d/f") == 0) {
			CHECK_EQ(x.st.st_mode, S_IFREG | 04640);
			CHECK_EQ(engine_tar_read(&req, t, data, sizeof(data)), 5);
			CHECK(memcmp(data, "hello", 5) == 0);
			CHECK_EQ(engine_tar_read(&req, t, data, sizeof(data)), 0);
			found |= 2;
		} else if (strcmp(x.path, "d/l") == 0) {
			CHECK_STR(x.link, "../etc/passwd");
			found |= 4;
		} else if (strcmp(x.path, "d/\xc3\xa4\xff\xfe b") == 0) {
			found |= 8;
		} else if (strcmp(x.path, long_name) == 0) {
			found |= 16;
		} else if (strcmp(x.path, "d/fifo") == 0) {
			CHECK(S_ISFIFO(x.st.st_mode));
			found |= 32;
		} else if (strcmp(x.path, "d/\xc3\xa4\xe2\x82\xac") == 0) {
			found |= 64;
		} else if (strcmp(x.path, "d/") == 0) {
			CHECK(S_ISDIR(x.st.st_mode));
			found |= 128;
		}
	}
	CHECK_EQ(r, 0);
	CHECK_EQ(found, 255);
	engine_tar_close(t);
	CHECK_EQ(engine_archive_get(&req, engine, box, "/tmp/none", &t, &err), -ENOENT);
}

static void test_archive(void)
{
	_cleanup_buf_ struct buf out = BUF_INIT(65536);
	struct engine_tar *t;
	struct engine_tar_entry x;
	struct engine_put_entry one = {.path = "x", .st = {.st_mode = S_IFREG | 0644}, .fd = -1};
	struct engine_put_entry file_over_dir = {
	    .path = "tmp", .st = {.st_mode = S_IFREG | 0644}, .fd = -1};

	box_create(false); /* works on a container that never ran */
	put_tree();
	check_stat();
	check_get();
	OK(engine_container_action(&req, engine, box, "start", 0, &err));
	put_tree();
	check_stat();
	check_get();
	CHECK_EQ(
	    run_in(SH("cat /tmp/d/big | md5sum; stat -c '%u %g %a' /tmp/d/f"), NULL, 0, &out, NULL),
	    0);
	CHECK(strstr(out.data, "1234567 99 4640"));
	CHECK_EQ(engine_archive_put(&req, engine, box, "/none", &one, 1, &err), -ENOENT);
	CHECK_EQ(engine_archive_put(&req, engine, box, "/tmp/d/f", &one, 1, &err), -ENOTDIR);
	CHECK(engine_archive_put(&req, engine, box, "/", &file_over_dir, 1, &err) < 0);
	fprintf(stderr, "file over directory: %s\n", err.text);
	one.st.st_size = 10;
	one.fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	CHECK_EQ(engine_archive_put(&req, engine, box, "/tmp", &one, 1, &err), -EIO);
	close(one.fd);
	/* Left off in the middle; the next call works. */
	OK(engine_archive_get(&req, engine, box, "/", &t, &err));
	CHECK_EQ(engine_tar_next(&req, t, &x), 1);
	engine_tar_close(t);
	check_stat();
	box_remove();
}

static void test_readonly_root(void)
{
	struct engine_put_entry one = {.path = "x", .st = {.st_mode = S_IFREG | 0644}, .fd = -1};

	box_create(true);
	OK(engine_container_action(&req, engine, box, "start", 0, &err));
	CHECK_EQ(engine_archive_put(&req, engine, box, "/tmp", &one, 1, &err), -EROFS);
	box_remove();
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000ULL + ts.tv_nsec / 1000;
}

static void test_stat_is_fast(void)
{
	uint64_t us[200];
	struct engine_stat st;

	box_start();
	for (size_t i = 0; i < ARRAY_SIZE(us); i++) {
		uint64_t t = now_us();

		OK(engine_archive_stat(&req, engine, box, "/bin/sh", &st, &err));
		free(st.link);
		us[i] = now_us() - t;
	}
	qsort(us, ARRAY_SIZE(us), sizeof(us[0]), compare);
	fprintf(stderr, "HEAD: median %llu us, 90%% %llu us\n", (unsigned long long)us[100],
		(unsigned long long)us[180]);
	box_remove();
}

static void *cancel_soon(void *r)
{
	poll(NULL, 0, 300);
	bk_req_cancel(r);
	return NULL;
}

static void test_cancel_and_deadline(void)
{
	struct bk_req r;
	struct engine_exec x = {.argv = SH("sleep 30")};
	pthread_t th;
	uint64_t t;

	box_start();
	bk_req_init(&r, 0, 0, 0, 0);
	pthread_create(&th, NULL, cancel_soon, &r);
	t = clock_ms();
	CHECK_EQ(engine_exec_run(&r, engine, box, &x, NULL, 0, NULL, NULL, &err), -EINTR);
	CHECK(clock_ms() - t < 1500);
	pthread_join(th, NULL);
	CHECK_EQ(engine_ping(&r, engine, &err), -EINTR);
	bk_req_done(&r);

	bk_req_init(&r, 0, 0, 0, 700);
	t = clock_ms();
	CHECK_EQ(engine_exec_run(&r, engine, box, &x, NULL, 0, NULL, NULL, &err), -ETIMEDOUT);
	CHECK(clock_ms() - t < 2500);
	bk_req_done(&r);

	/* SLEEP ignores TERM as PID 1: the engine waits for its whole grace. */
	bk_req_init(&r, 0, 0, 0, 500);
	t = clock_ms();
	CHECK_EQ(engine_container_action(&r, engine, box, "stop", 10, &err), -ETIMEDOUT);
	CHECK(clock_ms() - t < 1500);
	bk_req_done(&r);
	box_remove();
}

static void *stats(void *unused)
{
	struct engine_stat st;
	struct bk_req r;
	struct err e;

	bk_req_init(&r, 0, 0, 0, 60000);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(engine_archive_stat(&r, engine, box, "/bin/sh", &st, &e), 0);
		free(st.link);
	}
	bk_req_done(&r);
	return NULL;
}

static void *execs(void *unused)
{
	_cleanup_buf_ struct buf out = BUF_INIT(100);
	struct engine_exec x = {.argv = SH("echo hi")};
	struct bk_req r;
	struct err e;

	bk_req_init(&r, 0, 0, 0, 60000);
	CHECK_EQ(engine_exec_run(&r, engine, box, &x, NULL, 0, &out, NULL, &e), 0);
	CHECK_STR(out.data, "hi\n");
	bk_req_done(&r);
	return NULL;
}

static void test_many_threads(void)
{
	pthread_t th[12];

	box_start();
	for (int i = 0; i < 12; i++)
		CHECK_EQ(pthread_create(&th[i], NULL, i % 3 ? stats : execs, NULL), 0);
	for (int i = 0; i < 12; i++)
		pthread_join(th[i], NULL);
	box_remove();
}

static void say(void *ctx, const char *text)
{
	++*(int *)ctx;
	fprintf(stderr, "progress: %s\n", text);
}

static void test_pull(void)
{
	int lines = 0;
	cJSON *json;

	OK(engine_image_pull(&req, engine, arg, say, &lines, &err));
	CHECK(lines > 0);
	OK(engine_image_inspect(&req, engine, arg, &json, &err));
	cJSON_Delete(json);
}

static void test_pull_fails(void)
{
	int r = engine_image_pull(&req, engine, arg, NULL, NULL, &err);

	fprintf(stderr, "pull: %s: %s\n", strerror(-r), err.text);
	CHECK(r < 0);
}

/* For engines that are not well: print what a ping gives, and how long it took. */
static void test_show_ping(void)
{
	uint64_t t = clock_ms();
	cJSON *json = NULL;
	int r = engine_ping(&req, engine, &err);

	if (r == 0)
		r = engine_version(&req, engine, &json, &err);
	cJSON_Delete(json);
	printf("%s %llu %s\n", r ? strerrorname_np(-r) : "OK", (unsigned long long)(clock_ms() - t),
	       r ? err.text : "");
}

/* The same for all that reads an answer. ARG is the call. */
static void test_show_call(void)
{
	uint64_t t = clock_ms();
	struct engine_tar *tar = NULL;
	struct engine_tar_entry x;
	struct engine_stat st = {0};
	char data[65536];
	int r = -EINVAL;

	if (strcmp(arg, "stat") == 0) {
		r = engine_archive_stat(&req, engine, "c", "/p", &st, &err);
		free(st.link);
	} else if (strcmp(arg, "get") == 0) {
		r = engine_archive_get(&req, engine, "c", "/p", &tar, &err);
		while (r == 0 && (r = engine_tar_next(&req, tar, &x)) == 1) {
			ssize_t n;

			while ((n = engine_tar_read(&req, tar, data, sizeof(data))) > 0)
				;
			r = n;
		}
		engine_tar_close(tar);
	} else if (strcmp(arg, "exec") == 0) {
		r = engine_exec_run(&req, engine, "c", &(struct engine_exec){.argv = SH("x")}, "in",
				    2, NULL, NULL, &err);
	} else if (strcmp(arg, "pull") == 0) {
		r = engine_image_pull(&req, engine, "some/image:tag", NULL, NULL, &err);
	}
	printf("%s %llu %s\n", r < 0 ? strerrorname_np(-r) : "OK",
	       (unsigned long long)(clock_ms() - t), r < 0 ? err.text : "");
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
    {"ping_and_info", test_ping_and_info},
    {"container_life", test_container_life},
    {"exec", test_exec},
    {"exec_stream", test_exec_stream},
    {"archive", test_archive},
    {"readonly_root", test_readonly_root},
    {"stat_is_fast", test_stat_is_fast},
    {"cancel_and_deadline", test_cancel_and_deadline},
    {"many_threads", test_many_threads},
    {"pull", test_pull},
    {"pull_fails", test_pull_fails},
    {"show_ping", test_show_ping},
    {"show_call", test_show_call},
};

static uint64_t setting(const char *name, uint64_t def)
{
	return getenv(name) ? strtoull(getenv(name), NULL, 10) : def;
}

int main(int argc, char **argv)
{
	struct engine_conf conf = {0};

	signal(SIGPIPE, SIG_IGN);
	if (getenv("ENGINE_LOCALE"))
		setlocale(LC_ALL, "");
	CHECK(argc >= 2);
	if (argc > 2 && argv[2][0])
		conf.host = argv[2];
	image = argc > 3 ? argv[3] : NULL;
	arg = argc > 4 ? argv[4] : NULL;
	conf.ssh_config = getenv("ENGINE_SSH_CONFIG");
	conf.timeout_ms = setting("ENGINE_TIMEOUT_MS", 0);
	bk_req_init(&req, 0, 0, 0, setting("ENGINE_DEADLINE_MS", 120000));
	OK(engine_open(&conf, &engine, &err));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (strcmp(cases[i].name, argv[1]) != 0)
			continue;
		cases[i].run();
		engine_close(engine);
		bk_req_done(&req);
		return 0;
	}
	fprintf(stderr, "no such case: %s\n", argv[1]);
	return 2;
}
