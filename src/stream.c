/*
 * stream.c
 *		One stream as its catalog row says, and its table's time partitions.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/int.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "shmem.h"
#include "spi.h"
#include "stream.h"

#define READER_ROLE	  "evilnet_reader"
#define OPERATOR_ROLE "evilnet_operator"

/* what Kafka's brokers take as the name of a topic */
#define TOPIC_MAX		 249
#define TOPIC_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

static const struct
{
	const char *name;
	Oid			type;
} column_spec[EVN_NCOLUMNS] = {
	[EVN_COLUMN_ID] = {"id", INT8OID},
	[EVN_COLUMN_CREATED_AT] = {"created_at", TIMESTAMPTZOID},
	[EVN_COLUMN_AUTHOR_ID] = {"author_id", INT8OID},
	[EVN_COLUMN_KIND] = {"kind", TEXTOID},
	[EVN_COLUMN_LANG] = {"lang", TEXTOID},
	[EVN_COLUMN_CITY_ID] = {"city_id", INT4OID},
	[EVN_COLUMN_CITY_SOURCE] = {"city_source", TEXTOID},
	[EVN_COLUMN_TEXT] = {"text", TEXTOID},
	[EVN_COLUMN_HASHTAGS] = {"hashtags", TEXTARRAYOID},
	[EVN_COLUMN_KAFKA_PARTITION] = {"kafka_partition", INT4OID},
	[EVN_COLUMN_KAFKA_OFFSET] = {"kafka_offset", INT8OID},
	[EVN_COLUMN_RAW] = {"raw", TEXTOID},
};

void
evn_stream_check_topic(const char *topic)
{
	size_t length = strlen(topic);

	if (length == 0 || length > TOPIC_MAX || topic[strspn(topic, TOPIC_CHARACTERS)] != '\0' ||
		strcmp(topic, ".") == 0 || strcmp(topic, "..") == 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("invalid topic name \"%s\"", topic),
			 errdetail(
				 "Names of Kafka topics have 1 to %d characters of A-Z, a-z, 0-9, \".\", \"_\" and \"-\", and are neither \".\" nor \"..\".",
				 TOPIC_MAX)));
}

int64
evn_stream_interval_us(const Interval *interval)
{
	int64 us;

	if (pg_mul_s64_overflow(interval->day, USECS_PER_DAY, &us) ||
		pg_add_s64_overflow(us, interval->time, &us))
		return interval->day < 0 ? PG_INT64_MIN : PG_INT64_MAX;
	return us;
}

char *
evn_stream_interval_text(Interval *interval)
{
	return DatumGetCString(DirectFunctionCall1(interval_out, IntervalPGetDatum(interval)));
}

int64
evn_stream_partition_us(Interval *interval)
{
	int64 us = evn_stream_interval_us(interval);

	if (interval->month != 0 || us < USECS_PER_MINUTE ||
		(USECS_PER_DAY % us != 0 && us % USECS_PER_DAY != 0))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid partition_interval \"%s\"", evn_stream_interval_text(interval)),
			 errhint(
				 "Use a whole number of days, or a part of a day such as '1 hour', of at least a minute.")));
	return us;
}

int64
evn_stream_partition_start(int64 ts, int64 partition_us)
{
	int64 rest = ts % partition_us;

	return ts - rest - (rest < 0 ? partition_us : 0);
}

int64
evn_stream_kept_since(const EvnStream *stream, TimestampTz now)
{
	Interval zero = {0};
	Interval retention = stream->retention;
	Datum	 cutoff;

	if (DatumGetBool(DirectFunctionCall2(interval_eq, IntervalPGetDatum(&retention),
										 IntervalPGetDatum(&zero))))
		return DT_NOBEGIN;
	cutoff = DirectFunctionCall2(timestamptz_mi_interval, TimestampTzGetDatum(now),
								 IntervalPGetDatum(&retention));
	return evn_stream_partition_start(DatumGetTimestampTz(cutoff), stream->partition_us);
}

static char *
text_value(int column)
{
	return TextDatumGetCString(evn_spi_value(0, column));
}

static char *
name_value(int column)
{
	return pstrdup(NameStr(*DatumGetName(evn_spi_value(0, column))));
}

static void
fill_stream(EvnStream *stream)
{
	bool	  isnull;
	Interval *interval;

	stream->owner = DatumGetObjectId(evn_spi_value(0, 1));
	stream->name = evn_spi_qualified_name(stream->relid);
	(void) evn_spi_value_or_null(0, 2, &isnull);
	if (!isnull)
	{
		stream->server = name_value(2);
		stream->topic = text_value(3);
	}
	stream->start_at = text_value(4);
	stream->workers = DatumGetInt32(evn_spi_value(0, 5));
	stream->dedup = DatumGetBool(evn_spi_value(0, 6));
	stream->store = DatumGetBool(evn_spi_value(0, 7));
	stream->keep_raw = DatumGetBool(evn_spi_value(0, 8));
	stream->stop_on_error = DatumGetBool(evn_spi_value(0, 9));
	stream->error_budget = DatumGetFloat8(evn_spi_value(0, 10));
	stream->partition_us = evn_stream_partition_us(DatumGetIntervalP(evn_spi_value(0, 11)));
	stream->batch_messages = DatumGetInt32(evn_spi_value(0, 12));
	stream->batch_bytes = DatumGetInt32(evn_spi_value(0, 13));
	interval = DatumGetIntervalP(evn_spi_value(0, 14));
	stream->batch_interval_ms = Max(evn_stream_interval_us(interval) / 1000, 1);
	stream->deletes = DatumGetObjectId(evn_spi_value_or_null(0, 15, &isnull));
	stream->retention = *DatumGetIntervalP(evn_spi_value(0, 16));
}

EvnStream *
evn_stream_load(Oid relid)
{
	MemoryContext caller = CurrentMemoryContext;
	EvnStream	 *stream = NULL;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_execf(
			SPI_OK_SELECT,
			"SELECT c.relowner, s.server, s.topic, s.start_at, s.workers, s.dedup, s.store,"
			" s.keep_raw, s.on_error = 'stop', s.error_budget, s.partition_interval,"
			" s.batch_messages, s.batch_bytes, s.batch_interval, s.deletes::pg_catalog.oid,"
			" s.retention"
			" FROM evilnet.stream s JOIN pg_catalog.pg_class c ON c.oid = s.stream"
			" WHERE s.stream = %u",
			relid) > 0)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		stream = palloc0(sizeof(EvnStream));
		stream->relid = relid;
		fill_stream(stream);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	return stream;
}

/* Whether the current user has the rights of a role of ours, which may have been dropped. */
static bool
has_role(const char *name)
{
	Oid role = get_role_oid(name, true);

	return OidIsValid(role) && has_privs_of_role(GetUserId(), role);
}

bool
evn_stream_is_seen(Oid relid)
{
	return evn_owns_relation(relid, GetUserId()) || has_role(READER_ROLE);
}

bool
evn_stream_is_operator(void)
{
	return has_role(OPERATOR_ROLE);
}

void
evn_stream_grant_read(const char *name)
{
	if (OidIsValid(get_role_oid(READER_ROLE, true)))
		evn_spi_execf(SPI_OK_UTILITY, "GRANT SELECT ON %s TO " READER_ROLE, name);
}

static void
require_stream(Oid relid, bool operators, const char *lock)
{
	char  *name = get_rel_name(relid);
	EvnSpi spi;
	bool   found;

	evn_shmem_require();
	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	if (!evn_owns_relation(relid, GetUserId()) && !(operators && has_role(OPERATOR_ROLE)))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, name);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	found = evn_spi_execf(SPI_OK_SELECT, "SELECT FROM evilnet.stream WHERE stream = %u %s", relid,
						  lock) > 0;
	evn_spi_end(&spi);
	if (!found)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a stream", name),
						errhint("evilnet.stream lists the streams.")));
}

void
evn_stream_require_owned(Oid relid)
{
	/* who drops it meanwhile is waited for; foreign keys may be checked, as the builder does */
	require_stream(relid, false, "FOR NO KEY UPDATE");
}

void
evn_stream_require_operated(Oid relid)
{
	require_stream(relid, true, "FOR NO KEY UPDATE");
}

void
evn_stream_check_owned(Oid relid)
{
	require_stream(relid, false, "");
}

void
evn_stream_columns(Relation rel, AttrNumber attnums[EVN_NCOLUMNS])
{
	for (int i = 0; i < EVN_NCOLUMNS; i++)
	{
		attnums[i] = get_attnum(RelationGetRelid(rel), column_spec[i].name);
		if (attnums[i] == InvalidAttrNumber && i == EVN_COLUMN_RAW)
			continue;
		if (attnums[i] == InvalidAttrNumber ||
			TupleDescAttr(RelationGetDescr(rel), attnums[i] - 1)->atttypid != column_spec[i].type)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_COLUMN),
					 errmsg("stream table \"%s\" has no column \"%s\" of type %s",
							RelationGetRelationName(rel), column_spec[i].name,
							format_type_be(column_spec[i].type)),
					 errhint("Columns that evilnet fills cannot be dropped, renamed or altered.")));
	}
}

Oid
evn_stream_find_partition(Relation rel, TimestampTz ts)
{
	PartitionKey  key = RelationGetPartitionKey(rel);
	PartitionDesc desc = RelationGetPartitionDesc(rel, true);
	Datum		  value = TimestampTzGetDatum(ts);
	bool		  equal;
	int			  bound;
	int			  index;

	if (desc->nparts == 0)
		return InvalidOid;
	bound = partition_range_datum_bsearch(key->partsupfunc, key->partcollation, desc->boundinfo, 1,
										  &value, &equal);
	index = desc->boundinfo->indexes[bound + 1];
	return index < 0 ? InvalidOid : desc->oids[index];
}

bool
evn_stream_partitions_span(Relation rel, int64 *since, int64 *until)
{
	PartitionDesc	   desc = RelationGetPartitionDesc(rel, true);
	PartitionBoundInfo bounds = desc->boundinfo;

	if (desc->nparts == 0)
		return false;
	/* a bound without an end is one that the user attached */
	*since = bounds->kind[0][0] == PARTITION_RANGE_DATUM_VALUE
				 ? DatumGetTimestampTz(bounds->datums[0][0])
				 : DT_NOBEGIN;
	*until = bounds->kind[bounds->ndatums - 1][0] == PARTITION_RANGE_DATUM_VALUE
				 ? DatumGetTimestampTz(bounds->datums[bounds->ndatums - 1][0])
				 : DT_NOEND;
	return true;
}

Oid
evn_stream_first_partition(Relation rel, int64 *until)
{
	PartitionDesc	   desc = RelationGetPartitionDesc(rel, true);
	PartitionBoundInfo bounds = desc->boundinfo;

	for (int i = 0; desc->nparts > 0 && i < bounds->ndatums; i++)
	{
		/* the partition below this bound, if there is one */
		if (bounds->indexes[i] < 0)
			continue;
		*until = bounds->kind[i][0] == PARTITION_RANGE_DATUM_VALUE
					 ? DatumGetTimestampTz(bounds->datums[i][0])
					 : DT_NOEND;
		return desc->oids[bounds->indexes[i]];
	}
	return InvalidOid;
}

char *
evn_stream_partition_name(Oid relid, const char *suffix)
{
	char *base = get_rel_name(relid);
	int	  room = NAMEDATALEN - 1 - (int) strlen(suffix);

	/* two names that differ at their ends only must not meet */
	if (strlen(base) > room)
	{
		char *unique = psprintf("_%u", relid);

		base = psprintf("%.*s%s", pg_mbcliplen(base, strlen(base), room - (int) strlen(unique)),
						base, unique);
	}
	return psprintf("%s%s", base, suffix);
}

static char *
partition_name(Oid relid, int64 start, int64 partition_us)
{
	struct pg_tm tm;
	fsec_t		 fsec;
	char		 suffix[32];

	if (timestamp2tm(start, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	if (partition_us % USECS_PER_DAY == 0)
		snprintf(suffix, sizeof(suffix), "_p%04d%02d%02d", tm.tm_year, tm.tm_mon, tm.tm_mday);
	else
		snprintf(suffix, sizeof(suffix), "_p%04d%02d%02d_%02d%02d", tm.tm_year, tm.tm_mon,
				 tm.tm_mday, tm.tm_hour, tm.tm_min);
	return evn_stream_partition_name(relid, suffix);
}

/* A literal that reads the same whatever the session's time zone is. */
static char *
utc_literal(int64 ts)
{
	struct pg_tm tm;
	fsec_t		 fsec;

	if (timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		elog(ERROR, "timestamp out of range");
	return psprintf("'%04d-%02d-%02d %02d:%02d:%02d+00'", tm.tm_year, tm.tm_mon, tm.tm_mday,
					tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static bool
has_partition(Oid relid, TimestampTz ts, LOCKMODE lockmode)
{
	Relation rel = table_open(relid, lockmode);
	bool	 found = OidIsValid(evn_stream_find_partition(rel, ts));

	table_close(rel, NoLock);
	return found;
}

/*
 * Made beside the table and then attached: CREATE TABLE ... PARTITION OF would
 * lock out every reader.
 */
void
evn_stream_make_partition(Oid relid, TimestampTz ts, int64 partition_us, int fillfactor,
						  const char *unique_column, const char *brin_column)
{
	int64  start = evn_stream_partition_start(ts, partition_us);
	char  *parent = evn_spi_qualified_name(relid);
	char  *leaf;
	EvnSpi spi;

	/* the second look is under the lock that keeps two workers from making the same one */
	if (has_partition(relid, ts, AccessShareLock) ||
		has_partition(relid, ts, ShareUpdateExclusiveLock))
		return;
	leaf = quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
									  partition_name(relid, start, partition_us));
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_UTILITY,
				  "CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS"
				  " INCLUDING STORAGE INCLUDING COMPRESSION) WITH (fillfactor = %d)",
				  leaf, parent, fillfactor);
	if (unique_column != NULL)
		evn_spi_execf(SPI_OK_UTILITY, "CREATE UNIQUE INDEX ON %s (%s)", leaf, unique_column);
	if (brin_column != NULL)
		evn_spi_execf(SPI_OK_UTILITY, "CREATE INDEX ON %s USING brin (%s)", leaf, brin_column);
	evn_spi_execf(SPI_OK_UTILITY, "ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%s) TO (%s)",
				  parent, leaf, utc_literal(start), utc_literal(start + partition_us));
	evn_spi_end(&spi);
}

void
evn_stream_depend(Oid relid, Oid class, Oid on, DependencyType type)
{
	ObjectAddress object;
	ObjectAddress referenced;

	ObjectAddressSet(object, RelationRelationId, relid);
	ObjectAddressSet(referenced, class, on);
	/* never twice, so that it may be repeated after a restore, which knows nothing of it */
	(void) deleteDependencyRecordsForSpecific(RelationRelationId, relid, type, class, on);
	recordDependencyOn(&object, &referenced, type);
}
