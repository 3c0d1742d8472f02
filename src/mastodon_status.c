/*
 * mastodon_status.c
 *		What Mastodon calls a status, as a flat post.
 */
#include "postgres.h"

#include "compat.h"
#include "html_text.h"
#include "mastodon_status.h"

enum
{
	ID,
	CREATED_AT,
	ACCOUNT,
	LANGUAGE,
	CONTENT,
	REBLOG,
	REPLIED_TO,
	TAGS,
	NFIELDS
};

static const char *const names[NFIELDS] = {[ID] = "id",
										   [CREATED_AT] = "created_at",
										   [ACCOUNT] = "account",
										   [LANGUAGE] = "language",
										   [CONTENT] = "content",
										   [REBLOG] = "reblog",
										   [REPLIED_TO] = "in_reply_to_id",
										   [TAGS] = "tags"};

/* Content is HTML; something else is for the stream to judge. */
static void
add_content(EvnJsonScan *scan, EvnArena *arena, StringInfo flat, const EvnJsonValue *content)
{
	EvnText html = evn_flat_text_of(scan, arena, content);
	EvnText text = {.len = 0};
	char   *out;

	if (html.data == NULL)
	{
		evn_flat_add(flat, "text", content);
		return;
	}
	out = evn_arena_alloc(arena, html.len);
	if (out == NULL)
	{
		(void) evn_json_scan_fail(scan, EVN_DECODE_NO_MEMORY);
		return;
	}
	text.len = (int32) evn_html_text(html.data, html.len, out);
	text.data = out;
	evn_flat_add_text(flat, "text", text);
}

static void
add_tags(EvnJsonScan *scan, EvnArena *arena, StringInfo flat, const EvnJsonValue *tags)
{
	static const char *const name[] = {"name"};
	EvnJsonValue			 element;
	EvnJsonValue			 tag;

	if (tags->type != EVN_JSON_ARRAY || scan->error != EVN_DECODE_OK ||
		!evn_json_scan_reopen(scan, tags->text.raw, &element))
		return;
	appendStringInfoString(flat, ",\"hashtags\":[");
	while (evn_json_scan_element(scan, &element))
	{
		if (element.type != EVN_JSON_OBJECT)
		{
			(void) evn_json_scan_skip(scan, &element);
			continue;
		}
		evn_flat_pick(scan, arena, name, lengthof(name), &tag);
		if (tag.type == EVN_JSON_STRING)
			evn_flat_add_element(flat, &tag);
	}
	appendStringInfoChar(flat, ']');
}

bool
evn_mastodon_status(EvnText status, EvnArena *arena, StringInfo flat, int64 *id)
{
	static const char *const account_names[] = {"id"};
	EvnJsonScan				 scan;
	EvnJsonValue			 fields[NFIELDS];
	EvnJsonValue			 author;

	if (!evn_flat_open(&scan, status))
		return false;
	evn_flat_pick(&scan, arena, names, NFIELDS, fields);
	if (!evn_json_scan_end(&scan))
		return false;
	evn_flat_begin(flat);
	evn_flat_add(flat, "id", &fields[ID]);
	evn_flat_add(flat, "created_at", &fields[CREATED_AT]);
	evn_flat_pick_in(&scan, arena, &fields[ACCOUNT], account_names, 1, &author);
	evn_flat_add(flat, "author_id", &author);
	evn_flat_add(flat, "lang", &fields[LANGUAGE]);
	add_content(&scan, arena, flat, &fields[CONTENT]);
	if (fields[REBLOG].type != EVN_JSON_NULL)
		appendStringInfoString(flat, ",\"is_retweet\":true");
	evn_flat_add(flat, "in_reply_to_status_id", &fields[REPLIED_TO]);
	add_tags(&scan, arena, flat, &fields[TAGS]);
	evn_flat_end(flat);
	*id = evn_flat_digits(&fields[ID]);
	return scan.error == EVN_DECODE_OK;
}
