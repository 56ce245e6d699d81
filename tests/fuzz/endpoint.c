#include "endpoint.h"

#include "fuzz.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *answer_prefix = "";
static const void *answer;
static size_t answer_size;
static char directory[] = "/tmp/aib-fuzz-XXXXXX";
static struct sockaddr_un address = {.sun_family = AF_UNIX};

void endpoint_answer(const char *prefix, const void *data, size_t size)
{
	pthread_mutex_lock(&lock);
	answer_prefix = prefix;
	answer = data;
	answer_size = size;
	pthread_mutex_unlock(&lock);
}

/* The whole header of a request; what follows it in the same packet, too. */
static bool take_request(int fd)
{
	char text[8192];
	size_t len = 0;
	ssize_t n;

	while (len < sizeof(text) - 1 &&
	       (n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0) {
		len += n;
		text[len] = '\0';
		if (strstr(text, "\r\n\r\n"))
			return true;
	}
	return false;
}

static void send_all(int fd, const void *data, size_t size)
{
	const char *p = data;
	ssize_t n;

	while (size > 0 && (n = send(fd, p, size, MSG_NOSIGNAL)) > 0) {
		p += n;
		size -= n;
	}
}

static void *serve(void *arg)
{
	int listening = *(int *)arg, fd;

	while ((fd = accept(listening, NULL, NULL)) >= 0) {
		if (take_request(fd)) {
			pthread_mutex_lock(&lock);
			send_all(fd, answer_prefix, strlen(answer_prefix));
			send_all(fd, answer, answer_size);
			pthread_mutex_unlock(&lock);
		}
		close(fd);
	}
	return NULL;
}

static void clean_up(void)
{
	unlink(address.sun_path);
	rmdir(directory);
}

struct engine *endpoint_open(void)
{
	struct engine_conf conf = {.api_version = "1.41", .timeout_ms = 2000};
	static int listening;
	struct engine *engine;
	char host[128];
	pthread_t thread;

	signal(SIGPIPE, SIG_IGN);
	CHECK(mkdtemp(directory));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/s", directory);
	snprintf(host, sizeof(host), "unix://%s", address.sun_path);
	listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CHECK_EQ(bind(listening, (struct sockaddr *)&address, sizeof(address)), 0);
	CHECK_EQ(listen(listening, 16), 0);
	atexit(clean_up);
	CHECK_EQ(pthread_create(&thread, NULL, serve, &listening), 0);
	pthread_detach(thread);
	conf.host = host;
	CHECK_EQ(engine_open(&conf, &engine, NULL), 0);
	return engine;
}
