/* Sessions on disk: one for callers at once, names, the quota, locks, and what others must not do. */
#include "store.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

static char root[64];
static struct store store;

static int create(const char *name, uint64_t max)
{
	cJSON *json = cJSON_Parse("{\"docker\": {}}");
	struct store_session from = {.uid = getuid(), .gid = getgid(), .json = json};
	struct err err = {""};
	int r = store_create(&store, name, &from, max, &err);

	CHECK(r >= 0 || *err.text);
	cJSON_Delete(json);
	return r;
}

static void names_are_plain(void)
{
	static const char *const bad[] = {"", ".", "..", ".x", "-x", "a/b", "../x", "a b", "a\nb", "\xc3\xa4"};
	char longest[STORE_NAME_MAX + 2];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK(!name_is_plain(bad[i]));
		CHECK_EQ(create(bad[i], 0), -EINVAL);
	}
	memset(longest, 'a', sizeof(longest));
	longest[STORE_NAME_MAX + 1] = '\0';
	CHECK(!name_is_plain(longest));
	longest[STORE_NAME_MAX] = '\0';
	CHECK(name_is_plain(longest));
}

static atomic_int made, refused;

static void *make_all(void *arg)
{
	char name[16];

	for (int i = 0; i < 20; i++) {
		int r;

		snprintf(name, sizeof(name), "s%d", i);
		r = create(name, 10);
		if (r > 0)
			atomic_fetch_add(&made, 1);
		else if (r < 0) {
			CHECK_EQ(r, -EDQUOT);
			atomic_fetch_add(&refused, 1);
		}
	}
	return NULL;
}

static void callers_at_once_make_one_and_keep_the_quota(void)
{
	pthread_t threads[16];

	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, make_all, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(atomic_load(&made), 10);
	CHECK_EQ(atomic_load(&refused), 160);
	CHECK_EQ(store_count(&store), 10);
}

static void a_link_in_place_of_a_session_is_not_followed(void)
{
	cJSON *json = NULL;

	CHECK_EQ(symlinkat("s0", store.fd, "link"), 0);
	CHECK(store_read(&store, "link", &json) < 0);
	CHECK(create("link", 0) < 0);
	CHECK_EQ(unlinkat(store.fd, "link", 0), 0);
}

static void who_holds_it_alone_is_alone(void)
{
	int shared = store_hold(NULL, &store, "s0", false), alone;

	CHECK(shared >= 0);
	CHECK_EQ(store_hold(NULL, &store, "s0", true), -EBUSY);
	alone = store_hold(NULL, &store, "s1", true);
	CHECK(alone >= 0);
	CHECK_EQ(store_hold(NULL, &store, "s1", false), -EBUSY);
	close(shared);
	close(alone);
	shared = store_hold(NULL, &store, "s0", true);
	CHECK(shared >= 0);
	close(shared);
}

static void what_is_forgotten_keeps_its_workspace(void)
{
	cJSON *json = NULL;
	char id[STORE_ID_SIZE];
	int fd;

	CHECK_EQ(store_read(&store, "s0", &json), 0);
	snprintf(id, sizeof(id), "%s",
		 cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id")));
	CHECK_EQ(store_write(&store, "s0", "another", json), -ESTALE);
	CHECK_EQ(store_forget(&store, "s0", "another"), -ENOENT);
	CHECK_EQ(store_destroy(NULL, &store, "s0"), -EBUSY);
	cJSON_Delete(json);
	fd = store_workspace(&store, "s0");
	CHECK(fd >= 0);
	CHECK_EQ(mkdirat(fd, "d", 0700), 0);
	CHECK_EQ(symlinkat("/etc", fd, "d/etc"), 0);
	close(fd);
	CHECK_EQ(store_forget(&store, "s0", id), 0);
	CHECK_EQ(store_workspace_empty(&store, "s0"), 0);
	CHECK_EQ(store_destroy(NULL, &store, "s0"), 0);
	CHECK_EQ(store_workspace(&store, "s0"), -ENOENT);
	CHECK_EQ(access("/etc/passwd", F_OK), 0);
}

static void a_volume_is_remembered_until_it_is_destroyed(void)
{
	cJSON *json = cJSON_Parse("{\"docker\": {}}");
	struct store_session from = {.uid = getuid(), .gid = getgid(), .volume = true, .json = json};
	char *engine = NULL, id[STORE_ID_SIZE];
	struct err err = {""};

	CHECK_EQ(store_create(&store, "v", &from, 0, &err), 1);
	cJSON_Delete(json);
	CHECK_EQ(store_workspace(&store, "v"), -ENOENT);
	CHECK_EQ(store_workspace_empty(&store, "v"), 1);
	CHECK_EQ(store_volume(&store, "v", &engine), -ENOENT);
	CHECK_EQ(store_keep_volume(&store, "v", "vol", NULL), 0);
	CHECK_EQ(store_volume(&store, "v", &engine), 0);
	CHECK(!engine);
	CHECK_EQ(store_keep_volume(&store, "v", "vol", "two"), 0);
	CHECK_EQ(store_workspace_empty(&store, "v"), 0);
	CHECK_EQ(store_read(&store, "v", &json), 0);
	snprintf(id, sizeof(id), "%s",
		 cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "id")));
	cJSON_Delete(json);
	CHECK_EQ(store_forget(&store, "v", id), 0);
	CHECK_EQ(store_volume(&store, "v", &engine), 0);
	CHECK_STR(engine, "two");
	free(engine);
	CHECK_EQ(store_destroy(NULL, &store, "v"), 0);
	CHECK_EQ(store_volume(&store, "v", &engine), -ENOENT);
	CHECK_EQ(store_keep_volume(&store, "v", "vol", "two"), -ENOENT);
}

static void activity_never_goes_back(void)
{
	int64_t now = store_touched(&store, "s1");

	store_touch(&store, "s1", now - 100);
	CHECK_EQ(store_touched(&store, "s1"), now);
	store_touch(&store, "s1", now + 100);
	CHECK_EQ(store_touched(&store, "s1"), now + 100);
}

static void the_last_daemon_knows_it(void)
{
	struct store other;
	struct err err;

	CHECK_EQ(store_open(root, &other, &err), 0);
	CHECK_STR(other.id, store.id);
	CHECK(!store_last(&store));
	store_close(&other);
	CHECK(store_last(&store));
}

int main(void)
{
	char command[128];
	struct err err = {""};

	strcpy(root, "/tmp/aib-test-store.XXXXXX");
	CHECK(mkdtemp(root));
	CHECK_EQ(store_open(root, &store, &err), 0);
	names_are_plain();
	callers_at_once_make_one_and_keep_the_quota();
	a_link_in_place_of_a_session_is_not_followed();
	who_holds_it_alone_is_alone();
	what_is_forgotten_keeps_its_workspace();
	a_volume_is_remembered_until_it_is_destroyed();
	activity_never_goes_back();
	the_last_daemon_knows_it();
	store_close(&store);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	CHECK_EQ(system(command), 0);
	return 0;
}
