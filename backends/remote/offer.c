/* See offer.h. */
#include "offer.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#define NONCE_AT (REMOTE_OFFER_SIZE - REMOTE_OFFER_NONCE)

static void put_u32(uint8_t *out, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		out[i] = v >> 8 * i;
}

static uint32_t get_u32(const uint8_t *in)
{
	return in[0] | in[1] << 8 | in[2] << 16 | (uint32_t)in[3] << 24;
}

void remote_offer_put(uint8_t *out, const struct remote_offer *offer)
{
	put_u32(out, REMOTE_OFFER_MAGIC);
	put_u32(out + 4, REMOTE_OFFER_VERSION);
	put_u32(out + 8, offer->fd);
	put_u32(out + 12, 0);
	memcpy(out + NONCE_AT, offer->nonce, sizeof(offer->nonce));
}

int remote_offer_get(const uint8_t *in, struct remote_offer *ret)
{
	uint32_t fd = get_u32(in + 8);

	if (get_u32(in) != REMOTE_OFFER_MAGIC)
		return -EPROTO;
	if (get_u32(in + 4) != REMOTE_OFFER_VERSION)
		fd = UINT32_MAX;
	ret->fd = fd <= INT_MAX ? (int)fd : -1;
	memcpy(ret->nonce, in + NONCE_AT, sizeof(ret->nonce));
	return 0;
}
