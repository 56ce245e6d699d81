/* See loop.h. */
#include "loop.h"

#include "base/clock.h"
#include "base/log.h"

#include <poll.h>
#include <signal.h>
#include <string.h>

#define END_TIMEOUT_MS 5000

struct loop {
	struct fs *fs;
	pthread_mutex_t lock; /* guards all below */
	pthread_t *threads;
	unsigned n, max, reading;
	bool ending;
};

static int start_thread_locked(struct loop *l);

/* A request has come: see that somebody reads the next one. */
static void stop_reading(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->reading == 0 && l->n < l->max && !l->ending)
		(void)start_thread_locked(l);
	pthread_mutex_unlock(&l->lock);
}

static void start_reading(struct loop *l)
{
	pthread_mutex_lock(&l->lock);
	l->reading++;
	pthread_mutex_unlock(&l->lock);
}

static void free_buf(void *arg)
{
	struct fuse_buf *buf = arg;

	free(buf->mem);
}

static void end_session(struct fs *fs)
{
	uint64_t one = 1;

	(void)!write(fs->ended, &one, sizeof(one));
}

static void serve(struct loop *l, struct fuse_buf *buf)
{
	struct fuse_session *se = l->fs->se;
	int r;

	while (!fuse_session_exited(se)) {
		start_reading(l);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
		r = fuse_session_receive_buf(se, buf);
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
		stop_reading(l);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0) {
			if (r < 0)
				log_error("reading from /dev/fuse: %s", strerror(-r));
			break;
		}
		fuse_session_process_buf(se, buf);
	}
	end_session(l->fs);
}

static void *loop_thread(void *arg)
{
	struct fuse_buf buf = {0};

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_push(free_buf, &buf);
	serve(arg, &buf);
	pthread_cleanup_pop(1);
	return NULL;
}

static int start_thread_locked(struct loop *l)
{
	sigset_t all, before;
	int r;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&l->threads[l->n], NULL, loop_thread, l);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0)
		l->n++;
	return -r;
}

static void wait_for_end(struct fs *fs)
{
	struct pollfd p = {.fd = fs->ended, .events = POLLIN};

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* Cancellation reaches only who reads. Returns whether all threads ended in time. */
static bool join_all(struct loop *l)
{
	struct timespec until;
	bool all = true;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += END_TIMEOUT_MS / 1000;
	for (unsigned i = 0; i < l->n; i++)
		pthread_cancel(l->threads[i]);
	for (unsigned i = 0; i < l->n; i++)
		all =
		    pthread_clockjoin_np(l->threads[i], NULL, CLOCK_MONOTONIC, &until) == 0 && all;
	return all;
}

int loop_run(struct fs *fs)
{
	struct loop *l = calloc(1, sizeof(*l));
	int r = -ENOMEM;

	if (!l)
		return -ENOMEM;
	l->fs = fs;
	l->max = fs->conf.threads;
	l->threads = calloc(l->max, sizeof(*l->threads));
	pthread_mutex_init(&l->lock, NULL);
	if (l->threads) {
		pthread_mutex_lock(&l->lock);
		r = start_thread_locked(l);
		pthread_mutex_unlock(&l->lock);
	}
	if (r == 0) {
		wait_for_end(fs);
		pthread_mutex_lock(&l->lock);
		l->ending = true;
		pthread_mutex_unlock(&l->lock);
		fuse_session_exit(fs->se);
		if (!join_all(l))
			return -ETIMEDOUT;
	}
	pthread_mutex_destroy(&l->lock);
	free(l->threads);
	free(l);
	return r;
}
