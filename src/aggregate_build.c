/*
 * aggregate_build.c
 *		Computing aggregates from the rows that are stored.
 *
 * An aggregate is built piece by piece, newest first, while ingest goes on: a
 * batch is merged into the buckets from built_from on, and what is older is
 * left to the pieces to come, each of which computes its buckets from the
 * source under a lock that keeps batches out, and moves built_from.  So every
 * row is counted by exactly one of the two, whatever is deleted or comes late
 * meanwhile, and a crash loses no more than a piece.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "aggregate_build.h"
#include "aggregate_create.h"
#include "compat.h"
#include "spi.h"

#define PIECE_MIN_US (50 * 1000)  /* quicker pieces grow */
#define PIECE_MAX_US (150 * 1000) /* slower ones shrink */
#define WIDTH_MIN	 USECS_PER_SEC
#define WIDTH_MAX	 (INT64CONST(20) * 365 * USECS_PER_DAY)
#define LAST_PIECE \
	(INT64CONST(-100) * 365 * USECS_PER_DAY) /* about 1900: what is older is one piece */
#define SAMPLE_DAYS	 60						 /* looked back for a day with rows */
#define BUILDER_SLOT 0						 /* any will do, as no worker is storing */

EvnAggregates *
evn_aggregate_build_open(const EvnStream *stream, LOCKMODE lockmode)
{
	EvnAggregates *aggregates = evn_aggregates_open(stream);
	Relation	   rel;

	/* an older snapshot would miss what was committed before we had the lock */
	if (lockmode != AccessShareLock && IsolationUsesXactSnapshot())
		ereport(
			ERROR,
			(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
			 errmsg("continuous aggregates can be changed in READ COMMITTED transactions only")));
	rel = table_open(stream->relid, lockmode);
	evn_aggregates_begin(aggregates, CreateTupleDescCopy(RelationGetDescr(rel)));
	table_close(rel, NoLock);
	return aggregates;
}

/* The time the source's rows span, by its partitions; false when it has none. */
static bool
source_span(const EvnAggregateSource *source, int64 *since, int64 *until)
{
	Relation rel =
		table_open(OidIsValid(source->storage) ? source->storage : source->relid, AccessShareLock);
	bool found = evn_stream_partitions_span(rel, since, until);

	table_close(rel, NoLock);
	return found;
}

/* Note how far an aggregate is built; from the beginning of time means it is complete. */
static void
set_built_from(EvnAggregate *aggregate, int64 built_from)
{
	Oid	   types[2] = {OIDOID, TIMESTAMPTZOID};
	Datum  values[2] = {ObjectIdGetDatum(aggregate->view), TimestampTzGetDatum(built_from)};
	char   nulls[2] = {' ', built_from == DT_NOBEGIN ? 'n' : ' '};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"UPDATE evilnet.continuous_aggregate SET built_from = $2 WHERE aggregate::pg_catalog.oid = $1",
		2, types, values, nulls, SPI_OK_UPDATE);
	evn_spi_end(&spi);
	aggregate->built_from = built_from;
}

static void
recompute_as_owner(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 since, int64 until)
{
	EvnActingAs before;

	/* the owner's table, the owner's queries: with the owner's rights */
	evn_spi_act_as(&before, aggregates->stream->owner, true);
	evn_aggregate_recompute(aggregates, aggregate, since, until, BUILDER_SLOT);
	evn_aggregates_notify(aggregates);
	evn_spi_act_as_before(&before);
}

/* Where a piece that ends at built_from begins: width earlier, at a bucket's start. */
static int64
piece_start(const EvnAggregate *aggregate, int64 source_until, int64 width)
{
	const EvnTimeBucket *time_bucket = &aggregate->plan.query->time_bucket;
	int64				 until = aggregate->built_from;

	/* nothing is stored after the last partition's end, so a piece may begin there */
	if (until == DT_NOEND)
		until = Min(source_until, GetCurrentTimestamp() + USECS_PER_DAY);
	if (until < LAST_PIECE)
		return DT_NOBEGIN;
	return evn_time_bucket_start(time_bucket, until - width);
}

static void
build_piece(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 width)
{
	int64 oldest = DT_NOEND;
	int64 newest = DT_NOEND;
	int64 since = DT_NOBEGIN;

	evn_aggregate_ensure(aggregates, aggregate);
	if (source_span(&aggregate->plan.query->source, &oldest, &newest))
	{
		since = piece_start(aggregate, newest, width);
		recompute_as_owner(aggregates, aggregate, since, aggregate->built_from);
	}
	set_built_from(aggregate, since <= oldest ? DT_NOBEGIN : since);
}

/* The next one to build: after the aggregate that it reads. */
static EvnAggregate *
next_to_build(EvnAggregates *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (aggregate->enabled && aggregate->built_from != DT_NOBEGIN &&
			(aggregate->parent == NULL || aggregate->parent->built_from == DT_NOBEGIN))
			return aggregate;
	}
	return NULL;
}

/* One that is built and has another's place to take. */
static EvnAggregate *
next_to_swap(EvnAggregates *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (OidIsValid(aggregate->replaces) && aggregate->built_from == DT_NOBEGIN)
			return aggregate;
	}
	return NULL;
}

EvnBuildProgress
evn_aggregate_build_step(EvnAggregates *aggregates, int64 *width)
{
	EvnAggregate *aggregate = next_to_build(aggregates);
	TimestampTz	  began = GetCurrentTimestamp();
	int64		  took;

	if (aggregate == NULL)
	{
		aggregate = next_to_swap(aggregates);
		if (aggregate == NULL)
			return EVN_BUILD_DONE;
		return evn_aggregate_take_place(aggregates->stream, aggregate->view, aggregate->replaces)
				   ? EVN_BUILD_MORE
				   : EVN_BUILD_BLOCKED;
	}
	build_piece(aggregates, aggregate, *width);
	took = GetCurrentTimestamp() - began;
	if (took < PIECE_MIN_US)
		*width = Min(*width * 2, WIDTH_MAX);
	else if (took > PIECE_MAX_US)
		*width = Max(*width / 2, WIDTH_MIN);
	return EVN_BUILD_MORE;
}

void
evn_aggregate_build_all(EvnAggregates *aggregates, Oid view)
{
	EvnAggregate *aggregate = evn_aggregates_find(aggregates, view);

	if (aggregate->built_from == DT_NOBEGIN)
		return;
	if (aggregate->parent != NULL)
		evn_aggregate_build_all(aggregates, aggregate->parent->view);
	evn_aggregate_ensure(aggregates, aggregate);
	recompute_as_owner(aggregates, aggregate, DT_NOBEGIN, aggregate->built_from);
	set_built_from(aggregate, DT_NOBEGIN);
}

void
evn_aggregate_refresh(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 since, int64 until)
{
	const EvnTimeBucket *time_bucket;
	ListCell			*cell;

	evn_aggregate_ensure(aggregates, aggregate);
	time_bucket = &aggregate->plan.query->time_bucket;
	if (!TIMESTAMP_NOT_FINITE(since))
		since = evn_time_bucket_start(time_bucket, since);
	if (!TIMESTAMP_NOT_FINITE(until) && evn_time_bucket_start(time_bucket, until) != until)
		until = evn_time_bucket_next(time_bucket, evn_time_bucket_start(time_bucket, until));
	/* what is still to be built will be right anyway */
	since = Max(since, aggregate->built_from);
	if (since < until)
		recompute_as_owner(aggregates, aggregate, since, until);
	foreach(cell, aggregates->members)
	{
		EvnAggregate *reader = lfirst(cell);

		if (reader->parent == aggregate && reader->enabled)
			evn_aggregate_refresh(aggregates, reader, since, until);
	}
}

int64
evn_aggregate_rows_per_day(const EvnAggregateQuery *query)
{
	int64 since;
	int64 until;

	if (!source_span(&query->source, &since, &until) || TIMESTAMP_NOT_FINITE(until))
		return -1;
	for (int day = 0; day < SAMPLE_DAYS && until > since; day++, until -= USECS_PER_DAY)
	{
		Tuplestorestate *rows =
			evn_aggregate_plan_delta_of_range(query, until - USECS_PER_DAY, until);
		int64 n = tuplestore_tuple_count(rows);

		tuplestore_end(rows);
		if (n > 0)
			return n;
	}
	return -1;
}
