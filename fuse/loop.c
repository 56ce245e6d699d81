/* See loop.h. */
#include "loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/near.h"
#include "base/spin.h"
#include "base/thread.h"
#include "base/turns.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>

#define NO_MEMORY_MS 10 /* until it is tried again */

struct loop {
	struct fs *fs;
	struct turns turns;   /* at reading */
	struct spin spin;     /* of who has the turn */
	pthread_mutex_t lock; /* guards all below */
	pthread_t *threads;
	unsigned n, max, alive;
	bool ending;
	pthread_cond_t died;
};

static int start_thread_locked(struct loop *l);

/* ---- Reading: of the thread that has the turn ---- */

enum { REQUEST, ENDED }; /* what it waits for */

/* Near its caller, which runs when this thread does not: so there is a request as a rule, and to be
 * woken takes no longer than to look. */
static int receive_near(struct loop *l, struct pollfd *p, nfds_t n, struct fuse_buf *buf)
{
	int r = fuse_session_receive_buf(l->fs->se, buf);

	if (r != -EAGAIN)
		return r;
	(void)poll(p, n, -1);
	return p[ENDED].revents ? 0 : fuse_session_receive_buf(l->fs->se, buf);
}

/* Wait for a request and read it: its length, 0 at the end, -EAGAIN where another one is to be
 * waited for, or -errno. */
static int receive(struct loop *l, struct fuse_buf *buf)
{
	struct pollfd p[] = {[REQUEST] = {.fd = fuse_session_fd(l->fs->se), .events = POLLIN},
			     [ENDED] = {.fd = l->fs->ended, .events = POLLIN}};
	int r;

	atomic_fetch_add(&l->fs->readers, 1);
	if (near_is()) {
		r = receive_near(l, p, ARRAY_SIZE(p), buf);
	} else {
		(void)spin_poll(&l->spin, p, ARRAY_SIZE(p), -1);
		r = p[ENDED].revents ? 0 : fuse_session_receive_buf(l->fs->se, buf);
	}
	atomic_fetch_sub(&l->fs->readers, 1);
	atomic_fetch_add(&l->fs->requests, 1);
	return r;
}

/* A request has come: see that somebody reads the next one. */
static void leave_turn(struct loop *l)
{
	struct pollfd p = {.fd = fuse_session_fd(l->fs->se), .events = POLLIN};

	if (!turns_leave(&l->turns, !near_is() && poll(&p, 1, 0) > 0))
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

static void serve(struct loop *l, struct fuse_buf *buf)
{
	int n = -EAGAIN;

	while (!fuse_session_exited(l->fs->se) && turns_take(&l->turns)) {
		n = receive(l, buf);
		leave_turn(l);
		if (n > 0)
			fuse_session_process_buf(l->fs->se, buf);
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
	struct fuse_buf buf = {.mem = NULL};

	serve(l, &buf);
	free(buf.mem);
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
	turns_init(&l->turns);
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
