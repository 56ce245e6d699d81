/*
 * A fuzz target: one function that takes any bytes, and aborts (CHECK) where what must hold does
 * not. With -Dfuzz=true it is linked with clang's libFuzzer (llvm.org/docs/LibFuzzer.html), which
 * looks for bytes that reach new code; otherwise with replay.c, which runs it on files.
 */
#ifndef AIB_FUZZ_H
#define AIB_FUZZ_H

#include "../unit/test.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Called once, before. Targets that need nothing leave it out; replay.c has one that does nothing.
 */
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* SIZE bytes as a string, which ends at the first NUL of them. The caller's. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = strndup((const char *)data, size);

	CHECK(text);
	return text;
}

/*
 * The next field of an input: what comes before a byte 0xff, which no UTF-8 has, or the rest. Moves
 * *DATA and *SIZE behind it. The caller's.
 */
static inline char *fuzz_field(const uint8_t **data, size_t *size, size_t *ret_len)
{
	const uint8_t *end = *size ? memchr(*data, 0xff, *size) : NULL;
	size_t len = end ? (size_t)(end - *data) : *size;
	char *text = malloc(len + 1);

	CHECK(text);
	if (len)
		memcpy(text, *data, len);
	text[len] = '\0';
	*data += len + !!end;
	*size -= len + !!end;
	if (ret_len)
		*ret_len = len;
	return text;
}

#endif
