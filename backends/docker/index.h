/*
 * Indexes: the headers of one streamed GET of a directory, kept as a compact tree of its whole
 * subtree, since the archive API has no listing. An index is immutable once it is built, but for
 * marks on what we changed ourselves. What fills it is hostile: names, depth and counts are
 * checked.
 *
 * Within one generation an entry is trusted for a second, or for as long as the GET took where that
 * was longer (the archive was that old at its end, and walking the tree takes its time too); its
 * owner for the whole generation, and a directory's list of names as long as the directory's mtime
 * is the same.
 */
#ifndef AIB_DOCKER_INDEX_H
#define AIB_DOCKER_INDEX_H

#include "engine.h"
#include "wait.h"

#define INDEXES_MAX 16

struct index_entry {
	uint32_t parent, name, link; /* name, link: offsets into `names`; link 0: none */
	uint32_t first, count;	     /* children, a range of entries */
	uint32_t mode, uid, gid;
	uint32_t flags;
	uint64_t size, rdev;
	int64_t mtime;
};

enum {
	INDEX_LISTED = 1, /* its children are all there */
	INDEX_HARD = 2,	  /* `link` is the path of the file that it is another name of */
	/* marks, guarded by indexes.lock */
	INDEX_STALE = 4,   /* changed by us: nothing of it or below it holds */
	INDEX_TOUCHED = 8, /* an entry was changed in it: its own attributes and listing are open */
};

struct index {
	atomic_uint refs;
	char *path; /* of entry 0 */
	uint64_t generation;
	uint64_t end_ms;	    /* when it was complete */
	uint64_t fresh_ms;	    /* how long from then on it answers without a question */
	int64_t start_s;	    /* wall clock at the start of the GET */
	struct timespec root_mtime; /* of a HEAD before the GET */
	struct index_entry *e;
	size_t n, size;
	char *names;
	size_t names_len, names_size;
};

struct indexes {
	pthread_mutex_t lock;
	struct gate gate; /* one build at a time: the engine does one for a container anyway */
	struct index *list[INDEXES_MAX]; /* newest first */
	size_t n;
};

void indexes_init(struct indexes *ix);
void indexes_done(struct indexes *ix);

struct index *index_ref(struct index *ix);
void index_unref(struct index *ix); /* takes NULL */
DEFINE_CLEANUP(struct index *, index_unref)

/* A copy of PATH's entry, from the newest index that has it and was not told otherwise, with a
 * reference on that index (*ret_index may be NULL). -ENOENT where none knows. */
int index_find(struct indexes *ixs, const char *path, struct index **ret_index, uint32_t *ret_at,
	       struct index_entry *ret);
/* PATH was changed, made or removed by us. */
void index_touch(struct indexes *ixs, const char *path);
/* Add a built index; it becomes the newest. Takes the reference. */
void index_add(struct indexes *ixs, struct index *ix);

/*
 * Build the index of directory PATH. At most MAX entries are kept of the subtree; of a larger one
 * only the direct children, up to eight times as many (-E2BIG beyond). HIDDEN(arg, path) says which
 * directories are not looked into. TIMEOUT_MS: how long without progress; PROGRESS_MS is set to the
 * time of the newest.
 */
struct index_build {
	struct engine *engine;
	const char *container, *path;
	size_t max;
	uint64_t generation, timeout_ms;
	atomic_uint_fast64_t *progress_ms;
	bool (*hidden)(void *arg, const char *path);
	void *arg;
};
int index_build(struct bk_req *req, const struct index_build *b, struct index **ret,
		struct err *err);

/* The child of entry AT whose name is the first LEN bytes of NAME; 0 (the root) for none. */
uint32_t index_child(const struct index *ix, uint32_t at, const char *name, size_t len);

static inline const char *index_name(const struct index *ix, const struct index_entry *e)
{
	return ix->names + e->name;
}

#endif
