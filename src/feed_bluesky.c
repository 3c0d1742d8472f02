/*
 * feed_bluesky.c
 *		Bluesky's posts through a Jetstream.
 *
 * The position is the time by which the Jetstream goes on, rewound a little as
 * its own clock may step.  There are no gaps but what is older than it keeps.
 */
#include "postgres.h"

#include "utils/fmgrprotos.h"

#include "bluesky_commit.h"
#include "compat.h"
#include "feed_bluesky.h"
#include "live_feed.h"

/* there are many posts each second; keep-alives are not told of */
#define STALL_US (INT64CONST(60) * USECS_PER_SEC)
/* so much of what came last is asked for again */
#define REWIND_US (INT64CONST(5) * USECS_PER_SEC)
/* a Jetstream keeps events as long, or longer */
#define HISTORY_US	  USECS_PER_DAY
#define UNIX_EPOCH_US ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY)

typedef struct BlueskyFeed
{
	EvnLiveFeed base;

	bool reposts;

	int64 taken_us; /* since 1970, by the network's clock: all before was taken; 0: not known */
	int64 next_us;	/* of the message; 0: it does not say */
} BlueskyFeed;

/* ---- open and close */

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
	BlueskyFeed *feed =
		evn_live_feed_open(sizeof(BlueskyFeed), source, server, EVN_FRAMING_WEBSOCKET, STALL_US);

	feed->reposts = strcmp(source->endpoint, "posts_and_reposts") == 0;
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
	evn_live_ask(&feed->base.live, path.data, NULL);
	pfree(path.data);
}

/* Posts of a span that the network may not have any more were not all sent. */
static void
note_opened(BlueskyFeed *feed)
{
	int64 now = feed->base.live.opened_at + feed->base.live.ahead_us + UNIX_EPOCH_US;

	if (feed->taken_us != 0 && feed->taken_us < now - HISTORY_US)
	{
		evn_live_feed_note_gap(&feed->base, feed->taken_us - UNIX_EPOCH_US,
							   now - HISTORY_US - UNIX_EPOCH_US,
							   "the network keeps posts for a day only");
		feed->taken_us = now - HISTORY_US;
	}
	if (feed->taken_us == 0)
		feed->taken_us = now;
}

/* Go on until the stream is open; it is served by waiting then. */
static void
serve(BlueskyFeed *feed)
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

/* ---- messages */

/* What cannot be converted goes on as it came. */
static void
hold_commit(BlueskyFeed *feed, EvnText message)
{
	EvnCommit commit;

	evn_arena_reset(feed->base.arena);
	switch (evn_bluesky_commit(message, feed->reposts, feed->base.arena, &feed->base.flat, &commit))
	{
		case EVN_COMMIT_POST:
			evn_live_feed_hold(&feed->base, (EvnText) {feed->base.flat.data, feed->base.flat.len},
							   commit.id);
			break;
		case EVN_COMMIT_STRANGE:
			evn_live_feed_hold(&feed->base, message, 0);
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

	while ((result = evn_live_next(&feed->base.live, &frame)) != EVN_FRAME_MORE)
	{
		EvnText message = {frame.data, (int32) frame.len};

		if (result == EVN_FRAME_TOO_LONG)
			evn_live_feed_hold_long(&feed->base, message);
		else
			hold_commit(feed, message);
		if (feed->base.has_message)
			return;
		take_time(feed);
	}
}

/* ---- the feed */

static EvnFeedResult
bluesky_next(EvnFeed *handle, EvnFeedMessage *message)
{
	BlueskyFeed	 *feed = (BlueskyFeed *) handle;
	MemoryContext old = MemoryContextSwitchTo(feed->base.context);

	if (!feed->base.has_message && feed->base.live.phase != EVN_LIVE_OPEN)
		serve(feed);
	if (!feed->base.has_message && feed->base.live.phase == EVN_LIVE_OPEN)
		read_stream(feed);
	MemoryContextSwitchTo(old);
	*message = feed->base.message;
	return feed->base.has_message ? EVN_FEED_MESSAGE : EVN_FEED_WAIT;
}

static void
bluesky_take(EvnFeed *handle)
{
	BlueskyFeed *feed = (BlueskyFeed *) handle;

	feed->base.has_message = false;
	take_time(feed);
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
	.status = evn_live_feed_status,
	.wait = evn_live_feed_wait,
	.cursor = bluesky_cursor,
};
