#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <syslog.h>
#include <time.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static enum log_level max_level = LOG_LEVEL_INFO;
static int to_stderr = 1, to_syslog;
static char ring[LOG_RING_SIZE];
static uint64_t end;

static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_set_level(enum log_level level)
{
	pthread_mutex_lock(&lock);
	max_level = level;
	pthread_mutex_unlock(&lock);
}

void log_set_stderr(int on)
{
	pthread_mutex_lock(&lock);
	to_stderr = on;
	pthread_mutex_unlock(&lock);
}

void log_set_syslog(int on)
{
	pthread_mutex_lock(&lock);
	to_syslog = on;
	pthread_mutex_unlock(&lock);
}

static void ring_add(const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++)
		ring[(end + i) % LOG_RING_SIZE] = data[i];
	end += len;
}

void log_line(enum log_level level, const char *fmt, ...)
{
	char line[2048], stamp[32];
	struct timespec ts;
	struct tm tm;
	va_list ap;
	size_t n;

	pthread_mutex_lock(&lock);
	if (level > max_level) {
		pthread_mutex_unlock(&lock);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);
	n = snprintf(line, sizeof(line), "%s.%03ldZ %s ", stamp, ts.tv_nsec / 1000000,
		     level_names[level]);
	va_start(ap, fmt);
	vsnprintf(line + n, sizeof(line) - n - 1, fmt, ap);
	va_end(ap);
	for (char *p = line + n; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	if (to_syslog && level == LOG_LEVEL_ERROR)
		syslog(LOG_DAEMON | LOG_ERR, "%s", line);
	n = strlen(line);
	line[n++] = '\n';
	ring_add(line, n);
	if (to_stderr)
		fwrite(line, 1, n, stderr);
	pthread_mutex_unlock(&lock);
}

uint64_t log_end(void)
{
	uint64_t r;

	pthread_mutex_lock(&lock);
	r = end;
	pthread_mutex_unlock(&lock);
	return r;
}

size_t log_read(uint64_t pos, void *data, size_t size)
{
	uint64_t oldest;
	size_t n;

	pthread_mutex_lock(&lock);
	oldest = end > LOG_RING_SIZE ? end - LOG_RING_SIZE : 0;
	if (pos < oldest)
		pos = oldest;
	n = pos < end ? end - pos : 0;
	if (n > size)
		n = size;
	for (size_t i = 0; i < n; i++)
		((char *)data)[i] = ring[(pos + i) % LOG_RING_SIZE];
	pthread_mutex_unlock(&lock);
	return n;
}
