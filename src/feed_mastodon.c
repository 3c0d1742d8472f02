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

#include "clock.h"
#include "compat.h"
#include "feed_mastodon.h"
#include "id_gap.h"
#include "live_feed.h"
#include "mastodon_status.h"
#include "mastodon_timeline.h"
#include "worker.h"

/* an instance says at least ":thump" every 15 seconds; one may be lost on the way */
#define STALL_US (INT64CONST(40) * USECS_PER_SEC)
/* the stream may be open before it is listened to there */
#define FILL_LAG_US (INT64CONST(5) * USECS_PER_SEC)
/*
 * Posts of other instances get ids by the time they were written, and come
 * later: so much of what came last is asked for again.
 */
#define OVERLAP_US (INT64CONST(300) * USECS_PER_SEC)

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
	EvnLiveFeed base;

	const Endpoint *endpoint;

	EvnIdGap	 gap;
	EvnTimeline *timeline;

	bool is_found; /* in the timeline */
} MastodonFeed;

/* ---- open and close */

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

static EvnFeed *
mastodon_open(const EvnSource *source, const EvnFeedServer *server)
{
	MastodonFeed *feed =
		evn_live_feed_open(sizeof(MastodonFeed), source, server, EVN_FRAMING_SSE, STALL_US);

	feed->endpoint = find_endpoint(source->endpoint);
	evn_id_gap_init(&feed->gap, &feed->base.live, SNOWFLAKE_SHIFT, -UNIX_EPOCH_US, FILL_LAG_US);
	if (source->cursor != NULL)
		evn_id_gap_go_to(&feed->gap, source->cursor);
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
		evn_api_call_encode(&path, evn_source_param(feed->base.source->params, "tag"));
	}
	evn_live_ask(&feed->base.live, path.data, NULL);
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
	evn_id_gap_lost(&feed->gap);
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(MastodonFeed *feed)
{
	switch (evn_live_serve(&feed->base.live))
	{
		case EVN_LIVE_DUE:
			ask_for_stream(feed);
			break;
		case EVN_LIVE_OPEN:
			evn_id_gap_opened(&feed->gap);
			break;
		default:
			break;
	}
}

/* ---- messages */

/* What cannot be converted goes on as it came. */
static void
hold_status(MastodonFeed *feed, EvnText status)
{
	int64 id;

	evn_arena_reset(feed->base.arena);
	if (evn_mastodon_status(status, feed->base.arena, &feed->base.flat, &id))
		evn_live_feed_hold(&feed->base, (EvnText) {feed->base.flat.data, feed->base.flat.len}, id);
	else
		evn_live_feed_hold(&feed->base, status, 0);
}

/* The data is the id alone. */
static void
hold_delete(MastodonFeed *feed, EvnText data)
{
	int64 id = evn_flat_digits(&(EvnJsonValue) {.type = EVN_JSON_NUMBER, .text.raw = data});

	evn_flat_delete(&feed->base.flat, id);
	evn_live_feed_hold(&feed->base,
					   id > 0 ? (EvnText) {feed->base.flat.data, feed->base.flat.len} : data, id);
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
		evn_live_feed_hold_long(&feed->base, data);
	else if (is_event(frame, "update") || is_event(frame, "status.update"))
		hold_status(feed, data);
	else if (is_event(frame, "delete"))
		hold_delete(feed, data);
	return feed->base.has_message;
}

/* The next post of what has come, if there is one; the stream may have ended. */
static void
read_stream(MastodonFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	feed->is_found = false;
	while ((result = evn_live_next(&feed->base.live, &frame)) != EVN_FRAME_MORE)
		if (hold_event(feed, &frame, result == EVN_FRAME_TOO_LONG))
			return;
	if (feed->base.live.phase == EVN_LIVE_OPEN)
		evn_id_gap_complete(&feed->gap, feed->base.live.drained_at);
	else
		note_loss(feed);
}

/* ---- gaps */

static void
record_gap(MastodonFeed *feed, const char *reason)
{
	evn_live_feed_note_gap(&feed->base, evn_id_gap_time(&feed->gap, feed->gap.gap_id),
						   feed->base.live.opened_at, reason);
	feed->gap.gap_id = 0;
}

static void
begin_timeline(MastodonFeed *feed)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfo(&path, "/api/v1/timelines/%s", feed->endpoint->timeline);
	if (feed->endpoint->tag)
		evn_api_call_encode(&path, evn_source_param(feed->base.source->params, "tag"));
	appendStringInfoString(&path, feed->endpoint->query);
	feed->timeline = evn_timeline_begin(feed->base.http, feed->base.server, path.data,
										evn_id_gap_since(&feed->gap, OVERLAP_US),
										evn_id_gap_id(&feed->gap, evn_clock_now() + FILL_LAG_US));
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
	evn_id_gap_refused(&feed->gap, refusal);
}

static void
fill_gap(MastodonFeed *feed)
{
	EvnApiRefusal refusal;
	EvnText		  status;

	if (!evn_id_gap_due(&feed->gap))
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
			evn_reconnect_init(&feed->gap.reconnect);
			feed->gap.gap_id = 0;
			break;
	}
	/* a post that was there by then is taken, or still in the gap */
	if (feed->gap.gap_id != 0 && feed->timeline != NULL)
		feed->gap.gap_id = Max(feed->gap.gap_id, evn_timeline_taken(feed->timeline));
}

/* ---- the feed */

static EvnFeedResult
mastodon_next(EvnFeed *handle, EvnFeedMessage *message)
{
	MastodonFeed *feed = (MastodonFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->base.context);

	if (!feed->base.has_message && feed->base.live.phase != EVN_LIVE_OPEN)
		serve(feed);
	if (!feed->base.has_message && feed->base.live.phase == EVN_LIVE_OPEN && feed->gap.gap_id != 0)
		fill_gap(feed);
	if (!feed->base.has_message && feed->base.live.phase == EVN_LIVE_OPEN)
		read_stream(feed);
	MemoryContextSwitchTo(old);
	*message = feed->base.message;
	return feed->base.has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
mastodon_take(EvnFeed *handle)
{
	MastodonFeed *feed = (MastodonFeed *) handle;

	feed->base.has_message = false;
	if (feed->is_found)
		evn_timeline_take(feed->timeline, feed->base.message.id);
	else
		evn_id_gap_take(&feed->gap, feed->base.message.id);
}

static void
mastodon_wait(EvnFeed *handle, long timeout_ms)
{
	MastodonFeed *feed = (MastodonFeed *) handle;
	TimestampTz	  due = evn_live_due_at(&feed->base.live);

	if (feed->gap.gap_id != 0 && feed->base.live.phase == EVN_LIVE_OPEN &&
		(feed->timeline == NULL || !evn_timeline_waits(feed->timeline)))
		due = Min(due, feed->gap.fill_at);
	evn_http_wait(feed->base.http, Min(timeout_ms, evn_clock_until(due)));
}

static Jsonb *
mastodon_cursor(EvnFeed *handle)
{
	return evn_id_gap_cursor(&((const MastodonFeed *) handle)->gap);
}

const EvnFeedApi evn_feed_mastodon = {
	.name = "mastodon",
	.token_path = "/oauth/token",
	.params = "tag",
	.check = mastodon_check,
	.open = mastodon_open,
	.next = mastodon_next,
	.take = mastodon_take,
	.status = evn_live_feed_status,
	.wait = mastodon_wait,
	.cursor = mastodon_cursor,
};
