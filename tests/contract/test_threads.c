/*
 * Four threads at once on one backend: random changes of the same few names, which must leave a
 * tree that agrees with itself, and appends of which none may be lost.
 */
#include "suite.h"

#define THREADS 4
#define NAMES 12

struct worker {
	struct suite *s;
	struct bk_node *dirs[2];
	struct bk_node *log; /* for the append test */
	unsigned id, steps;
	pthread_t thread;
};

static void run_threads(struct worker *workers, void *(*work)(void *))
{
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_join(workers[i].thread, NULL), 0);
}

/* A result that a race over names may give. */
static void check_race(int r)
{
	static const int may_be[] = {
	    0, -ENOENT, -EEXIST, -ENOTDIR, -EISDIR, -EINVAL, -EMLINK, -ENOTEMPTY, -EPERM,
	};

	for (size_t i = 0; i < ARRAY_SIZE(may_be); i++)
		if (r == may_be[i])
			return;
	fprintf(stderr, "errno %d\n", -r);
	CHECK(!"an errno that no race explains");
}

/* A result that I/O on a file may give whose name goes. */
static void check_gone(ssize_t n)
{
	if (n < 0)
		CHECK_EQ(n, -ENOENT);
}

static void use_file(struct bk_req *req, struct bk_file *file, uint64_t *random)
{
	char data[5000], got[5000];
	off_t off = s_random(random, 20000);
	ssize_t n;

	memset(data, 'a' + s_random(random, 26), sizeof(data));
	n = bk_write(req, file, data, 1 + s_random(random, sizeof(data)), off);
	check_gone(n);
	n = bk_read(req, file, got, sizeof(got), off);
	check_gone(n);
	n = bk_flush(req, file);
	check_gone(n);
}

static void create_one(struct bk_req *req, struct bk_node *dir, const char *name, uint64_t *random)
{
	struct bk_node *node;
	struct bk_file *file;
	struct stat st;
	int flags = O_RDWR | O_CREAT | (s_random(random, 3) == 0 ? O_TRUNC : 0);
	int r = bk_create(req, dir, name, 0644, flags, &node, &file, &st);

	check_race(r);
	if (r < 0)
		return;
	use_file(req, file, random);
	bk_release(file);
	bk_node_unref(node);
}

static void look_one(struct bk_req *req, struct bk_node *dir, const char *name, uint64_t *random)
{
	struct bk_setattr set = {.mask = BK_SET_MODE, .mode = 0600 | s_random(random, 0200)};
	struct bk_node *node;
	struct stat st;
	int r = bk_lookup(req, dir, name, &node, &st);

	check_race(r);
	if (r < 0)
		return;
	if (S_ISREG(st.st_mode) && s_random(random, 2))
		set = (struct bk_setattr){.mask = BK_SET_SIZE, .size = s_random(random, 30000)};
	else if (S_ISDIR(st.st_mode))
		set.mode |= 0700;
	check_race(bk_setattr(req, node, NULL, &set, &st));
	check_race(bk_getattr(req, node, NULL, &st));
	bk_node_unref(node);
}

static void link_one(struct worker *w, struct bk_req *req, struct bk_node *dir, const char *name,
		     const char *name2)
{
	struct bk_node *node, *linked;
	struct stat st;

	if (w->s->traits->link || bk_lookup(req, dir, name, &node, &st) < 0)
		return;
	if (!S_ISDIR(st.st_mode)) {
		int r = bk_link(req, node, w->dirs[0], name2, &linked, &st);

		check_race(r);
		if (r == 0)
			bk_node_unref(linked);
	}
	bk_node_unref(node);
}

static bool count_entry(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	++*(unsigned *)ctx;
	return true;
}

static void list_one(struct bk_req *req, struct bk_node *dir)
{
	struct bk_file *file;
	unsigned n = 0;

	CHECK_EQ(bk_opendir(req, dir, &file), 0);
	CHECK_EQ(bk_readdir(req, file, 0, count_entry, &n), 0);
	/* Names that move while they are listed may show twice, never more. */
	CHECK(n <= 2 + 2 * NAMES + 100);
	bk_release(file);
}

static void step(struct worker *w, struct bk_req *req, uint64_t *random)
{
	struct bk_node *dir = w->dirs[s_random(random, 2)], *dir2 = w->dirs[s_random(random, 2)];
	struct bk_node *node;
	struct stat st;
	char a[8], b[8];
	int r;

	snprintf(a, sizeof(a), "n%u", s_random(random, NAMES));
	snprintf(b, sizeof(b), "n%u", s_random(random, NAMES));
	switch (s_random(random, 8)) {
	case 0:
	case 1:
		create_one(req, dir, a, random);
		break;
	case 2:
		check_race(bk_rename(req, dir, a, dir2, b, 0));
		break;
	case 3:
		check_race(bk_unlink(req, dir, a));
		break;
	case 4:
		r = bk_mkdir(req, dir, a, 0755, &node, &st);
		check_race(r);
		if (r == 0)
			bk_node_unref(node);
		check_race(bk_rmdir(req, dir, b));
		break;
	case 5:
		look_one(req, dir, a, random);
		break;
	case 6:
		link_one(w, req, dir, a, b);
		break;
	case 7:
		list_one(req, dir);
		break;
	}
}

static void *change_names(void *arg)
{
	struct worker *w = arg;
	uint64_t random = w->s->seed * 1000 + w->id;
	struct bk_req req;

	bk_req_init(&req, getuid(), getgid(), getpid(), 0);
	for (unsigned i = 0; i < w->steps; i++)
		step(w, &req, &random);
	bk_req_done(&req);
	return NULL;
}

/* Every listed name can be found; links and names agree. */
static void check_agreement(struct suite *s, struct bk_node *const dirs[2])
{
	struct {
		uint64_t ino;
		unsigned names, nlink;
	} files[2 * NAMES] = {0};
	size_t n_files = 0, found[2] = {0};

	for (int d = 0; d < 2; d++)
		for (int i = 0; i < NAMES; i++) {
			struct bk_node *node;
			struct stat st;
			char name[8];
			size_t k = 0;

			snprintf(name, sizeof(name), "n%d", i);
			if (bk_lookup(s->req, dirs[d], name, &node, &st) < 0)
				continue;
			bk_node_unref(node);
			found[d]++;
			if (S_ISDIR(st.st_mode))
				continue;
			while (k < n_files && files[k].ino != st.st_ino)
				k++;
			files[k].ino = st.st_ino;
			files[k].nlink = st.st_nlink;
			files[k].names++;
			n_files += k == n_files;
		}
	for (int d = 0; d < 2; d++)
		CHECK_EQ(s_count(s, dirs[d]), found[d] + 2);
	for (size_t k = 0; k < n_files; k++)
		CHECK_EQ(files[k].names, files[k].nlink);
}

static void threads_leave_a_tree_that_agrees(struct suite *s)
{
	struct bk_node *dirs[2] = {s_mkdir(s, s->dir, "d0"), s_mkdir(s, s->dir, "d1")};
	struct worker workers[THREADS];

	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){
		    .s = s,
		    .dirs = {dirs[0], dirs[1]},
		    .id = i,
		    .steps = s->steps,
		};
	run_threads(workers, change_names);
	check_agreement(s, dirs);
	bk_node_unref(dirs[0]);
	bk_node_unref(dirs[1]);
}

#define RECORD 16

static void *append_records(void *arg)
{
	struct worker *w = arg;
	char record[RECORD + 1];
	struct bk_req req;
	struct bk_file *file;

	bk_req_init(&req, getuid(), getgid(), getpid(), 0);
	CHECK_EQ(bk_open(&req, w->log, O_WRONLY | O_APPEND, &file), 0);
	for (unsigned i = 0; i < w->steps; i++) {
		snprintf(record, sizeof(record), "%3u %11u\n", w->id, i);
		CHECK_EQ(bk_write(&req, file, record, RECORD, 0), RECORD);
	}
	CHECK_EQ(bk_flush(&req, file), 0);
	bk_release(file);
	bk_req_done(&req);
	return NULL;
}

static void no_append_is_lost(struct suite *s)
{
	_cleanup_(bk_node_unrefp) struct bk_node *log = s_file(s, s->dir, "log", "");
	struct worker workers[THREADS];
	unsigned next[THREADS] = {0}, steps = s->steps / 4;
	struct bk_file *file;
	char record[RECORD + 1] = "";

	if (!s->traits->append)
		return;
	for (unsigned i = 0; i < THREADS; i++)
		workers[i] = (struct worker){.s = s, .log = log, .id = i, .steps = steps};
	run_threads(workers, append_records);

	file = s_open(s, log, O_RDONLY);
	for (unsigned i = 0; i < THREADS * steps; i++) {
		unsigned id, n;

		CHECK_EQ(bk_read(s->req, file, record, RECORD, (off_t)i * RECORD), RECORD);
		CHECK_EQ(sscanf(record, "%u %u", &id, &n), 2);
		CHECK(id < THREADS);
		CHECK_EQ(n, next[id]);
		next[id]++;
	}
	CHECK_EQ(bk_read(s->req, file, record, RECORD, (off_t)THREADS * steps * RECORD), 0);
	bk_release(file);
}

const struct suite_test thread_tests[] = {
    TEST(threads_leave_a_tree_that_agrees),
    TEST(no_append_is_lost),
    {NULL},
};
