/*
 * flat_post.c
 *		Posts of networks in the flat form.
 */
#include "postgres.h"

#include "common/hashfn.h"

#include "compat.h"
#include "flat_post.h"

/* ---- reading */

bool
evn_flat_open(EvnJsonScan *scan, EvnText message)
{
	EvnJsonValue value;

	return evn_json_scan_open(scan, message.data, message.len, &value) &&
		   value.type == EVN_JSON_OBJECT;
}

static int
find_name(EvnText name, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (strlen(names[i]) == name.len && memcmp(names[i], name.data, name.len) == 0)
			return i;
	return -1;
}

void
evn_flat_pick(EvnJsonScan *scan, EvnArena *arena, const char *const *names, int n,
			  EvnJsonValue *values)
{
	EvnJsonString name;
	EvnJsonValue  value;

	memset(values, 0, sizeof(EvnJsonValue) * n);
	while (evn_json_scan_field(scan, &name, &value))
	{
		int i = find_name(evn_json_scan_text(scan, arena, &name), names, n);

		value.text.raw = evn_json_scan_skip(scan, &value);
		if (i >= 0)
			values[i] = value;
	}
}

void
evn_flat_pick_in(EvnJsonScan *scan, EvnArena *arena, const EvnJsonValue *object,
				 const char *const *names, int n, EvnJsonValue *values)
{
	EvnJsonValue value;

	memset(values, 0, sizeof(EvnJsonValue) * n);
	if (object->type == EVN_JSON_OBJECT && scan->error == EVN_DECODE_OK &&
		evn_json_scan_reopen(scan, object->text.raw, &value))
		evn_flat_pick(scan, arena, names, n, values);
}

EvnText
evn_flat_text_of(EvnJsonScan *scan, EvnArena *arena, const EvnJsonValue *value)
{
	if (value->type != EVN_JSON_STRING)
		return (EvnText) {NULL, 0};
	return evn_json_scan_text(scan, arena, &value->text);
}

int64
evn_flat_digits(const EvnJsonValue *value)
{
	EvnText text = value->text.raw;
	uint64	id = 0;

	if ((value->type != EVN_JSON_STRING && value->type != EVN_JSON_NUMBER) || text.len > 19)
		return 0;
	for (int i = 0; i < text.len; i++)
	{
		if (text.data[i] < '0' || text.data[i] > '9')
			return 0;
		id = id * 10 + text.data[i] - '0';
	}
	return id > PG_INT64_MAX ? 0 : (int64) id;
}

int64
evn_flat_hash(const char *name, size_t len)
{
	int64 hash =
		(int64) (hash_bytes_extended((const unsigned char *) name, (int) len, 0) & PG_INT64_MAX);

	return hash == 0 ? 1 : hash;
}

/* ---- writing */

void
evn_flat_begin(StringInfo flat)
{
	resetStringInfo(flat);
	appendStringInfoChar(flat, '{');
}

static void
add_name(StringInfo flat, const char *name)
{
	if (flat->data[flat->len - 1] != '{')
		appendStringInfoChar(flat, ',');
	appendStringInfo(flat, "\"%s\":", name);
}

void
evn_flat_add_element(StringInfo flat, const EvnJsonValue *value)
{
	static const char *const words[] = {
		[EVN_JSON_NULL] = "null", [EVN_JSON_FALSE] = "false", [EVN_JSON_TRUE] = "true"};
	bool quoted = value->type == EVN_JSON_STRING;

	if (flat->data[flat->len - 1] != '[' && flat->data[flat->len - 1] != ':')
		appendStringInfoChar(flat, ',');
	if (value->type <= EVN_JSON_TRUE)
	{
		appendStringInfoString(flat, words[value->type]);
		return;
	}
	if (quoted)
		appendStringInfoChar(flat, '"');
	appendBinaryStringInfo(flat, value->text.raw.data, value->text.raw.len);
	if (quoted)
		appendStringInfoChar(flat, '"');
}

void
evn_flat_add(StringInfo flat, const char *name, const EvnJsonValue *value)
{
	add_name(flat, name);
	evn_flat_add_element(flat, value);
}

/* From s on, what needs no escape. */
static const char *
plain_end(const char *s, const char *end)
{
	while (s < end && (unsigned char) *s >= ' ' && *s != '"' && *s != '\\')
		s++;
	return s;
}

void
evn_flat_add_text(StringInfo flat, const char *name, EvnText text)
{
	const char *s = text.data;
	const char *end = s + text.len;

	add_name(flat, name);
	appendStringInfoChar(flat, '"');
	for (;;)
	{
		const char *stop = plain_end(s, end);

		appendBinaryStringInfo(flat, s, (int) (stop - s));
		if (stop == end)
			break;
		if (*stop == '"' || *stop == '\\')
			appendStringInfo(flat, "\\%c", *stop);
		else
			appendStringInfo(flat, "\\u%04x", (unsigned char) *stop);
		s = stop + 1;
	}
	appendStringInfoChar(flat, '"');
}

void
evn_flat_add_number(StringInfo flat, const char *name, int64 number)
{
	add_name(flat, name);
	appendStringInfo(flat, INT64_FORMAT, number);
}

void
evn_flat_end(StringInfo flat)
{
	appendStringInfoChar(flat, '}');
}

void
evn_flat_delete(StringInfo flat, int64 id)
{
	resetStringInfo(flat);
	appendStringInfo(flat, "{\"delete\":{\"status\":{\"id\":" INT64_FORMAT "}}}", id);
}

EvnFeedMessage
evn_flat_message(EvnText text, int64 id)
{
	return (EvnFeedMessage) {.data = text.data,
							 .len = Min(text.len, EVN_FEED_MAX_MESSAGE),
							 .too_long = text.len > EVN_FEED_MAX_MESSAGE,
							 .id = id};
}
