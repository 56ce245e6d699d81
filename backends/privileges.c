/* What a change of a file takes from its mode; the groups of callers. See backend.h. */
#include "backend.h"

#include "base/procpid.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Whether the text of /proc/PID/status names GID among the further groups. */
static bool is_listed(const char *status, gid_t gid)
{
	const char *at = strstr(status, "\nGroups:");
	char *end;

	if (!at)
		return false;
	for (at += strlen("\nGroups:"); *at != '\n'; at = end) {
		unsigned long group = strtoul(at, &end, 10);

		if (end == at)
			return false;
		if (group == gid)
			return true;
		end += strspn(end, " \t");
	}
	return false;
}

/* The kernel tells one group of a caller; the others are asked for where they matter. */
static bool has_further_group(pid_t pid, gid_t gid)
{
	const size_t room = 1 << 20; /* 65,536 groups is the most that there are */
	_cleanup_free_ char *text = malloc(room + 1);
	_cleanup_close_ int fd = -1;
	size_t len = 0;
	ssize_t n;

	fd = procpid_open(pid, "status");
	if (!text || fd < 0)
		return false;
	while (len < room && (n = read(fd, text + len, room - len)) > 0)
		len += n;
	text[len] = '\0';
	return is_listed(text, gid);
}

bool bk_req_in_group(const struct bk_req *req, gid_t gid)
{
	if (!req || req->uid == 0 || req->gid == gid)
		return true;
	return req->pid > 0 && has_further_group(req->pid, gid);
}

mode_t bk_mode_written(const struct bk_req *req, mode_t mode, gid_t gid)
{
	mode_t left = mode & ~S_ISUID;

	if (left & S_ISGID && (left & S_IXGRP || !bk_req_in_group(req, gid)))
		left &= ~S_ISGID;
	return left;
}
