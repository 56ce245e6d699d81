/*
 * A tree as text: a line for each name. Numbers that differ by nature (inodes) show as relations: a
 * hard link as the first name of its file, a time that is not of the past as changed or not.
 */
#include "differ.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

/* What is before this was set by a call; what is after it, by the clock. */
#define LONG_AGO 1577836800

struct seen {
	uint64_t ino;
	struct timespec m, c;
	char *first; /* name */
};

struct walk {
	FILE *out;
	const struct setup *setup;
	const struct snapshot *before;
	struct snapshot *now;
	bool content;
};

static struct seen *find(const struct snapshot *s, uint64_t ino)
{
	for (size_t i = 0; s && i < s->n_seen; i++)
		if (s->seen[i].ino == ino)
			return &s->seen[i];
	return NULL;
}

static void put_time(FILE *f, char what, struct timespec t, const struct timespec *before)
{
	if (t.tv_sec < LONG_AGO)
		fprintf(f, " %c=%lld.%09ld", what, (long long)t.tv_sec, t.tv_nsec);
	else if (before && before->tv_sec == t.tv_sec && before->tv_nsec == t.tv_nsec)
		fprintf(f, " %c=same", what);
	else
		fprintf(f, " %c=new", what);
}

static void put_content(FILE *f, int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NOATIME);
	static const char zeros[4096];
	char page[4096];
	uint64_t sum = 0;
	off_t at = 0;
	ssize_t n;

	if (fd < 0)
		return;
	while ((at = lseek(fd, at, SEEK_DATA)) >= 0) {
		at &= ~4095LL;
		n = pread(fd, page, sizeof(page), at);
		if (n <= 0)
			break;
		if (memcmp(page, zeros, n) != 0)
			sum = sum * 31 + (digest(page, n) ^ (uint64_t)at);
		at += 4096;
	}
	fprintf(f, " data=%016llx", (unsigned long long)sum);
	close(fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_xattrs(FILE *f, int dirfd, const char *name)
{
	char path[64 + 256], list[4096], value[4096], *names[64];
	ssize_t n;
	int count = 0;

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dirfd, name);
	n = llistxattr(path, list, sizeof(list));
	for (char *p = list; p < list + n && count < 64; p += strlen(p) + 1)
		names[count++] = p;
	qsort(names, count, sizeof(*names), by_name);
	for (int i = 0; i < count; i++) {
		n = lgetxattr(path, names[i], value, sizeof(value));
		fprintf(f, " %s=%zd:%llx", names[i], n,
			n < 0 ? 0 : (unsigned long long)digest(value, n));
	}
}

static void put_entry(struct walk *w, int dirfd, const char *name, const char *shown,
		      const struct dirent *e)
{
	FILE *f = w->out;
	char target[4200];
	struct seen *old, *link;
	struct stat st;
	ssize_t n;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		fprintf(f, "%s: lstat: %s\n", shown, strerror(errno));
		return;
	}
	old = find(w->before, st.st_ino);
	link = find(w->now, st.st_ino);
	fprintf(f, "%s %06o n=%ju %u:%u", shown, st.st_mode, (uintmax_t)st.st_nlink, st.st_uid,
		st.st_gid);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		fprintf(f, " dev=%jx", (uintmax_t)st.st_rdev);
	if (e && (e->d_ino != st.st_ino || e->d_type != IFTODT(st.st_mode)))
		fprintf(f, " LISTED d_ino=%ju st_ino=%ju d_type=%u", (uintmax_t)e->d_ino,
			(uintmax_t)st.st_ino, e->d_type);
	if (!S_ISDIR(st.st_mode))
		fprintf(f, " size=%lld", (long long)st.st_size);
	/* Of a FIFO the kernel tells FUSE nothing: its times do not move when it is written. */
	if (!S_ISFIFO(st.st_mode)) {
		put_time(f, 'm', st.st_mtim, old ? &old->m : NULL);
		put_time(f, 'c', st.st_ctim, old ? &old->c : NULL);
	}
	if (S_ISREG(st.st_mode) && st.st_atim.tv_sec < LONG_AGO && w->setup->times)
		put_time(f, 'a', st.st_atim, NULL);
	if (link && !S_ISDIR(st.st_mode))
		fprintf(f, " is %s", link->first);
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(dirfd, name, target, sizeof(target) - 1);
		fprintf(f, " -> %.*s", (int)(n < 0 ? 0 : n > 100 ? 100 : n), target);
	}
	put_xattrs(f, dirfd, name);
	if (w->content && S_ISREG(st.st_mode))
		put_content(f, dirfd, name);
	fputc('\n', f);
	if (!link) {
		w->now->seen = reallocarray(w->now->seen, w->now->n_seen + 1, sizeof(*old));
		w->now->seen[w->now->n_seen++] =
		    (struct seen){st.st_ino, st.st_mtim, st.st_ctim, strdup(shown)};
	}
}

static void escape(char *to, size_t size, const char *dir, const char *name)
{
	size_t n = snprintf(to, size, "%s/", dir);

	for (const char *p = name; *p && n + 8 < size; p++)
		n += snprintf(to + n, size - n, *p >= ' ' && *p < 127 ? "%c" : "\\%03o",
			      (unsigned char)*p);
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const struct dirent *)a)->d_name, ((const struct dirent *)b)->d_name);
}

static void walk_dir(struct walk *w, int fd, const char *shown)
{
	DIR *d = fdopendir(dup(fd));
	struct dirent *e, *all = NULL;
	size_t n = 0;
	char path[4096];

	if (!d)
		return;
	while ((e = readdir(d))) {
		all = reallocarray(all, n + 1, sizeof(*all));
		all[n++] = *e;
	}
	closedir(d);
	qsort(all, n, sizeof(*all), entry_order);
	for (size_t i = 0; i < n; i++) {
		int sub;

		if (strcmp(all[i].d_name, ".") == 0 || strcmp(all[i].d_name, "..") == 0)
			continue;
		escape(path, sizeof(path), shown, all[i].d_name);
		put_entry(w, fd, all[i].d_name, path, &all[i]);
		if (all[i].d_type != DT_DIR)
			continue;
		sub = openat(fd, all[i].d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0)
			continue;
		walk_dir(w, sub, path);
		close(sub);
	}
	free(all);
}

/* File systems tell time by the clock's ticks: what comes is to differ from what was seen. */
static void wait_for_tick(void)
{
	const struct timespec moment = {.tv_nsec = 200000};
	struct timespec begin, now;

	clock_gettime(CLOCK_REALTIME_COARSE, &begin);
	do {
		nanosleep(&moment, NULL);
		clock_gettime(CLOCK_REALTIME_COARSE, &now);
	} while (now.tv_sec == begin.tv_sec && now.tv_nsec == begin.tv_nsec);
}

void snapshot_take(const char *dir, const struct setup *setup, const struct snapshot *before,
		   bool content, struct snapshot *ret)
{
	struct walk w = {.setup = setup, .before = before, .now = ret, .content = content};
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	*ret = (struct snapshot){NULL};
	w.out = open_memstream(&ret->text, &ret->size);
	put_entry(&w, fd, ".", ".", NULL);
	walk_dir(&w, fd, ".");
	fclose(w.out);
	close(fd);
	wait_for_tick();
}

void snapshot_done(struct snapshot *s)
{
	for (size_t i = 0; i < s->n_seen; i++)
		free(s->seen[i].first);
	free(s->seen);
	free(s->text);
	*s = (struct snapshot){NULL};
}
