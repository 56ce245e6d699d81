/*
 * Files as resources, `aib://` and the absolute path, with bytes that are no plain character of an
 * URI as %XX. A directory's ends in a slash; its content is its listing, as JSON.
 */
#ifndef AIB_MCP_RESOURCE_H
#define AIB_MCP_RESOURCE_H

#include "rpc.h"

cJSON *resource_templates(void);
/* The methods. resources/list has the entries of the directory that relative paths begin with. */
void resource_list(const struct request *q);
void resource_read(const struct request *q);

#endif
