/*
 * aggregate_admin.c
 *		SQL functions that create, drop, change and check continuous aggregates.
 *
 * Who owns the stream's table may do all of it; objects are made for the
 * stream's owner, with whose rights the workers maintain them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "aggregate_admin.h"
#include "aggregate_build.h"
#include "aggregate_create.h"
#include "aggregate_maintain.h"
#include "compat.h"
#include "rollup.h"
#include "schedule.h"
#include "shmem.h"
#include "spi.h"

#define NEXT_SUFFIX "_next" /* of an aggregate that is to take another's place */

PG_FUNCTION_INFO_V1(evn_aggregate_admin_create);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_create_rollup);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_drop);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_refresh);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_alter);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_check);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_verify);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_changed);
PG_FUNCTION_INFO_V1(evn_aggregate_admin_maintain);

/* Whether a change leaves something to build that was not there; the pieces themselves do not. */
static bool
wants_builder(const TriggerData *trigger, TupleDesc desc)
{
	int	 built_from = SPI_fnumber(desc, "built_from");
	int	 enabled = SPI_fnumber(desc, "enabled");
	bool complete;
	bool was_complete;
	bool isnull;

	if (!TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	(void) SPI_getbinval(trigger->tg_newtuple, desc, built_from, &complete);
	(void) SPI_getbinval(trigger->tg_trigtuple, desc, built_from, &was_complete);
	return !complete &&
		   (was_complete || SPI_getbinval(trigger->tg_newtuple, desc, enabled, &isnull) !=
								SPI_getbinval(trigger->tg_trigtuple, desc, enabled, &isnull));
}

/* Row trigger: workers read the catalog again with their next batch. */
Datum
evn_aggregate_admin_changed(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	 row;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("function %s must be called as a trigger",
							   "evilnet.continuous_aggregate_changed")));
	row = TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
	CacheInvalidateRelcache(trigger->tg_relation);
	/* a restore may run on a server that does not preload evilnet */
	if (evn_shared != NULL && wants_builder(trigger, RelationGetDescr(trigger->tg_relation)))
		evn_shmem_mark_dirty_at_commit();
	return PointerGetDatum(row);
}

/* The aggregate of a view, its stream locked. */
static EvnAggregates *
open_aggregate(Oid view, const EvnAggregateSource *source, LOCKMODE lockmode,
			   EvnAggregate **aggregate)
{
	EvnAggregates *aggregates = evn_aggregate_build_open(evn_stream_load(source->stream), lockmode);

	*aggregate = evn_aggregates_find(aggregates, view);
	if (*aggregate == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("continuous aggregate was dropped meanwhile")));
	return aggregates;
}

/* The same to read it, to change it, and to have done to it what operators may. */
static EvnAggregates *
open_for_reading(Oid view, EvnAggregate **aggregate)
{
	EvnAggregateSource source;

	evn_aggregate_require(view, &source);
	evn_stream_check_owned(source.stream);
	return open_aggregate(view, &source, AccessShareLock, aggregate);
}

static EvnAggregates *
open_for_change(Oid view, EvnAggregate **aggregate)
{
	EvnAggregateSource source;

	evn_aggregate_require(view, &source);
	evn_stream_require_owned(source.stream);
	evn_aggregate_restore_dependencies(source.stream);
	return open_aggregate(view, &source, ShareRowExclusiveLock, aggregate);
}

static EvnAggregates *
open_for_operation(Oid view, EvnAggregate **aggregate)
{
	EvnAggregateSource source;

	evn_aggregate_require(view, &source);
	evn_stream_require_operated(source.stream);
	evn_aggregate_restore_dependencies(source.stream);
	return open_aggregate(view, &source, ShareRowExclusiveLock, aggregate);
}

/* The query with every name qualified: it is kept under another search_path. */
static char *
qualified_query(Query *query)
{
	char		 *sql;
	EvnSpi		  spi;
	MemoryContext caller = CurrentMemoryContext;

	evn_spi_begin(&spi, InvalidOid);
	sql = MemoryContextStrdup(caller, pg_get_querydef(query, false));
	evn_spi_end(&spi);
	return sql;
}

/* Parse the text of a query as the user wrote it, deparse it, and refuse what cannot be kept. */
static char *
read_definition(const char *sql, EvnAggregateSource *source)
{
	EvnAggregateQuery *query;
	Query			  *tree;

	query = evn_aggregate_query_parse(sql, &tree);
	evn_aggregate_query_require(query);
	*source = query->source;
	return qualified_query(tree);
}

/* What is made of posts that are not stored cannot be computed from them. */
static void
require_stored(const EvnAggregates *aggregates, const EvnAggregate *aggregate, const char *hint)
{
	if (aggregate->parent == NULL && !aggregates->stream->store)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("stream %s does not store its posts", aggregates->stream->name),
						errhint("%s", hint)));
}

/* Workers and others must see it, and it must not stand among the system's objects. */
static void
check_schema(Oid schema)
{
	if (isAnyTempNamespace(schema))
		ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
						errmsg("a continuous aggregate cannot be temporary"),
						errhint("Put an ordinary schema first in search_path, or name one.")));
	if (IsCatalogNamespace(schema) || schema == get_namespace_oid("evilnet", false))
		ereport(ERROR, (errcode(ERRCODE_INVALID_SCHEMA_NAME),
						errmsg("schema \"%s\" is not for continuous aggregates",
							   get_namespace_name(schema)),
						errhint("Choose a schema of your own.")));
}

/* One that another is to take the place of, or the other, will be gone or another soon. */
static void
require_settled(const EvnAggregates *aggregates, Oid view)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (OidIsValid(aggregate->replaces) &&
			(aggregate->view == view || aggregate->replaces == view))
			ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							errmsg("the query of continuous aggregate \"%s\" is being changed",
								   get_rel_name(aggregate->replaces)),
							errhint("Wait until \"%s\" is built, or drop it.",
									get_rel_name(aggregate->view))));
	}
}

/* Whether the name is taken and the caller content with that. */
static bool
exists_already(const EvnAggregateSpec *spec, bool if_not_exists)
{
	if (!if_not_exists || !OidIsValid(get_relname_relid(spec->name, spec->schema)))
		return false;
	ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
					 errmsg("relation \"%s\" already exists, skipping", spec->name)));
	return true;
}

/* Create what spec says over source, and build it unless that is for the background. */
static Oid
create_aggregate(EvnAggregateSpec *spec, const EvnAggregateSource *source, bool in_background)
{
	EvnAggregates *aggregates;
	EvnActingAs	   before;
	Oid			   view;

	evn_stream_require_owned(source->stream);
	aggregates = evn_aggregate_build_open(evn_stream_load(source->stream), ShareRowExclusiveLock);
	require_settled(aggregates, source->relid);
	/* what was not stored cannot be built; over another aggregate there is something all the same */
	spec->complete = !OidIsValid(source->query) && !aggregates->stream->store;
	evn_spi_act_as(&before, aggregates->stream->owner, false);
	view = evn_aggregate_create(spec);
	evn_spi_act_as_before(&before);
	if (!in_background)
		evn_aggregate_build_all(evn_aggregate_build_open(aggregates->stream, ShareRowExclusiveLock),
								view);
	return view;
}

/* Fill in schema and name; false when the aggregate is to be left alone. */
static bool
name_aggregate(EvnAggregateSpec *spec, text *name, bool if_not_exists)
{
	RangeVar *range = makeRangeVarFromNameList(textToQualifiedNameList(name));

	spec->schema = RangeVarGetCreationNamespace(range);
	spec->name = range->relname;
	check_schema(spec->schema);
	return !exists_already(spec, if_not_exists);
}

Datum
evn_aggregate_admin_create(PG_FUNCTION_ARGS)
{
	EvnAggregateSpec   spec = {0};
	EvnAggregateSource source;

	evn_shmem_require();
	for (int i = 0; i < PG_NARGS(); i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("arguments of %s must not be null",
								   "evilnet.create_continuous_aggregate")));
	if (!name_aggregate(&spec, PG_GETARG_TEXT_PP(0), PG_GETARG_BOOL(4)))
		PG_RETURN_OID(get_relname_relid(spec.name, spec.schema));
	spec.sql = read_definition(text_to_cstring(PG_GETARG_TEXT_PP(1)), &source);
	spec.notify = PG_GETARG_BOOL(2);
	PG_RETURN_OID(create_aggregate(&spec, &source, PG_GETARG_BOOL(3)));
}

/* 5m, 1h, 1d */
static char *
width_suffix(int64 width)
{
	if (width % USECS_PER_DAY == 0)
		return psprintf("%dd", (int) (width / USECS_PER_DAY));
	if (width % USECS_PER_HOUR == 0)
		return psprintf("%dh", (int) (width / USECS_PER_HOUR));
	return psprintf("%dm", (int) (width / USECS_PER_MINUTE));
}

static int64
rollup_width(Interval *width)
{
	int64 us = evn_stream_interval_us(width);

	if (width->month != 0 || us < EVN_ROLLUP_BASE_US || us > USECS_PER_DAY ||
		us % EVN_ROLLUP_BASE_US != 0 || USECS_PER_DAY % us != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("width of a roll-up must be whole minutes that divide a day, not \"%s\"",
						evn_stream_interval_text(width)),
				 errhint("Use 5 minutes, 1 hour or 1 day, for instance.")));
	return us;
}

Datum
evn_aggregate_admin_create_rollup(PG_FUNCTION_ARGS)
{
	EvnAggregateSpec   spec = {0};
	EvnAggregateSource source = {0};
	List			  *rollups;
	int64			   width;
	Oid				   stream;

	evn_shmem_require();
	for (int i = 0; i < PG_NARGS(); i++)
		if (i != 2 && PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("arguments of %s but the name must not be null",
								   "evilnet.create_rollup")));
	stream = PG_GETARG_OID(0);
	width = rollup_width(PG_GETARG_INTERVAL_P(1));
	evn_stream_require_owned(stream);
	spec.rollup = psprintf("%d minutes", (int) (width / USECS_PER_MINUTE));
	if (PG_ARGISNULL(2))
	{
		spec.schema = get_rel_namespace(stream);
		spec.name = psprintf("%s_by_city_%s", get_rel_name(stream), width_suffix(width));
		if (exists_already(&spec, PG_GETARG_BOOL(4)))
			PG_RETURN_OID(get_relname_relid(spec.name, spec.schema));
	}
	else if (!name_aggregate(&spec, PG_GETARG_TEXT_PP(2), PG_GETARG_BOOL(4)))
		PG_RETURN_OID(get_relname_relid(spec.name, spec.schema));
	rollups = evn_rollup_list(stream, true);
	spec.sql = evn_rollup_query(stream, spec.rollup, rollups);
	source.relid = source.stream = stream;
	if (rollups != NIL)
		evn_aggregate_require(((EvnRollup *) linitial(rollups))->view, &source);
	PG_RETURN_OID(create_aggregate(&spec, &source, PG_GETARG_BOOL(3)));
}

Datum
evn_aggregate_admin_drop(PG_FUNCTION_ARGS)
{
	EvnAggregate  *aggregate;
	EvnAggregates *aggregates = open_for_change(PG_GETARG_OID(0), &aggregate);
	EvnActingAs	   before;

	evn_spi_act_as(&before, aggregates->stream->owner, false);
	evn_aggregate_drop(aggregate->view, PG_GETARG_BOOL(1));
	evn_spi_act_as_before(&before);
	PG_RETURN_VOID();
}

Datum
evn_aggregate_admin_refresh(PG_FUNCTION_ARGS)
{
	EvnAggregate  *aggregate;
	EvnAggregates *aggregates = open_for_operation(PG_GETARG_OID(0), &aggregate);

	if (!aggregate->enabled)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("continuous aggregate \"%s\" is paused", get_rel_name(aggregate->view)),
				 errhint("evilnet.resume() builds it anew.")));
	require_stored(aggregates, aggregate, "There is nothing to compute it from.");
	evn_aggregate_refresh(aggregates, aggregate, PG_GETARG_TIMESTAMPTZ(1),
						  PG_GETARG_TIMESTAMPTZ(2));
	PG_RETURN_VOID();
}

/* Set the state of an aggregate and of those that read it. */
static void
write_enabled(const EvnAggregates *aggregates, Oid view, bool enabled)
{
	ListCell *cell;
	EvnSpi	  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(
		SPI_OK_UPDATE,
		"UPDATE evilnet.continuous_aggregate SET enabled = %s,"
		" built_from = CASE WHEN %s THEN 'infinity'::pg_catalog.timestamptz ELSE built_from END"
		" WHERE aggregate = %u AND enabled IS DISTINCT FROM %s",
		enabled ? "true" : "false", enabled ? "true" : "false", view, enabled ? "true" : "false");
	evn_spi_end(&spi);
	foreach(cell, aggregates->members)
	{
		EvnAggregate *reader = lfirst(cell);

		if (reader->source == view)
			write_enabled(aggregates, reader->view, enabled);
	}
}

bool
evn_aggregate_admin_set_enabled(Oid view, bool enabled)
{
	EvnAggregateSource source;
	EvnAggregate	  *aggregate;
	EvnAggregates	  *aggregates;

	if (!evn_aggregate_source_find(view, &source) || !OidIsValid(source.query))
		return false;
	aggregates = open_for_operation(view, &aggregate);
	if (enabled && aggregate->parent != NULL && !aggregate->parent->enabled)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("continuous aggregate \"%s\" reads \"%s\", which is paused",
							   get_rel_name(view), get_rel_name(aggregate->source)),
						errhint("Resume that one.")));
	if (enabled && aggregate->parent == NULL && !aggregates->stream->store)
		ereport(
			ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("stream %s does not store its posts", aggregates->stream->name),
			 errhint("What came while \"%s\" was paused is lost to it: drop it and make it anew.",
					 get_rel_name(view))));
	write_enabled(aggregates, view, enabled);
	return true;
}

static void
set_option(Oid view, const char *column, Oid type, Datum value)
{
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args(
		psprintf("UPDATE evilnet.continuous_aggregate SET %s = $1 WHERE aggregate = %u", column,
				 view),
		1, &type, &value, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
}

static void
set_retention(Oid view, Interval *retention)
{
	Interval zero = {0};

	if (DatumGetBool(DirectFunctionCall2(interval_lt, IntervalPGetDatum(retention),
										 IntervalPGetDatum(&zero))))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("retention must not be negative"),
				 errhint("Use 0 to keep everything.")));
	set_option(view, "retention", INTERVALOID, IntervalPGetDatum(retention));
}

bool
evn_aggregate_admin_set_retention(Oid view, Interval *retention)
{
	EvnAggregateSource source;
	EvnAggregate	  *aggregate;

	if (!evn_aggregate_source_find(view, &source) || !OidIsValid(source.query))
		return false;
	(void) open_for_operation(view, &aggregate);
	set_retention(aggregate->view, retention);
	return true;
}

/* Views and aggregates over it would keep the old one from being dropped. */
static void
require_unread(Oid view)
{
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	if (evn_spi_execf(
			SPI_OK_SELECT,
			"SELECT r.ev_class FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_rewrite r"
			" ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND r.oid = d.objid"
			" WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
			" AND d.refobjid = %u AND r.ev_class <> %u ORDER BY 1 LIMIT 1",
			view, view) > 0)
		ereport(ERROR,
				(errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
				 errmsg("view \"%s\" reads continuous aggregate \"%s\"",
						get_rel_name(DatumGetObjectId(evn_spi_value(0, 1))), get_rel_name(view)),
				 errhint("Drop it first, and create it again when the new query is in place.")));
	evn_spi_end(&spi);
}

/* Make the aggregate of the new query beside the old one, whose place it takes when it is built. */
static void
set_query(EvnAggregates *aggregates, EvnAggregate *aggregate, const char *sql)
{
	EvnAggregateSpec   spec = {0};
	EvnAggregateSource source;
	EvnActingAs		   before;

	require_stored(aggregates, aggregate, "There is nothing to build the new one from.");
	require_settled(aggregates, aggregate->view);
	require_unread(aggregate->view);
	spec.sql = read_definition(sql, &source);
	if (source.relid == aggregate->view)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the new query reads the aggregate itself")));
	if (source.stream != aggregates->stream->relid)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the new query reads another stream"),
						errhint("Create another continuous aggregate.")));
	spec.schema = get_rel_namespace(aggregate->view);
	spec.name = psprintf("%s%s", get_rel_name(aggregate->view), NEXT_SUFFIX);
	spec.notify = aggregate->notify;
	spec.replaces = aggregate->view;
	evn_spi_act_as(&before, aggregates->stream->owner, false);
	(void) evn_aggregate_create(&spec);
	evn_spi_act_as_before(&before);
}

Datum
evn_aggregate_admin_alter(PG_FUNCTION_ARGS)
{
	EvnAggregate  *aggregate;
	EvnAggregates *aggregates;
	EvnActingAs	   before;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("argument \"%s\" must not be null", "aggregate")));
	aggregates = open_for_change(PG_GETARG_OID(0), &aggregate);
	if (!PG_ARGISNULL(3))
		set_retention(aggregate->view, PG_GETARG_INTERVAL_P(3));
	if (!PG_ARGISNULL(4))
		set_option(aggregate->view, "notify", BOOLOID, PG_GETARG_DATUM(4));
	if (!PG_ARGISNULL(5))
		evn_schedule_set_refresh(aggregate->view, text_to_cstring(PG_GETARG_TEXT_PP(5)));
	if (!PG_ARGISNULL(2))
		set_query(aggregates, aggregate, text_to_cstring(PG_GETARG_TEXT_PP(2)));
	if (!PG_ARGISNULL(1))
	{
		evn_spi_act_as(&before, aggregates->stream->owner, false);
		evn_aggregate_rename(aggregate->view, NameStr(*PG_GETARG_NAME(1)));
		evn_spi_act_as_before(&before);
	}
	PG_RETURN_VOID();
}

static void
put_finding(ReturnSetInfo *result, const char *kind, const char *message, const char *hint)
{
	Datum values[3];
	bool  nulls[3] = {false, false, hint == NULL};

	values[0] = CStringGetTextDatum(kind);
	values[1] = CStringGetTextDatum(message);
	values[2] = hint == NULL ? (Datum) 0 : CStringGetTextDatum(hint);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

Datum
evn_aggregate_admin_check(PG_FUNCTION_ARGS)
{
	ReturnSetInfo	  *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Query			  *tree;
	EvnAggregateQuery *query;
	ListCell		  *cell;
	int64			   rows;

	InitMaterializedSRF(fcinfo, 0);
	query = evn_aggregate_query_parse(text_to_cstring(PG_GETARG_TEXT_PP(0)), &tree);
	foreach(cell, query->reasons)
	{
		EvnAggregateReason *reason = lfirst(cell);

		put_finding(result, "refused", reason->what, reason->hint);
	}
	if (query->reasons != NIL)
		return (Datum) 0;
	if (query->has_lookups)
		put_finding(result, "note", "rows of other tables count as they are when a post comes",
					"After changing them, call evilnet.refresh_continuous_aggregate().");
	if (query->can_negate)
		put_finding(result, "note", "deleted posts are taken away column by column", NULL);
	else
		put_finding(result, "note", "deleted posts make their buckets be computed again",
					"Counts, and sums of what is never null, can be taken away.");
	/* the source is read without further checks, so for its owner only */
	rows = evn_owns_relation(query->source.stream, GetUserId()) ? evn_aggregate_rows_per_day(query)
																: -1;
	if (rows >= 0)
		put_finding(result, "note",
					psprintf("about " INT64_FORMAT " rows per day, by the newest day stored", rows),
					NULL);
	return (Datum) 0;
}

static const char *
column_name(const EvnAggregateQuery *query, int i)
{
	return list_nth_node(TargetEntry, query->query->targetList, i)->resname;
}

/* A jsonb object of the keys, or of the results as they are compared. */
static char *
json_of(const EvnAggregateQuery *query, bool keys)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "'{}'::pg_catalog.jsonb");
	for (int i = 0; i < query->ncolumns - 1; i++)
	{
		const EvnAggregateColumn *column = &query->columns[i];
		char					 *value = psprintf("q.%s", column->name);

		if (column->is_key == keys && i != query->bucket)
			appendStringInfo(&sql, " || pg_catalog.jsonb_build_object(%s, %s)",
							 quote_literal_cstr(column_name(query, i)),
							 keys ? value : evn_aggregate_fill(column->compare, "{column}", value));
	}
	return sql.data;
}

/* The rows of a relation as bucket, keys, results. */
static char *
comparable(const EvnAggregateQuery *query, Oid relid)
{
	const char *bucket = query->columns[query->bucket].name;

	return psprintf("(SELECT q.%s AS bucket, %s AS keys, %s AS results FROM %s q"
					" WHERE q.%s >= $1 AND q.%s < $2)",
					bucket, json_of(query, true), json_of(query, false),
					evn_spi_qualified_name(relid), bucket, bucket);
}

/* A group that is missing on one side is different in all its results, or as such when it has none. */
static char *
verify_sql(const EvnAggregate *aggregate)
{
	const EvnAggregateQuery *query = aggregate->plan.query;

	return psprintf(
		"SELECT coalesce(s.bucket, r.bucket), coalesce(s.keys, r.keys), n, s.results ->> n, r.results ->> n"
		" FROM %s s FULL JOIN %s r ON r.bucket = s.bucket AND r.keys = s.keys"
		" LEFT JOIN LATERAL pg_catalog.jsonb_object_keys(coalesce(s.results, r.results)) n ON true"
		" WHERE s.results IS NULL OR r.results IS NULL OR s.results -> n IS DISTINCT FROM r.results -> n"
		" ORDER BY 1, 2, 3",
		comparable(query, aggregate->view), comparable(query, aggregate->query_view));
}

Datum
evn_aggregate_admin_verify(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			   types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	EvnAggregate  *aggregate;
	EvnAggregates *aggregates;
	Datum		   values[2];
	EvnSpi		   spi;

	InitMaterializedSRF(fcinfo, 0);
	/* both sides are read by one statement, so ingest may go on */
	aggregates = open_for_reading(PG_GETARG_OID(0), &aggregate);
	require_stored(aggregates, aggregate, "There is nothing to compare it with.");
	evn_aggregate_ensure(aggregates, aggregate);
	values[0] = TimestampTzGetDatum(
		evn_aggregate_whole_since(aggregates, aggregate, PG_GETARG_TIMESTAMPTZ(1)));
	values[1] = PG_GETARG_DATUM(2);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(verify_sql(aggregate), 2, types, values, NULL, SPI_OK_SELECT);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
	evn_spi_end(&spi);
	return (Datum) 0;
}

Datum
evn_aggregate_admin_maintain(PG_FUNCTION_ARGS)
{
	evn_stream_require_operated(PG_GETARG_OID(0));
	evn_aggregate_maintain(evn_stream_load(PG_GETARG_OID(0)));
	PG_RETURN_VOID();
}
