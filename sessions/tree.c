/*
 * The two types of route. `sessions`: a directory whose entries are the workspaces' roots, nodes of
 * their own backends; it answers for nothing below them. `session`: the workspace of one, as the
 * route's tree.
 */
#include "../backends/listing.h"
#include "sessions.h"
#include "volume.h"

#include <dirent.h>
#include <string.h>

static struct sessions *all_of(const struct bk *bk)
{
	return container_of(bk, struct sessions, bk);
}

/* ---- The directory ---- */

static void fill_stat(const struct sessions *all, struct stat *ret_st)
{
	*ret_st = (struct stat){
	    .st_ino = bk_unique_ino(&all->bk, all->bk.ino_dev, all->bk.root_ino),
	    /* As /tmp is, where everyone may make one. */
	    .st_mode = S_IFDIR | (all->conf.anyone ? 01777 : 0755),
	    .st_nlink = 2,
	    .st_uid = all->mount->uid,
	    .st_gid = all->mount->gid,
	    .st_blksize = 4096,
	    .st_atim = all->made,
	    .st_mtim = all->made,
	    .st_ctim = all->made,
	};
}

static int tree_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			struct stat *ret_st)
{
	fill_stat(all_of(node->bk), ret_st);
	return 0;
}

/* The workspace's root in place of S, whose reference this takes. */
static int show(struct bk_req *req, struct session *s, struct bk_node **ret_node,
		struct stat *ret_st)
{
	struct bk_node *node = bk_root(s->workspace);
	int r = 0;

	if (session_has_volume(s)) /* its engine is asked by who looks into it */
		volume_stat(s->workspace, ret_st);
	else
		r = bk_getattr(req, node, NULL, ret_st);

	if (r < 0)
		bk_node_unref(node);
	else
		*ret_node = node;
	sessions_unref(s);
	return r;
}

static int tree_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
		       struct bk_node **ret_node, struct stat *ret_st)
{
	struct session *s;
	int r = sessions_find(all_of(dir->bk), name, &s, NULL);

	return r < 0 ? r : show(req, s, ret_node, ret_st);
}

static int tree_mkdir(struct bk_req *req, struct bk_node *dir, const char *name, mode_t mode,
		      struct bk_node **ret_node, struct stat *ret_st)
{
	struct sessions_wish wish = {.maker = req->uid, .maker_gid = req->gid};
	struct session *s;
	int r = sessions_get(all_of(dir->bk), name, &wish, &s, NULL);

	return r < 0 ? r : show(req, s, ret_node, ret_st);
}

/* As natively, a directory that is not empty is not removed. */
static int tree_rmdir(struct bk_req *req, struct bk_node *dir, const char *name)
{
	struct sessions *all = all_of(dir->bk);
	int r = name_is_plain(name) ? store_workspace_empty(&all->store, name) : -ENOENT;

	if (r <= 0)
		return r < 0 ? r : -ENOTEMPTY;
	return sessions_release(all, name, NULL);
}

static int tree_rename(struct bk_req *req, struct bk_node *dir, const char *name,
		       struct bk_node *new_dir, const char *new_name, unsigned flags)
{
	return -EBUSY;
}

/* It serves all its names itself: what it makes and removes are sessions. */
static int tree_through(struct bk_node *node, const char *name, struct bk_node **ret)
{
	*ret = node;
	return 0;
}

/* ---- Listings ---- */

struct taking {
	struct listing *listing;
	int error;
};

static void add_session(void *ctx, struct session *s)
{
	const struct bk *w = s->workspace;
	struct taking *t = ctx;

	if (t->error == 0)
		t->error = listing_add(t->listing, s->name,
				       bk_unique_ino(w, w->ino_dev, w->root_ino), DT_DIR);
}

static int list(struct bk_req *req, struct bk_node *node, struct listing *l)
{
	struct sessions *all = all_of(node->bk);
	struct taking t = {.listing = l};
	int r;

	t.error =
	    listing_add(l, ".", bk_unique_ino(&all->bk, all->bk.ino_dev, all->bk.root_ino), DT_DIR);
	if (t.error == 0)
		t.error = listing_add(l, "..", 0, DT_DIR);
	r = sessions_each(all, add_session, &t);
	return r < 0 ? r : t.error;
}

static int tree_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie, bk_fill_fn fill,
			void *ctx)
{
	return listing_read(req, file, cookie, list, fill, ctx);
}

/* ---- Life ---- */

static int tree_prepare(struct bk_req *req, struct bk *bk, void (*progress)(void *, const char *),
			void *ctx, struct err *err)
{
	return sessions_start(req, all_of(bk), progress, ctx, err);
}

static struct bk_node *tree_root(struct bk *bk)
{
	return bk_node_ref(&all_of(bk)->node);
}

/* It is a part of what destroy frees. */
static void tree_node_free(struct bk_node *node)
{
}

static void tree_destroy(struct bk *bk)
{
	struct sessions *all = all_of(bk);

	bk_node_unref(&all->node);
	sessions_done(all);
	free(all);
}

static const struct bk_ops tree_ops = {
    .type = "sessions",
    .prepare = tree_prepare,
    .destroy = tree_destroy,
    .root = tree_root,
    .node_free = tree_node_free,
    .lookup = tree_lookup,
    .mkdir = tree_mkdir,
    .rmdir = tree_rmdir,
    .rename = tree_rename,
    .getattr = tree_getattr,
    .opendir = listing_open,
    .readdir = tree_readdir,
    .release = listing_release,
    .through = tree_through,
    .enter = sessions_enter,
    .leave = sessions_leave,
};

/* ---- One session ---- */

static int one_prepare(struct bk_req *req, struct bk *bk, void (*progress)(void *, const char *),
		       void *ctx, struct err *err)
{
	struct sessions *all = all_of(bk);
	struct sessions_wish wish = {.maker = all->conf.uid, .maker_gid = all->conf.gid};
	int r = sessions_start(req, all, progress, ctx, err);

	if (r == 0)
		r = sessions_get(all, all->conf.name, &wish, &all->only, err);
	if (r < 0)
		return r;
	/* The route's own numbers are those of the tree that it shows. */
	bk->ino_space = all->only->workspace->ino_space;
	bk->ino_dev = all->only->workspace->ino_dev;
	bk->root_ino = all->only->workspace->root_ino;
	return 0;
}

static struct bk_node *one_root(struct bk *bk)
{
	return bk_root(all_of(bk)->only->workspace);
}

static const char *one_host_dir(struct bk *bk)
{
	struct bk *w = all_of(bk)->only->workspace;

	return w->ops->host_dir ? w->ops->host_dir(w) : NULL;
}

static void one_destroy(struct bk *bk)
{
	struct sessions *all = all_of(bk);

	sessions_unref(TAKE(all->only));
	sessions_done(all);
	free(all);
}

static const struct bk_ops one_ops = {
    .type = "session",
    .prepare = one_prepare,
    .destroy = one_destroy,
    .root = one_root,
    .host_dir = one_host_dir,
    .enter = sessions_enter,
    .leave = sessions_leave,
};

struct sessions *sessions_of(struct bk *bk)
{
	return bk && (bk->ops == &tree_ops || bk->ops == &one_ops) ? all_of(bk) : NULL;
}

/* ---- The types ---- */

static int make(const struct bk_mount *mount, const char *route, bool one, const cJSON *options,
		struct bk **ret, struct err *err)
{
	struct sessions *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return -ENOMEM;
	r = sessions_init(all, mount, one, one ? &one_ops : &tree_ops, route, options, err);
	if (r < 0) {
		free(all);
		return r;
	}
	if (!one)
		bk_node_init(&all->node, &all->bk);
	all->bk.root_ino = 1;
	*ret = &all->bk;
	return 0;
}

static int make_sessions(const struct bk_mount *mount, const char *route, const cJSON *options,
			 const cJSON *binds, struct bk **ret, struct err *err)
{
	return make(mount, route, false, options, ret, err);
}

static int make_session(const struct bk_mount *mount, const char *route, const cJSON *options,
			const cJSON *binds, struct bk **ret, struct err *err)
{
	return make(mount, route, true, options, ret, err);
}

extern const struct bk_type sessions_type, session_type;

const struct bk_type sessions_type = {
    .name = "sessions",
    .make = make_sessions,
    .runs = true,
    .options = sessions_options,
};

const struct bk_type session_type = {
    .name = "session",
    .source_key = "name",
    .make = make_session,
    .runs = true,
    .options = session_options,
};
