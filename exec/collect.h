/*
 * Gathers the frames of one command into the JSON response of `aib exec --json` and `.aib/exec`:
 * {"output", "stdout", "stderr", "exit_code", "signal", "truncated", "timed_out", "duration_ms"},
 * and "error" where aib itself failed (exit_code 125). `output` has both streams in order of
 * arrival.
 */
#ifndef AIB_EXEC_COLLECT_H
#define AIB_EXEC_COLLECT_H

#include "protocol.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

/* Characters of each output that are kept unless the request says otherwise. */
#define COLLECT_DEFAULT_LIMIT 100000

struct collect;

/* The clock starts here. LIMIT: characters kept of each output. NULL where memory is out. */
struct collect *collect_new(size_t limit);
void collect_free(struct collect *c); /* takes NULL */

/*
 * Bytes from the daemon. Returns 0 while more is to come, 1 when the command has ended (EXIT or
 * ERROR was seen), or -EPROTO.
 */
int collect_feed(struct collect *c, const void *data, size_t len);
/* The stream has ended without EXIT or ERROR, or could not be had: TEXT says why. */
void collect_fail(struct collect *c, const char *text);

/* The response; the caller owns it. Bytes that are no UTF-8 are U+FFFD. NULL where memory is out.
 */
cJSON *collect_response(const struct collect *c);
/* The exit status that aib-exec would end with. */
int collect_status(const struct collect *c);

#endif
