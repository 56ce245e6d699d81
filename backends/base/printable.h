/* Others' text for a person's terminal. */
#ifndef AIB_BASE_PRINTABLE_H
#define AIB_BASE_PRINTABLE_H

/* Blanks in the place of what controls a terminal in TEXT: C0, DEL, and C1 as UTF-8 has it. */
static inline void make_printable(char *text)
{
	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (*p < ' ' || *p == 0x7f)
			*p = ' ';
		else if (p[0] == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = ' ';
	}
}

#endif
