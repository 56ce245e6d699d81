/*
 * The caller's terminal while a command has one in the sandbox: raw, so that every key reaches the
 * command's own, and as it was before whenever aib-exec ends or stops.
 */
#ifndef AIB_EXEC_CLIENT_TERMINAL_H
#define AIB_EXEC_CLIENT_TERMINAL_H

#include <stdint.h>

/* The size of the terminal at standard output or input; 24 × 80 where none is. */
void terminal_size(uint16_t *ret_rows, uint16_t *ret_cols);
/* Both do nothing where standard input is no terminal, or it is so already. */
void terminal_raw(void);
void terminal_restore(void);

#endif
