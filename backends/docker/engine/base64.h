/* Base64 (RFC 4648), both alphabets. Pure. */
#ifndef AIB_DOCKER_BASE64_H
#define AIB_DOCKER_BASE64_H

/* Decode S, with or without padding: a string that the caller frees, NULL where S is not base64,
 * holds a NUL byte, or memory is out. */
char *base64_decode(const char *s);
/* Encode a string with the URL-safe alphabet and padding; the caller frees it. */
char *base64_encode_url(const char *s);

#endif
