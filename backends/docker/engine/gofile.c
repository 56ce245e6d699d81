#include "gofile.h"

#include "../../base/macros.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static const struct {
	uint32_t go;
	mode_t type;
} types[] = {
    {1U << 31, S_IFDIR}, {1U << 27, S_IFLNK}, {1U << 26 | 1U << 21, S_IFCHR},
    {1U << 26, S_IFBLK}, {1U << 25, S_IFIFO}, {1U << 24, S_IFSOCK},
    {0, S_IFREG},
};

static const struct {
	uint32_t go;
	mode_t bit;
} bits[] = {{1U << 23, S_ISUID}, {1U << 22, S_ISGID}, {1U << 20, S_ISVTX}};

#define GO_TYPE (1U << 31 | 1U << 27 | 1U << 26 | 1U << 25 | 1U << 24 | 1U << 21 | 1U << 19)

int go_mode(uint32_t mode, mode_t *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if ((mode & GO_TYPE) != types[i].go)
			continue;
		*ret = types[i].type | (mode & 0777);
		for (size_t k = 0; k < ARRAY_SIZE(bits); k++)
			if (mode & bits[k].go)
				*ret |= bits[k].bit;
		return 0;
	}
	return -EINVAL;
}

/* Exactly N digits at *S, which is moved on. */
static bool digits(const char **s, int n, int *ret)
{
	*ret = 0;
	for (int i = 0; i < n; i++, (*s)++) {
		if (!isdigit((unsigned char)**s))
			return false;
		*ret = *ret * 10 + **s - '0';
	}
	return true;
}

static bool literal(const char **s, char c)
{
	return *(*s)++ == c;
}

int go_time(const char *s, struct timespec *ret)
{
	int year, month, day, hour, min, sec, zh = 0, zm = 0, sign = 0;
	long ns = 0;
	struct tm tm;

	if (!digits(&s, 4, &year) || !literal(&s, '-') || !digits(&s, 2, &month) ||
	    !literal(&s, '-') || !digits(&s, 2, &day) || !literal(&s, 'T') ||
	    !digits(&s, 2, &hour) || !literal(&s, ':') || !digits(&s, 2, &min) ||
	    !literal(&s, ':') || !digits(&s, 2, &sec))
		return -EINVAL;
	if (*s == '.') {
		long unit = 100000000;

		for (s++; isdigit((unsigned char)*s); s++, unit /= 10)
			ns += (*s - '0') * unit;
	}
	if (*s == 'Z') {
		s++;
	} else {
		sign = *s == '+' ? 1 : *s == '-' ? -1 : 0;
		s++;
		if (!sign || !digits(&s, 2, &zh) || !literal(&s, ':') || !digits(&s, 2, &zm))
			return -EINVAL;
	}
	if (*s || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || min > 59 ||
	    sec > 60)
		return -EINVAL;
	tm = (struct tm){.tm_year = year - 1900,
			 .tm_mon = month - 1,
			 .tm_mday = day,
			 .tm_hour = hour,
			 .tm_min = min,
			 .tm_sec = sec};
	ret->tv_sec = timegm(&tm) - sign * (zh * 3600 + zm * 60);
	ret->tv_nsec = ns;
	return 0;
}
