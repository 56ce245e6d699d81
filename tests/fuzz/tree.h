/* A tree in memory and operations on it, as their caller sees them. */
#ifndef AIB_FUZZ_TREE_H
#define AIB_FUZZ_TREE_H

#include "ops/ops.h"

#include <cjson/cJSON.h>

#define TREE_MOUNTPOINT "/usr"
#define TREE_MAX_OUTPUT (1 << 20)

struct tree {
	struct bk *bk;
	struct buf out, messages; /* of the last operation */
	const char *input;	  /* of a write */
	size_t input_len;
};

void tree_init(struct tree *t);
void tree_done(struct tree *t);
/* The operation OP at "/usr/NAME" with the keys of ARGS, which is consumed, may be NULL: its exit
 * status. */
int tree_run(struct tree *t, const char *op, const char *name, cJSON *args);
/* NAME has the LEN bytes of DATA and no others. */
void tree_write(struct tree *t, const char *name, const void *data, size_t len);

#endif
