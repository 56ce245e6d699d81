/* See figures.h. */
#include "figures.h"

#include "control/metrics.h"

int figures_write(const struct fs_figures *f, struct buf *out)
{
	int r =
	    metrics_value(out, "aib_nodes", "gauge", "Files that the kernel remembers.", f->nodes);

	if (r == 0)
		r = metrics_value(out, "aib_open_files", "gauge",
				  "Open files and directories of the mount.", f->open);
	if (r == 0)
		r = metrics_value(out, "aib_passthrough_files", "gauge",
				  "Open files that the kernel reads and writes itself.",
				  f->passthrough);
	if (r == 0)
		r = metrics_value(out, "aib_recalls_total", "counter",
				  "Times that the kernel was made to forget what it had cached.",
				  f->recalls);
	return r;
}
