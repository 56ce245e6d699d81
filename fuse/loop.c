/* See loop.h. */
#include "loop.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

#include <poll.h>
#include <string.h>

#define NO_MEMORY_MS 10 /* until it is tried again */

struct loop {
	struct fs *fs;
	pthread_mutex_t lock; /* guards all below */
	pthread_t *threads;
	unsigned n, max, alive, reading;
	bool ending;
	pthread_cond_t died;
};

struct reader {
	struct loop *loop;
	struct fuse_buf buf;
};

static int start_thread_locked(struct loop *l);

/* A request has come: see that somebody reads the next one. */
static void stop_reading(struct loop *l)
{
	atomic_fetch_sub(&l->fs->readers, 1);
	atomic_fetch_add(&l->fs->requests, 1);
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
	atomic_fetch_add(&l->fs->readers, 1);
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
		if (r == -ENOMEM) { /* for the buffer of a new thread: nothing was read */
			(void)poll(NULL, 0, NO_MEMORY_MS);
			continue;
		}
		if (r <= 0) {
			if (r < 0)
				log_error("reading from /dev/fuse: %s", strerror(-r));
			break;
		}
		fuse_session_process_buf(se, buf);
	}
	end_session(l->fs);
}

static void reader_done(void *arg)
{
	struct reader *r = arg;
	struct loop *l = r->loop;

	free(r->buf.mem);
	pthread_mutex_lock(&l->lock);
	l->alive--;
	pthread_cond_signal(&l->died);
	pthread_mutex_unlock(&l->lock);
}

static void *loop_thread(void *arg)
{
	struct reader r = {.loop = arg};

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	pthread_cleanup_push(reader_done, &r);
	serve(arg, &r.buf);
	pthread_cleanup_pop(1);
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
	int r;

	if (!l)
		return -ENOMEM;
	l->fs = fs;
	l->max = fs->conf.threads;
	l->threads = calloc(l->max, sizeof(*l->threads));
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

/* Cancellation reaches only who reads. */
bool loop_stop(struct loop *l, uint64_t timeout_ms)
{
	struct timespec until = clock_timespec(clock_ms() + timeout_ms);
	bool ended;
	int r = 0;

	fuse_session_exit(l->fs->se);
	pthread_mutex_lock(&l->lock);
	l->ending = true;
	for (unsigned i = 0; i < l->n; i++)
		pthread_cancel(l->threads[i]);
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
	pthread_cond_destroy(&l->died);
	pthread_mutex_destroy(&l->lock);
	free(l->threads);
	free(l);
}
