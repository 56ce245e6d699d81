/* Named lists of rules. */
#ifndef AIB_RULES_PRESETS_H
#define AIB_RULES_PRESETS_H

struct preset {
	const char *name;
	const char *const
	    *rules; /* "VERB:PATTERN", or the name of another preset; NULL ends them */
};

extern const struct preset presets[]; /* a NULL name ends them */

#endif
