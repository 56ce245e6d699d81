#include "volume.h"

#include "../backends/base/log.h"
#include "sessions.h"

#include <string.h>

#define ROOT_INO 1

struct volume {
	struct bk bk;
	struct bk_node root; /* a part of this */
	struct session *s;

	atomic_bool failing;

	pthread_mutex_t lock;
	/* guarded by lock */
	struct bk_node *top; /* the workdir in the container's tree, once it was looked into */
	struct stat seen;
};

void volume_name(const struct store *store, const char *session, char ret[VOLUME_NAME_SIZE])
{
	snprintf(ret, VOLUME_NAME_SIZE, "aib-w-%s-%s", store->id, session);
}

static struct volume *volume_of(const struct bk *bk)
{
	return container_of(bk, struct volume, bk);
}

/* Borrowed: it stays as long as the volume's tree. */
static struct bk_node *top_of(struct volume *v)
{
	struct bk_node *top;

	pthread_mutex_lock(&v->lock);
	top = v->top;
	pthread_mutex_unlock(&v->lock);
	return top;
}

/* ---- Failures ---- */

/* The engine did not serve the workspace, for the reason WHY: that is told once. What a file call
 * answers with for R. */
static int failed(struct volume *v, int r, const char *why)
{
	struct session *s = v->s;
	struct err err = {""};
	char name[VOLUME_NAME_SIZE];

	if (r == -EINTR || r == -ENOMEM)
		return r;
	volume_name(&s->all->store, s->name, name);
	err_set(
	    &err, r,
	    "session %s: its workspace, volume %s on engine %s, cannot be reached: %s; it is there "
	    "again when that engine answers (aib doctor)",
	    s->name, name, s->engine ? s->engine : "(default)", *why ? why : strerror(-r));
	if (!atomic_exchange(&v->failing, true))
		log_warning("%s", err.text);
	(void)session_keep_error(s, r, &err);
	return r == -ETIMEDOUT ? r : -EIO;
}

static void works(struct volume *v)
{
	if (atomic_load(&v->failing) && atomic_exchange(&v->failing, false))
		(void)session_keep_error(v->s, 0, &(struct err){""});
}

/* R came of the container's tree: an answer about a file, or none. */
static int answered(struct volume *v, struct bk *box, int r)
{
	static const int silence[] = {-EIO,	    -ETIMEDOUT, -ECONNREFUSED,
				      -ECONNRESET,  -EPIPE,	-EHOSTUNREACH,
				      -ENETUNREACH, -EPROTO,	-ENOTCONN};
	_cleanup_buf_ struct buf why = BUF_INIT(sizeof(struct err));

	for (size_t i = 0; i < ARRAY_SIZE(silence); i++) {
		if (r != silence[i])
			continue;
		(void)box->ops->sandbox->error(box, &why);
		return failed(v, r, why.len > 1 ? strtok(why.data, "\n") : "");
	}
	if (r != -EINTR)
		works(v);
	return r;
}

/* ---- The container's tree ---- */

/* The directory at the absolute path DIR of BOX, with a reference. */
static int find_dir(struct bk_req *req, struct bk *box, const char *dir, struct bk_node **ret)
{
	struct bk_node *at = bk_root(box), *next;
	_cleanup_free_ char *copy = strdup(dir);
	char *save = NULL;
	int r = copy ? 0 : -ENOMEM;

	for (char *name = copy ? strtok_r(copy, "/", &save) : NULL; name && r == 0;
	     name = strtok_r(NULL, "/", &save)) {
		struct stat st;

		r = bk_lookup(req, at, name, &next, &st);
		if (r < 0)
			break;
		bk_node_unref(at);
		at = next;
		if (!S_ISDIR(st.st_mode))
			r = -ENOTDIR;
	}
	if (r < 0)
		bk_node_unref(at);
	else
		*ret = at;
	return r;
}

/* What serves the workspace, made where it is not there. Borrowed. */
static int get_top(struct bk_req *req, struct volume *v, struct bk_node **ret)
{
	struct bk_node *top = top_of(v);
	struct err err = {""};
	struct bk *box = NULL;
	int r = 0;

	if (!top) {
		r = session_box(req, v->s, &box, &err);
		if (r == 0)
			r = find_dir(req, box, v->s->workdir, &top);
		if (r < 0)
			return failed(v, r, err.text);
		pthread_mutex_lock(&v->lock);
		if (!v->top)
			v->top = TAKE(top);
		pthread_mutex_unlock(&v->lock);
		bk_node_unref(top); /* another was faster */
		top = top_of(v);
	}
	*ret = top;
	return 0;
}

/* R came of the container's tree at TOP. Whether it is to be asked again: its container was perhaps
 * gone, and is there now. */
static bool again(struct bk_req *req, struct volume *v, struct bk_node *top, int *r, bool *tried)
{
	struct err err = {""};

	if (*r == -EIO && !*tried) {
		*tried = true;
		if (top->bk->ops->sandbox->ctl(req, top->bk, "create", &err) == 0)
			return true;
	}
	*r = answered(v, top->bk, *r);
	return false;
}

/* ---- Operations on the root ---- */

static void number(const struct volume *v, struct stat *st)
{
	st->st_ino = bk_unique_ino(&v->bk, v->bk.ino_dev, ROOT_INO);
}

static int seen(struct volume *v, int r, struct stat *st)
{
	if (r < 0)
		return r;
	number(v, st);
	pthread_mutex_lock(&v->lock);
	v->seen = *st;
	pthread_mutex_unlock(&v->lock);
	return 0;
}

void volume_stat(const struct bk *bk, struct stat *ret_st)
{
	struct volume *v = volume_of(bk);

	pthread_mutex_lock(&v->lock);
	*ret_st = v->seen;
	pthread_mutex_unlock(&v->lock);
	number(v, ret_st);
}

static int volume_getattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			  struct stat *ret_st)
{
	struct volume *v = volume_of(node->bk);
	struct bk_node *top = top_of(v);
	bool tried = false;
	int r;

	if (!top) {
		volume_stat(node->bk, ret_st);
		return 0;
	}
	do
		r = bk_getattr(req, top, NULL, ret_st);
	while (again(req, v, top, &r, &tried));
	return seen(v, r, ret_st);
}

static int volume_setattr(struct bk_req *req, struct bk_node *node, struct bk_file *file,
			  const struct bk_setattr *attr, struct stat *ret_st)
{
	struct volume *v = volume_of(node->bk);
	struct bk_node *top;
	int r = get_top(req, v, &top);

	if (r == 0)
		r = bk_setattr(req, top, NULL, attr, ret_st);
	return seen(v, r, ret_st);
}

static int volume_lookup(struct bk_req *req, struct bk_node *dir, const char *name,
			 struct bk_node **ret_node, struct stat *ret_st)
{
	struct volume *v = volume_of(dir->bk);
	struct bk_node *top;
	bool tried = false;
	int r = get_top(req, v, &top);

	if (r < 0)
		return r;
	do
		r = bk_lookup(req, top, name, ret_node, ret_st);
	while (again(req, v, top, &r, &tried));
	return r;
}

static int volume_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	struct bk_node *top;
	int r = get_top(req, volume_of(node->bk), &top);

	return r < 0 ? r : bk_statfs(req, top, ret);
}

/* What changes the directory is the container's tree's own: before it a name was looked up. */
static int volume_through(struct bk_node *node, const char *name, struct bk_node **ret)
{
	struct bk_node *top = top_of(volume_of(node->bk));

	*ret = top ? top : node;
	return 0;
}

/* ---- Listings ---- */

struct open_top {
	struct bk_file file, *inner;
};

static int volume_opendir(struct bk_req *req, struct bk_node *node, struct bk_file **ret)
{
	struct volume *v = volume_of(node->bk);
	struct open_top *o = calloc(1, sizeof(*o));
	struct bk_node *top;
	bool tried = false;
	int r = o ? get_top(req, v, &top) : -ENOMEM;

	if (r == 0) {
		do
			r = bk_opendir(req, top, &o->inner);
		while (again(req, v, top, &r, &tried));
	}
	if (r < 0) {
		free(o);
		return r;
	}
	o->file.node = bk_node_ref(node);
	*ret = &o->file;
	return 0;
}

static int volume_readdir(struct bk_req *req, struct bk_file *file, uint64_t cookie,
			  bk_fill_fn fill, void *ctx)
{
	struct bk_file *inner = container_of(file, struct open_top, file)->inner;
	struct volume *v = volume_of(file->node->bk);
	struct bk_node *top = inner->node;
	bool tried = false;
	int r;

	do
		r = bk_readdir(req, inner, cookie, fill, ctx);
	while (again(req, v, top, &r, &tried));
	return r;
}

static void volume_release(struct bk_file *file)
{
	struct open_top *o = container_of(file, struct open_top, file);

	bk_release(o->inner);
	bk_node_unref(file->node);
	free(o);
}

/* ---- Life ---- */

static struct bk_node *volume_root(struct bk *bk)
{
	return bk_node_ref(&volume_of(bk)->root);
}

/* It is a part of what destroy frees. */
static void volume_node_free(struct bk_node *node)
{
}

static void volume_destroy(struct bk *bk)
{
	struct volume *v = volume_of(bk);

	bk_node_unref(v->top);
	bk_node_unref(&v->root);
	pthread_mutex_destroy(&v->lock);
	bk_done(bk);
	free(v);
}

static const struct bk_ops volume_ops = {
    .type = "volume",
    .destroy = volume_destroy,
    .root = volume_root,
    .node_free = volume_node_free,
    .lookup = volume_lookup,
    .getattr = volume_getattr,
    .setattr = volume_setattr,
    .statfs = volume_statfs,
    .opendir = volume_opendir,
    .readdir = volume_readdir,
    .release = volume_release,
    .through = volume_through,
};

bool volume_is(const struct bk *bk)
{
	return bk->ops == &volume_ops;
}

/* As furnish makes it. */
static void at_first(struct volume *v)
{
	v->seen = (struct stat){
	    .st_mode = S_IFDIR | 0700,
	    .st_nlink = 2,
	    .st_uid = v->s->mount.uid,
	    .st_gid = v->s->mount.gid,
	    .st_blksize = 4096,
	    .st_atim = v->s->all->made,
	    .st_mtim = v->s->all->made,
	    .st_ctim = v->s->all->made,
	};
}

int volume_new(struct session *s, const char *route, struct bk **ret)
{
	struct volume *v = calloc(1, sizeof(*v));
	int r = v ? bk_init(&v->bk, &volume_ops, route) : -ENOMEM;

	if (r < 0) {
		free(v);
		return r;
	}
	v->s = s;
	v->bk.blocking = true;
	v->bk.root_ino = ROOT_INO;
	v->bk.attr_ttl_ms = 0;
	pthread_mutex_init(&v->lock, NULL);
	bk_node_init(&v->root, &v->bk);
	at_first(v);
	*ret = &v->bk;
	return 0;
}
