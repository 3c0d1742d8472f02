/*
 * fetch_worker.c
 *		The process that fetches a source.
 *
 * It takes messages from the feed and hands them to the sink.  The feed's
 * cursor goes to the sink with each checkpoint, which stores it when all before
 * it is safe.  After an error it begins again from the stored cursor.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "compat.h"
#include "feed.h"
#include "fetch_worker.h"
#include "http_servers.h"
#include "oauth.h"
#include "sink.h"
#include "source.h"
#include "spi.h"
#include "worker.h"

#define CHECKPOINT_MESSAGES 10000
#define CHECKPOINT_BYTES	(8 * 1024 * 1024)
#define CHECKPOINT_MS		200
#define SERVE_MS			5	  /* how soon an acknowledgement is seen */
#define IDLE_MS				60000 /* how often the position of an idle feed is stored */
#define SLICE				1000  /* messages between two looks at signals */
#define RATE_SECONDS		10.0  /* the rate shown is smoothed over about this */

typedef struct FetchWorker
{
	EvnWorkerSlot	  *slot;
	MemoryContext	   context; /* from one beginning to the next */
	MemoryContext	   turn_context;
	EvnSource		  *source; /* NULL: not begun */
	EvnFeedServer	  *server;
	const EvnFeedApi  *api; /* its */
	EvnFeed			  *feed;
	const EvnSinkKind *kind;
	EvnSink			  *sink;
	bool			   has_cursor; /* a position is stored, or about to be */
	bool			   full;	   /* the sink had no room for the message */
	bool			   ended;	   /* the feed has no more */

	/* since the last checkpoint */
	int64		messages;
	int64		bytes;
	TimestampTz first_at;
	TimestampTz store_at; /* when a checkpoint is due though there were no messages */

	TimestampTz counted_at;
	int64		counted;
} FetchWorker;

static FetchWorker worker;

static void
let_go(int code, Datum arg)
{
	worker.source = NULL;
	worker.full = worker.ended = false;
	worker.messages = worker.bytes = 0;
	MemoryContextReset(worker.context);
}

/* The source as it is now; gone, paused, or not to be fetched here: let the launcher look again. */
static void
load_source(void)
{
	MemoryContext transaction;

	evn_worker_begin_transaction();
	transaction = MemoryContextSwitchTo(worker.context);
	if (evn_spi_catalog_usable(LOG))
		worker.source = evn_source_load((int32) worker.slot->stream);
	if (worker.source == NULL)
	{
		evn_worker_retire();
		evn_shmem_mark_dirty(MyDatabaseId);
		proc_exit(0);
	}
	/* the owner may have lost a right since the source was created */
	worker.server = evn_http_servers_get(worker.source->server, worker.source->owner);
	worker.api = worker.server->api;
	worker.feed = worker.api->open(worker.source, worker.server);
	MemoryContextSwitchTo(transaction);
	evn_worker_commit_transaction();
}

static void
begin(void)
{
	MemoryContext old = MemoryContextSwitchTo(worker.context);

	evn_worker_set_state(EVN_WORKER_CONNECTING);
	load_source();
	MemoryContextSwitchTo(worker.context);
	evn_oauth_get_token(worker.server);
	worker.kind = OidIsValid(worker.source->to_stream) ? &evn_sink_stream : &evn_sink_kafka;
	worker.sink = worker.kind->open(worker.source);
	worker.has_cursor = worker.source->cursor != NULL;
	worker.counted_at = GetCurrentTimestamp();
	worker.counted = 0;
	/* not at once: that a position is stored again forgives no failure */
	worker.store_at = TimestampTzPlusMilliseconds(worker.counted_at, IDLE_MS);
	MemoryContextSwitchTo(old);
}

static void
note_speed(void)
{
	TimestampTz now = GetCurrentTimestamp();
	double		seconds = (now - worker.counted_at) / 1e6;

	if (seconds < 1)
		return;
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	worker.slot->rows_per_second += Min(seconds / RATE_SECONDS, 1.0) *
									(worker.counted / seconds - worker.slot->rows_per_second);
	LWLockRelease(evn_shared->lock);
	worker.counted_at = now;
	worker.counted = 0;
}

/*
 * Milliseconds until a checkpoint is due.  One without messages tells how far
 * nothing was missed: where a network is asked from after a restart.
 */
static long
due_in(void)
{
	TimestampTz due = worker.messages > 0
						  ? TimestampTzPlusMilliseconds(worker.first_at, CHECKPOINT_MS)
						  : worker.store_at;

	if (worker.messages > 0 &&
		(worker.ended || worker.full || worker.source->budget == 0 ||
		 worker.messages >= CHECKPOINT_MESSAGES || worker.bytes >= CHECKPOINT_BYTES))
		return 0;
	return TimestampDifferenceMilliseconds(GetCurrentTimestamp(), due);
}

static bool
checkpoint(void)
{
	Jsonb *cursor = worker.api->cursor(worker.feed);

	worker.store_at = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), IDLE_MS);
	if (worker.messages == 0 && cursor == NULL)
		return true;
	if (!worker.kind->checkpoint(worker.sink, cursor))
		return false;
	worker.counted += worker.messages;
	worker.messages = worker.bytes = 0;
	evn_worker_succeeded();
	return true;
}

/*
 * From where it connects first on, a source misses nothing: also when it is
 * killed before it has stored a message.
 */
static void
store_beginning(void)
{
	Jsonb *cursor = worker.api->cursor(worker.feed);

	if (cursor != NULL)
		worker.has_cursor = worker.kind->checkpoint(worker.sink, cursor);
}

/* Hand on what has come, as much as the sink takes; what the feed said last. */
static EvnFeedResult
hand_on(void)
{
	EvnFeedMessage message;
	EvnFeedResult  result = EVN_FEED_WAIT;

	worker.full = false;
	for (int i = 0; i < SLICE && worker.source->budget > 0; i++)
	{
		result = worker.api->next(worker.feed, &message);
		if (!worker.has_cursor)
			store_beginning();
		if (result != EVN_FEED_MESSAGE)
			break;
		worker.full = !worker.kind->put(worker.sink, &message);
		if (worker.full)
			break;
		worker.bytes += message.len;
		if (worker.messages++ == 0)
			worker.first_at = GetCurrentTimestamp();
		worker.api->take(worker.feed);
		/* one without end stays so for longer than anybody counts */
		worker.source->budget--;
	}
	return result;
}

/* All there is was fetched, and is safe. */
static void
finish(void)
{
	evn_worker_begin_transaction();
	evn_source_stop(worker.source, NULL);
	evn_worker_retire();
	evn_worker_commit_transaction();
	ereport(LOG, (errmsg("evilnet source \"%s\" has fetched all there is", worker.source->name)));
	proc_exit(0);
}

/* The state of a feed from which nothing comes is its own. */
static void
note_status(EvnFeedResult result)
{
	EvnSourceStatus status;

	worker.api->status(worker.feed, &status);
	if (result == EVN_FEED_MESSAGE)
		status.state = EVN_WORKER_RUNNING;
	LWLockAcquire(evn_shared->lock, LW_EXCLUSIVE);
	worker.slot->source = status;
	LWLockRelease(evn_shared->lock);
	evn_worker_set_state(status.state);
}

/* The month's budget is used up: no connection until the next one begins. */
static void
rest(void)
{
	TimestampTz until = worker.source->month_end;

	let_go(0, (Datum) 0);
	evn_worker_set_state(EVN_WORKER_SPENT);
	while (evn_clock_now() < until)
	{
		evn_worker_wait(evn_clock_until(until));
		evn_worker_check_interrupts();
	}
}

/* One turn: take what has come, have it stored when due, else wait. */
static void
turn(void)
{
	EvnFeedResult result = worker.ended ? EVN_FEED_END : hand_on();
	bool		  pending;
	long		  due;

	worker.ended = result == EVN_FEED_END;
	note_status(result);
	due = due_in();
	if (due == 0 && !checkpoint())
		due = SERVE_MS;
	pending = worker.kind->serve(worker.sink);
	note_speed();
	if (worker.ended && worker.messages == 0 && !pending)
		finish();
	if (worker.source->budget == 0 && worker.messages == 0 && !pending)
		rest();
	else if (pending && (worker.full || worker.ended || worker.source->budget == 0))
		evn_worker_wait(SERVE_MS);
	else if (result == EVN_FEED_WAIT)
		worker.api->wait(worker.feed, pending ? SERVE_MS : due);
}

static void
wait_out(long delay)
{
	TimestampTz until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), delay);

	evn_worker_set_state(EVN_WORKER_BACKOFF);
	while ((delay = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), until)) > 0)
	{
		evn_worker_wait(delay);
		evn_worker_check_interrupts();
	}
}

/* Called in an error handler: bad data stops the source, anything else is tried again. */
static void
recover(void)
{
	ErrorData *error;

	MemoryContextSwitchTo(worker.turn_context);
	error = CopyErrorData();
	EmitErrorReport();
	FlushErrorState();
	AbortCurrentTransaction();
	evn_worker_set_error(error->message);
	if (worker.source != NULL &&
		(ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_DATA_EXCEPTION ||
		 error->sqlerrcode == ERRCODE_DATA_CORRUPTED))
	{
		evn_worker_begin_transaction();
		evn_source_stop(worker.source, error->message);
		evn_worker_retire();
		evn_worker_commit_transaction();
		proc_exit(0);
	}
	let_go(0, (Datum) 0);
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
			MemoryContextSwitchTo(worker.turn_context);
			MemoryContextReset(worker.turn_context);
			if (worker.source == NULL)
				begin();
			turn();
		}
	}
	PG_CATCH();
	{
		recover();
	}
	PG_END_TRY();
}

void
evn_fetch_worker_main(Datum arg)
{
	Oid dbid;

	memcpy(&dbid, MyBgworkerEntry->bgw_extra, sizeof(dbid));
	worker.slot = evn_worker_attach(DatumGetInt32(arg));
	if (worker.slot == NULL || worker.slot->dbid != dbid)
		proc_exit(0);
	worker.context =
		AllocSetContextCreate(TopMemoryContext, "evilnet source", ALLOCSET_DEFAULT_SIZES);
	worker.turn_context =
		AllocSetContextCreate(TopMemoryContext, "evilnet source turn", ALLOCSET_DEFAULT_SIZES);
	before_shmem_exit(let_go, (Datum) 0);
	evn_worker_start(dbid);
	for (;;)
		run();
}
