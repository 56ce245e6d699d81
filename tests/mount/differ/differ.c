/*
 * differ [--seed N] [--seconds S] [--steps N] [--no-shrink] [--no-WHAT]… NATIVE MOUNT
 *
 * Make the same random system calls below both directories until S seconds are over, and compare
 * what each answers and what can be seen of the trees between. On a difference, print the
 * shortest sequence that was found to show it, and return 1. Both directories are left empty.
 */
#include "differ.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <getopt.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const struct actor actors[ACTORS] = {
    {0, 0, {0}, 0},	  {1001, 1001, {2000}, 1}, {1002, 1002, {2000, 1001}, 2},
    {1003, 1001, {0}, 0}, {1001, 2000, {1002}, 1},
};

struct side {
	char dir[4096];
	int fds[ACTORS];
	pid_t pids[ACTORS];
	struct snapshot before, now;
};

/* A sequence, and how it is looked at. */
struct sequence {
	struct op ops[MAX_STEPS];
	int n;
	int look; /* at the trees after each so many calls */
	mode_t top;
};

struct difference {
	int step;
	char what[2][16384];
};

static struct setup setup = {true, true, false, true, true, true};
static const char *tops[2];

/* ---- Processes ---- */

static void start(struct side *side, unsigned who)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		err(2, "socketpair");
	side->pids[who] = fork();
	if (side->pids[who] < 0)
		err(2, "fork");
	if (side->pids[who] == 0)
		act(pair[1], who, side->dir, &setup);
	close(pair[1]);
	side->fds[who] = pair[0];
}

static void stop(struct side *side)
{
	for (int i = 0; i < ACTORS; i++) {
		if (side->pids[i] == 0)
			continue;
		close(side->fds[i]);
		kill(side->pids[i], SIGKILL); /* it waits for calls; others have its socket too */
		waitpid(side->pids[i], NULL, 0);
		side->pids[i] = 0;
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	return remove(path);
}

static void prepare(struct side *side, const char *top, const struct sequence *seq)
{
	*side = (struct side){0};
	snprintf(side->dir, sizeof(side->dir), "%s/case", top);
	if (mkdir(side->dir, 0700) < 0 || chmod(side->dir, seq->top) < 0)
		err(2, "%s", side->dir);
}

static void finish(struct side *side)
{
	stop(side);
	snapshot_done(&side->before);
	snapshot_done(&side->now);
	if (nftw(side->dir, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0)
		err(2, "cannot empty %s", side->dir);
}

/* ---- Comparing ---- */

static void send_op(struct side *side, const struct op *op)
{
	if (side->pids[op->actor] == 0)
		start(side, op->actor);
	if (write(side->fds[op->actor], op, sizeof(*op)) != sizeof(*op))
		err(2, "an actor has gone");
}

static void receive(struct side *side, const struct op *op, char *out)
{
	if (read(side->fds[op->actor], out, OUT_SIZE) != OUT_SIZE)
		errx(2, "an actor has gone in %s", side->dir);
}

/* The lines that only one of the two has. */
static void add_lines(const char *text, const char *other, char *out, size_t size)
{
	for (const char *line = text; *line;) {
		const char *end = strchrnul(line, '\n');
		size_t n = end - line, have = strlen(out);
		const char *same = other;

		while ((same = memmem(same, strlen(same), line, n)) &&
		       !((same == other || same[-1] == '\n') && (same[n] == '\n' || !same[n])))
			same++;
		if (!same && have + n + 2 < size)
			snprintf(out + have, size - have, "%.*s\n", (int)n, line);
		line = *end ? end + 1 : end;
	}
}

static bool trees_differ(struct side *sides, bool content, struct difference *d)
{
	for (int i = 0; i < 2; i++) {
		snapshot_done(&sides[i].before);
		sides[i].before = sides[i].now;
		snapshot_take(sides[i].dir, &setup, &sides[i].before, content, &sides[i].now);
	}
	if (strcmp(sides[0].now.text, sides[1].now.text) == 0)
		return false;
	add_lines(sides[0].now.text, sides[1].now.text, d->what[0], sizeof(d->what[0]));
	add_lines(sides[1].now.text, sides[0].now.text, d->what[1], sizeof(d->what[1]));
	return true;
}

static bool answers_differ(struct side *sides, const struct op *op, struct difference *d)
{
	send_op(&sides[0], op);
	send_op(&sides[1], op);
	receive(&sides[0], op, d->what[0]);
	receive(&sides[1], op, d->what[1]);
	if (strcmp(d->what[0], d->what[1]) != 0)
		return true;
	d->what[0][0] = d->what[1][0] = '\0';
	return false;
}

static bool run(const struct sequence *seq, struct difference *d)
{
	static struct side sides[2];
	bool differ = false;

	*d = (struct difference){0};
	for (int i = 0; i < 2; i++)
		prepare(&sides[i], tops[i], seq);
	(void)trees_differ(sides, false, d);
	for (int i = 0; i < seq->n && !differ; i++) {
		d->step = i;
		differ = answers_differ(sides, &seq->ops[i], d);
		if (!differ && (i % seq->look == seq->look - 1 || i == seq->n - 1))
			differ = trees_differ(
			    sides, i % (4 * seq->look) == seq->look - 1 || i == seq->n - 1, d);
	}
	for (int i = 0; i < 2; i++)
		finish(&sides[i]);
	return differ;
}

/* Times have the clock's grain, so that one difference alone may be none. */
static bool run_twice(const struct sequence *seq, struct difference *d)
{
	return run(seq, d) && run(seq, d);
}

/* ---- Shrinking ---- */

static struct sequence without(const struct sequence *seq, int at, int n)
{
	struct sequence less = *seq;

	if (n > less.n - at)
		n = less.n - at;
	memmove(&less.ops[at], &less.ops[at + n], (less.n - at - n) * sizeof(struct op));
	less.n -= n;
	return less;
}

static void shrink(struct sequence *seq, struct difference *d)
{
	struct difference found;

	seq->n = d->step + 1;
	for (int size = seq->n / 2; size > 0; size = size > 1 ? (size + 1) / 2 : 0)
		for (int at = 0; at < seq->n;) {
			struct sequence less = without(seq, at, size);

			if (less.n > 0 && run_twice(&less, &found)) {
				*seq = less;
				seq->n = found.step + 1;
				*d = found;
			} else {
				at += size;
			}
		}
}

static void report(uint64_t seed, const struct sequence *seq, const struct difference *d)
{
	printf("seed %llu, directory %04o, a look each %d calls:\n", (unsigned long long)seed,
	       seq->top, seq->look);
	for (int i = 0; i < seq->n; i++) {
		printf("%3d ", i);
		op_print(stdout, &seq->ops[i]);
		putchar('\n');
	}
	printf("native: %s\nmount:  %s\n", d->what[0], d->what[1]);
	fflush(stdout);
}

/* ---- Main ---- */

static void make_sequence(uint64_t seed, int steps, struct sequence *ret)
{
	static const int looks[] = {1, 1, 1, 7, MAX_STEPS};
	static const mode_t modes[] = {0777, 0777, 01777, 02777, 03777, 0755};
	uint64_t state = seed;

	ret->n = steps;
	ret->look = looks[random_next(&state) % 5];
	ret->top = modes[random_next(&state) % 6];
	for (int i = 0; i < steps; i++) {
		op_make(&state, &setup, &ret->ops[i]);
		if (!setup.users)
			ret->ops[i].actor %= 2;
	}
}

/* What a mount is by nature, nosuid and nodev, the native side is to be as well. */
static void restrict_native(const char *dir)
{
	if (geteuid() != 0)
		return;
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount(dir, dir, NULL, MS_BIND, NULL) < 0 ||
	    mount(NULL, dir, NULL, MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV, NULL) < 0)
		err(2, "cannot mount %s over itself", dir);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
	    {"seed", 1, NULL, 's'},	 {"seconds", 1, NULL, 't'},   {"steps", 1, NULL, 'n'},
	    {"no-users", 0, NULL, 'u'},	 {"no-xattrs", 0, NULL, 'x'}, {"times", 0, NULL, 'a'},
	    {"no-direct", 0, NULL, 'd'}, {"no-suid", 0, NULL, 'g'},   {"no-holes", 0, NULL, 'h'},
	    {"no-shrink", 0, NULL, 'k'}, {NULL, 0, NULL, 0}};
	static struct sequence seq;
	static struct difference d;
	uint64_t seed = time(NULL), calls = 0, once = 0;
	double seconds = 10, end;
	int steps = 200, c;
	bool keep = false;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 't':
			seconds = atof(optarg);
			break;
		case 'n':
			steps = atoi(optarg);
			break;
		case 'u':
			setup.users = false;
			break;
		case 'x':
			setup.xattrs = false;
			break;
		case 'a':
			setup.times = true;
			break;
		case 'd':
			setup.direct = false;
			break;
		case 'g':
			setup.suid = false;
			break;
		case 'h':
			setup.holes = false;
			break;
		case 'k':
			keep = true;
			break;
		default:
			return 2;
		}
	}
	if (argc - optind != 2 || steps < 1 || steps > MAX_STEPS)
		errx(2, "usage: differ [OPTION]… NATIVE MOUNT");
	tops[0] = argv[optind];
	tops[1] = argv[optind + 1];
	umask(0);
	restrict_native(tops[0]);
	for (end = now() + seconds; now() < end; seed++, calls += steps) {
		make_sequence(seed, steps, &seq);
		if (!run(&seq, &d))
			continue;
		if (!run_twice(&seq, &d)) {
			once++;
			continue;
		}
		if (!keep)
			shrink(&seq, &d);
		report(seed, &seq, &d);
		return 1;
	}
	printf("%llu calls, up to seed %llu; %llu differences came only once\n",
	       (unsigned long long)calls, (unsigned long long)seed - 1, (unsigned long long)once);
	return 0;
}
