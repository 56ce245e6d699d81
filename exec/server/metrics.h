/* What the exec server counts, for the control tree's metrics. */
#ifndef AIB_EXEC_METRICS_H
#define AIB_EXEC_METRICS_H

#include "../../backends/base/buf.h"

/* For control_add_metrics; OBJECT is the struct server. */
int server_metrics(void *object, struct buf *out);

#endif
