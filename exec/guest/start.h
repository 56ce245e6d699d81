/*
 * Commands that serve starts: this program again, with a verb, in a session of its own, a socket as
 * its standard input and output, the umask and limits that serve found and default signals. They
 * live on when serve ends, and nobody reaps them.
 *
 * To start a program costs as much as a short command does. So the next `run` is kept in store,
 * from the first command on (`aib-guest next`): it waits for its arguments and environment, on the
 * same socket, before all else (command.h), and ends where they do not come.
 */
#ifndef AIB_EXEC_GUEST_START_H
#define AIB_EXEC_GUEST_START_H

/* Once, before serving: keep what commands are to find, and take for serving umask 0 and as many
 * descriptors as this user may have. */
void start_init(void);

/*
 * Start ARGV (this program's name, a verb and so on; NULL at the end) with ENV (NULL: our own). Any
 * thread; does not wait for the command. *ret_fd is the caller's: the other end of its socket. CTX
 * is not used. Returns 0 or -errno, EUSERS where there are too many processes.
 */
int start(void *ctx, const char *const *argv, const char *const *env, int *ret_fd);

/* Once, after serving: end what is in store. Waits for it for a second at most. */
void start_done(void);

#endif
