/* Where a user's programs keep what outlives them (XDG Base Directory Specification 0.8). */
#ifndef AIB_BASE_STATE_H
#define AIB_BASE_STATE_H

/* /var/lib/aib for root, else $XDG_STATE_HOME/aib or ~/.local/state/aib: absolute; not made. The
 * caller's; NULL where memory is out. */
char *state_dir(void);

#endif
