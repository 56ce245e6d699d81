/* The little JSON of aib-exec, held against the library that reads and writes the other ends. */
#include "json.h"

#include "test.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

static const char *const strings[] = {
    "",
    "plain",
    "a \"b\" \\ c/",
    "\n\t\r\b\f\x01\x1f\x7f",
    "\xc3\xa9\xe2\x82\xac",
    "\xff\x80 bytes",
};

static void what_is_written_is_read_by_the_library(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		_cleanup_buf_ struct buf b = BUF_INIT(1000);
		cJSON *v;

		CHECK_EQ(json_add_string(&b, strings[i]), 0);
		v = cJSON_Parse(b.data);
		CHECK(cJSON_IsString(v));
		CHECK_STR(v->valuestring, strings[i]);
		cJSON_Delete(v);
	}
}

static void a_full_buffer_is_an_error(void)
{
	static const char whole[] = "\"a\\u000ab\\\\c\"";

	for (size_t cap = 0; cap < sizeof(whole) - 1; cap++) {
		_cleanup_buf_ struct buf b = BUF_INIT(cap);

		CHECK_EQ(json_add_string(&b, "a\nb\\c"), -E2BIG);
	}
}

static void what_the_library_writes_is_read(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
		cJSON *o = cJSON_CreateObject();
		char *text, *value;
		long long n;

		cJSON_AddStringToObject(o, "before", "x\"}");
		cJSON_AddTrueToObject(o, "yes");
		cJSON_AddStringToObject(o, "key", strings[i]);
		cJSON_AddNumberToObject(o, "n", 4294967294.0);
		for (int formatted = 0; formatted < 2; formatted++) {
			text = formatted ? cJSON_Print(o) : cJSON_PrintUnformatted(o);
			CHECK_EQ(json_get_string(text, "key", &value), 0);
			CHECK_STR(value, strings[i]);
			free(value);
			CHECK_EQ(json_get_number(text, "n", &n), 0);
			CHECK_EQ(n, 4294967294);
			CHECK_EQ(json_get_string(text, "n", &value), -ENOENT);
			CHECK_EQ(json_get_number(text, "key", &n), -ENOENT);
			CHECK_EQ(json_get_string(text, "none", &value), -ENOENT);
			free(text);
		}
		cJSON_Delete(o);
	}
}

static void what_is_no_flat_object_is_refused(void)
{
	static const char *const bad[] = {
	    "",
	    "[]",
	    "{",
	    "{\"a\"",
	    "{\"a\":",
	    "{\"a\":\"",
	    "{\"a\":\"\\",
	    "{\"a\":\"\\u00",
	    "{\"a\":\"\\ud800\",",
	    "{\"a\":\"\\x\",",
	    "{a:1}",
	    "{\"a\" 1}",
	    "{\"a\":1",
	};
	char *value;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_EQ(json_get_string(bad[i], "key", &value), -EINVAL);
}

static void random_text_never_crashes_it(void)
{
	static const char letters[] = "{}[]\":,\\u0 key1a";
	char text[64], *value;
	long long n;

	srand(1);
	for (int i = 0; i < 200000; i++) {
		size_t len = rand() % (sizeof(text) - 1);

		for (size_t k = 0; k < len; k++)
			text[k] = letters[rand() % (sizeof(letters) - 1)];
		text[len] = '\0';
		text[0] = '{';
		if (json_get_string(text, "key", &value) == 0)
			free(value);
		(void)json_get_number(text, "k", &n);
	}
}

int main(void)
{
	what_is_written_is_read_by_the_library();
	a_full_buffer_is_an_error();
	what_the_library_writes_is_read();
	what_is_no_flat_object_is_refused();
	random_text_never_crashes_it();
	return 0;
}
