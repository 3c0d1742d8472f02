/*
 * aggregate_build.h
 *		Computing aggregates from the rows that are stored: when they are made,
 *		and when somebody asks.
 *
 * Everything needs a transaction, raises on error, and where it changes
 * something ShareRowExclusiveLock on the stream's table, so that no batch is
 * stored meanwhile, and level READ COMMITTED, so that all before are seen.
 */
#ifndef EVN_AGGREGATE_BUILD_H
#define EVN_AGGREGATE_BUILD_H

#include "storage/lockdefs.h"

#include "continuous_aggregate.h"

/* Lock the stream, for a change of its aggregates or weaker, and read them. */
extern EvnAggregates *evn_aggregate_build_open(const EvnStream *stream, LOCKMODE lockmode);

/* Rows the query makes of the newest day that holds any, -1 when there is none. */
extern int64 evn_aggregate_rows_per_day(const EvnAggregateQuery *query);

typedef enum EvnBuildProgress
{
	EVN_BUILD_MORE,	   /* call again */
	EVN_BUILD_BLOCKED, /* somebody uses what is to be swapped: call again after a while */
	EVN_BUILD_DONE
} EvnBuildProgress;

/*
 * Build the next piece of the aggregates that are still to be built, newest
 * first, of *width microseconds, which is adapted so that a piece takes about
 * a tenth of a second; or let one that is built take another's place.
 */
extern EvnBuildProgress evn_aggregate_build_step(EvnAggregates *aggregates, int64 *width);

/* Build all that is left of one aggregate, and of those it reads, at once. */
extern void evn_aggregate_build_all(EvnAggregates *aggregates, Oid view);

/*
 * Compute the buckets that hold [since, until) afresh, and those of aggregates
 * that read them, as far as their rows are all there.
 */
extern void evn_aggregate_refresh(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 since,
								  int64 until);

#endif /* EVN_AGGREGATE_BUILD_H */
