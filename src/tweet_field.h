/*
 * tweet_field.h
 *		The names of the fields that messages of any form are read for.
 */
#ifndef EVN_TWEET_FIELD_H
#define EVN_TWEET_FIELD_H

#include "tweet.h"

/* every field any form reads; 0 is all others */
typedef enum EvnField
{
	EVN_F_UNKNOWN,
	EVN_F_AUTHOR_ID,
	EVN_F_CITY,
	EVN_F_COORDINATES,
	EVN_F_COUNTRY_CODE,
	EVN_F_CREATED_AT,
	EVN_F_DATA,
	EVN_F_DELETE,
	EVN_F_ENTITIES,
	EVN_F_EXTENDED_TWEET,
	EVN_F_FULL_NAME,
	EVN_F_FULL_TEXT,
	EVN_F_GEO,
	EVN_F_HASHTAGS,
	EVN_F_ID,
	EVN_F_ID_STR,
	EVN_F_INCLUDES,
	EVN_F_IN_REPLY_TO_STATUS_ID,
	EVN_F_IN_REPLY_TO_STATUS_ID_STR,
	EVN_F_IS_QUOTE_STATUS,
	EVN_F_IS_RETWEET,
	EVN_F_LANG,
	EVN_F_LAT,
	EVN_F_LOCATION,
	EVN_F_LON,
	EVN_F_NAME,
	EVN_F_NOTE_POST,
	EVN_F_NOTE_TWEET,
	EVN_F_NOTICE, /* any of the notices */
	EVN_F_PLACE,
	EVN_F_PLACES,
	EVN_F_PLACE_ID,
	EVN_F_POST,
	EVN_F_QUOTED_STATUS,
	EVN_F_QUOTED_STATUS_ID,
	EVN_F_QUOTED_STATUS_ID_STR,
	EVN_F_REFERENCED_POSTS,
	EVN_F_REFERENCED_TWEETS,
	EVN_F_RETWEETED_STATUS,
	EVN_F_STATUS,
	EVN_F_TAG,
	EVN_F_TEXT,
	EVN_F_TIMESTAMP,
	EVN_F_TIMESTAMP_MS,
	EVN_F_TWEET,
	EVN_F_TYPE,
	EVN_F_USER,
	EVN_F_USERS,
	EVN_F_COUNT
} EvnField;

/* a power of two, several times the number of names */
#define EVN_FIELD_SLOTS 512

/* A hash table of all names, filled once. */
typedef struct EvnFieldIndex
{
	uint8 slots[EVN_FIELD_SLOTS]; /* number of a name from 1 on, 0 for none */
} EvnFieldIndex;

extern void evn_tweet_field_index(EvnFieldIndex *index);

/* EVN_F_UNKNOWN when no form reads a field of this name */
extern EvnField evn_tweet_field_find(const EvnFieldIndex *index, EvnText name);

#endif /* EVN_TWEET_FIELD_H */
