/*
 * How protocol.c describes messages, for encode.c and decode.c. A field is a number of a width on
 * the wire, or one of a few kinds that are made of them.
 */
#ifndef AIB_REMOTE_FIELDS_H
#define AIB_REMOTE_FIELDS_H

#include "protocol.h"

enum kind {
	KIND_END,
	KIND_U32,
	KIND_U64,
	KIND_OFF,  /* at most INT64_MAX */
	KIND_ID,   /* not 0 */
	KIND_NAME, /* a component, of 1 to NAME_MAX bytes */
	KIND_TEXT, /* 0 to PATH_MAX - 1 bytes */
	KIND_STAT,
	KIND_DIR_STAT, /* of a directory, or mode 0: it is not told */
	KIND_SETATTR,
	KIND_STATVFS,
	KIND_DATA, /* all that is left; the last field */
};

struct field {
	uint8_t kind;
	uint8_t size; /* of a number, in memory: 4 or 8 */
	uint16_t offset;
};

/* What structs are made of; each ends with KIND_END. */
extern const struct field remote_stat_fields[], remote_setattr_fields[], remote_statvfs_fields[];
/* An entry of a listing; the second ones only where it has a node. */
extern const struct field remote_entry_fields[], remote_entry_node_fields[];
extern const struct field remote_forget_fields[];
/* What every request that has an answer begins with. */
extern const struct field remote_caller_fields[];

struct format {
	const char *name;
	bool oneway, changes;
	struct field request[8], answer[8]; /* an empty one ends them */
};
extern const struct format remote_formats[REMOTE_N_OPS];

#endif
