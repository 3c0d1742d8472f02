/*
 * aggregate_plan.c
 *		What maintains an aggregate.
 *
 * The defining query runs over the batch's rows and gives the delta: partial
 * results per group.  One INSERT ... ON CONFLICT, sorted by key, merges the
 * delta into the storage, into the rows of one slot only.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "rewrite/rewriteHandler.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "aggregate_plan.h"
#include "compat.h"
#include "spi.h"

#define DELTA_RELATION "evilnet_delta"
#define DELTA_KBYTES   (64 * 1024) /* a batch's groups stay in memory */

/*
 * An hll state takes 128 kB while it is built, which the planner does not know:
 * sorting holds one at a time, hashing all.  Anything else is quicker hashed.
 */
static PlannedStmt *
plan_query(const EvnAggregateQuery *source, Query *query)
{
	int			 nest = NewGUCNestLevel();
	PlannedStmt *plan;

	(void) set_config_option("enable_hashagg", source->has_sketches ? "off" : "on", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	AcquireRewriteLocks(query, true, false);
	plan = pg_plan_query(linitial_node(Query, QueryRewrite(query)), "", 0, NULL);
	AtEOXact_GUC(true, nest);
	return plan;
}

static void
append_names(StringInfo sql, const EvnAggregateQuery *query, bool keys_only, const char *separator)
{
	const char *comma = "";

	for (int i = 0; i < query->ncolumns; i++)
	{
		if (keys_only && !query->columns[i].is_key)
			continue;
		appendStringInfo(sql, "%s%s", comma, query->columns[i].name);
		comma = separator;
	}
}

/* What a column of the delta brings: itself, its opposite, or nothing. */
static char *
incoming(const EvnAggregateColumn *column, EvnAggregateMerge kind)
{
	char *value = psprintf("d.%s", column->name);

	if (column->is_key || kind == EVN_MERGE_ADD)
		return value;
	if (column->negate == NULL)
		return psprintf("NULL::%s", column->type);
	return evn_aggregate_fill(column->negate, "{new}", value);
}

/* The stored value and the incoming one taken together. */
static char *
combined(const EvnAggregateColumn *column, EvnAggregateMerge kind)
{
	char *old = psprintf("t.%s", column->name);
	char *new = psprintf("excluded.%s", column->name);

	if (kind == EVN_MERGE_REDUCE && column->negate == NULL)
		return old;
	return evn_aggregate_fill2(column->combine, "{old}", old, "{new}", new);
}

/* INSERT INTO storage SELECT delta ... ON CONFLICT DO UPDATE: see the head of this file. */
static char *
merge_sql(const EvnAggregatePlan *plan, EvnAggregateMerge kind)
{
	const EvnAggregateQuery *query = plan->query;
	const char				*bucket = query->columns[query->bucket].name;
	StringInfoData			 sql;
	const char				*comma = "";

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s AS t (", evn_spi_qualified_name(plan->storage));
	append_names(&sql, query, false, ", ");
	appendStringInfo(&sql, ", %s) SELECT ", EVN_SLOT_COLUMN);
	for (int i = 0; i < query->ncolumns; i++)
		appendStringInfo(&sql, "%s, ", incoming(&query->columns[i], kind));
	appendStringInfo(&sql, "$1 FROM %s d WHERE d.%s >= $2 ORDER BY d.", DELTA_RELATION, bucket);
	append_names(&sql, query, true, ", d.");
	appendStringInfoString(&sql, " ON CONFLICT (");
	append_names(&sql, query, true, ", ");
	appendStringInfo(&sql, ", %s) DO UPDATE SET ", EVN_SLOT_COLUMN);
	for (int i = 0; i < query->ncolumns; i++)
	{
		const EvnAggregateColumn *column = &query->columns[i];

		if (column->is_key)
			continue;
		appendStringInfo(&sql, "%s%s = %s", comma, column->name, combined(column, kind));
		comma = ", ";
	}
	return sql.data;
}

EphemeralNamedRelation
evn_aggregate_plan_relation(const char *name, Tuplestorestate *rows, TupleDesc tupdesc)
{
	EphemeralNamedRelation enr = palloc0(sizeof(EphemeralNamedRelationData));

	enr->md.name = pstrdup(name);
	enr->md.reliddesc = InvalidOid;
	enr->md.tupdesc = tupdesc;
	enr->md.enrtype = ENR_NAMED_TUPLESTORE;
	enr->md.enrtuples = rows == NULL ? 0 : tuplestore_tuple_count(rows);
	enr->reldata = rows;
	return enr;
}

static SPIPlanPtr
prepare_merge(EvnAggregatePlan *plan, EvnAggregateMerge kind)
{
	Oid		   types[2] = {INT4OID, TIMESTAMPTZOID};
	SPIPlanPtr statement;
	EvnSpi	   spi;

	evn_spi_begin(&spi, InvalidOid);
	SPI_register_relation(evn_aggregate_plan_relation(DELTA_RELATION, NULL, plan->delta_desc));
	statement = SPI_prepare_cursor(merge_sql(plan, kind), 2, types, CURSOR_OPT_GENERIC_PLAN);
	if (statement == NULL || SPI_keepplan(statement) != 0)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	evn_spi_end(&spi);
	return statement;
}

void
evn_aggregate_plan_forget(EvnAggregatePlan *plan)
{
	for (int kind = 0; kind < EVN_NMERGES; kind++)
	{
		if (plan->merges[kind] != NULL)
			SPI_freeplan(plan->merges[kind]);
		plan->merges[kind] = NULL;
	}
}

void
evn_aggregate_plan_reset(EvnAggregatePlan *plan)
{
	evn_aggregate_plan_forget(plan);
	plan->over_batch = NULL;
	plan->query = NULL;
	plan->delta_desc = NULL;
	MemoryContextReset(plan->context);
}

void
evn_aggregate_plan_build(EvnAggregatePlan *plan, Oid query_view, Oid storage, TupleDesc source_desc)
{
	MemoryContext old;

	evn_aggregate_plan_reset(plan);
	old = MemoryContextSwitchTo(plan->context);
	plan->storage = storage;
	plan->query = evn_aggregate_query_read(query_view);
	plan->over_batch = copyObject(
		plan_query(plan->query, evn_aggregate_query_over_batch(plan->query, source_desc)));
	plan->delta_desc = ExecCleanTypeFromTL(plan->over_batch->planTree->targetlist);
	MemoryContextSwitchTo(old);
}

/* Run a plan; rows, when not NULL, stands where the query reads EVN_BATCH_RELATION. */
static Tuplestorestate *
run_plan(PlannedStmt *plan, Tuplestorestate *rows, TupleDesc tupdesc)
{
	Tuplestorestate	 *result = tuplestore_begin_heap(true, false, DELTA_KBYTES);
	DestReceiver	 *dest = CreateDestReceiver(DestTuplestore);
	QueryEnvironment *env = NULL;
	QueryDesc		 *desc;

	SetTuplestoreDestReceiverParams(dest, result, CurrentMemoryContext, false, NULL, NULL);
	if (rows != NULL)
	{
		tuplestore_rescan(rows);
		env = create_queryEnv();
		register_ENR(env, evn_aggregate_plan_relation(EVN_BATCH_RELATION, rows, tupdesc));
	}
	PushActiveSnapshot(GetTransactionSnapshot());
	desc = CreateQueryDesc(plan, "", GetActiveSnapshot(), InvalidSnapshot, dest, NULL, env, 0);
	ExecutorStart(desc, 0);
	evn_executor_run(desc);
	ExecutorFinish(desc);
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	PopActiveSnapshot();
	dest->rDestroy(dest);
	return result;
}

Tuplestorestate *
evn_aggregate_plan_delta(EvnAggregatePlan *plan, Tuplestorestate *rows, TupleDesc source_desc)
{
	return run_plan(plan->over_batch, rows, source_desc);
}

Tuplestorestate *
evn_aggregate_plan_delta_of_range(const EvnAggregateQuery *query, int64 since, int64 until)
{
	return run_plan(plan_query(query, evn_aggregate_query_over_source(query, since, until)), NULL,
					NULL);
}

void
evn_aggregate_plan_merge(EvnAggregatePlan *plan, EvnAggregateMerge kind, Tuplestorestate *delta,
						 int slot, int64 since)
{
	Datum  values[2] = {Int32GetDatum(slot), TimestampTzGetDatum(since)};
	EvnSpi spi;
	int	   result;

	if (plan->merges[kind] == NULL)
		plan->merges[kind] = prepare_merge(plan, kind);
	tuplestore_rescan(delta);
	evn_spi_begin(&spi, InvalidOid);
	SPI_register_relation(evn_aggregate_plan_relation(DELTA_RELATION, delta, plan->delta_desc));
	result = SPI_execute_plan(plan->merges[kind], values, NULL, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "merging into \"%s\" failed: %s", get_rel_name(plan->storage),
			 SPI_result_code_string(result));
	evn_spi_end(&spi);
}
