/*
 * The runner: every test of every table in a fresh place, then a look at what it left behind:
 * the references on its directory and the open descriptors must be what they were.
 */
#include "suite.h"

#include <dirent.h>

static const struct suite_test *const tables[] = {
    names_tests, rename_tests,	attr_tests,   xattr_tests,  file_tests,
    dir_tests,	 wrapper_tests, thread_tests, random_tests,
};

static unsigned count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	CHECK(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void run(const struct contract_backend *backend, const struct suite_test *test,
		unsigned seed)
{
	const struct contract_traits *traits = &backend->traits;
	struct suite s = {
	    .traits = traits,
	    .seed = seed,
	    .steps = traits->steps ? traits->steps : 4000,
	    .many = traits->many ? traits->many : 20000,
	    .slow = traits->many && traits->many < 1000,
	};
	struct bk_req req;
	unsigned fds = count_fds(), refs;

	printf("%s: %s\n", backend->name, test->name);
	fflush(stdout);
	CHECK_EQ(backend->setup(&s.place), 0);
	s.dir = s.place.dir;
	refs = atomic_load(&s.dir->refs);
	bk_req_init(&req, getuid(), getgid(), getpid(), 0);
	s.req = &req;

	test->run(&s);

	bk_req_done(&req);
	CHECK_EQ(atomic_load(&s.dir->refs), refs);
	backend->teardown(&s.place);
	if (!traits->keeps_fds)
		CHECK_EQ(count_fds(), fds);
}

static bool wanted(const char *name, int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (strcmp(name, argv[i]) == 0)
			return true;
	return argc < 2;
}

int contract_main(int argc, char **argv, const struct contract_backend *backend)
{
	const char *seed = getenv("AIB_SEED");
	unsigned ran = 0;

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct suite_test *t = tables[i]; t->name; t++)
			if (wanted(t->name, argc, argv)) {
				run(backend, t, seed ? strtoul(seed, NULL, 0) : 1);
				ran++;
			}
	printf("%s: %u tests passed\n", backend->name, ran);
	return ran > 0 ? 0 : 1;
}
