/* Reading JSON that others wrote. */
#ifndef AIB_BASE_JSON_H
#define AIB_BASE_JSON_H

#include <cjson/cJSON.h>

/* The string that the object O has at KEY, borrowed; "" where there is none. O may be NULL. */
static inline const char *json_text(const cJSON *o, const char *key)
{
	const char *s = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, key));

	return s ? s : "";
}

#endif
