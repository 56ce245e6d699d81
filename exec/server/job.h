/*
 * Jobs as their files share them: commands that outlive their client, and the daemon where the
 * sandbox does. jobs.c has the table, job_store.c the state on disk, job_run.c the command,
 * job_stream.c its stream, job_control.c `.aib/jobs/`, job_values.c what it is made of,
 * job_request.c what clients of the socket ask.
 *
 * `lock` guards the table and what is marked; it is short, and nothing is called with it held but
 * memory and text. A job is alive as long as a reference: the table has one until it is forgotten,
 * each of its control files, each connection that asked for it, and the loop while it runs.
 */
#ifndef AIB_EXEC_JOB_H
#define AIB_EXEC_JOB_H

#include "../../backends/base/names.h"
#include "../scan.h"
#include "loop.h"
#include "request.h"
#include "server.h"

#define JOB_NAME_SIZE (NAME_PLAIN_MAX + 1)
#define JOB_ID_SIZE 33
#define JOB_MAX_SIGNALS 16

enum job_state {
	JOB_NEW,
	JOB_STARTING,
	JOB_RUNNING,
	JOB_DETACHED, /* it was running when its stream was lost: it is looked for */
	JOB_EXITED,
	JOB_FAILED, /* it was not started: `error` */
	JOB_LOST,   /* nobody knows how it ended: `error` */
};

/* What users write of it, in the order of their files. */
enum job_value { JOB_CMD, JOB_CWD, JOB_ENV, JOB_TIMEOUT, JOB_N_VALUES };

struct job_reply {
	struct control_reply *reply;
	struct job_reply *next;
};

struct job {
	atomic_uint refs, store_refs;
	struct jobs *jobs;
	/* Constant. The id is its directory's name, and the sandbox's for it. */
	char name[JOB_NAME_SIZE], id[JOB_ID_SIZE];
	uid_t uid;
	/* Constant once it is STARTING; of a loaded one as far as it is valid, and live. Its
	 * sandbox is in use until the job is over, and then none. */
	struct request request;

	/* guarded by jobs.lock */
	struct job *prev, *next; /* in the table, by age */
	struct control_dir *dir; /* NULL: none */
	enum job_state state;
	bool listed;  /* it is in the table */
	bool removed; /* it is forgotten, and killed where it still runs */
	char *values[JOB_N_VALUES];
	char sandbox[256];
	bool lasts; /* the sandbox outlives the mount */
	bool owed;  /* it is over, and its guest has not been told that it may forget it */
	int64_t started_ms, ended_ms; /* since 1970; 0: not yet */
	struct proto_exit exit;
	uint64_t stored[2], total[2]; /* bytes of each output: in its file, and written at all */
	struct err error;
	struct job_reply *replies; /* who reads `wait` */

	/* the loop's thread only */
	bool looped; /* the loop has its reference, until it is over */
	struct job *loop_prev, *loop_next;
	struct watch watch; /* fd -1: not watched */
	struct bk_stream *stream;
	struct job_start *start;
	struct scan scan;
	struct buf small; /* the payload of a frame that is not output */
	struct buf out;	  /* to the guest */
	bool attaching, heard, acked, done;
	int files[2], input;
	uint64_t input_sent, input_allowed, input_size;
	bool input_ended;
	uint64_t due_ms; /* when it is tried again, or given up; 0: never */
	unsigned tries;
	unsigned n_signals;
	uint8_t signals[JOB_MAX_SIGNALS]; /* that wait for a stream; 0: the end of the tree */
};

struct jobs {
	atomic_uint refs; /* the server's, and each job's */
	struct server *server;
	struct job_conf conf;
	struct bk *control; /* NULL: none */
	struct control_dir *control_dir;

	pthread_mutex_t save_lock; /* one writes state at a time; before `lock` */
	pthread_mutex_t lock;
	/* guarded by lock */
	struct job *first, *last;
	unsigned n, n_ended;
	unsigned long last_number; /* of names that are made up */
	int dirfd;		   /* of the state; -1: nothing there yet */
	bool ending;

	/* the loop's thread only */
	struct job *looped;
	struct watch tick; /* a timerfd */
};

static inline bool job_is_over(enum job_state s)
{
	return s >= JOB_EXITED;
}

static inline bool job_is_live(enum job_state s)
{
	return s == JOB_STARTING || s == JOB_RUNNING || s == JOB_DETACHED;
}

/* ---- jobs.c ---- */

struct job *job_ref(struct job *j);
void job_unref(struct job *j); /* takes NULL; may remove files */
DEFINE_CLEANUP(struct job *, job_unref)

/* What is there of earlier daemons is loaded. CONTROL may be NULL. Before the loop runs. */
int jobs_new(struct server *s, const struct job_conf *conf, struct bk *control, struct jobs **ret,
	     struct err *err);
void jobs_unref(struct jobs *t); /* takes NULL */
/* The loop's thread: nothing begins any more, streams are closed, commands go on. */
void jobs_close(struct jobs *t);
/* No command starts any more, the backends are still there: what does not outlive the mount is
 * forgotten. */
void jobs_end(struct jobs *t);
/* The server goes, and with it the table. Takes NULL. */
void jobs_done(struct jobs *t);

/* One that is nowhere yet. NULL where memory is out. */
struct job *job_alloc(struct jobs *t, uid_t uid);
/* Its sandbox is in use no more. */
void job_leave(struct job *j);
/* A new job of UID's with a reference; NAME NULL: one is made up after PREFIX. -EINVAL, -EEXIST,
 * -EDQUOT or what the disk says, with text. */
int job_new(struct jobs *t, const char *name, const char *prefix, uid_t uid, struct job **ret,
	    struct err *err);
/* Forget it: its names are gone at once, its files with the last reference. Any thread without
 * locks; the second time it does nothing. */
void job_remove(struct job *j);
/* A reference, or NULL where there is none that UID may use. */
struct job *job_find(struct jobs *t, const char *name, uid_t uid);
bool job_allowed(const struct jobs *t, const struct job *j, uid_t uid);
/* Who uses a sandbox for UID, as request_parse has it. */
uid_t job_uid(const struct jobs *t, uid_t uid);
/* Forget the oldest that are over, beyond the limit. Takes no lock that is held. */
void jobs_trim(struct jobs *t);

/* ---- job_status.c ---- */

const char *job_state_name(enum job_state s);
/* `key value` lines; as JSON, a new object. The caller holds the lock. */
int job_status_locked(const struct job *j, struct buf *out);
cJSON *job_json_locked(const struct job *j);
/* "exit 0", "signal 9", "timeout"…: how it ended. */
int job_result_locked(const struct job *j, struct buf *out);
/* The status that a shell would show. */
int job_status_code(const struct job *j);

/* What a job's request has beside what was asked for. */
void job_request_finish(struct job *j);

/* ---- job_store.c: on disk ---- */

/* Make its directory. 0 or -errno with text. */
int job_store_new(struct job *j, struct err *err);
/* Write what is known of it, whole or not at all. */
int job_save(struct job *j);
/* The state of all jobs that were saved; FOUND gets each, whose reference it takes. */
int job_load_all(struct jobs *t, void (*found)(struct jobs *t, struct job *j));
/* Its directory is needed once more, or no more: it goes with the last who needs it, which are the
 * table and a command that is not over, as one, and each open file. */
void job_store_hold(struct job *j);
void job_store_drop(struct job *j);
void jobs_store_done(struct jobs *t);
/* Open its file NAME with FLAGS of open(2). A descriptor or -errno. */
int job_open(const struct job *j, const char *name, int flags);
/* Bytes of an output (0 or 1), as pread(2). */
ssize_t job_read(const struct job *j, int output, uint64_t pos, void *data, size_t size);

/* ---- job_run.c: the loop's thread, but as said ---- */

/* It is STARTING, its request is there. Any thread. */
int job_start(struct job *j);
/* Any thread: SIG to its process group; 0: TERM and KILL to the whole tree, SIGKILL: KILL to it. */
int job_signal(struct job *j, uint8_t sig);
/* Any thread: it was removed without having run, and connections may wait for it. */
void job_removed(struct job *j);
/* Look for one that was running. */
void job_look(struct job *j);
void job_close(struct job *j);
void job_tick(struct watch *w, uint32_t events);

/* Its new state, on disk too. */
void job_set_state(struct job *j, enum job_state state, const struct err *err);
/* It is over, however: who waits is told, and the loop lets go of it where there is no stream to
 * end. May free the job. */
void job_over(struct job *j, enum job_state state, const struct err *err);
/* It is not in its sandbox, and ERR says why. One that was accepted and that nobody saw run is
 * started now; any other is lost. */
void job_gone(struct job *j, const struct err *err);
/* Look at `due_ms` in MS. */
void job_set_due(struct job *j, uint64_t ms);
void job_loop_leave(struct job *j); /* may free it */
/* It is over and its guest knows, or does not care any more: the same, and no next daemon looks for
 * it. */
void job_parted(struct job *j);

/* ---- job_stream.c: the loop's thread ---- */

/* Takes STREAM; ATTACH: it is another one to a job that runs already. 0 or -errno. */
int job_stream_use(struct job *j, struct bk_stream *stream, bool attach);
void job_stream_close(struct job *j); /* where there is one */
/* Send what goes, and watch for the rest. */
void job_stream_update(struct job *j);

/* ---- job_control.c ---- */

int job_control_init(struct jobs *t);
/* Its directory. 0 or -errno. */
int job_control_add(struct job *j);
/* It is over, or removed: who reads `wait` is answered. Takes the lock. */
void job_control_answer(struct job *j);

/* ---- job_values.c ---- */

/* Whether TEXT may be the value WHICH. 0 or -EINVAL with text. */
int job_check_value(int which, const char *text, struct err *err);
/* It is to be started, as JSON says (taken, also on failure), or its values where that is NULL. 0
 * or -errno with text. Any thread. */
int job_prepare(struct job *j, cJSON *json, struct err *err);

/* ---- job_request.c ---- */

/* Something of it changed that connections wait for. */
void job_tell(struct job *j);

#endif
