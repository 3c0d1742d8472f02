/*
 * sink_kafka.c
 *		A source that publishes to a Kafka topic.
 *
 * Messages are keyed by the id of the post, so that a delete notice goes to
 * the partition of its post.  Cursors wait in a queue until the broker has
 * acknowledged everything before them.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/memutils.h"

#include "compat.h"
#include "fdw_servers.h"
#include "kafka_producer.h"
#include "sink.h"
#include "worker.h"

#define QUEUE		   64 /* checkpoints that may wait */
#define MAX_DEAD_BYTES (64 * 1024)

/* A message that cannot be published; it is set aside with the next checkpoint. */
typedef struct DeadLetter
{
	const char *reason;
	char	   *payload; /* its beginning */
	size_t		len;
} DeadLetter;

/* What was put up to a checkpoint and after the one before. */
typedef struct Checkpoint
{
	int64			mark;
	Jsonb		   *cursor;
	List		   *dead; /* DeadLetter */
	EvnSourceCounts counts;
} Checkpoint;

typedef struct KafkaSink
{
	const EvnSource	 *source;
	MemoryContext	  context;
	EvnKafkaProducer *producer;
	Checkpoint		  queue[QUEUE];
	int				  first;
	int				  waiting;
	Checkpoint		  current;
} KafkaSink;

static void
close_sink(void *arg)
{
	KafkaSink *sink = arg;

	if (sink->producer != NULL)
		evn_kafka_producer_close(sink->producer);
}

/*
 * Properties of the server, which the owner may have lost the right to use
 * since the source was created.  Unless it says otherwise, no message is given up.
 */
static EvnKafkaOption *
read_options(const EvnSource *source, int *noptions)
{
	MemoryContext	caller = CurrentMemoryContext;
	EvnKafkaOption *of_server;
	EvnKafkaOption *options;

	evn_worker_begin_transaction();
	MemoryContextSwitchTo(caller);
	of_server = evn_fdw_servers_options(evn_fdw_servers_get(source->to_server, source->owner),
										source->owner, noptions);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(caller);
	options = palloc(sizeof(EvnKafkaOption) * (*noptions + 1));
	options[0] = (EvnKafkaOption) {"message.timeout.ms", "0"};
	memcpy(options + 1, of_server, sizeof(EvnKafkaOption) * (*noptions)++);
	return options;
}

static EvnSink *
kafka_open(const EvnSource *source)
{
	KafkaSink			  *sink = palloc0(sizeof(KafkaSink));
	MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));
	EvnKafkaError		   error = {0};
	EvnKafkaOption		  *options;
	int					   noptions;

	sink->source = source;
	sink->context = CurrentMemoryContext;
	options = read_options(source, &noptions);
	callback->func = close_sink;
	callback->arg = sink;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	sink->producer = evn_kafka_producer_open(options, noptions, &error);
	if (sink->producer == NULL)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
						errmsg("Kafka: %s", error.message)));
	return (EvnSink *) sink;
}

static void
set_aside(KafkaSink *sink, const EvnFeedMessage *message, const char *reason)
{
	MemoryContext old = MemoryContextSwitchTo(sink->context);
	DeadLetter	 *letter = palloc(sizeof(DeadLetter));

	letter->reason = reason;
	letter->len = Min(message->len, MAX_DEAD_BYTES);
	letter->payload = palloc(letter->len);
	memcpy(letter->payload, message->data, letter->len);
	sink->current.dead = lappend(sink->current.dead, letter);
	MemoryContextSwitchTo(old);
}

static bool
kafka_put(EvnSink *handle, const EvnFeedMessage *message)
{
	KafkaSink	 *sink = (KafkaSink *) handle;
	EvnKafkaError error = {0};
	char		  key[MAXINT8LEN + 1];
	int			  key_len;

	if (message->too_long)
		set_aside(sink, message, "too_large");
	else
	{
		key_len = message->id == 0 ? 0 : pg_lltoa(message->id, key);
		switch (evn_kafka_producer_send(sink->producer, sink->source->topic, message->data,
										message->len, key_len == 0 ? NULL : key, key_len, &error))
		{
			case EVN_KAFKA_SENT:
				break;
			case EVN_KAFKA_FULL:
				return false;
			case EVN_KAFKA_TOO_LARGE:
				set_aside(sink, message, "too_large");
				break;
			case EVN_KAFKA_NOT_SENT:
				ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
								errmsg("could not publish a message: %s", error.message)));
		}
	}
	sink->current.counts.messages++;
	sink->current.counts.bytes += message->len;
	return true;
}

static bool
kafka_checkpoint(EvnSink *handle, const Jsonb *cursor)
{
	KafkaSink	 *sink = (KafkaSink *) handle;
	MemoryContext old;

	if (sink->waiting == QUEUE || !evn_kafka_producer_mark(sink->producer, &sink->current.mark))
		return false;
	if (cursor != NULL)
	{
		old = MemoryContextSwitchTo(sink->context);
		sink->current.cursor = (Jsonb *) PG_DETOAST_DATUM_COPY(PointerGetDatum(cursor));
		MemoryContextSwitchTo(old);
	}
	sink->queue[(sink->first + sink->waiting++) % QUEUE] = sink->current;
	memset(&sink->current, 0, sizeof(sink->current));
	return true;
}

/* Nothing is left out from here on: the sources's position moves. */
static void
store_cursor(const EvnSource *source, const Checkpoint *checkpoint)
{
	MemoryContext caller = CurrentMemoryContext;
	ListCell	 *cell;

	evn_worker_begin_transaction();
	foreach(cell, checkpoint->dead)
	{
		const DeadLetter *letter = lfirst(cell);

		evn_source_set_aside(source, checkpoint->cursor, letter->reason, letter->payload,
							 letter->len);
	}
	evn_source_advance(source, checkpoint->cursor, &checkpoint->counts);
	evn_worker_commit_transaction();
	MemoryContextSwitchTo(caller);
}

static void
forget(Checkpoint *checkpoint)
{
	ListCell *cell;

	foreach(cell, checkpoint->dead)
		pfree(((DeadLetter *) lfirst(cell))->payload);
	list_free_deep(checkpoint->dead);
	if (checkpoint->cursor != NULL)
		pfree(checkpoint->cursor);
}

static void
check_delivery(KafkaSink *sink)
{
	EvnKafkaError error = {0};

	if (evn_kafka_producer_failed(sink->producer, &error) > 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_ERROR),
						errmsg("could not publish a message: %s", error.message)));
}

static bool
kafka_serve(EvnSink *handle)
{
	KafkaSink  *sink = (KafkaSink *) handle;
	int			pending = evn_kafka_producer_serve(sink->producer, 0);
	int64		confirmed = evn_kafka_producer_confirmed(sink->producer);
	Checkpoint *last = NULL;
	Checkpoint	sum = {0};

	check_delivery(sink);
	/* several at once: the last one covers them all */
	while (sink->waiting > 0 && sink->queue[sink->first].mark <= confirmed)
	{
		last = &sink->queue[sink->first];
		sum.counts.messages += last->counts.messages;
		sum.counts.bytes += last->counts.bytes;
		sum.dead = list_concat(sum.dead, last->dead);
		list_free(last->dead);
		if (last->cursor != NULL)
		{
			if (sum.cursor != NULL)
				pfree(sum.cursor);
			sum.cursor = last->cursor;
		}
		sink->first = (sink->first + 1) % QUEUE;
		sink->waiting--;
	}
	if (last != NULL)
	{
		store_cursor(sink->source, &sum);
		forget(&sum);
	}
	return pending > 0 || sink->waiting > 0;
}

const EvnSinkKind evn_sink_kafka = {
	.open = kafka_open,
	.put = kafka_put,
	.checkpoint = kafka_checkpoint,
	.serve = kafka_serve,
};
