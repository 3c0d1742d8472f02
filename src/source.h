/*
 * source.h
 *		One source as its catalog row says, and how far it has fetched.
 *
 * Everything here needs a transaction and raises on error.
 */
#ifndef EVN_SOURCE_H
#define EVN_SOURCE_H

#include "datatype/timestamp.h"
#include "utils/jsonb.h"

typedef struct EvnSource
{
	int32  id;
	Oid	   owner;
	char  *name;
	char  *server; /* of evilnet_http */
	char  *endpoint;
	Jsonb *params;
	char  *to_server; /* of evilnet_kafka; NULL with to_stream */
	char  *topic;
	Oid	   to_stream;
	Jsonb *cursor; /* NULL at the beginning */

	int64		budget; /* messages that it may still hand on this month; huge without a budget */
	TimestampTz month_end; /* of evn_clock_now() */
} EvnSource;

/* Read a source that is to run of this database into the current context; NULL when there is none. */
extern EvnSource *evn_source_load(int32 id);

/* a text of params; NULL when it is not there */
extern char *evn_source_param(const Jsonb *params, const char *key);

/* the same as a whole number; missing when it is not there; raises unless it is between least and most */
extern int evn_source_param_int(const Jsonb *params, const char *key, int least, int most,
								int missing);

/* Raise unless the parameters of the budget make sense. */
extern void evn_source_check_budget(const Jsonb *params);

/* What was handed on. */
typedef struct EvnSourceCounts
{
	int64 messages;
	int64 bytes;
	int64 duplicates; /* messages that the stream had already */
} EvnSourceCounts;

/* Everything up to this cursor (NULL: the one before) was handed on, so much since the last time. */
extern void evn_source_advance(const EvnSource *source, Jsonb *cursor,
							   const EvnSourceCounts *counts);

/* Set a message that cannot be handed on aside; payload may be its beginning only. */
extern void evn_source_set_aside(const EvnSource *source, Jsonb *cursor, const char *reason,
								 const char *payload, size_t len);

/* Posts of [since, until) could not be fetched, for that reason. */
extern void evn_source_note_gap(const EvnSource *source, TimestampTz since, TimestampTz until,
								const char *reason);

/* Disable the source: reason NULL when it has fetched all there is. */
extern void evn_source_stop(const EvnSource *source, const char *reason);

#endif /* EVN_SOURCE_H */
