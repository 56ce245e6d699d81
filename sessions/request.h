/*
 * Sessions as users ask for them: `.aib/sessions` and the requests of `aib session`. It puts the
 * sessions of all routes of a mount together; where two have one of the same name, the first is
 * meant.
 */
#ifndef AIB_SESSIONS_REQUEST_H
#define AIB_SESSIONS_REQUEST_H

#include "../backends/control/control.h"
#include "../backends/route.h"

struct sessions;

struct sessions_control {
	struct sessions **list; /* of the routes that have sessions */
	size_t n;
	struct bk *control;
	struct control_dir *dir;
	pthread_mutex_t lock; /* guards session.shown; not held across the control tree */
};

/* The routes are borrowed, and prepared. 0 or -ENOMEM. */
int sessions_control_init(struct sessions_control *sc, const struct route *routes, size_t n);
/* Add `sessions` to the control tree, where there are any. */
int sessions_control_add(struct sessions_control *sc, struct bk *control);
/* For control_add_metrics; OBJECT is a struct sessions_control. */
int sessions_metrics(void *object, struct buf *out);
/* Before the control tree goes: nothing is told to it any more. */
void sessions_control_end(struct sessions_control *sc);
void sessions_control_done(struct sessions_control *sc);

/* control_conf.enter: CTX is a struct sessions_control. */
int sessions_control_enter(void *ctx, uid_t uid, const char *path, struct bk_use *ret,
			   char **ret_dir, struct err *err);

/* Answer a request (../exec/protocol.h, "session"). ALL: who asks may do all. May block. */
int sessions_answer(struct sessions_control *sc, struct bk_req *req, bool all, const cJSON *request,
		    cJSON **ret, struct err *err);

#endif
