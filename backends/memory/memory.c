/*
 * The memory backend: a tree that lives in the daemon and ends with it. This file makes one from
 * a route's options, keeps its limits and ends it; memory.h says where the rest is.
 */
#include "memory.h"

#include "base/options.h"

#include <string.h>
#include <unistd.h>

struct conf {
	uint64_t size, inodes, uid, gid;
	char *mode;
};

static const struct option options[] = {
    {"size", OPTION_SIZE, offsetof(struct conf, size), NULL,
     "the most memory that its files may take (1G, or half of the machine's where that is less)"},
    {"inodes", OPTION_UINT, offsetof(struct conf, inodes), NULL,
     "the most files that it may hold, hard links counted (2097152)"},
    {"mode", OPTION_STRING, offsetof(struct conf, mode), NULL,
     "permissions of its directory, octal (0755)"},
    {"uid", OPTION_UINT, offsetof(struct conf, uid), NULL, "owner of its directory"},
    {"gid", OPTION_UINT, offsetof(struct conf, gid), NULL, "group of its directory"},
    {NULL},
};

/* ---- Limits ---- */

static int take(atomic_uint_fast64_t *used, uint64_t n, uint64_t limit)
{
	uint_fast64_t old = atomic_load_explicit(used, memory_order_relaxed);

	do {
		if (n > limit || old > limit - n)
			return -ENOSPC;
	} while (!atomic_compare_exchange_weak(used, &old, old + n));
	return 0;
}

int mem_charge(struct mem *m, uint64_t bytes)
{
	return take(&m->used_size, bytes, m->size);
}

void mem_uncharge(struct mem *m, uint64_t bytes)
{
	atomic_fetch_sub(&m->used_size, bytes);
}

int mem_charge_inode(struct mem *m)
{
	return take(&m->used_inodes, 1, m->inodes);
}

void mem_uncharge_inode(struct mem *m)
{
	atomic_fetch_sub(&m->used_inodes, 1);
}

static int mem_statfs(struct bk_req *req, struct bk_node *node, struct statvfs *ret)
{
	struct mem *m = mem_of(mem_node_of(node));
	uint64_t used = atomic_load(&m->used_size), inodes = atomic_load(&m->used_inodes);

	*ret = (struct statvfs){
	    .f_bsize = MEM_PAGE,
	    .f_frsize = MEM_PAGE,
	    .f_blocks = m->size / MEM_PAGE,
	    .f_bfree = (m->size - used) / MEM_PAGE,
	    .f_bavail = (m->size - used) / MEM_PAGE,
	    .f_files = m->inodes,
	    .f_ffree = m->inodes - inodes,
	    .f_favail = m->inodes - inodes,
	    .f_namemax = NAME_MAX,
	};
	return 0;
}

/* ---- Life ---- */

static struct bk_node *mem_root(struct bk *bk)
{
	return bk_node_ref(&container_of(bk, struct mem, bk)->root->node);
}

/* Remove every entry, without recursion: a tree may be deeper than the stack. */
static void empty_tree(struct mem_node *root)
{
	struct mem_node *dir = root;

	while (dir) {
		struct mem_entry *e = mem_dir_first(dir->dir);
		struct mem_node *child;

		if (!e) {
			dir = dir->dir->parent;
			continue;
		}
		child = mem_entry_node(e);
		if (mem_is_dir(child) && child->dir->n_entries > 0)
			dir = child;
		else
			bk_node_unref(&mem_dir_remove(dir->dir, e)->node);
	}
}

static void mem_destroy(struct bk *bk)
{
	struct mem *m = container_of(bk, struct mem, bk);

	if (m->root) {
		empty_tree(m->root);
		bk_node_unref(&m->root->node);
	}
	for (size_t i = 0; i < MEM_LOCKS; i++)
		pthread_rwlock_destroy(&m->locks[i]);
	pthread_rwlock_destroy(&m->tree);
	mem_pool_done(&m->pool);
	bk_done(&m->bk);
	free(m);
}

static const struct bk_ops mem_ops = {
    .type = "memory",
    .destroy = mem_destroy,
    .root = mem_root,
    .node_free = mem_node_free,
    .lookup = mem_lookup,
    .mknod = mem_mknod,
    .mkdir = mem_mkdir,
    .symlink = mem_symlink,
    .link = mem_link,
    .unlink = mem_unlink,
    .rmdir = mem_rmdir,
    .rename = mem_rename,
    .getattr = mem_getattr,
    .setattr = mem_setattr,
    .born = mem_born,
    .readlink = mem_readlink,
    .statfs = mem_statfs,
    .getxattr = mem_getxattr,
    .listxattr = mem_listxattr,
    .setxattr = mem_setxattr,
    .removexattr = mem_removexattr,
    .open = mem_open,
    .tmpfile = mem_tmpfile,
    .read = mem_read,
    .write = mem_write,
    .lseek = mem_lseek,
    .fallocate = mem_fallocate,
    .readdir = mem_readdir,
};

static uint64_t default_size(void)
{
	uint64_t half = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 2;

	return half < 1ULL << 30 ? half : 1ULL << 30;
}

static int parse_mode(const char *s, mode_t *ret, struct err *err)
{
	char *end;
	unsigned long v = strtoul(s, &end, 8);

	if (*s < '0' || *s > '7' || *end || v > 07777)
		return err_set(err, -EINVAL, "\"mode\" must be octal permissions such as 0755");
	*ret = v;
	return 0;
}

static int make_root(struct mem *m, const struct conf *conf, struct err *err)
{
	mode_t mode = 0755;
	int r = conf->mode ? parse_mode(conf->mode, &mode, err) : 0;

	if (r < 0)
		return r;
	if (conf->uid >= UINT32_MAX || conf->gid >= UINT32_MAX)
		return err_set(err, -EINVAL, "\"uid\" and \"gid\" must be below 4294967295");
	if (conf->inodes < 1)
		return err_set(err, -EINVAL, "\"inodes\" must be at least 1");
	r = mem_node_new(m, NULL, NULL, S_IFDIR | mode, &m->root);
	if (r < 0)
		return r;
	m->root->uid = conf->uid;
	m->root->gid = conf->gid;
	m->root->nlink = 2;
	m->bk.root_ino = m->root->ino;
	return 0;
}

static int mem_make(const struct bk_mount *mount, const char *route, const cJSON *obj,
		    const cJSON *binds, struct bk **ret, struct err *err)
{
	struct conf conf = {
	    .size = default_size(),
	    .inodes = 2 << 20,
	    .uid = mount->uid,
	    .gid = mount->gid,
	};
	struct mem *m = calloc(1, sizeof(*m));
	int r = m ? bk_init(&m->bk, &mem_ops, route) : -ENOMEM;

	if (r < 0) {
		free(m);
		return r;
	}
	pthread_rwlock_init(&m->tree, NULL);
	mem_pool_init(&m->pool);
	for (size_t i = 0; i < MEM_LOCKS; i++)
		pthread_rwlock_init(&m->locks[i], NULL);
	/* Every change comes through this mount's kernel: it may remember without end. */
	m->bk.unshared = true;
	m->bk.entry_ttl_ms = m->bk.attr_ttl_ms = m->bk.negative_ttl_ms = UINT32_MAX;

	r = options_parse(options, obj, &conf, err);
	m->size = conf.size;
	m->inodes = conf.inodes;
	if (r == 0)
		r = make_root(m, &conf, err);
	options_free(options, &conf);
	if (r < 0) {
		mem_destroy(&m->bk);
		return r;
	}
	*ret = &m->bk;
	return 0;
}

const struct bk_type memory_type = {
    .name = "memory",
    .make = mem_make,
    .options = options,
};
