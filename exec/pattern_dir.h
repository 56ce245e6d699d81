/*
 * `glob` of a pattern alone: the directories that it names before its first wildcard are where the
 * search begins, so that it may be absolute, and its results are spelled as it is.
 */
#ifndef AIB_EXEC_PATTERN_DIR_H
#define AIB_EXEC_PATTERN_DIR_H

/*
 * Where PATTERN names no directory, *ret_rest is PATTERN and *ret_dir NULL; else what follows them,
 * and the directory, the caller's. 0 or -ENOMEM.
 */
int pattern_dir(const char *pattern, char **ret_dir, const char **ret_rest);

#endif
