/*
 * Symlink containment: whether the target of a link can lead out of the tree that holds it. Only
 * the text is looked at here; where the text is not enough, the caller walks the tree.
 *
 * A relative target is resolved by the kernel from the directory that holds the link. Each ".."
 * takes one level away, and a name adds one only if it is a real directory: through another link,
 * "name/.." may be anywhere.
 */
#ifndef AIB_BASE_LINK_H
#define AIB_BASE_LINK_H

#include <stddef.h>

enum link_class {
	LINK_INSIDE,	 /* stays inside, whatever is in the tree */
	LINK_NEEDS_WALK, /* inside if each name before the last ".." is a real directory */
	LINK_OUTSIDE,	 /* absolute, empty, or above the root */
};

/*
 * Classify TARGET (LEN bytes, not necessarily terminated) of a link in a directory that is DEPTH
 * levels below the root of its tree (0: the link is in the root).
 */
enum link_class link_classify(const char *target, size_t len, size_t depth);

/*
 * The next component of a path that is neither empty nor ".": sets *ret (not terminated) and
 * returns its length, 0 at the end. *POS is where to go on, 0 at first.
 */
size_t link_next(const char *path, size_t len, size_t *pos, const char **ret);

/*
 * Take each "name/.." out of TARGET (relative, LEN bytes), whose names before a ".." are real
 * directories now: what is left leads to the same place, and is LINK_INSIDE where it was, whatever
 * becomes of those names. In place; returns the new length.
 */
size_t link_straighten(char *target, size_t len);

#endif
