/* An archive that an engine gives, as the index of a directory and as the content of a file. */
#include "endpoint.h"

#include "base/log.h"
#include "docker/index.h"
#include "fuzz.h"

static const char header[] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-tar\r\n\r\n";

static struct engine *engine;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	engine = endpoint_open();
	return 0;
}

static bool hidden(void *arg, const char *path)
{
	CHECK(path[0] == '/');
	return strcmp(path, "/d/proc") == 0;
}

/* Whatever the archive said, the tree is one: names of one component, children in their range. */
static void check_index(const struct index *ix)
{
	for (size_t i = 1; i < ix->n; i++) {
		const struct index_entry *e = &ix->e[i];
		const char *name = index_name(ix, e);

		CHECK(e->name < ix->names_len && e->link < ix->names_len);
		CHECK(name[0] && !strchr(name, '/') && strcmp(name, ".") && strcmp(name, ".."));
		CHECK(e->parent < ix->n && S_ISDIR(ix->e[e->parent].mode));
		CHECK(e->count == 0 || (size_t)e->first + e->count <= ix->n);
	}
}

static void build_index(struct bk_req *req)
{
	atomic_uint_fast64_t progress_ms = 0;
	const struct index_build b = {
	    .engine = engine,
	    .container = "c",
	    .path = "/d",
	    .max = 64,
	    .timeout_ms = 2000,
	    .progress_ms = &progress_ms,
	    .hidden = hidden,
	};
	struct err err = {""};
	struct index *ix;

	if (index_build(req, &b, &ix, &err) < 0)
		return;
	check_index(ix);
	index_unref(ix);
}

static void read_content(struct bk_req *req)
{
	struct engine_tar_entry e;
	struct engine_tar *tar;
	struct err err = {""};
	char part[4096];
	uint64_t got = 0;
	ssize_t n = 0;

	if (engine_archive_get(req, engine, "c", "/f", &tar, &err) < 0)
		return;
	if (engine_tar_next(req, tar, &e) == 1) {
		uint64_t size = e.st.st_size;

		while ((n = engine_tar_read(req, tar, part, sizeof(part))) > 0)
			got += n;
		CHECK(n < 0 || got == size);
	}
	engine_tar_close(tar);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bk_req req;

	endpoint_answer(header, data, size);
	bk_req_init(&req, 0, 0, 0, 5000);
	build_index(&req);
	read_content(&req);
	bk_req_done(&req);
	endpoint_answer("", NULL, 0);
	return 0;
}
