/*
 * "Did you mean": the nearest of some words to a mistyped one. Set `word`, offer every candidate,
 * read `best` (NULL where nothing is near). Nothing is allocated; candidates are borrowed.
 */
#ifndef AIB_BASE_SUGGEST_H
#define AIB_BASE_SUGGEST_H

struct suggest {
	const char *word;
	const char *best;
	unsigned distance; /* of best */
};

void suggest_offer(struct suggest *s, const char *candidate);

#endif
