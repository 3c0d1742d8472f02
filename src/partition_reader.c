/*
 * partition_reader.c
 *		Filling batches from a worker's Kafka partitions.
 *
 * We track the expected offset of each partition ourselves: what is below it
 * was stored already and is dropped, a jump is counted as a gap.
 *
 * Kafka's offsets do not tell one topic from another of the same name, and the
 * library goes on silently when a topic is deleted, made anew and filled while
 * it reads (it keeps the broker's error to itself, and asks for the topic only
 * some time later).  So each partition has an anchor, the message stored last,
 * and a probe reads it again before a batch is stored.  When it is still the
 * same then, whatever arrived before comes from the same topic: the batch, and
 * what waits in the library's queue for the next ones.  So a worker that lags
 * behind asks seldom, and one that waits for messages asks for each batch.
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest.h"
#include "partition_reader.h"

#define BROKER_TIMEOUT_MS 10000 /* for questions to the broker */
#define IDLE_TIMEOUT_MS	  1000	/* for those that can wait */
#define POLL_MESSAGES	  1000	/* taken from the library at a time */
#define UNSEEN_MESSAGES	  1000 /* that wait in its queue and may be control records, which it drops */

typedef struct PartState
{
	EvnPosition position;
	int64		expected; /* next offset to take */
	bool		awaited;  /* the probe is asked for the anchor */
} PartState;

struct EvnPartitionReader
{
	MemoryContext	  context; /* of everything here */
	EvnIngest		 *ingest;
	EvnKafkaConsumer *consumer;
	EvnKafkaConsumer *probe;
	const char		 *start_at;
	int				  npartitions;		/* of the topic */
	int				  known_partitions; /* of the topic when the stream began */
	PartState		 *states;			/* one per part of the batch */
	bool			  hint_due;			/* Kafka does not know our position yet */
	bool			  probing;			/* the probe is at work */
	bool			  confirmed;		/* nothing in the batch is newer than its last question */
	int64			  waiting; /* what waited to be taken when it was asked, less what was taken */
	TimestampTz		  drained_at; /* the library's queue was last seen empty */
	EvnBatch		  batch;
	EvnKafkaMessage	  polled[POLL_MESSAGES];
};

EvnPartitionReader *
evn_partition_reader_create(EvnIngest *ingest, EvnKafkaConsumer *consumer, EvnKafkaConsumer *probe,
							const char *start_at)
{
	EvnPartitionReader *reader = palloc0(sizeof(EvnPartitionReader));

	reader->context = CurrentMemoryContext;
	reader->ingest = ingest;
	reader->consumer = consumer;
	reader->probe = probe;
	reader->start_at = start_at;
	reader->batch.messages = MemoryContextAllocHuge(
		CurrentMemoryContext, sizeof(EvnBatchMessage) * ingest->stream->batch_messages);
	return reader;
}

pg_noreturn static void
raise_kafka(const EvnKafkaError *error)
{
	ereport(ERROR, (errcode(error->fatal ? ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE
										 : ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
					errmsg("Kafka: %s", error->message)));
}

/*
 * Asked by the probe, which then knows where its first question goes: to find
 * that out later takes it a second.
 */
static int
ask_partitions(EvnPartitionReader *reader)
{
	EvnKafkaError error = {0};
	int			  n = evn_kafka_consumer_partitions(reader->probe, BROKER_TIMEOUT_MS, &error);

	if (n < 0)
		raise_kafka(&error);
	if (n == 0)
		ereport(ERROR, (errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
						errmsg("Kafka topic \"%s\" does not exist", reader->ingest->stream->topic),
						errhint("Create the topic; the stream starts by itself then.")));
	return n;
}

/* Where to start reading, and from what time on nothing is left out then. */
static int64
start_offset(EvnPartitionReader *reader, EvnPosition *position, int64 low, int64 high)
{
	EvnKafkaError error = {0};
	int32		  partition = position->partition;
	int64		  offset;
	TimestampTz	  ts;

	/* a partition added since: what is in it came after the stream began */
	if (partition >= reader->known_partitions || strcmp(reader->start_at, "earliest") == 0)
	{
		if (low < high)
			position->start_time = 0;
		return low;
	}
	if (strcmp(reader->start_at, "latest") == 0)
		return high;
	ts = DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in, CStringGetDatum(reader->start_at),
												 ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
	position->start_time = Min(position->start_time, ts);
	if (!evn_kafka_consumer_offset_for_time(reader->consumer, partition,
											ts / 1000 + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) *
															SECS_PER_DAY * INT64CONST(1000),
											BROKER_TIMEOUT_MS, &offset, &error))
		raise_kafka(&error);
	return offset;
}

pg_noreturn static void
raise_other_topic(EvnPartitionReader *reader, int32 partition, const char *detail)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_DATA_CORRUPTED),
		 errmsg("partition %d of Kafka topic \"%s\" is not the one that was read before: %s",
				partition, reader->ingest->stream->topic, detail),
		 errhint(
			 "The topic was re-created or truncated. To read it anew: SELECT evilnet.seek('%s', 'earliest').",
			 reader->ingest->stream->name)));
}

static void
check_end(EvnPartitionReader *reader, const EvnPosition *position, int64 high)
{
	if (position->next_offset > high)
		raise_other_topic(reader, position->partition,
						  psprintf("it ends at offset " INT64_FORMAT ", and offset " INT64_FORMAT
								   " is to be read next",
								   high, position->next_offset));
}

static void
ask_watermarks(EvnPartitionReader *reader, int32 partition, int64 *low, int64 *high)
{
	EvnKafkaError error = {0};

	if (!evn_kafka_consumer_watermarks(reader->consumer, partition, BROKER_TIMEOUT_MS, low, high,
									   &error))
		raise_kafka(&error);
}

/* Decide where reading of one partition starts. */
static void
place(EvnPartitionReader *reader, int i)
{
	PartState	 *state = &reader->states[i];
	EvnBatchPart *part = &reader->batch.parts[i];
	EvnPosition	 *position = &state->position;
	int64		  low;
	int64		  high;

	position->start_time = GetCurrentTimestamp();
	ask_watermarks(reader, position->partition, &low, &high);
	if (position->is_new)
		position->next_offset = start_offset(reader, position, low, high);
	if (position->is_new || position->anchor_offset < low)
		position->anchor_offset = -1;
	check_end(reader, position, high);
	part->from_offset = position->next_offset;
	state->expected = position->next_offset;
	if (state->expected < low)
	{
		/* expired before we read it: lost, and said so in the books */
		ereport(WARNING, (errmsg("Kafka topic \"%s\", partition %d: " INT64_FORMAT
								 " messages expired before they were read",
								 reader->ingest->stream->topic, position->partition,
								 low - state->expected)));
		part->gaps += low - state->expected;
		part->expired = true;
		state->expected = low;
	}
	part->to_offset = state->expected;
}

static void
allocate_parts(EvnPartitionReader *reader)
{
	const EvnStream *stream = reader->ingest->stream;
	int				 worker = reader->ingest->worker;
	int				 n = 0;

	reader->states =
		MemoryContextAllocZero(reader->context, sizeof(PartState) * (reader->npartitions + 1));
	reader->batch.parts =
		MemoryContextAllocZero(reader->context, sizeof(EvnBatchPart) * (reader->npartitions + 1));
	for (int p = worker; p < reader->npartitions; p += stream->workers)
		reader->states[n++].position.partition = p;
	reader->batch.nparts = n;
}

static void
claim(EvnPartitionReader *reader, EvnPosition *positions)
{
	int n = reader->batch.nparts;

	for (int i = 0; i < n; i++)
		positions[i] = reader->states[i].position;
	evn_ingest_claim(reader->ingest, positions, n);
	for (int i = 0; i < n; i++)
		reader->states[i].position = positions[i];
}

void
evn_partition_reader_assign(EvnPartitionReader *reader)
{
	EvnKafkaError	  error = {0};
	EvnPosition		 *positions;
	EvnKafkaPosition *starts;
	int				  n;

	reader->npartitions = ask_partitions(reader);
	allocate_parts(reader);
	n = reader->batch.nparts;
	positions = palloc0(sizeof(EvnPosition) * (n + 1));
	starts = palloc0(sizeof(EvnKafkaPosition) * (n + 1));
	reader->known_partitions = evn_ingest_known_partitions(reader->ingest);
	claim(reader, positions);
	for (int i = 0; i < n; i++)
	{
		starts[i].partition = positions[i].partition;
		reader->batch.parts[i].partition = positions[i].partition;
		reader->batch.parts[i].last = -1;
		place(reader, i);
		starts[i].offset = reader->states[i].expected;
		positions[i] = reader->states[i].position;
	}
	evn_ingest_set_start(reader->ingest, positions, n, reader->npartitions);
	for (int i = 0; i < n; i++)
		reader->batch.parts[i].epoch = positions[i].epoch;
	if (!evn_kafka_consumer_assign(reader->consumer, starts, n, &error))
		raise_kafka(&error);
	pfree(positions);
	pfree(starts);
}

bool
evn_partition_reader_changed(EvnPartitionReader *reader)
{
	return ask_partitions(reader) != reader->npartitions;
}

EvnBatch *
evn_partition_reader_batch(EvnPartitionReader *reader)
{
	return &reader->batch;
}

/* Partitions are taken modulo the number of workers, so the index follows. */
static int
part_index(const EvnPartitionReader *reader, int32 partition)
{
	return (partition - reader->ingest->worker) / reader->ingest->stream->workers;
}

/* Offsets that never come; the library may have had them in its queue. */
static void
skip(EvnPartitionReader *reader, int i, int64 offset)
{
	int64 gap = offset - reader->states[i].expected;

	reader->batch.parts[i].gaps += gap;
	reader->waiting -= gap;
}

/* Add a message to the batch. */
static void
keep(EvnPartitionReader *reader, const EvnKafkaMessage *message, int i)
{
	EvnBatchPart	*part = &reader->batch.parts[i];
	PartState		*state = &reader->states[i];
	EvnBatchMessage *entry;

	if (message->offset > state->expected)
		skip(reader, i, message->offset);
	state->expected = part->to_offset = message->offset + 1;
	part->last = reader->batch.nmessages;
	entry = &reader->batch.messages[reader->batch.nmessages++];
	entry->kafka = *message;
	entry->part = i;
	entry->rows_deleted = 0;
	reader->batch.nbytes += message->len;
}

typedef enum Taken
{
	TAKEN_KEPT,	   /* in the batch, released with it */
	TAKEN_DROPPED, /* to be released now */
	TAKEN_EXPIRED
} Taken;

static Taken
take(EvnPartitionReader *reader, const EvnKafkaMessage *message)
{
	int		   i = part_index(reader, message->partition);
	PartState *state = &reader->states[i];

	/* other failures are reported with the consumer's errors; the library goes on trying */
	if (message->event == EVN_KAFKA_FAILURE)
		return TAKEN_DROPPED;
	if (message->event == EVN_KAFKA_OUT_OF_RANGE)
		return TAKEN_EXPIRED;
	if (message->event == EVN_KAFKA_END)
	{
		/* it came after that, so it tells of that time for sure */
		reader->batch.parts[i].end_seen_at = reader->drained_at;
		if (message->offset > state->expected) /* past control records */
		{
			skip(reader, i, message->offset);
			state->expected = reader->batch.parts[i].to_offset = message->offset;
		}
		return TAKEN_DROPPED;
	}
	if (message->offset < state->expected)
		return TAKEN_DROPPED;
	keep(reader, message, i);
	return TAKEN_KEPT;
}

pg_noreturn static void
raise_expired(EvnPartitionReader *reader, int32 partition)
{
	const PartState *state = &reader->states[part_index(reader, partition)];

	ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
					errmsg("Kafka topic \"%s\", partition %d: offset " INT64_FORMAT
						   " is not held any more",
						   reader->ingest->stream->topic, partition, state->expected)));
}

int
evn_partition_reader_fill(EvnPartitionReader *reader)
{
	EvnBatch *batch = &reader->batch;
	int		  first = batch->nmessages;
	int		  room = Min(reader->ingest->stream->batch_messages - batch->nmessages, POLL_MESSAGES);
	TimestampTz asked_at = GetCurrentTimestamp();
	int			n = evn_kafka_consumer_poll(reader->consumer, reader->polled, room);
	int32		expired = -1;

	for (int i = 0; i < n; i++)
	{
		Taken taken = take(reader, &reader->polled[i]);

		if (taken == TAKEN_KEPT)
			continue;
		if (taken == TAKEN_EXPIRED)
			expired = reader->polled[i].partition;
		evn_kafka_consumer_release(reader->consumer, &reader->polled[i], 1);
	}
	/* raised only when every polled message is either kept or released */
	if (expired >= 0)
		raise_expired(reader, expired);
	reader->waiting -= n;
	if (n > 0 && reader->waiting < 0)
		reader->confirmed = false;
	if (n < room)
		reader->drained_at = asked_at;
	if (first == 0 && batch->nmessages > 0)
		batch->started_at = GetCurrentTimestamp();
	return first;
}

static void
set_anchor(EvnPosition *position, const EvnKafkaMessage *message)
{
	position->anchor_offset = message->offset;
	position->anchor_timestamp = message->timestamp_ms;
	position->anchor_hash = evn_ingest_hash(message);
}

/* Where nothing was stored yet, the rest of the batch is compared with its first message. */
static void
find_anchor(EvnPartitionReader *reader, int part)
{
	const EvnBatch *batch = &reader->batch;

	for (int i = 0; i < batch->nmessages; i++)
		if (batch->messages[i].part == part)
		{
			set_anchor(&reader->states[part].position, &batch->messages[i].kafka);
			return;
		}
}

/*
 * Send the probe to the anchors, of partitions at rest too if the answer is to
 * hold longer; false when there are none.
 */
static bool
ask_anchors(EvnPartitionReader *reader)
{
	EvnKafkaError	  error = {0};
	EvnKafkaPosition *starts = palloc(sizeof(EvnKafkaPosition) * (reader->batch.nparts + 1));
	bool			  all = reader->waiting > 0 || reader->batch.nmessages == 0;
	int				  n = 0;

	for (int i = 0; i < reader->batch.nparts; i++)
	{
		PartState *state = &reader->states[i];

		if (state->position.anchor_offset < 0)
			find_anchor(reader, i);
		state->awaited =
			state->position.anchor_offset >= 0 && (all || reader->batch.parts[i].last >= 0);
		if (!state->awaited)
			continue;
		starts[n].partition = state->position.partition;
		starts[n++].offset = state->position.anchor_offset;
	}
	if (n > 0 && !evn_kafka_consumer_assign(reader->probe, starts, n, &error))
		raise_kafka(&error);
	pfree(starts);
	return n > 0;
}

typedef enum Finding
{
	FOUND_NOTHING, /* that says something */
	FOUND_SAME,
	FOUND_ANOTHER,
	FOUND_SHORTER, /* the log ends before the anchor, or begins behind it */
	FOUND_FAILURE
} Finding;

static Finding
compare(const PartState *state, const EvnKafkaMessage *message)
{
	const EvnPosition *position = &state->position;

	if (!state->awaited)
		return FOUND_NOTHING;
	if (message->event == EVN_KAFKA_FAILURE)
		return FOUND_FAILURE;
	if (message->event == EVN_KAFKA_OUT_OF_RANGE)
		return FOUND_SHORTER;
	if (message->offset > position->anchor_offset)
		return FOUND_SAME; /* compacted away: nothing to compare */
	if (message->event == EVN_KAFKA_END)
		return FOUND_SHORTER;
	if (message->offset < position->anchor_offset)
		return FOUND_NOTHING;
	return message->timestamp_ms == position->anchor_timestamp &&
				   evn_ingest_hash(message) == position->anchor_hash
			   ? FOUND_SAME
			   : FOUND_ANOTHER;
}

/* Raise what was found, unless it is that the anchor expired. */
static void
judge(EvnPartitionReader *reader, PartState *state, Finding finding)
{
	EvnPosition	 *position = &state->position;
	EvnKafkaError error = {0};
	int64		  low;
	int64		  high;

	if (finding == FOUND_ANOTHER)
		raise_other_topic(
			reader, position->partition,
			psprintf("offset " INT64_FORMAT " holds another message", position->anchor_offset));
	if (finding == FOUND_FAILURE)
	{
		if (!evn_kafka_consumer_error(reader->probe, &error))
			strlcpy(error.message, "the topic cannot be read", sizeof(error.message));
		raise_kafka(&error);
	}
	ask_watermarks(reader, position->partition, &low, &high);
	check_end(reader, position, high);
	if (position->anchor_offset >= low)
		ereport(ERROR, (errcode(ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION),
						errmsg("Kafka topic \"%s\", partition %d changed while it was looked at",
							   reader->ingest->stream->topic, position->partition)));
	position->anchor_offset = -1;
	state->awaited = false;
}

/* Take what the probe found; false when there is nothing left to take. */
static bool
take_findings(EvnPartitionReader *reader)
{
	int		   n = evn_kafka_consumer_poll(reader->probe, reader->polled, POLL_MESSAGES);
	PartState *odd = NULL;
	Finding	   oddity = FOUND_NOTHING;

	for (int i = 0; i < n; i++)
	{
		PartState *state = &reader->states[part_index(reader, reader->polled[i].partition)];
		Finding	   finding = compare(state, &reader->polled[i]);

		if (finding == FOUND_SAME)
			state->awaited = false;
		else if (finding != FOUND_NOTHING && odd == NULL)
		{
			odd = state;
			oddity = finding;
		}
	}
	evn_kafka_consumer_release(reader->probe, reader->polled, n);
	if (odd != NULL)
		judge(reader, odd, oddity);
	return n > 0;
}

/* What had no anchor when the probe was asked is not covered by its answer. */
static bool
has_new_part(const EvnPartitionReader *reader)
{
	for (int i = 0; i < reader->batch.nparts; i++)
		if (reader->batch.parts[i].last >= 0 && reader->states[i].position.anchor_offset < 0)
			return true;
	return false;
}

static bool
is_awaiting(const EvnPartitionReader *reader)
{
	for (int i = 0; i < reader->batch.nparts; i++)
		if (reader->states[i].awaited)
			return true;
	return false;
}

bool
evn_partition_reader_confirm(EvnPartitionReader *reader)
{
	EvnKafkaError error = {0};

	if (reader->confirmed && !has_new_part(reader))
		return true;
	reader->confirmed = false;
	if (!reader->probing)
	{
		reader->waiting = evn_kafka_consumer_waiting(reader->consumer) - UNSEEN_MESSAGES;
		reader->probing = ask_anchors(reader);
	}
	while (reader->probing && is_awaiting(reader))
		if (!take_findings(reader))
			return false;
	/* it must not go on fetching */
	if (reader->probing && !evn_kafka_consumer_assign(reader->probe, NULL, 0, &error))
		raise_kafka(&error);
	reader->probing = false;
	reader->confirmed = true;
	return true;
}

void
evn_partition_reader_reset(EvnPartitionReader *reader)
{
	EvnBatch *batch = &reader->batch;

	for (int i = 0; i < batch->nmessages; i++)
		evn_kafka_consumer_release(reader->consumer, &batch->messages[i].kafka, 1);
	batch->nmessages = 0;
	batch->nbytes = 0;
	for (int i = 0; i < batch->nparts; i++)
	{
		EvnBatchPart *part = &batch->parts[i];

		part->from_offset = part->to_offset;
		part->gaps = 0;
		part->expired = false;
		part->end_seen_at = 0;
		part->last = -1;
	}
}

void
evn_partition_reader_advance(EvnPartitionReader *reader)
{
	EvnBatch *batch = &reader->batch;

	for (int i = 0; i < batch->nparts; i++)
		if (batch->parts[i].last >= 0)
			set_anchor(&reader->states[i].position, &batch->messages[batch->parts[i].last].kafka);
	evn_partition_reader_reset(reader);
}

/* Whether a partition has nothing beyond its stored position; asks the broker if need be. */
static bool
is_at_end(EvnPartitionReader *reader, int i, bool *answered)
{
	const EvnBatchPart *part = &reader->batch.parts[i];
	EvnKafkaError		error = {0};
	int64				low;
	int64				high;

	if (part->to_offset != part->from_offset || part->gaps != 0 ||
		evn_kafka_consumer_seen_end(reader->consumer, part->partition) > part->to_offset)
		return false;
	/* not the consumer: its broker answers when the fetch before is answered */
	*answered = evn_kafka_consumer_watermarks(reader->probe, part->partition, IDLE_TIMEOUT_MS, &low,
											  &high, &error);
	return *answered && high == part->to_offset;
}

void
evn_partition_reader_cover(EvnPartitionReader *reader)
{
	TimestampTz	 now = GetCurrentTimestamp();
	EvnPosition *positions = palloc0(sizeof(EvnPosition) * (reader->batch.nparts + 1));
	bool		 answered = true;
	int			 n = 0;

	for (int i = 0; i < reader->batch.nparts && answered; i++)
		if (is_at_end(reader, i, &answered))
		{
			positions[n].partition = reader->batch.parts[i].partition;
			positions[n].next_offset = reader->batch.parts[i].to_offset;
			positions[n++].epoch = reader->batch.parts[i].epoch;
		}
	if (n > 0)
		evn_ingest_cover(reader->ingest, positions, n, now);
	pfree(positions);
}

void
evn_partition_reader_commit_hint(EvnPartitionReader *reader)
{
	int				  n = reader->batch.nparts;
	EvnKafkaPosition *positions = palloc(sizeof(EvnKafkaPosition) * (n + 1));

	for (int i = 0; i < n; i++)
	{
		positions[i].partition = reader->batch.parts[i].partition;
		positions[i].offset = reader->batch.parts[i].to_offset;
	}
	reader->hint_due = !evn_kafka_consumer_commit_hint(reader->consumer, positions, n);
	pfree(positions);
}

void
evn_partition_reader_repeat_hint(EvnPartitionReader *reader)
{
	if (reader->hint_due)
		evn_partition_reader_commit_hint(reader);
}

int64
evn_partition_reader_lag(EvnPartitionReader *reader)
{
	int64 lag = 0;

	for (int i = 0; i < reader->batch.nparts; i++)
	{
		const EvnBatchPart *part = &reader->batch.parts[i];
		int64				end = evn_kafka_consumer_seen_end(reader->consumer, part->partition);

		if (end < 0)
			return -1;
		lag += Max(end - part->to_offset, 0);
	}
	return lag;
}
