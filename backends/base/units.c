#include "units.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static int parse_with_unit(const char *s, const struct unit *units, uint64_t *ret)
{
	char *end;
	double v;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	v = strtod(s, &end);
	for (; units->name; units++)
		if (strcmp(end, units->name) == 0)
			break;
	if (!units->name || !isfinite(v) || v < 0 || v * units->factor >= 9e18)
		return -EINVAL;
	*ret = v * units->factor;
	return 0;
}

int option_size(const char *s, uint64_t *ret_bytes)
{
	static const struct unit units[] = {
	    {"", 1},	       {"K", 1ULL << 10}, {"M", 1ULL << 20},
	    {"G", 1ULL << 30}, {"T", 1ULL << 40}, {"k", 1ULL << 10},
	    {"m", 1ULL << 20}, {"g", 1ULL << 30}, {NULL, 0},
	};

	return parse_with_unit(s, units, ret_bytes);
}

int option_duration(const char *s, uint64_t *ret_ms)
{
	static const struct unit units[] = {
	    {"", 1000},	    {"ms", 1},	     {"s", 1000}, {"m", 60 * 1000},
	    {"h", 3600000}, {"d", 86400000}, {NULL, 0},
	};

	return parse_with_unit(s, units, ret_ms);
}
