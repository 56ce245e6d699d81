/* Go's file modes, times, and base64, as engines write them. */
#include "docker/engine/base64.h"
#include "docker/engine/gofile.h"
#include "test.h"

#include <errno.h>
#include <sys/stat.h>

static void a_go_mode_is_a_linux_mode(void)
{
	static const struct {
		uint32_t go;
		mode_t mode;
	} table[] = {
	    {0644, S_IFREG | 0644},
	    {1U << 31 | 0755, S_IFDIR | 0755},
	    {1U << 31 | 1U << 20 | 0777, S_IFDIR | 01777},
	    {1U << 27 | 0777, S_IFLNK | 0777},
	    {1U << 26 | 0660, S_IFBLK | 0660},
	    {1U << 26 | 1U << 21 | 0666, S_IFCHR | 0666},
	    {1U << 25 | 0600, S_IFIFO | 0600},
	    {1U << 24 | 0755, S_IFSOCK | 0755},
	    {1U << 23 | 0755, S_IFREG | 04755},
	    {1U << 22 | 0755, S_IFREG | 02755},
	};
	mode_t mode;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		CHECK_EQ(go_mode(table[i].go, &mode), 0);
		CHECK_EQ(mode, table[i].mode);
	}
	CHECK_EQ(go_mode(1U << 19, &mode), -EINVAL);
	CHECK_EQ(go_mode(1U << 31 | 1U << 27, &mode), -EINVAL);
	CHECK_EQ(go_mode(1U << 21, &mode), -EINVAL);
}

static void a_time_has_its_nanoseconds_and_zone(void)
{
	static const char *const wrong[] = {
	    "",
	    "2023",
	    "2023-11-14T22:13:20",
	    "2023-11-14T22:13:20.5",
	    "2023-13-14T22:13:20Z",
	    "2023-11-14T22:13:20Zx",
	    "2023-11-14T22:13:20+1:00",
	    "2023-11-14 22:13:20Z",
	};
	struct timespec t;

	CHECK_EQ(go_time("2023-11-14T22:13:20Z", &t), 0);
	CHECK(t.tv_sec == 1700000000 && t.tv_nsec == 0);
	CHECK_EQ(go_time("2023-11-14T22:13:20.123456789Z", &t), 0);
	CHECK(t.tv_sec == 1700000000 && t.tv_nsec == 123456789);
	CHECK_EQ(go_time("2023-11-14T23:43:20.5+01:30", &t), 0);
	CHECK(t.tv_sec == 1700000000 && t.tv_nsec == 500000000);
	CHECK_EQ(go_time("2023-11-14T20:13:20.000000001-02:00", &t), 0);
	CHECK(t.tv_sec == 1700000000 && t.tv_nsec == 1);
	CHECK_EQ(go_time("0001-01-01T00:00:00Z", &t), 0);
	CHECK(t.tv_sec < 0);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		CHECK_EQ(go_time(wrong[i], &t), -EINVAL);
}

static void base64_goes_both_ways(void)
{
	char text[40] = "", *coded, *back;

	for (int i = 0; i < 39; i++) {
		coded = base64_encode_url(text);
		back = base64_decode(coded);
		CHECK_STR(back, text);
		free(coded);
		free(back);
		text[i] = 0xc0 + i;
	}
	back = base64_decode("aGk/Pz4+");
	CHECK_STR(back, "hi?" "?>>");
	free(back);
	CHECK(!base64_decode("aG k"));
	CHECK(!base64_decode("AAAA")); /* bytes of value 0 */
	CHECK(!base64_decode("a\x80zz"));
}

int main(void)
{
	a_go_mode_is_a_linux_mode();
	a_time_has_its_nanoseconds_and_zone();
	base64_goes_both_ways();
	return 0;
}
