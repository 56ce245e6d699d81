/* The fixed tree of names; see place.h. It knows nothing of nodes or requests. */
#include "place.h"

#include <limits.h>
#include <string.h>

struct place *place_new(struct place *parent, const char *name, size_t len)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->name = strndup(name, len);
	if (!p->name) {
		free(p);
		return NULL;
	}
	p->parent = parent;
	if (parent) {
		p->next = parent->children;
		parent->children = p;
	}
	return p;
}

void place_free(struct place *p)
{
	if (!p)
		return;
	for (struct place *c = p->children, *next; c; c = next) {
		next = c->next;
		place_free(c);
	}
	bk_node_unref(p->route_root);
	free(p->name);
	free(p);
}

struct place *place_child(const struct place *p, const char *name, size_t len)
{
	struct place *c = p->children;

	while (c && (strncmp(c->name, name, len) != 0 || c->name[len] != '\0'))
		c = c->next;
	return c;
}

static int check_component(const char *name, size_t len)
{
	if (len == 0 || len > NAME_MAX)
		return -EINVAL;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return -EINVAL;
	return 0;
}

int place_make(struct place *root, const char *path, uint64_t *number, struct place **ret)
{
	struct place *p = root;

	if (*path != '/')
		return -EINVAL;
	if (path[1] == '\0') {
		*ret = root;
		return 0;
	}
	while (*path) {
		const char *name = path + 1;
		size_t len = strcspn(name, "/");
		struct place *c;

		if (check_component(name, len) < 0)
			return -EINVAL;
		c = place_child(p, name, len);
		if (!c) {
			c = place_new(p, name, len);
			if (!c)
				return -ENOMEM;
			c->number = ++*number;
		}
		p = c;
		path = name + len;
	}
	*ret = p;
	return 0;
}
