#include "loop.h"

#include "../../backends/base/macros.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

int loop_init(struct loop *l)
{
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};

	*l = (struct loop){.epoll = -1, .wake = -1};
	pthread_mutex_init(&l->lock, NULL);
	l->last = &l->tasks;
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->epoll < 0 || l->wake < 0 || epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &e) < 0) {
		int r = -errno;

		loop_done(l);
		return r;
	}
	return 0;
}

void loop_done(struct loop *l)
{
	closep(&l->epoll);
	closep(&l->wake);
	pthread_mutex_destroy(&l->lock);
}

int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	w->fd = fd;
	w->events = events;
	return epoll_ctl(l->epoll, EPOLL_CTL_ADD, fd, &e) < 0 ? -errno : 0;
}

void loop_set(struct loop *l, struct watch *w, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = w};

	if (w->events == events)
		return;
	w->events = events;
	epoll_ctl(l->epoll, EPOLL_CTL_MOD, w->fd, &e);
}

void loop_remove(struct loop *l, struct watch *w)
{
	epoll_ctl(l->epoll, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
}

void loop_post(struct loop *l, struct task *t)
{
	uint64_t one = 1;

	t->next = NULL;
	pthread_mutex_lock(&l->lock);
	*l->last = t;
	l->last = &t->next;
	pthread_mutex_unlock(&l->lock);
	while (write(l->wake, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void run_tasks(struct loop *l)
{
	struct task *t, *next;
	uint64_t n;

	while (read(l->wake, &n, sizeof(n)) < 0 && errno == EINTR)
		;
	pthread_mutex_lock(&l->lock);
	t = l->tasks;
	l->tasks = NULL;
	l->last = &l->tasks;
	pthread_mutex_unlock(&l->lock);
	for (; t; t = next) {
		next = t->next;
		t->run(t);
	}
}

/* One event a turn: what runs for it may free the watch of any other. */
void loop_turn(struct loop *l, int timeout_ms)
{
	struct epoll_event e;
	struct watch *w;

	if (epoll_wait(l->epoll, &e, 1, timeout_ms) != 1)
		return;
	w = e.data.ptr;
	if (w)
		w->ready(w, e.events);
	else
		run_tasks(l);
}
