/*
 * tweet.h
 *		What one decoded message is: a post, a delete notice or another notice.
 *
 * Pure C: includes c.h only, so everything that sees it also builds outside
 * a server.  An EvnText is a slice that is not NUL-terminated; it points into
 * the message or into the EvnArena given to the decoder and lives as long as
 * both of them.
 */
#ifndef EVN_TWEET_H
#define EVN_TWEET_H

#include "c.h"

/* data == NULL means absent (JSON null counts as absent) */
typedef struct EvnText
{
	const char *data;
	int32		len;
} EvnText;

typedef enum EvnMessageType
{
	EVN_MESSAGE_TWEET,
	EVN_MESSAGE_DELETE, /* the post with this id is gone; only id is set */
	EVN_MESSAGE_NOTICE	/* limit, scrub_geo, heartbeat ...: nothing to store */
} EvnMessageType;

typedef enum EvnTweetKind
{
	EVN_KIND_POST,
	EVN_KIND_RETWEET,
	EVN_KIND_REPLY,
	EVN_KIND_QUOTE
} EvnTweetKind;

/* what is known of where a post comes from, best first */
typedef struct EvnCityHints
{
	EvnText place;		  /* "Toronto, Ontario" or "Toronto": the place attached to the post */
	EvnText country_code; /* ISO 3166-1 alpha-2 of the place */
	bool	has_point;	  /* lon and lat are set */
	double	lon;		  /* degrees, -180 .. 180 */
	double	lat;		  /* degrees, -90 .. 90 */
	EvnText profile;	  /* the author's own free text */
} EvnCityHints;

typedef struct EvnTweet
{
	EvnMessageType type;
	EvnTweetKind   kind;
	bool		   has_author;
	int64		   id; /* all 64 bits */
	int64		   author_id;
	int64		   created_at; /* microseconds since 2000-01-01 UTC */
	EvnText		   lang;
	EvnText		   text;
	const EvnText *hashtags; /* without '#'; array in the arena */
	int			   nhashtags;
	EvnCityHints   hints;
} EvnTweet;

#endif /* EVN_TWEET_H */
