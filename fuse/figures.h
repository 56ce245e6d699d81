/* What the FUSE session counts, for the control tree's metrics. */
#ifndef AIB_FUSE_FIGURES_H
#define AIB_FUSE_FIGURES_H

#include "session.h"

/* As families of Prometheus' text format. Returns 0 or -ENOMEM. */
int figures_write(const struct fs_figures *f, struct buf *out);

#endif
