/*
 * Standard input, output and error: a program that is started with one of them closed would take
 * the next descriptor that it opens for it.
 */
#ifndef AIB_BASE_STD_H
#define AIB_BASE_STD_H

/* First thing in main: open those that are closed on /dev/null. Ends the process where that fails,
 * as ld.so(8) does for setuid programs. */
void std_open(void);

#endif
