/* Names are enough where the kernel was lately given the whole listing, and nothing has changed
 * since. */
#include "listed.h"
#include "test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOLD_MS 60000

static struct listed *l;
static const struct listed_state state = {.mtime = {100, 5}, .recalls = 3, .nodes = 50};

/* Directory NUMBER from its beginning to its end, in two answers. Whether names were enough. */
static bool list(uint64_t number, const struct listed_state *s, uint32_t hold_ms)
{
	struct listed_handle h = {.names = false};
	bool names;

	listed_begin(l, &h, number, s, hold_ms);
	names = listed_names(l, &h, 0);
	listed_told(l, &h, 7, false, s->nodes);
	CHECK_EQ(listed_names(l, &h, 7), names);
	listed_told(l, &h, 9, true, s->nodes);
	return names;
}

static void a_second_listing_needs_no_attributes(void)
{
	CHECK(!list(1, &state, HOLD_MS));
	CHECK(list(1, &state, HOLD_MS));
	CHECK(list(1, &state, HOLD_MS));
	CHECK(!list(2, &state, HOLD_MS));
}

static void changes_need_them_again(void)
{
	struct listed_state other = state;

	CHECK(!list(10, &state, HOLD_MS));
	other.mtime.tv_nsec++;
	CHECK(!list(10, &other, HOLD_MS));
	CHECK(list(10, &other, HOLD_MS));
	other.recalls++;
	CHECK(!list(10, &other, HOLD_MS));
	other.nodes--;
	CHECK(!list(10, &other, HOLD_MS));
	other.nodes += 2;
	CHECK(list(10, &other, HOLD_MS));
}

static void what_may_not_be_held_is_given_each_time(void)
{
	CHECK(!list(20, &state, 0));
	CHECK(!list(20, &state, 0));
}

static void what_the_kernel_has_of_a_listing_is_used_as_long(void)
{
	struct listed_state other = state;

	CHECK(!listed_lately(l, 25, &state, HOLD_MS));
	CHECK(!list(25, &state, HOLD_MS));
	CHECK(listed_lately(l, 25, &state, HOLD_MS));
	other.mtime.tv_nsec++;
	CHECK(!listed_lately(l, 25, &other, HOLD_MS));
	CHECK(!listed_lately(l, 25, &state, 0));
	usleep(900000); /* over seven eighths of what counts at most, a second */
	CHECK(!listed_lately(l, 25, &state, HOLD_MS));
}

static void only_a_listing_that_was_read_through_counts(void)
{
	struct listed_handle h = {.names = false};

	listed_begin(l, &h, 30, &state, HOLD_MS);
	listed_told(l, &h, 7, false, 50);
	CHECK(!list(30, &state, HOLD_MS));

	listed_begin(l, &h, 31, &state, HOLD_MS);
	listed_told(l, &h, 7, false, 50);
	CHECK(!listed_names(l, &h, 8)); /* something between was passed over */
	listed_told(l, &h, 9, true, 50);
	CHECK(!list(31, &state, HOLD_MS));
}

/* In any kind of tree: numbers one after the other, or some files apart. */
static void few_directories_of_a_tree_share_a_place(void)
{
	const uint64_t n = (1 << LISTED_SET_BITS) * LISTED_WAYS / 4;

	for (uint64_t apart = 1; apart < 64; apart++) {
		uint64_t lost = 0;

		memset(l->sets, 0, sizeof(l->sets));
		for (uint64_t i = 0; i < n; i++)
			CHECK(!list(50 + i * apart, &state, HOLD_MS));
		for (uint64_t i = 0; i < n; i++)
			lost += !listed_lately(l, 50 + i * apart, &state, HOLD_MS);
		CHECK(lost <= n / 16);
	}
}

static void the_latest_take_the_places_of_the_oldest(void)
{
	const uint64_t n = (1 << LISTED_SET_BITS) * LISTED_WAYS * 4;

	memset(l->sets, 0, sizeof(l->sets));
	CHECK(!list(40, &state, HOLD_MS));
	for (uint64_t i = 0; i < n; i++)
		CHECK(!list(1000 + i, &state, HOLD_MS));
	CHECK(list(1000 + n - 1, &state, HOLD_MS));
	CHECK(!list(40, &state, HOLD_MS));
}

int main(void)
{
	l = calloc(1, sizeof(*l));
	CHECK(l);
	listed_init(l);
	a_second_listing_needs_no_attributes();
	changes_need_them_again();
	what_may_not_be_held_is_given_each_time();
	what_the_kernel_has_of_a_listing_is_used_as_long();
	only_a_listing_that_was_read_through_counts();
	few_directories_of_a_tree_share_a_place();
	the_latest_take_the_places_of_the_oldest();
	listed_done(l);
	free(l);
	return 0;
}
