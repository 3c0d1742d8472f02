/*
 * aggregate_maintain.c
 *		What is done to aggregates now and then.
 *
 * Retention drops whole partitions (retention.c).  Folding merges the rows
 * that several workers wrote for one group into one, once a bucket is over and
 * seldom written: readers then find one row per group again.
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
#include "aggregate_maintain.h"
#include "alert.h"
#include "compat.h"
#include "retention.h"
#include "spi.h"

#define FOLD_AFTER_US (INT64CONST(2) * USECS_PER_HOUR) /* buckets that began so long ago */
#define FOLD_SPAN_US  USECS_PER_HOUR				   /* folded in one round */
#define FOLD_SLOT	  0

static void
set_time(const EvnAggregate *aggregate, const char *column, int64 ts)
{
	Oid	   types[1] = {TIMESTAMPTZOID};
	Datum  values[1] = {TimestampTzGetDatum(ts)};
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		psprintf("UPDATE evilnet.continuous_aggregate SET %s = $1 WHERE aggregate = %u", column,
				 aggregate->view),
		1, types, values, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
}

/* Whether [since, until) has rows of more than one slot. */
static bool
has_slots(const EvnAggregate *aggregate, const char *span, Oid types[2], Datum values[2])
{
	bool   found;
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	found = evn_spi_exec_args(psprintf("SELECT FROM %s s WHERE %s AND s.%s <> %d LIMIT 1",
									   evn_spi_qualified_name(aggregate->storage), span,
									   EVN_SLOT_COLUMN, FOLD_SLOT),
							  2, types, values, NULL, SPI_OK_SELECT) > 0;
	evn_spi_end(&spi);
	return found;
}

/* Take the rows of a span out and put them back merged, all in one statement. */
static char *
fold_sql(const EvnAggregate *aggregate, const char *span)
{
	const EvnAggregateQuery *query = aggregate->plan.query;
	const char				*storage = evn_spi_qualified_name(aggregate->storage);
	EvnAggregateMerged		 merged = evn_aggregate_query_merged(query, "d", true);
	StringInfoData			 names;

	initStringInfo(&names);
	for (int i = 0; i < query->ncolumns; i++)
		appendStringInfo(&names, "%s, ", query->columns[i].name);
	return psprintf("WITH d AS (DELETE FROM %s s WHERE %s RETURNING *)"
					" INSERT INTO %s (%s%s) SELECT %s, %d FROM d GROUP BY %s"
					" HAVING evilnet.total(d.%s) <> 0",
					storage, span, storage, names.data, EVN_SLOT_COLUMN, merged.columns, FOLD_SLOT,
					merged.keys, EVN_ROWS_COLUMN);
}

/* Where the span to fold begins: where the last one ended, or with the storage. */
static bool
fold_start(const EvnAggregate *aggregate, int64 *since)
{
	Relation rel = table_open(aggregate->storage, AccessShareLock);
	int64	 end;
	bool	 found = evn_stream_partitions_span(rel, since, &end);

	table_close(rel, NoLock);
	*since = Max(*since, aggregate->folded_until);
	return found && !TIMESTAMP_NOT_FINITE(*since);
}

/* Fold the next span with something to fold. */
static void
fold(EvnAggregates *aggregates, EvnAggregate *aggregate)
{
	int64		cutoff = GetCurrentTimestamp() - FOLD_AFTER_US;
	int64		width = FOLD_SPAN_US;
	const char *bucket;
	char	   *span;
	Oid			types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum		values[2];
	int64		since;
	int64		until;
	bool		found;
	EvnSpi		spi;

	evn_aggregate_ensure(aggregates, aggregate);
	bucket = aggregate->plan.query->columns[aggregate->plan.query->bucket].name;
	span = psprintf("s.%s >= $1 AND s.%s < $2", bucket, bucket);
	if (!fold_start(aggregate, &since) || since >= cutoff)
		return;
	values[0] = TimestampTzGetDatum(since);
	/* history may be long and thin */
	do
	{
		until = Min(cutoff, since + width);
		values[1] = TimestampTzGetDatum(until);
		found = has_slots(aggregate, span, types, values);
		width *= 2;
	} while (!found && until < cutoff);
	if (found)
	{
		/* no batch is under way then */
		LockRelationOid(aggregates->stream->relid, ShareRowExclusiveLock);
		evn_spi_begin(&spi, InvalidOid);
		evn_spi_exec_args(fold_sql(aggregate, span), 2, types, values, NULL, SPI_OK_INSERT);
		evn_spi_end(&spi);
	}
	set_time(aggregate, "folded_until", until);
}

void
evn_aggregate_maintain(const EvnStream *stream)
{
	EvnAggregates *aggregates = evn_aggregate_build_open(stream, AccessShareLock);
	ListCell	  *cell;
	EvnActingAs	   before;

	/* the owner's tables: with the owner's rights */
	evn_spi_act_as(&before, stream->owner, true);
	evn_retention_apply(aggregates);
	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (aggregate->enabled && aggregate->built_from == DT_NOBEGIN)
			fold(aggregates, aggregate);
	}
	evn_alert_maintain(aggregates);
	evn_spi_act_as_before(&before);
}
