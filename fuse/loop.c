/* See loop.h. */
#include "loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/near.h"
#include "base/processors.h"
#include "base/spin.h"
#include "base/thread.h"
#include "base/turns.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <string.h>

#define NO_MEMORY_MS 10 /* until it is tried again */

struct loop {
	struct fs *fs;
	struct turns turns;   /* at reading */
	pthread_mutex_t lock; /* guards all below */
	pthread_t *threads;
	unsigned n, max, alive;
	bool ending;
	pthread_cond_t died;
};

/* One thread that reads. */
struct reader {
	struct loop *loop;
	struct spin spin;
	struct fuse_buf buf;
};

static int start_thread_locked(struct loop *l);

/* ---- Reading: of a thread that has a turn ---- */

enum { REQUEST, ENDED }; /* what it waits for */

static int read_request(struct reader *r)
{
	return fuse_session_receive_buf(r->loop->fs->se, &r->buf);
}

/* As a rule there is a request: read first, and do not look for one while another thread wants the
 * processor. */
static int receive_soon(struct reader *r, struct pollfd *p, nfds_t n)
{
	int len = read_request(r);

	if (len != -EAGAIN)
		return len;
	(void)poll(p, n, -1);
	return p[ENDED].revents ? 0 : read_request(r);
}

static int receive_later(struct reader *r, struct pollfd *p, nfds_t n)
{
	(void)spin_poll(&r->spin, p, n, -1);
	return p[ENDED].revents ? 0 : read_request(r);
}

/* Wait for a request and read it: its length, 0 at the end, -EAGAIN where another one is to be
 * waited for, or -errno. SOON: callers that take turns, or one whose processor this thread is on,
 * run when it does not. */
static int receive(struct reader *r, bool soon)
{
	struct fs *fs = r->loop->fs;
	struct pollfd p[] = {[REQUEST] = {.fd = fuse_session_fd(fs->se), .events = POLLIN},
			     [ENDED] = {.fd = fs->ended, .events = POLLIN}};
	int len;

	atomic_fetch_add(&fs->readers, 1);
	len = soon ? receive_soon(r, p, ARRAY_SIZE(p)) : receive_later(r, p, ARRAY_SIZE(p));
	atomic_fetch_sub(&fs->readers, 1);
	atomic_fetch_add(&fs->requests, 1);
	return len;
}

static pid_t caller_of(const struct fuse_buf *buf, int len)
{
	const struct fuse_in_header *in = buf->mem;

	return len >= (int)sizeof(*in) ? (pid_t)in->pid : 0;
}

/* A request of CALLER's has come: see that somebody reads the next one. ALONE: nobody but this
 * thread may be there for that, and it is not near the caller. */
static void leave_turn(struct loop *l, pid_t caller, bool alone)
{
	struct pollfd p = {.fd = fuse_session_fd(l->fs->se), .events = POLLIN};

	if (!turns_leave(&l->turns, caller, alone && poll(&p, 1, 0) > 0))
		return;
	pthread_mutex_lock(&l->lock);
	if (l->n < l->max && !l->ending)
		(void)start_thread_locked(l);
	pthread_mutex_unlock(&l->lock);
}

static void end_session(struct fs *fs)
{
	uint64_t one = 1;

	(void)!write(fs->ended, &one, sizeof(one));
}

static void serve(struct reader *r)
{
	struct loop *l = r->loop;
	unsigned at_once;
	bool soon;
	int n = -EAGAIN;

	while (!fuse_session_exited(l->fs->se) && (at_once = turns_take(&l->turns)) > 0) {
		soon = at_once > 1 || near_is();
		n = receive(r, soon);
		leave_turn(l, caller_of(&r->buf, n), !soon);
		if (n > 0)
			fuse_session_process_buf(l->fs->se, &r->buf);
		if (n == -ENOMEM) /* for the buffer of a new thread: nothing was read */
			(void)poll(NULL, 0, NO_MEMORY_MS);
		else if (n <= 0 && n != -EINTR && n != -EAGAIN)
			break;
	}
	if (n < 0 && n != -EINTR && n != -EAGAIN)
		log_error("reading from /dev/fuse: %s", strerror(-n));
	end_session(l->fs);
}

static void *loop_thread(void *arg)
{
	struct loop *l = arg;
	struct reader r = {.loop = l};

	turns_join(&l->turns);
	serve(&r);
	free(r.buf.mem);
	pthread_mutex_lock(&l->lock);
	l->alive--;
	pthread_cond_signal(&l->died);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

static int start_thread_locked(struct loop *l)
{
	int r = thread_start(&l->threads[l->n], NULL, loop_thread, l);

	if (r == 0) {
		l->n++;
		l->alive++;
	}
	return r;
}

int loop_start(struct fs *fs, struct loop **ret)
{
	struct loop *l = calloc(1, sizeof(*l));
	int fuse = fuse_session_fd(fs->se), r;

	if (!l)
		return -ENOMEM;
	/* A request may be gone by the time that it is read: then nobody waits there. */
	(void)fcntl(fuse, F_SETFL, fcntl(fuse, F_GETFL) | O_NONBLOCK);
	l->fs = fs;
	l->max = fs->conf.threads;
	l->threads = calloc(l->max, sizeof(*l->threads));
	turns_init(&l->turns, processors(1)); /* more readers would only wait for one */
	pthread_mutex_init(&l->lock, NULL);
	cond_init(&l->died);
	pthread_mutex_lock(&l->lock);
	r = l->threads ? start_thread_locked(l) : -ENOMEM;
	pthread_mutex_unlock(&l->lock);
	if (r < 0)
		loop_free(l);
	else
		*ret = l;
	return r;
}

void loop_wait(struct loop *l)
{
	struct pollfd p = {.fd = l->fs->ended, .events = POLLIN};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

bool loop_stop(struct loop *l, uint64_t timeout_ms)
{
	struct timespec until = clock_timespec(clock_ms() + timeout_ms);
	bool ended;
	int r = 0;

	fuse_session_exit(l->fs->se);
	end_session(l->fs);
	turns_end(&l->turns);
	pthread_mutex_lock(&l->lock);
	l->ending = true;
	while (l->alive > 0 && r == 0)
		r = pthread_cond_timedwait(&l->died, &l->lock, &until);
	ended = l->alive == 0;
	pthread_mutex_unlock(&l->lock);
	return ended;
}

void loop_free(struct loop *l)
{
	for (unsigned i = 0; i < l->n; i++)
		pthread_join(l->threads[i], NULL);
	turns_done(&l->turns);
	pthread_cond_destroy(&l->died);
	pthread_mutex_destroy(&l->lock);
	free(l->threads);
	free(l);
}
