/*
 * feed.h
 *		What every kind of source can do: hand out the messages of an endpoint
 *		from a cursor on, and say where it is.
 *
 * A feed lives in the memory context it was opened in, and what it holds
 * besides memory is let go when that is reset.  Its functions raise on error and
 * are called outside any transaction, but for open and check.
 */
#ifndef EVN_FEED_H
#define EVN_FEED_H

#include "source.h"

typedef struct EvnFeed EvnFeed;

typedef struct EvnFeedMessage
{
	const char *data; /* until it is taken */
	size_t		len;
	bool		too_long; /* data is only its beginning */
	int64		id;		  /* of the post, or of the one that is deleted; 0 for none */
} EvnFeedMessage;

#define EVN_FEED_MAX_MESSAGE (4 * 1024 * 1024) /* as much as the decoder takes */

typedef enum EvnFeedResult
{
	EVN_FEED_MESSAGE,
	EVN_FEED_WAIT, /* nothing has come */
	EVN_FEED_END   /* there will be nothing more */
} EvnFeedResult;

typedef struct EvnFeedApi
{
	const char *name;		 /* option "api" of a server */
	bool		reads_files; /* the owner needs pg_read_server_files */

	/* Raise unless a source can be made of these. */
	void (*check)(const char *endpoint, const Jsonb *params);
	EvnFeed *(*open)(const EvnSource *source);
	/* The same message again until it is taken. */
	EvnFeedResult (*next)(EvnFeed *feed, EvnFeedMessage *message);
	void (*take)(EvnFeed *feed);
	/* Wait for something to come, for the latch, or so long. */
	void (*wait)(EvnFeed *feed, long timeout_ms);
	/* where to go on after all that was taken, NULL for where it began; palloc'd in the current context */
	Jsonb *(*cursor)(EvnFeed *feed);
} EvnFeedApi;

/* NULL when there is none of that name */
extern const EvnFeedApi *evn_feed_api(const char *name);

/* the names of all, for a hint; palloc'd */
extern char *evn_feed_api_names(void);

#endif /* EVN_FEED_H */
