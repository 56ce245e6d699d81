/*
 * What the parts of the request layer share: the session itself, and the handlers by kind that
 * session.c gives to libfuse.
 */
#ifndef AIB_FUSE_FS_H
#define AIB_FUSE_FS_H

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include "backing.h"
#include "handle.h"
#include "inode.h"
#include "pools.h"
#include "recall.h"
#include "session.h"
#include "settle.h"
#include "watch.h"

#include <stdatomic.h>

struct fs {
	struct bk *root;
	struct fs_conf conf;
	struct fuse_session *se; /* NULL until mounted */
	bool unshared;		 /* one `unshared` backend serves all, and the kernel knows how */
	int ended;		 /* eventfd: fs_exit, or the kernel closed the connection */
	bool stuck;		 /* a call of a backend did not end: free nothing that it uses */
	atomic_uint readers;	 /* threads that wait for a request */
	atomic_ulong requests;	 /* taken from the kernel */
	unsigned long beaten;	 /* of these, at the watcher's last beat */
	struct inode_table inodes;
	struct handle_table handles;
	struct backings backings;
	struct recall recall;
	struct settle settle;
	struct listed listed;
	struct pools pools;
	struct watch watch;
};

/* meta.c: names and attributes */
void meta_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void meta_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n);
void meta_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void meta_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void meta_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask, struct fuse_file_info *fi);
void meta_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
		  struct fuse_file_info *fi);
void meta_readlink(fuse_req_t req, fuse_ino_t ino);
void meta_statfs(fuse_req_t req, fuse_ino_t ino);
void meta_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void meta_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void meta_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void meta_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void meta_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void meta_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void meta_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
		 const char *new_name, unsigned flags);

/* xattr.c */
void xattr_get(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void xattr_list(fuse_req_t req, fuse_ino_t ino, size_t size);
void xattr_set(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size,
	       int flags);
void xattr_remove(fuse_req_t req, fuse_ino_t ino, const char *name);

/* dir.c */
void dir_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void dir_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void dir_read_plus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		   struct fuse_file_info *fi);
void dir_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);

/* io.c: open files; io_release closes directories too */
void io_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
	       struct fuse_file_info *fi);
void io_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);
void io_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi);
void io_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t off,
	      struct fuse_file_info *fi);
void io_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi);
void io_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void io_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence, struct fuse_file_info *fi);
void io_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
		  struct fuse_file_info *fi);

#endif
