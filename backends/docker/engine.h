/*
 * A client of the Docker Engine API (v1.24 to today's, and Podman's compatible service; the API is
 * described at docs.docker.com/reference/api/engine). One `struct engine` is one endpoint; it may
 * be used from any number of threads. It knows HTTP and JSON, and nothing of files, nodes, routes.
 *
 * Every call takes the request for which it works: it ends with -EINTR once that is cancelled and
 * with -ETIMEDOUT at its deadline, or after the engine's `timeout_ms` without a byte of progress.
 * Other errors come from one table (engine/errno.c): 404 ENOENT, 409 EBUSY, 403 EACCES, 5xx EIO,
 * refused or missing socket ECONNREFUSED …; where the engine's message names a cause, that wins
 * (a container that is not running: ENOTCONN; a name in use: EEXIST; a read-only root: EROFS). They
 * carry that message as text.
 * What an engine says is not trusted: bodies are capped, types are checked.
 */
#ifndef AIB_DOCKER_ENGINE_H
#define AIB_DOCKER_ENGINE_H

#include "../backend.h"
#include "../base/options.h"

struct engine;

/* Where an engine is, and how it is reached: one of "engines" of the configuration, or a URL. */
struct engine_conf {
	char *host; /* unix:///path, tcp://host:port, http(s)://…, ssh://…; NULL: see engine_open */
	bool tls;   /* with tcp: TLS, with the server verified; implied by `cert` */
	char *cert; /* directory with ca.pem (or the machine's own CAs), cert.pem and key.pem */
	char *api_version;	     /* the newest to use; NULL: what both know */
	uint64_t connect_timeout_ms; /* 0: 10 s over ssh, else `timeout_ms` */
	char *ssh_config, *ssh_identity, *ssh_dial;
	uint64_t timeout_ms; /* without progress; 0: 30 s. No key of "engines" */
};

extern const struct option engine_options[]; /* the keys of a named engine */

/*
 * Where the engine NAME is: one of ENGINES ("engines" of the configuration, may be NULL), a URL, or
 * the default one where NAME is NULL. *RET is the caller's, to be ended with engine_conf_done.
 * Nothing is opened or asked. -EINVAL with text: no such name (with a suggestion), an unknown key,
 * a value that is none.
 */
int engine_conf_find(const char *name, const cJSON *engines, struct engine_conf *ret,
		     struct err *err);
/* The same of one value of "engines". */
int engine_conf_parse(const cJSON *obj, struct engine_conf *ret, struct err *err);
void engine_conf_done(struct engine_conf *c); /* takes an empty one */

/*
 * Make a client; does not connect. CONF is read, not kept; NULL is an empty one. Files of `cert`
 * are looked at: -EACCES, -ENOENT … with text that names the one. Without a host: DOCKER_HOST (with
 * DOCKER_TLS_VERIFY and DOCKER_CERT_PATH), the current context of the docker client's
 * configuration, then the first existing of /var/run/docker.sock, $XDG_RUNTIME_DIR/docker.sock,
 * ~/.docker/run/docker.sock, /run/podman/podman.sock, $XDG_RUNTIME_DIR/podman/podman.sock.
 */
int engine_open(const struct engine_conf *conf, struct engine **ret, struct err *err);
/* engine_conf_find and engine_open, for who needs nothing else of the configuration. TIMEOUT_MS as in
 * the conf. */
int engine_open_named(const char *name, const cJSON *engines, uint64_t timeout_ms,
		      struct engine **ret, struct err *err);
void engine_close(struct engine *e); /* no call may be running; takes NULL */
DEFINE_CLEANUP(struct engine *, engine_close)

const char *engine_host(const struct engine *e); /* for messages: "unix:///var/run/docker.sock" */
bool engine_is_local(const struct engine *e);	 /* reached by a Unix socket */

/* Ask /_ping and agree on a version; the other calls do so first by themselves. */
int engine_ping(struct bk_req *req, struct engine *e, struct err *err);
/* GET /version and /info: the caller owns *ret. */
int engine_version(struct bk_req *req, struct engine *e, cJSON **ret, struct err *err);
int engine_info(struct bk_req *req, struct engine *e, cJSON **ret, struct err *err);

/* ---- Images ---- */
int engine_image_inspect(struct bk_req *, struct engine *, const char *image, cJSON **ret,
			 struct err *);
/* Pull IMAGE (a reference; no tag means latest). PROGRESS gets a line for each step (printable), at
 * most a few a second; may be NULL. Credentials of the docker client's configuration are used. */
int engine_image_pull(struct bk_req *, struct engine *, const char *image,
		      void (*progress)(void *ctx, const char *text), void *ctx, struct err *);
/*
 * IMAGE is on E, or comes: inspected and, as PULL says ("missing", "always", "never"; NULL:
 * missing), pulled over PULLER, which may be another client of the same engine, with REQ's deadline
 * PULL_MS away (0: as it is). 0 where it was there, 1 where it was pulled.
 */
int engine_image_need(struct bk_req *, struct engine *e, struct engine *puller, const char *image,
		      const char *pull, uint64_t pull_ms,
		      void (*progress)(void *ctx, const char *text), void *ctx, struct err *);

/* All images with a label "KEY=VALUE" or "KEY", those without a name too: the JSON array of
 * GET /images/json. */
int engine_image_list(struct bk_req *, struct engine *, const char *label, cJSON **ret,
		      struct err *);
/* IMAGE is a name, which goes, and the image with its last one; or an id. Missing is success;
 * -EBUSY where a container is of it. */
int engine_image_remove(struct bk_req *, struct engine *, const char *image, struct err *);

struct engine_build {
	const char *dockerfile; /* the text: there are no other files */
	const char *tag;	/* what the image is called when it is built, and not before */
	const cJSON *labels;	/* object of strings */
	const char *network;	/* of its commands; NULL: the engine's default */
	bool no_cache;		/* also what was done by an earlier build is done again */
	uint64_t timeout_ms;	/* without a line of output */
};
/*
 * Build an image, with each line of output to PROGRESS (printable; may be NULL). A line moves REQ's
 * deadline on: it is at least `timeout_ms` away. Cancelling aborts the build. Failure has the
 * engine's text and the last lines of the output.
 */
int engine_image_build(struct bk_req *, struct engine *, const struct engine_build *,
		       void (*progress)(void *ctx, const char *text), void *ctx, struct err *);

/* ---- Networks ---- */
int engine_network_inspect(struct bk_req *, struct engine *, const char *name, cJSON **ret,
			   struct err *);

/* ---- Volumes ---- */
/* Make the volume NAME with LABELS (object of strings, or NULL), or find the one that is there: its
 * description, with the labels that it has. *ret is the caller's. */
int engine_volume_create(struct bk_req *, struct engine *, const char *name, const cJSON *labels,
			 cJSON **ret, struct err *);
/* Missing is success; -EBUSY while a container has it. */
int engine_volume_remove(struct bk_req *, struct engine *, const char *name, struct err *);

/* ---- Containers ---- */
/* SPEC is the body of POST /containers/create. *ret_id is the caller's. */
int engine_container_create(struct bk_req *, struct engine *, const char *name, const cJSON *spec,
			    char **ret_id, struct err *);
int engine_container_inspect(struct bk_req *, struct engine *, const char *id, cJSON **ret,
			     struct err *);
/* Verb: start, stop, restart, pause, unpause, kill. An action that is done already is success.
 * GRACE_S: seconds before KILL, for stop and restart. */
int engine_container_action(struct bk_req *, struct engine *, const char *id, const char *verb,
			    unsigned grace_s, struct err *);
/* Removes with its anonymous volumes, killing it first where it runs. Missing is success; one that
 * somebody else removes is waited for. */
int engine_container_remove(struct bk_req *, struct engine *, const char *id, struct err *);
/* All containers, running or not, with a label "KEY=VALUE" or "KEY": the JSON array of
 * GET /containers/json. */
int engine_container_list(struct bk_req *, struct engine *, const char *label, cJSON **ret,
			  struct err *);

/* ---- Commands ---- */
struct engine_exec {
	const char *const *argv; /* NULL-terminated */
	const char *const *env;	 /* may be NULL */
	const char *user;	 /* may be NULL */
	const char *workdir;	 /* may be NULL */
};
/*
 * Start a command with all three streams attached, without a terminal. The stream's read gives the
 * command's standard output, demultiplexed (both the 8-byte framed form and, for engines that do
 * so, raw); standard error is logged at debug level, the newest 4 KiB kept for engine_exec_text.
 * TLS too. One thread may read while another writes. Closing the stream closes the connection.
 */
int engine_exec_start(struct bk_req *, struct engine *, const char *id, const struct engine_exec *,
		      struct bk_stream **ret, char **ret_exec_id, struct err *);
/*
 * What the command has said to people, in RET (SIZE bytes, with the NUL): its standard error, or,
 * where its output began with a line of text, that line (an engine says so that it could not start
 * it). Printable, without a newline; empty for nothing. Nobody may be reading of the stream.
 */
void engine_exec_text(struct bk_stream *stream, char *ret, size_t size);
/* Exit status and, where not NULL, the host pid (set also with -EBUSY; 0 before the engine has
 * started the process). -EBUSY while it runs. */
int engine_exec_inspect(struct bk_req *, struct engine *, const char *exec_id, int *ret_status,
			int *ret_pid, struct err *);
/* Run to the end: INPUT (may be NULL) to standard input, outputs kept up to their caps (the rest is
 * read and dropped). Returns the exit status (0 to 255) or -errno. */
int engine_exec_run(struct bk_req *, struct engine *, const char *id, const struct engine_exec *,
		    const void *input, size_t input_len, struct buf *out, struct buf *errors,
		    struct err *);

/* ---- Archives ---- */
/* HEAD /containers/ID/archive: the header X-Docker-Container-Path-Stat. A symlink is itself, not
 * followed, as the last component; the Engine follows links before it. */
struct engine_stat {
	uint64_t size;
	mode_t mode; /* Linux mode with type, from Go's os.FileMode */
	struct timespec mtime;
	char *link; /* target of a symlink, else NULL; the caller frees */
};
int engine_archive_stat(struct bk_req *, struct engine *, const char *id, const char *path,
			struct engine_stat *ret, struct err *);

/* GET …/archive as a pull reader of tar entries over libarchive: nothing is read ahead but a
 * buffer of fixed size. One thread at a time; REQ may differ from call to call. */
struct engine_tar;
int engine_archive_get(struct bk_req *, struct engine *, const char *id, const char *path,
		       struct engine_tar **ret, struct err *);
void engine_tar_close(struct engine_tar *t); /* aborts what was not read; takes NULL */
DEFINE_CLEANUP(struct engine_tar *, engine_tar_close)
struct engine_tar_entry {
	const char *path;     /* as the archive has it; hostile; valid until the next call */
	const char *link;     /* symlink target, or NULL */
	const char *hardlink; /* path of an earlier entry of this archive, or NULL */
	struct stat st;	      /* mode, uid, gid, size, mtime (engines cut it to seconds), rdev */
};
/* 1 and the next entry, 0 at the end, or -errno (-EIO for an archive that is not well formed). */
int engine_tar_next(struct bk_req *, struct engine_tar *, struct engine_tar_entry *ret);
/* Data of the current entry in order: bytes, 0 at its end; a body that is too short is -EIO. */
ssize_t engine_tar_read(struct bk_req *, struct engine_tar *, void *data, size_t size);

/* PUT …/archive of entries below directory DIR. Files are read from descriptors with pread(2) while
 * they are sent, from the start, exactly `st.st_size` bytes. */
struct engine_put_entry {
	const char *path; /* relative to DIR, no leading slash, no ".." */
	const char *link; /* for a symlink */
	struct stat st;	  /* mode with type, uid, gid, size, mtime (nanoseconds kept), rdev */
	int fd;		  /* of a regular file with a size, else -1 */
};
/* While the engine takes bytes, REQ's deadline moves on: it is at least `timeout_ms` away.
 * -EROFS for a read-only root (Docker; Podman writes there all the same), -ENOENT for a missing
 * DIR, -ENOTDIR, -ENOSPC from the engine's text.
 */
int engine_archive_put(struct bk_req *, struct engine *, const char *id, const char *dir,
		       const struct engine_put_entry *entries, size_t n, struct err *);

#endif
