/*
 * continuous_aggregate.c
 *		Maintaining the aggregates of a stream, batch by batch.
 *
 * The defining query runs over the batch's rows and gives the delta: partial
 * results per group.  One INSERT ... ON CONFLICT, sorted by key, merges the
 * delta into the storage, into the rows of this worker's slot only.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/queryenvironment.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "aggregate_query.h"
#include "compat.h"
#include "continuous_aggregate.h"
#include "spi.h"

#define DELTA_RELATION "evilnet_delta"
#define DELTA_KBYTES   (64 * 1024) /* a batch's groups stay in memory */

struct EvnAggregate
{
	Oid	  query_view;
	Oid	  storage;
	Oid	  stream;
	int64 partition_us;

	/* what is made of the query: rebuilt when valid is false */
	bool			   valid;
	MemoryContext	   context; /* of everything below */
	EvnAggregateQuery *query;
	PlannedStmt		  *plan; /* over a batch */
	TupleDesc		   delta_desc;
	SPIPlanPtr		   merge;
	SPIPlanPtr		   merge_negated; /* NULL when the query cannot be negated */

	/* the storage partition found last, to ask once per partition and not per row */
	int64 partition_start;
};

/* those that live in this process, for the invalidation callbacks */
static List *loaded_aggregates = NIL;

static void
invalidate_by_relation(Datum arg, Oid relid)
{
	ListCell *cell;

	foreach(cell, loaded_aggregates)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (!OidIsValid(relid) || relid == aggregate->storage)
			aggregate->partition_start = PG_INT64_MAX;
		if (aggregate->plan == NULL)
			aggregate->valid = false;
		else if (!OidIsValid(relid) || relid == aggregate->query_view ||
				 relid == aggregate->stream ||
				 list_member_oid(aggregate->plan->relationOids, relid))
			aggregate->valid = false;
	}
}

/* A function, type or operator changed: rare enough to plan everything anew. */
static void
invalidate_by_syscache(Datum arg, int cacheid, uint32 hash)
{
	ListCell *cell;

	foreach(cell, loaded_aggregates)
		((EvnAggregate *) lfirst(cell))->valid = false;
}

static void
register_invalidation(void)
{
	static bool registered = false;

	if (registered)
		return;
	CacheRegisterRelcacheCallback(invalidate_by_relation, (Datum) 0);
	CacheRegisterSyscacheCallback(PROCOID, invalidate_by_syscache, (Datum) 0);
	CacheRegisterSyscacheCallback(TYPEOID, invalidate_by_syscache, (Datum) 0);
	CacheRegisterSyscacheCallback(OPEROID, invalidate_by_syscache, (Datum) 0);
	registered = true;
}

List *
evn_aggregates_load(const EvnStream *stream)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	List		 *result = NIL;
	EvnSpi		  spi;

	register_invalidation();
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT query::pg_catalog.oid, storage::pg_catalog.oid"
				  " FROM evilnet.continuous_aggregate WHERE stream = %u ORDER BY storage",
				  stream->relid);
	old = MemoryContextSwitchTo(caller);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		EvnAggregate *aggregate = palloc0(sizeof(EvnAggregate));

		aggregate->query_view = DatumGetObjectId(evn_spi_value(i, 1));
		aggregate->storage = DatumGetObjectId(evn_spi_value(i, 2));
		aggregate->stream = stream->relid;
		aggregate->partition_us = stream->partition_us;
		aggregate->partition_start = PG_INT64_MAX;
		aggregate->context =
			AllocSetContextCreate(caller, "evilnet aggregate", ALLOCSET_DEFAULT_SIZES);
		result = lappend(result, aggregate);
	}
	MemoryContextSwitchTo(TopMemoryContext);
	list_free(loaded_aggregates);
	loaded_aggregates = list_copy(result);
	MemoryContextSwitchTo(old);
	evn_spi_end(&spi);
	return result;
}

static PlannedStmt *
plan_query(Query *query)
{
	AcquireRewriteLocks(query, true, false);
	return pg_plan_query(linitial_node(Query, QueryRewrite(query)), "", 0, NULL);
}

/*
 * The expression of one column in the merge: prefix is the table the stored
 * value comes from, {new} the incoming one.
 */
static char *
expression(const char *template, const char *column)
{
	char *old = psprintf("t.%s", column);
	char *new = psprintf("excluded.%s", column);

	return evn_aggregate_fill(evn_aggregate_fill(template, "{old}", old), "{new}", new);
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

/* INSERT INTO storage SELECT delta ... ON CONFLICT DO UPDATE: see the head of this file. */
static char *
merge_sql(const EvnAggregate *aggregate, bool negated)
{
	const EvnAggregateQuery *query = aggregate->query;
	StringInfoData			 sql;
	const char				*comma = "";

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s AS t (", evn_spi_qualified_name(aggregate->storage));
	append_names(&sql, query, false, ", ");
	appendStringInfo(&sql, ", %s) SELECT ", EVN_SLOT_COLUMN);
	for (int i = 0; i < query->ncolumns; i++)
	{
		EvnAggregateColumn *column = &query->columns[i];

		appendStringInfo(
			&sql, "%s, ",
			negated && !column->is_key
				? evn_aggregate_fill(column->negate, "{new}", psprintf("d.%s", column->name))
				: psprintf("d.%s", column->name));
	}
	appendStringInfo(&sql, "$1 FROM %s d ORDER BY d.", DELTA_RELATION);
	append_names(&sql, query, true, ", d.");
	appendStringInfoString(&sql, " ON CONFLICT (");
	append_names(&sql, query, true, ", ");
	appendStringInfo(&sql, ", %s) DO UPDATE SET ", EVN_SLOT_COLUMN);
	for (int i = 0; i < query->ncolumns; i++)
	{
		EvnAggregateColumn *column = &query->columns[i];

		if (column->is_key)
			continue;
		appendStringInfo(&sql, "%s%s = %s", comma, column->name,
						 expression(column->combine, column->name));
		comma = ", ";
	}
	return sql.data;
}

static EphemeralNamedRelation
make_enr(const char *name, Tuplestorestate *rows, TupleDesc tupdesc)
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
prepare_merge(EvnAggregate *aggregate, bool negated)
{
	Oid		   types[1] = {INT4OID};
	SPIPlanPtr plan;
	EvnSpi	   spi;

	evn_spi_begin(&spi, InvalidOid);
	SPI_register_relation(make_enr(DELTA_RELATION, NULL, aggregate->delta_desc));
	plan = SPI_prepare_cursor(merge_sql(aggregate, negated), 1, types, CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL || SPI_keepplan(plan) != 0)
		elog(ERROR, "SPI_prepare failed: %s", SPI_result_code_string(SPI_result));
	evn_spi_end(&spi);
	return plan;
}

static void
forget_plans(EvnAggregate *aggregate)
{
	if (aggregate->merge != NULL)
		SPI_freeplan(aggregate->merge);
	if (aggregate->merge_negated != NULL)
		SPI_freeplan(aggregate->merge_negated);
	aggregate->merge = aggregate->merge_negated = NULL;
	aggregate->plan = NULL;
	aggregate->query = NULL;
	MemoryContextReset(aggregate->context);
}

static void
build_plans(EvnAggregate *aggregate, TupleDesc tupdesc)
{
	MemoryContext old;

	forget_plans(aggregate);
	old = MemoryContextSwitchTo(aggregate->context);
	/* set first: what is invalidated while we build is seen */
	aggregate->valid = true;
	aggregate->query = evn_aggregate_query_read(aggregate->query_view, aggregate->stream);
	aggregate->plan =
		copyObject(plan_query(evn_aggregate_query_over_batch(aggregate->query, tupdesc)));
	aggregate->delta_desc = ExecCleanTypeFromTL(aggregate->plan->planTree->targetlist);
	aggregate->merge = prepare_merge(aggregate, false);
	if (aggregate->query->can_negate)
		aggregate->merge_negated = prepare_merge(aggregate, true);
	MemoryContextSwitchTo(old);
}

void
evn_aggregates_unload(List *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates)
		forget_plans(lfirst(cell));
	list_free(loaded_aggregates);
	loaded_aggregates = NIL;
}

/* A cached plan holds no locks: take them, and look again whether it still holds. */
static void
ensure_plans(EvnAggregate *aggregate, TupleDesc tupdesc)
{
	ListCell *cell;

	LockRelationOid(aggregate->query_view, AccessShareLock);
	LockRelationOid(aggregate->stream, AccessShareLock);
	if (aggregate->valid)
		foreach(cell, aggregate->plan->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

			if (rte->rtekind == RTE_RELATION)
				LockRelationOid(rte->relid, rte->rellockmode);
		}
	while (!aggregate->valid)
		build_plans(aggregate, tupdesc);
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
		env = create_queryEnv();
		register_ENR(env, make_enr(EVN_BATCH_RELATION, rows, tupdesc));
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

/* Make the storage partitions that the delta needs. */
static void
ensure_partition(EvnAggregate *aggregate, TimestampTz bucket)
{
	int64 start = evn_stream_partition_start(bucket, aggregate->partition_us);

	if (start == aggregate->partition_start)
		return;
	evn_stream_make_partition(aggregate->storage, bucket, aggregate->partition_us, 70, NULL, NULL);
	aggregate->partition_start = start;
}

static int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/* The time buckets of a delta in order; some may stand there more than once. */
static int64 *
delta_buckets(EvnAggregate *aggregate, Tuplestorestate *delta, int *nbuckets)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(aggregate->delta_desc, &TTSOpsMinimalTuple);
	int64		   *buckets = palloc(sizeof(int64) * tuplestore_tuple_count(delta));
	int				n = 0;

	tuplestore_rescan(delta);
	while (tuplestore_gettupleslot(delta, true, false, slot))
	{
		bool  isnull;
		int64 bucket =
			DatumGetTimestampTz(slot_getattr(slot, aggregate->query->bucket + 1, &isnull));

		if (isnull)
			elog(ERROR, "time bucket is null");
		/* groups mostly come sorted, so this leaves few */
		if (n == 0 || buckets[n - 1] != bucket)
			buckets[n++] = bucket;
	}
	ExecDropSingleTupleTableSlot(slot);
	qsort(buckets, n, sizeof(int64), compare_int64);
	*nbuckets = n;
	return buckets;
}

static void
merge_delta(EvnAggregate *aggregate, SPIPlanPtr plan, Tuplestorestate *delta, int slot)
{
	Datum  values[1] = {Int32GetDatum(slot)};
	int64 *buckets;
	int	   nbuckets;
	EvnSpi spi;
	int	   result;

	if (tuplestore_tuple_count(delta) == 0)
		return;
	buckets = delta_buckets(aggregate, delta, &nbuckets);
	for (int i = 0; i < nbuckets; i++)
		ensure_partition(aggregate, buckets[i]);
	tuplestore_rescan(delta);
	evn_spi_begin(&spi, InvalidOid);
	SPI_register_relation(make_enr(DELTA_RELATION, delta, aggregate->delta_desc));
	result = SPI_execute_plan(plan, values, NULL, false, 0);
	if (result != SPI_OK_INSERT)
		elog(ERROR, "merging into \"%s\" failed: %s", get_rel_name(aggregate->storage),
			 SPI_result_code_string(result));
	evn_spi_end(&spi);
}

/* Compute the buckets of [since, until) afresh from the table, replacing all slots' rows. */
static void
recompute(EvnAggregate *aggregate, int64 since, int64 until, int slot)
{
	Oid				 types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum			 values[2] = {TimestampTzGetDatum(since), TimestampTzGetDatum(until)};
	const char		*bucket = aggregate->query->columns[aggregate->query->bucket].name;
	Tuplestorestate *delta;
	EvnSpi			 spi;

	delta = run_plan(plan_query(evn_aggregate_query_over_table(aggregate->query, since, until)),
					 NULL, NULL);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(psprintf("DELETE FROM %s WHERE %s >= $1 AND %s < $2",
							   evn_spi_qualified_name(aggregate->storage), bucket, bucket),
					  2, types, values, NULL, SPI_OK_DELETE);
	evn_spi_end(&spi);
	merge_delta(aggregate, aggregate->merge, delta, slot);
	tuplestore_end(delta);
}

/* Recompute the buckets of the delta, neighbours together. */
static void
recompute_buckets(EvnAggregate *aggregate, Tuplestorestate *delta, int slot)
{
	int64  width = aggregate->query->bucket_us;
	int64  since = 0;
	int64  until = 0;
	int	   nbuckets;
	int64 *buckets = delta_buckets(aggregate, delta, &nbuckets);

	for (int i = 0; i < nbuckets; i++)
	{
		if (i == 0 || buckets[i] > until)
		{
			if (i > 0)
				recompute(aggregate, since, until, slot);
			since = buckets[i];
		}
		until = buckets[i] + width;
	}
	if (nbuckets > 0)
		recompute(aggregate, since, until, slot);
}

Bitmapset *
evn_aggregates_columns(List *aggregates, TupleDesc tupdesc)
{
	Bitmapset *columns = NULL;
	ListCell  *cell;

	foreach(cell, aggregates)
	{
		EvnAggregate *aggregate = lfirst(cell);

		ensure_plans(aggregate, tupdesc);
		columns = bms_join(columns, evn_aggregate_query_columns(aggregate->query));
	}
	return columns;
}

void
evn_aggregates_add(List *aggregates, Tuplestorestate *rows, TupleDesc tupdesc, int slot)
{
	ListCell *cell;

	foreach(cell, aggregates)
	{
		EvnAggregate	*aggregate = lfirst(cell);
		Tuplestorestate *delta;

		ensure_plans(aggregate, tupdesc);
		delta = run_plan(aggregate->plan, rows, tupdesc);
		merge_delta(aggregate, aggregate->merge, delta, slot);
		tuplestore_end(delta);
	}
}

void
evn_aggregates_remove(List *aggregates, Tuplestorestate *rows, TupleDesc tupdesc, int slot)
{
	ListCell *cell;

	foreach(cell, aggregates)
	{
		EvnAggregate	*aggregate = lfirst(cell);
		Tuplestorestate *delta;

		ensure_plans(aggregate, tupdesc);
		delta = run_plan(aggregate->plan, rows, tupdesc);
		if (aggregate->query->can_negate)
			merge_delta(aggregate, aggregate->merge_negated, delta, slot);
		else
			recompute_buckets(aggregate, delta, slot);
		tuplestore_end(delta);
	}
}
