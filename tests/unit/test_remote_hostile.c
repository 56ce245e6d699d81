/*
 * A server that answers what it must not. Whatever it is, the client is neither hurt nor held, and
 * keeps nothing.
 */
#include "remote_world.h"

#include "base/log.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>

#define FRAME (REMOTE_HEADER + REMOTE_MAX_PAYLOAD)

/* ---- A server that answers by a script ---- */

static const struct stat dir_stat = {.st_ino = 1, .st_mode = S_IFDIR | 0755};
static const struct stat file_stat = {.st_ino = 2, .st_mode = S_IFREG | 0644};

struct scripted {
	int fd;
	/* The answer to a request, into OUT; returns its length. */
	size_t (*answer)(uint8_t *out, const struct remote_head *head, const struct remote_msg *m);
	pthread_t thread;
};

static size_t hello(uint8_t *out, uint64_t id)
{
	const struct remote_msg m = {
	    .magic = REMOTE_MAGIC,
	    .version = REMOTE_VERSION,
	    .inflight = 8,
	    .node = 1,
	    .st = dir_stat,
	};

	return raw_encode(out, REMOTE_HELLO, REMOTE_ANSWER, id, 0, &m);
}

static void *serve_script(void *arg)
{
	struct scripted *s = arg;
	uint8_t *payload = malloc(REMOTE_MAX_PAYLOAD), *out = malloc(FRAME);
	struct remote_head head;
	struct remote_msg m;

	while (raw_read(s->fd, &head, payload)) {
		size_t n;

		CHECK_EQ(remote_decode(payload, head.len, head.op, REMOTE_REQUEST, &m), 0);
		if (!remote_has_answer(head.op))
			continue;
		n = head.op == REMOTE_HELLO ? hello(out, head.id) : s->answer(out, &head, &m);
		raw_write(s->fd, out, n);
		if (n == 0)
			break;
	}
	close(s->fd);
	free(payload);
	free(out);
	return NULL;
}

static struct bk *script_begin(struct scripted *s,
			       size_t (*answer)(uint8_t *, const struct remote_head *,
						const struct remote_msg *))
{
	struct bk *bk;
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*s = (struct scripted){.fd = fds[1], .answer = answer};
	CHECK_EQ(pthread_create(&s->thread, NULL, serve_script, s), 0);
	CHECK_EQ(remote_new(NULL, fds[0], fds[0], "/remote", NULL, &bk, NULL), 0);
	return bk;
}

static size_t plain(uint8_t *out, const struct remote_head *head, const struct remote_msg *m)
{
	return raw_encode(out, head->op, REMOTE_ANSWER, head->id, 0, m);
}

/* What a server that keeps to the protocol would say, of a tree in which all names are one file. */
static size_t proper(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_msg m = {.node = 2, .st = file_stat, .file = 7, .dir = 8, .text = "target"};

	if (head->op == REMOTE_GETATTR && in->node == 1)
		m.st = dir_stat;
	return plain(out, head, &m);
}

static size_t wrong_id(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_head h = *head;

	h.id++;
	return proper(out, &h, in);
}

static size_t wrong_op(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	return raw_encode(out, REMOTE_UNLINK, REMOTE_ANSWER, head->id, 0, in);
}

static size_t twice(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	size_t n = proper(out, head, in);

	return n + proper(out + n, head, in);
}

static size_t too_long(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	size_t n = proper(out, head, in);

	out[3] = 0x7f;
	return n;
}

static size_t a_byte_more(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	size_t n = proper(out, head, in);

	out[0]++;
	out[n] = 0;
	return n + 1;
}

static size_t a_byte_less(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	size_t n = proper(out, head, in);

	out[0]--;
	return n - 1;
}

static size_t no_errno(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	return raw_encode(out, head->op, REMOTE_ANSWER, head->id, 512, in);
}

static size_t no_answer(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	return 0; /* the connection is closed */
}

static size_t no_type(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_msg m = {.node = 2, .st = {.st_mode = 0644}};

	return plain(out, head, &m);
}

static size_t no_node(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_msg m = {.node = 0, .st = file_stat};

	return plain(out, head, &m);
}

static size_t other_type(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_msg m = {.node = 1, .st = file_stat}; /* the root, a directory */

	return plain(out, head, &m);
}

static size_t wrong_time(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	struct remote_msg m = {.node = 2, .st = file_stat};

	m.st.st_mtim.tv_nsec = 1000000000;
	return plain(out, head, &m);
}

static size_t negative_size(uint8_t *out, const struct remote_head *head,
			    const struct remote_msg *in)
{
	struct remote_msg m = {.node = 2, .st = file_stat};

	m.st.st_size = -1;
	return plain(out, head, &m);
}

/* Each is told by a lookup: the call fails, and so does every later one, at once. */
static void a_wrong_answer_ends_the_connection(void)
{
	static size_t (*const answers[])(uint8_t *, const struct remote_head *,
					 const struct remote_msg *) = {
	    wrong_id,  wrong_op, too_long, a_byte_more, a_byte_less, no_errno,
	    no_answer, no_type,	 no_node,  other_type,	wrong_time,  negative_size,
	};

	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		struct scripted s;
		struct bk *bk = script_begin(&s, answers[i]);
		struct bk_node *root = bk_root(bk), *node;
		struct bk_req req;
		struct stat st;

		bk_req_init(&req, 0, 0, 0, 5000);
		CHECK_EQ(bk_lookup(&req, root, "f", &node, &st), -EIO);
		CHECK_EQ(bk_lookup(&req, root, "f", &node, &st), -EIO);
		CHECK(remote_is_over(bk));
		bk_req_done(&req);
		bk_node_unref(root);
		bk_free(bk);
		CHECK_EQ(pthread_join(s.thread, NULL), 0);
	}
}

static void an_answer_to_nothing_ends_the_connection(void)
{
	struct scripted s;
	struct bk *bk = script_begin(&s, twice);
	struct bk_node *root = bk_root(bk), *node;
	struct stat st;
	int r = 0;

	for (int i = 0; i < 1000 && r == 0; i++) {
		r = bk_lookup(NULL, root, "f", &node, &st);
		if (r == 0)
			bk_node_unref(node);
	}
	CHECK_EQ(r, -EIO);
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
}

/* ---- Errnos that mean more than an error ---- */

static size_t enosys(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	return raw_encode(out, head->op, REMOTE_ANSWER, head->id, ENOSYS, NULL);
}

static size_t eagain(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	return raw_encode(out, head->op, REMOTE_ANSWER, head->id, EAGAIN, NULL);
}

static void check_errno(size_t (*answer)(uint8_t *, const struct remote_head *,
					 const struct remote_msg *),
			int want)
{
	struct scripted s;
	struct bk *bk = script_begin(&s, answer);
	struct bk_node *root = bk_root(bk);

	CHECK_EQ(bk_unlink(NULL, root, "f"), want);
	CHECK(!remote_is_over(bk));
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
}

static void no_errno_changes_how_the_mount_behaves(void)
{
	check_errno(enosys, -EOPNOTSUPP);
	check_errno(eagain, -EIO);
}

/* ---- Data that is not what was asked for ---- */

static size_t much_data(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	static const uint8_t data[REMOTE_MAX_DATA];
	struct remote_msg m = {.size = 4000, .data = data, .data_len = 4000};

	if (head->op != REMOTE_READ && head->op != REMOTE_GETXATTR && head->op != REMOTE_WRITE)
		return proper(out, head, in);
	if (head->op == REMOTE_WRITE)
		m.data_len = 0;
	return plain(out, head, &m);
}

static ssize_t call_with_room(enum remote_op op, struct bk_node *node, struct bk_file *file)
{
	char buf[100] = "";

	switch (op) {
	case REMOTE_READ:
		return bk_read(NULL, file, buf, sizeof(buf), 0);
	case REMOTE_WRITE:
		return bk_write(NULL, file, buf, sizeof(buf), 0);
	default:
		return bk_getxattr(NULL, node, "user.a", buf, sizeof(buf));
	}
}

static void more_than_was_asked_for_ends_the_connection(void)
{
	static const enum remote_op ops[] = {REMOTE_READ, REMOTE_WRITE, REMOTE_GETXATTR};

	for (size_t i = 0; i < ARRAY_SIZE(ops); i++) {
		struct scripted s;
		struct bk *bk = script_begin(&s, much_data);
		struct bk_node *root = bk_root(bk), *node;
		struct bk_file *file;
		struct stat st;

		CHECK_EQ(bk_lookup(NULL, root, "f", &node, &st), 0);
		CHECK_EQ(bk_open(NULL, node, O_RDWR, &file), 0);
		CHECK_EQ(call_with_room(ops[i], node, file), -EIO);
		CHECK(remote_is_over(bk));
		bk_release(file);
		bk_node_unref(node);
		bk_node_unref(root);
		bk_free(bk);
		CHECK_EQ(pthread_join(s.thread, NULL), 0);
	}
}

/* ---- Listings ---- */

static struct remote_entry listed; /* what the next listing has */
static enum remote_op listed_with; /* OPENDIR or READDIR */
static unsigned listed_flags;
static atomic_uint n_lists; /* READDIRs that were asked */
static char listed_name[NAME_MAX + 1];

static size_t listing(uint8_t *out, const struct remote_head *head, const struct remote_msg *in)
{
	uint8_t data[REMOTE_ENTRY_MAX];
	struct remote_msg m = {.dir = 8, .data = data, .flags = listed_flags};

	n_lists += head->op == REMOTE_READDIR;
	if (head->op != listed_with)
		return proper(out, head, in);
	listed.name = listed_name;
	m.data_len = remote_put_entry(data, sizeof(data), &listed);
	return plain(out, head, &m);
}

static bool no_entry(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	CHECK(!"a wrong entry was told of");
	return false;
}

static void check_listing_with(enum remote_op op, const char *name, struct remote_entry e)
{
	struct scripted s;
	struct bk *bk = script_begin(&s, listing);
	struct bk_node *root = bk_root(bk);
	struct bk_file *file;

	strcpy(listed_name, name);
	listed = e;
	listed_with = op;
	CHECK_EQ(bk_opendir(NULL, root, &file), op == REMOTE_OPENDIR ? -EIO : 0);
	if (op == REMOTE_READDIR) {
		CHECK_EQ(bk_readdir(NULL, file, 0, no_entry, NULL), -EIO);
		bk_release(file);
	}
	CHECK(remote_is_over(bk));
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
}

static void check_listing(const char *name, struct remote_entry e)
{
	check_listing_with(REMOTE_READDIR, name, e);
	check_listing_with(REMOTE_OPENDIR, name, e);
}

static void a_wrong_entry_ends_the_connection(void)
{
	check_listing("a/b", (struct remote_entry){.next = 1});
	check_listing("/", (struct remote_entry){.next = 1});
	check_listing("", (struct remote_entry){.next = 1});
	check_listing("f", (struct remote_entry){.next = 0});
	check_listing("f", (struct remote_entry){.next = 1, .type = 16});
	check_listing("f", (struct remote_entry){.next = 1, .node = 3});
	check_listing("..", (struct remote_entry){.next = 1, .node = 1, .st = dir_stat});
	check_listing("f", (struct remote_entry){.next = 1, .node = 1, .st = file_stat});
}

/* A directory that is in itself must not keep itself alive. */
static bool take_one(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	return ++*(int *)ctx < 2;
}

static void a_directory_in_itself_is_freed(void)
{
	struct scripted s;
	struct bk *bk = script_begin(&s, listing);
	struct bk_node *root = bk_root(bk);
	struct bk_file *file;
	unsigned refs = atomic_load(&root->refs);
	int n = 0;

	listed_with = REMOTE_READDIR;
	strcpy(listed_name, "loop");
	listed = (struct remote_entry){.next = 1, .node = 1, .st = dir_stat};
	CHECK_EQ(bk_opendir(NULL, root, &file), 0);
	CHECK_EQ(bk_readdir(NULL, file, 0, take_one, &n), 0);
	CHECK_EQ(n, 2);
	bk_release(file);
	CHECK_EQ(atomic_load(&root->refs), refs);
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
}

static bool take_all(void *ctx, const char *name, uint64_t ino, unsigned type, uint64_t next)
{
	*(uint64_t *)ctx = next;
	return true;
}

static void check_questions(enum remote_op op, unsigned first, unsigned again)
{
	struct scripted s;
	struct bk *bk = script_begin(&s, listing);
	struct bk_node *root = bk_root(bk);
	struct bk_file *file;
	uint64_t next = 0;

	strcpy(listed_name, "f");
	listed = (struct remote_entry){.next = 5, .node = 2, .st = file_stat};
	listed_with = op;
	listed_flags = REMOTE_LAST;
	n_lists = 0;
	CHECK_EQ(bk_opendir(NULL, root, &file), 0);
	CHECK_EQ(bk_readdir(NULL, file, 0, take_all, &next), 0);
	CHECK_EQ(next, 5);
	CHECK_EQ(bk_readdir(NULL, file, next, no_entry, NULL), 0);
	CHECK_EQ(n_lists, first);
	CHECK_EQ(bk_readdir(NULL, file, 0, op == REMOTE_READDIR ? take_all : no_entry, &next), 0);
	CHECK_EQ(n_lists, again);
	bk_release(file);
	bk_node_unref(root);
	bk_free(bk);
	CHECK_EQ(pthread_join(s.thread, NULL), 0);
	listed_flags = 0;
}

/* Rewinding asks: the second answer here has nothing where the opening's had it all. */
static void a_listing_is_asked_for_once(void)
{
	check_questions(REMOTE_READDIR, 1, 2);
	check_questions(REMOTE_OPENDIR, 0, 1);
}

int main(void)
{
	unsigned fds = count_fds();

	signal(SIGPIPE, SIG_IGN);
	log_set_stderr(0);
	a_wrong_answer_ends_the_connection();
	an_answer_to_nothing_ends_the_connection();
	no_errno_changes_how_the_mount_behaves();
	more_than_was_asked_for_ends_the_connection();
	a_wrong_entry_ends_the_connection();
	a_directory_in_itself_is_freed();
	a_listing_is_asked_for_once();
	CHECK_EQ(count_fds(), fds);
	return 0;
}
