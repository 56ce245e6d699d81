/* What is to become of a session's container, by what the disk says alone: for who has no session.
 */
#ifndef AIB_SESSIONS_LEFTOVER_H
#define AIB_SESSIONS_LEFTOVER_H

#include <stdbool.h>

/*
 * The container of session NAME with SESSION_ID, of the root at PATH with ROOT_ID, as its labels
 * say. "remove": there is no such session; "stop": it RUNS, and no daemon uses the root; NULL:
 * neither, or it cannot be seen.
 */
const char *leftover_session(const char *path, const char *root_id, const char *name,
			     const char *session_id, bool runs);

#endif
