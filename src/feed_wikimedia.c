/*
 * feed_wikimedia.c
 *		Wikimedia's EventStreams.
 *
 * Each event has an id from which the network goes on, which is the position,
 * so there are no gaps but what is older than the network keeps.  Before the
 * first event the position is a time.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/fmgrprotos.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "feed_wikimedia.h"
#include "flat_post.h"
#include "live_feed.h"
#include "tweet_time.h"

/* a keep-alive comes every 15 seconds; one may be lost on the way */
#define STALL_US (INT64CONST(40) * USECS_PER_SEC)
/* events are asked for from so much before the time up to which all came */
#define OVERLAP_US (INT64CONST(60) * USECS_PER_SEC)
/* the network keeps events as long, or longer */
#define HISTORY_US (7 * USECS_PER_DAY)

enum
{
	META,
	USER,
	SERVER_NAME,
	TITLE,
	COMMENT,
	WIKI,
	NFIELDS
};

static const char *const names[NFIELDS] = {
	[META] = "meta",   [USER] = "user",		  [SERVER_NAME] = "server_name",
	[TITLE] = "title", [COMMENT] = "comment", [WIKI] = "wiki"};

enum
{
	META_ID,
	META_DT,
	META_DOMAIN,
	NMETA
};

static const char *const meta_names[NMETA] = {
	[META_ID] = "id", [META_DT] = "dt", [META_DOMAIN] = "domain"};

typedef struct WikimediaFeed
{
	EvnLiveFeed base;

	List *wikis; /* char *: those wanted; NIL for all */

	char	   *last_id;  /* of the last event that was taken; NULL for none */
	TimestampTz until;	  /* by the network's clock: all before was taken; 0: not known */
	char	   *next_id;  /* of the message */
	TimestampTz next_at;  /* when it happened, by the network's clock; 0: it does not say */
	TimestampTz event_at; /* when the last event came, or the stream was opened */
} WikimediaFeed;

/* ---- arguments */

/* Names of streams, separated by commas. */
static bool
are_names(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789._-,") == len &&
		   text[0] != ',' && text[len - 1] != ',' && strstr(text, ",,") == NULL;
}

static List *
add_wiki(List *wikis, const JsonbValue *value)
{
	if (value->type != jbvString || value->val.string.len == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("parameter \"%s\" must be a text or an array of texts", "wiki"),
						errhint("Write names of databases, such as \"enwiki\".")));
	return lappend(wikis, pnstrdup(value->val.string.val, value->val.string.len));
}

static List *
read_wikis(const Jsonb *params)
{
	JsonbValue	value;
	JsonbValue *found = getKeyJsonValueFromContainer(unconstify(JsonbContainer *, &params->root),
													 "wiki", strlen("wiki"), &value);
	List	   *wikis = NIL;

	if (found == NULL)
		return NIL;
	if (found->type != jbvBinary || !JsonContainerIsArray(found->val.binary.data) ||
		JsonContainerSize(found->val.binary.data) == 0)
		return add_wiki(NIL, found);
	for (uint32 i = 0; i < JsonContainerSize(found->val.binary.data); i++)
		wikis = add_wiki(wikis, getIthJsonbValueFromContainer(found->val.binary.data, i));
	return wikis;
}

static void
wikimedia_check(const char *name, const Jsonb *params)
{
	if (!are_names(name))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("\"%s\" is no name of a stream of Wikimedia", name),
						errhint("Write \"recentchange\", or several names with commas.")));
	(void) read_wikis(params);
}

/* ---- open and close */

static void
go_to_cursor(WikimediaFeed *feed, const Jsonb *cursor)
{
	char   *until = evn_source_param(cursor, "until");
	EvnText text = {until, until == NULL ? 0 : (int32) strlen(until)};

	if (until == NULL || !evn_tweet_time_parse(text, &feed->until))
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one in a stream of Wikimedia")));
	feed->last_id = evn_source_param(cursor, "last_event_id");
}

static EvnFeed *
wikimedia_open(const EvnSource *source, const EvnFeedServer *server)
{
	WikimediaFeed *feed =
		evn_live_feed_open(sizeof(WikimediaFeed), source, server, EVN_FRAMING_SSE, STALL_US);

	feed->wikis = read_wikis(source->params);
	if (source->cursor != NULL)
		go_to_cursor(feed, source->cursor);
	return (EvnFeed *) feed;
}

/* ---- connecting */

/* ISO 8601, to the second */
static void
append_time(StringInfo out, TimestampTz time)
{
	char	  text[32];
	pg_time_t seconds = timestamptz_to_time_t(time);

	pg_strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", pg_gmtime(&seconds));
	appendStringInfoString(out, text);
}

static void
ask_for_stream(WikimediaFeed *feed)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/v2/stream/%s", feed->base.source->endpoint);
	if (feed->last_id == NULL && feed->until != 0)
	{
		appendStringInfoString(&path, "?since=");
		append_time(&path, feed->until - OVERLAP_US);
	}
	evn_live_ask(&feed->base.live, path.data, feed->last_id);
	pfree(path.data);
}

/* Events of a span that the network may not have any more were not all sent. */
static void
note_opened(WikimediaFeed *feed)
{
	TimestampTz now = feed->base.live.opened_at + feed->base.live.ahead_us;

	feed->event_at = feed->base.live.opened_at;
	if (feed->until != 0 && feed->until < now - HISTORY_US)
	{
		evn_live_feed_note_gap(&feed->base, feed->until, now - HISTORY_US,
							   "the network keeps events for a week only");
		feed->until = now - HISTORY_US;
	}
	if (feed->until == 0)
		feed->until = now;
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(WikimediaFeed *feed)
{
	switch (evn_live_serve(&feed->base.live))
	{
		case EVN_LIVE_DUE:
			ask_for_stream(feed);
			break;
		case EVN_LIVE_OPEN:
			note_opened(feed);
			break;
		default:
			break;
	}
}

/* ---- events */

/* "en" of "en.wikipedia.org"; absent when the wiki has no language. */
static EvnText
language_of(EvnText host)
{
	EvnText		none = {NULL, 0};
	const char *dot = host.len == 0 ? NULL : memchr(host.data, '.', host.len);
	const char *end = host.data + host.len;
	EvnText		label = {host.data, dot == NULL ? 0 : (int32) (dot - host.data)};

	if (label.len < 2 || label.len > 3 || memcmp(label.data, "www", label.len) == 0 ||
		end - dot < 6 || memcmp(end - 4, ".org", 4) != 0 ||
		memchr(dot + 1, '.', end - 4 - dot - 1) != NULL)
		return none;
	for (int i = 0; i < label.len; i++)
		if (label.data[i] < 'a' || label.data[i] > 'z')
			return none;
	return label;
}

static bool
text_is(EvnText text, const char *word)
{
	return text.len == strlen(word) && memcmp(text.data, word, text.len) == 0;
}

/* Tests of the network's own, and wikis that are not asked for. */
static bool
is_unwanted(WikimediaFeed *feed, EvnText domain, EvnText wiki)
{
	ListCell *cell;

	if (text_is(domain, "canary"))
		return true;
	foreach(cell, feed->wikis)
		if (text_is(wiki, lfirst(cell)))
			return false;
	return feed->wikis != NIL;
}

/* A picked text's hash in its stead; others are left to be judged. */
static int64
add_hash(WikimediaFeed *feed, EvnJsonScan *scan, const char *name, const EvnJsonValue *value)
{
	EvnText text = evn_flat_text_of(scan, feed->base.arena, value);
	int64	hash;

	if (text.data == NULL)
	{
		evn_flat_add(&feed->base.flat, name, value);
		return 0;
	}
	hash = evn_flat_hash(text.data, text.len);
	evn_flat_add_number(&feed->base.flat, name, hash);
	return hash;
}

/* Title and comment, as they are written. */
static void
add_text(WikimediaFeed *feed, EvnJsonScan *scan, const EvnJsonValue *title,
		 const EvnJsonValue *comment)
{
	EvnJsonValue text = {EVN_JSON_STRING};
	char		*joined;

	if (title->type != EVN_JSON_STRING || comment->type != EVN_JSON_STRING ||
		comment->text.raw.len == 0)
	{
		evn_flat_add(&feed->base.flat, "text", title->type == EVN_JSON_STRING ? title : comment);
		return;
	}
	text.text.raw.len = title->text.raw.len + 2 + comment->text.raw.len;
	joined = evn_arena_alloc(feed->base.arena, text.text.raw.len);
	if (joined == NULL)
	{
		(void) evn_json_scan_fail(scan, EVN_DECODE_NO_MEMORY);
		return;
	}
	memcpy(joined, title->text.raw.data, title->text.raw.len);
	memcpy(joined + title->text.raw.len, ": ", 2);
	memcpy(joined + title->text.raw.len + 2, comment->text.raw.data, comment->text.raw.len);
	text.text.raw.data = joined;
	evn_flat_add(&feed->base.flat, "text", &text);
}

/* The event as a flat post; returns its id. */
static int64
convert(WikimediaFeed *feed, EvnJsonScan *scan, const EvnJsonValue *fields,
		const EvnJsonValue *meta)
{
	EvnText host = evn_flat_text_of(scan, feed->base.arena, &fields[SERVER_NAME]);
	EvnText lang = language_of(host);
	int64	id;

	evn_flat_begin(&feed->base.flat);
	id = add_hash(feed, scan, "id", &meta[META_ID]);
	evn_flat_add(&feed->base.flat, "created_at", &meta[META_DT]);
	(void) add_hash(feed, scan, "author_id", &fields[USER]);
	if (lang.data != NULL)
		evn_flat_add_text(&feed->base.flat, "lang", lang);
	add_text(feed, scan, &fields[TITLE], &fields[COMMENT]);
	evn_flat_end(&feed->base.flat);
	return id;
}

/* What cannot be converted goes on as it came. */
static void
hold_event(WikimediaFeed *feed, EvnText event)
{
	EvnJsonScan	 scan;
	EvnJsonValue fields[NFIELDS];
	EvnJsonValue meta[NMETA];
	EvnText		 domain;
	EvnText		 wiki;
	int64		 id;

	evn_arena_reset(feed->base.arena);
	if (!evn_flat_open(&scan, event))
	{
		evn_live_feed_hold(&feed->base, event, 0);
		return;
	}
	evn_flat_pick(&scan, feed->base.arena, names, NFIELDS, fields);
	(void) evn_json_scan_end(&scan);
	evn_flat_pick_in(&scan, feed->base.arena, &fields[META], meta_names, NMETA, meta);
	if (meta[META_DT].type != EVN_JSON_STRING ||
		!evn_tweet_time_parse(meta[META_DT].text.raw, &feed->next_at))
		feed->next_at = 0;
	domain = evn_flat_text_of(&scan, feed->base.arena, &meta[META_DOMAIN]);
	wiki = evn_flat_text_of(&scan, feed->base.arena, &fields[WIKI]);
	if (scan.error == EVN_DECODE_OK && is_unwanted(feed, domain, wiki))
		return;
	id = convert(feed, &scan, fields, meta);
	if (scan.error == EVN_DECODE_OK)
		evn_live_feed_hold(&feed->base, (EvnText) {feed->base.flat.data, feed->base.flat.len}, id);
	else
		evn_live_feed_hold(&feed->base, event, 0);
}

/* ---- reading */

static void
set_id(WikimediaFeed *feed, char **id, char *value)
{
	if (*id != NULL)
		pfree(*id);
	*id = value;
}

/* The position after the event; one that is no text cannot be kept. */
static void
note_id(WikimediaFeed *feed, const EvnFrame *frame)
{
	if (frame->id_len > 0 &&
		pg_encoding_verifymbstr(PG_UTF8, frame->id, (int) frame->id_len) == (int) frame->id_len)
		set_id(feed, &feed->next_id, pnstrdup(frame->id, frame->id_len));
}

/* By the network's clock. */
static TimestampTz
heard_until(const WikimediaFeed *feed)
{
	return feed->base.live.last_byte_at + feed->base.live.ahead_us;
}

static void
take_event(WikimediaFeed *feed)
{
	if (feed->next_id != NULL)
		set_id(feed, &feed->last_id, feed->next_id);
	feed->next_id = NULL;
	if (feed->next_at != 0)
		feed->until = Max(feed->until, Min(feed->next_at, heard_until(feed)));
	feed->next_at = 0;
}

/* As long as older events may follow, that all was taken which came does not tell how far that is. */
static bool
is_quiet(const WikimediaFeed *feed)
{
	return feed->base.live.phase == EVN_LIVE_OPEN &&
		   feed->base.live.last_byte_at - feed->event_at >= OVERLAP_US;
}

/* The next event of what has come, if there is one; the stream may have ended. */
static void
read_stream(WikimediaFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	while ((result = evn_live_next(&feed->base.live, &frame)) != EVN_FRAME_MORE)
	{
		EvnText event = {frame.data, (int32) frame.len};

		feed->event_at = feed->base.live.last_byte_at;
		note_id(feed, &frame);
		if (result == EVN_FRAME_TOO_LONG)
			evn_live_feed_hold_long(&feed->base, event);
		else if (frame.event_len == 0 ||
				 text_is((EvnText) {frame.event, frame.event_len}, "message"))
			hold_event(feed, event);
		if (feed->base.has_message)
			return;
		take_event(feed);
	}
	if (is_quiet(feed))
		feed->until = Max(feed->until, Min(heard_until(feed),
										   feed->base.live.drained_at + feed->base.live.ahead_us));
}

static EvnFeedResult
wikimedia_next(EvnFeed *handle, EvnFeedMessage *message)
{
	WikimediaFeed *feed = (WikimediaFeed *) handle;
	MemoryContext  old = MemoryContextSwitchTo(feed->base.context);

	if (!feed->base.has_message && feed->base.live.phase != EVN_LIVE_OPEN)
		serve(feed);
	if (!feed->base.has_message && feed->base.live.phase == EVN_LIVE_OPEN)
		read_stream(feed);
	MemoryContextSwitchTo(old);
	*message = feed->base.message;
	return feed->base.has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
wikimedia_take(EvnFeed *handle)
{
	WikimediaFeed *feed = (WikimediaFeed *) handle;

	feed->base.has_message = false;
	take_event(feed);
}

static Jsonb *
wikimedia_cursor(EvnFeed *handle)
{
	WikimediaFeed *feed = (WikimediaFeed *) handle;
	StringInfoData cursor;

	if (feed->until == 0)
		return NULL;
	initStringInfo(&cursor);
	appendStringInfoString(&cursor, "{\"until\": \"");
	append_time(&cursor, feed->until);
	appendStringInfoChar(&cursor, '"');
	if (feed->last_id != NULL)
	{
		appendStringInfoString(&cursor, ", \"last_event_id\": ");
		escape_json(&cursor, feed->last_id);
	}
	appendStringInfoChar(&cursor, '}');
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(cursor.data)));
}

const EvnFeedApi evn_feed_wikimedia = {
	.name = "wikimedia",
	.url = "https://stream.wikimedia.org",
	.params = "wiki",
	.check = wikimedia_check,
	.open = wikimedia_open,
	.next = wikimedia_next,
	.take = wikimedia_take,
	.status = evn_live_feed_status,
	.wait = evn_live_feed_wait,
	.cursor = wikimedia_cursor,
};
