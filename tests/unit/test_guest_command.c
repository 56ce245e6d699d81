/* A command line and environment over a socket, and what is none. */
#include "command.h"
#include "test.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

static int ours, theirs;

static void fresh(void)
{
	int fds[2];

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	ours = fds[0];
	theirs = fds[1];
}

static void done(void)
{
	close(ours);
	close(theirs);
}

/* A list lasts as long as its process; here one follows the other. */
static void forget(char **list)
{
	static char *nothing[] = {NULL};

	environ = nothing;
	free(list);
}

static void it_arrives_and_what_follows_is_left(void)
{
	static const char *const argv[] = {"name", "run", "", "a b", NULL};
	static const char *const env[] = {"A=", "B=b=c", NULL}, *const none[] = {NULL};
	char **got, next[8] = "";

	fresh();
	CHECK_EQ(command_send(ours, argv, env), 0);
	CHECK_EQ(write(ours, "frames", 6), 6);
	CHECK_EQ(command_receive(theirs, &got), 4);
	for (int i = 0; i < 4; i++)
		CHECK_STR(got[i], argv[i]);
	CHECK(!got[4]);
	CHECK_STR(environ[0], "A=");
	CHECK_STR(environ[1], "B=b=c");
	CHECK(!environ[2]);
	CHECK_EQ(read(theirs, next, sizeof(next)), 6);
	CHECK_STR(next, "frames");
	forget(got);

	CHECK_EQ(command_send(ours, argv, none), 0);
	CHECK_EQ(command_receive(theirs, &got), 4);
	CHECK(!got[4] && !environ[0]);
	forget(got);
	done();
}

static void what_is_too_long_is_refused(void)
{
	static char longest[(32 << 10) + 1];
	const char *argv[] = {"name", "run", longest, NULL}, *const none[] = {NULL};
	const size_t room = (32 << 10) - sizeof("name") - sizeof("run") - 1;
	char **got;

	fresh();
	memset(longest, 'x', room + 1);
	CHECK_EQ(command_send(ours, argv, none), -E2BIG);
	longest[room] = '\0';
	CHECK_EQ(command_send(ours, argv, none), 0);
	CHECK_EQ(command_receive(theirs, &got), 3);
	CHECK_STR(got[2], longest);
	forget(got);
	done();
}

static void nothing_and_half_of_it_are_the_end(void)
{
	static const char *const argv[] = {"name", "run", NULL}, *const none[] = {NULL};
	char **got;

	fresh();
	close(ours);
	CHECK_EQ(command_receive(theirs, &got), -EPIPE);
	close(theirs);

	fresh();
	CHECK_EQ(write(ours, &(uint32_t[]){9, 2}, 8), 8);
	CHECK_EQ(write(ours, "name", 5), 5);
	close(ours);
	CHECK_EQ(command_receive(theirs, &got), -EPIPE);
	close(theirs);

	fresh();
	close(theirs);
	CHECK_EQ(command_send(ours, argv, none), -EPIPE);
	close(ours);
}

static void what_is_none_is_refused(void)
{
	static const uint32_t heads[][2] = {
	    {0, 2}, {9, 0}, {9, 1}, {9, 3}, {(32 << 10) + 1, 2}, {UINT32_MAX, 2}, {9, UINT32_MAX}};
	char **got;

	for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		fresh();
		CHECK_EQ(write(ours, heads[i], 8), 8);
		CHECK_EQ(write(ours, "name\0run", 9), 9);
		CHECK_EQ(command_receive(theirs, &got), -EPROTO);
		done();
	}
	fresh();
	CHECK_EQ(write(ours, &(uint32_t[]){8, 2}, 8), 8);
	CHECK_EQ(write(ours, "name\0run", 8), 8);
	CHECK_EQ(command_receive(theirs, &got), -EPROTO);
	done();
}

int main(void)
{
	it_arrives_and_what_follows_is_left();
	what_is_too_long_is_refused();
	nothing_and_half_of_it_are_the_end();
	what_is_none_is_refused();
	return 0;
}
