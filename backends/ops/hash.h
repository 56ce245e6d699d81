/* SHA-256 of versions of files, by OpenSSL's libcrypto (which libcurl brings in anyway). */
#ifndef AIB_OPS_HASH_H
#define AIB_OPS_HASH_H

#include <stddef.h>

#define HASH_HEX 65 /* with the NUL */

struct hash;

struct hash *hash_new(void);	/* NULL where memory is out */
void hash_free(struct hash *h); /* takes NULL */
void hash_add(struct hash *h, const void *data, size_t len);
/* The end: in lower case. */
void hash_hex(struct hash *h, char ret[HASH_HEX]);

#endif
