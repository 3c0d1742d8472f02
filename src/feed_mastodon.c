/*
 * feed_mastodon.c
 *		The public streams of a Mastodon instance.
 *
 * A stream does not remember where its client was.  What came while no
 * connection was open is read from the timeline, with the stream open again,
 * and the cursor moves through the gap with the pages.  An instance that does
 * not show its timelines leaves a gap, which is recorded.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "feed_mastodon.h"
#include "live_stream.h"
#include "mastodon_status.h"
#include "mastodon_timeline.h"
#include "worker.h"

#define ARENA_BLOCK (64 * 1024)
/* an instance says at least ":thump" every 15 seconds; one may be lost on the way */
#define STALL_US (INT64CONST(40) * USECS_PER_SEC)
/* the stream may be open before it is listened to there */
#define FILL_LAG_US (INT64CONST(5) * USECS_PER_SEC)
/*
 * Posts of other instances get ids by the time they were written, and come
 * later: so much of what came last is asked for again.
 */
#define OVERLAP_US (INT64CONST(300) * USECS_PER_SEC)
/* an id that is said to be of a later time than now is no post's */
#define MAX_AHEAD_US USECS_PER_MINUTE

/* Ids hold the milliseconds since 1970. */
#define SNOWFLAKE_SHIFT 16
#define UNIX_EPOCH_US	((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct Endpoint
{
	const char *name; /* and its path */
	const char *timeline;
	const char *query; /* of the timeline */
	bool		tag;
} Endpoint;

static const Endpoint endpoints[] = {
	{"public", "public", "?local=false", false},
	{"public/local", "public", "?local=true", false},
	{"public/remote", "public", "?remote=true", false},
	{"hashtag", "tag/", "?local=false", true},
	{"hashtag/local", "tag/", "?local=true", true},
};

typedef struct MastodonFeed
{
	const EvnSource		*source;
	const EvnFeedServer *server;
	const Endpoint		*endpoint;
	MemoryContext		 context;
	EvnHttp				*http;
	EvnLive				 live;

	int64		  newest_id; /* up to here everything was taken, but for the gap; 0: not known */
	int64		  gap_id;	 /* what was posted after it is missing; 0: no gap */
	TimestampTz	  fill_at;	 /* when to begin to fill it, or to ask again */
	EvnClockWatch watch;	 /* of fill_at */
	EvnTimeline	 *timeline;
	EvnReconnect  fill_reconnect;

	EvnArena	  *arena;
	StringInfoData flat;
	EvnFeedMessage message; /* not taken yet */
	bool		   has_message;
	bool		   is_found; /* in the timeline */
} MastodonFeed;

/* ---- open and close */

/* What is palloc'd goes with the context. */
static void
close_feed(void *arg)
{
	MastodonFeed *feed = arg;

	evn_live_close(&feed->live);
	if (feed->http != NULL)
		evn_http_close(feed->http);
	if (feed->arena != NULL)
		evn_arena_free(feed->arena);
}

static const Endpoint *
find_endpoint(const char *name)
{
	for (int i = 0; i < lengthof(endpoints); i++)
		if (strcmp(endpoints[i].name, name) == 0)
			return &endpoints[i];
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("Mastodon has no endpoint \"%s\"", name),
		 errhint("It is one of: public, public/local, public/remote, hashtag, hashtag/local.")));
}

static void
mastodon_check(const char *name, const Jsonb *params)
{
	const Endpoint *endpoint = find_endpoint(name);
	const char	   *tag = evn_source_param(params, "tag");

	if (endpoint->tag && (tag == NULL || tag[0] == '\0' || tag[0] == '#'))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("endpoint \"%s\" needs a parameter \"tag\"", name),
						errhint("Write the hashtag without \"#\".")));
	if (!endpoint->tag && tag != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("endpoint \"%s\" takes no parameter \"tag\"", name)));
}

static void
go_to_cursor(MastodonFeed *feed, const Jsonb *cursor)
{
	char *id = evn_source_param(cursor, "since_id");

	if (id == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one in a stream of Mastodon")));
	feed->gap_id = feed->newest_id = pg_strtoint64(id);
}

/* The smallest id of that time, by our clock. */
static int64
id_of_time(const MastodonFeed *feed, TimestampTz at)
{
	return Max(at + feed->live.ahead_us + UNIX_EPOCH_US, 1000) / 1000 << SNOWFLAKE_SHIFT;
}

static TimestampTz
time_of_id(const MastodonFeed *feed, int64 id)
{
	return (id >> SNOWFLAKE_SHIFT) * 1000 - UNIX_EPOCH_US - feed->live.ahead_us;
}

/* All that was posted until then has been taken. */
static void
note_complete(MastodonFeed *feed, TimestampTz until)
{
	feed->newest_id = Max(feed->newest_id, id_of_time(feed, until));
}

static EvnFeed *
mastodon_open(const EvnSource *source, const EvnFeedServer *server)
{
	MastodonFeed		  *feed = palloc0(sizeof(MastodonFeed));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->source = source;
	feed->server = server;
	feed->endpoint = find_endpoint(source->endpoint);
	feed->context = CurrentMemoryContext;
	callback->func = close_feed;
	callback->arg = feed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	feed->http = evn_http_open();
	feed->arena = evn_arena_create(ARENA_BLOCK);
	if (feed->http == NULL || feed->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	initStringInfo(&feed->flat);
	evn_live_init(&feed->live, feed->http, server, EVN_FRAMING_SSE, STALL_US);
	evn_reconnect_init(&feed->fill_reconnect);
	if (source->cursor != NULL)
		go_to_cursor(feed, source->cursor);
	return (EvnFeed *) feed;
}

/* ---- connecting */

static void
ask_for_stream(MastodonFeed *feed)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/api/v1/streaming/%s", feed->endpoint->name);
	if (feed->endpoint->tag)
	{
		appendStringInfoString(&path, "?tag=");
		evn_api_call_encode(&path, evn_source_param(feed->source->params, "tag"));
	}
	evn_live_ask(&feed->live, path.data, NULL);
	pfree(path.data);
}

static void
end_timeline(MastodonFeed *feed)
{
	if (feed->timeline != NULL)
		evn_timeline_end(feed->timeline);
	feed->timeline = NULL;
}

/* There is no connection any more; what is missed now adds to the gap. */
static void
note_loss(MastodonFeed *feed)
{
	end_timeline(feed);
	if (feed->gap_id == 0)
		feed->gap_id = feed->newest_id;
}

/* When the clock was set, or the machine slept, a time to come does not hold any more. */
static void
watch_clock(MastodonFeed *feed)
{
	if (evn_clock_jumped(&feed->watch))
		feed->fill_at = Min(feed->fill_at, evn_clock_now() + FILL_LAG_US);
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(MastodonFeed *feed)
{
	switch (evn_live_serve(&feed->live))
	{
		case EVN_LIVE_DUE:
			ask_for_stream(feed);
			break;
		case EVN_LIVE_OPEN:
			if (feed->newest_id == 0)
				note_complete(feed, feed->live.opened_at);
			watch_clock(feed);
			feed->fill_at = Max(feed->fill_at, feed->live.opened_at + FILL_LAG_US);
			break;
		default:
			break;
	}
}

/* ---- messages */

static void
hold(MastodonFeed *feed, EvnText text, int64 id)
{
	feed->message = evn_flat_message(text, id);
	feed->has_message = true;
}

/* What cannot be converted goes on as it came. */
static void
hold_status(MastodonFeed *feed, EvnText status)
{
	int64 id;

	evn_arena_reset(feed->arena);
	if (evn_mastodon_status(status, feed->arena, &feed->flat, &id))
		hold(feed, (EvnText) {feed->flat.data, feed->flat.len}, id);
	else
		hold(feed, status, 0);
}

/* The data is the id alone. */
static void
hold_delete(MastodonFeed *feed, EvnText data)
{
	int64 id = evn_flat_digits(&(EvnJsonValue) {.type = EVN_JSON_NUMBER, .text.raw = data});

	evn_flat_delete(&feed->flat, id);
	hold(feed, id > 0 ? (EvnText) {feed->flat.data, feed->flat.len} : data, id);
}

static bool
is_event(const EvnFrame *frame, const char *name)
{
	return frame->event_len == strlen(name) && memcmp(frame->event, name, frame->event_len) == 0;
}

/* True when the event is of interest. */
static bool
hold_event(MastodonFeed *feed, const EvnFrame *frame, bool too_long)
{
	EvnText data = {frame->data, (int32) frame->len};

	if (too_long)
	{
		hold(feed, data, 0);
		feed->message.too_long = true;
	}
	else if (is_event(frame, "update") || is_event(frame, "status.update"))
		hold_status(feed, data);
	else if (is_event(frame, "delete"))
		hold_delete(feed, data);
	return feed->has_message;
}

/* The next post of what has come, if there is one; the stream may have ended. */
static void
read_stream(MastodonFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	feed->is_found = false;
	while ((result = evn_live_next(&feed->live, &frame)) != EVN_FRAME_MORE)
		if (hold_event(feed, &frame, result == EVN_FRAME_TOO_LONG))
			return;
	if (feed->live.phase == EVN_LIVE_OPEN)
		note_complete(feed, feed->live.drained_at);
	else
		note_loss(feed);
}

/* ---- gaps */

static void
record_gap(MastodonFeed *feed, const char *reason)
{
	MemoryContext old = CurrentMemoryContext;

	evn_worker_begin_transaction();
	evn_source_note_gap(feed->source, time_of_id(feed, feed->gap_id), feed->live.opened_at, reason);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(old);
	feed->gap_id = 0;
}

static void
begin_timeline(MastodonFeed *feed)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/api/v1/timelines/%s", feed->endpoint->timeline);
	if (feed->endpoint->tag)
		evn_api_call_encode(&path, evn_source_param(feed->source->params, "tag"));
	appendStringInfoString(&path, feed->endpoint->query);
	feed->timeline =
		evn_timeline_begin(feed->http, feed->server, path.data,
						   Max(feed->gap_id - (OVERLAP_US / 1000 << SNOWFLAKE_SHIFT), 1),
						   id_of_time(feed, evn_clock_now() + FILL_LAG_US));
	pfree(path.data);
}

static void
note_refused_page(MastodonFeed *feed, const EvnApiRefusal *refusal)
{
	evn_worker_set_error(refusal->error);
	if (evn_timeline_is_hopeless(feed->timeline))
	{
		end_timeline(feed);
		record_gap(feed, refusal->error);
		return;
	}
	feed->fill_at = evn_reconnect_failed(&feed->fill_reconnect, refusal->cause, evn_clock_now(),
										 refusal->reset_at);
}

static void
fill_gap(MastodonFeed *feed)
{
	EvnApiRefusal refusal;
	EvnText		  status;

	watch_clock(feed);
	if (evn_clock_now() < feed->fill_at)
		return;
	if (feed->timeline == NULL)
		begin_timeline(feed);
	switch (evn_timeline_next(feed->timeline, &status, &refusal))
	{
		case EVN_TIMELINE_STATUS:
			hold_status(feed, status);
			feed->is_found = true;
			break;
		case EVN_TIMELINE_WAIT:
			break;
		case EVN_TIMELINE_REFUSED:
			note_refused_page(feed, &refusal);
			break;
		case EVN_TIMELINE_END:
			end_timeline(feed);
			evn_reconnect_init(&feed->fill_reconnect);
			feed->gap_id = 0;
			break;
	}
	/* a post that was there by then is taken, or still in the gap */
	if (feed->gap_id != 0 && feed->timeline != NULL)
		feed->gap_id = Max(feed->gap_id, evn_timeline_taken(feed->timeline));
}

/* ---- the feed */

static EvnFeedResult
mastodon_next(EvnFeed *handle, EvnFeedMessage *message)
{
	MastodonFeed *feed = (MastodonFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->context);

	if (!feed->has_message && feed->live.phase != EVN_LIVE_OPEN)
		serve(feed);
	if (!feed->has_message && feed->live.phase == EVN_LIVE_OPEN && feed->gap_id != 0)
		fill_gap(feed);
	if (!feed->has_message && feed->live.phase == EVN_LIVE_OPEN)
		read_stream(feed);
	MemoryContextSwitchTo(old);
	*message = feed->message;
	return feed->has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
mastodon_take(EvnFeed *handle)
{
	MastodonFeed *feed = (MastodonFeed *) handle;

	feed->has_message = false;
	if (feed->is_found)
		evn_timeline_take(feed->timeline, feed->message.id);
	else
		feed->newest_id =
			Max(feed->newest_id,
				Min(feed->message.id, id_of_time(feed, evn_clock_now() + MAX_AHEAD_US)));
}

static void
mastodon_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	evn_live_status(&((const MastodonFeed *) handle)->live, status);
}

static void
mastodon_wait(EvnFeed *handle, long timeout_ms)
{
	MastodonFeed *feed = (MastodonFeed *) handle;
	TimestampTz	  due = evn_live_due_at(&feed->live);

	if (feed->gap_id != 0 && feed->live.phase == EVN_LIVE_OPEN &&
		(feed->timeline == NULL || !evn_timeline_waits(feed->timeline)))
		due = Min(due, feed->fill_at);
	evn_http_wait(feed->http, Min(timeout_ms, evn_clock_until(due)));
}

static Jsonb *
mastodon_cursor(EvnFeed *handle)
{
	MastodonFeed *feed = (MastodonFeed *) handle;
	int64		  id = feed->gap_id != 0 ? feed->gap_id : feed->newest_id;

	if (id == 0)
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(psprintf("{\"since_id\": \"" INT64_FORMAT "\"}", id))));
}

const EvnFeedApi evn_feed_mastodon = {
	.name = "mastodon",
	.token_path = "/oauth/token",
	.check = mastodon_check,
	.open = mastodon_open,
	.next = mastodon_next,
	.take = mastodon_take,
	.status = mastodon_status,
	.wait = mastodon_wait,
	.cursor = mastodon_cursor,
};
