/*
 * A job's stream: output is stored and acknowledged, input sent as it is wanted, signals passed on,
 * and the end told to job_run.c. On the loop's thread. What the guest says is hostile: frames are
 * checked, and what is too much of output is counted and dropped.
 */
#include "job.h"

#include "../../backends/base/log.h"
#include "../frames.h"
#include "conn.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>

#define CLOSE_WAIT_MS 5000 /* for the guest's own end, after DONE */
#define GONE_TRIES 5	   /* of one that was just starting when its daemon ended */
#define GONE_AGAIN_MS 1000
#define INPUT_CHUNK 32768

static struct loop *loop_of(const struct job *j)
{
	return &j->jobs->server->loop;
}

void job_stream_close(struct job *j)
{
	if (!j->stream)
		return;
	if (j->watch.fd >= 0)
		loop_remove(loop_of(j), &j->watch);
	j->stream->ops->free(TAKE(j->stream));
	for (int i = 0; i < 2; i++)
		close(TAKE_FD(j->files[i]));
	closep(&j->input);
	j->input = -1;
	buf_done(&j->out);
	j->out = BUF_INIT(j->out.cap);
	buf_done(&j->small);
	j->small = BUF_INIT(j->small.cap);
	j->scan = (struct scan){0};
}

/* ---- To the guest ---- */

static int put(struct job *j, uint8_t type, const void *data, size_t len)
{
	return frames_add(&j->out, type, data, len);
}

static void put_stored(struct job *j, uint8_t type, const uint64_t bytes[2])
{
	uint8_t payload[PROTO_ATTACH_SIZE];

	proto_put_u64(payload, bytes[0]);
	proto_put_u64(payload + 8, bytes[1]);
	(void)put(j, type, payload, sizeof(payload));
}

static void put_signals(struct job *j)
{
	if (!j->stream || j->attaching || j->done)
		return;
	for (unsigned i = 0; i < j->n_signals; i++) {
		uint8_t sig = j->signals[i], at_once = sig == SIGKILL;

		if (sig == 0 || at_once)
			(void)put(j, PROTO_KILL, &at_once, 1);
		else
			(void)put(j, PROTO_SIGNAL, &sig, 1);
	}
	j->n_signals = 0;
}

/* What there is of input and may be sent. */
static void put_input(struct job *j)
{
	uint8_t data[INPUT_CHUNK];

	if (j->attaching || !j->heard || j->input_ended || j->done)
		return;
	while (j->input_sent < j->input_size && j->input_sent < j->input_allowed &&
	       j->out.len == 0) {
		size_t max = j->input_allowed - j->input_sent;
		ssize_t n =
		    pread(j->input, data, max < sizeof(data) ? max : sizeof(data), j->input_sent);

		if (n <= 0) {
			j->input_size = j->input_sent;
			break;
		}
		if (put(j, PROTO_STDIN, data, n) < 0)
			return;
		j->input_sent += n;
	}
	if (j->input_sent >= j->input_size && put(j, PROTO_STDIN_EOF, "", 0) == 0)
		j->input_ended = true;
}

static void put_ack(struct job *j)
{
	if (j->acked || j->attaching || j->done || j->out.len > 0)
		return;
	put_stored(j, PROTO_ACK, j->total);
	j->acked = true;
}

/* Send what goes, and watch for the rest. */
void job_stream_update(struct job *j)
{
	ssize_t n = 1;

	if (!j->stream)
		return;
	while (n > 0) {
		put_signals(j);
		put_ack(j);
		put_input(j);
		if (j->out.len == 0)
			break;
		n = j->stream->ops->write(j->stream, j->out.data, j->out.len);
		if (n > 0)
			buf_consume(&j->out, n);
	}
	if (n < 0 && n != -EAGAIN)
		buf_consume(&j->out, j->out.len); /* the reading side knows how it ended */
	loop_set(loop_of(j), &j->watch, EPOLLIN | (j->out.len > 0 ? EPOLLOUT : 0));
}

/* ---- From the guest ---- */

/* Keep what fits of an output, and count all of it. */
static int store(struct job *j, int output, const uint8_t *data, size_t len)
{
	struct jobs *t = j->jobs;
	uint64_t stored = j->stored[output];
	size_t room = stored < t->conf.output ? t->conf.output - stored : 0;
	size_t keep = len < room ? len : room, done = 0;

	/* What comes after a piece that was lost is not kept: there are no holes. */
	if (j->total[output] > stored)
		keep = 0;
	while (done < keep) {
		ssize_t n = pwrite(j->files[output], data + done, keep - done, stored + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			log_warning("job %s: its output cannot be stored: %m", j->name);
			break;
		}
		done += n;
	}
	pthread_mutex_lock(&t->lock);
	j->stored[output] += done;
	j->total[output] += len;
	pthread_mutex_unlock(&t->lock);
	j->acked = false;
	return 0;
}

static int take_attached(struct job *j)
{
	struct jobs *t = j->jobs;
	const uint8_t *p = (const uint8_t *)j->small.data;

	if (j->small.len != PROTO_ATTACHED_SIZE)
		return -EPROTO;
	j->attaching = false;
	j->input_sent = proto_get_u64(p);
	j->input_allowed = proto_get_u64(p + 8);
	j->input_ended = false;
	pthread_mutex_lock(&t->lock);
	for (int i = 0; i < 2; i++)
		/* What is in between has been acknowledged, and was too much, or is lost. */
		if (proto_get_u64(p + 16 + 8 * i) >= j->stored[i])
			j->total[i] = proto_get_u64(p + 16 + 8 * i);
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static int take_exit(struct job *j)
{
	struct proto_exit e;
	struct err err = {""};
	int r = proto_get_exit((const uint8_t *)j->small.data, j->small.len, &e);

	if (r < 0)
		return r;
	if (e.how > PROTO_SIGNALLED)
		err_set(&err, 0, "%s: %s",
			e.how == PROTO_NO_CWD	? "the working directory"
			: e.how == PROTO_FAILED ? "the guest could not start it"
						: j->request.exec.argv[0],
			strerror(e.value));
	pthread_mutex_lock(&j->jobs->lock);
	j->exit = e;
	j->owed = true;
	pthread_mutex_unlock(&j->jobs->lock);
	job_over(j, JOB_EXITED, &err);
	/* It is stored: the guest may forget it. */
	(void)put(j, PROTO_DONE, "", 0);
	j->done = true;
	job_set_due(j, CLOSE_WAIT_MS);
	return 0;
}

static int take_error(struct job *j)
{
	struct err err;
	bool gone = j->attaching;

	for (size_t i = 0; i < j->small.len; i++)
		if ((unsigned char)j->small.data[i] < ' ' || j->small.data[i] == 0x7f)
			j->small.data[i] = ' ';
	err_set(&err, 0, "sandbox %s: %.*s", j->sandbox, (int)j->small.len,
		j->small.data ? j->small.data : "");
	job_stream_close(j);
	/* It may not have come that far when the daemon before this one ended. */
	if (gone && !j->started_ms && ++j->tries < GONE_TRIES) {
		job_set_due(j, GONE_AGAIN_MS);
		return 1;
	}
	if (gone)
		job_gone(j, &err);
	else
		job_over(j, JOB_FAILED, &err);
	return 1;
}

/* The payload of a frame that is not output has come whole. 1: the stream is closed. */
static int frame_done(struct job *j)
{
	switch (j->scan.type) {
	case PROTO_ATTACHED:
		return take_attached(j);
	case PROTO_CREDIT:
		if (j->small.len != 4)
			return -EPROTO;
		for (int i = 0; i < 4; i++)
			j->input_allowed += (uint64_t)(uint8_t)j->small.data[i] << 8 * i;
		return 0;
	case PROTO_STARTED:
		if (j->small.len != 0)
			return -EPROTO;
		j->heard = true;
		job_set_state(j, JOB_RUNNING, NULL);
		job_tell(j);
		return 0;
	case PROTO_EXIT:
		return take_exit(j);
	default: /* PROTO_ERROR */
		return take_error(j);
	}
}

static bool may_come(const struct job *j, uint8_t type)
{
	if (j->done)
		return false;
	if (j->attaching)
		return type == PROTO_ATTACHED || type == PROTO_ERROR;
	switch (type) {
	case PROTO_STARTED:
	case PROTO_ERROR:
		return !j->heard;
	case PROTO_STDOUT:
	case PROTO_STDERR:
	case PROTO_CREDIT:
		return j->heard;
	case PROTO_EXIT:
		return true;
	default:
		return false;
	}
}

static int payload(struct job *j, const uint8_t *data, size_t n)
{
	if (j->scan.type == PROTO_STDOUT || j->scan.type == PROTO_STDERR)
		return store(j, j->scan.type == PROTO_STDERR, data, n);
	return buf_add(&j->small, data, n);
}

/* 1: the stream is closed. */
static int take(struct job *j, const uint8_t *data, size_t len)
{
	while (len > 0) {
		bool header, in_payload = j->scan.left > 0;
		ssize_t n = scan_step(&j->scan, data, len, &header);
		int r = n < 0 ? n : 0;

		if (r == 0 && header && !may_come(j, j->scan.type))
			r = -EPROTO;
		if (r == 0 && in_payload)
			r = payload(j, data, n);
		if (r == 0 && (header || in_payload) && j->scan.left == 0) {
			if (j->scan.type != PROTO_STDOUT && j->scan.type != PROTO_STDERR)
				r = frame_done(j);
			if (r != 1)
				buf_consume(&j->small, j->small.len);
		}
		if (r != 0)
			return r;
		data += n;
		len -= n;
	}
	return 0;
}

/* What an engine says that did not start it at all, in words in place of frames. */
static void not_started(struct job *j, const uint8_t *data, size_t len)
{
	struct err err;
	char words[256];
	size_t n = 0;

	for (; n < len && n < sizeof(words) - 1; n++)
		words[n] = data[n] >= ' ' && data[n] < 0x7f ? data[n] : ' ';
	words[n] = '\0';
	err_set(&err, 0, "sandbox %s: the command was not started: %s", j->sandbox, words);
	job_over(j, JOB_FAILED, &err);
}

/* DATA: what came last, and could not be taken. */
static void stream_lost(struct job *j, int r, const uint8_t *data, size_t len)
{
	bool heard = j->heard, attaching = j->attaching;

	job_stream_close(j);
	if (j->done) {
		job_parted(j);
		return;
	}
	if (!heard && !attaching && r == -EPROTO) {
		not_started(j, data, len);
		return;
	}
	server_changed(j->jobs->server, j->request.sandbox.bk);
	job_set_state(j, j->started_ms ? JOB_DETACHED : JOB_STARTING, NULL);
	if (attaching)
		job_set_due(j, GONE_AGAIN_MS);
	else
		job_look(j);
}

static void read_stream(struct job *j)
{
	uint8_t data[65536];

	do {
		ssize_t n = j->stream->ops->read(j->stream, data, sizeof(data));
		int r;

		if (n == -EAGAIN)
			break;
		r = n > 0 ? take(j, data, n) : n;
		if (r == 1)
			return;
		if (n <= 0 || r < 0) {
			stream_lost(j, r, data, n > 0 ? n : 0);
			return;
		}
	} while (j->stream->ops->pending(j->stream));
	job_tell(j);
	job_stream_update(j);
}

static void stream_ready(struct watch *w, uint32_t events)
{
	struct job *j = container_of(w, struct job, watch);

	job_ref(j);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
		read_stream(j);
	else
		job_stream_update(j);
	job_unref(j);
}

/* ---- A new one ---- */

static int open_files(struct job *j)
{
	struct stat st;

	for (int i = 0; i < 2; i++) {
		j->files[i] = job_open(j, i ? "stderr" : "stdout", O_WRONLY | O_CREAT);
		if (j->files[i] < 0)
			return j->files[i];
	}
	j->input_size = 0;
	j->input = job_open(j, "stdin", O_RDONLY);
	if (j->input >= 0 && fstat(j->input, &st) == 0)
		j->input_size = st.st_size;
	return 0;
}

int job_stream_use(struct job *j, struct bk_stream *stream, bool attach)
{
	int r;

	j->stream = stream;
	j->watch = (struct watch){.fd = -1, .ready = stream_ready};
	j->attaching = attach;
	j->heard = false;
	j->acked = true;
	j->due_ms = 0;
	j->input_sent = 0;
	j->input_allowed = PROTO_STDIN_WINDOW;
	j->input_ended = false;
	r = open_files(j);
	if (r == 0)
		r = loop_add(loop_of(j), &j->watch, stream->ops->fd(stream), EPOLLIN);
	if (r < 0) {
		j->watch.fd = -1;
		job_stream_close(j);
		return r;
	}
	if (attach)
		put_stored(j, PROTO_ATTACH, j->stored);
	job_stream_update(j);
	return 0;
}
