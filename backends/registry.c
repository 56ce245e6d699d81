/*
 * The types of routes. A new backend is its folder and one line here.
 */
#include "backend.h"

#include <string.h>

extern const struct bk_type memory_type;
extern const struct bk_type host_type;
extern const struct bk_type docker_type;
extern const struct bk_type runtime_type;
extern const struct bk_type container_type;
extern const struct bk_type sessions_type;
extern const struct bk_type session_type;

static const struct bk_type *const types[] = {
    &memory_type,    &host_type,     &docker_type,  &runtime_type,
    &container_type, &sessions_type, &session_type, NULL,
};

int bk_type_find(const char *name, const struct bk_type **ret, struct err *err)
{
	char known[256] = "";

	for (size_t i = 0; types[i]; i++) {
		size_t n = strlen(known);

		if (strcmp(types[i]->name, name) == 0) {
			*ret = types[i];
			return 0;
		}
		snprintf(known + n, sizeof(known) - n, "%s%s", n ? ", " : "", types[i]->name);
	}
	return err_set(err, -EINVAL, "unknown type \"%s\" (types: %s)", name, known);
}

const struct bk_type *bk_type_at(size_t i)
{
	return i < ARRAY_SIZE(types) ? types[i] : NULL;
}
