/*
 * What the files of the engine client share: requests to an engine with its version agreed on,
 * their errors turned into errno and text, and answers as checked JSON.
 */
#ifndef AIB_DOCKER_CLIENT_H
#define AIB_DOCKER_CLIENT_H

#include "../engine.h"
#include "errno.h"
#include "http.h"

#include <cjson/cJSON.h>

#define ENGINE_MAX_JSON (16 << 20) /* a JSON answer, bytes */
#define ENGINE_MAX_URL (32 << 10)

struct engine {
	struct http *http;
	struct ssh *ssh; /* or NULL */
	bool local;
	bool pinned;	 /* to `newest` */
	char newest[16]; /* version of the API that is asked for at most */

	pthread_mutex_t lock; /* guards the rest */
	char version[16];     /* "1.41"; empty until agreed on */
};

/* As http_begin, with "/v1.41" before the path; a status other than 2xx and 304 (it is so
 * already) is an error with the engine's text. */
int engine_begin(struct bk_req *req, struct engine *e, const struct http_request *rq,
		 struct http_reply **ret, struct err *err);
/* The whole request; the answer, if any is expected (RET not NULL), as JSON. */
int engine_call(struct bk_req *req, struct engine *e, const struct http_request *rq, cJSON **ret,
		struct err *err);
int engine_get(struct bk_req *req, struct engine *e, const char *path, cJSON **ret,
	       struct err *err);
/* Agree on a version where that was not done; BUF has room for 16 bytes. */
int engine_agree(struct bk_req *req, struct engine *e, char *buf, struct err *err);
/* After an answer of 400 with MESSAGE: 1 where it refused the version and another was agreed on, 0
 * where the error is another one. */
int engine_refused(struct bk_req *req, struct engine *e, const char *message, struct err *err);

/* The error of an answer with STATUS whose body is BODY ({"message": "…"} or any text). */
int engine_failed(struct engine *e, int status, const char *body, struct err *err);
/* Read all of a body, up to its buffer's cap. */
int engine_body(struct bk_req *req, struct engine *e, struct http_reply *x, struct buf *body,
		struct err *err);
/* For an answer that is not what it should be. */
int engine_garbled(struct engine *e, struct err *err, const char *what);

/* The value of `filters` of a list: what has the label "KEY=VALUE" or "KEY". The caller's, or NULL.
 */
char *engine_label_filter(const char *label);

/* Members of a JSON object, checked: NULL or DEF where missing or of another type. */
const char *json_string(const cJSON *obj, const char *key);
double json_number(const cJSON *obj, const char *key, double def);
bool json_bool(const cJSON *obj, const char *key);

/* discover.c: where the engine is, by CONF or the environment. Fields are the caller's. */
struct place {
	char *host;
	char *cert; /* directory of certificates; may be NULL */
	bool tls, insecure;
};
int place_find(const struct engine_conf *conf, struct place *ret, struct err *err);
void place_done(struct place *p);
/* The docker client's configuration, NULL where there is none. PATH (PATH_MAX) gets its folder. */
cJSON *docker_config(char *dir);
/* A whole small file as text, at most MAX bytes, or NULL. */
char *read_text(const char *path, size_t max);

/* auth.c: the value of X-Registry-Auth for REGISTRY, or NULL for none. */
char *registry_auth(const char *registry);

#endif
