/*
 * Writing metrics: Prometheus' text format 0.0.4 (prometheus.io, "Exposition formats"). A family is
 * a HELP and a TYPE line and then all its samples.
 */
#ifndef AIB_CONTROL_METRICS_H
#define AIB_CONTROL_METRICS_H

#include "control.h"

/* TYPE: "counter", "gauge" or "histogram". Each returns 0 or -ENOMEM. */
int metrics_family(struct buf *out, const char *name, const char *type, const char *help);
/* KEY="VALUE", escaped. */
int metrics_label(struct buf *out, const char *key, const char *value);
/* A family of one sample without labels. */
int metrics_value(struct buf *out, const char *name, const char *type, const char *help,
		  uint64_t value);

/* ---- For this folder ---- */

struct control;
int metrics_add_file(struct bk *control);
/* The families of routes and sandboxes; OBJECT is a struct control_mount. */
int metrics_of_routes(void *object, struct buf *out);
void metrics_done(struct control *c);

#endif
