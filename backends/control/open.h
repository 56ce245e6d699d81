/* An open control file, for file.c (snapshots, live files, commands, gathering) and transaction.c.
 */
#ifndef AIB_CONTROL_OPEN_H
#define AIB_CONTROL_OPEN_H

#include "tree.h"

struct control_file {
	struct bk_file file;
	uid_t uid;	      /* who opened it */
	pthread_mutex_t lock; /* guards all below */
	struct buf text;      /* the snapshot, what is gathered, or a transaction's request */
	bool written;	      /* `text` is not stored yet */
	bool emptied;	      /* it was truncated, and nothing else has happened to it */
	struct control_reply *reply;
	uint64_t pos; /* in the reply */
};

static inline struct control_file *control_file_of(struct bk_file *file)
{
	return container_of(file, struct control_file, file);
}

/* The bytes of TEXT at OFF, as pread(2) gives a file's. */
ssize_t control_text_read(const struct buf *text, void *data, size_t size, off_t off);

/* ---- transaction.c ---- */

ssize_t transaction_read(struct control_file *f, void *data, size_t size, uid_t uid);
ssize_t transaction_write(struct control_file *f, const void *data, size_t size);
void transaction_drop(struct control_file *f);

#endif
