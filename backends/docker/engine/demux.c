#include "demux.h"

#include <errno.h>
#include <string.h>

/* Whether the N bytes of a header that are there may be one. */
static bool plausible(const uint8_t *h, unsigned n)
{
	if (n > 0 && h[0] > 2)
		return false;
	for (unsigned i = 1; i < n && i < 4; i++)
		if (h[i])
			return false;
	return true;
}

static uint32_t length(const uint8_t *h)
{
	return (uint32_t)h[4] << 24 | (uint32_t)h[5] << 16 | (uint32_t)h[6] << 8 | h[7];
}

static ssize_t take_header(struct demux *d, const uint8_t *data, size_t n)
{
	size_t used = 0;

	while (used < n && d->have < sizeof(d->head)) {
		d->head[d->have++] = data[used++];
		if (plausible(d->head, d->have))
			continue;
		if (d->form == DEMUX_FRAMED)
			return -EPROTO;
		d->form = DEMUX_RAW;
		return used;
	}
	if (d->have < sizeof(d->head))
		return used;
	if (length(d->head) > DEMUX_MAX_FRAME) {
		if (d->form == DEMUX_FRAMED)
			return -EPROTO;
		d->form = DEMUX_RAW;
		return used;
	}
	d->form = DEMUX_FRAMED;
	d->which = d->head[0] == 2 ? 2 : 1;
	d->left = length(d->head);
	d->have = 0;
	return used;
}

/* What was taken for a header and is output. */
static bool give_head(struct demux *d, struct demux_run *ret)
{
	if (d->given == d->have)
		return false;
	*ret = (struct demux_run){1, d->head + d->given, d->have - d->given};
	d->given = d->have;
	return true;
}

ssize_t demux_next(struct demux *d, const void *data, size_t n, struct demux_run *ret)
{
	*ret = (struct demux_run){0};
	if (d->form == DEMUX_RAW) {
		if (give_head(d, ret))
			return 0;
		*ret = (struct demux_run){1, data, n};
		return n;
	}
	if (d->left == 0) {
		ssize_t used = take_header(d, data, n);

		if (used >= 0 && d->form == DEMUX_RAW)
			give_head(d, ret);
		return used;
	}
	if (n > d->left)
		n = d->left;
	d->left -= n;
	*ret = (struct demux_run){d->which, data, n};
	return n;
}

bool demux_between(const struct demux *d)
{
	return d->left == 0 && (d->form == DEMUX_RAW || d->have == 0);
}

int demux_end(struct demux *d, struct demux_run *ret)
{
	if (d->left > 0 || (d->form == DEMUX_FRAMED && !demux_between(d)))
		return -EPROTO;
	d->form = DEMUX_RAW;
	return give_head(d, ret) ? 1 : 0;
}
