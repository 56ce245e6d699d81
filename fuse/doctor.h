/*
 * `aib doctor`: what on this machine keeps a mount from working, or will surprise its users; each
 * line says what to do.
 */
#ifndef AIB_FUSE_DOCTOR_H
#define AIB_FUSE_DOCTOR_H

#include "config.h"

enum doctor_level { DOCTOR_OK, DOCTOR_WARNING, DOCTOR_ERROR };

struct doctor {
	const struct config *c;
	cJSON *lines; /* {"check", "level", "text"} */
	bool failed;  /* some line is an error */
};

/* Add a line. */
void doctor_say(struct doctor *d, enum doctor_level level, const char *check, const char *fmt, ...)
    _printf_(4, 5);

/* The engines that C names, and the default one. In doctor_engine.c. */
void doctor_engines(struct doctor *d);

/* Check all and print it, for people or as JSON. 0, 1 where a line is an error, or -errno. */
int doctor(const struct config *c, bool json);

#endif
