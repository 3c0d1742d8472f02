/*
 * live_feed.c
 *		What the feeds of live streams have in common.
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "clock.h"
#include "flat_post.h"
#include "live_feed.h"
#include "worker.h"

#define ARENA_BLOCK (64 * 1024)

/* What is palloc'd goes with the context. */
static void
close_feed(void *arg)
{
	EvnLiveFeed *feed = arg;

	evn_live_close(&feed->live);
	if (feed->http != NULL)
		evn_http_close(feed->http);
	if (feed->arena != NULL)
		evn_arena_free(feed->arena);
}

void *
evn_live_feed_open(size_t size, const EvnSource *source, const EvnFeedServer *server,
				   EvnFraming framing, int64 stall_us)
{
	EvnLiveFeed			  *feed = palloc0(size);
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	feed->source = source;
	feed->server = server;
	feed->context = CurrentMemoryContext;
	callback->func = close_feed;
	callback->arg = feed;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	feed->http = evn_http_open();
	feed->arena = evn_arena_create(ARENA_BLOCK);
	if (feed->http == NULL || feed->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	initStringInfo(&feed->flat);
	evn_live_init(&feed->live, feed->http, server, framing, stall_us);
	return feed;
}

void
evn_live_feed_hold(EvnLiveFeed *feed, EvnText text, int64 id)
{
	feed->message = evn_flat_message(text, id);
	feed->has_message = true;
}

void
evn_live_feed_hold_long(EvnLiveFeed *feed, EvnText text)
{
	evn_live_feed_hold(feed, text, 0);
	feed->message.too_long = true;
}

void
evn_live_feed_note_gap(const EvnLiveFeed *feed, TimestampTz since, TimestampTz until,
					   const char *reason)
{
	MemoryContext old = CurrentMemoryContext;

	evn_worker_begin_transaction();
	evn_source_note_gap(feed->source, since, until, reason);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(old);
}

void
evn_live_feed_status(const EvnFeed *handle, EvnSourceStatus *status)
{
	evn_live_status(&((const EvnLiveFeed *) handle)->live, status);
}

void
evn_live_feed_wait(EvnFeed *handle, long timeout_ms)
{
	EvnLiveFeed *feed = (EvnLiveFeed *) handle;

	evn_http_wait(feed->http, Min(timeout_ms, evn_clock_until(evn_live_due_at(&feed->live))));
}
