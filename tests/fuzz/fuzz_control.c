/*
 * Pairs of fields, a path below .aib and a text: the text is written to the file, or, by the path's
 * first character, a directory is made (+) or removed (-), or a file read (?).
 */
#include "daemon.h"

#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

static struct daemon daemon_;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	daemon_start(&daemon_);
	return 0;
}

/* The node at PATH, or NULL; with RET_LAST, that of its directory, and the last name. */
static struct bk_node *find(struct bk_req *req, char *path, char **ret_last)
{
	struct bk_node *node = bk_root(daemon_.control), *next;
	char *save = NULL, *name = strtok_r(path, "/", &save), *after;
	struct stat st;

	for (; name; name = after) {
		after = strtok_r(NULL, "/", &save);
		if (ret_last && !after) {
			*ret_last = name;
			return node;
		}
		if (!strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255 ||
		    bk_lookup(req, node, name, &next, &st) < 0)
			next = NULL;
		bk_node_unref(node);
		node = next;
		if (!node || !S_ISDIR(st.st_mode))
			break;
	}
	if ((name && after) || ret_last) {
		bk_node_unref(node);
		return NULL;
	}
	return node;
}

static void use_file(struct bk_req *req, struct bk_node *node, int flags, const char *text,
		     size_t len)
{
	static char data[65536];
	struct bk_file *file;

	if (bk_open(req, node, flags, &file) < 0)
		return;
	if (flags != O_RDONLY)
		bk_write(req, file, text, len, 0);
	if (flags != O_WRONLY)
		bk_read(req, file, data, sizeof(data), 0);
	bk_flush(req, file);
	bk_release(file);
}

static void change_dir(struct bk_req *req, char *path, bool make)
{
	struct bk_node *made;
	struct stat st;
	char *name;
	struct bk_node *dir = find(req, path, &name);

	if (!dir)
		return;
	if (!strcmp(name, ".") || !strcmp(name, "..") || strlen(name) > 255)
		;
	else if (!make)
		bk_rmdir(req, dir, name);
	else if (bk_mkdir(req, dir, name, 0755, &made, &st) == 0)
		bk_node_unref(made);
	bk_node_unref(dir);
}

static void act(struct bk_req *req, char *path, const char *text, size_t len)
{
	struct bk_node *node;
	struct stat st;

	if (path[0] == '+' || path[0] == '-') {
		change_dir(req, path + 1, path[0] == '+');
		return;
	}
	node = find(req, path + (path[0] == '?'), NULL);
	if (!node)
		return;
	if (bk_getattr(req, node, NULL, &st) == 0 && S_ISREG(st.st_mode))
		use_file(req, node,
			 path[0] == '?' ? O_RDONLY
			 : len % 2	? O_WRONLY
					: O_RDWR,
			 text, len);
	bk_node_unref(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bk_req req;

	bk_req_init(&req, getuid(), getgid(), 0, 5000);
	while (size > 0) {
		size_t len;
		char *path = fuzz_field(&data, &size, NULL), *text = fuzz_field(&data, &size, &len);

		act(&req, path, text, len);
		free(path);
		free(text);
	}
	bk_req_done(&req);
	return 0;
}
