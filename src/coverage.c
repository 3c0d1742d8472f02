/*
 * coverage.c
 *		SQL function that tells which spans of time a stream consumed.
 *
 * What evilnet.watermark and evilnet.coverage say is for everybody who may
 * read the stream's table or one of its aggregates, and the positions it is
 * made of for the owner alone; so they are read here, with other rights than
 * the caller's.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "spi.h"

PG_FUNCTION_INFO_V1(evn_coverage_spans);

/* The catalog's own owner, who writes it, need not be allowed anything of the user's. */
static void
require_readable(Oid relid, Oid userid, bool is_catalog_owner)
{
	char *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	if (evn_spi_execf(SPI_OK_SELECT,
					  "SELECT pg_catalog.has_table_privilege(%u, %u, 'SELECT') OR EXISTS"
					  " (SELECT FROM evilnet.continuous_aggregate a WHERE a.stream = s.stream"
					  " AND pg_catalog.has_table_privilege(%u, a.aggregate, 'SELECT'))"
					  " FROM evilnet.stream s WHERE s.stream = %u",
					  userid, relid, userid, relid) == 0)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a stream", name),
						errhint("evilnet.stream lists the streams.")));
	if (!is_catalog_owner && !DatumGetBool(evn_spi_value(0, 1)))
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, name);
}

/*
 * A partition that was read from offset 0 misses nothing that came before its
 * first message: there was none.  So it reaches back as far as any of the
 * stream's, unless a former span of it is known.  A partition of the topic
 * that has no position yet was not read at all.
 */
static const char spans_query[] =
	"WITH o AS MATERIALIZED (SELECT * FROM evilnet.stream_offset WHERE stream = $1),"
	" c AS MATERIALIZED (SELECT * FROM evilnet.coverage_span WHERE stream = $1),"
	" stream AS (SELECT least((SELECT pg_catalog.min(covered_since) FROM o),"
	" (SELECT pg_catalog.min(since) FROM c)) AS began,"
	" coalesce((SELECT pg_catalog.max(greatest(topic_partitions, kafka_partition + 1)) FROM o),"
	" (SELECT pg_catalog.max(kafka_partition) + 1 FROM c), 1) AS partitions)"
	" SELECT p, CASE WHEN o.covered_since IS NOT NULL AND o.next_offset = o.messages + o.gaps"
	" AND NOT EXISTS (SELECT FROM c WHERE c.kafka_partition = p)"
	" THEN stream.began ELSE o.covered_since END, o.covered_until, true"
	" FROM stream CROSS JOIN pg_catalog.generate_series(0, stream.partitions - 1) p"
	" LEFT JOIN o ON o.kafka_partition = p"
	" UNION ALL SELECT kafka_partition, since, until, false FROM c";

Datum
evn_coverage_spans(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			   relid = PG_GETARG_OID(0);
	Oid			   userid = GetUserId();
	Oid			   owner = evn_spi_catalog_owner();
	Oid			   types[1] = {REGCLASSOID};
	Datum		   values[1] = {ObjectIdGetDatum(relid)};
	EvnSpi		   spi;

	InitMaterializedSRF(fcinfo, 0);
	evn_spi_begin(&spi, owner);
	require_readable(relid, userid, userid == owner);
	if (SPI_execute_with_args(spans_query, 1, types, values, NULL, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "reading the coverage of a stream failed");
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	evn_spi_end(&spi);
	return (Datum) 0;
}
