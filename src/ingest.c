/*
 * ingest.c
 *		The ingest transaction.
 *
 * The rows of evilnet.stream_offset are the only authority on what was
 * consumed.  A transaction begins by locking and comparing them and ends by
 * moving them, so a batch is stored once whatever crashes, and a worker that
 * lost a partition to another cannot store into it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "portability/instr_time.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "aggregate_maintain.h"
#include "compat.h"
#include "guc.h"
#include "ingest.h"
#include "row_store.h"
#include "spi.h"
#include "worker.h"

#define BUDGET_WINDOW  10000 /* messages the error budget looks back on, about */
#define BUDGET_MINIMUM 1000	 /* no judgement on fewer */

/* milliseconds from Kafka's beginning of time to PostgreSQL's */
#define EPOCH_MS ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * INT64CONST(1000))

/* Returns the caller's memory context, for commit_transaction: what lives there outlives us. */
static MemoryContext
begin_transaction(void)
{
	MemoryContext caller = CurrentMemoryContext;

	evn_worker_begin_transaction();
	return caller;
}

static void
commit_transaction(MemoryContext caller)
{
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(caller);
}

EvnIngest *
evn_ingest_open(Oid relid, int worker)
{
	MemoryContext caller = begin_transaction();
	MemoryContext transaction;
	EvnIngest	 *ingest = NULL;
	EvnStream	 *stream;

	if (!evn_spi_catalog_usable(LOG))
	{
		commit_transaction(caller);
		return NULL;
	}
	transaction = MemoryContextSwitchTo(caller);
	stream = evn_stream_load(relid);
	if (stream != NULL)
	{
		ingest = palloc0(sizeof(EvnIngest));
		ingest->stream = stream;
		ingest->worker = worker;
		ingest->aggregates = evn_aggregates_open(stream);
	}
	MemoryContextSwitchTo(transaction);
	commit_transaction(caller);
	return ingest;
}

static Datum
int4_array(const EvnPosition *positions, int npositions)
{
	Datum *values = palloc(sizeof(Datum) * Max(npositions, 1));

	for (int i = 0; i < npositions; i++)
		values[i] = Int32GetDatum(positions[i].partition);
	return PointerGetDatum(
		construct_array(values, npositions, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

static int64
int8_or(uint64 row, int column, int64 absent)
{
	bool  isnull;
	Datum value = evn_spi_value_or_null(row, column, &isnull);

	return isnull ? absent : DatumGetInt64(value);
}

static void
fill_position(EvnPosition *position, uint64 row)
{
	position->is_new = false;
	position->next_offset = DatumGetInt64(evn_spi_value(row, 2));
	position->epoch = DatumGetInt64(evn_spi_value(row, 3));
	position->anchor_offset = int8_or(row, 4, -1);
	position->anchor_timestamp = int8_or(row, 5, -1);
	position->anchor_hash = int8_or(row, 6, 0);
}

void
evn_ingest_claim(EvnIngest *ingest, EvnPosition *positions, int npositions)
{
	MemoryContext caller;
	Oid			  types[2] = {REGCLASSOID, INT4ARRAYOID};
	Datum		  values[2];
	EvnSpi		  spi;

	caller = begin_transaction();
	evn_spi_begin(&spi, InvalidOid);
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = int4_array(positions, npositions);
	for (int i = 0; i < npositions; i++)
		positions[i].is_new = true;
	evn_spi_exec_args(
		"WITH mine AS MATERIALIZED (SELECT o.stream, o.kafka_partition FROM evilnet.stream_offset o"
		" WHERE o.stream = $1 AND o.kafka_partition = ANY ($2) ORDER BY 2 FOR UPDATE)"
		" UPDATE evilnet.stream_offset o SET epoch = o.epoch + 1 FROM mine"
		" WHERE o.stream = mine.stream AND o.kafka_partition = mine.kafka_partition"
		" RETURNING o.kafka_partition, o.next_offset, o.epoch,"
		" o.anchor_offset, o.anchor_timestamp, o.anchor_hash",
		2, types, values, NULL, SPI_OK_UPDATE_RETURNING);
	for (uint64 row = 0; row < SPI_processed; row++)
		for (int i = 0; i < npositions; i++)
			if (positions[i].partition == DatumGetInt32(evn_spi_value(row, 1)))
				fill_position(&positions[i], row);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

int
evn_ingest_known_partitions(EvnIngest *ingest)
{
	MemoryContext caller = begin_transaction();
	EvnSpi		  spi;
	bool		  isnull;
	int			  known;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(
		SPI_OK_SELECT,
		"SELECT pg_catalog.min(topic_partitions) FROM evilnet.stream_offset WHERE stream = %u",
		ingest->stream->relid);
	known = DatumGetInt32(evn_spi_value_or_null(0, 1, &isnull));
	evn_spi_end(&spi);
	commit_transaction(caller);
	return isnull ? PG_INT32_MAX : known;
}

/* The stream's row is locked: a seek() either came before and is seen, or waits. */
static void
insert_start(EvnIngest *ingest, EvnPosition *position, int topic_partitions)
{
	Oid	  types[6] = {REGCLASSOID, INT4OID, INT8OID, INT4OID, TEXTOID, TIMESTAMPTZOID};
	Datum values[6] = {
		ObjectIdGetDatum(ingest->stream->relid),	   Int32GetDatum(position->partition),
		Int64GetDatum(position->next_offset),		   Int32GetDatum(topic_partitions),
		CStringGetTextDatum(ingest->stream->start_at), TimestampTzGetDatum(position->start_time)};
	char nulls[] = "      ";

	nulls[5] = position->start_time == 0 ? 'n' : ' ';

	/* another owner that was quicker makes this fail: tried again from the beginning */
	if (evn_spi_exec_args(
			"INSERT INTO evilnet.stream_offset (stream, kafka_partition, next_offset, topic_partitions, epoch,"
			" covered_since, covered_until)"
			" SELECT $1, $2, $3, $4, 1, $6, $6 FROM evilnet.stream s"
			" WHERE s.stream = $1 AND s.start_at = $5 FOR SHARE",
			6, types, values, nulls, SPI_OK_INSERT) == 0)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("the start of stream %s was changed", ingest->stream->name)));
	position->epoch = 1;
	position->is_new = false;
}

void
evn_ingest_set_start(EvnIngest *ingest, EvnPosition *positions, int npositions,
					 int topic_partitions)
{
	MemoryContext caller = begin_transaction();
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	for (int i = 0; i < npositions; i++)
		if (positions[i].is_new)
			insert_start(ingest, &positions[i], topic_partitions);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

/*
 * covered_since when a span may begin.  One that follows a hole lies behind
 * it, whatever times the producers wrote.
 */
#define SPAN_BEGIN(at) \
	"coalesce(o.covered_since, greatest(o.covered_until + interval '1 ms', " at "))"

static Datum
batch_partitions(const EvnBatch *batch)
{
	Datum *values = palloc(sizeof(Datum) * Max(batch->nparts, 1));

	for (int i = 0; i < batch->nparts; i++)
		values[i] = Int32GetDatum(batch->parts[i].partition);
	return PointerGetDatum(
		construct_array(values, batch->nparts, INT4OID, sizeof(int32), true, TYPALIGN_INT));
}

/*
 * Lock the position rows and compare them with what the batch started from.
 * False when one is missing, moved, or owned by a later epoch.
 */
static bool
fence(EvnIngest *ingest, const EvnBatch *batch)
{
	static SPIPlanPtr plan = NULL;
	Oid				  types[2] = {REGCLASSOID, INT4ARRAYOID};
	Datum			  values[2];
	bool			  mine;
	EvnSpi			  spi;

	evn_spi_begin(&spi, InvalidOid);
	evn_spi_keep_plan(&plan,
					  "SELECT o.next_offset, o.epoch FROM evilnet.stream_offset o"
					  " WHERE o.stream = $1 AND o.kafka_partition = ANY ($2)"
					  " ORDER BY o.kafka_partition FOR UPDATE",
					  2, types);
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = batch_partitions(batch);
	if (SPI_execute_plan(plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "reading evilnet.stream_offset failed");
	mine = SPI_processed == batch->nparts;
	for (int i = 0; mine && i < batch->nparts; i++)
		mine = DatumGetInt64(evn_spi_value(i, 1)) == batch->parts[i].from_offset &&
			   DatumGetInt64(evn_spi_value(i, 2)) == batch->parts[i].epoch;
	evn_spi_end(&spi);
	return mine;
}

/*
 * A delete notice and its post can be in the hands of two workers at once, and
 * neither sees the other's uncommitted work.  So a batch with notices runs
 * while no other batch of the stream does.
 */
static void
lock_stream(EvnIngest *ingest, const EvnBatchMessage *messages, int n)
{
	LOCKMODE mode = RowExclusiveLock;

	if (!OidIsValid(ingest->stream->deletes))
		return;
	for (int i = 0; i < n; i++)
		if (messages[i].decoded == EVN_OUTCOME_DELETE)
			mode = ShareRowExclusiveLock;
	LockRelationOid(ingest->stream->deletes, mode);
}

static void
apply_range(EvnIngest *ingest, EvnBatchMessage *messages, int n, int64 stage_us[EVN_NSTAGES])
{
	EvnActingAs before;

	for (int i = 0; i < n; i++)
	{
		messages[i].outcome = messages[i].decoded;
		messages[i].rows_deleted = 0;
	}
	/* the owner's table, the owner's queries: with the owner's rights */
	evn_spi_act_as(&before, ingest->stream->owner, true);
	evn_row_store_apply(ingest->stream, ingest->aggregates, ingest->worker, messages, n,
						&stage_us[EVN_STAGE_INSERT], &stage_us[EVN_STAGE_MERGE]);
	evn_spi_act_as_before(&before);
}

/* The message alone made the transaction fail. */
static void
bury(EvnIngest *ingest, EvnBatchMessage *message, ErrorData *error, MemoryContext context)
{
	message->decoded = message->outcome = EVN_OUTCOME_DEAD;
	message->reason = "sql_error";
	message->detail = MemoryContextStrdup(
		context, psprintf("%s (SQLSTATE %s)", error->message, unpack_sql_state(error->sqlerrcode)));
}

/*
 * Apply a range in a subtransaction; returns the error that rolled it back, or
 * NULL.  An error that no message can be blamed for is raised on.
 */
static ErrorData *
try_range(EvnIngest *ingest, EvnBatchMessage *messages, int n, int64 stage_us[EVN_NSTAGES])
{
	MemoryContext context = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	PG_TRY();
	{
		apply_range(ingest, messages, n, stage_us);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(context);
		CurrentResourceOwner = owner;
	}
	PG_END_TRY();
	if (error != NULL && evn_ingest_blame(error->sqlerrcode) != EVN_BLAME_MESSAGE)
		ReThrowError(error);
	return error;
}

/* Halve until the messages that fail are alone. */
static void
apply_bisecting(EvnIngest *ingest, EvnBatchMessage *messages, int n, int64 stage_us[EVN_NSTAGES],
				MemoryContext context)
{
	ErrorData *error = try_range(ingest, messages, n, stage_us);

	CHECK_FOR_INTERRUPTS();
	if (error == NULL)
		return;
	if (n == 1)
	{
		bury(ingest, messages, error, context);
		return;
	}
	apply_bisecting(ingest, messages, n / 2, stage_us, context);
	apply_bisecting(ingest, messages + n / 2, n - n / 2, stage_us, context);
}

static void
write_dead_letter(EvnIngest *ingest, const EvnBatchMessage *message)
{
	static SPIPlanPtr plan = NULL;
	Oid types[8] = {REGCLASSOID, INT4OID, INT8OID, INT8OID, TEXTOID, TEXTOID, BYTEAOID, BYTEAOID};
	const EvnKafkaMessage *kafka = &message->kafka;
	Datum				   values[8];
	char				   nulls[9] = "        ";

	evn_spi_keep_plan(&plan,
					  "INSERT INTO evilnet.dead_letter (stream, kafka_partition, kafka_offset,"
					  " kafka_timestamp, reason, detail, key, payload) VALUES ($1, $2, $3,"
					  " pg_catalog.to_timestamp($4 / 1000.0), $5, $6, $7, $8)",
					  8, types);
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = Int32GetDatum(kafka->partition);
	values[2] = Int64GetDatum(kafka->offset);
	values[3] = Int64GetDatum(kafka->timestamp_ms);
	values[4] = CStringGetTextDatum(message->reason);
	values[5] = CStringGetTextDatum(message->detail);
	values[6] = kafka->key == NULL
					? (Datum) 0
					: PointerGetDatum(cstring_to_text_with_len(kafka->key, kafka->key_len));
	values[7] = kafka->payload == NULL
					? (Datum) 0
					: PointerGetDatum(cstring_to_text_with_len(kafka->payload, kafka->len));
	nulls[3] = kafka->timestamp_ms < 0 ? 'n' : ' ';
	nulls[6] = kafka->key == NULL ? 'n' : ' ';
	nulls[7] = kafka->payload == NULL ? 'n' : ' ';
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "writing evilnet.dead_letter failed");
}

/* what a batch holds of one partition */
typedef struct PartSums
{
	int64				   counts[EVN_NOUTCOMES];
	int64				   messages;
	int64				   deleted;
	const EvnKafkaMessage *first;
	TimestampTz			   event_until; /* its latest post */
} PartSums;

static void
sum_part(const EvnBatch *batch, int part, PartSums *sums)
{
	memset(sums, 0, sizeof(PartSums));
	sums->event_until = DT_NOBEGIN;
	for (int i = 0; i < batch->nmessages; i++)
	{
		const EvnBatchMessage *message = &batch->messages[i];

		if (message->part != part)
			continue;
		if (sums->messages++ == 0)
			sums->first = &message->kafka;
		sums->counts[message->outcome]++;
		sums->deleted += message->rows_deleted;
		if (message->decoded == EVN_OUTCOME_ROW)
			sums->event_until = Max(sums->event_until, message->tweet.created_at);
	}
}

/*
 * Kafka's time of a message; 0 when it has none, or one that cannot be: a
 * producer may write what it likes.
 */
static TimestampTz
kafka_time(const EvnKafkaMessage *message, TimestampTz now)
{
	int64 ms = message == NULL ? -1 : message->timestamp_ms;

	if (ms < 0 || ms > now / 1000 + EPOCH_MS + evn_max_future * INT64CONST(1000))
		return 0;
	return Min((ms - EPOCH_MS) * 1000, now);
}

/* The first and the last moment that the batch covers of a partition, and its latest post. */
static void
cover_part(const EvnBatchPart *part, const PartSums *sums, const EvnKafkaMessage *last,
		   Datum values[3], char nulls[3])
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz since = kafka_time(sums->first, now);
	TimestampTz until = kafka_time(last, now);

	if (until == 0 || until < part->end_seen_at)
		until = part->end_seen_at;
	if (since == 0)
		since = until;
	if (until == 0)
		until = since;
	values[0] = TimestampTzGetDatum(since);
	values[1] = TimestampTzGetDatum(until);
	values[2] = TimestampTzGetDatum(sums->event_until);
	nulls[0] = since == 0 ? 'n' : ' ';
	nulls[1] = until == 0 ? 'n' : ' ';
	nulls[2] = TIMESTAMP_IS_NOBEGIN(sums->event_until) ? 'n' : ' ';
}

static void
end_spans(EvnIngest *ingest, const int32 *partition, const char *ended_by)
{
	Oid	  types[3] = {REGCLASSOID, INT4OID, TEXTOID};
	Datum values[3] = {ObjectIdGetDatum(ingest->stream->relid),
					   Int32GetDatum(partition == NULL ? 0 : *partition),
					   CStringGetTextDatum(ended_by)};

	evn_spi_exec_args("SELECT evilnet.end_spans($1, $2, $3)", 3, types, values,
					  partition == NULL ? " n " : NULL, SPI_OK_SELECT);
}

/* Move one partition's position, add to its totals, and write its journal row. */
static void
advance(EvnIngest *ingest, const EvnBatch *batch, int part)
{
	static SPIPlanPtr plan = NULL;
	static Oid		  types[21] = {REGCLASSOID,	  INT4OID,		  INT8OID, INT8OID,		   INT8OID,
								   INT8OID,		  INT8OID,		  INT8OID, INT8OID,		   INT8OID,
								   INT8OID,		  INT8OID,		  INT8OID, INT8OID,		   INT8OID,
								   INT8OID,		  TIMESTAMPTZOID, INT4OID, TIMESTAMPTZOID, TIMESTAMPTZOID,
								   TIMESTAMPTZOID};
	const EvnBatchPart	  *p = &batch->parts[part];
	const EvnKafkaMessage *last = p->last < 0 ? NULL : &batch->messages[p->last].kafka;
	PartSums			   sums;
	Datum				   values[21];
	char				   nulls[21];

	if (p->to_offset == p->from_offset && p->gaps == 0)
		return;
	if (p->expired)
		end_spans(ingest, &p->partition, "expired");
	evn_spi_keep_plan(
		&plan,
		"WITH moved AS (UPDATE evilnet.stream_offset o SET next_offset = $4,"
		" anchor_offset = coalesce($5, o.anchor_offset),"
		" anchor_timestamp = coalesce($6, o.anchor_timestamp), anchor_hash = coalesce($7, o.anchor_hash),"
		" messages = o.messages + $8, rows = o.rows + $9, duplicates = o.duplicates + $10,"
		" deletes = o.deletes + $11, suppressed = o.suppressed + $12, notices = o.notices + $13,"
		" dead_letters = o.dead_letters + $14, rows_deleted = o.rows_deleted + $15,"
		" gaps = o.gaps + $16, updated_at = pg_catalog.clock_timestamp(),"
		" covered_since = CASE WHEN $19 IS NULL THEN o.covered_since ELSE " SPAN_BEGIN(
			"$19") " END,"
				   " covered_until = greatest(o.covered_until, $20), event_until = greatest(o.event_until, $21)"
				   " WHERE o.stream = $1 AND o.kafka_partition = $2)"
				   " INSERT INTO evilnet.batch (stream, kafka_partition, from_offset, to_offset, messages, rows,"
				   " duplicates, deletes, suppressed, notices, dead_letters, rows_deleted, gaps, started_at,"
				   " worker, committed_at) VALUES ($1, $2, $3, $4, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17,"
				   " $18, pg_catalog.clock_timestamp())",
		21, types);
	sum_part(batch, part, &sums);
	memset(nulls, ' ', sizeof(nulls));
	if (last == NULL)
		nulls[4] = nulls[5] = nulls[6] = 'n';
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = Int32GetDatum(p->partition);
	values[2] = Int64GetDatum(p->from_offset);
	values[3] = Int64GetDatum(p->to_offset);
	values[4] = Int64GetDatum(last == NULL ? 0 : last->offset);
	values[5] = Int64GetDatum(last == NULL ? 0 : last->timestamp_ms);
	values[6] = Int64GetDatum(last == NULL ? 0 : evn_ingest_hash(last));
	values[7] = Int64GetDatum(sums.messages);
	for (int i = 0; i < EVN_NOUTCOMES; i++)
		values[8 + i] = Int64GetDatum(sums.counts[i]);
	values[14] = Int64GetDatum(sums.deleted);
	values[15] = Int64GetDatum(p->gaps);
	values[16] = TimestampTzGetDatum(batch->started_at);
	values[17] = Int32GetDatum(ingest->worker);
	cover_part(p, &sums, last, &values[18], &nulls[18]);
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "moving the position of partition %d failed", p->partition);
}

void
evn_ingest_apply(EvnIngest *ingest, EvnBatchMessage *messages, int n, bool bisect,
				 MemoryContext context)
{
	int64  stage_us[EVN_NSTAGES];
	EvnSpi spi;

	lock_stream(ingest, messages, n);
	if (bisect)
		apply_bisecting(ingest, messages, n, stage_us, context);
	else
		apply_range(ingest, messages, n, stage_us);
	evn_spi_begin(&spi, evn_spi_catalog_owner());
	for (int i = 0; i < n; i++)
		if (messages[i].outcome == EVN_OUTCOME_DEAD)
			write_dead_letter(ingest, &messages[i]);
	evn_spi_end(&spi);
}

static void
write_books(EvnIngest *ingest, const EvnBatch *batch)
{
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	for (int i = 0; i < batch->nmessages; i++)
		if (batch->messages[i].outcome == EVN_OUTCOME_DEAD)
			write_dead_letter(ingest, &batch->messages[i]);
	for (int i = 0; i < batch->nparts; i++)
		advance(ingest, batch, i);
	evn_spi_end(&spi);
}

bool
evn_ingest_store(EvnIngest *ingest, EvnBatch *batch, bool bisect, int64 stage_us[EVN_NSTAGES])
{
	MemoryContext caller;
	instr_time	  start;
	instr_time	  end;
	int64		  inside = stage_us[EVN_STAGE_INSERT] + stage_us[EVN_STAGE_MERGE];

	INSTR_TIME_SET_CURRENT(start);
	caller = begin_transaction();
	if (!fence(ingest, batch))
	{
		AbortCurrentTransaction();
		MemoryContextSwitchTo(caller);
		return false;
	}
	lock_stream(ingest, batch->messages, batch->nmessages);
	if (bisect)
		apply_bisecting(ingest, batch->messages, batch->nmessages, stage_us, caller);
	else if (batch->nmessages > 0)
		apply_range(ingest, batch->messages, batch->nmessages, stage_us);
	write_books(ingest, batch);
	commit_transaction(caller);
	evn_aggregates_committed(ingest->aggregates);
	INSTR_TIME_SET_CURRENT(end);
	INSTR_TIME_SUBTRACT(end, start);
	inside = stage_us[EVN_STAGE_INSERT] + stage_us[EVN_STAGE_MERGE] - inside;
	stage_us[EVN_STAGE_COMMIT] += INSTR_TIME_GET_MICROSEC(end) - inside;
	return true;
}

static Datum
position_array(const EvnPosition *positions, int npositions, int64 (*value)(const EvnPosition *))
{
	Datum *values = palloc(sizeof(Datum) * npositions);

	for (int i = 0; i < npositions; i++)
		values[i] = Int64GetDatum(value(&positions[i]));
	return PointerGetDatum(construct_array(values, npositions, INT8OID, sizeof(int64),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static int64
next_offset_of(const EvnPosition *position)
{
	return position->next_offset;
}

static int64
epoch_of(const EvnPosition *position)
{
	return position->epoch;
}

void
evn_ingest_cover(EvnIngest *ingest, const EvnPosition *positions, int npositions, TimestampTz at)
{
	MemoryContext caller = begin_transaction();
	Oid	   types[5] = {REGCLASSOID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, TIMESTAMPTZOID};
	Datum  values[5];
	EvnSpi spi;

	evn_spi_begin(&spi, InvalidOid);
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = int4_array(positions, npositions);
	values[2] = position_array(positions, npositions, next_offset_of);
	values[3] = position_array(positions, npositions, epoch_of);
	values[4] = TimestampTzGetDatum(at);
	evn_spi_exec_args(
		"WITH mine AS MATERIALIZED (SELECT o.stream, o.kafka_partition FROM evilnet.stream_offset o"
		" JOIN ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4))"
		" p(kafka_partition, next_offset, epoch)"
		" USING (kafka_partition, next_offset, epoch)"
		" WHERE o.stream = $1 FOR UPDATE OF o SKIP LOCKED)"
		" UPDATE evilnet.stream_offset o SET covered_since = " SPAN_BEGIN(
			"$5") ","
				  " covered_until = greatest(o.covered_until, $5) FROM mine"
				  " WHERE o.stream = mine.stream AND o.kafka_partition = mine.kafka_partition",
		5, types, values, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

void
evn_ingest_end_spans(EvnIngest *ingest, const char *ended_by)
{
	MemoryContext caller = begin_transaction();
	EvnSpi		  spi;

	evn_spi_begin(&spi, InvalidOid);
	end_spans(ingest, NULL, ended_by);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

bool
evn_ingest_over_budget(EvnIngest *ingest, const EvnBatch *batch)
{
	for (int i = 0; i < batch->nmessages; i++)
		/* a topic may reach back further than the retention: that is no error */
		if (batch->messages[i].outcome == EVN_OUTCOME_DEAD &&
			batch->messages[i].reason != evn_batch_too_old)
			ingest->recent_dead++;
	ingest->recent_messages += batch->nmessages;
	if (ingest->recent_messages > 2 * BUDGET_WINDOW)
	{
		double keep = BUDGET_WINDOW / ingest->recent_messages;

		ingest->recent_dead *= keep;
		ingest->recent_messages *= keep;
	}
	return ingest->recent_messages >= BUDGET_MINIMUM &&
		   ingest->recent_dead > ingest->stream->error_budget * ingest->recent_messages;
}

void
evn_ingest_stop(EvnIngest *ingest, const char *reason)
{
	MemoryContext caller;
	Oid			  types[2] = {REGCLASSOID, TEXTOID};
	Datum		  values[2];
	EvnSpi		  spi;

	caller = begin_transaction();
	evn_spi_begin(&spi, InvalidOid);
	values[0] = ObjectIdGetDatum(ingest->stream->relid);
	values[1] = CStringGetTextDatum(reason);
	evn_spi_exec_args(
		"UPDATE evilnet.stream SET enabled = false, stop_reason = $2 WHERE stream = $1", 2, types,
		values, NULL, SPI_OK_UPDATE);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

static void
make_partitions_ahead(EvnIngest *ingest)
{
	MemoryContext caller;
	TimestampTz	  now = GetCurrentTimestamp();
	EvnActingAs	  before;

	if (!ingest->stream->store)
		return;
	caller = begin_transaction();
	evn_spi_act_as(&before, ingest->stream->owner, true);
	evn_row_store_make_partition(ingest->stream, now);
	evn_row_store_make_partition(ingest->stream, now + ingest->stream->partition_us);
	evn_spi_act_as_before(&before);
	commit_transaction(caller);
}

void
evn_ingest_housekeep(EvnIngest *ingest)
{
	MemoryContext caller;
	EvnSpi		  spi;

	make_partitions_ahead(ingest);
	if (ingest->worker == 0)
	{
		caller = begin_transaction();
		evn_aggregate_maintain(ingest->stream);
		commit_transaction(caller);
	}
	if (evn_journal_retention < 0)
		return;
	caller = begin_transaction();
	evn_spi_begin(&spi, InvalidOid);
	evn_spi_execf(SPI_OK_DELETE,
				  "DELETE FROM evilnet.batch b WHERE b.stream = %u AND b.kafka_partition %% %d = %d"
				  " AND b.committed_at < pg_catalog.now() - pg_catalog.make_interval(secs => %d)",
				  ingest->stream->relid, ingest->stream->workers, ingest->worker,
				  evn_journal_retention);
	evn_spi_end(&spi);
	commit_transaction(caller);
}

EvnAccepted
evn_ingest_accepted(const EvnStream *stream)
{
	TimestampTz now = GetCurrentTimestamp();

	return (EvnAccepted) {.earliest = evn_stream_kept_since(stream, now),
						  .latest = now + evn_max_future * USECS_PER_SEC};
}

int64
evn_ingest_hash(const EvnKafkaMessage *message)
{
	return (int64) hash_bytes_extended((const unsigned char *) message->payload,
									   message->payload == NULL ? 0 : message->len, 0);
}

EvnIngestBlame
evn_ingest_blame(int sqlerrcode)
{
	switch (ERRCODE_TO_CATEGORY(sqlerrcode))
	{
		case MAKE_SQLSTATE('0', '8', '0', '0', '0'): /* connection exception */
		case MAKE_SQLSTATE('2', '5', '0', '0', '0'): /* invalid transaction state: read-only */
		case MAKE_SQLSTATE('4', '0', '0', '0', '0'): /* deadlock, serialization */
		case MAKE_SQLSTATE('5', '3', '0', '0', '0'): /* disk full, out of memory */
		case MAKE_SQLSTATE('5', '5', '0', '0', '0'): /* lock not available, object in use */
		case MAKE_SQLSTATE('5', '7', '0', '0', '0'): /* operator intervention */
		case MAKE_SQLSTATE('5', '8', '0', '0', '0'): /* system error: I/O */
			return EVN_BLAME_CIRCUMSTANCE;
		case MAKE_SQLSTATE('0', 'A', '0', '0', '0'): /* feature not supported */
		case MAKE_SQLSTATE('2', '6', '0', '0', '0'): /* invalid statement name */
		case MAKE_SQLSTATE('2', '8', '0', '0', '0'): /* invalid authorization */
		case MAKE_SQLSTATE('3', 'D', '0', '0', '0'): /* invalid catalog name */
		case MAKE_SQLSTATE('3', 'F', '0', '0', '0'): /* invalid schema name */
		case MAKE_SQLSTATE('4', '2', '0', '0', '0'): /* undefined object, insufficient privilege */
		case MAKE_SQLSTATE('F', '0', '0', '0', '0'): /* configuration file error */
		case MAKE_SQLSTATE('H', 'V', '0', '0', '0'): /* foreign data wrapper */
		case MAKE_SQLSTATE('X', 'X', '0', '0', '0'): /* internal error */
			return EVN_BLAME_STREAM;
		default: /* data, constraints, limits, what functions raise */
			return EVN_BLAME_MESSAGE;
	}
}
