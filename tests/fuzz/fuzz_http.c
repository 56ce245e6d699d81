/* The first byte says which question is asked, the rest is the engine's answer, headers and all. */
#include "endpoint.h"

#include "base/log.h"
#include "fuzz.h"

#include <cjson/cJSON.h>

static struct engine *engine;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	log_set_stderr(0);
	engine = endpoint_open();
	return 0;
}

static void quiet(void *ctx, const char *text)
{
	for (const char *p = text; *p; p++)
		CHECK((unsigned char)*p >= ' ' || *p == '\t');
}

static int stat_path(struct bk_req *req, struct err *err)
{
	struct engine_stat st;
	int r = engine_archive_stat(req, engine, "c", "/f", &st, err);

	if (r == 0)
		free(st.link);
	return r;
}

static int build(struct bk_req *req, struct err *err)
{
	const struct engine_build b = {.dockerfile = "FROM x\n", .tag = "t", .timeout_ms = 1000};

	return engine_image_build(req, engine, &b, quiet, NULL, err);
}

/* A command's stream: all of it, as it comes. */
static int run_command(struct bk_req *req, struct err *err)
{
	const char *argv[] = {"true", NULL};
	const struct engine_exec exec = {.argv = argv};
	struct buf out = BUF_INIT(64 << 10), errors = BUF_INIT(4 << 10);
	int r = engine_exec_run(req, engine, "c", &exec, "in", 2, &out, &errors, err);

	CHECK(out.len <= 64 << 10 && errors.len <= 4 << 10);
	buf_done(&out);
	buf_done(&errors);
	return r < 0 ? r : 0;
}

static int create(struct bk_req *req, struct err *err)
{
	cJSON *spec = cJSON_CreateObject();
	char *id = NULL;
	int r = engine_container_create(req, engine, "n", spec, &id, err);

	CHECK(r < 0 || (id && *id));
	free(id);
	cJSON_Delete(spec);
	return r;
}

static int inspect_exec(struct bk_req *req, struct err *err)
{
	int status, pid;

	return engine_exec_inspect(req, engine, "e", &status, &pid, err);
}

static int ask(unsigned which, struct bk_req *req, struct err *err)
{
	cJSON *json = NULL;
	int r;

	switch (which) {
	case 0:
		r = engine_ping(req, engine, err);
		break;
	case 1:
		r = engine_info(req, engine, &json, err);
		break;
	case 2:
		r = engine_container_inspect(req, engine, "c", &json, err);
		break;
	case 3:
		r = engine_container_list(req, engine, "aib.mount=x", &json, err);
		break;
	case 4:
		r = engine_image_pull(req, engine, "i", quiet, NULL, err);
		break;
	case 5:
		r = engine_volume_create(req, engine, "v", NULL, &json, err);
		break;
	case 6:
		r = stat_path(req, err);
		break;
	case 7:
		r = build(req, err);
		break;
	case 8:
		r = run_command(req, err);
		break;
	case 9:
		r = create(req, err);
		break;
	case 10:
		r = inspect_exec(req, err);
		break;
	default:
		r = engine_container_action(req, engine, "c", "start", 0, err);
	}
	CHECK(r < 0 || which == 0 || !json || cJSON_GetArraySize(json) >= 0);
	if (r == 0)
		cJSON_Delete(json);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err err = {""};
	struct bk_req req;

	if (size == 0)
		return 0;
	endpoint_answer("", data + 1, size - 1);
	bk_req_init(&req, 0, 0, 0, 5000);
	CHECK(ask(data[0] % 12, &req, &err) <= 0);
	bk_req_done(&req);
	endpoint_answer("", NULL, 0);
	return 0;
}
