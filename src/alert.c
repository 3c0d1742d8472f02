/*
 * alert.c
 *		What enters and leaves the alerts of aggregates.
 *
 * Judging is two steps.  The owner's expression is run over rows of the
 * aggregate with the owner's rights, in a subtransaction, and gives the groups
 * that satisfy it; which of them are new is then decided in evilnet's catalog.
 * Most batches end after the first step, with no group.
 *
 * Whoever writes states and events holds a lock on the stream's alerts until
 * the end of the transaction.  It is the last lock that a batch waits for, so
 * nobody waits in a circle; and as groups enter seldom, it is seldom taken.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "alert.h"
#include "alert_probe.h"
#include "compat.h"

#define GROUPS_RELATION "evilnet_groups"
#define PAYLOAD_MAX		7999				 /* bytes of a notification */
#define IDLE_AFTER_US	(10 * USECS_PER_SEC) /* a stream whose positions did not move for so long */

typedef struct Alert
{
	char	  *name;
	char	  *condition;
	char	  *leave; /* NULL when there is none */
	bool	   notify;
	SPIPlanPtr judge; /* over the groups of a batch, prepared on first use */
} Alert;

/* The enabled alerts of one aggregate, as this process read them. */
typedef struct AlertSet
{
	Oid			  view;
	bool		  loaded;
	bool		  stale; /* the catalog changed since it was begun to read */
	List		 *alerts;
	MemoryContext context;
} AlertSet;

/* Groups that satisfied an expression: parallel arrays of keys, bucket and results. */
typedef struct Found
{
	bool  any;
	Datum columns[3];
} Found;

typedef void (*ApplyFound)(const EvnAggregates *aggregates, const Alert *alert, const Found *found);

/* An expression to run over rows: kept for batches, else by its text. */
typedef struct Judgement
{
	const EvnAggregates *aggregates;
	const EvnAggregate	*aggregate;
	Alert				*alert;
	ApplyFound			 apply;
	Tuplestorestate		*groups; /* rows of the storage, or NULL */
	TupleDesc			 desc;
	const char			*sql; /* when there are no groups */
	int					 nargs;
	Oid					*types;
	Datum				*values;
} Judgement;

static List *sets = NIL;	  /* one for each aggregate that was asked for, in TopMemoryContext */
static bool	 running = false; /* an expression, whose functions may store messages in turn */

/* Changes of alerts are told as changes of the aggregate's view. */
static void
invalidate_by_relation(Datum arg, Oid relid)
{
	ListCell *cell;

	foreach(cell, sets)
	{
		AlertSet *set = lfirst(cell);

		if (!OidIsValid(relid) || relid == set->view)
			set->stale = true;
	}
}

static AlertSet *
make_set(Oid view)
{
	static bool	  registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	AlertSet	 *set = palloc0(sizeof(AlertSet));

	if (!registered)
		CacheRegisterRelcacheCallback(invalidate_by_relation, (Datum) 0);
	registered = true;
	set->view = view;
	set->context = AllocSetContextCreate(TopMemoryContext, "evilnet alerts", ALLOCSET_SMALL_SIZES);
	sets = lappend(sets, set);
	MemoryContextSwitchTo(old);
	return set;
}

static void
clear_set(AlertSet *set)
{
	ListCell *cell;

	foreach(cell, set->alerts)
		if (((Alert *) lfirst(cell))->judge != NULL)
			SPI_freeplan(((Alert *) lfirst(cell))->judge);
	set->alerts = NIL;
	set->loaded = set->stale = false;
	MemoryContextReset(set->context);
}

static char *
text_or_null(uint64 row, int column)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(row, column, &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

/* stale is cleared before and loaded set after reading, so that nothing is missed */
static void
load_set(AlertSet *set)
{
	EvnSpi spi;

	clear_set(set);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT name, condition, leave_condition, notify FROM evilnet.alert"
				  " WHERE aggregate = %u AND enabled ORDER BY name",
				  set->view);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		MemoryContext old = MemoryContextSwitchTo(set->context);
		Alert		 *alert = palloc0(sizeof(Alert));

		alert->name = text_or_null(i, 1);
		alert->condition = text_or_null(i, 2);
		alert->leave = text_or_null(i, 3);
		alert->notify = DatumGetBool(evn_spi_value(i, 4));
		set->alerts = lappend(set->alerts, alert);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	set->loaded = true;
}

/* The enabled alerts of an aggregate. */
static List *
alerts_of(const EvnAggregate *aggregate)
{
	AlertSet *set = NULL;
	ListCell *cell;

	foreach(cell, sets)
		if (((AlertSet *) lfirst(cell))->view == aggregate->view)
			set = lfirst(cell);
	if (set == NULL)
		set = make_set(aggregate->view);
	while (!set->loaded || set->stale)
		load_set(set);
	return set->alerts;
}

static void
pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
							 false);
}

void
evn_alert_begin(EvnSpi *spi, Oid userid)
{
	evn_spi_begin(spi, userid);
	pin("timezone", "UTC");
	pin("datestyle", "ISO, MDY");
	pin("intervalstyle", "postgres");
	pin("extra_float_digits", "1");
	pin("bytea_output", "hex");
}

/* The name of a column as the view has it, which its owner may have changed. */
static const char *
column_name(const EvnAggregate *aggregate, int i)
{
	return get_attname(aggregate->view, i + 1, false);
}

/* The row's columns by name, after what stands for it in FROM. */
static char *
row_alias(const EvnAggregate *aggregate)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, EVN_ALERT_ROW " (");
	for (int i = 0; i < aggregate->plan.query->ncolumns - 1; i++)
		appendStringInfo(&sql, "%s%s", i == 0 ? "" : ", ",
						 quote_identifier(column_name(aggregate, i)));
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

/* What an extension's type holds, a sketch mostly, is nothing to read. */
static bool
is_readable(const EvnAggregateColumn *column)
{
	return !OidIsValid(getExtensionOfObject(TypeRelationId, column->type_id));
}

/* A jsonb object of the keys but the bucket, or of the results. */
static char *
json_of(const EvnAggregate *aggregate, bool keys)
{
	const EvnAggregateQuery *query = aggregate->plan.query;
	StringInfoData			 sql;
	const char				*comma = "";

	initStringInfo(&sql);
	appendStringInfoString(&sql, "pg_catalog.jsonb_build_object(");
	for (int i = 0; i < query->ncolumns - 1; i++)
	{
		const char *name = column_name(aggregate, i);

		if (query->columns[i].is_key != keys || i == query->bucket ||
			(!keys && !is_readable(&query->columns[i])))
			continue;
		appendStringInfo(&sql, "%s%s, " EVN_ALERT_ROW ".%s", comma, quote_literal_cstr(name),
						 quote_identifier(name));
		comma = ", ";
	}
	appendStringInfoChar(&sql, ')');
	return sql.data;
}

static char *
bucket_of(const EvnAggregate *aggregate)
{
	return psprintf(EVN_ALERT_ROW ".%s",
					quote_identifier(column_name(aggregate, aggregate->plan.query->bucket)));
}

/* The rows of the storage merged, as the aggregate's view does it. */
static char *
merged_groups(const EvnAggregate *aggregate)
{
	EvnAggregateMerged merged = evn_aggregate_query_merged(aggregate->plan.query, "s", false);

	return psprintf("(SELECT %s FROM " GROUPS_RELATION " s GROUP BY %s"
					" HAVING evilnet.total(s." EVN_ROWS_COLUMN ") > 0)",
					merged.columns, merged.keys);
}

/* The rows of source that satisfy the condition, as keys, bucket and results. */
static char *
satisfied_sql(const EvnAggregate *aggregate, const char *source, const char *condition,
			  const char *and)
{
	return psprintf("SELECT %s AS keys, %s AS bucket, %s AS results FROM %s %s WHERE (%s)%s",
					json_of(aggregate, true), bucket_of(aggregate), json_of(aggregate, false),
					source, row_alias(aggregate), condition, and);
}

/* The same as one row of arrays. */
static char *
gathered(const char *sql)
{
	return psprintf("SELECT pg_catalog.array_agg(q.keys), pg_catalog.array_agg(q.bucket),"
					" pg_catalog.array_agg(q.results) FROM (%s) q HAVING pg_catalog.count(*) > 0",
					sql);
}

static char *
batch_sql(const EvnAggregate *aggregate, const char *condition)
{
	return gathered(satisfied_sql(aggregate, merged_groups(aggregate), condition, ""));
}

/* Buckets from $1 on. */
static char *
enter_sql(const EvnAggregate *aggregate, const char *condition)
{
	return gathered(satisfied_sql(aggregate, evn_spi_qualified_name(aggregate->view), condition,
								  psprintf(" AND %s >= $1", bucket_of(aggregate))));
}

/* Which of the groups $2 leave with bucket $1.  What satisfies the condition stays in any case. */
static char *
leave_sql(const EvnAggregate *aggregate, const char *condition, const char *leave)
{
	return gathered(psprintf(
		"SELECT o.keys, $1 AS bucket, b.results FROM pg_catalog.unnest($2) o(keys) LEFT JOIN"
		" (SELECT %s AS keys, %s AS results, (%s) IS NOT TRUE AND (%s) AS leaves FROM %s %s"
		" WHERE %s = $1) b ON b.keys = o.keys WHERE b.keys IS NULL OR b.leaves",
		json_of(aggregate, true), json_of(aggregate, false), condition,
		leave == NULL ? "true" : leave, evn_spi_qualified_name(aggregate->view),
		row_alias(aggregate), bucket_of(aggregate)));
}

/* Have the alert's statement over a batch's groups. */
static void
prepare_judge(const Judgement *judgement)
{
	SPIPlanPtr plan =
		SPI_prepare_cursor(batch_sql(judgement->aggregate, judgement->alert->condition), 0, NULL,
						   CURSOR_OPT_GENERIC_PLAN);

	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	judgement->alert->judge = plan;
}

static void
take_found(Found *found, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);

	found->any = SPI_processed > 0;
	for (int i = 0; found->any && i < lengthof(found->columns); i++)
		found->columns[i] = datumCopy(evn_spi_value(0, i + 1), false, -1);
	MemoryContextSwitchTo(old);
}

/* What satisfies the expression; nothing, most often. */
static void
find_groups(const Judgement *judgement, Found *found)
{
	MemoryContext caller = CurrentMemoryContext;
	EvnSpi		  spi;

	evn_alert_begin(&spi, InvalidOid);
	if (judgement->groups != NULL)
	{
		tuplestore_rescan(judgement->groups);
		SPI_register_relation(
			evn_aggregate_plan_relation(GROUPS_RELATION, judgement->groups, judgement->desc));
		if (judgement->alert->judge == NULL)
			prepare_judge(judgement);
		if (SPI_execute_plan(judgement->alert->judge, NULL, NULL, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "judging alert \"%s\" failed", judgement->alert->name);
	}
	else
		evn_spi_exec_args(judgement->sql, judgement->nargs, judgement->types, judgement->values,
						  NULL, SPI_OK_SELECT);
	take_found(found, caller);
	evn_spi_end(&spi);
}

/* Not the expression's fault: the batch is worth trying again as it is. */
static bool
passes_by_itself(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'): /* deadlock, serialization */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'): /* disk full, out of memory */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'): /* lock not available */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'): /* canceled, shut down */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'): /* I/O */
			return true;
		default:
			return false;
	}
}

/*
 * Judge, and apply what was found, in a subtransaction; returns the error that
 * rolled it back, else NULL.
 */
static ErrorData *
try_judgement(const Judgement *judgement)
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;
	Found found;

	running = true;
	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		find_groups(judgement, &found);
		if (found.any)
			judgement->apply(judgement->aggregates, judgement->alert, &found);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	running = false;
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	if (error != NULL && passes_by_itself(error->sqlerrcode))
		ReThrowError(error);
	return error;
}

/* Held to the end of the transaction by who writes states and events of a stream's alerts. */
static void
lock_alerts(const EvnAggregates *aggregates)
{
	Oid catalog = get_relname_relid("alert", get_namespace_oid("evilnet", false));

	LockDatabaseObject(catalog, aggregates->stream->relid, 0, ExclusiveLock);
}

static void
disable_alert(const EvnAggregates *aggregates, const Alert *alert, const ErrorData *error)
{
	Oid	   types[2] = {TEXTOID, TEXTOID};
	Datum  values[2];
	EvnSpi spi;

	lock_alerts(aggregates);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	values[0] = CStringGetTextDatum(alert->name);
	values[1] = CStringGetTextDatum(
		psprintf("%s (SQLSTATE %s)", error->message, unpack_sql_state(error->sqlerrcode)));
	if (evn_spi_exec_args(
			"UPDATE evilnet.alert SET enabled = false, error = $2 WHERE name = $1 AND enabled", 2,
			types, values, NULL, SPI_OK_UPDATE) > 0)
		ereport(LOG, (errcode(error->sqlerrcode),
					  errmsg("alert \"%s\" was disabled: %s", alert->name, error->message),
					  errhint("Mend it with evilnet.alter_alert() and enable it again.")));
	evn_spi_end(&spi);
}

/* An expression that fails disables its alert, and nothing else comes of it. */
static void
judge(const Judgement *judgement)
{
	ErrorData *error = try_judgement(judgement);

	if (error != NULL)
		disable_alert(judgement->aggregates, judgement->alert, error);
}

/*
 * NOTIFY what the last statement returned: for each event the whole payload,
 * and without results, and without keys too, of which the first that fits goes.
 */
static void
notify_events(void)
{
	for (uint64 i = 0; i < SPI_processed; i++)
		for (int column = 1; column <= 3; column++)
		{
			char *payload = TextDatumGetCString(evn_spi_value(i, column));

			if (strlen(payload) > PAYLOAD_MAX)
				continue;
			Async_Notify("evilnet_alert", payload);
			break;
		}
}

#define PAYLOAD \
	"pg_catalog.jsonb_build_object('id', id, 'alert', alert, 'event', event, 'bucket', bucket"
#define INSERT_EVENTS \
	" INSERT INTO evilnet.alert_event (alert, keys, bucket, event, results)" \
	" SELECT $1, c.keys, c.bucket, $5, c.results FROM c JOIN changed USING (keys, bucket)" \
	" ORDER BY c.bucket, c.keys" \
	" RETURNING " PAYLOAD ", 'keys', keys, 'results', results)::pg_catalog.text, " PAYLOAD \
	", 'keys', keys)::pg_catalog.text, " PAYLOAD ")::pg_catalog.text"
#define FOUND \
	"WITH c AS (SELECT * FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3)," \
	" pg_catalog.unnest($4)) c(keys, bucket, results)),"

static void
write_events(const Alert *alert, const Found *found, const char *event, SPIPlanPtr *plan,
			 const char *sql)
{
	Oid	  types[5] = {TEXTOID, JSONBARRAYOID, TIMESTAMPTZARRAYOID, JSONBARRAYOID, TEXTOID};
	Datum values[5];

	evn_spi_keep_plan(plan, sql, 5, types);
	values[0] = CStringGetTextDatum(alert->name);
	memcpy(&values[1], found->columns, sizeof(found->columns));
	values[4] = CStringGetTextDatum(event);
	if (SPI_execute_plan(*plan, values, NULL, false, 0) != SPI_OK_INSERT_RETURNING)
		elog(ERROR, "writing evilnet.alert_event failed");
	if (alert->notify)
		notify_events();
}

/* Whether any of the groups is not on yet; looked at before waiting for anybody. */
static bool
has_new(const Alert *alert, const Found *found)
{
	static SPIPlanPtr plan = NULL;
	Oid				  types[2] = {TEXTOID, JSONBARRAYOID};
	Datum			  values[2] = {CStringGetTextDatum(alert->name), found->columns[0]};

	evn_spi_keep_plan(&plan,
					  "SELECT FROM pg_catalog.unnest($2) c(keys) WHERE NOT EXISTS"
					  " (SELECT FROM evilnet.alert_state s WHERE s.alert = $1 AND s.keys = c.keys)"
					  " LIMIT 1",
					  2, types);
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "reading evilnet.alert_state failed");
	return SPI_processed > 0;
}

/* Let the groups enter that are not on, each with its first bucket. */
static void
enter(const EvnAggregates *aggregates, const Alert *alert, const Found *found)
{
	static SPIPlanPtr plan = NULL;
	EvnSpi			  spi;

	evn_alert_begin(&spi, evn_spi_catalog_owner());
	if (has_new(alert, found))
	{
		lock_alerts(aggregates);
		write_events(alert, found, "enter", &plan,
					 FOUND " changed AS (INSERT INTO evilnet.alert_state (alert, keys, bucket)"
						   " SELECT $1, c.keys, pg_catalog.min(c.bucket) FROM c GROUP BY c.keys"
						   " ON CONFLICT DO NOTHING RETURNING keys, bucket)" INSERT_EVENTS);
	}
	evn_spi_end(&spi);
}

/* Let the groups leave, unless they entered with a later bucket meanwhile. */
static void
leave(const EvnAggregates *aggregates, const Alert *alert, const Found *found)
{
	static SPIPlanPtr plan = NULL;
	EvnSpi			  spi;

	evn_alert_begin(&spi, evn_spi_catalog_owner());
	lock_alerts(aggregates);
	write_events(alert, found, "leave", &plan,
				 FOUND " changed AS (DELETE FROM evilnet.alert_state s USING c"
					   " WHERE s.alert = $1 AND s.keys = c.keys AND s.bucket <= c.bucket"
					   " RETURNING s.keys, c.bucket)" INSERT_EVENTS);
	evn_spi_end(&spi);
}

static void
judge_delta(EvnAggregates *aggregates, EvnAggregate *aggregate, List *alerts)
{
	Judgement judgement = {.aggregates = aggregates, .aggregate = aggregate, .apply = enter};
	ListCell *cell;

	judgement.groups = evn_alert_probe_groups(aggregate, &judgement.desc);
	foreach(cell, alerts)
	{
		judgement.alert = lfirst(cell);
		judge(&judgement);
	}
	tuplestore_end(judgement.groups);
}

void
evn_alert_judge_batch(EvnAggregates *aggregates)
{
	ListCell *cell;

	if (running)
		return;
	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);
		List		 *alerts;

		if (aggregate->delta == NULL || tuplestore_tuple_count(aggregate->delta) == 0)
			continue;
		alerts = alerts_of(aggregate);
		if (alerts != NIL)
			judge_delta(aggregates, aggregate, alerts);
	}
}

/* Whether Kafka brings nothing: then the clock says which buckets are over. */
static bool
is_idle(const EvnAggregates *aggregates)
{
	bool   isnull;
	Datum  moved;
	EvnSpi spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT pg_catalog.max(updated_at) FROM evilnet.stream_offset WHERE stream = %u",
				  aggregates->stream->relid);
	moved = evn_spi_value_or_null(0, 1, &isnull);
	evn_spi_end(&spi);
	return isnull || DatumGetTimestampTz(moved) < GetCurrentTimestamp() - IDLE_AFTER_US;
}

/*
 * The newest bucket that is over: the one before the newest with posts, or
 * before now.  A stream that catches up is where its posts are, not where the
 * clock is.  False when there is none.
 */
static bool
last_finished(const EvnAggregates *aggregates, const EvnAggregate *aggregate, int64 *bucket)
{
	const EvnAggregateQuery *query = aggregate->plan.query;
	int64					 now = GetCurrentTimestamp();
	bool					 isnull;
	Datum					 newest;
	EvnSpi					 spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_SELECT, "SELECT pg_catalog.max(s.%s) FROM %s s",
				  query->columns[query->bucket].name, evn_spi_qualified_name(aggregate->storage));
	newest = evn_spi_value_or_null(0, 1, &isnull);
	evn_spi_end(&spi);
	if (isnull)
		return false;
	if (!is_idle(aggregates))
		now = Min(now, DatumGetTimestampTz(newest));
	*bucket = evn_time_bucket_start(&query->time_bucket,
									evn_time_bucket_start(&query->time_bucket, now) - 1);
	return true;
}

/* The groups that were on when the bucket ended, an array; false when there is none. */
static bool
groups_on(const Alert *alert, int64 bucket, Datum *keys)
{
	MemoryContext caller = CurrentMemoryContext;
	Oid			  types[2] = {TEXTOID, TIMESTAMPTZOID};
	Datum		  values[2];
	bool		  isnull;
	EvnSpi		  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	values[0] = CStringGetTextDatum(alert->name);
	values[1] = TimestampTzGetDatum(bucket);
	evn_spi_exec_args("SELECT pg_catalog.array_agg(s.keys) FROM evilnet.alert_state s"
					  " WHERE s.alert = $1 AND s.bucket <= $2",
					  2, types, values, NULL, SPI_OK_SELECT);
	*keys = evn_spi_value_or_null(0, 1, &isnull);
	if (!isnull)
	{
		MemoryContext old = MemoryContextSwitchTo(caller);

		*keys = datumCopy(*keys, false, -1);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	return !isnull;
}

static void
maintain_alert(EvnAggregates *aggregates, EvnAggregate *aggregate, Alert *alert, int64 bucket)
{
	Oid		  types[2] = {TIMESTAMPTZOID, JSONBARRAYOID};
	Datum	  values[2] = {TimestampTzGetDatum(bucket)};
	Judgement judgement = {.aggregates = aggregates,
						   .aggregate = aggregate,
						   .alert = alert,
						   .types = types,
						   .values = values};

	if (groups_on(alert, bucket, &values[1]))
	{
		judgement.sql = leave_sql(aggregate, alert->condition, alert->leave);
		judgement.nargs = 2;
		judgement.apply = leave;
		judge(&judgement);
	}
	judgement.sql = enter_sql(aggregate, alert->condition);
	judgement.nargs = 1;
	judgement.apply = enter;
	judge(&judgement);
}

void
evn_alert_maintain(EvnAggregates *aggregates)
{
	ListCell *cell;
	ListCell *alert;

	if (running)
		return;
	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);
		List		 *alerts = alerts_of(aggregate);
		int64		  bucket;

		if (alerts == NIL || !aggregate->enabled || aggregate->built_from == DT_NOEND)
			continue;
		evn_aggregate_ensure(aggregates, aggregate);
		if (!last_finished(aggregates, aggregate, &bucket))
			continue;
		foreach(alert, alerts)
			maintain_alert(aggregates, aggregate, lfirst(alert), bucket);
	}
}

void
evn_alert_try(const EvnAggregate *aggregate, const char *condition, const char *leave)
{
	Oid	   types[2] = {TIMESTAMPTZOID, JSONBARRAYOID};
	Datum  values[2] = {TimestampTzGetDatum(DT_NOEND),
						PointerGetDatum(construct_empty_array(JSONBOID))};
	EvnSpi spi;

	evn_alert_begin(&spi, InvalidOid);
	evn_spi_exec_args(enter_sql(aggregate, condition), 1, types, values, NULL, SPI_OK_SELECT);
	evn_spi_exec_args(leave_sql(aggregate, condition, leave), 2, types, values, NULL,
					  SPI_OK_SELECT);
	evn_spi_end(&spi);
}
