/*
 * kafka_consumer.h
 *		Reading one topic's partitions from explicit offsets.
 *
 * The only thing ingest knows of Kafka.  Nothing here raises, palloc's on a
 * library thread or needs a transaction; errors come back as values.  One
 * consumer belongs to the process that opened it (after fork), on one thread.
 */
#ifndef EVN_KAFKA_CONSUMER_H
#define EVN_KAFKA_CONSUMER_H

#include "kafka_config.h"

typedef struct EvnKafkaConsumer EvnKafkaConsumer;

typedef enum EvnKafkaUse
{
	EVN_KAFKA_STREAM, /* read on and on */
	EVN_KAFKA_PROBE	  /* read single messages here and there, with as little delay as can be */
} EvnKafkaUse;

typedef enum EvnKafkaEvent
{
	EVN_KAFKA_MESSAGE, /* payload, key, timestamp are set */
	EVN_KAFKA_END, /* offset is the end of the partition: control records before it are passed */
	EVN_KAFKA_OUT_OF_RANGE, /* the broker does not hold the offset asked for */
	EVN_KAFKA_FAILURE		/* another error of this partition; evn_kafka_consumer_error tells */
} EvnKafkaEvent;

typedef struct EvnKafkaMessage
{
	EvnKafkaEvent event;
	int32		  partition;
	int64		  offset;
	int64		  timestamp_ms; /* of the record, milliseconds since 1970; -1 unknown */
	const char	 *payload;		/* NULL for a record without a value */
	size_t		  len;
	const char	 *key;
	size_t		  key_len;
	void		 *handle; /* for evn_kafka_consumer_release */
} EvnKafkaMessage;

typedef struct EvnKafkaPosition
{
	int32 partition;
	int64 offset;
} EvnKafkaPosition;

/*
 * Open a consumer.  options are the server's and the user mapping's, already
 * checked.  group_id names the consumer in lag tools only.  NULL on error with
 * *error filled.  Closed with evn_kafka_consumer_close, which waits for
 * librdkafka's threads.
 */
extern EvnKafkaConsumer *evn_kafka_consumer_open(const EvnKafkaOption *options, int noptions,
												 const char *topic, const char *group_id,
												 EvnKafkaUse use, EvnKafkaError *error);

/*
 * False when the library did not come to an end in some seconds: its threads
 * and memory are left behind, and the process should end before long.
 */
extern bool evn_kafka_consumer_close(EvnKafkaConsumer *consumer);

/* number of partitions of the topic, asked of the broker; -1 on error, 0 when the topic does not exist */
extern int evn_kafka_consumer_partitions(EvnKafkaConsumer *consumer, int timeout_ms,
										 EvnKafkaError *error);

/* oldest held offset and the next one to be written, asked of the broker */
extern bool evn_kafka_consumer_watermarks(EvnKafkaConsumer *consumer, int32 partition,
										  int timeout_ms, int64 *low, int64 *high,
										  EvnKafkaError *error);

/* first offset whose record time is at or after timestamp_ms (the end when none), asked of the broker */
extern bool evn_kafka_consumer_offset_for_time(EvnKafkaConsumer *consumer, int32 partition,
											   int64 timestamp_ms, int timeout_ms, int64 *offset,
											   EvnKafkaError *error);

/* replace the assignment; consumption of each partition starts at its offset */
extern bool evn_kafka_consumer_assign(EvnKafkaConsumer *consumer, const EvnKafkaPosition *positions,
									  int npositions, EvnKafkaError *error);

/*
 * Take what has arrived, at most max events, without waiting.  The messages
 * stay valid until released.  Also serves log and error events.
 */
extern int evn_kafka_consumer_poll(EvnKafkaConsumer *consumer, EvnKafkaMessage *messages, int max);
extern void evn_kafka_consumer_release(EvnKafkaConsumer *consumer, EvnKafkaMessage *messages,
									   int n);

/* how much has arrived and waits for a poll; more than that returns, as the library drops some of it */
extern int64 evn_kafka_consumer_waiting(EvnKafkaConsumer *consumer);

/* readable when something has arrived since the last poll that found nothing; for a wait event set */
extern int evn_kafka_consumer_fd(EvnKafkaConsumer *consumer);
extern void evn_kafka_consumer_clear_fd(EvnKafkaConsumer *consumer);

/* end of the partition as last seen by the fetcher, without asking the broker; -1 unknown */
extern int64 evn_kafka_consumer_seen_end(EvnKafkaConsumer *consumer, int32 partition);

/* tell Kafka where we are, for lag tools; asynchronous, errors ignored; false when the one before
 * is still on its way: call again later */
extern bool evn_kafka_consumer_commit_hint(EvnKafkaConsumer		  *consumer,
										   const EvnKafkaPosition *positions, int npositions);

/* last error or log line the library reported since the last call (never a secret); false when none */
extern bool evn_kafka_consumer_error(EvnKafkaConsumer *consumer, EvnKafkaError *error);

#endif /* EVN_KAFKA_CONSUMER_H */
