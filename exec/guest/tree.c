#include "tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#define MAX_PID (1 << 22) /* the kernel's own limit */
#define STOP_ROUNDS 10

struct process {
	pid_t pid, parent;
};

static struct process *list;
static size_t list_len, list_size;
static unsigned char ours[MAX_PID / 8]; /* a bit for each pid */

int tree_init(void)
{
	return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ? -errno : 0;
}

static bool is_ours(pid_t pid)
{
	return pid > 0 && pid < MAX_PID && ours[pid / 8] & 1 << pid % 8;
}

static void set_ours(pid_t pid)
{
	if (pid > 0 && pid < MAX_PID)
		ours[pid / 8] |= 1 << pid % 8;
}

/* The parent of PID from "PID (NAME) STATE PPID ...", where NAME may hold anything. */
static pid_t parent_of(int proc, const char *pid)
{
	char path[32], text[512], *p;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "%.16s/stat", pid);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = '\0';
	p = strrchr(text, ')');
	return p && strlen(p) > 4 ? atoi(p + 4) : -1;
}

static void add(pid_t pid, pid_t parent)
{
	struct process *more;

	if (list_len == list_size) {
		more = realloc(list, (list_size + 256) * sizeof(*list));
		if (!more)
			return; /* the next round finds those */
		list = more;
		list_size += 256;
	}
	list[list_len++] = (struct process){pid, parent};
}

/* Fill `list` and `ours` with the descendants of this process. Returns how many. */
static size_t scan(void)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	size_t found = 0;
	bool more = true;

	list_len = 0;
	memset(ours, 0, sizeof(ours));
	if (!d)
		return 0;
	while ((e = readdir(d)))
		if (isdigit((unsigned char)e->d_name[0]))
			add(atoi(e->d_name), parent_of(dirfd(d), e->d_name));
	closedir(d);
	while (more) {
		more = false;
		for (size_t i = 0; i < list_len; i++) {
			if (is_ours(list[i].pid) ||
			    (list[i].parent != getpid() && !is_ours(list[i].parent)))
				continue;
			set_ours(list[i].pid);
			found++;
			more = true;
		}
	}
	return found;
}

static void signal_found(int sig)
{
	for (size_t i = 0; i < list_len; i++)
		if (is_ours(list[i].pid))
			kill(list[i].pid, sig);
}

void tree_signal(int sig)
{
	scan();
	signal_found(sig);
}

void tree_kill(void)
{
	size_t before = 0, found = scan();

	/* Stopped first, so that nothing forks away while we look. */
	for (int i = 0; i < STOP_ROUNDS && found != before; i++) {
		signal_found(SIGSTOP);
		before = found;
		found = scan();
	}
	signal_found(SIGKILL);
}
