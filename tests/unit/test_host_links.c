/*
 * Symlinks of the host backend: which targets are shown, from where they are, and what links are as
 * nodes.
 */
#include "host_world.h"

#include <limits.h>

static int target_of(struct world *w, struct bk_node *link, char *buf)
{
	int n = bk_readlink(&w->req, link, buf);

	if (n >= 0)
		buf[n] = '\0';
	return n < 0 ? n : 0;
}

/* What reading a new link to TARGET in DIR answers; its text is WANT. */
static int shown_as(struct world *w, struct bk_node *dir, const char *target, const char *want)
{
	struct bk_node *link = w_symlink(w, dir, "link", target);
	char buf[PATH_MAX];
	int r = target_of(w, link, buf);

	if (r == 0)
		CHECK_STR(buf, want);
	bk_node_unref(link);
	CHECK_EQ(bk_unlink(&w->req, dir, "link"), 0);
	return r;
}

static int shown(struct world *w, struct bk_node *dir, const char *target)
{
	return shown_as(w, dir, target, target);
}

static void targets_that_stay_inside_are_shown_as_they_are(void)
{
	struct bk_node *a, *b;
	struct world w;

	world_init(&w, NULL);
	a = w_dir(&w, w.root, "a");
	b = w_dir(&w, a, "b");
	CHECK_EQ(shown(&w, w.root, "a/b"), 0);
	CHECK_EQ(shown(&w, w.root, "missing/too"), 0);
	CHECK_EQ(shown(&w, w.root, "."), 0);
	CHECK_EQ(shown(&w, w.root, "./a//b/"), 0);
	CHECK_EQ(shown(&w, b, "../../x"), 0);
	CHECK_EQ(shown(&w, b, "../.."), 0);
	/* A name before a ".." could be a link by the time that it is followed. */
	CHECK_EQ(shown_as(&w, w.root, "a/b/../x", "a/x"), 0);
	CHECK_EQ(shown_as(&w, w.root, "a/../a/b/../..", "."), 0);
	CHECK_EQ(shown_as(&w, b, "../b/../../a/x", "../../a/x"), 0);
	bk_node_unref(a);
	bk_node_unref(b);
	world_done(&w);
}

static void targets_that_lead_out_are_EPERM(void)
{
	char longest[PATH_MAX] = "";
	struct bk_node *a, *s;
	struct world w;

	world_init(&w, NULL);
	a = w_dir(&w, w.root, "a");
	s = w_symlink(&w, w.root, "s", "a");
	CHECK_EQ(shown(&w, w.root, "/etc/passwd"), -EPERM);
	CHECK_EQ(shown(&w, w.root, w.path), -EPERM);
	CHECK_EQ(shown(&w, w.root, ".."), -EPERM);
	CHECK_EQ(shown(&w, w.root, "./..//x"), -EPERM);
	CHECK_EQ(shown(&w, a, "../../x"), -EPERM);
	CHECK_EQ(shown(&w, a, "../a/../../x"), -EPERM);
	CHECK_EQ(shown(&w, w.root, "a/../../x"), -EPERM);
	/* not known to be a directory: a link, a file, nothing */
	CHECK_EQ(shown(&w, w.root, "s/../x"), -EPERM);
	CHECK_EQ(shown(&w, w.root, "s/x/../y"), -EPERM);
	CHECK_EQ(shown(&w, w.root, "missing/../x"), -EPERM);
	bk_node_unref(w_file(&w, w.root, "f", ""));
	CHECK_EQ(shown(&w, w.root, "f/../x"), -EPERM);
	while (strlen(longest) + 3 < sizeof(longest))
		strcat(longest, "../");
	CHECK_EQ(shown(&w, a, longest), -EPERM);
	memset(longest, 'x', sizeof(longest) - 1);
	CHECK_EQ(shown(&w, a, longest), 0);
	bk_node_unref(a);
	bk_node_unref(s);
	world_done(&w);
}

static void verbatim_shows_every_target(void)
{
	struct world w;

	world_init(&w, "{\"symlinks\": \"verbatim\"}");
	CHECK_EQ(shown(&w, w.root, "/etc/passwd"), 0);
	CHECK_EQ(shown(&w, w.root, "../../x"), 0);
	world_done(&w);
}

static void the_depth_is_that_of_the_place(void)
{
	struct bk_node *d, *e, *low, *high, *moved;
	char buf[PATH_MAX];
	struct stat st;
	struct world w;

	world_init(&w, "{\"fd_cache\": 8}");
	d = w_dir(&w, w.root, "d");
	e = w_dir(&w, d, "e");
	low = w_symlink(&w, e, "l", "../../x");
	CHECK_EQ(target_of(&w, low, buf), 0);
	/* a hard link of it higher up leads out: another node, though the same file */
	CHECK_EQ(bk_link(&w.req, low, d, "l", &high, &st), 0);
	CHECK(high != low);
	CHECK_EQ(st.st_nlink, 2);
	CHECK_EQ(st.st_ino, w_stat(&w, low).st_ino);
	CHECK_EQ(target_of(&w, high, buf), -EPERM);
	CHECK_EQ(target_of(&w, low, buf), 0);
	bk_node_unref(high);
	CHECK_EQ(bk_unlink(&w.req, d, "l"), 0);

	/* a moved link is the same node in its new place */
	CHECK_EQ(bk_rename(&w.req, e, "l", d, "m", 0), 0);
	w_evict(&w);
	moved = w_lookup(&w, d, "m");
	CHECK(moved == low);
	CHECK_EQ(target_of(&w, moved, buf), -EPERM);
	bk_node_unref(moved);
	/* and so after an exchange, and where its directory moves, beside the mount too */
	bk_node_unref(w_symlink(&w, e, "n", "../x"));
	moved = w_lookup(&w, e, "n");
	CHECK_EQ(bk_rename(&w.req, e, "n", d, "m", RENAME_EXCHANGE), 0);
	CHECK_EQ(target_of(&w, low, buf), 0);
	CHECK_EQ(target_of(&w, moved, buf), 0);
	CHECK_EQ(renameat(w.dirfd, "d/e", w.dirfd, "e"), 0);
	CHECK(target_of(&w, low, buf) < 0);
	bk_node_unref(moved);
	bk_node_unref(low);
	bk_node_unref(d);
	bk_node_unref(e);
	world_done(&w);
}

static void a_link_that_is_replaced_is_another_node(void)
{
	struct bk_node *old, *new;
	char buf[PATH_MAX];
	struct world w;

	world_init(&w, "{\"fd_cache\": 8}");
	old = w_symlink(&w, w.root, "l", "old");
	CHECK_EQ(bk_unlink(&w.req, w.root, "l"), 0);
	new = w_symlink(&w, w.root, "l", "new");
	CHECK(old != new);
	w_evict(&w);
	CHECK_EQ(target_of(&w, new, buf), 0);
	CHECK_STR(buf, "new");
	CHECK_EQ(target_of(&w, old, buf), 0);
	CHECK_STR(buf, "old");
	bk_node_unref(old);
	CHECK_EQ(unlinkat(w.dirfd, "l", 0), 0);
	CHECK_EQ(symlinkat("beside", w.dirfd, "l"), 0);
	old = TAKE(new);
	new = w_lookup(&w, w.root, "l");
	CHECK(old != new);
	CHECK_EQ(target_of(&w, new, buf), 0);
	CHECK_STR(buf, "beside");
	bk_node_unref(old);
	bk_node_unref(new);
	world_done(&w);
}

static void attributes_of_a_link_are_its_own(void)
{
	const struct bk_setattr times = {.mask = BK_SET_MTIME,
					 .mtime = {.tv_sec = 1000, .tv_nsec = 999}};
	const struct bk_setattr mode = {.mask = BK_SET_MODE, .mode = 0600};
	struct bk_node *f, *l;
	struct stat before, st;
	struct world w;

	world_init(&w, NULL);
	f = w_file(&w, w.root, "f", "x");
	l = w_symlink(&w, w.root, "l", "f");
	before = w_stat(&w, f);
	CHECK_EQ(bk_setattr(&w.req, l, NULL, &times, &st), 0);
	CHECK_EQ(st.st_mtim.tv_sec, 1000);
	CHECK_EQ(st.st_mtim.tv_nsec, 999);
	CHECK_EQ(bk_setattr(&w.req, l, NULL, &mode, &st), -EOPNOTSUPP);
	st = w_stat(&w, f);
	CHECK_EQ(st.st_mode, before.st_mode);
	CHECK_EQ(st.st_mtim.tv_sec, before.st_mtim.tv_sec);
	bk_node_unref(f);
	bk_node_unref(l);
	world_done(&w);
}

static void run(void)
{
	targets_that_stay_inside_are_shown_as_they_are();
	targets_that_lead_out_are_EPERM();
	verbatim_shows_every_target();
	the_depth_is_that_of_the_place();
	a_link_that_is_replaced_is_another_node();
	attributes_of_a_link_are_its_own();
}

int main(void)
{
	return world_variants(run);
}
