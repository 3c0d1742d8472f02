/*
 * row_store.c
 *		The stream's table at ingest: duplicates, deletes, bulk insert.
 *
 * Order matters.  Deletes come before the insert, so that an aggregate that is
 * recomputed for them does not see the new rows, which are added after it.  A
 * post and its delete notice may arrive in any order and through different
 * partitions; the table of deleted ids makes the notice win either way.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "portability/instr_time.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#include "alert.h"
#include "compat.h"
#include "continuous_aggregate.h"
#include "id_probe.h"
#include "row_store.h"
#include "spi.h"

#define INSERT_SLOTS 1000		 /* rows per table_multi_insert */
#define BATCH_KBYTES (64 * 1024) /* the rows for the aggregates stay in memory */

/* a message by its id: sorting these does not touch the messages */
typedef struct MessageById
{
	int64			 id;
	EvnBatchMessage *message;
} MessageById;

/* what one call works on */
typedef struct RowStore
{
	const EvnStream *stream;
	MessageById		*posts; /* still to be stored, ascending by id */
	int				 nposts;
	MessageById		*notices; /* delete notices, ascending by id */
	int				 nnotices;
	int64			*deletes; /* their ids, ascending, each once */
	int				 ndeletes;
	EvnBatchMessage *messages;
	int				 nmessages;
	Bitmapset		*wanted;  /* columns of the stream's table that aggregates read */
	TupleDesc		 tupdesc; /* of the stream's table */
	Tuplestorestate *added;	  /* rows for the aggregates */
	Tuplestorestate *removed;
} RowStore;

static int
compare_by_id(const void *a, const void *b)
{
	const MessageById *x = a;
	const MessageById *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->message < y->message
			   ? -1
			   : x->message > y->message; /* the first to come is the one stored */
}

static int
compare_id_to_notice(const void *a, const void *b)
{
	int64 id = *(const int64 *) a;
	int64 other = ((const MessageById *) b)->id;

	return (id > other) - (id < other);
}

/* Sort the messages into posts and delete notices. */
static void
collect(RowStore *store)
{
	store->posts = palloc(sizeof(MessageById) * store->nmessages);
	store->notices = palloc(sizeof(MessageById) * store->nmessages);
	for (int i = 0; i < store->nmessages; i++)
	{
		EvnBatchMessage *message = &store->messages[i];

		if (message->decoded == EVN_OUTCOME_ROW)
			store->posts[store->nposts++] = (MessageById) {message->tweet.id, message};
		else if (message->decoded == EVN_OUTCOME_DELETE)
			store->notices[store->nnotices++] = (MessageById) {message->tweet.id, message};
	}
	if (!store->stream->store)
		return;
	qsort(store->posts, store->nposts, sizeof(MessageById), compare_by_id);
	qsort(store->notices, store->nnotices, sizeof(MessageById), compare_by_id);
	store->deletes = palloc(sizeof(int64) * store->nmessages);
	for (int i = 0; i < store->nnotices; i++)
		if (i == 0 || store->notices[i].id != store->notices[i - 1].id)
			store->deletes[store->ndeletes++] = store->notices[i].id;
}

static int64 *
post_ids(const RowStore *store)
{
	int64 *ids = palloc(sizeof(int64) * Max(store->nposts, 1));

	for (int i = 0; i < store->nposts; i++)
		ids[i] = store->posts[i].id;
	return ids;
}

/* Drop the posts that are marked, with the outcome that tells why. */
static void
drop_posts(RowStore *store, const bool *marked, EvnOutcome outcome)
{
	int n = 0;

	for (int i = 0; i < store->nposts; i++)
	{
		if (marked[i])
			store->posts[i].message->outcome = outcome;
		else
			store->posts[n++] = store->posts[i];
	}
	store->nposts = n;
}

static void
drop_repeated(RowStore *store)
{
	bool *marked = palloc0(store->nposts + 1);

	for (int i = 1; i < store->nposts; i++)
		marked[i] = store->posts[i].id == store->posts[i - 1].id;
	drop_posts(store, marked, EVN_OUTCOME_DUPLICATE);
}

static void
drop_stored(RowStore *store)
{
	bool	*found = palloc0(store->nposts + 1);
	Relation rel = table_open(store->stream->relid, AccessShareLock);

	evn_id_probe_partitions(rel, GetActiveSnapshot(), "id", post_ids(store), store->nposts, found);
	table_close(rel, NoLock);
	drop_posts(store, found, EVN_OUTCOME_DUPLICATE);
}

/* Posts whose delete notice was stored before, or is in this batch. */
static void
drop_deleted(RowStore *store)
{
	bool	*found = palloc0(store->nposts + 1);
	Relation rel = table_open(store->stream->deletes, AccessShareLock);

	evn_id_probe_table(rel, GetActiveSnapshot(), "id", post_ids(store), store->nposts, found);
	table_close(rel, NoLock);
	drop_posts(store, found, EVN_OUTCOME_SUPPRESSED);
}

static Datum
id_array(const int64 *ids, int nids)
{
	Datum *values = palloc(sizeof(Datum) * Max(nids, 1));

	for (int i = 0; i < nids; i++)
		values[i] = Int64GetDatum(ids[i]);
	return PointerGetDatum(
		construct_array(values, nids, INT8OID, sizeof(int64), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
remember_deletes(RowStore *store)
{
	Oid	   types[1] = {INT8ARRAYOID};
	Datum  values[1] = {id_array(store->deletes, store->ndeletes)};
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(
		psprintf("INSERT INTO %s (id) SELECT pg_catalog.unnest($1) ON CONFLICT (id) DO NOTHING",
				 evn_spi_qualified_name(store->stream->deletes)),
		1, types, values, NULL, SPI_OK_INSERT);
	evn_spi_end(&spi);
}

/* Keep only those ids of the delete notices that are stored; without an id index all may be. */
static int
stored_deletes(RowStore *store, int64 *ids)
{
	bool	*found = palloc0(store->ndeletes);
	Relation rel;
	int		 n = 0;

	if (!store->stream->dedup)
	{
		memcpy(ids, store->deletes, sizeof(int64) * store->ndeletes);
		return store->ndeletes;
	}
	rel = table_open(store->stream->relid, AccessShareLock);
	evn_id_probe_partitions(rel, GetActiveSnapshot(), "id", store->deletes, store->ndeletes, found);
	table_close(rel, NoLock);
	for (int i = 0; i < store->ndeletes; i++)
		if (found[i])
			ids[n++] = store->deletes[i];
	return n;
}

/* Charge a removed row to the notice that named it. */
static void
count_deleted(RowStore *store, int64 id)
{
	MessageById *notice =
		bsearch(&id, store->notices, store->nnotices, sizeof(MessageById), compare_id_to_notice);

	notice->message->rows_deleted++;
}

/* RETURNING * leaves dropped columns out: put a row back into the shape of the table. */
static void
keep_removed(RowStore *store, uint64 row)
{
	Datum *values = palloc0(sizeof(Datum) * store->tupdesc->natts);
	bool  *nulls = palloc(sizeof(bool) * store->tupdesc->natts);
	int	   column = 1;

	for (int i = 0; i < store->tupdesc->natts; i++)
	{
		nulls[i] = true;
		if (!TupleDescAttr(store->tupdesc, i)->attisdropped)
			values[i] = evn_spi_value_or_null(row, column++, &nulls[i]);
	}
	tuplestore_putvalues(store->removed, store->tupdesc, values, nulls);
	pfree(values);
	pfree(nulls);
}

static void
delete_rows(RowStore *store)
{
	Oid		   types[1] = {INT8ARRAYOID};
	Datum	   values[1];
	int64	  *ids = palloc(sizeof(int64) * store->ndeletes);
	int		   nids = stored_deletes(store, ids);
	AttrNumber attnums[EVN_NCOLUMNS];
	Relation   rel;
	EvnSpi	   spi;

	if (nids == 0)
		return;
	rel = table_open(store->stream->relid, RowExclusiveLock);
	evn_stream_columns(rel, attnums);
	table_close(rel, NoLock);
	values[0] = id_array(ids, nids);
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_exec_args(
		psprintf("DELETE FROM %s WHERE id = ANY ($1) RETURNING *", store->stream->name), 1, types,
		values, NULL, SPI_OK_DELETE_RETURNING);
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		int fnumber = SPI_fnumber(SPI_tuptable->tupdesc, "id");

		count_deleted(store, DatumGetInt64(evn_spi_value(i, fnumber)));
		keep_removed(store, i);
	}
	evn_spi_end(&spi);
}

static Datum
text_datum(EvnText text)
{
	return PointerGetDatum(cstring_to_text_with_len(text.data, text.len));
}

static Datum
hashtags_datum(const EvnTweet *tweet)
{
	Datum *values = palloc(sizeof(Datum) * Max(tweet->nhashtags, 1));

	for (int i = 0; i < tweet->nhashtags; i++)
		values[i] = text_datum(tweet->hashtags[i]);
	return PointerGetDatum(
		construct_array(values, tweet->nhashtags, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Constants of a row: made once per process, never freed. */
static Datum
constant_text(const char *string)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Datum		  datum = CStringGetTextDatum(string);

	MemoryContextSwitchTo(old);
	return datum;
}

static Datum
kind_datum(EvnTweetKind kind)
{
	static Datum datums[4];

	if (datums[0] == (Datum) 0)
	{
		datums[EVN_KIND_RETWEET] = constant_text("retweet");
		datums[EVN_KIND_REPLY] = constant_text("reply");
		datums[EVN_KIND_QUOTE] = constant_text("quote");
		datums[EVN_KIND_POST] = constant_text("post");
	}
	return datums[kind];
}

static Datum
city_source_datum(EvnCitySource source)
{
	static Datum datums[EVN_CITY_PROFILE + 1];

	if (datums[EVN_CITY_NONE] == (Datum) 0)
		for (int i = EVN_CITY_PROFILE; i >= EVN_CITY_NONE; i--)
			datums[i] = constant_text(evn_city_source_name(i));
	return datums[source];
}

static Datum
empty_array_datum(void)
{
	static Datum datum = (Datum) 0;

	if (datum == (Datum) 0)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

		datum = PointerGetDatum(construct_empty_array(TEXTOID));
		MemoryContextSwitchTo(old);
	}
	return datum;
}

/* The value of one column of a post; false for null. */
static bool
column_value(const EvnBatchMessage *message, EvnStreamColumn column, Datum *value)
{
	const EvnTweet *tweet = &message->tweet;
	EvnText			raw = {message->kafka.payload, message->kafka.len};

	switch (column)
	{
		case EVN_COLUMN_ID:
			*value = Int64GetDatum(tweet->id);
			return true;
		case EVN_COLUMN_CREATED_AT:
			*value = Int64GetDatum(tweet->created_at);
			return true;
		case EVN_COLUMN_AUTHOR_ID:
			*value = Int64GetDatum(tweet->author_id);
			return tweet->has_author;
		case EVN_COLUMN_KIND:
			*value = kind_datum(tweet->kind);
			return true;
		case EVN_COLUMN_LANG:
			if (tweet->lang.data != NULL)
				*value = text_datum(tweet->lang);
			return tweet->lang.data != NULL;
		case EVN_COLUMN_CITY_ID:
			*value = Int32GetDatum(message->city.city_id);
			return true;
		case EVN_COLUMN_CITY_SOURCE:
			*value = city_source_datum(message->city.source);
			return true;
		case EVN_COLUMN_TEXT:
			if (tweet->text.data != NULL)
				*value = text_datum(tweet->text);
			return tweet->text.data != NULL;
		case EVN_COLUMN_HASHTAGS:
			*value = tweet->nhashtags > 0 ? hashtags_datum(tweet) : empty_array_datum();
			return true;
		case EVN_COLUMN_KAFKA_PARTITION:
			*value = Int32GetDatum(message->kafka.partition);
			return true;
		case EVN_COLUMN_KAFKA_OFFSET:
			*value = Int64GetDatum(message->kafka.offset);
			return true;
		case EVN_COLUMN_RAW:
			*value = text_datum(raw);
			return true;
		case EVN_NCOLUMNS:
			break;
	}
	return false;
}

/* Fill a slot with a post; wanted NULL means every column. */
static void
fill_slot(TupleTableSlot *slot, const EvnBatchMessage *message,
		  const AttrNumber attnums[EVN_NCOLUMNS], const Bitmapset *wanted)
{
	ExecClearTuple(slot);
	memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
	for (int column = 0; column < EVN_NCOLUMNS; column++)
	{
		int attnum = attnums[column];

		if (attnum == InvalidAttrNumber ||
			(wanted != NULL && !bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, wanted)))
			continue;
		slot->tts_isnull[attnum - 1] =
			!column_value(message, column, &slot->tts_values[attnum - 1]);
	}
	ExecStoreVirtualTuple(slot);
}

static void
check_supported(Relation leaf)
{
	TriggerDesc *triggers = leaf->trigdesc;
	TupleConstr *constraints = RelationGetDescr(leaf)->constr;

	if (triggers != NULL && (triggers->trig_insert_before_row || triggers->trig_insert_after_row ||
							 triggers->trig_insert_instead_row))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("stream table \"%s\" has an insert trigger", RelationGetRelationName(leaf)),
				 errhint("Drop the trigger; rows are stored in bulk, without triggers.")));
	if (constraints != NULL && constraints->has_generated_stored)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("stream table \"%s\" has a generated column",
							   RelationGetRelationName(leaf)),
						errhint("Drop the column and compute it in a view.")));
}

/* Write n filled slots and their index entries. */
static void
write_slots(ResultRelInfo *result, EState *estate, TupleTableSlot **slots, int n, CommandId cid,
			BulkInsertState bistate)
{
	Relation leaf = result->ri_RelationDesc;

	if (RelationGetDescr(leaf)->constr != NULL)
		for (int i = 0; i < n; i++)
			ExecConstraints(result, slots[i], estate);
	table_multi_insert(leaf, slots, n, cid, 0, bistate);
	if (result->ri_NumIndices == 0)
		return;
	for (int i = 0; i < n; i++)
	{
		list_free(evn_insert_index_tuples(result, slots[i], estate));
		ResetPerTupleExprContext(estate);
	}
}

/* Bulk insert of posts that belong to one partition. */
static void
insert_into(Oid leaf_id, EvnBatchMessage **posts, int nposts)
{
	Relation		 leaf = table_open(leaf_id, RowExclusiveLock);
	EState			*estate = CreateExecutorState();
	ResultRelInfo	*result = makeNode(ResultRelInfo);
	BulkInsertState	 bistate = GetBulkInsertState();
	CommandId		 cid = GetCurrentCommandId(true);
	int				 nslots = Min(nposts, INSERT_SLOTS);
	TupleTableSlot **slots = palloc(sizeof(TupleTableSlot *) * nslots);
	AttrNumber		 attnums[EVN_NCOLUMNS];

	check_supported(leaf);
	evn_stream_columns(leaf, attnums);
	InitResultRelInfo(result, leaf, 0, NULL, 0);
	ExecOpenIndices(result, false);
	for (int i = 0; i < nslots; i++)
		slots[i] = table_slot_create(leaf, NULL);
	for (int done = 0; done < nposts; done += nslots)
	{
		int n = Min(nslots, nposts - done);

		for (int i = 0; i < n; i++)
			fill_slot(slots[i], posts[done + i], attnums, NULL);
		write_slots(result, estate, slots, n, cid, bistate);
	}
	for (int i = 0; i < nslots; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
	ExecCloseIndices(result);
	FreeExecutorState(estate);
	FreeBulkInsertState(bistate);
	table_finish_bulk_insert(leaf, 0);
	table_close(leaf, NoLock);
}

void
evn_row_store_make_partition(const EvnStream *stream, TimestampTz ts)
{
	evn_stream_make_partition(stream->relid, ts, stream->partition_us, 100,
							  stream->dedup ? "id" : NULL, "created_at");
}

/* Make the partitions the posts need; done with the table closed, as attaching wants it. */
static void
make_partitions(RowStore *store)
{
	int64 last = PG_INT64_MAX;

	for (int i = 0; i < store->nposts; i++)
	{
		int64 ts = store->posts[i].message->tweet.created_at;
		int64 start = evn_stream_partition_start(ts, store->stream->partition_us);

		if (start == last)
			continue;
		last = start;
		evn_row_store_make_partition(store->stream, ts);
	}
}

/* Insert the posts, run after run of those that share a partition; ids sorted within each. */
static void
insert_rows(RowStore *store)
{
	Relation		  rel;
	Oid				 *leaves = palloc(sizeof(Oid) * Max(store->nposts, 1));
	EvnBatchMessage **run = palloc(sizeof(EvnBatchMessage *) * Max(store->nposts, 1));
	List			 *targets = NIL;
	ListCell		 *cell;
	int64			  last = PG_INT64_MAX;

	make_partitions(store);
	rel = table_open(store->stream->relid, RowExclusiveLock);
	for (int i = 0; i < store->nposts; i++)
	{
		int64 ts = store->posts[i].message->tweet.created_at;
		int64 start = evn_stream_partition_start(ts, store->stream->partition_us);

		leaves[i] = start == last ? leaves[i - 1] : evn_stream_find_partition(rel, ts);
		if (start != last)
			targets = list_append_unique_oid(targets, leaves[i]);
		last = start;
	}
	foreach(cell, targets)
	{
		int n = 0;

		for (int i = 0; i < store->nposts; i++)
			if (leaves[i] == lfirst_oid(cell))
				run[n++] = store->posts[i].message;
		insert_into(lfirst_oid(cell), run, n);
	}
	table_close(rel, NoLock);
	CommandCounterIncrement();
}

/* The new rows as the aggregates read them. */
static void
keep_added(RowStore *store)
{
	TupleTableSlot *slot = MakeSingleTupleTableSlot(store->tupdesc, &TTSOpsVirtual);
	AttrNumber		attnums[EVN_NCOLUMNS];
	Relation		rel = table_open(store->stream->relid, AccessShareLock);

	evn_stream_columns(rel, attnums);
	table_close(rel, NoLock);
	for (int i = 0; i < store->nposts; i++)
	{
		fill_slot(slot, store->posts[i].message, attnums, store->wanted);
		tuplestore_puttupleslot(store->added, slot);
	}
	ExecDropSingleTupleTableSlot(slot);
}

static int64
newest_post(const RowStore *store)
{
	int64 newest = PG_INT64_MIN;

	for (int i = 0; i < store->nposts; i++)
		newest = Max(newest, store->posts[i].message->tweet.created_at);
	return newest;
}

static void
init_store(RowStore *store, const EvnStream *stream, EvnAggregates *aggregates,
		   EvnBatchMessage *messages, int nmessages)
{
	Relation rel = table_open(stream->relid, RowExclusiveLock);

	memset(store, 0, sizeof(RowStore));
	store->stream = stream;
	store->messages = messages;
	store->nmessages = nmessages;
	store->tupdesc = CreateTupleDescCopy(RelationGetDescr(rel));
	table_close(rel, NoLock);
	evn_aggregates_begin(aggregates, store->tupdesc);
	store->wanted = evn_aggregates_columns(aggregates);
	store->added = tuplestore_begin_heap(true, false, BATCH_KBYTES);
	store->removed = tuplestore_begin_heap(true, false, BATCH_KBYTES);
}

/* Everything that reads or writes the stream's table. */
static void
store_rows(RowStore *store, EvnAggregates *aggregates, int slot)
{
	if (store->stream->dedup)
		drop_repeated(store);
	if (store->ndeletes > 0)
		remember_deletes(store);
	PushActiveSnapshot(GetTransactionSnapshot());
	drop_deleted(store);
	if (store->stream->dedup)
		drop_stored(store);
	if (store->ndeletes > 0)
		delete_rows(store);
	PopActiveSnapshot();
	if (tuplestore_tuple_count(store->removed) > 0)
		evn_aggregates_remove(aggregates, store->removed, slot);
	if (store->nposts > 0)
		insert_rows(store);
}

void
evn_row_store_apply(const EvnStream *stream, EvnAggregates *aggregates, int slot,
					EvnBatchMessage *messages, int nmessages, int64 *insert_us, int64 *merge_us)
{
	RowStore   store;
	instr_time start;
	instr_time stored;
	instr_time end;

	INSTR_TIME_SET_CURRENT(start);
	init_store(&store, stream, aggregates, messages, nmessages);
	collect(&store);
	if (stream->store)
		store_rows(&store, aggregates, slot);
	INSTR_TIME_SET_CURRENT(stored);
	if (store.nposts > 0 && aggregates->members != NIL)
	{
		keep_added(&store);
		evn_aggregates_add(aggregates, store.added, newest_post(&store), slot);
		evn_alert_judge_batch(aggregates);
		evn_aggregates_end(aggregates);
	}
	evn_aggregates_notify(aggregates);
	INSTR_TIME_SET_CURRENT(end);
	tuplestore_end(store.added);
	tuplestore_end(store.removed);
	INSTR_TIME_SUBTRACT(end, stored);
	INSTR_TIME_SUBTRACT(stored, start);
	*insert_us += INSTR_TIME_GET_MICROSEC(stored);
	*merge_us += INSTR_TIME_GET_MICROSEC(end);
}
