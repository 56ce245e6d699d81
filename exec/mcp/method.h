/* The methods of MCP that this server has, by a table. */
#ifndef AIB_MCP_METHOD_H
#define AIB_MCP_METHOD_H

#include "rpc.h"

/* Answer Q, now or by a call. */
void method_run(const struct request *q);
/* All revisions, as an array, the newest first. */
cJSON *method_revisions(void);
/* Add name, title and version to O. */
void method_server_info(cJSON *o);

#endif
