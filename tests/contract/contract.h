/*
 * The contract suite: one set of tests, written once, that every backend passes through the bk_
 * wrappers. A backend's test program fills a struct contract_backend and calls contract_main.
 *
 * What a backend cannot do by its nature it declares as a trait; the suite then checks that the
 * documented errno comes back, every time, and that nothing changed. There is no skipping.
 */
#ifndef AIB_CONTRACT_H
#define AIB_CONTRACT_H

#include "backend.h"

struct contract_traits {
	/* 0: it works. Else the negative errno that it always answers. */
	int link, symlink, fifo, socket, device, xattr, fallocate, exchange, chown;
	/* Any target is stored and shown as it is; else only relative ones that stay inside. */
	bool links_verbatim;
	/* Holes take no blocks and SEEK_DATA passes over them; else all is data. */
	bool holes;
	/* An open file reads and writes on after its last name went. */
	bool unlinked_open;
	/* Each hard link is a node of its own, with one link, and content of its own once written.
	 */
	bool links_apart;
	/* Writing back puts another file in the place of the old: its directory's mtime moves. */
	bool writes_replace;
	/* Names are UTF-8; making any other is -EILSEQ. */
	bool utf8_names;
	/* The time of the last access is not known: it is the mtime. */
	bool no_atime;
	/* A directory has 2 links and one for each directory in it. */
	bool dir_links;
	/* New files belong to the request's uid and gid; else to someone fixed. */
	bool owner_of_request;
	/* Two files opened with O_APPEND never overwrite one another. */
	bool append;
	/* Timestamps that are set come back cut to this many nanoseconds (1: exact; 0 means 1). */
	uint32_t time_step_ns;
	/* The largest offset that a test may write at; 0: any. */
	uint64_t max_offset;
	/* Entries of the test with many; 0: 20,000. */
	unsigned many;
	/* Steps of each random sequence and of each thread; 0: 4,000. */
	unsigned steps;
	/* The number of open descriptors may differ after teardown (a library keeps connections).
	 */
	bool keeps_fds;
};

/* Where one test works: an empty directory, writable by the process, with a reference. */
struct contract_place {
	struct bk *bk; /* dir's; what teardown needs to know */
	struct bk_node *dir;
	void *ctx; /* setup's own */
};

struct contract_backend {
	const char *name;
	struct contract_traits traits;
	/*
	 * A fresh place, best a fresh backend, for each test. Returns 0 or -errno, which fails the
	 * test. The requests of the suite carry the process's uid and gid.
	 */
	int (*setup)(struct contract_place *ret);
	/* Unref dir, free the backend, remove what setup made. Anything left in the directory is
	 * teardown's to remove. */
	void (*teardown)(struct contract_place *);
};

/*
 * Run the tests whose names argv gives, or all. AIB_SEED sets the seed of the random tests, which
 * is printed. Returns an exit status.
 */
int contract_main(int argc, char **argv, const struct contract_backend *backend);

#endif
