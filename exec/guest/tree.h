/*
 * All that a command has started, however it tried to get away: the guest is the subreaper of its
 * descendants, so every one of them has a living chain of parents that ends here, in /proc.
 */
#ifndef AIB_EXEC_GUEST_TREE_H
#define AIB_EXEC_GUEST_TREE_H

/* Become the subreaper. Returns 0 or -errno. */
int tree_init(void);
/* SIG to every descendant that there is now. */
void tree_signal(int sig);
/*
 * Kill every descendant. Whatever one of them forked meanwhile is killed by the next call: repeat
 * until waitpid(2) says that there is no child.
 */
void tree_kill(void);

#endif
