/*
 * continuous_aggregate.c
 *		Maintaining the aggregates of a stream, batch by batch.
 *
 * Each aggregate turns the rows of its source into a delta and merges it; an
 * aggregate over another one takes the other's delta for its rows.  Rows that
 * were deleted are taken away where all columns can be negated, else the
 * buckets they were in are computed afresh.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/async.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "continuous_aggregate.h"
#include "spi.h"

#define STORAGE_FILLFACTOR 70 /* counts are updated in place */

/* those that are open in this process, for the invalidation callbacks */
static List *opened = NIL;

static void
invalidate_aggregate(EvnAggregate *aggregate, Oid relid)
{
	if (!OidIsValid(relid) || relid == aggregate->storage)
		aggregate->partition_start = PG_INT64_MAX;
	if (!OidIsValid(relid) || relid == aggregate->query_view || relid == aggregate->source ||
		aggregate->plan.over_batch == NULL ||
		list_member_oid(aggregate->plan.over_batch->relationOids, relid))
		aggregate->valid = false;
}

static void
invalidate_by_relation(Datum arg, Oid relid)
{
	ListCell *cell;
	ListCell *member;

	foreach(cell, opened)
	{
		EvnAggregates *aggregates = lfirst(cell);

		/* plans outlive a change of the catalog, the stream's partitions may tell rows_since */
		if (!OidIsValid(relid) || relid == aggregates->catalog ||
			relid == aggregates->stream->relid)
			aggregates->valid = false;
		foreach(member, aggregates->members)
			invalidate_aggregate(lfirst(member), relid);
	}
}

/* A function, type or operator changed: rare enough to plan everything anew. */
static void
invalidate_by_syscache(Datum arg, int cacheid, uint32 hash)
{
	invalidate_by_relation((Datum) 0, InvalidOid);
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

/* Called when the memory goes, at the end of a connection or by an error; contexts below are gone. */
static void
close_aggregates(void *arg)
{
	EvnAggregates *aggregates = arg;
	ListCell	  *cell;

	opened = list_delete_ptr(opened, aggregates);
	foreach(cell, aggregates->members)
		evn_aggregate_plan_forget(&((EvnAggregate *) lfirst(cell))->plan);
}

EvnAggregates *
evn_aggregates_open(const EvnStream *stream)
{
	EvnAggregates		  *aggregates = palloc0(sizeof(EvnAggregates));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	MemoryContext		   old;

	register_invalidation();
	aggregates->stream = stream;
	aggregates->catalog =
		get_relname_relid("continuous_aggregate", get_namespace_oid("evilnet", false));
	aggregates->seen_until = aggregates->batch_until = DT_NOBEGIN;
	aggregates->context = CurrentMemoryContext;
	callback->func = close_aggregates;
	callback->arg = aggregates;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	old = MemoryContextSwitchTo(TopMemoryContext);
	opened = lappend(opened, aggregates);
	MemoryContextSwitchTo(old);
	return aggregates;
}

EvnAggregate *
evn_aggregates_find(EvnAggregates *aggregates, Oid view)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
		if (((EvnAggregate *) lfirst(cell))->view == view)
			return lfirst(cell);
	return NULL;
}

static EvnAggregate *
make_aggregate(EvnAggregates *aggregates, Oid view)
{
	MemoryContext old = MemoryContextSwitchTo(aggregates->context);
	EvnAggregate *aggregate = palloc0(sizeof(EvnAggregate));

	aggregate->view = view;
	aggregate->plan.context =
		AllocSetContextCreate(aggregates->context, "evilnet aggregate", ALLOCSET_SMALL_SIZES);
	aggregate->partition_start = PG_INT64_MAX;
	MemoryContextSwitchTo(old);
	return aggregate;
}

static int64
time_or_beginning(uint64 row, int column)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(row, column, &isnull);

	return isnull ? DT_NOBEGIN : DatumGetTimestampTz(value);
}

/* Fill in a catalog row; an aggregate that was known keeps its plans. */
static EvnAggregate *
read_member(EvnAggregates *aggregates, uint64 row)
{
	Oid			  view = DatumGetObjectId(evn_spi_value(row, 1));
	EvnAggregate *aggregate = evn_aggregates_find(aggregates, view);
	Oid			  query_view = DatumGetObjectId(evn_spi_value(row, 2));
	bool		  isnull;

	if (aggregate == NULL)
		aggregate = make_aggregate(aggregates, view);
	if (aggregate->query_view != query_view)
		aggregate->valid = false;
	aggregate->query_view = query_view;
	aggregate->storage = DatumGetObjectId(evn_spi_value(row, 3));
	aggregate->source = DatumGetObjectId(evn_spi_value(row, 4));
	aggregate->enabled = DatumGetBool(evn_spi_value(row, 5));
	aggregate->notify = DatumGetBool(evn_spi_value(row, 6));
	aggregate->built_from = time_or_beginning(row, 7);
	aggregate->results_since = time_or_beginning(row, 8);
	aggregate->folded_until = time_or_beginning(row, 9);
	aggregate->replaces = DatumGetObjectId(evn_spi_value_or_null(row, 10, &isnull));
	if (isnull)
		aggregate->replaces = InvalidOid;
	return aggregate;
}

/* An aggregate over one that is paused, or gone, has nothing to live on. */
static void
find_parent(EvnAggregates *aggregates, EvnAggregate *aggregate)
{
	aggregate->parent = evn_aggregates_find(aggregates, aggregate->source);
	if (aggregate->source != aggregates->stream->relid &&
		(aggregate->parent == NULL || !aggregate->parent->enabled))
		aggregate->enabled = false;
}

static void
read_members(EvnAggregates *aggregates)
{
	List	 *members = NIL;
	ListCell *cell;
	EvnSpi	  spi;

	/* set first: what is invalidated while we read is seen */
	aggregates->valid = true;
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	if (evn_spi_execf(SPI_OK_SELECT, "SELECT rows_since FROM evilnet.stream WHERE stream = %u",
					  aggregates->stream->relid) > 0)
		aggregates->rows_since = time_or_beginning(0, 1);
	evn_spi_execf(SPI_OK_SELECT,
				  "SELECT aggregate::pg_catalog.oid, query::pg_catalog.oid,"
				  " storage::pg_catalog.oid, source::pg_catalog.oid, enabled, notify,"
				  " built_from, results_since, folded_until, replaces::pg_catalog.oid"
				  " FROM evilnet.continuous_aggregate WHERE stream = %u ORDER BY level, storage",
				  aggregates->stream->relid);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		EvnAggregate *aggregate = read_member(aggregates, i);
		MemoryContext old = MemoryContextSwitchTo(aggregates->context);

		members = lappend(members, aggregate);
		MemoryContextSwitchTo(old);
	}
	evn_spi_end(&spi);
	foreach(cell, aggregates->members)
		if (!list_member_ptr(members, lfirst(cell)))
			evn_aggregate_plan_reset(&((EvnAggregate *) lfirst(cell))->plan);
	list_free(aggregates->members);
	aggregates->members = members;
	foreach(cell, members)
		find_parent(aggregates, lfirst(cell));
}

/* A cached plan holds no locks: take them, and look again whether it still holds. */
void
evn_aggregate_ensure(EvnAggregates *aggregates, EvnAggregate *aggregate)
{
	ListCell *cell;

	if (aggregate->parent != NULL)
		evn_aggregate_ensure(aggregates, aggregate->parent);

	LockRelationOid(aggregate->query_view, AccessShareLock);
	if (aggregate->valid)
		foreach(cell, aggregate->plan.over_batch->rtable)
		{
			RangeTblEntry *rte = lfirst_node(RangeTblEntry, cell);

			if (rte->rtekind == RTE_RELATION)
				LockRelationOid(rte->relid, rte->rellockmode);
		}
	while (!aggregate->valid)
	{
		aggregate->valid = true;
		evn_aggregate_plan_build(&aggregate->plan, aggregate->query_view, aggregate->storage,
								 aggregate->parent == NULL ? aggregates->row_desc
														   : aggregate->parent->plan.delta_desc);
	}
}

/* Whether batches are merged into it; not while it is paused or nothing of it is built. */
static bool
is_maintained(const EvnAggregate *aggregate)
{
	return aggregate->enabled && aggregate->built_from != DT_NOEND;
}

void
evn_aggregates_begin(EvnAggregates *aggregates, TupleDesc row_desc)
{
	ListCell *cell;

	aggregates->row_desc = row_desc;
	aggregates->batch_until = DT_NOBEGIN;
	while (!aggregates->valid)
		read_members(aggregates);
	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		aggregate->delta = NULL;
		aggregate->spans = NIL;
		aggregate->late = 0;
		aggregate->changed_since = DT_NOEND;
		aggregate->changed_until = DT_NOBEGIN;
	}
}

Bitmapset *
evn_aggregates_columns(EvnAggregates *aggregates)
{
	Bitmapset *columns = NULL;
	ListCell  *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (!is_maintained(aggregate))
			continue;
		evn_aggregate_ensure(aggregates, aggregate);
		if (aggregate->parent == NULL)
			columns = bms_join(columns, evn_aggregate_query_columns(aggregate->plan.query));
	}
	return columns;
}

/* Make the storage partitions that the delta needs. */
static void
ensure_partition(const EvnAggregates *aggregates, EvnAggregate *aggregate, TimestampTz bucket)
{
	int64 width = aggregates->stream->partition_us;
	int64 start = evn_stream_partition_start(bucket, width);

	if (start == aggregate->partition_start)
		return;
	evn_stream_make_partition(aggregate->storage, bucket, width, STORAGE_FILLFACTOR, NULL, NULL);
	aggregate->partition_start = start;
}

static int
compare_int64(const void *a, const void *b)
{
	int64 x = *(const int64 *) a;
	int64 y = *(const int64 *) b;

	return (x > y) - (x < y);
}

/*
 * The time buckets of a delta in order; some may stand there more than once.
 * Counts the rows of buckets that were over at seen_until.
 */
static int64 *
delta_buckets(EvnAggregate *aggregate, int64 seen_until, int *nbuckets)
{
	const EvnAggregateQuery *query = aggregate->plan.query;
	TupleTableSlot			*slot =
		MakeSingleTupleTableSlot(aggregate->plan.delta_desc, &TTSOpsMinimalTuple);
	int64 *buckets = palloc(sizeof(int64) * (tuplestore_tuple_count(aggregate->delta) + 1));
	int	   n = 0;

	tuplestore_rescan(aggregate->delta);
	while (tuplestore_gettupleslot(aggregate->delta, true, false, slot))
	{
		bool  isnull;
		int64 bucket = DatumGetTimestampTz(slot_getattr(slot, query->bucket + 1, &isnull));

		if (isnull)
			elog(ERROR, "time bucket is null");
		/* groups mostly come sorted, so this leaves few */
		if (n == 0 || buckets[n - 1] != bucket)
			buckets[n++] = bucket;
		if (bucket < seen_until && evn_time_bucket_next(&query->time_bucket, bucket) <= seen_until)
			aggregate->late += DatumGetInt64(slot_getattr(slot, query->ncolumns, &isnull));
	}
	ExecDropSingleTupleTableSlot(slot);
	qsort(buckets, n, sizeof(int64), compare_int64);
	*nbuckets = n;
	return buckets;
}

static void
note_changed(EvnAggregate *aggregate, int64 since, int64 until)
{
	aggregate->changed_since = Min(aggregate->changed_since, since);
	aggregate->changed_until = Max(aggregate->changed_until, until);
}

/* Merge the aggregate's delta: buckets that are not built yet, or were dropped, are left out. */
static void
merge_delta(EvnAggregates *aggregates, EvnAggregate *aggregate, EvnAggregateMerge kind, int slot,
			int64 since)
{
	int64 *buckets;
	int	   nbuckets;

	if (tuplestore_tuple_count(aggregate->delta) == 0)
		return;
	buckets = delta_buckets(aggregate, kind == EVN_MERGE_ADD ? aggregates->seen_until : DT_NOBEGIN,
							&nbuckets);
	for (int i = 0; i < nbuckets; i++)
		if (buckets[i] >= since)
			ensure_partition(aggregates, aggregate, buckets[i]);
	if (buckets[nbuckets - 1] >= since)
		note_changed(
			aggregate, Max(buckets[0], since),
			evn_time_bucket_next(&aggregate->plan.query->time_bucket, buckets[nbuckets - 1]));
	pfree(buckets);
	evn_aggregate_plan_merge(&aggregate->plan, kind, aggregate->delta, slot, since);
}

static int64
kept_since(const EvnAggregate *aggregate)
{
	return Max(aggregate->built_from, aggregate->results_since);
}

/* What the rows make of the aggregate, in its delta; of another aggregate's, when it reads one. */
static void
compute_delta(EvnAggregates *aggregates, EvnAggregate *aggregate, Tuplestorestate *rows)
{
	if (aggregate->parent == NULL)
		aggregate->delta = evn_aggregate_plan_delta(&aggregate->plan, rows, aggregates->row_desc);
	else if (aggregate->parent->delta != NULL)
		aggregate->delta = evn_aggregate_plan_delta(&aggregate->plan, aggregate->parent->delta,
													aggregate->parent->plan.delta_desc);
}

void
evn_aggregates_end(EvnAggregates *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (aggregate->delta != NULL)
			tuplestore_end(aggregate->delta);
		aggregate->delta = NULL;
		aggregate->spans = NIL;
	}
}

/* Count the late rows, in a row of this worker's own. */
static void
count_late(const EvnAggregate *aggregate, int slot)
{
	static SPIPlanPtr plan = NULL;
	Oid				  types[3] = {REGCLASSOID, INT4OID, INT8OID};
	Datum			  values[3];
	EvnSpi			  spi;

	evn_spi_begin(&spi, evn_spi_catalog_owner());
	evn_spi_keep_plan(
		&plan,
		"INSERT INTO evilnet.late_row AS l (aggregate, slot, rows) VALUES ($1, $2, $3)"
		" ON CONFLICT (aggregate, slot) DO UPDATE SET rows = l.rows + excluded.rows,"
		" counted_at = excluded.counted_at",
		3, types);
	values[0] = ObjectIdGetDatum(aggregate->view);
	values[1] = Int32GetDatum(slot);
	values[2] = Int64GetDatum(aggregate->late);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "counting late rows failed");
	evn_spi_end(&spi);
}

void
evn_aggregates_add(EvnAggregates *aggregates, Tuplestorestate *rows, int64 newest, int slot)
{
	ListCell *cell;

	aggregates->batch_until = Max(aggregates->batch_until, newest);

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (!is_maintained(aggregate))
			continue;
		compute_delta(aggregates, aggregate, rows);
		if (aggregate->delta == NULL)
			continue;
		merge_delta(aggregates, aggregate, EVN_MERGE_ADD, slot, kept_since(aggregate));
		if (aggregate->late > 0)
			count_late(aggregate, slot);
	}
}

/* NOTIFY evilnet_<name>, '{"since": ..., "until": ...}' */
static void
notify_changed(const EvnAggregate *aggregate)
{
	char  channel[NAMEDATALEN * 2];
	char  since[MAXDATELEN + 1];
	char  until[MAXDATELEN + 1];
	char *name = get_rel_name(aggregate->view);

	if (name == NULL)
		return;
	snprintf(channel, sizeof(channel), "evilnet_%s", name);
	/* no longer than a name may be */
	channel[pg_mbcliplen(channel, strlen(channel), NAMEDATALEN - 1)] = '\0';
	JsonEncodeDateTime(since, TimestampTzGetDatum(aggregate->changed_since), TIMESTAMPTZOID, NULL);
	JsonEncodeDateTime(until, TimestampTzGetDatum(aggregate->changed_until), TIMESTAMPTZOID, NULL);
	Async_Notify(channel, psprintf("{\"since\": \"%s\", \"until\": \"%s\"}", since, until));
}

void
evn_aggregates_notify(EvnAggregates *aggregates)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (aggregate->notify && aggregate->changed_since < aggregate->changed_until)
			notify_changed(aggregate);
		aggregate->changed_since = DT_NOEND;
		aggregate->changed_until = DT_NOBEGIN;
	}
}

void
evn_aggregates_committed(EvnAggregates *aggregates)
{
	aggregates->seen_until = Max(aggregates->seen_until, aggregates->batch_until);
}

/* Append a bucket to spans that are in order, joining neighbours. */
static List *
add_bucket(List *spans, const EvnTimeBucket *time_bucket, int64 start)
{
	EvnAggregateSpan *last = spans == NIL ? NULL : llast(spans);
	int64			  next = evn_time_bucket_next(time_bucket, start);

	if (last != NULL && start <= last->until)
	{
		last->until = Max(last->until, next);
		return spans;
	}
	last = palloc(sizeof(EvnAggregateSpan));
	last->since = start;
	last->until = next;
	return lappend(spans, last);
}

/* The buckets that rows of these times are in. */
static List *
spans_of_times(const EvnAggregate *aggregate, int64 *times, int n)
{
	const EvnTimeBucket *time_bucket = &aggregate->plan.query->time_bucket;
	List				*spans = NIL;

	qsort(times, n, sizeof(int64), compare_int64);
	for (int i = 0; i < n; i++)
		spans = add_bucket(spans, time_bucket, evn_time_bucket_start(time_bucket, times[i]));
	return spans;
}

/* The buckets that source rows are in, by their column attnum. */
static List *
spans_of_rows(const EvnAggregate *aggregate, Tuplestorestate *rows, TupleDesc desc)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	int64		   *times = palloc(sizeof(int64) * (tuplestore_tuple_count(rows) + 1));
	bool			isnull;
	int				n = 0;

	tuplestore_rescan(rows);
	while (tuplestore_gettupleslot(rows, true, false, slot))
		times[n++] =
			DatumGetTimestampTz(slot_getattr(slot, aggregate->plan.query->source_time, &isnull));
	ExecDropSingleTupleTableSlot(slot);
	return spans_of_times(aggregate, times, n);
}

/* The buckets that hold what the other aggregate computed afresh. */
static List *
spans_of_parent(const EvnAggregate *aggregate)
{
	const EvnTimeBucket *time_bucket = &aggregate->plan.query->time_bucket;
	List				*spans = NIL;
	ListCell			*cell;

	foreach(cell, aggregate->parent->spans)
	{
		EvnAggregateSpan *span = lfirst(cell);

		for (int64 start = evn_time_bucket_start(time_bucket, span->since); start < span->until;
			 start = evn_time_bucket_next(time_bucket, start))
			spans = add_bucket(spans, time_bucket, start);
	}
	return spans;
}

static void
delete_results(const EvnAggregate *aggregate, int64 since, int64 until)
{
	const EvnAggregateQuery *query = aggregate->plan.query;
	const char				*bucket = query->columns[query->bucket].name;
	Oid						 types[2] = {TIMESTAMPTZOID, TIMESTAMPTZOID};
	Datum					 values[2];
	EvnSpi					 spi;

	values[0] = TimestampTzGetDatum(since);
	values[1] = TimestampTzGetDatum(until);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(psprintf("DELETE FROM %s WHERE %s >= $1 AND %s < $2",
							   evn_spi_qualified_name(aggregate->storage), bucket, bucket),
					  2, types, values, NULL, SPI_OK_DELETE);
	evn_spi_end(&spi);
}

/* from when on the rows an aggregate is made of are all there: older ones were dropped */
static int64
source_since(const EvnAggregates *aggregates, const EvnAggregate *aggregate)
{
	return aggregate->parent == NULL ? aggregates->rows_since : aggregate->parent->results_since;
}

/* The first bucket, at or after since, of which the source holds everything. */
static int64
first_whole_bucket(const EvnAggregates *aggregates, const EvnAggregate *aggregate, int64 since)
{
	const EvnTimeBucket *time_bucket = &aggregate->plan.query->time_bucket;
	int64				 whole = source_since(aggregates, aggregate);
	int64				 start;

	since = Max(since, aggregate->results_since);
	if (since > whole || TIMESTAMP_NOT_FINITE(whole))
		return since;
	start = evn_time_bucket_start(time_bucket, whole);
	return start == whole ? start : evn_time_bucket_next(time_bucket, start);
}

int64
evn_aggregate_whole_since(const EvnAggregates *aggregates, const EvnAggregate *aggregate,
						  int64 since)
{
	return first_whole_bucket(aggregates, aggregate, Max(since, kept_since(aggregate)));
}

void
evn_aggregate_recompute(EvnAggregates *aggregates, EvnAggregate *aggregate, int64 since,
						int64 until, int slot)
{
	Tuplestorestate *before = aggregate->delta;
	int64			 late;

	since = first_whole_bucket(aggregates, aggregate, since);
	if (since >= until)
		return;
	note_changed(aggregate, since, until);
	delete_results(aggregate, since, until);
	aggregate->delta = evn_aggregate_plan_delta_of_range(aggregate->plan.query, since, until);
	late = aggregate->late; /* what is counted again was late before */
	merge_delta(aggregates, aggregate, EVN_MERGE_ADD, slot, since);
	aggregate->late = late;
	tuplestore_end(aggregate->delta);
	aggregate->delta = before;
}

/*
 * Compute the spans afresh, as far as they are built and their rows are all
 * there.  Where rows were dropped, the columns that can be negated still are.
 */
static void
recompute_spans(EvnAggregates *aggregates, EvnAggregate *aggregate, Tuplestorestate *rows, int slot)
{
	bool	  partial = false;
	ListCell *cell;

	foreach(cell, aggregate->spans)
	{
		EvnAggregateSpan *span = lfirst(cell);
		int64			  since = Max(span->since, kept_since(aggregate));

		if (since < first_whole_bucket(aggregates, aggregate, since))
			partial = true;
	}
	if (partial)
	{
		compute_delta(aggregates, aggregate, rows);
		if (aggregate->delta != NULL)
			merge_delta(aggregates, aggregate, EVN_MERGE_REDUCE, slot, kept_since(aggregate));
	}
	foreach(cell, aggregate->spans)
	{
		EvnAggregateSpan *span = lfirst(cell);

		evn_aggregate_recompute(aggregates, aggregate, Max(span->since, kept_since(aggregate)),
								span->until, slot);
	}
}

static void
remove_from(EvnAggregates *aggregates, EvnAggregate *aggregate, Tuplestorestate *rows, int slot)
{
	EvnAggregate *parent = aggregate->parent;

	if (parent != NULL && parent->spans != NIL)
		aggregate->spans = spans_of_parent(aggregate);
	else if (!aggregate->plan.query->can_negate && parent == NULL)
		aggregate->spans = spans_of_rows(aggregate, rows, aggregates->row_desc);
	else if (!aggregate->plan.query->can_negate && parent->delta != NULL)
		aggregate->spans = spans_of_rows(aggregate, parent->delta, parent->plan.delta_desc);
	if (aggregate->spans != NIL)
		recompute_spans(aggregates, aggregate, rows, slot);
	else
	{
		compute_delta(aggregates, aggregate, rows);
		if (aggregate->delta != NULL)
			merge_delta(aggregates, aggregate, EVN_MERGE_NEGATE, slot, kept_since(aggregate));
	}
}

void
evn_aggregates_remove(EvnAggregates *aggregates, Tuplestorestate *rows, int slot)
{
	ListCell *cell;

	foreach(cell, aggregates->members)
	{
		EvnAggregate *aggregate = lfirst(cell);

		if (is_maintained(aggregate))
			remove_from(aggregates, aggregate, rows, slot);
	}
	evn_aggregates_end(aggregates);
}
