/*
 * continuous_aggregate.h
 *		Maintaining the aggregates of a stream, batch by batch.
 *
 * All of it needs a transaction, runs with the rights of the stream's owner
 * where said so, and raises on error.
 *
 * Locks decide who counts what.  Who stores rows holds RowExclusiveLock on the
 * stream's table from before evn_aggregates_begin() to the end of the
 * transaction.  Who creates, drops, builds, refreshes or folds an aggregate
 * takes ShareRowExclusiveLock on it first: no batch is under way then, and the
 * next one sees the change.
 */
#ifndef EVN_CONTINUOUS_AGGREGATE_H
#define EVN_CONTINUOUS_AGGREGATE_H

#include "utils/tuplestore.h"

#include "aggregate_plan.h"
#include "stream.h"

typedef struct EvnAggregate
{
	Oid view; /* its name */
	Oid query_view;
	Oid storage;
	Oid source;	  /* the stream's table, or another aggregate's view */
	Oid replaces; /* the aggregate whose place it takes when it is built, or InvalidOid */
	struct EvnAggregate *parent; /* that other aggregate, else NULL */
	bool				 enabled;
	bool				 notify;
	int64				 built_from; /* buckets before it are still to be built; DT_NOBEGIN: none */
	int64				 results_since; /* buckets before it were dropped */
	int64 folded_until; /* buckets before it have one row per group, apart from late ones */

	/* private: what is made of the query, rebuilt when valid is false */
	bool			 valid;
	EvnAggregatePlan plan;
	int64			 partition_start; /* the storage partition found last */

	/* of the batch at hand */
	Tuplestorestate *delta; /* what it adds or takes away, NULL when nothing was computed */
	List			*spans; /* EvnAggregateSpan: recomputed instead, time of the source */
	int64			 late;	/* rows added to buckets that were over */

	/* buckets changed since evn_aggregates_begin() */
	int64 changed_since;
	int64 changed_until;
} EvnAggregate;

typedef struct EvnAggregateSpan
{
	int64 since;
	int64 until;
} EvnAggregateSpan;

typedef struct EvnAggregates
{
	const EvnStream *stream;
	Oid				 catalog;	  /* evilnet.continuous_aggregate */
	MemoryContext	 context;	  /* that it lives in */
	TupleDesc		 row_desc;	  /* of the stream's table */
	int64			 rows_since;  /* older posts were dropped; DT_NOBEGIN: none */
	List			*members;	  /* EvnAggregate, those that others read before those others */
	bool			 valid;		  /* the catalog has not changed since it was read */
	int64			 seen_until;  /* newest post of the batches committed */
	int64			 batch_until; /* newest post of the batch at hand */
} EvnAggregates;

/*
 * The aggregates of a stream, in the current memory context, with which they
 * go.  Nothing is read before evn_aggregates_begin().
 */
extern EvnAggregates *evn_aggregates_open(const EvnStream *stream);

/*
 * Begin a batch or other work: read the catalog and the queries again when they
 * changed.  The stream's table is locked (see above) and of row_desc, which must
 * live until the end of the transaction.
 */
extern void evn_aggregates_begin(EvnAggregates *aggregates, TupleDesc row_desc);

/* the aggregate of a view, NULL when it is none of them */
extern EvnAggregate *evn_aggregates_find(EvnAggregates *aggregates, Oid view);

/* Have the plan of an aggregate ready, and of those it reads; locks their relations. */
extern void evn_aggregate_ensure(EvnAggregates *aggregates, EvnAggregate *aggregate);

/* columns of the stream's table that batches need, offset as in pull_varattnos; first of all for a batch */
extern Bitmapset *evn_aggregates_columns(EvnAggregates *aggregates);

/*
 * Add the rows of a batch, or take deleted rows away again.  rows holds tuples
 * of the stream's table (columns nobody reads may be null), newest is the time
 * of the newest one; slot is the number of this worker.  Runs as the stream's
 * owner.  Taking away needs the rows gone from the table already, and that no
 * other worker stores into this stream meanwhile.
 */
extern void evn_aggregates_add(EvnAggregates *aggregates, Tuplestorestate *rows, int64 newest,
							   int slot);
extern void evn_aggregates_remove(EvnAggregates *aggregates, Tuplestorestate *rows, int slot);

/* Free the deltas that evn_aggregates_add() has left for those who look at them. */
extern void evn_aggregates_end(EvnAggregates *aggregates);

/* Tell who listens what has changed since evn_aggregates_begin(). */
extern void evn_aggregates_notify(EvnAggregates *aggregates);

/* The batch was committed: what is older than its posts is late from now on. */
extern void evn_aggregates_committed(EvnAggregates *aggregates);

/*
 * Compute the buckets that hold source rows of [since, until) afresh, but no
 * bucket before the time from which the source is whole; what is computed
 * replaces all slots' rows.  Runs as the stream's owner, nobody else may store.
 */
extern void evn_aggregate_recompute(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 since,
									int64 until, int slot);

/* The first bucket at or after since that is built, and whose rows are all there. */
extern int64 evn_aggregate_whole_since(const EvnAggregates *aggregates,
									   const EvnAggregate *aggregate, int64 since);

#endif /* EVN_CONTINUOUS_AGGREGATE_H */
