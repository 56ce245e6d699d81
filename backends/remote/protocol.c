/* The messages, as tables of fields. */
#include "fields.h"

#define FIELD(type, k, member)                                                                     \
	{                                                                                          \
		.kind = KIND_##k, .size = sizeof(((type *)NULL)->member),                          \
		.offset = offsetof(type, member)                                                   \
	}

/* ---- What structs are made of ---- */

#define S(k, member) FIELD(struct stat, k, member)
const struct field remote_stat_fields[] = {
    S(U64, st_ino),
    S(U64, st_dev),
    S(U32, st_mode),
    S(U32, st_nlink),
    S(U32, st_uid),
    S(U32, st_gid),
    S(U64, st_rdev),
    S(OFF, st_size),
    S(OFF, st_blocks),
    S(U32, st_blksize),
    S(U64, st_atim.tv_sec),
    S(U32, st_atim.tv_nsec),
    S(U64, st_mtim.tv_sec),
    S(U32, st_mtim.tv_nsec),
    S(U64, st_ctim.tv_sec),
    S(U32, st_ctim.tv_nsec),
    {KIND_END},
};

#define A(k, member) FIELD(struct bk_setattr, k, member)
const struct field remote_setattr_fields[] = {
    A(U32, mask),	   A(U32, mode),	 A(U32, uid),		A(U32, gid),
    A(OFF, size),	   A(U64, atime.tv_sec), A(U32, atime.tv_nsec), A(U64, mtime.tv_sec),
    A(U32, mtime.tv_nsec), {KIND_END},
};

#define V(k, member) FIELD(struct statvfs, k, member)
const struct field remote_statvfs_fields[] = {
    V(U32, f_bsize),  V(U32, f_frsize),	 V(U64, f_blocks), V(U64, f_bfree),
    V(U64, f_bavail), V(U64, f_files),	 V(U64, f_ffree),  V(U64, f_favail),
    V(U64, f_flag),   V(U32, f_namemax), {KIND_END},
};

#define E(k, member) FIELD(struct remote_entry, k, member)
const struct field remote_entry_fields[] = {
    E(ID, next), E(U64, ino), E(U32, type), E(NAME, name), E(U64, node), {KIND_END},
};
const struct field remote_entry_node_fields[] = {E(STAT, st), {KIND_END}};

#define G(k, member) FIELD(struct remote_forget, k, member)
const struct field remote_forget_fields[] = {G(ID, node), G(ID, count), {KIND_END}};

/* ---- The messages ---- */

#define M(k, member) FIELD(struct remote_msg, k, member)
#define A_NODE M(ID, node)
#define OTHER_NODE M(ID, node2)
#define A_FILE M(ID, file)
#define A_DIR M(ID, dir)
#define A_SEARCH M(ID, search)
#define ANY_FILE M(U64, file), M(U64, dir) /* one of them, or none: 0 */
#define A_NAME M(NAME, name)
#define OTHER_NAME M(NAME, name2)
#define A_TEXT M(TEXT, text)
#define A_STAT M(STAT, st)
#define DIR_STAT M(DIR_STAT, dir_st)
#define FLAGS M(U32, flags)
#define SOME_DATA M(DATA, data)

const struct field remote_caller_fields[] = {
    M(U32, uid), M(U32, gid), M(U32, pid), M(U32, caller_flags), {KIND_END},
};

const struct format remote_formats[REMOTE_N_OPS] = {
    [REMOTE_HELLO] = {"hello", .request = {M(U32, magic), M(U32, version), FLAGS, M(U32, inflight)},
		      .answer = {M(U32, magic), M(U32, version), FLAGS, M(U32, inflight), A_NODE,
				 A_STAT}},
    [REMOTE_CANCEL] = {"cancel", .oneway = true},
    [REMOTE_FORGET] = {"forget", .oneway = true, .request = {SOME_DATA}},
    [REMOTE_RELEASE] = {"release", .oneway = true, .request = {A_FILE}},
    [REMOTE_RELEASEDIR] = {"releasedir", .oneway = true, .request = {A_DIR}},
    [REMOTE_LOOKUP] = {"lookup", .request = {A_NODE, A_NAME}, .answer = {A_NODE, A_STAT}},
    [REMOTE_MKNOD] = {"mknod", .changes = true,
		      .request = {A_NODE, A_NAME, M(U32, mode), M(U64, rdev)},
		      .answer = {A_NODE, A_STAT, DIR_STAT}},
    [REMOTE_MKDIR] = {"mkdir", .changes = true, .request = {A_NODE, A_NAME, M(U32, mode)},
		      .answer = {A_NODE, A_STAT, DIR_STAT}},
    [REMOTE_SYMLINK] = {"symlink", .changes = true, .request = {A_NODE, A_NAME, A_TEXT},
			.answer = {A_NODE, A_STAT, DIR_STAT}},
    [REMOTE_LINK] = {"link", .changes = true, .request = {A_NODE, OTHER_NODE, A_NAME},
		     .answer = {A_NODE, A_STAT, DIR_STAT}},
    [REMOTE_UNLINK] = {"unlink", .changes = true, .request = {A_NODE, A_NAME},
		       .answer = {DIR_STAT}},
    [REMOTE_RMDIR] = {"rmdir", .changes = true, .request = {A_NODE, A_NAME}, .answer = {DIR_STAT}},
    [REMOTE_RENAME] = {"rename", .changes = true,
		       .request = {A_NODE, A_NAME, OTHER_NODE, OTHER_NAME, FLAGS}},
    [REMOTE_GETATTR] = {"getattr", .request = {A_NODE, ANY_FILE}, .answer = {A_STAT}},
    [REMOTE_SETATTR] = {"setattr", .changes = true, .request = {A_NODE, ANY_FILE, M(SETATTR, attr)},
			.answer = {A_STAT}},
    [REMOTE_READLINK] = {"readlink", .request = {A_NODE}, .answer = {A_TEXT}},
    [REMOTE_STATFS] = {"statfs", .request = {A_NODE}, .answer = {M(STATVFS, vfs)}},
    [REMOTE_GETXATTR] = {"getxattr", .request = {A_NODE, A_TEXT, M(U32, size)},
			 .answer = {M(U32, size), SOME_DATA}},
    [REMOTE_LISTXATTR] = {"listxattr", .request = {A_NODE, M(U32, size)},
			  .answer = {M(U32, size), SOME_DATA}},
    [REMOTE_SETXATTR] = {"setxattr", .changes = true,
			 .request = {A_NODE, A_TEXT, FLAGS, SOME_DATA}},
    [REMOTE_REMOVEXATTR] = {"removexattr", .changes = true, .request = {A_NODE, A_TEXT}},
    [REMOTE_OPEN] = {"open", .request = {A_NODE, FLAGS}, .answer = {A_FILE, FLAGS}},
    [REMOTE_CREATE] = {"create", .changes = true, .request = {A_NODE, A_NAME, M(U32, mode), FLAGS},
		       .answer = {A_NODE, A_STAT, A_FILE, FLAGS, DIR_STAT}},
    [REMOTE_READ] = {"read", .request = {A_FILE, M(OFF, off), M(U32, size)}, .answer = {SOME_DATA}},
    [REMOTE_WRITE] = {"write", .changes = true, .request = {A_FILE, M(OFF, off), SOME_DATA},
		      .answer = {M(U32, size)}},
    [REMOTE_FLUSH] = {"flush", .request = {A_FILE}},
    [REMOTE_FSYNC] = {"fsync", .request = {A_FILE, FLAGS}},
    [REMOTE_LSEEK] = {"lseek", .request = {A_FILE, M(OFF, off), M(U32, whence)},
		      .answer = {M(OFF, off)}},
    [REMOTE_FALLOCATE] = {"fallocate", .changes = true,
			  .request = {A_FILE, M(U32, mode), M(OFF, off), M(OFF, len)}},
    [REMOTE_OPENDIR] = {"opendir", .request = {A_NODE, M(U32, size), FLAGS},
			.answer = {A_DIR, FLAGS, SOME_DATA}},
    [REMOTE_READDIR] = {"readdir", .request = {A_DIR, M(U64, cookie), M(U32, size), FLAGS},
			.answer = {FLAGS, SOME_DATA}},
    [REMOTE_FSYNCDIR] = {"fsyncdir", .request = {A_DIR, FLAGS}},
    [REMOTE_EXEC] = {"exec", .changes = true, .request = {M(U32, size), FLAGS, SOME_DATA},
		     .answer = {FLAGS}},
    [REMOTE_SEARCH] = {"search", .request = {A_NODE, A_TEXT, M(U32, size), FLAGS, SOME_DATA},
		       .answer = {A_SEARCH}},
    [REMOTE_RESULTS] = {"results", .request = {A_SEARCH, M(U32, size)}, .answer = {SOME_DATA}},
    [REMOTE_END_SEARCH] = {"end search", .oneway = true, .request = {A_SEARCH}},
};

const char *remote_op_name(enum remote_op op)
{
	return remote_formats[op].name;
}

bool remote_has_answer(enum remote_op op)
{
	return !remote_formats[op].oneway;
}

bool remote_changes(enum remote_op op)
{
	return remote_formats[op].changes;
}

bool remote_may_have_fd(enum remote_op op)
{
	return op == REMOTE_OPEN || op == REMOTE_CREATE || op == REMOTE_EXEC;
}
