#include "environment.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct variable {
	char *text;
	size_t order;
};

static size_t name_length(const char *text)
{
	return strchrnul(text, '=') - text;
}

static int compare_names(const char *a, const char *b)
{
	size_t n = name_length(a), m = name_length(b);
	int r = memcmp(a, b, n < m ? n : m);

	return r ? r : (n > m) - (n < m);
}

static int by_name_and_order(const void *a, const void *b)
{
	const struct variable *x = a, *y = b;
	int r = compare_names(x->text, y->text);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

/* TEXT's copy; its value is gone where it was. */
static char *take(char *text)
{
	char *copy = strdup(text);
	size_t name = name_length(text);

	if (copy)
		memset(text + name, 0, strlen(text) - name);
	return copy;
}

/* Tens of thousands are possible: setenv(3) would look at each for each. */
int environment_set(char **vars, size_t n)
{
	size_t inherited = 0, all, kept = 0;
	struct variable *list;
	char **result;

	while (environ[inherited])
		inherited++;
	all = inherited + n;
	list = calloc(all + 1, sizeof(*list));
	result = calloc(all + 1, sizeof(*result));
	if (!list || !result)
		return -ENOMEM;
	for (size_t i = 0; i < all; i++) {
		list[i].order = i;
		list[i].text = i < inherited ? environ[i] : take(vars[i - inherited]);
		if (!list[i].text)
			return -ENOMEM;
	}
	qsort(list, all, sizeof(*list), by_name_and_order);
	for (size_t i = 0; i < all; i++)
		if (i + 1 == all || compare_names(list[i].text, list[i + 1].text) != 0)
			result[kept++] = list[i].text;
		else if (list[i].order >= inherited)
			free(list[i].text);
	free(list);
	environ = result;
	return 0;
}
