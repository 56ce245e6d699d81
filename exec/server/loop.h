/*
 * One thread's event loop: descriptors that are watched, and tasks that other threads hand over.
 */
#ifndef AIB_EXEC_LOOP_H
#define AIB_EXEC_LOOP_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* A watched descriptor; embed it. READY runs on the loop's thread. */
struct watch {
	int fd;
	uint32_t events; /* EPOLLIN… as set */
	void (*ready)(struct watch *, uint32_t events);
};

/* Work for the loop's thread; embed it. RUN may free it. */
struct task {
	void (*run)(struct task *);
	struct task *next;
};

struct loop {
	int epoll, wake;
	pthread_mutex_t lock; /* guards tasks */
	struct task *tasks, **last;
	bool ending; /* the loop's thread only */
};

int loop_init(struct loop *l); /* 0 or -errno */
void loop_done(struct loop *l);

/* The loop's thread only. Events 0: hangups only. */
int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events);
void loop_set(struct loop *l, struct watch *w, uint32_t events);
void loop_remove(struct loop *l, struct watch *w);

/* Any thread. */
void loop_post(struct loop *l, struct task *t);

/* Wait for events at most TIMEOUT_MS (-1: for ever) and run what is ready. */
void loop_turn(struct loop *l, int timeout_ms);

#endif
