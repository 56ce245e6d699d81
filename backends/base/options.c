#include "options.h"

#include "units.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

static const char *const expected[] = {
    [OPTION_STRING] = "a string",
    [OPTION_BOOL] = "true or false",
    [OPTION_UINT] = "a whole number",
    [OPTION_SIZE] = "a size such as 512M or 2G",
    [OPTION_DURATION] = "a duration such as 500ms, 30s or 1h",
    [OPTION_DOUBLE] = "a number",
    [OPTION_JSON] = "a value",
};

static int set_string(char **field, const cJSON *v, const char *choices)
{
	char *copy;

	if (!cJSON_IsString(v))
		return -EINVAL;
	if (choices) {
		size_t n = strlen(v->valuestring);
		const char *c = choices;

		while (c && (strncmp(c, v->valuestring, n) != 0 || (c[n] != '|' && c[n] != '\0'))) {
			c = strchr(c, '|');
			c = c ? c + 1 : NULL;
		}
		if (!c || n == 0)
			return -EINVAL;
	}
	copy = strdup(v->valuestring);
	if (!copy)
		return -ENOMEM;
	free(*field);
	*field = copy;
	return 0;
}

static int set_bool(bool *field, const cJSON *v)
{
	static const char *const yes[] = {"", "true", "yes", "on", "1"};
	static const char *const no[] = {"false", "no", "off", "0"};

	if (cJSON_IsBool(v)) {
		*field = cJSON_IsTrue(v);
		return 0;
	}
	if (!cJSON_IsString(v))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(yes); i++)
		if (strcmp(v->valuestring, yes[i]) == 0) {
			*field = true;
			return 0;
		}
	for (size_t i = 0; i < ARRAY_SIZE(no); i++)
		if (strcmp(v->valuestring, no[i]) == 0) {
			*field = false;
			return 0;
		}
	return -EINVAL;
}

static int set_number(uint64_t *field, const cJSON *v, enum option_type type)
{
	char text[32];

	if (cJSON_IsNumber(v)) {
		if (v->valuedouble < 0 || v->valuedouble > 9e15)
			return -EINVAL;
		if (type == OPTION_UINT && v->valuedouble != floor(v->valuedouble))
			return -EINVAL;
		snprintf(text, sizeof(text), "%.17g", v->valuedouble);
	} else if (cJSON_IsString(v) && strlen(v->valuestring) < sizeof(text)) {
		strcpy(text, v->valuestring);
	} else {
		return -EINVAL;
	}
	if (type == OPTION_DURATION)
		return option_duration(text, field);
	if (type == OPTION_UINT && strspn(text, "0123456789") != strlen(text))
		return -EINVAL;
	return option_size(text, field);
}

static int set_double(double *field, const cJSON *v)
{
	char *end;
	double d;

	if (cJSON_IsNumber(v)) {
		d = v->valuedouble;
	} else if (cJSON_IsString(v) && *v->valuestring) {
		d = strtod(v->valuestring, &end);
		if (*end)
			return -EINVAL;
	} else {
		return -EINVAL;
	}
	if (!isfinite(d) || d < 0)
		return -EINVAL;
	*field = d;
	return 0;
}

static int set_json(cJSON **field, const cJSON *v)
{
	cJSON *copy = cJSON_Duplicate(v, true);

	if (!copy)
		return -ENOMEM;
	cJSON_Delete(*field);
	*field = copy;
	return 0;
}

static int set_value(const struct option *o, const cJSON *v, void *field)
{
	switch (o->type) {
	case OPTION_STRING:
		return set_string(field, v, o->choices);
	case OPTION_BOOL:
		return set_bool(field, v);
	case OPTION_UINT:
	case OPTION_SIZE:
	case OPTION_DURATION:
		return set_number(field, v, o->type);
	case OPTION_DOUBLE:
		return set_double(field, v);
	case OPTION_JSON:
		return set_json(field, v);
	}
	return -EINVAL;
}

int options_parse(const struct option *table, const cJSON *obj, void *conf, struct err *err)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, obj) {
		const struct option *o = table;
		int r;

		while (o->key && strcmp(o->key, v->string) != 0)
			o++;
		if (!o->key)
			return err_set(err, -EINVAL, "unknown key \"%s\"", v->string);
		r = set_value(o, v, (char *)conf + o->offset);
		if (r == -EINVAL)
			return err_set(err, r, "\"%s\" must be %s", o->key,
				       o->choices ? o->choices : expected[o->type]);
		if (r < 0)
			return r;
	}
	return 0;
}

void options_free(const struct option *table, void *conf)
{
	for (const struct option *o = table; o->key; o++) {
		void *field = (char *)conf + o->offset;

		if (o->type == OPTION_STRING) {
			free(*(char **)field);
			*(char **)field = NULL;
		} else if (o->type == OPTION_JSON) {
			cJSON_Delete(*(cJSON **)field);
			*(cJSON **)field = NULL;
		}
	}
}
