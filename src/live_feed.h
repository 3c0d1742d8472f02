/*
 * live_feed.h
 *		What the feeds of live streams have in common: a connection, an arena to
 *		read messages with, and the message that was not taken yet.
 *
 * A feed begins with an EvnLiveFeed, so that one is the other, too.
 */
#ifndef EVN_LIVE_FEED_H
#define EVN_LIVE_FEED_H

#include "arena.h"
#include "lib/stringinfo.h"
#include "live_stream.h"
#include "source.h"
#include "tweet.h"

typedef struct EvnLiveFeed
{
	const EvnSource		*source;
	const EvnFeedServer *server;
	MemoryContext		 context;
	EvnHttp				*http;
	EvnLive				 live;

	EvnArena	  *arena;	/* of the message being read */
	StringInfoData flat;	/* the message in the flat form */
	EvnFeedMessage message; /* not taken yet */
	bool		   has_message;
} EvnLiveFeed;

/*
 * A feed of so many bytes, zeroed but for its beginning, in the current
 * context, with which it goes.  Raises when memory runs out.
 */
extern void *evn_live_feed_open(size_t size, const EvnSource *source, const EvnFeedServer *server,
								EvnFraming framing, int64 stall_us);

/* This is the message now; the text lives until it is taken. */
extern void evn_live_feed_hold(EvnLiveFeed *feed, EvnText text, int64 id);
/* one that was cut */
extern void evn_live_feed_hold_long(EvnLiveFeed *feed, EvnText text);

/* In a transaction of its own: what came in this span is missing. */
extern void evn_live_feed_note_gap(const EvnLiveFeed *feed, TimestampTz since, TimestampTz until,
								   const char *reason);

/* For EvnFeedApi, where nothing but the connection is waited for. */
extern void evn_live_feed_status(const EvnFeed *feed, EvnSourceStatus *status);
extern void evn_live_feed_wait(EvnFeed *feed, long timeout_ms);

#endif /* EVN_LIVE_FEED_H */
