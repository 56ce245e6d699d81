/* `sandboxes/NAME/`: status, ctl and error of one sandbox. */
#ifndef AIB_CONTROL_SANDBOX_H
#define AIB_CONTROL_SANDBOX_H

#include "control.h"

/* ROUTE has a sandbox and is borrowed. */
int control_add_sandbox(struct bk *control, struct control_dir *dir, const struct route *route);

#endif
