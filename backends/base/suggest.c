#include "suggest.h"

#include <string.h>

#define MAX_WORD 32

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance, a row at a time. */
static unsigned distance(const char *a, size_t n, const char *b, size_t m)
{
	unsigned row[MAX_WORD + 1];

	for (size_t j = 0; j <= m; j++)
		row[j] = j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			unsigned above = row[j];

			row[j] = min3(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[m];
}

void suggest_offer(struct suggest *s, const char *candidate)
{
	size_t n = strlen(s->word), m = strlen(candidate);
	unsigned d;

	if (n == 0 || n > MAX_WORD || m > MAX_WORD)
		return;
	d = distance(s->word, n, candidate, m);
	if (d > 1 + n / 4 || (s->best && d >= s->distance))
		return;
	s->best = candidate;
	s->distance = d;
}
