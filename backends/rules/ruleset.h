/* The inside of a set of rules, for the backend that holds them. */
#ifndef AIB_RULES_RULESET_H
#define AIB_RULES_RULESET_H

#include "base/pattern.h"
#include "rules.h"

struct rule {
	int verdict; /* 0: allow; -EACCES: deny; -EROFS: readonly */
	char *glob;  /* as it was given */
};

struct rules {
	struct rule *list;
	size_t n;
	struct pattern *pattern; /* each rule is a text of it, in the same order */
};

#endif
