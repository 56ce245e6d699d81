/*
 * Serving a caller on its own processor. Where one thread answers one caller's requests, one after
 * the other, each sleeps while the other works. The scheduler wakes who slept on another processor
 * where one is idle, and to wake that takes longer than most requests do, in a virtual machine
 * above all. So the thread moves to its caller's processor, and takes the policy SCHED_IDLE: a
 * processor that runs nothing else counts as idle, so the caller is woken there, and runs at once.
 *
 * Such a thread gets next to no time where others want the processor too. Hence a thread of this
 * module's, which looks at each tick, and puts whoever has served nothing for a whole one back to
 * where it was: nobody waits longer than two ticks for it. The shorter it was of use, the longer it
 * takes until that thread is near again.
 *
 * Of the whole process. Thread-safe; the lock is a leaf.
 */
#ifndef AIB_BASE_NEAR_H
#define AIB_BASE_NEAR_H

#include <stdbool.h>
#include <sys/types.h>

#define NEAR_TICK_MS 1 /* at least */

/*
 * From now on threads may be near. Before any of them serves. Returns 0; -EPERM where the process
 * may not leave SCHED_IDLE again (CAP_SYS_NICE, or RLIMIT_NICE); -ENOTSUP on one processor, or
 * under another policy than SCHED_OTHER; or another -errno where no thread can be made.
 */
int near_start(void);
/* All are back, and stay there. */
void near_stop(void);

/*
 * This thread serves a request of the thread CALLER; 0: of nobody's, which says nothing. BOUND: it
 * is on the caller's processor, and somebody else sees to that.
 */
void near_served(pid_t caller, bool bound);

/* Whether this thread is near its caller, which is the only one then as far as it knows. */
bool near_is(void);

/*
 * This thread goes back to where it was. Before anything that outlives the request and would be as
 * near, such as a thread or a process.
 */
void near_leave(void);

#endif
