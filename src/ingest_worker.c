/*
 * ingest_worker.c
 *		The process that consumes a stream's partitions.
 *
 * Outside any transaction it fetches, decodes and resolves until a batch is
 * full or old enough; then one transaction stores it.  An error never ends the
 * process by itself: it is recorded, waited out and tried again, with the same
 * batch when the batch was whole, else from the stored positions on.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_foreign_server.h"
#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/ps_status.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fdw_servers.h"
#include "gazetteer.h"
#include "guc.h"
#include "ingest.h"
#include "ingest_worker.h"
#include "partition_reader.h"
#include "tweet_decode.h"
#include "worker.h"

#define ARENA_BLOCK	   (1024 * 1024)
#define HOUSEKEEP_MS   60000 /* also how soon new partitions are seen */
#define HEARTBEAT_MS   60000 /* how often a stream at rest is looked at to say so in the books */
#define ERROR_LOG_MS   60000 /* the library's complaints go to the log no more often */
#define UNIQUE_RETRIES 3	 /* a unique violation is most often another worker's same post */
#define RATE_SECONDS   10.0	 /* the rate shown is smoothed over about this */

typedef struct IngestWorker
{
	EvnWorkerSlot	   *slot;
	MemoryContext		context;	   /* one connection: from connect to disconnect */
	MemoryContext		batch_context; /* one batch */
	EvnIngest		   *ingest;
	EvnKafkaConsumer   *consumer;
	EvnKafkaConsumer   *probe;
	bool				left_behind; /* one of them did not close */
	EvnPartitionReader *reader;
	EvnDecoder		   *decoder;
	EvnArena		   *arena;
	const EvnCityIndex *cities;
	int64				stage_us[EVN_NSTAGES];
	bool				storing;		 /* the batch transaction is running */
	bool				bisect;			 /* the batch failed as a whole */
	int					unique_failures; /* in a row */
	TimestampTz			housekeep_at;
	TimestampTz			heartbeat_at;
	TimestampTz			error_logged_at;
} IngestWorker;

static IngestWorker worker;

static void
close_consumers(int code, Datum arg)
{
	/* the library waits for its messages to be given back */
	if (worker.reader != NULL)
		evn_partition_reader_reset(worker.reader);
	worker.reader = NULL;
	if (worker.consumer != NULL && !evn_kafka_consumer_close(worker.consumer))
		worker.left_behind = true;
	worker.consumer = NULL;
	if (worker.probe != NULL && !evn_kafka_consumer_close(worker.probe))
		worker.left_behind = true;
	worker.probe = NULL;
}

/* Forget the connection and everything read through it. */
static void
disconnect(void)
{
	close_consumers(0, (Datum) 0);
	if (worker.left_behind)
	{
		ereport(LOG, (errmsg("evilnet worker begins anew, as Kafka's library did not close")));
		evn_worker_release();
		proc_exit(0);
	}
	worker.ingest = NULL;
	MemoryContextReset(worker.context);
	MemoryContextReset(worker.batch_context);
	worker.bisect = false;
	worker.unique_failures = 0;
}

static void
open_consumers(void)
{
	const EvnStream *stream = worker.ingest->stream;
	MemoryContext	 old = CurrentMemoryContext;
	ForeignServer	*server;
	EvnKafkaOption	*options;
	EvnKafkaError	 error = {0};
	char			*group_id;
	int				 noptions;

	evn_worker_begin_transaction();
	MemoryContextSwitchTo(worker.context);
	group_id =
		psprintf("evilnet.%s.%s", get_database_name(MyDatabaseId), get_rel_name(stream->relid));
	/* the owner may have lost the right since the stream was created */
	server = evn_fdw_servers_get(stream->server, stream->owner);
	options = evn_fdw_servers_options(server, stream->owner, &noptions);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(old);
	worker.consumer = evn_kafka_consumer_open(options, noptions, stream->topic, group_id,
											  EVN_KAFKA_STREAM, &error);
	if (worker.consumer != NULL)
		worker.probe = evn_kafka_consumer_open(options, noptions, stream->topic, group_id,
											   EVN_KAFKA_PROBE, &error);
	if (worker.probe == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
						errmsg("Kafka: %s", error.message)));
}

static void
refresh_cities(void)
{
	MemoryContext old = CurrentMemoryContext;

	evn_worker_begin_transaction();
	worker.cities = evn_gazetteer_get();
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(old);
}

static void
housekeep(void)
{
	worker.housekeep_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), HOUSEKEEP_MS);
	evn_ingest_housekeep(worker.ingest);
}

/* Add the time since *start to a stage, and go on from now. */
static void
lap(EvnStage stage, instr_time *start)
{
	instr_time now;
	instr_time elapsed;

	INSTR_TIME_SET_CURRENT(now);
	elapsed = now;
	INSTR_TIME_SUBTRACT(elapsed, *start);
	worker.stage_us[stage] += INSTR_TIME_GET_MICROSEC(elapsed);
	*start = now;
}

/* Show what the library complains about, now and then in the log too. */
static void
report_consumer_error(void)
{
	EvnKafkaError error;
	TimestampTz	  now = GetCurrentTimestamp();

	if (!evn_kafka_consumer_error(worker.consumer, &error))
		return;
	evn_worker_set_error(error.message);
	if (worker.error_logged_at != 0 &&
		!TimestampDifferenceExceeds(worker.error_logged_at, now, ERROR_LOG_MS))
		return;
	worker.error_logged_at = now;
	ereport(LOG, (errmsg("Kafka: %s", error.message),
				  errcontext("evilnet stream %s", worker.ingest->stream->name)));
}

static void
wait_for_messages(EvnKafkaConsumer *consumer, long timeout_ms)
{
	(void) WaitLatchOrSocket(MyLatch,
							 WL_LATCH_SET | WL_SOCKET_READABLE | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
							 evn_kafka_consumer_fd(consumer), timeout_ms, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
}

/* Wait until it is sure that what was read comes from the topic that was read before. */
static void
confirm(void)
{
	instr_time start;

	INSTR_TIME_SET_CURRENT(start);
	for (;;)
	{
		evn_kafka_consumer_clear_fd(worker.probe);
		if (evn_partition_reader_confirm(worker.reader))
			break;
		report_consumer_error();
		wait_for_messages(worker.probe, HOUSEKEEP_MS);
		evn_worker_check_interrupts();
	}
	lap(EVN_STAGE_FETCH, &start);
}

static void
connect_stream(void)
{
	MemoryContextSwitchTo(worker.context);
	evn_worker_set_state(EVN_WORKER_CONNECTING);
	worker.ingest = evn_ingest_open(worker.slot->stream, worker.slot->number);
	if (worker.ingest == NULL)
	{
		/* dropped, or not ours to read: let the launcher look again */
		evn_worker_retire();
		evn_shmem_mark_dirty(MyDatabaseId);
		proc_exit(0);
	}
	refresh_cities();
	housekeep();
	open_consumers();
	worker.reader = evn_partition_reader_create(worker.ingest, worker.consumer, worker.probe,
												worker.ingest->stream->start_at);
	evn_partition_reader_assign(worker.reader);
	confirm();
	worker.heartbeat_at = 0;
	evn_worker_set_state(EVN_WORKER_RUNNING);
}

/* Fetch what has come, decode and resolve it; false when nothing had come. */
static bool
fetch(void)
{
	EvnBatch   *batch = evn_partition_reader_batch(worker.reader);
	EvnAccepted accepted = evn_ingest_accepted(worker.ingest->stream);
	instr_time	start;
	int			first;

	INSTR_TIME_SET_CURRENT(start);
	first = evn_partition_reader_fill(worker.reader);
	lap(EVN_STAGE_FETCH, &start);
	for (int i = first; i < batch->nmessages; i++)
		evn_batch_decode(&batch->messages[i], worker.decoder, worker.arena, &accepted);
	lap(EVN_STAGE_DECODE, &start);
	for (int i = first; i < batch->nmessages; i++)
		if (batch->messages[i].decoded == EVN_OUTCOME_ROW)
			batch->messages[i].city =
				evn_city_index_resolve(worker.cities, &batch->messages[i].tweet.hints);
	lap(EVN_STAGE_RESOLVE, &start);
	return batch->nmessages > first;
}

static bool
is_moved(const EvnBatch *batch)
{
	for (int i = 0; i < batch->nparts; i++)
		if (batch->parts[i].to_offset != batch->parts[i].from_offset || batch->parts[i].gaps != 0)
			return true;
	return false;
}

/* Milliseconds until the batch has to be stored; 0 for now, -1 when there is nothing to store. */
static long
due_in(const EvnBatch *batch)
{
	const EvnStream *stream = worker.ingest->stream;

	if (batch->nmessages == 0)
		return is_moved(batch) ? 0 : -1;
	if (batch->nmessages >= stream->batch_messages || batch->nbytes >= stream->batch_bytes)
		return 0;
	return TimestampDifferenceMilliseconds(
		GetCurrentTimestamp(),
		TimestampTzPlusMilliseconds(batch->started_at, stream->batch_interval_ms));
}

static void
note_progress(const EvnBatch *batch, TimestampTz began)
{
	EvnWorkerSlot *slot = worker.slot;
	TimestampTz	   now = GetCurrentTimestamp();
	double		   seconds = (now - (slot->last_batch_at == 0 ? began : slot->last_batch_at)) / 1e6;
	double		   weight = Min(seconds / RATE_SECONDS, 1.0);
	int64		   lag = evn_partition_reader_lag(worker.reader);

	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	if (seconds > 0)
		slot->rows_per_second += weight * (batch->nmessages / seconds - slot->rows_per_second);
	slot->lag_messages = lag;
	slot->lag_seconds = 0;
	if (lag > 0 && batch->nmessages > 0)
	{
		TimestampTz last =
			(TimestampTz) (batch->messages[batch->nmessages - 1].kafka.timestamp_ms * 1000) -
			(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;

		slot->lag_seconds = Max(now - last, 0) / 1e6;
	}
	slot->batches++;
	slot->batch_messages += batch->nmessages;
	slot->last_batch_messages = batch->nmessages;
	slot->last_batch_us = now - began;
	slot->last_batch_at = now;
	memcpy(slot->stage_us, worker.stage_us, sizeof(worker.stage_us));
	LWLockRelease(evn_shared->lock);
	evn_worker_succeeded();
}

/* End the stream's work with a reason that stays in the catalog. */
static void
stop_stream(const char *reason)
{
	evn_worker_set_error(reason);
	ereport(LOG, (errmsg("evilnet stops stream %s: %s", worker.ingest->stream->name, reason)));
	evn_worker_retire();
	evn_ingest_stop(worker.ingest, reason);
	proc_exit(0);
}

/* With on_error => 'stop', nothing of a batch with a bad message is stored. */
static void
stop_at_dead_letter(const EvnBatch *batch)
{
	for (int i = 0; i < batch->nmessages; i++)
	{
		const EvnBatchMessage *message = &batch->messages[i];

		if (message->decoded == EVN_OUTCOME_DEAD)
			stop_stream(psprintf(
				"message at partition %d, offset " INT64_FORMAT " cannot be stored: %s (%s)",
				message->kafka.partition, message->kafka.offset, message->detail, message->reason));
	}
}

static void
store(void)
{
	EvnBatch   *batch = evn_partition_reader_batch(worker.reader);
	TimestampTz began = GetCurrentTimestamp();
	bool		over_budget;
	bool		stored;

	if (worker.ingest->stream->stop_on_error)
		stop_at_dead_letter(batch);
	worker.storing = true;
	stored = evn_ingest_store(worker.ingest, batch, worker.bisect, worker.stage_us);
	worker.storing = false;
	if (!stored)
	{
		/* or its positions were set anew by seek(): begin again from the catalog */
		ereport(LOG,
				(errmsg("evilnet worker of stream %s lost its partitions, taking them over again",
						worker.ingest->stream->name)));
		disconnect();
		return;
	}
	worker.bisect = false;
	worker.unique_failures = 0;
	note_progress(batch, began);
	pgstat_report_stat(false); /* autovacuum lives by it */
	evn_partition_reader_commit_hint(worker.reader);
	over_budget = evn_ingest_over_budget(worker.ingest, batch);
	evn_partition_reader_advance(worker.reader);
	evn_arena_reset(worker.arena);
	MemoryContextReset(worker.batch_context);
	if (over_budget)
		stop_stream(psprintf("more than %g %% of the latest messages became dead letters",
							 worker.ingest->stream->error_budget * 100));
}

static void
check_minute(void)
{
	if (worker.reader == NULL || GetCurrentTimestamp() < worker.housekeep_at)
		return;
	housekeep();
	if (evn_partition_reader_batch(worker.reader)->nmessages == 0 &&
		evn_partition_reader_changed(worker.reader))
		disconnect(); /* and begin again with all of them */
}

/* No news is news as well: note how far partitions without messages were read. */
static void
heartbeat(void)
{
	TimestampTz now = GetCurrentTimestamp();

	/* between batches: what is in one tells for itself soon */
	if (worker.reader == NULL || now < worker.heartbeat_at ||
		is_moved(evn_partition_reader_batch(worker.reader)))
		return;
	evn_partition_reader_cover(worker.reader);
	worker.heartbeat_at = TimestampTzPlusMilliseconds(now, HEARTBEAT_MS);
}

/* One turn: take what has come, store when due, else wait. */
static void
turn(void)
{
	EvnBatch *batch = evn_partition_reader_batch(worker.reader);
	bool	  got = fetch();
	long	  due = due_in(batch);

	if (due == 0)
	{
		confirm();
		refresh_cities(); /* costs nothing unless the gazetteer changed */
		store();
	}
	else if (!got)
	{
		evn_kafka_consumer_clear_fd(worker.consumer);
		if (fetch())
			return;
		report_consumer_error();
		if (due < 0)
		{
			evn_worker_set_state(EVN_WORKER_IDLE);
			evn_partition_reader_commit_hint(
				worker.reader); /* the last one may have been left out */
		}
		wait_for_messages(worker.consumer, due < 0 ? TimestampDifferenceMilliseconds(
														 GetCurrentTimestamp(), worker.heartbeat_at)
												   : due);
		evn_worker_set_state(EVN_WORKER_RUNNING);
	}
}

/* What an error asks for: the same batch again, piece by piece, or a new beginning. */
static void
plan_retry(const ErrorData *error)
{
	EvnIngestBlame blame = evn_ingest_blame(error->sqlerrcode);

	if (!worker.storing || blame == EVN_BLAME_STREAM)
		disconnect();
	else if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION &&
			 ++worker.unique_failures <= UNIQUE_RETRIES)
		return;
	else if (blame == EVN_BLAME_MESSAGE && worker.bisect)
		disconnect(); /* bisected and failed all the same: no single message is to blame */
	else if (blame == EVN_BLAME_MESSAGE)
		worker.bisect = true;
}

/* Whether the error is one that this stream stops at. */
static bool
is_final(const ErrorData *error)
{
	if (!worker.storing)
		return error->sqlerrcode == ERRCODE_DATA_CORRUPTED && worker.ingest != NULL;
	return worker.ingest->stream->stop_on_error && error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION &&
		   evn_ingest_blame(error->sqlerrcode) == EVN_BLAME_MESSAGE;
}

static void
wait_out(long delay)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);

	evn_worker_set_state(EVN_WORKER_BACKOFF);
	for (;;)
	{
		delay = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until);
		evn_worker_check_interrupts();
		if (delay <= 0)
			break;
		evn_worker_wait(delay);
	}
	evn_worker_set_state(EVN_WORKER_RUNNING);
}

/* Called in an error handler; what is raised in here ends the process, and the launcher starts it again. */
static void
recover(void)
{
	ErrorData *error;
	bool	   bisected = worker.bisect;

	MemoryContextSwitchTo(worker.batch_context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	evn_worker_set_error(error->message);
	if (is_final(error))
	{
		if (!worker.storing)
			evn_ingest_end_spans(worker.ingest, "topic");
		stop_stream(error->message);
	}
	plan_retry(error);
	worker.storing = false;
	/* a batch that is to be bisected need not wait */
	if (bisected || !worker.bisect)
		wait_out(evn_worker_backoff());
}

static void
run(void)
{
	PG_TRY();
	{
		for (;;)
		{
			evn_worker_check_interrupts();
			if (worker.reader == NULL)
				connect_stream();
			MemoryContextSwitchTo(worker.batch_context);
			turn();
			heartbeat();
			check_minute();
		}
	}
	PG_CATCH();
	{
		recover();
	}
	PG_END_TRY();
}

void
evn_ingest_worker_main(Datum arg)
{
	int index = DatumGetInt32(arg);
	Oid dbid;

	memcpy(&dbid, MyBgworkerEntry->bgw_extra, sizeof(dbid));
	worker.slot = evn_worker_attach(index);
	if (worker.slot == NULL || worker.slot->dbid != dbid)
		proc_exit(0);
	before_shmem_exit(close_consumers, (Datum) 0);
	evn_worker_start(dbid);
	worker.context =
		AllocSetContextCreate(TopMemoryContext, "evilnet stream", ALLOCSET_DEFAULT_SIZES);
	worker.batch_context =
		AllocSetContextCreate(TopMemoryContext, "evilnet batch", ALLOCSET_DEFAULT_SIZES);
	worker.decoder = evn_tweet_decoder_create();
	worker.arena = evn_arena_create(ARENA_BLOCK);
	if (worker.decoder == NULL || worker.arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	for (;;)
		run();
}
