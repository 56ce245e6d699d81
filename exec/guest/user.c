#include "user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (1 << 20)

static char text[MAX_FILE + 1]; /* of the file that is being looked at */

__attribute__((format(printf, 2, 3))) static int fail(char *why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(why, USER_WHY_SIZE, format, args);
	va_end(args);
	return -1;
}

/* ---- The files ---- */

/* PATH into `text`. What cannot be opened is empty, as for the Engine. */
static int read_file(const char *path, char *why)
{
	/* Neither a FIFO nor a terminal, wherever a link leads, may keep or bind us. */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	size_t len = 0;
	struct stat st;
	ssize_t n = 1;

	text[0] = '\0';
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return fail(why, "%s is not a regular file", path);
	}
	while (n > 0 && len < MAX_FILE) {
		n = read(fd, text + len, MAX_FILE - len);
		if (n > 0)
			len += n;
	}
	close(fd);
	for (size_t i = 0; i < len; i++)
		if (text[i] == '\0')
			text[i] = '\1'; /* no name has it; the rest is still to be read */
	text[len] = '\0';
	if (n < 0)
		return fail(why, "%s: %s", path, strerror(errno));
	return len < MAX_FILE ? 0 : fail(why, "%s is too large", path);
}

/* The next line of `text`, cut into N fields, of which those that are not there are empty. */
static bool next_line(char **at, char **fields, size_t n)
{
	char *line = strsep(at, "\n");

	if (!line)
		return false;
	for (size_t i = 0; i < n; i++) {
		fields[i] = strsep(&line, ":");
		if (!fields[i])
			fields[i] = "";
	}
	return true;
}

/* -EINVAL: not a number; -ERANGE: not one that can be an id. */
static int parse_id(const char *s, uint32_t *ret)
{
	bool negative = *s == '-';
	unsigned long long n;

	s += *s == '-' || *s == '+';
	if (!*s || strspn(s, "0123456789") != strlen(s) || strlen(s) > 18)
		return -EINVAL;
	n = strtoull(s, NULL, 10);
	if (n > INT32_MAX || (negative && n > 0))
		return -ERANGE;
	*ret = n;
	return 0;
}

enum { PW_NAME, PW_UID = 2, PW_GID, PW_HOME = 5, PW_FIELDS };
enum { GR_NAME, GR_GID = 2, GR_LIST, GR_FIELDS };

/* The first entry of NAME, or of UID where NAME is NULL. False: there is none. */
static bool find_entry(const char *name, uid_t uid, char **fields, uint32_t *ret_uid,
		       uint32_t *ret_gid)
{
	char *at = text;
	uint32_t entry_uid, entry_gid;

	while (next_line(&at, fields, PW_FIELDS))
		if (parse_id(fields[PW_UID], &entry_uid) == 0 &&
		    parse_id(fields[PW_GID], &entry_gid) == 0 &&
		    (name ? strcmp(fields[PW_NAME], name) == 0 : entry_uid == uid)) {
			*ret_uid = entry_uid;
			*ret_gid = entry_gid;
			return true;
		}
	return false;
}

static bool is_listed(char *list, const char *name)
{
	char *member;

	while ((member = strsep(&list, ",")))
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

/* ---- Looking up ---- */

static void add_group(struct user *u, gid_t gid)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == gid)
			return;
	if (u->n_groups < USER_GROUPS_MAX)
		u->groups[u->n_groups++] = gid;
}

static void set_home(struct user *u, const char *home)
{
	snprintf(u->home, sizeof(u->home), "%s", *home ? home : "/");
}

/*
 * Sets uid, gid and home; *ret_name is the name of the entry, in NAME, or empty. The home is that
 * of the uid's first entry, whoever was named: the runtime knows the number only.
 */
static int find_user(const char *word, struct user *u, char *name, size_t size, char *why)
{
	char *fields[PW_FIELDS], problem[USER_WHY_SIZE];
	uint32_t uid = 0, gid = 0, other;
	int number = *word ? parse_id(word, &uid) : 0;

	name[0] = '\0';
	set_home(u, "/");
	if (read_file("/etc/passwd", problem) < 0)
		return fail(why, "unable to find user %.64s: %.160s", word, problem);
	if (find_entry(number ? word : NULL, uid, fields, &uid, &gid)) {
		snprintf(name, size, "%s", fields[PW_NAME]);
		u->gid = gid;
		set_home(u, fields[PW_HOME]);
	} else if (number == -ERANGE) {
		return fail(why, "uids and gids must be in range 0-%d", INT32_MAX);
	} else if (number < 0) {
		return fail(why, "unable to find user %.160s: no matching entries in passwd file",
			    word);
	}
	u->uid = uid;
	if (number < 0 && read_file("/etc/passwd", problem) == 0 &&
	    find_entry(NULL, uid, fields, &uid, &other))
		set_home(u, fields[PW_HOME]);
	return 0;
}

static int find_group(const char *word, struct user *u, char *why)
{
	char *fields[GR_FIELDS], *at = text;
	uint32_t gid, wanted;
	int number = parse_id(word, &wanted);

	while (next_line(&at, fields, GR_FIELDS))
		if (parse_id(fields[GR_GID], &gid) == 0 &&
		    (number ? strcmp(fields[GR_NAME], word) == 0 : gid == wanted)) {
			u->gid = gid;
			return 0;
		}
	if (number == -ERANGE)
		return fail(why, "uids and gids must be in range 0-%d", INT32_MAX);
	if (number < 0)
		return fail(why, "unable to find group %.160s: no matching entries in group file",
			    word);
	u->gid = wanted;
	return 0;
}

static void find_memberships(const char *name, struct user *u)
{
	char *fields[GR_FIELDS], *at = text;
	uint32_t gid;

	while (next_line(&at, fields, GR_FIELDS))
		if (parse_id(fields[GR_GID], &gid) == 0 && is_listed(fields[GR_LIST], name))
			add_group(u, gid);
}

/* What the container was given beside our own group. */
static int keep_groups(struct user *u, char *why)
{
	static gid_t own[USER_GROUPS_MAX];
	int n = getgroups(USER_GROUPS_MAX, own);
	bool seen = false;

	if (n < 0)
		return fail(why, "cannot ask for the groups: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		if (own[i] != getegid() || seen)
			add_group(u, own[i]);
		seen |= own[i] == getegid();
	}
	return 0;
}

int user_find(const char *words, struct user *ret, char *why)
{
	const char *group = strchrnul(words, ':');
	char word[PATH_MAX], name[PATH_MAX];

	ret->uid = ret->gid = 0;
	ret->n_groups = 0;
	if (snprintf(word, sizeof(word), "%.*s", (int)(group - words), words) >= (int)sizeof(word))
		return fail(why, "unable to find user: the name is too long");
	if (find_user(word, ret, name, sizeof(name), why) < 0)
		return -1;
	group += *group == ':';
	if (*group || *name) {
		char problem[USER_WHY_SIZE];

		if (read_file("/etc/group", problem) < 0)
			return fail(why, "unable to find groups for %.64s: %.160s", words, problem);
		if (*group && find_group(group, ret, why) < 0)
			return -1;
	}
	add_group(ret, ret->gid);
	if (!*group && *name)
		find_memberships(name, ret);
	return keep_groups(ret, why);
}

/* ---- Becoming ---- */

/* In any order: the kernel sorts them. */
static bool has_groups(const struct user *u)
{
	static gid_t own[USER_GROUPS_MAX];
	int n = getgroups(USER_GROUPS_MAX, own);

	if (n < 0 || (size_t)n != u->n_groups)
		return false;
	for (int i = 0; i < n; i++) {
		size_t k = 0;

		while (k < u->n_groups && u->groups[k] != own[i])
			k++;
		if (k == u->n_groups)
			return false;
	}
	return true;
}

int user_become(const struct user *u, char *why)
{
	if (geteuid() != 0 && (u->uid != geteuid() || u->gid != getegid()))
		return fail(why,
			    "uid %u cannot become uid %u, gid %u: the guest does not run as root",
			    geteuid(), u->uid, u->gid);
	if (geteuid() != 0)
		return 0;
	/* Also a root without capabilities stays what it is. */
	if (!has_groups(u) && setgroups(u->n_groups, u->groups) < 0)
		return fail(why, "cannot take the groups of uid %u: %s (capability SETGID)", u->uid,
			    strerror(errno));
	if (setresgid(u->gid, u->gid, u->gid) < 0)
		return fail(why, "cannot become gid %u: %s (capability SETGID)", u->gid,
			    strerror(errno));
	if (setresuid(u->uid, u->uid, u->uid) < 0)
		return fail(why, "cannot become uid %u: %s (capability SETUID)", u->uid,
			    strerror(errno));
	return 0;
}
