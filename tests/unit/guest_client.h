/*
 * A client of `aib-guest run` for tests: starts it on this machine with pipes, as the Engine would
 * in a container, and speaks its frames. Every wait has a deadline, after which the test fails.
 */
#ifndef AIB_TESTS_GUEST_CLIENT_H
#define AIB_TESTS_GUEST_CLIENT_H

#include "test.h"

#include "protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *guest_path = GUEST_PATH;

struct guest {
	pid_t pid;
	int in, out;
};

/* All that came from a guest until its end. */
struct outcome {
	bool started, exited;
	struct proto_exit exit;
	uint64_t credit;
	char out[1 << 20], err[1 << 16];
	uint64_t attached[4]; /* what ATTACHED said */
	char error[256];      /* the text of ERROR, which is the end as well */
	size_t out_len, err_len;
};

static inline uint64_t test_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static inline struct guest guest_start_verb(const char *verb, const char *const *args)
{
	const char *argv[64] = {guest_path, verb};
	int in[2], out[2];
	struct guest g;
	size_t n = 2;

	while (*args && n < 63)
		argv[n++] = *args++;
	CHECK(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0);
	g.pid = fork();
	CHECK(g.pid >= 0);
	if (g.pid == 0) {
		dup2(in[0], 0);
		dup2(out[1], 1);
		execv(guest_path, (char **)argv);
		_exit(99);
	}
	close(in[0]);
	close(out[1]);
	g.in = in[1];
	g.out = out[0];
	return g;
}

static inline struct guest guest_start(const char *const *args)
{
	return guest_start_verb("run", args);
}

#define GUEST(...) guest_start((const char *const[]){__VA_ARGS__, NULL})
#define GUEST_SH(line) GUEST("--", "/bin/sh", "-c", line)

static inline void guest_send(const struct guest *g, uint8_t type, const void *data, uint32_t len)
{
	uint8_t header[PROTO_HEADER];

	proto_put_header(header, type, len);
	CHECK_EQ(write(g->in, header, sizeof(header)), (ssize_t)sizeof(header));
	if (len)
		CHECK_EQ(write(g->in, data, len), len);
}

static inline void guest_signal(const struct guest *g, uint8_t sig)
{
	guest_send(g, PROTO_SIGNAL, &sig, 1);
}

/* False at the end of the stream. */
static inline bool guest_read(const struct guest *g, void *data, size_t len, int timeout_ms)
{
	struct pollfd p = {.fd = g->out, .events = POLLIN};
	size_t done = 0;
	ssize_t n;

	while (done < len) {
		CHECK_EQ(poll(&p, 1, timeout_ms), 1);
		n = read(g->out, (char *)data + done, len - done);
		if (n == 0) {
			CHECK_EQ(done, 0);
			return false;
		}
		CHECK(n > 0);
		done += n;
	}
	return true;
}

/* The next frame into R. Returns its type, 0 at the end of the stream. */
static inline int guest_next(const struct guest *g, struct outcome *r, int timeout_ms)
{
	uint8_t header[PROTO_HEADER], payload[PROTO_MAX_PAYLOAD];
	struct proto_header h;

	if (!guest_read(g, header, sizeof(header), timeout_ms))
		return 0;
	CHECK_EQ(proto_get_header(header, &h), 0);
	CHECK(h.len == 0 || guest_read(g, payload, h.len, timeout_ms));
	CHECK(!r->exited);
	CHECK(h.type == PROTO_STARTED || h.type == PROTO_EXIT || h.type == PROTO_ERROR ||
	      h.type == PROTO_ATTACHED || r->started);
	switch (h.type) {
	case PROTO_STARTED:
		r->started = true;
		break;
	case PROTO_STDOUT:
		if (r->out_len + h.len < sizeof(r->out))
			memcpy(r->out + r->out_len, payload, h.len);
		r->out_len += h.len;
		break;
	case PROTO_STDERR:
		CHECK(r->err_len + h.len < sizeof(r->err));
		memcpy(r->err + r->err_len, payload, h.len);
		r->err_len += h.len;
		break;
	case PROTO_CREDIT:
		CHECK_EQ(h.len, 4);
		r->credit += payload[0] | payload[1] << 8 | payload[2] << 16 | payload[3] << 24;
		break;
	case PROTO_EXIT:
		CHECK_EQ(proto_get_exit(payload, h.len, &r->exit), 0);
		r->exited = true;
		break;
	case PROTO_ERROR:
		CHECK(!r->started && h.len > 0 && h.len < sizeof(r->error));
		memcpy(r->error, payload, h.len);
		r->exited = true;
		break;
	case PROTO_ATTACHED:
		CHECK_EQ(h.len, PROTO_ATTACHED_SIZE);
		for (int i = 0; i < 4; i++)
			r->attached[i] = proto_get_u64(payload + 8 * i);
		break;
	default:
		CHECK(!"a frame that belongs here");
	}
	return h.type;
}

/* Wait for output that ends in TEXT. */
static inline void guest_expect(const struct guest *g, struct outcome *r, const char *text)
{
	while (!strstr(r->out, text))
		CHECK(guest_next(g, r, 10000) != 0);
}

/* To the end: EXIT or ERROR, the end of the stream, and the guest's own status, which is 0. */
static inline void guest_finish(struct guest *g, struct outcome *r)
{
	int status;

	while (guest_next(g, r, 20000) != 0)
		;
	CHECK(r->exited);
	close(g->in);
	close(g->out);
	CHECK_EQ(waitpid(g->pid, &status, 0), g->pid);
	CHECK_EQ(status, 0);
	r->out[r->out_len < sizeof(r->out) ? r->out_len : sizeof(r->out) - 1] = '\0';
}

#endif
