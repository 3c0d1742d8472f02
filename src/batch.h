/*
 * batch.h
 *		The messages of one ingest transaction, and what became of each.
 *
 * No transaction is needed; texts of a decoded message live in the arena.
 */
#ifndef EVN_BATCH_H
#define EVN_BATCH_H

#include "datatype/timestamp.h"

#include "city_index.h"
#include "kafka_consumer.h"
#include "tweet_decode.h"

/* in the order of the counters of evilnet.stream_offset */
typedef enum EvnOutcome
{
	EVN_OUTCOME_ROW, /* a post, stored or to be stored */
	EVN_OUTCOME_DUPLICATE,
	EVN_OUTCOME_DELETE,
	EVN_OUTCOME_SUPPRESSED, /* a post whose delete notice came first */
	EVN_OUTCOME_NOTICE,
	EVN_OUTCOME_DEAD,
	EVN_NOUTCOMES
} EvnOutcome;

typedef struct EvnBatchMessage
{
	EvnKafkaMessage kafka;
	EvnTweet		tweet;
	EvnCityMatch	city;
	EvnOutcome		decoded;	  /* what decoding made of it: ROW, DELETE, NOTICE or DEAD */
	EvnOutcome		outcome;	  /* what the transaction made of it */
	int				part;		  /* index into the batch's parts */
	int				rows_deleted; /* by this delete notice */
	const char	   *reason;		  /* of a dead letter: code and text */
	const char	   *detail;
} EvnBatchMessage;

/* the span of one Kafka partition in the batch */
typedef struct EvnBatchPart
{
	int32 partition;
	int64 from_offset; /* stored position the batch starts from */
	int64 to_offset;   /* position after it */
	int64 epoch;
	int64 gaps;
	bool  expired; /* messages before it expired unread */
	int	  last;	   /* index of its last message, -1 when it has none */
	/* all that was in Kafka at this time is in the batch or before it; 0: not known */
	TimestampTz end_seen_at;
} EvnBatchPart;

typedef struct EvnBatch
{
	EvnBatchMessage *messages;
	int				 nmessages;
	int64			 nbytes;
	EvnBatchPart	*parts; /* all partitions of the worker, ascending */
	int				 nparts;
	TimestampTz		 started_at; /* when the first message came */
} EvnBatch;

/* the reason of posts that are past the retention */
extern const char evn_batch_too_old[];

/* the times a post may have */
typedef struct EvnAccepted
{
	TimestampTz earliest;
	TimestampTz latest;
} EvnAccepted;

/*
 * Decode a message: sets what is decoded, or why it is dead.  Raises when
 * memory runs out.
 */
extern void evn_batch_decode(EvnBatchMessage *message, EvnDecoder *decoder, EvnArena *arena,
							 const EvnAccepted *accepted);

#endif /* EVN_BATCH_H */
