/*
 * tweet_decode.h
 *		One Kafka message in, one EvnTweet or the reason why not out.
 *
 * Understands X API v2 stream envelopes ({"data": {...}, "includes": ...},
 * also in the newer post.* spellings), v1.1 statuses and notices, and the flat
 * form {id, created_at|timestamp, author_id, city|place, lang, is_retweet,
 * text}, and tells them apart by itself.  Pure C: never raises, needs no
 * server, no lock and no transaction.
 */
#ifndef EVN_TWEET_DECODE_H
#define EVN_TWEET_DECODE_H

#include "arena.h"
#include "tweet.h"

typedef enum EvnDecodeResult
{
	EVN_DECODE_OK,
	EVN_DECODE_EMPTY,		  /* no bytes, a tombstone or only white space */
	EVN_DECODE_TOO_LARGE,	  /* longer than EVN_DECODE_MAX_BYTES */
	EVN_DECODE_BAD_ENCODING,  /* not UTF-8 */
	EVN_DECODE_NUL,			  /* a NUL byte or \u0000, which text cannot hold */
	EVN_DECODE_BAD_ESCAPE,	  /* a lone surrogate or a malformed escape */
	EVN_DECODE_BAD_JSON,	  /* not JSON, truncated, or bytes after its end */
	EVN_DECODE_TOO_DEEP,	  /* nested deeper than EVN_DECODE_MAX_DEPTH */
	EVN_DECODE_DUPLICATE_KEY, /* a key the decoder reads stands twice in one object */
	EVN_DECODE_NO_ID,		  /* no id, or not a positive 64-bit integer */
	EVN_DECODE_NO_TIME,		  /* no time, and the id is not one that holds its time */
	EVN_DECODE_BAD_TIME,	  /* unreadable, or out of the range evilnet stores */
	EVN_DECODE_BAD_VALUE,	  /* a field of another type than the form says */
	EVN_DECODE_UNKNOWN_FORM,  /* JSON, but none of the forms above */
	EVN_DECODE_NO_MEMORY
} EvnDecodeResult;

#define EVN_DECODE_MAX_BYTES (4 * 1024 * 1024)
#define EVN_DECODE_MAX_DEPTH 64

typedef struct EvnDecoder EvnDecoder;

/* A decoder holds scratch space only and serves any number of messages, one at
 * a time.  NULL when out of memory; freed with evn_tweet_decoder_free. */
extern EvnDecoder *evn_tweet_decoder_create(void);
extern void evn_tweet_decoder_free(EvnDecoder *decoder);

/*
 * Decode one message.  On EVN_DECODE_OK *tweet is filled; its slices point
 * into payload or arena.  On any other result *tweet is undefined.
 */
extern EvnDecodeResult evn_tweet_decode(EvnDecoder *decoder, EvnArena *arena, const char *payload,
										size_t len, EvnTweet *tweet);

/* a stable short code ("bad_json") and a sentence fragment for people; static strings */
extern const char *evn_tweet_decode_code(EvnDecodeResult result);
extern const char *evn_tweet_decode_message(EvnDecodeResult result);

#endif /* EVN_TWEET_DECODE_H */
