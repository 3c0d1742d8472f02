/*
 * rollup.h
 *		Roll-ups of a stream: its counts per city by the minute, and the same by
 *		longer buckets, over them.  Reports read whichever fit.
 *
 * A roll-up is a continuous aggregate whose catalog row has rollup, its width;
 * columns bucket, city_id, tweets, retweets and, with hll, authors.  All of it
 * needs a transaction, palloc's in the current context and raises on error.
 */
#ifndef EVN_ROLLUP_H
#define EVN_ROLLUP_H

#include "nodes/pg_list.h"

#define EVN_ROLLUP_BASE_US INT64CONST(60000000) /* the finest there is: one minute */

typedef struct EvnRollup
{
	Oid	  view;
	Oid	  storage;
	int64 width;	   /* microseconds */
	int64 since;	   /* buckets from here on are complete */
	bool  has_authors; /* counts distinct authors */
} EvnRollup;

/*
 * The stream's roll-ups that are being kept up to date, finest first; as the
 * calling query sees them, or as they are now.
 */
extern List *evn_rollup_list(Oid stream, bool now);

/*
 * The query of the stream's counts per city by that width (an interval): over
 * the roll-ups it has, else over its table.
 */
extern char *evn_rollup_query(Oid stream, const char *width, const List *rollups);

/* Schema of extension hll, quoted; NULL without it. */
extern char *evn_rollup_hll_schema(void);

#endif /* EVN_ROLLUP_H */
