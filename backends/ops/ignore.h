/*
 * .gitignore: the rules of a directory and of those above it, as gitignore(5) has them. The nearest
 * file with a rule that matches decides, in it the last such rule.
 */
#ifndef AIB_OPS_IGNORE_H
#define AIB_OPS_IGNORE_H

#include <stdbool.h>
#include <stddef.h>

struct ignore;

/* The rules of TEXT, for what is below a directory, after those of PARENT (borrowed; NULL: none).
 * DEPTH: how many directories below the beginning of all paths it is. NULL where memory is out. */
struct ignore *ignore_new(const struct ignore *parent, unsigned depth, const char *text,
			  size_t len);
void ignore_free(struct ignore *i); /* not its parent; takes NULL */

/* What I was made of; returns its parent. The text is I's. */
const struct ignore *ignore_source(const struct ignore *i, unsigned *ret_depth,
				   const char **ret_text, size_t *ret_len);

/* Whether PATH ("a/b/c", from the beginning of all paths) is ignored by what its directory knows,
 * I. */
bool ignore_matches(const struct ignore *i, const char *path, bool is_dir);

#endif
