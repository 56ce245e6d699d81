/* The working directory's path, also while a mount's kernel side has lost its name for a moment. */
#ifndef AIB_BASE_CWD_H
#define AIB_BASE_CWD_H

/*
 * As getcwd(NULL, 0). Where the kernel drops the names of a mount (at the end of a command), a
 * directory has none from somebody's look at it until the daemon has answered that: getcwd(2) then
 * says ENOENT of a directory that is there. This waits for the answer, CWD_WAIT_MS at most. Of one
 * that was removed it says ENOENT at once.
 */
char *cwd_get(void);

#define CWD_WAIT_MS 5000

#endif
