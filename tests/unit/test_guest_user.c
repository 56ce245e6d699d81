/*
 * `aib-guest run -u` and -e, with files of users that are the test's: bound over this machine's in
 * a mount namespace of its own. tests/docker compares with a real engine.
 */
#include "guest_client.h"

#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

static char dir[] = "/tmp/aib-test-XXXXXX";

static const char passwd[] = "root:x:0:0:root:/root:/bin/sh\n"
			     "\n"
			     "broken:x:none:0::/:\n"
			     "short\n"
			     "alice:x:1000:1001:Alice:/home/alice:/bin/sh\n"
			     "twin:x:1000:1002::/home/twin:/bin/sh\n"
			     "homeless:x:1003:1003:::\n"
			     "1234:x:1005:1005::/five:";

static const char group[] = "root:x:0:root\n"
			    "alice:x:1001:\n"
			    "staff:x:50:bob,alice,carol\n"
			    "nearly:x:51:alicex,alic\n"
			    "broken:x:x:alice\n"
			    "video:x:44:alice\n";

static void write_file(const char *name, const char *text, size_t len)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	CHECK(f && fwrite(text, 1, len, f) == len);
	CHECK_EQ(fclose(f), 0);
}

static void write_files(void)
{
	write_file("passwd", passwd, strlen(passwd));
	write_file("group", group, strlen(group));
}

static void bind_file(const char *name)
{
	char path[64], place[64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	snprintf(place, sizeof(place), "/etc/%s", name);
	CHECK_EQ(mount(path, place, NULL, MS_BIND, NULL), 0);
}

static void begin(void)
{
	const gid_t given[] = {0, 777};

	CHECK(mkdtemp(dir));
	CHECK_EQ(unshare(CLONE_NEWNS), 0);
	CHECK_EQ(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	write_files();
	bind_file("passwd");
	bind_file("group");
	/* As of a container with --group-add 777. */
	CHECK_EQ(setgroups(2, given), 0);
	CHECK_EQ(setgid(0), 0);
}

/* The mounts go with this process. */
static void end(void)
{
	static const char *const names[] = {"passwd", "group"};
	char path[64];

	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		CHECK_EQ(unlink(path), 0);
	}
	CHECK_EQ(rmdir(dir), 0);
}

static struct outcome *finish(struct guest g)
{
	static struct outcome r;

	memset(&r, 0, sizeof(r));
	guest_finish(&g, &r);
	return &r;
}

#define ID "echo $(id -u) $(id -g) $(id -G | tr ' ' '\\n' | sort -n | tr '\\n' ' ')$HOME"

static void users_are_found_as_the_engine_finds_them(void)
{
	static const struct {
		const char *user, *id;
	} cases[] = {
	    {"root", "0 0 0 777 /root\n"},
	    {"0:0", "0 0 0 777 /root\n"},
	    {":staff", "0 50 50 777 /root\n"},
	    {"alice", "1000 1001 44 50 777 1001 /home/alice\n"},
	    {"1000", "1000 1001 44 50 777 1001 /home/alice\n"},
	    {"alice:", "1000 1001 44 50 777 1001 /home/alice\n"},
	    {"alice:staff", "1000 50 50 777 /home/alice\n"},
	    {"alice:0", "1000 0 0 777 /home/alice\n"},
	    {"1000:4321", "1000 4321 777 4321 /home/alice\n"},
	    {"twin", "1000 1002 777 1002 /home/alice\n"},
	    {"homeless", "1003 1003 777 1003 /\n"},
	    {"1234", "1234 0 0 777 /\n"},
	    {"1234:4321", "1234 4321 777 4321 /\n"},
	    {"2147483647", "2147483647 0 0 777 /\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome *r = finish(GUEST("-u", cases[i].user, "--", "/bin/sh", "-c", ID));

		CHECK_STR(r->out, cases[i].id);
		CHECK_EQ(r->exit.value, 0);
	}
}

static void who_is_not_there_is_an_error_with_his_name(void)
{
	static const struct {
		const char *user, *error;
	} cases[] = {
	    {"NOBODY", "unable to find user NOBODY: no matching entries in passwd file"},
	    {"broken", "unable to find user broken: no matching entries in passwd file"},
	    {"short", "unable to find user short: no matching entries in passwd file"},
	    {"alice:no", "unable to find group no: no matching entries in group file"},
	    {"alice:broken", "unable to find group broken: no matching entries in group file"},
	    {"2147483648", "uids and gids must be in range 0-2147483647"},
	    {"-1", "uids and gids must be in range 0-2147483647"},
	    {"1:99999999999999999999", "unable to find group 99999999999999999999: no matching"},
	    {"1:4294967296", "uids and gids must be in range 0-2147483647"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct outcome *r = finish(GUEST("-u", cases[i].user, "--", "/bin/true"));

		CHECK(!r->started);
		CHECK(strstr(r->error, "the command was not started: ") == r->error);
		CHECK(strstr(r->error, cases[i].error));
	}
}

static void hostile_files_neither_hang_nor_help(void)
{
	static const char odd[] = "\0:::\n:::alice\nx:x:7:alice,";
	static char large[2 << 20];
	char fifo[64];
	struct outcome *r;

	memset(large, 'x', sizeof(large));
	write_file("group", large, sizeof(large));
	r = finish(GUEST("-u", "alice", "--", "/bin/true"));
	CHECK_STR(r->error, "the command was not started: unable to find groups for alice: "
			    "/etc/group is too large");
	write_file("group", odd, sizeof(odd) - 1);
	r = finish(GUEST("-u", "alice", "--", "/bin/sh", "-c", ID));
	CHECK_STR(r->out, "1000 1001 7 777 1001 /home/alice\n");
	write_files();

	CHECK_EQ(umount("/etc/passwd"), 0);
	snprintf(fifo, sizeof(fifo), "%s/passwd", dir);
	CHECK_EQ(unlink(fifo), 0);
	CHECK_EQ(mkfifo(fifo, 0666), 0);
	bind_file("passwd");
	r = finish(GUEST("-u", "alice", "--", "/bin/true"));
	CHECK_STR(r->error, "the command was not started: unable to find user alice: "
			    "/etc/passwd is not a regular file");
	CHECK_EQ(umount("/etc/passwd"), 0);
	CHECK_EQ(unlink(fifo), 0);
	write_files();
	bind_file("passwd");
}

static void random_files_never_crash_it(void)
{
	static const char letters[] = "alice:x10,0-\n\n::ro\0t";
	char noise[2000];

	srand(1);
	for (int i = 0; i < 100; i++) {
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = letters[rand() % sizeof(letters)];
		write_file(i % 2 ? "passwd" : "group", noise, sizeof(noise));
		finish(GUEST("-u", i % 3 ? "alice" : "10:10", "--", "/bin/true"));
	}
	write_files();
}

static void the_streams_are_the_users_own(void)
{
	struct outcome *r = finish(GUEST("-u", "alice", "--", "/bin/sh", "-c",
					 "echo out >/dev/stdout; echo err >/dev/stderr"));

	CHECK_STR(r->out, "out\n");
	CHECK_STR(r->err, "err\n");
	r = finish(GUEST("-u", "alice", "-t", "24x80", "--", "/bin/sh", "-c",
			 "echo out >$(tty); stat -c %U $(tty); echo $TERM"));
	CHECK_STR(r->out, "out\r\nalice\r\nxterm\r\n");
}

static void the_directory_is_entered_as_the_user(void)
{
	struct outcome *r;

	CHECK_EQ(chmod(dir, 0700), 0);
	r = finish(GUEST("-u", "alice", "-C", dir, "--", "/bin/true"));
	CHECK_EQ(r->exit.how, PROTO_NO_CWD);
	CHECK_EQ(r->exit.value, EACCES);
}

static void no_way_leads_back_to_root(void)
{
	struct outcome *r =
	    finish(GUEST("-u", "alice", "--", "/bin/sh", "-c",
			 "grep -E '^(Uid|Gid|Cap(Prm|Eff|Amb))' /proc/self/status"));

	CHECK_STR(r->out, "Uid:\t1000\t1000\t1000\t1000\nGid:\t1001\t1001\t1001\t1001\n"
			  "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"
			  "CapAmb:\t0000000000000000\n");
}

static void only_root_can_become_another(void)
{
	struct outcome *r;
	char path[32];

	/* The build may be where only root can look. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", open(GUEST_PATH, O_PATH));
	guest_path = path;
	CHECK_EQ(setresgid(1001, 1001, 1001), 0);
	CHECK_EQ(setresuid(1000, 1000, 1000), 0);
	r = finish(GUEST("-u", "alice", "--", "/bin/sh", "-c", "id -u"));
	CHECK_STR(r->out, "1000\n");
	r = finish(GUEST("-u", "root", "--", "/bin/true"));
	CHECK(strstr(r->error, "uid 1000 cannot become uid 0, gid 0: the guest does not run as"));
}

static void variables_replace_and_hide(void)
{
	struct outcome *r;

	setenv("K", "inherited", 1);
	setenv("STAYS", "1", 1);
	r = finish(GUEST("-e", "K=1", "-e", "K=2", "-e", "SECRET=hid=den", "-e", "EMPTY=", "-u",
			 "alice", "-e", "HOME=/mine", "--", "/bin/sh", "-c",
			 "echo $K $STAYS $SECRET ${EMPTY-unset} $HOME; env | grep -c ^K=; "
			 "tr '\\0' ' ' </proc/$PPID/cmdline | grep -c hid=d[e]n"));
	CHECK_STR(r->out, "2 1 hid=den /mine\n1\n0\n");
	unsetenv("K");
	unsetenv("STAYS");
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	if (geteuid() != 0) {
		fprintf(stderr, "needs root\n");
		return 77;
	}
	begin();
	users_are_found_as_the_engine_finds_them();
	who_is_not_there_is_an_error_with_his_name();
	hostile_files_neither_hang_nor_help();
	random_files_never_crash_it();
	the_streams_are_the_users_own();
	the_directory_is_entered_as_the_user();
	no_way_leads_back_to_root();
	variables_replace_and_hide();
	end();
	only_root_can_become_another();
	return 0;
}
