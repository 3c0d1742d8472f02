/*
 * ingest.h
 *		The ingest transaction: positions, rows, aggregates, dead letters and
 *		journal of one batch, together or not at all.
 */
#ifndef EVN_INGEST_H
#define EVN_INGEST_H

#include "batch.h"
#include "continuous_aggregate.h"
#include "shmem.h"
#include "stream.h"

typedef struct EvnIngest
{
	EvnStream	  *stream;
	EvnAggregates *aggregates;
	int			   worker; /* number of this worker */
	/* error budget: both halved now and then, so old messages weigh less */
	double recent_messages;
	double recent_dead;
} EvnIngest;

/* the position a worker takes over */
typedef struct EvnPosition
{
	int32 partition;
	bool  is_new; /* no row yet: the caller decides where to start */
	int64 next_offset;
	int64 epoch;
	int64 anchor_offset; /* -1: none */
	int64 anchor_timestamp;
	int64 anchor_hash;
	/* of a new one: what came from this time on is still to be read; 0: the first message tells */
	TimestampTz start_time;
} EvnPosition;

/*
 * Read the stream and its aggregates into the current context; NULL when the
 * stream is gone, paused, or the catalog is of another version.  Runs in a
 * transaction of its own.
 */
extern EvnIngest *evn_ingest_open(Oid stream, int worker);

/*
 * Become the owner of the given partitions: whoever owned them is fenced off.
 * Positions of known partitions are filled in.  Own transaction.
 */
extern void evn_ingest_claim(EvnIngest *ingest, EvnPosition *positions, int npositions);

/*
 * How many partitions the topic had when the first of the stored positions was
 * made: a new partition beyond them was added since.  PG_INT32_MAX when there
 * are no positions.  Own transaction.
 */
extern int evn_ingest_known_partitions(EvnIngest *ingest);

/* Store where new partitions start (those with is_new).  Own transaction. */
extern void evn_ingest_set_start(EvnIngest *ingest, EvnPosition *positions, int npositions,
								 int topic_partitions);

/*
 * Store a batch in a transaction of its own.  False when another worker owns
 * one of its partitions by now: nothing was stored.  With bisect, a message
 * that makes the transaction fail is found and becomes a dead letter.  Raises
 * on error, then nothing was stored and the caller aborts the transaction.
 */
extern bool evn_ingest_store(EvnIngest *ingest, EvnBatch *batch, bool bisect,
							 int64 stage_us[EVN_NSTAGES]);

/*
 * Store decoded messages that did not come from Kafka in the caller's
 * transaction: rows, aggregates, dead letters, but no positions and no journal.
 * With bisect as above; what is buried lives in the context given.
 */
extern void evn_ingest_apply(EvnIngest *ingest, EvnBatchMessage *messages, int n, bool bisect,
							 MemoryContext context);

/*
 * Nothing was left to be read at that time in partitions that are still at
 * these positions.  Others are left alone, and so are those that somebody else
 * is at work on.  Own transaction.
 */
extern void evn_ingest_cover(EvnIngest *ingest, const EvnPosition *positions, int npositions,
							 TimestampTz at);

/* The spans that were consumed end, and new ones begin with the next message.  Own transaction. */
extern void evn_ingest_end_spans(EvnIngest *ingest, const char *ended_by);

/* Whether the share of dead letters is above the stream's budget. */
extern bool evn_ingest_over_budget(EvnIngest *ingest, const EvnBatch *batch);

/* Disable the stream with a reason; resume() enables it again.  Own transaction. */
extern void evn_ingest_stop(EvnIngest *ingest, const char *reason);

/* Partitions for the near future, and old journal rows.  Own transactions. */
extern void evn_ingest_housekeep(EvnIngest *ingest);

/* The times of posts that the stream takes now: not past its retention, nor in the future. */
extern EvnAccepted evn_ingest_accepted(const EvnStream *stream);

/* the hash by which a resume anchor knows its message */
extern int64 evn_ingest_hash(const EvnKafkaMessage *message);

/* What an error of the transaction says, by its SQLSTATE. */
typedef enum EvnIngestBlame
{
	EVN_BLAME_MESSAGE,		/* some message of the batch caused it: find it */
	EVN_BLAME_CIRCUMSTANCE, /* passes by itself: the batch is worth trying again as it is */
	EVN_BLAME_STREAM /* a missing table, a lost right: nothing can be stored until it is mended */
} EvnIngestBlame;

extern EvnIngestBlame evn_ingest_blame(int sqlerrcode);

#endif /* EVN_INGEST_H */
