/*
 * retention.c
 *		Dropping what is past its retention.
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "retention.h"
#include "spi.h"

/* a lock is tried for so long without queueing up, which would hold up others */
#define LOCK_TRIES	  100
#define LOCK_PAUSE_US 1000

static bool
lock_briefly(Oid relid)
{
	for (int i = 0; i < LOCK_TRIES; i++)
	{
		if (ConditionalLockRelationOid(relid, AccessExclusiveLock))
			return true;
		CHECK_FOR_INTERRUPTS();
		pg_usleep(LOCK_PAUSE_US);
	}
	return false;
}

static Oid
first_partition(Oid relid, int64 *until)
{
	Relation rel = table_open(relid, AccessShareLock);
	Oid		 leaf = evn_stream_first_partition(rel, until);

	table_close(rel, NoLock);
	return leaf;
}

/* Drop the partitions that end by cutoff; where the last of them ended, or DT_NOBEGIN. */
static int64
drop_partitions(Oid relid, int64 cutoff)
{
	int64  dropped = DT_NOBEGIN;
	int64  until;
	Oid	   leaf;
	EvnSpi spi;

	while (OidIsValid(leaf = first_partition(relid, &until)) && until <= cutoff)
	{
		if (!lock_briefly(relid) || !lock_briefly(leaf))
			break;
		evn_spi_begin(&spi, InvalidOid);
		evn_spi_execf(SPI_OK_UTILITY, "DROP TABLE %s", evn_spi_qualified_name(leaf));
		evn_spi_end(&spi);
		dropped = until;
	}
	return dropped;
}

/* Now less the aggregate's retention; the beginning of time when everything is kept. */
static int64
aggregate_cutoff(const EvnAggregate *aggregate)
{
	int64  cutoff = DT_NOBEGIN;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_execf(SPI_OK_SELECT,
					  "SELECT pg_catalog.now() - retention FROM evilnet.continuous_aggregate"
					  " WHERE aggregate = %u AND retention > '0'",
					  aggregate->view) > 0)
		cutoff = DatumGetTimestampTz(evn_spi_value(0, 1));
	evn_spi_end(&spi);
	return cutoff;
}

static void
expire_aggregate(const EvnAggregate *aggregate)
{
	Oid	   types[1] = {TIMESTAMPTZOID};
	int64  dropped = drop_partitions(aggregate->storage, aggregate_cutoff(aggregate));
	Datum  values[1] = {TimestampTzGetDatum(dropped)};
	EvnSpi spi;

	if (dropped == DT_NOBEGIN)
		return;
	/* what would come back to them is left out from now on */
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		psprintf("UPDATE evilnet.continuous_aggregate SET results_since = $1 WHERE aggregate = %u",
				 aggregate->view),
		1, types, values, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
}

/* Whether something still needs posts that are past the retention. */
static bool
posts_are_held(const EvnStream *stream)
{
	bool   isnull;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT, "SELECT evilnet.posts_held_by(%u)", stream->relid);
	(void) evn_spi_value_or_null(0, 1, &isnull);
	evn_spi_end(&spi);
	return !isnull;
}

/* Ids of notices older than every post that may still come are needed no more. */
static void
forget_deletes(const EvnStream *stream, int64 cutoff)
{
	Oid	   types[1] = {TIMESTAMPTZOID};
	Datum  values[1] = {TimestampTzGetDatum(cutoff)};
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(
		psprintf("DELETE FROM %s WHERE deleted_at < $1", evn_spi_qualified_name(stream->deletes)),
		1, types, values, NULL, SPI_OK_DELETE);
	evn_spi_end(&spi);
}

static void
expire_posts(const EvnStream *stream)
{
	int64 cutoff = evn_stream_kept_since(stream, GetCurrentTimestamp());
	int64 until;

	if (cutoff == DT_NOBEGIN || !OidIsValid(first_partition(stream->relid, &until)) ||
		until > cutoff || posts_are_held(stream))
		return;
	/* the event trigger on dropped tables moves rows_since */
	if (drop_partitions(stream->relid, cutoff) != DT_NOBEGIN)
		forget_deletes(stream, cutoff);
}

void
evn_retention_apply(EvnAggregates *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
		expire_aggregate(lfirst(cell));
	if (aggregates->stream->store)
		expire_posts(aggregates->stream);
}
