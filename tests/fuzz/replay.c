/* Runs a target on each file that is named, and on those of directories. */
#include "fuzz.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_FILE (1 << 20)

static unsigned inputs;

__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	return 0;
}

static void run_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t *data = malloc(MAX_FILE);
	ssize_t n;

	CHECK(fd >= 0 && data);
	n = read(fd, data, MAX_FILE);
	CHECK(n >= 0 && n < MAX_FILE);
	close(fd);
	/* Exactly as long as it is, for a sanitizer to see what lies behind it. */
	data = realloc(data, n ? n : 1);
	CHECK(data);
	LLVMFuzzerTestOneInput(data, n);
	free(data);
	inputs++;
}

static void run(const char *path)
{
	char child[4096];
	struct dirent *e;
	struct stat st;
	DIR *dir;

	CHECK_EQ(stat(path, &st), 0);
	if (!S_ISDIR(st.st_mode)) {
		run_file(path);
		return;
	}
	dir = opendir(path);
	CHECK(dir);
	while ((e = readdir(dir))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, e->d_name);
		run(child);
	}
	closedir(dir);
}

int main(int argc, char **argv)
{
	LLVMFuzzerInitialize(&argc, &argv);
	for (int i = 1; i < argc; i++)
		run(argv[i]);
	CHECK(inputs > 0);
	return 0;
}
