#include "protocol.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

void proto_put_header(uint8_t *out, uint8_t type, uint32_t len)
{
	out[0] = len;
	out[1] = len >> 8;
	out[2] = len >> 16;
	out[3] = len >> 24;
	out[4] = type;
	out[5] = out[6] = out[7] = 0;
}

int proto_get_header(const uint8_t *in, struct proto_header *ret)
{
	uint32_t len = in[0] | in[1] << 8 | in[2] << 16 | (uint32_t)in[3] << 24;

	if (len > PROTO_MAX_PAYLOAD || in[5] || in[6] || in[7])
		return -EPROTO;
	ret->len = len;
	ret->type = in[4];
	return 0;
}

void proto_put_exit(uint8_t *out, const struct proto_exit *e)
{
	memset(out, 0, PROTO_EXIT_SIZE);
	out[0] = e->how;
	out[1] = e->value;
	out[2] = e->timed_out;
}

int proto_get_exit(const uint8_t *in, size_t len, struct proto_exit *ret)
{
	if (len != PROTO_EXIT_SIZE || in[0] > PROTO_FAILED || in[2] > 1)
		return -EPROTO;
	if (in[0] == PROTO_SIGNALLED && (in[1] < 1 || in[1] >= NSIG))
		return -EPROTO;
	ret->how = in[0];
	ret->value = in[1];
	ret->timed_out = in[2];
	return 0;
}

void proto_put_u64(uint8_t *out, uint64_t n)
{
	for (int i = 0; i < 8; i++)
		out[i] = n >> 8 * i;
}

uint64_t proto_get_u64(const uint8_t *in)
{
	uint64_t n = 0;

	for (int i = 0; i < 8; i++)
		n |= (uint64_t)in[i] << 8 * i;
	return n;
}

int proto_exit_status(const struct proto_exit *e)
{
	if (e->timed_out)
		return 124;
	switch (e->how) {
	case PROTO_EXITED:
		return e->value;
	case PROTO_SIGNALLED:
		return 128 + e->value;
	case PROTO_NOT_FOUND:
		return 127;
	case PROTO_NOT_EXEC:
		return 126;
	default:
		return 125;
	}
}
