/*
 * Searches at their far end, both ends in this process: what comes out over a served directory is
 * what a walk over the same directory gives, for every request and caller; few calls cross; a far
 * end that lies or stops spoils its own results only.
 */
#include "backend.h"
#include "ops/far.h"
#include "ops/ops.h"
#include "remote/remote.h"
#include "remote/serve.h"
#include "test.h"

#include <cjson/cJSON.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define NOBODY 65534
#define GROUP 1234
#define FILES 600

static struct {
	char path[32];
	struct bk *host, *remote;
	struct far_server *far;
	int fd;
	pthread_t thread;
} world;

/* ---- The two ends ---- */

static struct bk *host_new(const char *path)
{
	static const struct bk_mount mount = {.id = "test", .mountpoint = "/usr"};
	const struct bk_type *type;
	cJSON *options = cJSON_CreateObject();
	struct bk *bk;

	cJSON_AddStringToObject(options, "path", path);
	CHECK_EQ(bk_type_find("host", &type, NULL), 0);
	CHECK_EQ(type->make(&mount, "/", options, NULL, &bk, NULL), 0);
	CHECK_EQ(bk->ops->prepare(NULL, bk, NULL, NULL, NULL), 0);
	cJSON_Delete(options);
	return bk;
}

static void *serve(void *arg)
{
	const struct remote_serve_conf conf = {.search = far_server_search, .ctx = world.far};
	struct bk *served = arg;

	CHECK_EQ(remote_serve(served, world.fd, world.fd, &conf), 0);
	return NULL;
}

static struct bk *serve_begin(void)
{
	struct bk *served = host_new(world.path);
	int fds[2];

	CHECK_EQ(far_server_new(served, &world.far), 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	world.fd = fds[1];
	CHECK_EQ(pthread_create(&world.thread, NULL, serve, served), 0);
	CHECK_EQ(remote_new(NULL, fds[0], fds[0], "/", NULL, &world.remote, NULL), 0);
	return served;
}

static void serve_end(struct bk *served)
{
	bk_free(world.remote);
	CHECK_EQ(pthread_join(world.thread, NULL), 0);
	far_server_free(world.far);
	bk_free(served);
}

/* ---- Operations ---- */

struct said {
	struct buf out, messages;
	struct ops *cancel; /* at the first output */
	int status;
};

static int put(void *ctx, int stream, const void *data, size_t len)
{
	struct said *s = ctx;

	if (s->cancel)
		ops_cancel(s->cancel);
	return buf_add(stream == 1 ? &s->out : &s->messages, data, len);
}

static void said_done(struct said *s)
{
	buf_done(&s->out);
	buf_done(&s->messages);
}

static void run(struct bk *root, const struct ops_who *who, const char *json, bool cancel,
		struct said *s)
{
	const struct ops_tree tree = {.root = root,
				      .mountpoint = "/usr",
				      .allow_other = true,
				      .deadline_ms = 2000,
				      .threads = 3};
	const struct ops_io io = {.ctx = s, .write = put};
	cJSON *request = cJSON_Parse(json);
	struct ops *o;

	*s = (struct said){.out = BUF_INIT(SIZE_MAX / 2), .messages = BUF_INIT(1 << 20)};
	CHECK(request);
	CHECK_EQ(ops_new(&tree, who, &io, request, &o, NULL), 0);
	s->cancel = cancel ? o : NULL;
	s->status = ops_run(o);
	ops_free(o);
	cJSON_Delete(request);
}

static const char *text(const struct buf *b)
{
	return b->data ? b->data : "";
}

static const struct ops_who root_user = {.uid = 0};

/* ---- What is searched ---- */

static void file(const char *name, const void *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *path = NULL;
	int fd;

	CHECK(asprintf(&path, "%s/%s", world.path, name) > 0);
	for (char *p = path + strlen(world.path) + 1; (p = strchr(p, '/')); *p++ = '/') {
		*p = '\0';
		(void)mkdir(path, 0755);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	CHECK(fd >= 0);
	CHECK_EQ(write(fd, data, len), len);
	CHECK_EQ(fchmod(fd, mode), 0);
	closep(&fd);
}

static void in_world(const char *command)
{
	_cleanup_free_ char *line = NULL;

	CHECK(asprintf(&line, "cd '%s' && %s", world.path, command) > 0);
	CHECK_EQ(system(line), 0);
}

#define TEXT(name, s) file(name, s, strlen(s), 0644)

static void make_tree(void)
{
	char name[64];
	static char many[40000];

	strcpy(world.path, "/tmp/aib-far-XXXXXX");
	CHECK(mkdtemp(world.path));
	CHECK_EQ(chmod(world.path, 0755), 0);
	TEXT("a.py", "import os\nprint('hit')\n");
	TEXT("a-b/c", "hit\n");
	TEXT("a/b", "hit\n");
	TEXT("a.d/x", "hit\nHIT\n");
	TEXT("src/deep/er/c.txt", "no newline hit");
	TEXT("src/.hidden/f", "hit\n");
	TEXT("src/crlf", "hit\r\nmiss\r\n");
	TEXT("src/caf\xc3\xa9", "Gr\xc3\xbc\xc3\x9f hit\n");
	TEXT("src/\xff\xfe", "\xe9 hit\n");
	TEXT("src/new\nline \"quoted\\", "hit\n");
	TEXT("empty", "");
	file("binary", "hit\0hit\n", 8, 0644);
	memset(many, 'x', sizeof(many));
	memcpy(many + sizeof(many) - 5, " hit\n", 5);
	file("long", many, sizeof(many), 0644);
	TEXT(".git/info/exclude", "excluded\n");
	TEXT("excluded/f", "hit\n");
	TEXT(".gitignore", "*.txt\n/top\n");
	TEXT("top", "hit\n");
	TEXT("src/.gitignore", "!c.txt\nignored/\n");
	TEXT("src/ignored/f", "hit\n");
	TEXT("src/top", "hit\n");
	file("private/f", "hit\n", 4, 0644);
	file("closed", "hit\n", 4, 0600);
	file("grouped", "hit\n", 4, 0640);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "many/d%d/f%d", i / 20, i);
		TEXT(name, "one hit\ntwo\nthree hit\n");
	}
	in_world(
	    "chmod 700 private && chgrp 1234 grouped && ln -s ../a.py src/link && "
	    "ln -s nowhere src/dangling && ln -s a src/../dirlink && ln -s /a.py abs && "
	    "ln -s ../.gitignore a/.gitignore && mkfifo src/fifo && "
	    "find . -exec touch -h -d '2024-05-06 07:08:09.123' {} + && touch -d 2023-01-01 a/b");
}

/* ---- The same, wherever it is searched ---- */

static const char *const requests[] = {
    "\"op\": \"grep\", \"pattern\": \"hit\"",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"mode\": \"files\"",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"mode\": \"count\"",
    "\"op\": \"grep\", \"pattern\": \"HIT\", \"ignore_case\": true, \"glob\": \"*.{py,txt}\"",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"glob\": \"src/**/f\"",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"glob\": \"/deep/**\"",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"gitignore\": true",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"max\": 7",
    "\"op\": \"grep\", \"pattern\": \"hit\", \"max\": 1300, \"mode\": \"content\"",
    "\"op\": \"grep\", \"pattern\": \"nothing of that\"",
    "\"op\": \"grep\", \"pattern\": \"\"",
    "\"op\": \"grep\", \"pattern\": \"(\"",
    "\"op\": \"grep\", \"pattern\": \"^.*h[^x]t$\"",
    "\"op\": \"grep\", \"pattern\": \"(x+x+)+y\"",
    "\"op\": \"glob\", \"pattern\": \"**\"",
    "\"op\": \"glob\", \"pattern\": \"**\", \"hidden\": true",
    "\"op\": \"glob\", \"pattern\": \"**\", \"gitignore\": true",
    "\"op\": \"glob\", \"pattern\": \"*/{deep/er,*}/*\"",
    "\"op\": \"glob\", \"pattern\": \"many/d1?/f*7\"",
    "\"op\": \"glob\", \"pattern\": \"**\", \"sort\": \"mtime\"",
    "\"op\": \"glob\", \"pattern\": \"**\", \"max\": 5",
    "\"op\": \"glob\", \"pattern\": \"nothing\"",
};
static const char *const places[] = {"", "src", "src/deep", "private", "a.py", "nope"};

static void same(const struct ops_who *who, const char *json)
{
	struct said here, there;

	run(world.host, who, json, false, &here);
	run(world.remote, who, json, false, &there);
	if (strcmp(text(&here.out), text(&there.out)) != 0 ||
	    strcmp(text(&here.messages), text(&there.messages)) != 0)
		fprintf(stderr, "%s\n", json);
	CHECK_STR(text(&there.out), text(&here.out));
	CHECK_STR(text(&there.messages), text(&here.messages));
	CHECK_EQ(there.status, here.status);
	said_done(&here);
	said_done(&there);
}

static void results_are_the_same_wherever_it_is_searched(void)
{
	static const gid_t groups[] = {GROUP};
	static const struct ops_who callers[] = {
	    {.uid = 0},
	    {.uid = NOBODY, .gid = NOBODY},
	    {.uid = NOBODY, .gid = NOBODY, .groups = groups, .n_groups = 1}};
	char json[512];

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++)
		for (size_t p = 0; p < ARRAY_SIZE(places); p++)
			for (int v = 0; v < 6; v++) {
				snprintf(
				    json, sizeof(json),
				    "{\"at\": \"/usr/%s\", \"path\": \"%s\", \"json\": %s, %s}",
				    places[p], *places[p] ? places[p] : ".",
				    v % 2 ? "true" : "false", requests[i]);
				same(&callers[v / 2], json);
			}
}

static void results_cross_and_not_files(void)
{
	uint64_t before = atomic_load(&world.remote->calls);
	struct said s;

	run(world.remote, &root_user,
	    "{\"op\": \"grep\", \"at\": \"/usr/many\", \"path\": \"many\", \"pattern\": \"two\"}",
	    false, &s);
	CHECK_EQ(s.status, 0);
	CHECK(atomic_load(&world.remote->calls) - before < 10);
	said_done(&s);
}

static void a_cancelled_search_ends_at_its_far_end(void)
{
	struct said s;

	/* serve_end waits for it. */
	run(world.remote, &root_user,
	    "{\"op\": \"grep\", \"at\": \"/usr\", \"path\": \".\", \"pattern\": \"\", \"json\": "
	    "true}",
	    true, &s);
	CHECK_EQ(s.status, 2);
	said_done(&s);
}

/* ---- Lies ---- */

struct lie {
	struct bk_results results;
	struct buf bytes;
	size_t at;
	bool stops; /* at its end nothing comes any more */
};

static struct lie *lie;

static ssize_t lie_read(struct bk_req *req, struct bk_results *results, void *data, size_t size)
{
	size_t n = lie->bytes.len - lie->at;

	if (n == 0 && lie->stops) {
		while (bk_req_check(req) == 0)
			usleep(1000);
		return bk_req_check(req);
	}
	if (n > size)
		n = size;
	memcpy(data, lie->bytes.data + lie->at, n);
	lie->at += n;
	return n;
}

static void lie_free(struct bk_results *results)
{
}

static const struct bk_results_ops lie_ops = {.read = lie_read, .free = lie_free};

static int lie_search(struct bk_req *req, struct bk_node *dir, const struct bk_search *s,
		      struct bk_results **ret)
{
	struct far_request q;

	/* What was asked can be understood. */
	CHECK_EQ(far_get_request(s->what, s->size, &q), 0);
	free(q.rules);
	lie->results.ops = &lie_ops;
	*ret = &lie->results;
	return 0;
}

static void add(uint32_t kind, const char *path, uint64_t number, const char *line)
{
	const struct far_record x = {.kind = kind,
				     .number = number,
				     .path = path,
				     .path_len = strlen(path),
				     .text = line,
				     .text_len = strlen(line)};

	CHECK_EQ(far_put_record(&lie->bytes, &x), 0);
}

static void told(const char *json, struct said *ret)
{
	struct bk *bk = host_new(world.path);
	struct bk_ops ops = *bk->ops;

	ops.search = lie_search;
	bk->ops = &ops;
	lie->at = 0;
	run(bk, &root_user, json, false, ret);
	bk_free(bk);
}

#define GREP "{\"op\": \"grep\", \"at\": \"/usr\", \"path\": \".\", \"pattern\": \"x\"}"
#define GLOB "{\"op\": \"glob\", \"at\": \"/usr\", \"path\": \".\", \"pattern\": \"**\"}"
#define BROKEN "Error: '.': what searches there answers otherwise than it should\n"

static void expect(const char *json, const char *out, const char *message)
{
	struct said s;

	told(json, &s);
	CHECK_STR(text(&s.out), out);
	CHECK_STR(text(&s.messages), message);
	said_done(&s);
	buf_consume(&lie->bytes, lie->bytes.len);
}

static void lies_are_told_from_results(void)
{
	static const char *const paths[] = {"/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", ""};

	add(FAR_LINE, "a", 1, "l");
	add(FAR_TICK, "", 0, "");
	add(FAR_LINE, "a", 2, "l");
	add(FAR_ERROR, "b", EACCES, "");
	add(FAR_END, "", 0, "");
	expect(GREP, "./a:1:l\n./a:2:l\n", "Error: './b': Permission denied\n");
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		add(FAR_LINE, paths[i], 1, "l");
		expect(GREP, "", BROKEN);
	}
	/* Out of order; the same again; what the operation did not ask for. */
	add(FAR_LINE, "b", 1, "l");
	add(FAR_LINE, "a", 1, "l");
	expect(GREP, "./b:1:l\n", BROKEN);
	add(FAR_LINE, "b", 1, "l");
	add(FAR_LINE, "b", 1, "l");
	expect(GREP, "./b:1:l\n", BROKEN);
	add(FAR_COUNT, "b", 1, "l");
	expect(GREP, "", BROKEN);
	add(FAR_FILE, "b", 1, "");
	expect(GREP, "", BROKEN);
	add(99, "b", 1, "");
	expect(GREP, "", BROKEN);
	/* No end; errnos that mean an operation's own end. */
	add(FAR_LINE, "a", 1, "l");
	expect(GREP, "./a:1:l\n", "Error: '.': Input/output error\n");
	add(FAR_END, "", EINTR, "");
	expect(GREP, "", "Error: '.': Input/output error\n");
	add(FAR_END, "", 4096, "");
	expect(GREP, "", BROKEN);
	/* A link that is none, one that is not there, and one that leads out. */
	add(FAR_LINK, "a.py", 0, "");
	add(FAR_LINK, "none/x", 0, "");
	add(FAR_LINK, "src/link", 0, "");
	add(FAR_END, "", 0, "");
	expect(GLOB, "./a.py\n./src/link\n", "");
}

static void a_far_end_that_stops_is_waited_for_until_the_deadline(void)
{
	lie->stops = true;
	add(FAR_LINE, "a", 1, "l");
	expect(GREP, "./a:1:l\n", "Error: '.': no progress within the deadline\n");
	lie->stops = false;
}

static uint32_t below(uint64_t *state, uint32_t n)
{
	*state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (*state >> 33) % n;
}

static void any_bytes_end_in_a_result_or_an_error(void)
{
	uint64_t state = 1;

	for (int n = 0; n < 400; n++) {
		struct said s;

		for (uint32_t i = 0; i < 5; i++)
			add(1 + below(&state, 7), i % 2 ? "b/c" : "a", below(&state, 5), "line\n");
		for (int k = 0; k < 4; k++)
			lie->bytes.data[below(&state, lie->bytes.len)] = (char)below(&state, 256);
		told(n % 2 ? GREP : GLOB, &s);
		CHECK(s.status >= 0 && s.status <= 2);
		said_done(&s);
		buf_consume(&lie->bytes, lie->bytes.len);
	}
}

/* ---- Requests of a client that lies ---- */

static void requests_that_are_none_are_refused(void)
{
	_cleanup_buf_ struct buf good = BUF_INIT(4096);
	const struct far_request q = {.kind = FAR_GREP,
				      .pattern = "x",
				      .glob = "",
				      .below = "a",
				      .path = "a/b",
				      .depth = 2,
				      .n_rules = 1};
	const struct far_rules rules = {.depth = 1, .text = "*.o", .len = 3};
	struct far_request got;
	uint64_t state = 2;

	CHECK_EQ(far_put_request(&good, &q), 0);
	CHECK_EQ(far_put_rules(&good, &rules), 0);
	CHECK_EQ(far_get_request(good.data, good.len, &got), 0);
	CHECK_STR(got.path, "a/b");
	CHECK_EQ(got.rules[0].len, 3);
	free(got.rules);
	for (size_t n = 0; n < good.len; n++)
		CHECK_EQ(far_get_request(good.data, n, &got), -EINVAL);
	for (int n = 0; n < 2000; n++) {
		char bytes[256];

		CHECK(good.len < sizeof(bytes));
		memcpy(bytes, good.data, good.len);
		bytes[below(&state, good.len)] = (char)below(&state, 256);
		if (far_get_request(bytes, good.len, &got) == 0) {
			CHECK(got.n_rules == 0 || got.rules[0].depth <= got.depth);
			free(got.rules);
		}
	}
}

int main(void)
{
	struct lie lies = {.bytes = BUF_INIT(1 << 20)};
	struct bk *served;

	lie = &lies;
	make_tree();
	world.host = host_new(world.path);
	served = serve_begin();
	results_are_the_same_wherever_it_is_searched();
	results_cross_and_not_files();
	a_cancelled_search_ends_at_its_far_end();
	serve_end(served);
	bk_free(world.host);
	lies_are_told_from_results();
	a_far_end_that_stops_is_waited_for_until_the_deadline();
	any_bytes_end_in_a_result_or_an_error();
	requests_that_are_none_are_refused();
	buf_done(&lies.bytes);
	in_world("cd / && rm -rf \"$OLDPWD\"");
	return 0;
}
