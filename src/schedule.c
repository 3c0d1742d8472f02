/*
 * schedule.c
 *		SQL functions that have pg_cron run things for streams.
 *
 * evilnet.schedule says what is to be done; the job of pg_cron runs
 * evilnet.run_schedule(name) as who scheduled it.  A schedule goes with its
 * stream or aggregate, and its job with it, by a trigger.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "aggregate_query.h"
#include "schedule.h"
#include "spi.h"
#include "stream.h"

PG_FUNCTION_INFO_V1(evn_schedule_maintenance);
PG_FUNCTION_INFO_V1(evn_schedule_refresh);
PG_FUNCTION_INFO_V1(evn_schedule_statement);
PG_FUNCTION_INFO_V1(evn_schedule_remove);

#define JOB_PREFIX	 "evilnet:"
#define REFRESH_SPAN "1 day"

typedef struct Schedule
{
	const char *name;
	Oid			stream;
	Oid			aggregate; /* InvalidOid: none */
	const char *kind;
	const char *when;
	Interval   *span;	   /* NULL: none */
	const char *statement; /* NULL: none */
} Schedule;

static void
require_cron(void)
{
	const char *home = GetConfigOption("cron.database_name", true, false);

	if (OidIsValid(get_extension_oid("pg_cron", true)))
		return;
	if (home == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not there to run schedules"),
				 errhint("Install it, add pg_cron to shared_preload_libraries and this database as "
						 "cron.database_name, restart, and CREATE EXTENSION pg_cron.")));
	if (strcmp(home, get_database_name(MyDatabaseId)) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("extension pg_cron is not installed in this database"),
						errhint("CREATE EXTENSION pg_cron, as a superuser.")));
	ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
					errmsg("pg_cron lives in another database, \"%s\"", home),
					errhint("Set cron.database_name to this one, or in that one call "
							"cron.schedule_in_database() with what is to be run here.")));
}

/* Who may change a schedule: who has the rights of its owner, or operates the stream. */
static void
require_own(const char *name)
{
	Oid	   types[1] = {TEXTOID};
	Datum  values[1] = {CStringGetTextDatum(name)};
	Oid	   owner = InvalidOid;
	Oid	   stream = InvalidOid;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_exec_args("SELECT owner::pg_catalog.oid, stream::pg_catalog.oid"
						  " FROM evilnet.schedule WHERE name = $1",
						  1, types, values, NULL, SPI_OK_SELECT) > 0)
	{
		owner = DatumGetObjectId(evn_spi_value(0, 1));
		stream = DatumGetObjectId(evn_spi_value(0, 2));
	}
	evn_spi_end(&spi);
	if (OidIsValid(owner) && !has_privs_of_role(GetUserId(), owner))
		evn_stream_require_operated(stream);
}

static uint64
remove_schedule(const char *name)
{
	Oid	   types[1] = {TEXTOID};
	Datum  values[1] = {CStringGetTextDatum(name)};
	uint64 n;
	EvnSpi spi;

	require_own(name);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	n = evn_spi_exec_args("DELETE FROM evilnet.schedule WHERE name = $1", 1, types, values, NULL,
						  SPI_OK_DELETE);
	evn_spi_end(&spi);
	return n;
}

static void
write_schedule(const Schedule *schedule)
{
	Oid	   types[8] = {TEXTOID, OIDOID, OIDOID, TEXTOID, TEXTOID, INTERVALOID, TEXTOID, OIDOID};
	Datum  values[8] = {0};
	char   nulls[] = "        ";
	EvnSpi spi;

	values[0] = CStringGetTextDatum(schedule->name);
	values[1] = ObjectIdGetDatum(schedule->stream);
	values[2] = ObjectIdGetDatum(schedule->aggregate);
	nulls[2] = OidIsValid(schedule->aggregate) ? ' ' : 'n';
	values[3] = CStringGetTextDatum(schedule->kind);
	values[4] = CStringGetTextDatum(schedule->when);
	values[5] = IntervalPGetDatum(schedule->span);
	nulls[5] = schedule->span != NULL ? ' ' : 'n';
	values[6] = schedule->statement == NULL ? (Datum) 0 : CStringGetTextDatum(schedule->statement);
	nulls[6] = schedule->statement != NULL ? ' ' : 'n';
	values[7] = ObjectIdGetDatum(GetUserId());
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_exec_args("INSERT INTO evilnet.schedule (name, stream, aggregate, kind, schedule, span,"
					  " statement, owner) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
					  8, types, values, nulls, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

/* Replace the schedule of that name; the job is the current user's. */
static Datum
create_schedule(const Schedule *schedule)
{
	Oid	   types[3] = {TEXTOID, TEXTOID, TEXTOID};
	Datum  values[3];
	EvnSpi spi;

	require_cron();
	(void) remove_schedule(schedule->name);
	write_schedule(schedule);
	values[0] = CStringGetTextDatum(psprintf(JOB_PREFIX "%s", schedule->name));
	values[1] = CStringGetTextDatum(schedule->when);
	values[2] = CStringGetTextDatum(
		psprintf("SELECT evilnet.run_schedule(%s)", quote_literal_cstr(schedule->name)));
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args("SELECT cron.schedule($1, $2, $3)", 3, types, values, NULL, SPI_OK_SELECT);
	evn_spi_end(&spi);
	return CStringGetTextDatum(schedule->name);
}

static void
require_arguments(FunctionCallInfo fcinfo, int n)
{
	for (int i = 0; i < n; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("only the name of a schedule may be null")));
}

static const char *
name_or(FunctionCallInfo fcinfo, int argument, const char *verb, Oid relid)
{
	if (!PG_ARGISNULL(argument))
		return text_to_cstring(PG_GETARG_TEXT_PP(argument));
	return psprintf("%s %s.%s", verb, get_namespace_name(get_rel_namespace(relid)),
					get_rel_name(relid));
}

Datum
evn_schedule_maintenance(PG_FUNCTION_ARGS)
{
	Schedule schedule = {.kind = "maintenance"};

	require_arguments(fcinfo, 2);
	schedule.stream = PG_GETARG_OID(0);
	evn_stream_require_operated(schedule.stream);
	schedule.when = text_to_cstring(PG_GETARG_TEXT_PP(1));
	schedule.name = name_or(fcinfo, 2, "maintain", schedule.stream);
	return create_schedule(&schedule);
}

static Datum
schedule_refresh(Oid view, const char *when, Interval *span, const char *name)
{
	Schedule		   schedule = {.kind = "refresh"};
	EvnAggregateSource source;
	Interval		   zero = {0};

	evn_aggregate_require(view, &source);
	evn_stream_require_operated(source.stream);
	if (!DatumGetBool(
			DirectFunctionCall2(interval_gt, IntervalPGetDatum(span), IntervalPGetDatum(&zero))))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"%s\" must be greater than zero", "span")));
	schedule.stream = source.stream;
	schedule.aggregate = view;
	schedule.when = when;
	schedule.span = span;
	schedule.name = name;
	return create_schedule(&schedule);
}

Datum
evn_schedule_refresh(PG_FUNCTION_ARGS)
{
	require_arguments(fcinfo, 3);
	return schedule_refresh(PG_GETARG_OID(0), text_to_cstring(PG_GETARG_TEXT_PP(1)),
							PG_GETARG_INTERVAL_P(2),
							name_or(fcinfo, 3, "refresh", PG_GETARG_OID(0)));
}

/* Name of the aggregate's refresh, which may have had another name then; NULL for none. */
static char *
find_refresh(Oid view)
{
	MemoryContext caller = CurrentMemoryContext;
	char		 *name = NULL;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_execf(SPI_OK_SELECT,
					  "SELECT pg_catalog.min(name) FROM evilnet.schedule"
					  " WHERE kind = 'refresh' AND aggregate = %u HAVING pg_catalog.count(*) > 0",
					  view) > 0)
		name = MemoryContextStrdup(caller, TextDatumGetCString(evn_spi_value(0, 1)));
	evn_spi_end(&spi);
	return name;
}

void
evn_schedule_set_refresh(Oid view, const char *schedule)
{
	char	 *name = find_refresh(view);
	Interval *span =
		DatumGetIntervalP(DirectFunctionCall3(interval_in, CStringGetDatum(REFRESH_SPAN),
											  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));

	if (schedule[0] != '\0')
		(void) schedule_refresh(view, schedule, span,
								name != NULL ? name
											 : psprintf("refresh %s.%s",
														get_namespace_name(get_rel_namespace(view)),
														get_rel_name(view)));
	else if (name != NULL)
		(void) remove_schedule(name);
}

/* Who may read a stream may do something about it now and then. */
static void
require_readable(Oid stream)
{
	EvnSpi spi;

	/* raises unless it may be read, or is none */
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_SELECT, "SELECT pg_catalog.count(*) FROM evilnet.stream_spans(%u)",
				  stream);
	evn_spi_end(&spi);
}

Datum
evn_schedule_statement(PG_FUNCTION_ARGS)
{
	Schedule schedule = {.kind = "statement"};

	schedule.name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	schedule.stream = PG_GETARG_OID(1);
	require_readable(schedule.stream);
	schedule.when = text_to_cstring(PG_GETARG_TEXT_PP(2));
	schedule.statement = text_to_cstring(PG_GETARG_TEXT_PP(3));
	return create_schedule(&schedule);
}

Datum
evn_schedule_remove(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (remove_schedule(name) == 0 && !PG_GETARG_BOOL(1))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT), errmsg("there is no schedule \"%s\"", name),
				 errhint("evilnet.stat_schedule lists them.")));
	PG_RETURN_VOID();
}
