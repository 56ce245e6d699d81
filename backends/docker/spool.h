/*
 * A file's content in an unlinked temporary file: filled from the container by a thread of its own
 * while readers wait for what they need, then read and changed in place. The Engine locks a
 * container while an archive of it is open, so a fill runs to its end as fast as it can; nothing
 * leaves one idle. Knows nothing of nodes.
 */
#ifndef AIB_DOCKER_SPOOL_H
#define AIB_DOCKER_SPOOL_H

#include "engine.h"
#include "wait.h"

/* Bytes of all spools of a route. */
struct spool_budget {
	uint64_t max;
	atomic_uint_fast64_t used;
	atomic_uint_fast64_t *progress_ms; /* set to the time when bytes came to one of them */
};

enum spool_state { SPOOL_FILLING, SPOOL_WHOLE, SPOOL_FAILED };

struct spool {
	atomic_uint refs;
	int fd;
	struct spool_budget *budget;

	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* guarded by lock */
	enum spool_state state;
	int error;	     /* of a failed fill, -errno */
	bool has_size;	     /* `size` is known: the archive's header has come */
	uint64_t size, have; /* bytes of the file, and of those that are here */
	uint64_t progress_ms;
	struct stat head; /* of the archive's header */
	struct err text;

	/* the fill's */
	struct engine *engine;
	char *container, *path;
	pthread_t thread;
	bool joinable;
	struct bk_req req;
};

/* Empty and whole. DIR is where temporary files go. */
int spool_new(const char *dir, struct spool_budget *budget, struct spool **ret);
/* Start to fill a new one with file PATH. */
int spool_fill(struct spool *s, struct engine *engine, const char *container, const char *path);

struct spool *spool_ref(struct spool *s);
/* The last reference ends a fill. Takes NULL. */
void spool_unref(struct spool *s);
DEFINE_CLEANUP(struct spool *, spool_unref)

/* Wait until the bytes up to END (UINT64_MAX: all) are here, or the file is shorter. 0 or -errno.
 * The deadline moves with the fill's progress by TIMEOUT_MS. */
int spool_wait(struct bk_req *req, struct spool *s, uint64_t end, uint64_t timeout_ms);
/* As pread(2), of what is here. */
ssize_t spool_read(struct spool *s, void *data, size_t size, off_t off);
/* As pwrite(2) and ftruncate(2), of a whole one. -ENOSPC past the budget. */
ssize_t spool_write(struct spool *s, const void *data, size_t size, off_t off);
int spool_truncate(struct spool *s, uint64_t size);
uint64_t spool_size(struct spool *s);
bool spool_is_filling(struct spool *s);

#endif
