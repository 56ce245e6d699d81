/*
 * An Engine that answers every request with the bytes of the input and hangs up. One to a program.
 */
#ifndef AIB_FUZZ_ENDPOINT_H
#define AIB_FUZZ_ENDPOINT_H

#include "docker/engine.h"

/* A client of it, for the program's life. */
struct engine *endpoint_open(void);
/* What it answers from now on: PREFIX, then DATA. Borrowed until the next call. */
void endpoint_answer(const char *prefix, const void *data, size_t size);

#endif
