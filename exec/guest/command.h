/*
 * A command line and environment, told over a socket to a process that waits for them: two
 * processes of one program, so what is sent is as memory has it.
 */
#ifndef AIB_EXEC_GUEST_COMMAND_H
#define AIB_EXEC_GUEST_COMMAND_H

/* ARGV and ENV end with NULL. Does not block. 0, -E2BIG or -errno; then FD is of no use any more.
 */
int command_send(int fd, const char *const *argv, const char *const *env);
/* Wait for it. *ret, ended by NULL, and `environ`, which becomes what was sent, are never freed.
 * Returns how many arguments there are, at least 2, or -errno, -EPIPE where nothing comes. */
int command_receive(int fd, char ***ret);

#endif
