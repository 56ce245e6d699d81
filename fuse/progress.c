#include "progress.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/printable.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

void progress_init(struct progress *p)
{
	*p = (struct progress){.terminal = isatty(STDERR_FILENO)};
}

void progress_begin(struct progress *p, const char *route)
{
	p->route = route;
	p->start_ms = clock_ms();
	p->shown = false;
}

static void rewrite(const char *line, const char *end)
{
	struct winsize size = {0};
	size_t width;
	char text[512];

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col < 20)
		size.ws_col = 80;
	snprintf(text, sizeof(text), "%s", line);
	width = size.ws_col < sizeof(text) ? size.ws_col : sizeof(text);
	text[width - 1] = '\0';
	make_printable(text);
	fprintf(stderr, "\r\033[K%s%s", text, end);
	fflush(stderr);
}

void progress_line(void *ctx, const char *text)
{
	struct progress *p = ctx;
	char line[512];

	log_debug("route %s: %s", p->route, text);
	if (!p->terminal)
		return;
	snprintf(line, sizeof(line), "%s: %s", p->route, text);
	rewrite(line, "");
	p->shown = true;
}

void progress_end(struct progress *p, bool ok)
{
	char line[512];

	if (!p->shown)
		return;
	snprintf(line, sizeof(line), "%s: ready (%.1f s)", p->route,
		 (clock_ms() - p->start_ms) / 1000.0);
	rewrite(ok ? line : "", ok ? "\n" : "");
}
