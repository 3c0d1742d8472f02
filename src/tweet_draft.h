/*
 * tweet_draft.h
 *		What a message says, field by field, before it is judged.
 *
 * Inside of the decoder: read by tweet_draft.c, judged by tweet_decode.c.
 * Strings are unescaped already; absent and null are the same.
 */
#ifndef EVN_TWEET_DRAFT_H
#define EVN_TWEET_DRAFT_H

#include "json_scan.h"
#include "tweet_field.h"

/* an id as a number or string; value is -1 when it is not a 64-bit integer from 0 on */
typedef struct EvnDraftId
{
	bool  given;
	int64 value;
} EvnDraftId;

/* a number as written, or a string */
typedef struct EvnDraftScalar
{
	EvnJsonType type; /* null when not given */
	EvnText		text;
} EvnDraftScalar;

typedef struct EvnDraftNumber
{
	bool   given;
	double value;
} EvnDraftNumber;

/* given only when it is on the globe */
typedef struct EvnDraftPoint
{
	bool   given;
	double lon;
	double lat;
} EvnDraftPoint;

/* count entries of the decoder's scratch array; an empty list is given too */
typedef struct EvnDraftTags
{
	bool given;
	int	 first;
	int	 count;
} EvnDraftTags;

/* a post in any form, or a notice */
typedef struct EvnDraft
{
	EvnDraftId	   id;
	EvnDraftId	   id_str;
	EvnDraftId	   author_id;
	EvnDraftId	   author_id_str;
	EvnDraftScalar created_at;
	EvnDraftScalar timestamp;
	EvnDraftScalar timestamp_ms;
	EvnText		   text;
	EvnText		   full_text;
	EvnText		   long_text; /* of extended_tweet, note_tweet or note_post */
	EvnText		   lang;
	EvnDraftTags   tags;	   /* of entities */
	EvnDraftTags   long_tags;  /* of the entities beside long_text */
	EvnDraftTags   plain_tags; /* of the post itself */
	EvnText		   city;
	EvnText		   country_code;
	EvnText		   place_id; /* refers to an included place */
	EvnText		   place_full_name;
	EvnText		   place_name;
	EvnText		   place_country_code;
	EvnText		   profile;
	EvnDraftNumber lon;
	EvnDraftNumber lat;
	EvnDraftPoint  coordinates;
	EvnDraftPoint  geo;
	bool		   user; /* there is a user object */
	bool		   retweet;
	bool		   reply;
	bool		   quote;
	bool		   notice;	 /* a field that only notices have */
	bool		   deletion; /* a delete notice */
	EvnDraftId	   deleted_id;
	EvnDraftId	   deleted_id_str;
} EvnDraft;

typedef struct EvnMessage
{
	EvnDraft top;  /* the outermost object */
	EvnDraft data; /* its "data", if that is an object */
	bool	 has_data;
	bool	 strange_data; /* "data" is neither an object nor null */
	EvnText	 includes;	   /* as written, when it came before "data" */
} EvnMessage;

struct EvnDecoder
{
	EvnJsonScan	  scan;
	EvnArena	 *arena; /* of the message at hand */
	EvnText		 *tags;
	int			  ntags;
	int			  max_tags;
	EvnFieldIndex fields;
};

/* Read the object just begun, which is the whole message; errors are in the scan. */
extern void evn_tweet_draft_read(EvnDecoder *decoder, EvnMessage *message);

/* id_str, if given, else id: JavaScript rounds long numbers */
extern const EvnDraftId *evn_tweet_draft_id(const EvnDraftId *id, const EvnDraftId *id_str);

/* leaves *point alone when lon or lat is off the globe */
extern void evn_tweet_draft_set_point(EvnDraftPoint *point, double lon, double lat);

#endif /* EVN_TWEET_DRAFT_H */
