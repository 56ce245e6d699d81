/*
 * Rules of a route: which of its paths may be read and changed, by patterns; and a backend that
 * holds them over any other. README.md says what a rule means.
 */
#ifndef AIB_RULES_H
#define AIB_RULES_H

#include "../backend.h"

struct rules;

/*
 * JSON is "PRESET", "VERB:PATTERN", {"VERB": "PATTERN"} or a list of these; VERB is allow, deny or
 * readonly. 0, -EINVAL with text, -ENOMEM. *RET is the caller's.
 */
int rules_parse(const cJSON *json, struct rules **ret, struct err *err);
void rules_free(struct rules *r); /* takes NULL */
DEFINE_CLEANUP(struct rules *, rules_free)

/* As a list of {"VERB": "PATTERN"}, presets resolved; rules_parse takes it. NULL: memory is out. */
cJSON *rules_show(const struct rules *r);
bool rules_same(const struct rules *a, const struct rules *b);
/* Whether all is readonly and nothing denied: what a read-only bind of the directory says too. */
bool rules_only_readonly(const struct rules *r);

/*
 * What BK is with RULES; both are taken, also on failure. BK is not prepared yet, and in its tree
 * no commands run (no `sandbox`, no `enter`). 0 or -ENOMEM.
 */
int rules_wrap(struct bk *bk, struct rules *rules, struct bk **ret);

#endif
