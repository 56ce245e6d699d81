#include "hash.h"

#include <openssl/evp.h>
#include <stdio.h>

struct hash *hash_new(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) == 1)
		return (struct hash *)c;
	EVP_MD_CTX_free(c);
	return NULL;
}

void hash_free(struct hash *h)
{
	EVP_MD_CTX_free((EVP_MD_CTX *)h);
}

void hash_add(struct hash *h, const void *data, size_t len)
{
	(void)EVP_DigestUpdate((EVP_MD_CTX *)h, data, len);
}

void hash_hex(struct hash *h, char ret[HASH_HEX])
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;

	ret[0] = '\0';
	(void)EVP_DigestFinal_ex((EVP_MD_CTX *)h, digest, &n);
	for (unsigned i = 0; i < n && i < (HASH_HEX - 1) / 2; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}
