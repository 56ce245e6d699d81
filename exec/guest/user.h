/*
 * Becoming a user of the container, as the Engine's exec does it: the same words ("alice", "1000",
 * "alice:staff", "1000:1000"), looked up in the container's own /etc/passwd and /etc/group, with
 * the same errors. Both files are hostile: they are read up to a bound, and only if regular.
 */
#ifndef AIB_EXEC_GUEST_USER_H
#define AIB_EXEC_GUEST_USER_H

#include <limits.h>
#include <stddef.h>
#include <sys/types.h>

#define USER_GROUPS_MAX 65536 /* the kernel's own limit */
#define USER_WHY_SIZE 256     /* of each WHY below: text for people */

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USER_GROUPS_MAX]; /* supplementary, the primary one included */
	size_t n_groups;
	char home[PATH_MAX]; /* "/" where no entry of uid says better */
};

/*
 * Look WORDS up. A user alone gets his primary group and those that list him; one that is named
 * with a group gets that group and no other; a number needs no entry (its group is then 0). What
 * this process has of supplementary groups beside its own is what the container was given
 * (--group-add), and is kept. Blocks on the container's files. 0, or -1 and WHY.
 */
int user_find(const char *words, struct user *ret, char *why);

/*
 * Become USER for good: groups, then gid, then uid. Without root's rights it is possible only where
 * there is nothing to do. 0, or -1 and WHY; then the process must end.
 */
int user_become(const struct user *user, char *why);

#endif
