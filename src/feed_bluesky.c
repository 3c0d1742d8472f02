/*
 * feed_bluesky.c
 *		Bluesky's posts through a Jetstream.
 *
 * The position is the time by which the Jetstream goes on, rewound a little as
 * its own clock may step.  There are no gaps but what is older than it keeps.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "bluesky_commit.h"
#include "clock.h"
#include "compat.h"
#include "feed_bluesky.h"
#include "live_stream.h"
#include "worker.h"

#define ARENA_BLOCK (64 * 1024)
/* there are many posts each second; keep-alives are not told of */
#define STALL_US (INT64CONST(60) * USECS_PER_SEC)
/* so much of what came last is asked for again */
#define REWIND_US (INT64CONST(5) * USECS_PER_SEC)
/* a Jetstream keeps events as long, or longer */
#define HISTORY_US	  USECS_PER_DAY
#define UNIX_EPOCH_US ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct BlueskyFeed
{
	const EvnSource *source;
	MemoryContext	 context;
	EvnHttp			*http;
	EvnLive			 live;
	bool			 reposts;

	int64 taken_us; /* since 1970, by the network's clock: all before was taken; 0: not known */
	int64 next_us;	/* of the message; 0: it does not say */

	EvnArena	  *arena;
	StringInfoData flat;
	EvnFeedMessage message; /* not taken yet */
	bool		   has_message;
} BlueskyFeed;

/* ---- open and close */

/* What is palloc'd goes with the context. */
static void
close_feed(void *arg)
{
	BlueskyFeed *feed = arg;

	evn_live_close(&feed->live);
	if (feed->http != NULL)
		evn_http_close(feed->http);
	if (feed->arena != NULL)
		evn_arena_free(feed->arena);
}

static void
bluesky_check(const char *name, const Jsonb *params)
{
	if (strcmp(name, "posts") != 0 && strcmp(name, "posts_and_reposts") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("Bluesky has no endpoint \"%s\"", name),
						errhint("It is one of: posts, posts_and_reposts.")));
}

static void
go_to_cursor(BlueskyFeed *feed, const Jsonb *cursor)
{
	char *time_us = evn_source_param(cursor, "time_us");

	if (time_us == NULL)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED),
						errmsg("the position of the source is not one in a stream of Bluesky")));
	feed->taken_us = pg_strtoint64(time_us);
}

static EvnFeed *
bluesky_open(const EvnSource *source, const EvnFeedServer *server)
{
	BlueskyFeed			  *feed = palloc0(sizeof(BlueskyFeed));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->source = source;
	feed->context = CurrentMemoryContext;
	feed->reposts = strcmp(source->endpoint, "posts_and_reposts") == 0;
	callback->func = close_feed;
	callback->arg = feed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	feed->http = evn_http_open();
	feed->arena = evn_arena_create(ARENA_BLOCK);
	if (feed->http == NULL || feed->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	initStringInfo(&feed->flat);
	evn_live_init(&feed->live, feed->http, server, EVN_FRAMING_WEBSOCKET, STALL_US);
	if (source->cursor != NULL)
		go_to_cursor(feed, source->cursor);
	return (EvnFeed *) feed;
}

/* ---- connecting */

static void
ask_for_stream(BlueskyFeed *feed)
{
	StringInfoData path;

	initStringInfo(&path);
	appendStringInfoString(&path, "/subscribe?wantedCollections=" EVN_BLUESKY_POST);
	if (feed->reposts)
		appendStringInfoString(&path, "&wantedCollections=" EVN_BLUESKY_REPOST);
	if (feed->taken_us != 0)
		appendStringInfo(&path, "&cursor=" INT64_FORMAT, Max(feed->taken_us - REWIND_US, 1));
	evn_live_ask(&feed->live, path.data, NULL);
	pfree(path.data);
}

/* Posts of a span that the network may not have any more were not all sent. */
static void
note_opened(BlueskyFeed *feed)
{
	int64		  now = feed->live.opened_at + feed->live.ahead_us + UNIX_EPOCH_US;
	MemoryContext old = CurrentMemoryContext;

	if (feed->taken_us != 0 && feed->taken_us < now - HISTORY_US)
	{
		evn_worker_begin_transaction();
		evn_source_note_gap(feed->source, feed->taken_us - UNIX_EPOCH_US,
							now - HISTORY_US - UNIX_EPOCH_US,
							"the network keeps posts for a day only");
		evn_worker_commit_transaction();
		MemoryContextSwitchTo(old);
		feed->taken_us = now - HISTORY_US;
	}
	if (feed->taken_us == 0)
		feed->taken_us = now;
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(BlueskyFeed *feed)
{
	switch (evn_live_serve(&feed->live))
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

/* ---- messages */

static void
hold(BlueskyFeed *feed, EvnText text, int64 id)
{
	feed->message = evn_flat_message(text, id);
	feed->has_message = true;
}

/* What cannot be converted goes on as it came. */
static void
hold_commit(BlueskyFeed *feed, EvnText message)
{
	EvnCommit commit;

	evn_arena_reset(feed->arena);
	switch (evn_bluesky_commit(message, feed->reposts, feed->arena, &feed->flat, &commit))
	{
		case EVN_COMMIT_POST:
			hold(feed, (EvnText) {feed->flat.data, feed->flat.len}, commit.id);
			break;
		case EVN_COMMIT_STRANGE:
			hold(feed, message, 0);
			break;
		case EVN_COMMIT_UNWANTED:
			break;
	}
	feed->next_us = commit.time_us;
}

static void
take_time(BlueskyFeed *feed)
{
	feed->taken_us = Max(feed->taken_us, feed->next_us);
	feed->next_us = 0;
}

/* The next post of what has come, if there is one; the stream may have ended. */
static void
read_stream(BlueskyFeed *feed)
{
	EvnFrame	   frame;
	EvnFrameResult result;

	while ((result = evn_live_next(&feed->live, &frame)) != EVN_FRAME_MORE)
	{
		EvnText message = {frame.data, (int32) frame.len};

		if (result == EVN_FRAME_TOO_LONG)
		{
			hold(feed, message, 0);
			feed->message.too_long = true;
		}
		else
			hold_commit(feed, message);
		if (feed->has_message)
			return;
		take_time(feed);
	}
}

/* ---- the feed */

static EvnFeedResult
bluesky_next(EvnFeed *handle, EvnFeedMessage *message)
{
	BlueskyFeed	 *feed = (BlueskyFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->context);

	if (!feed->has_message && feed->live.phase != EVN_LIVE_OPEN)
		serve(feed);
	if (!feed->has_message && feed->live.phase == EVN_LIVE_OPEN)
		read_stream(feed);
	MemoryContextSwitchTo(old);
	*message = feed->message;
	return feed->has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
bluesky_take(EvnFeed *handle)
{
	BlueskyFeed *feed = (BlueskyFeed *) handle;

	feed->has_message = false;
	take_time(feed);
}

static void
bluesky_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	evn_live_status(&((const BlueskyFeed *) handle)->live, status);
}

static void
bluesky_wait(EvnFeed *handle, long timeout_ms)
{
	BlueskyFeed *feed = (BlueskyFeed *) handle;

	evn_http_wait(feed->http, Min(timeout_ms, evn_clock_until(evn_live_due_at(&feed->live))));
}

static Jsonb *
bluesky_cursor(EvnFeed *handle)
{
	BlueskyFeed *feed = (BlueskyFeed *) handle;

	if (feed->taken_us == 0)
		return NULL;
	return DatumGetJsonbP(DirectFunctionCall1(
		jsonb_in, CStringGetDatum(psprintf("{\"time_us\": " INT64_FORMAT "}", feed->taken_us))));
}

const EvnFeedApi evn_feed_bluesky = {
	.name = "bluesky",
	.url = "wss://jetstream2.us-east.bsky.network",
	.websocket = true,
	.check = bluesky_check,
	.open = bluesky_open,
	.next = bluesky_next,
	.take = bluesky_take,
	.status = bluesky_status,
	.wait = bluesky_wait,
	.cursor = bluesky_cursor,
};
