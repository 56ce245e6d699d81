/* What aib-exec hears from its daemon. */
#include "relay.h"

#include "fuzz.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct relay_result result = {0};
	struct err err = {""};
	int fds[2], room = 1 << 20;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
	send(fds[1], data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
	shutdown(fds[1], SHUT_WR);
	if (relay_run(&(struct relay_conf){.fd = fds[0], .no_stdin = true}, &result, &err) == 0)
		free(result.text);
	else
		CHECK(err.text[0]);
	close(fds[0]);
	close(fds[1]);
	return 0;
}
