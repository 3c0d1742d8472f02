/*
 * sink_stream.c
 *		A source that is stored into a stream without Kafka: posts, counts and
 *		the source's position in one transaction.
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "gazetteer.h"
#include "ingest.h"
#include "sink.h"
#include "worker.h"

#define ARENA_BLOCK	   (1024 * 1024)
#define NO_PARTITION   (-1) /* Kafka's partition of what came from elsewhere */
#define HOUSEKEEP_MS   60000
#define UNIQUE_RETRIES 3 /* a unique violation is most often a worker's same post */

/* of the partial counts: beyond those of the stream's workers, which none of them touches then */
#define SLOT(source) (EVN_MAX_WORKERS + (source)->id)

typedef struct StreamSink
{
	const EvnSource *source;
	MemoryContext	 batch; /* the messages, until they are stored */
	EvnIngest		*ingest;
	EvnDecoder		*decoder;
	EvnArena		*arena;
	EvnBatchMessage *messages;
	int				 n;
	int64			 bytes;
	int64			 seen; /* messages so far: they stand for Kafka's offset */
	TimestampTz		 housekeep_at;
} StreamSink;

static void
close_sink(void *arg)
{
	StreamSink *sink = arg;

	if (sink->decoder != NULL)
		evn_tweet_decoder_free(sink->decoder);
	if (sink->arena != NULL)
		evn_arena_free(sink->arena);
}

static void
begin_batch(StreamSink *sink)
{
	MemoryContextReset(sink->batch);
	evn_arena_reset(sink->arena);
	sink->messages = MemoryContextAlloc(sink->batch, sizeof(EvnBatchMessage) *
														 sink->ingest->stream->batch_messages);
	sink->n = 0;
	sink->bytes = 0;
}

static EvnSink *
stream_open(const EvnSource *source)
{
	StreamSink			  *sink = palloc0(sizeof(StreamSink));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

	sink->source = source;
	sink->ingest = evn_ingest_open(source->to_stream, SLOT(source));
	if (sink->ingest == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("the stream of source \"%s\" is gone", source->name)));
	sink->batch =
		AllocSetContextCreate(CurrentMemoryContext, "evilnet source batch", ALLOCSET_DEFAULT_SIZES);
	callback->func = close_sink;
	callback->arg = sink;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	sink->decoder = evn_tweet_decoder_create();
	sink->arena = evn_arena_create(ARENA_BLOCK);
	if (sink->decoder == NULL || sink->arena == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	begin_batch(sink);
	return (EvnSink *) sink;
}

static bool
stream_put(EvnSink *handle, const EvnFeedMessage *message)
{
	StreamSink		*sink = (StreamSink *) handle;
	const EvnStream *stream = sink->ingest->stream;
	EvnBatchMessage *m;
	char			*copy;

	if (sink->n >= stream->batch_messages || sink->bytes >= stream->batch_bytes)
		return false;
	copy = MemoryContextAlloc(sink->batch, message->len + 1);
	memcpy(copy, message->data, message->len);
	m = &sink->messages[sink->n++];
	memset(m, 0, sizeof(EvnBatchMessage));
	m->kafka.partition = NO_PARTITION;
	m->kafka.offset = sink->seen++;
	m->kafka.timestamp_ms = -1;
	m->kafka.payload = copy;
	/* one that is cut is as long as the decoder refuses */
	m->kafka.len = message->len + (message->too_long ? 1 : 0);
	sink->bytes += message->len;
	return true;
}

static void
decode(StreamSink *sink)
{
	EvnAccepted			accepted = evn_ingest_accepted(sink->ingest->stream);
	const EvnCityIndex *cities = evn_gazetteer_get();

	for (int i = 0; i < sink->n; i++)
	{
		EvnBatchMessage *message = &sink->messages[i];

		evn_batch_decode(message, sink->decoder, sink->arena, &accepted);
		if (message->decoded == EVN_OUTCOME_ROW)
			message->city = evn_city_index_resolve(cities, &message->tweet.hints);
		else if (message->decoded == EVN_OUTCOME_DEAD && sink->ingest->stream->stop_on_error)
			ereport(ERROR, (errcode(ERRCODE_DATA_EXCEPTION),
							errmsg("a message cannot be stored: %s (%s)", message->detail,
								   message->reason),
							errdetail("The stream has on_error => 'stop'.")));
	}
}

static void
advance(const StreamSink *sink, Jsonb *cursor)
{
	EvnSourceCounts counts = {.messages = sink->n, .bytes = sink->bytes};

	for (int i = 0; i < sink->n; i++)
		counts.duplicates += sink->messages[i].outcome == EVN_OUTCOME_DUPLICATE;
	evn_source_advance(sink->source, cursor, &counts);
}

/* One try of the transaction; NULL when it was committed. */
static ErrorData *
try_store(StreamSink *sink, const Jsonb *cursor, bool bisect)
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		evn_worker_begin_transaction();
		decode(sink);
		evn_ingest_apply(sink->ingest, sink->messages, sink->n, bisect, sink->batch);
		advance(sink, unconstify(Jsonb *, cursor));
		evn_worker_commit_transaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		AbortCurrentTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return error;
}

/* The same batch again where that can help, piece by piece where a message is to blame. */
static void
store(StreamSink *sink, const Jsonb *cursor)
{
	bool	   bisect = false;
	int		   unique_failures = 0;
	ErrorData *error;

	while ((error = try_store(sink, cursor, bisect)) != NULL)
	{
		CHECK_FOR_INTERRUPTS();
		evn_arena_reset(sink->arena);
		if (error->sqlerrcode == ERRCODE_UNIQUE_VIOLATION && ++unique_failures <= UNIQUE_RETRIES)
			continue;
		if (evn_ingest_blame(error->sqlerrcode) != EVN_BLAME_MESSAGE || bisect ||
			sink->ingest->stream->stop_on_error)
			ReThrowError(error);
		bisect = true;
	}
	evn_aggregates_committed(sink->ingest->aggregates);
}

static bool
stream_checkpoint(EvnSink *handle, const Jsonb *cursor)
{
	StreamSink *sink = (StreamSink *) handle;

	store(sink, cursor);
	begin_batch(sink);
	return true;
}

static bool
stream_serve(EvnSink *handle)
{
	StreamSink *sink = (StreamSink *) handle;
	TimestampTz now = GetCurrentTimestamp();

	if (now >= sink->housekeep_at)
	{
		sink->housekeep_at = TimestampTzPlusMilliseconds(now, HOUSEKEEP_MS);
		evn_ingest_housekeep(sink->ingest);
	}
	return false;
}

const EvnSinkKind evn_sink_stream = {
	.open = stream_open,
	.put = stream_put,
	.checkpoint = stream_checkpoint,
	.serve = stream_serve,
};
