/*
 * json_scan.h
 *		Reading one JSON text front to back.
 *
 * A pull scanner, strict to RFC 8259 in skipped parts as in read ones: UTF-8,
 * escapes, grammar, nesting depth.  Beyond that it refuses what text cannot
 * hold (NUL) and half surrogate pairs.  Tokens are those of PostgreSQL's JSON
 * lexer, asked not to unescape, as that would allocate for each.  Pure C, never raises, allocates
 * nothing but unescaped strings.  The first error sticks: every later call
 * returns false, so callers look at scan->error once, at the end.  Errors are
 * the decoder's own result codes.
 *
 * A value that is an object or array must be either iterated to its end or
 * skipped before its parent goes on.
 */
#ifndef EVN_JSON_SCAN_H
#define EVN_JSON_SCAN_H

#include "arena.h"
#include "common/jsonapi.h"
#include "tweet.h"
#include "tweet_decode.h"

/* null is 0, so that a zeroed value is an absent one */
typedef enum EvnJsonType
{
	EVN_JSON_NULL,
	EVN_JSON_FALSE,
	EVN_JSON_TRUE,
	EVN_JSON_NUMBER,
	EVN_JSON_STRING,
	EVN_JSON_ARRAY,
	EVN_JSON_OBJECT
} EvnJsonType;

/* a string between its quotes as written: evn_json_scan_text tells what it means */
typedef struct EvnJsonString
{
	EvnText raw;
	bool	escaped; /* raw holds escapes */
} EvnJsonString;

typedef struct EvnJsonValue
{
	EvnJsonType	  type;
	EvnJsonString text; /* of an array or object only where it begins */
} EvnJsonValue;

typedef struct EvnJsonScan
{
	JsonLexContext	lex;
	EvnDecodeResult error;
	bool			opened; /* at the very beginning of an object or array */
	int				depth;
	uint64			objects; /* bit n: the container at depth n + 1 is an object */
} EvnJsonScan;

/* Check that the text is UTF-8 and begin its outermost value. */
extern bool evn_json_scan_open(EvnJsonScan *scan, const char *json, size_t len,
							   EvnJsonValue *value);

/* Read once more an object or array that evn_json_scan_skip returned. */
extern bool evn_json_scan_reopen(EvnJsonScan *scan, EvnText part, EvnJsonValue *value);

/* Next member of the object or array we are in; false at its end, which is then behind us. */
extern bool evn_json_scan_field(EvnJsonScan *scan, EvnJsonString *name, EvnJsonValue *value);
extern bool evn_json_scan_element(EvnJsonScan *scan, EvnJsonValue *value);

/* Pass the value just read; returns an object or array as written. */
extern EvnText evn_json_scan_skip(EvnJsonScan *scan, const EvnJsonValue *value);

/* Nothing may follow the outermost value. */
extern bool evn_json_scan_end(EvnJsonScan *scan);

/* Record an error unless there is one; always false. */
extern bool evn_json_scan_fail(EvnJsonScan *scan, EvnDecodeResult error);

/* What a string means; copied to the arena only if it holds escapes.  Absent when memory is out. */
extern EvnText evn_json_scan_text(EvnJsonScan *scan, EvnArena *arena, const EvnJsonString *string);

#endif /* EVN_JSON_SCAN_H */
