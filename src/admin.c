/*
 * admin.c
 *		SQL functions that create, drop, start and stop streams.
 *
 * Tables are made with the caller's rights, catalog rows written with those of
 * evilnet's owner after the caller's were checked.  Workers follow the catalog:
 * a trigger on it has the launcher told at commit.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/float.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "aggregate_admin.h"
#include "aggregate_create.h"
#include "compat.h"
#include "fdw_servers.h"
#include "rollup.h"
#include "shmem.h"
#include "spi.h"
#include "stream.h"

PG_FUNCTION_INFO_V1(evn_admin_create_stream);
PG_FUNCTION_INFO_V1(evn_admin_drop_stream);
PG_FUNCTION_INFO_V1(evn_admin_pause);
PG_FUNCTION_INFO_V1(evn_admin_resume);
PG_FUNCTION_INFO_V1(evn_admin_set_retention);
PG_FUNCTION_INFO_V1(evn_admin_seek);
PG_FUNCTION_INFO_V1(evn_admin_home);
PG_FUNCTION_INFO_V1(evn_admin_stream_changed);
PG_FUNCTION_INFO_V1(evn_admin_worker_slots);

/* arguments of create_stream, in their order */
enum
{
	ARG_NAME,
	ARG_SERVER,
	ARG_TOPIC,
	ARG_START_AT,
	ARG_WORKERS,
	ARG_DEDUP,
	ARG_STORE,
	ARG_KEEP_RAW,
	ARG_ON_ERROR,
	ARG_ERROR_BUDGET,
	ARG_PARTITION_INTERVAL,
	ARG_BATCH_MESSAGES,
	ARG_BATCH_BYTES,
	ARG_BATCH_INTERVAL,
	ARG_IF_NOT_EXISTS,
	NARGS
};

static const char *const arg_names[NARGS] = {"name",
											 "server",
											 "topic",
											 "start_at",
											 "workers",
											 "dedup",
											 "store",
											 "keep_raw",
											 "on_error",
											 "error_budget",
											 "partition_interval",
											 "batch_messages",
											 "batch_bytes",
											 "batch_interval",
											 "if_not_exists"};

Datum
evn_admin_stream_changed(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function %s must be called as a trigger", "evilnet.stream_changed")));
	/* a restore may run on a server that does not preload evilnet */
	if (evn_shared != NULL)
		evn_shmem_mark_dirty_at_commit();
	return PointerGetDatum(NULL);
}

/* dedup may be null: it follows store then; so may server and topic, together */
static void
check_nulls(FunctionCallInfo fcinfo)
{
	bool has_topic = !PG_ARGISNULL(ARG_SERVER) || !PG_ARGISNULL(ARG_TOPIC);

	for (int i = 0; i < NARGS; i++)
		if (PG_ARGISNULL(i) && i != ARG_DEDUP && (has_topic || (i != ARG_SERVER && i != ARG_TOPIC)))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be null", arg_names[i])));
}

static void
check_between(FunctionCallInfo fcinfo, int arg, int32 min, int32 max)
{
	int32 value = PG_GETARG_INT32(arg);

	if (value < min || value > max)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be between %d and %d, not %d", arg_names[arg],
							   min, max, value)));
}

static void
check_on_error(const char *on_error)
{
	if (strcmp(on_error, "dead_letter") != 0 && strcmp(on_error, "stop") != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be \"dead_letter\" or \"stop\", not \"%s\"",
							   arg_names[ARG_ON_ERROR], on_error)));
}

static void
check_error_budget(float8 budget)
{
	/* in words that NaN fails as well */
	if (!(budget >= 0 && budget <= 1))
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" must be between 0 and 1, not %s", arg_names[ARG_ERROR_BUDGET],
					float8out_internal(budget)),
			 errhint(
				 "It is a share: 0.5 for half of the messages, 1 for never stopping the stream.")));
}

static void
check_batch_interval(Interval *interval)
{
	int64 us = evn_stream_interval_us(interval);

	if (interval->month != 0 || us < USECS_PER_SEC / 1000 || us > USECS_PER_HOUR)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be between 1 ms and 1 hour, not \"%s\"",
							   arg_names[ARG_BATCH_INTERVAL], evn_stream_interval_text(interval))));
}

/* What the constraints of evilnet.stream say too, in words for whoever calls. */
static void
check_ranges(FunctionCallInfo fcinfo)
{
	if (!PG_ARGISNULL(ARG_TOPIC))
		evn_stream_check_topic(text_to_cstring(PG_GETARG_TEXT_PP(ARG_TOPIC)));
	check_between(fcinfo, ARG_WORKERS, 1, EVN_MAX_WORKERS);
	check_on_error(text_to_cstring(PG_GETARG_TEXT_PP(ARG_ON_ERROR)));
	check_error_budget(PG_GETARG_FLOAT8(ARG_ERROR_BUDGET));
	(void) evn_stream_partition_us(PG_GETARG_INTERVAL_P(ARG_PARTITION_INTERVAL));
	check_between(fcinfo, ARG_BATCH_MESSAGES, 1, 1000000);
	check_between(fcinfo, ARG_BATCH_BYTES, 1024, 1073741823);
	check_batch_interval(PG_GETARG_INTERVAL_P(ARG_BATCH_INTERVAL));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	check_nulls(fcinfo);
	check_ranges(fcinfo);
	if (!PG_GETARG_BOOL(ARG_STORE) &&
		(PG_GETARG_BOOL(ARG_KEEP_RAW) || (!PG_ARGISNULL(ARG_DEDUP) && PG_GETARG_BOOL(ARG_DEDUP))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a stream with store => false cannot have dedup or keep_raw"),
						errhint("Both need the stored posts.")));
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("streams need a database with encoding UTF8"),
				 errhint("Create one: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0.")));
}

/* Infinite when the text is no timestamp. */
static TimestampTz
parse_start(const char *start_at)
{
	MemoryContext		 context = CurrentMemoryContext;
	volatile TimestampTz ts = DT_NOEND;

	PG_TRY();
	{
		ts = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(start_at),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return ts;
}

/* earliest, latest, or a timestamp, whose text is made independent of the session's settings */
static char *
canonical_start(const char *start_at)
{
	TimestampTz	 ts;
	struct pg_tm tm;
	fsec_t		 fsec;
	char		 utc[MAXDATELEN + 1];

	if (strcmp(start_at, "earliest") == 0 || strcmp(start_at, "latest") == 0)
		return pstrdup(start_at);
	ts = parse_start(start_at);
	if (TIMESTAMP_NOT_FINITE(ts) || timestamp2tm(ts, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("argument \"%s\" must be \"earliest\", \"latest\" or a timestamp, not \"%s\"",
					arg_names[ARG_START_AT], start_at),
			 errhint("Write a timestamp like \"2026-01-31 12:00:00+00\".")));
	EncodeDateTime(&tm, fsec, false, 0, NULL, USE_ISO_DATES, utc);
	return psprintf("%s UTC", utc);
}

/* Raises unless the name can be read as SQL reads names. */
static void
check_name(const char *name)
{
	List *parts;

	if (!SplitIdentifierString(pstrdup(name), '.', &parts) || parts == NIL)
		ereport(
			ERROR,
			(errcode(ERRCODE_INVALID_NAME), errmsg("invalid stream name \"%s\"", name),
			 errhint(
				 "Write the name of a table as in SQL, with double quotes where it has spaces or other special characters.")));
}

/* The table's name and the schema it goes to. */
static RangeVar *
table_name(const char *name, Oid *schema)
{
	RangeVar *range;

	check_name(name);
	range = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
	*schema = RangeVarGetCreationNamespace(range);
	if (isAnyTempNamespace(*schema))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("a stream cannot be a temporary table"),
						errdetail("Its workers run in sessions of their own."),
						errhint("Choose another schema.")));
	if (strlen(range->relname) + strlen("_by_city_slots") >= NAMEDATALEN)
		ereport(ERROR, (errcode(ERRCODE_NAME_TOO_LONG),
						errmsg("stream name \"%s\" is too long", range->relname),
						errhint("Use at most %d bytes.",
								(int) (NAMEDATALEN - 1 - strlen("_by_city_slots")))));
	return range;
}

static void
create_table(const char *name, bool keep_raw)
{
	evn_spi_execf(
		SPI_OK_UTILITY,
		"CREATE TABLE %s (id bigint NOT NULL, created_at timestamptz NOT NULL,"
		" author_id bigint, kind text NOT NULL, lang text, city_id int NOT NULL, city_source text NOT NULL,"
		" text text, hashtags text[] NOT NULL, kafka_partition int NOT NULL, kafka_offset bigint NOT NULL%s)"
		" PARTITION BY RANGE (created_at)",
		name, keep_raw ? ", raw text" : "");
	evn_stream_grant_read(name);
	evn_spi_execf(SPI_OK_UTILITY, "COMMENT ON TABLE %s IS 'posts stored by evilnet'", name);
}

static void
create_deletes_table(const char *deletes, const char *name)
{
	evn_spi_execf(SPI_OK_UTILITY,
				  "CREATE TABLE %s (id bigint NOT NULL UNIQUE, deleted_at timestamptz NOT NULL"
				  " DEFAULT pg_catalog.now())",
				  deletes);
	evn_spi_execf(
		SPI_OK_UTILITY, "COMMENT ON TABLE %s IS %s", deletes,
		quote_literal_cstr(psprintf("ids that delete notices named, for stream %s", name)));
}

static void
write_stream(FunctionCallInfo fcinfo, Oid relid, Oid deletes, const char *start_at, bool dedup)
{
	Oid	   types[15] = {REGCLASSOID, NAMEOID, TEXTOID, TEXTOID,		INT4OID,
						BOOLOID,	 BOOLOID, BOOLOID, TEXTOID,		FLOAT8OID,
						INTERVALOID, INT4OID, INT4OID, INTERVALOID, REGCLASSOID};
	Datum  values[15];
	char   nulls[15];
	EvnSpi spi;

	memset(nulls, ' ', sizeof(nulls));
	values[0] = ObjectIdGetDatum(relid);
	for (int i = ARG_SERVER; i <= ARG_BATCH_INTERVAL; i++)
	{
		values[i] = PG_GETARG_DATUM(i);
		nulls[i] = PG_ARGISNULL(i) ? 'n' : ' ';
	}
	nulls[ARG_DEDUP] = ' ';
	values[ARG_START_AT] = CStringGetTextDatum(start_at);
	values[ARG_DEDUP] = BoolGetDatum(dedup);
	values[14] = ObjectIdGetDatum(deletes);
	nulls[14] = OidIsValid(deletes) ? ' ' : 'n';
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		"INSERT INTO evilnet.stream (stream, server, topic, start_at, workers, dedup, store, keep_raw,"
		" on_error, error_budget, partition_interval, batch_messages, batch_bytes, batch_interval,"
		" deletes) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
		15, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

/* The stream's server, which the user may use; NULL for a stream without a topic. */
static ForeignServer *
find_server(FunctionCallInfo fcinfo)
{
	ForeignServer *server;
	int			   noptions;

	if (PG_ARGISNULL(ARG_SERVER))
		return NULL;
	server = evn_fdw_servers_get(NameStr(*PG_GETARG_NAME(ARG_SERVER)), GetUserId());
	/* raises when the embedded broker is meant but not running */
	(void) evn_fdw_servers_options(server, GetUserId(), &noptions);
	return server;
}

static void
report_existing(Oid relid, const char *relname, bool if_not_exists)
{
	if (if_not_exists)
		ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
						 errmsg("relation \"%s\" already exists, skipping", relname)));
	else if (evn_stream_load(relid) != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_DUPLICATE_TABLE), errmsg("stream \"%s\" already exists", relname),
				 errhint("Use if_not_exists => true to leave it as it is.")));
	else
		ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
						errmsg("relation \"%s\" already exists", relname),
						errdetail("It is not a stream."), errhint("Choose another name.")));
}

Datum
evn_admin_create_stream(PG_FUNCTION_ARGS)
{
	RangeVar		*range;
	Oid				 schema;
	Oid				 relid;
	Oid				 deletes = InvalidOid;
	ForeignServer	*server;
	char			*start_at;
	char			*name;
	char			*deletes_name;
	bool			 dedup;
	EvnAggregateSpec by_city = {0};
	EvnSpi			 spi;

	evn_shmem_require();
	check_arguments(fcinfo);
	start_at = canonical_start(text_to_cstring(PG_GETARG_TEXT_PP(ARG_START_AT)));
	range = table_name(text_to_cstring(PG_GETARG_TEXT_PP(ARG_NAME)), &schema);
	relid = get_relname_relid(range->relname, schema);
	if (OidIsValid(relid))
	{
		report_existing(relid, range->relname, PG_GETARG_BOOL(ARG_IF_NOT_EXISTS));
		PG_RETURN_OID(relid);
	}
	server = find_server(fcinfo);
	dedup = PG_ARGISNULL(ARG_DEDUP) ? PG_GETARG_BOOL(ARG_STORE) : PG_GETARG_BOOL(ARG_DEDUP);
	name = quote_qualified_identifier(get_namespace_name(schema), range->relname);
	deletes_name = quote_qualified_identifier(get_namespace_name(schema),
											  psprintf("%s_deletes", range->relname));

	evn_spi_begin(&spi, InvalidOid);
	create_table(name, PG_GETARG_BOOL(ARG_KEEP_RAW));
	if (PG_GETARG_BOOL(ARG_STORE))
		create_deletes_table(deletes_name, name);
	relid = get_relname_relid(range->relname, schema);
	if (PG_GETARG_BOOL(ARG_STORE))
		deletes = get_relname_relid(psprintf("%s_deletes", range->relname), schema);
	/* dropping the server is refused then, or with CASCADE drops the stream */
	if (server != NULL)
		evn_stream_depend(relid, ForeignServerRelationId, server->serverid, DEPENDENCY_NORMAL);
	if (OidIsValid(deletes))
		evn_stream_depend(deletes, RelationRelationId, relid, DEPENDENCY_INTERNAL);
	write_stream(fcinfo, relid, deletes, start_at, dedup);
	by_city.schema = schema;
	by_city.name = psprintf("%s_by_city", range->relname);
	by_city.sql = evn_rollup_query(relid, "1 minute", NIL);
	by_city.complete = true;
	by_city.rollup = "1 minute";
	(void) evn_aggregate_create(&by_city);
	evn_spi_end(&spi);
	PG_RETURN_OID(relid);
}

Datum
evn_admin_drop_stream(PG_FUNCTION_ARGS)
{
	Oid	   relid = PG_GETARG_OID(0);
	EvnSpi spi;

	evn_stream_require_owned(relid);
	evn_aggregate_restore_dependencies(relid);
	/* in the order of workers and the builder: positions, the table, the catalog */
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT FROM evilnet.stream_offset WHERE stream = %u"
				  " ORDER BY kafka_partition FOR UPDATE",
				  relid);
	LockRelationOid(relid, AccessExclusiveLock);
	evn_spi_execf(SPI_OK_DELETE, "DELETE FROM evilnet.stream WHERE stream = %u", relid);
	evn_spi_end(&spi);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_UTILITY, "DROP TABLE %s", evn_spi_qualified_name(relid));
	evn_spi_end(&spi);
	PG_RETURN_VOID();
}

Datum
evn_admin_home(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(
		cstring_to_text(psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId)));
}

static void
set_enabled(Oid relid, bool enabled)
{
	EvnSpi spi;

	evn_stream_require_operated(relid);
	evn_aggregate_restore_dependencies(relid);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_UPDATE,
				  "UPDATE evilnet.stream SET enabled = %s, stop_reason = NULL%s WHERE stream = %u",
				  enabled ? "true" : "false", enabled ? ", home = evilnet.home()" : "", relid);
	evn_spi_end(&spi);
}

Datum
evn_admin_pause(PG_FUNCTION_ARGS)
{
	if (!evn_aggregate_admin_set_enabled(PG_GETARG_OID(0), false))
		set_enabled(PG_GETARG_OID(0), false);
	PG_RETURN_VOID();
}

Datum
evn_admin_resume(PG_FUNCTION_ARGS)
{
	if (!evn_aggregate_admin_set_enabled(PG_GETARG_OID(0), true))
		set_enabled(PG_GETARG_OID(0), true);
	PG_RETURN_VOID();
}

static void
check_retention(const EvnStream *stream, Interval *retention)
{
	Interval zero = {0};

	if (!stream->store)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("stream %s does not store its posts", stream->name),
						errhint("Set the retention of its continuous aggregates.")));
	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(retention),
										 IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("retention must not be negative"),
				 errhint("Use 0 to keep everything.")));
}

Datum
evn_admin_set_retention(PG_FUNCTION_ARGS)
{
	Interval zero = {0};
	Oid		 relid = PG_GETARG_OID(0);
	Oid		 types[1] = {INTERVALOID};
	Datum	 values[1];
	EvnSpi	 spi;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", "relation")));
	values[0] = PG_ARGISNULL(1) ? IntervalPGetDatum(&zero) : PG_GETARG_DATUM(1);
	if (evn_aggregate_admin_set_retention(relid, DatumGetIntervalP(values[0])))
		PG_RETURN_VOID();
	evn_stream_require_operated(relid);
	check_retention(evn_stream_load(relid), DatumGetIntervalP(values[0]));
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(psprintf("UPDATE evilnet.stream SET retention = $1 WHERE stream = %u", relid),
					  1, types, values, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
	PG_RETURN_VOID();
}

Datum
evn_admin_seek(PG_FUNCTION_ARGS)
{
	Oid	   relid = PG_GETARG_OID(0);
	char  *start_at = canonical_start(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	EvnSpi spi;

	evn_stream_require_owned(relid);
	evn_aggregate_restore_dependencies(relid);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT, "SELECT evilnet.end_spans(%u, NULL, 'seek')", relid);
	/* the old positions and their journal belong to another log */
	evn_spi_execf(SPI_OK_DELETE, "DELETE FROM evilnet.stream_offset WHERE stream = %u", relid);
	evn_spi_execf(SPI_OK_DELETE, "DELETE FROM evilnet.batch WHERE stream = %u", relid);
	evn_spi_execf(
		SPI_OK_UPDATE,
		"UPDATE evilnet.stream SET enabled = true, stop_reason = NULL, home = evilnet.home(), start_at = %s"
		" WHERE stream = %u",
		quote_literal_cstr(start_at), relid);
	evn_spi_end(&spi);
	PG_RETURN_VOID();
}

static Datum
stage_array(const EvnWorkerSlot *slot)
{
	Datum values[EVN_NSTAGES];

	for (int i = 0; i < EVN_NSTAGES; i++)
		values[i] = Int64GetDatum(slot->stage_us[i]);
	return PointerGetDatum(construct_array(values, EVN_NSTAGES, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
put_slot(ReturnSetInfo *result, const EvnWorkerSlot *slot)
{
	Datum values[15];
	bool  nulls[15] = {0};

	values[0] = ObjectIdGetDatum(slot->stream);
	values[1] = Int32GetDatum(slot->number);
	values[2] = CStringGetTextDatum(evn_shmem_state_name(slot->state));
	values[3] = Int32GetDatum(slot->pid);
	nulls[3] = slot->pid == 0;
	values[4] = Float8GetDatum(slot->rows_per_second);
	values[5] = Int64GetDatum(slot->lag_messages);
	nulls[5] = slot->lag_messages < 0;
	values[6] = Float8GetDatum(slot->lag_seconds);
	nulls[6] = slot->lag_seconds < 0;
	values[7] = Int64GetDatum(slot->batches);
	values[8] = Int64GetDatum(slot->batch_messages);
	values[9] = Int32GetDatum(slot->last_batch_messages);
	values[10] = Float8GetDatum(slot->last_batch_us / 1000.0);
	values[11] = TimestampTzGetDatum(slot->last_batch_at);
	nulls[9] = nulls[10] = nulls[11] = slot->last_batch_at == 0;
	values[12] = CStringGetTextDatum(slot->last_error);
	values[13] = TimestampTzGetDatum(slot->last_error_at);
	nulls[12] = nulls[13] = slot->last_error_at == 0;
	values[14] = stage_array(slot);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
evn_admin_worker_slots(PG_FUNCTION_ARGS)
{
	EvnWorkerSlot *slots;
	int			   nslots;

	InitMaterializedSRF(fcinfo, 0);
	slots = evn_shmem_slots(&nslots);
	for (int i = 0; i < nslots; i++)
		if (slots[i].number != EVN_FETCHER && get_rel_name(slots[i].stream) != NULL &&
			evn_stream_is_seen(slots[i].stream))
			put_slot((ReturnSetInfo *) fcinfo->resultinfo, &slots[i]);
	return (Datum) 0;
}
