/*
 * Identity: the table of nodes by what their files are, and where each was last found. The table's
 * pointers are weak (bk_node_tryref). Only nodes that need it know their place: contained symlinks,
 * of whose identity it is a part, and files that cannot be opened by a handle.
 */
#include "host.h"

#include "base/procfd.h"

#include <stdio.h>
#include <string.h>

/* ---- Keys ---- */

struct key {
	unsigned id_len, len;
	unsigned char *bytes;
};

static void key_done(struct key *k)
{
	freep(&k->bytes);
}

/* DIR is NULL where the place is not part of the identity. */
static int key_make(const unsigned char *id, unsigned id_len, const struct host_node *dir,
		    const char *name, struct key *ret)
{
	size_t name_len = dir ? strlen(name) : 0;
	struct key k = {.id_len = id_len, .len = id_len};

	k.bytes = malloc(id_len + sizeof(dir) + name_len);
	if (!k.bytes)
		return -ENOMEM;
	memcpy(k.bytes, id, id_len);
	if (dir) {
		memcpy(k.bytes + k.len, &dir, sizeof(dir));
		memcpy(k.bytes + k.len + sizeof(dir), name, name_len);
		k.len += sizeof(dir) + name_len;
	}
	*ret = k;
	return 0;
}

static bool by_place(const struct host *h, mode_t type)
{
	return h->contain && S_ISLNK(type);
}

static int key_of(struct host *h, int fd, const struct stat *st, struct host_node *dir,
		  const char *name, struct key *ret, int *ret_mount_id)
{
	struct host_id id;
	int r = host_identify(h, fd, st, &id);

	if (r < 0)
		return r;
	*ret_mount_id = id.mount_id;
	return key_make(id.bytes, id.len, by_place(h, st->st_mode) ? dir : NULL, name, ret);
}

/* ---- The table; host.lock is held ---- */

/* A referenced node, or NULL. One that is about to be freed makes room. */
static struct host_node *find_locked(struct host *h, const struct key *k)
{
	struct host_node *n;

	HASH_FIND(hh, h->nodes, k->bytes, k->len, n);
	if (!n || bk_node_tryref(&n->base))
		return n;
	HASH_DEL(h->nodes, n);
	n->hashed = false;
	return NULL;
}

static int add_locked(struct host *h, struct host_node *n)
{
	n->hashed = true;
	HASH_ADD_KEYPTR(hh, h->nodes, n->key, n->key_len, n);
	if (!n->hh.tbl)
		n->hashed = false;
	return n->hashed ? 0 : -ENOMEM;
}

static void remove_locked(struct host *h, struct host_node *n)
{
	if (n->hashed)
		HASH_DEL(h->nodes, n);
	n->hashed = false;
	host_unrecognise_locked(h, n);
}

/* ---- Mounts ---- */

static struct host_mount *mount_locked(struct host *h, int id)
{
	struct host_mount *m = h->mounts;

	while (m && m->id != id)
		m = m->next;
	return m;
}

/* With a reference. */
static struct host_mount *mount_find_locked(struct host *h, int id)
{
	struct host_mount *m = mount_locked(h, id);

	if (m)
		m->refs++;
	return m;
}

bool host_opens_handles(struct host *h, int mount_id)
{
	const struct host_mount *m;
	bool opens;

	pthread_mutex_lock(&h->lock);
	m = mount_locked(h, mount_id);
	opens = m && m->fd >= 0;
	pthread_mutex_unlock(&h->lock);
	return opens;
}

/* A descriptor that open_by_handle_at(2) takes for the mount of FD, if handles open there. */
static int mount_open(const struct stat *st, int fd, const struct key *k)
{
	_cleanup_close_ int mount_fd = -1;
	_cleanup_close_ int probe = -1;

	if (S_ISDIR(st->st_mode))
		mount_fd = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	else if (S_ISREG(st->st_mode))
		mount_fd = open(procfd(fd).path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (mount_fd < 0)
		return -1;
	probe = host_open_handle(mount_fd, k->bytes, k->id_len, O_PATH);
	return probe < 0 ? -1 : TAKE_FD(mount_fd);
}

static void mount_put(struct host *h, struct host_mount *m)
{
	struct host_mount **at;
	bool last;

	if (!m)
		return;
	pthread_mutex_lock(&h->lock);
	last = --m->refs == 0;
	if (last) {
		for (at = &h->mounts; *at != m;)
			at = &(*at)->next;
		*at = m->next;
	}
	pthread_mutex_unlock(&h->lock);
	if (last) {
		closep(&m->fd);
		free(m);
	}
}

/* NULL with 0: files of that type tell nothing of their mount, or handles are not known there.
 * -EOPNOTSUPP: only a descriptor would tell. */
static int mount_get(struct host *h, int id, int fd, const struct stat *st, const struct key *k,
		     struct host_mount **ret)
{
	struct host_mount *m = NULL, *made;

	*ret = NULL;
	if (id < 0)
		return 0;
	pthread_mutex_lock(&h->lock);
	*ret = mount_find_locked(h, id);
	pthread_mutex_unlock(&h->lock);
	if (*ret || !(S_ISDIR(st->st_mode) || S_ISREG(st->st_mode)))
		return 0;
	if (fd < 0)
		return -EOPNOTSUPP;

	made = malloc(sizeof(*made));
	if (!made)
		return -ENOMEM;
	*made = (struct host_mount){
	    .id = id,
	    .refs = 1,
	    .fd = mount_open(st, fd, k),
	    .keeps_births = host_keeps_births(fd),
	};
	if (made->fd >= 0)
		atomic_store(&h->opens_handles, true);
	pthread_mutex_lock(&h->lock);
	m = mount_find_locked(h, id);
	if (!m) {
		made->next = h->mounts;
		h->mounts = made;
		m = TAKE(made);
	}
	pthread_mutex_unlock(&h->lock);
	if (made) {
		closep(&made->fd);
		free(made);
	}
	*ret = m;
	return 0;
}

/* ---- Places ---- */

static bool needs_place(const struct host *h, const struct host_node *n)
{
	return by_place(h, n->type) || !host_node_has_handle(n);
}

/* Set (DIR, NAME) or, with DIR NULL, nothing; *old is to be released without the lock. */
struct place {
	struct host_node *dir;
	char *name;
};

static void place_done(struct place *p)
{
	host_node_unrefp(&p->dir);
	freep(&p->name);
}

static int place_make(struct host_node *dir, const char *name, struct place *ret)
{
	char *copy = strdup(name);

	if (!copy)
		return -ENOMEM;
	bk_node_ref(&dir->base);
	*ret = (struct place){dir, copy};
	return 0;
}

static void place_swap_locked(struct host_node *n, struct place *p)
{
	struct place old = {n->parent, n->name};

	n->parent = p->dir;
	n->name = p->name;
	*p = old;
}

static bool is_at_locked(const struct host_node *n, const struct host_node *dir, const char *name)
{
	return n->parent == dir && n->name && strcmp(n->name, name) == 0;
}

bool host_node_is_at(struct host *h, struct host_node *n, const struct host_node *dir,
		     const char *name)
{
	bool is;

	pthread_mutex_lock(&h->lock);
	is = is_at_locked(n, dir, name);
	pthread_mutex_unlock(&h->lock);
	return is;
}

/* NODE was seen as NAME in DIR. */
static int place_update(struct host *h, struct host_node *n, struct host_node *dir,
			const char *name)
{
	_cleanup_(place_done) struct place p = {NULL, NULL};
	int r;

	if (!dir || !needs_place(h, n) || host_node_is_at(h, n, dir, name))
		return 0;
	r = place_make(dir, name, &p);
	if (r < 0)
		return r;
	pthread_mutex_lock(&h->lock);
	place_swap_locked(n, &p);
	pthread_mutex_unlock(&h->lock);
	host_fds_unkeep(h, n);
	return 0;
}

int host_node_place(struct host *h, struct host_node *n, struct host_node **ret_dir,
		    char **ret_name)
{
	struct host_node *dir;
	char *name = NULL;

	pthread_mutex_lock(&h->lock);
	dir = n->parent;
	if (dir) {
		bk_node_ref(&dir->base);
		name = strdup(n->name);
	}
	pthread_mutex_unlock(&h->lock);
	if (!dir)
		return -ESTALE;
	if (!name) {
		host_node_unref(dir);
		return -ENOMEM;
	}
	*ret_dir = dir;
	*ret_name = name;
	return 0;
}

/* ---- Nodes ---- */

static struct host_node *node_alloc(struct host *h, struct key *k, const struct stat *st,
				    struct host_mount *mount)
{
	struct host_node *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	bk_node_init(&n->base, &h->bk);
	n->type = st->st_mode & S_IFMT;
	n->sight = (struct host_sight){.dev = st->st_dev, .ino = st->st_ino};
	n->mount = mount;
	n->fd = -1;
	n->id_len = k->id_len;
	n->key_len = k->len;
	n->key = TAKE(k->bytes);
	return n;
}

/* The table's node of N's key, which may be N itself (given up to the table) or one before it. */
static int table_add(struct host *h, struct host_node *n, struct host_node **ret)
{
	struct key k = {.id_len = n->id_len, .len = n->key_len, .bytes = n->key};
	struct host_node *found;
	int r = 0;

	pthread_mutex_lock(&h->lock);
	found = find_locked(h, &k);
	if (!found)
		r = add_locked(h, n);
	pthread_mutex_unlock(&h->lock);
	if (r < 0 || found)
		host_node_unref(n);
	if (r == 0)
		*ret = found ? found : n;
	return r;
}

static int node_make(struct host *h, int fd, const struct stat *st, struct key *k, int mount_id,
		     struct host_node **ret)
{
	struct host_mount *mount;
	struct host_node *n;
	int r = mount_get(h, mount_id, fd, st, k, &mount);

	if (r < 0)
		return r;
	n = node_alloc(h, k, st, mount);
	if (!n) {
		mount_put(h, mount);
		return -ENOMEM;
	}
	return table_add(h, n, ret);
}

/* The table's node of K, with a reference, or NULL. */
static struct host_node *known(struct host *h, const struct key *k)
{
	struct host_node *n;

	pthread_mutex_lock(&h->lock);
	n = find_locked(h, k);
	pthread_mutex_unlock(&h->lock);
	return n;
}

/* The node of K, which was seen as NAME in DIR; whether it was made now: 1. */
static int node_get(struct host *h, struct host_node *dir, const char *name, int fd,
		    const struct stat *st, struct key *k, int mount_id, struct host_node **ret)
{
	_cleanup_(host_node_unrefp) struct host_node *n = NULL;
	bool made;
	int r = 0;

	n = known(h, k);
	made = !n;
	if (made)
		r = node_make(h, fd, st, k, mount_id, &n);
	if (r == 0)
		r = place_update(h, n, dir, name);
	if (r < 0)
		return r;
	*ret = TAKE(n);
	return made;
}

int host_node_for_open(struct host *h, struct host_node *dir, const char *name, int fd,
		       struct host_node **ret, struct stat *ret_st)
{
	_cleanup_(host_node_unrefp) struct host_node *n = NULL;
	_cleanup_(key_done) struct key k = {.bytes = NULL};
	struct stat st;
	int mount_id = -1, r;

	r = host_fstat(fd, &st);
	if (r == 0)
		r = key_of(h, fd, &st, dir, name, &k, &mount_id);
	if (r == 0)
		r = node_get(h, dir, name, fd, &st, &k, mount_id, &n);
	if (r < 0)
		return r;
	*ret = TAKE(n);
	*ret_st = st;
	return r;
}

static bool is_seen_again(const struct host_pin *dir, const char *name, const struct host_sight *s)
{
	struct host_sight now;
	struct stat st;

	return host_see(dir->fd, name, &st, &now) == 0 && memcmp(&now, s, sizeof(now)) == 0;
}

/* The node of K, which the table has not. */
static int glance_new(struct host *h, const struct host_pin *dir, const char *name,
		      const struct host_id *id, const struct stat *st, struct key *k,
		      struct host_node **ret)
{
	int r = node_make(h, -1, st, k, id->mount_id, ret);

	/* Now a removal finds the node, and keeps a descriptor for it; one before needed none. */
	if (r == 0 && id->mount_id >= 0 && !host_is_handle_at(h, dir->fd, name, id))
		r = -EOPNOTSUPP;
	return r;
}

/* The node of what was seen as NAME of DIR. -EOPNOTSUPP also where the name was another file's
 * meanwhile: its handle is one's, and what was seen the other's. */
static int identify(struct host *h, const struct host_pin *dir, const char *name, bool numbers,
		    const struct stat *st, const struct host_sight *sight, struct host_node **ret)
{
	_cleanup_(host_node_unrefp) struct host_node *n = NULL;
	_cleanup_(key_done) struct key k = {.bytes = NULL};
	struct host_id id;
	bool sure = false;
	int r = host_handle_at(h, dir->fd, name, st->st_dev, &id);

	if (r == -EOPNOTSUPP && numbers)
		r = host_number_of(h, sight, &id);
	if (r == 0)
		r = key_make(id.bytes, id.len, by_place(h, st->st_mode) ? dir->node : NULL, name,
			     &k);
	if (r < 0)
		return r;
	n = known(h, &k);
	if (n && n->sight.ino != st->st_ino)
		return -EOPNOTSUPP;
	if (id.mount_id >= 0 && (!n || host_may_recognise(n, sight)))
		sure = is_seen_again(dir, name, sight);
	if (!n)
		r = sure || id.mount_id < 0 ? glance_new(h, dir, name, &id, st, &k, &n)
					    : -EOPNOTSUPP;
	if (r < 0)
		return r;
	if (sure)
		host_recognise(h, n, sight);
	*ret = TAKE(n);
	return 0;
}

/* Without opening it: the node gets no descriptor. -EOPNOTSUPP where that does not tell who it is.
 */
static int glance(struct host *h, const struct host_pin *dir, const char *name, bool numbers,
		  struct host_node **ret, struct stat *ret_st)
{
	_cleanup_(host_node_unrefp) struct host_node *n = NULL;
	struct host_sight sight;
	int r = host_see(dir->fd, name, ret_st, &sight);

	if (r < 0)
		return r;
	n = host_recognised(h, &sight);
	if (!n)
		r = identify(h, dir, name, numbers, ret_st, &sight, &n);
	if (r == 0)
		r = place_update(h, n, dir->node, name);
	if (r == 0)
		*ret = TAKE(n);
	return r;
}

int host_node_for(struct host *h, struct host_node *dir, const char *name, int fd,
		  struct host_node **ret, struct stat *ret_st)
{
	_cleanup_(host_node_unrefp) struct host_node *n = NULL;
	int r = host_node_for_open(h, dir, name, fd, &n, ret_st);

	/* Now a removal finds the node; of one before, the count of links tells. */
	if (r == 1)
		r = host_fstat(fd, ret_st);
	if (r < 0) {
		closep(&fd);
		return r;
	}
	host_fds_give(h, n, fd, ret_st->st_nlink == 0);
	*ret = TAKE(n);
	return 0;
}

/* The node of what is NAME in DIR now, whose descriptor is at hand then. */
static int node_by_fd(struct host *h, const struct host_pin *dir, const char *name,
		      struct host_node **ret, struct stat *ret_st)
{
	int fd, r;

	/* So that it is not told of a place which it has lost meanwhile. */
	pthread_rwlock_rdlock(&h->moving);
	do
		fd = host_openat(h, dir->fd, name, O_PATH, 0);
	while (fd == -EMFILE && host_fds_shrink(h));
	r = fd < 0 ? fd : host_node_for(h, dir->node, name, fd, ret, ret_st);
	pthread_rwlock_unlock(&h->moving);
	return r;
}

int host_node_at(struct host *h, const struct host_pin *dir, const char *name, bool numbers,
		 struct host_node **ret, struct stat *ret_st)
{
	int r = glance(h, dir, name, numbers, ret, ret_st);

	return r == -EOPNOTSUPP ? node_by_fd(h, dir, name, ret, ret_st) : r;
}

/* Free N, and give back its reference on its parent: in a loop, since a chain may be long. */
void host_node_free(struct bk_node *node)
{
	struct host *h = HOST_OF(node);
	struct host_node *n = NODE_OF(node);

	while (n) {
		struct host_node *parent = n->parent;

		pthread_mutex_lock(&h->lock);
		remove_locked(h, n);
		pthread_mutex_unlock(&h->lock);
		host_fds_drop(h, n);
		mount_put(h, n->mount);
		free(n->key);
		free(n->name);
		free(n);
		n = parent && atomic_fetch_sub(&parent->base.refs, 1) == 1 ? parent : NULL;
	}
}

/* ---- What removals and renames do to nodes ---- */

int host_find(struct host *h, const struct host_pin *dir, const char *name, struct host_found *ret)
{
	struct host_found f = {.pin = HOST_PIN_NONE};
	struct host_node *n;
	int r = host_node_at(h, dir, name, false, &n, &f.st);

	if (r == 0) {
		r = host_pin(&n->base, &f.pin);
		f.node = n;
	}
	if (r < 0)
		host_found_done(&f);
	if (r == -ENOENT || r == -ESTALE)
		r = 0;
	if (r == 0)
		*ret = f;
	return r;
}

void host_found_done(struct host_found *f)
{
	host_unpin(&f->pin);
	host_node_unref(TAKE(f->node));
}

bool host_found_placed(const struct host *h, const struct host_found *f)
{
	return f->node && needs_place(h, f->node);
}

void host_found_removed(struct host *h, struct host_found *f, struct host_node *dir,
			const char *name)
{
	_cleanup_(place_done) struct place none = {NULL, NULL};
	struct host_node *n = f->node;
	struct stat st;
	bool lost;

	if (!n)
		return;
	pthread_mutex_lock(&h->lock);
	lost = is_at_locked(n, dir, name);
	if (lost)
		place_swap_locked(n, &none);
	if (lost && by_place(h, n->type))
		remove_locked(h, n);
	pthread_mutex_unlock(&h->lock);
	if (host_fstat(f->pin.fd, &st) == 0 && (st.st_nlink == 0 || S_ISDIR(st.st_mode)))
		lost = true;
	if (lost)
		host_fds_keep(h, n);
}

/* Where N's identity is its place: the new one, which no other node may have any longer. */
static void rekey_locked(struct host *h, struct host_node *n, struct key *k)
{
	struct key old = {.bytes = n->key};
	struct host_node *other;

	remove_locked(h, n);
	n->key = TAKE(k->bytes);
	n->key_len = k->len;
	HASH_FIND(hh, h->nodes, n->key, n->key_len, other);
	if (other)
		remove_locked(h, other);
	/* Without memory the node lives on outside the table: a lookup makes another one. */
	(void)add_locked(h, n);
	*k = old;
}

void host_found_moved(struct host *h, struct host_found *f, struct host_node *dir, const char *name)
{
	_cleanup_(place_done) struct place p = {NULL, NULL};
	_cleanup_(key_done) struct key k = {.bytes = NULL};
	struct host_node *n = f->node;

	if (!n || !needs_place(h, n) || place_make(dir, name, &p) < 0)
		return;
	if (by_place(h, n->type) && key_make(n->key, n->id_len, dir, name, &k) < 0)
		return;
	pthread_mutex_lock(&h->lock);
	place_swap_locked(n, &p);
	if (by_place(h, n->type))
		rekey_locked(h, n, &k);
	pthread_mutex_unlock(&h->lock);
	host_fds_unkeep(h, n);
}
