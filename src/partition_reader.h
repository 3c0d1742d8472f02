/*
 * partition_reader.h
 *		Filling batches from a worker's Kafka partitions: where each starts,
 *		what offset is expected next, and whether the topic is still the one
 *		the positions belong to.
 *
 * No transaction is open while any of this runs, except where said.  Raises
 * ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION-class errors for what may pass,
 * ERRCODE_DATA_CORRUPTED when the topic is not the one the positions belong to.
 */
#ifndef EVN_PARTITION_READER_H
#define EVN_PARTITION_READER_H

#include "batch.h"
#include "ingest.h"

typedef struct EvnPartitionReader EvnPartitionReader;

/* In the current context.  The consumers, the second one a probe, stay the caller's. */
extern EvnPartitionReader *evn_partition_reader_create(EvnIngest		*ingest,
													   EvnKafkaConsumer *consumer,
													   EvnKafkaConsumer *probe,
													   const char		*start_at);

/*
 * Take over this worker's partitions and start reading at the stored
 * positions.  Once for a reader; uses transactions of its own.
 */
extern void evn_partition_reader_assign(EvnPartitionReader *reader);

/*
 * Whether everything in the batch comes from the topic that the positions
 * belong to: the message stored last was read again, after all of the batch
 * arrived.  To be called before a batch is stored and after assign, until it
 * is true; while it is false the answer is on its way to the probe.  An answer
 * holds for all that had arrived by then, also for later batches.
 */
extern bool evn_partition_reader_confirm(EvnPartitionReader *reader);

/* Whether the topic has other partitions than when they were assigned; asks the broker. */
extern bool evn_partition_reader_changed(EvnPartitionReader *reader);

/* The batch being filled.  Its messages stay valid until the next reset. */
extern EvnBatch *evn_partition_reader_batch(EvnPartitionReader *reader);

/* Take what has arrived; returns the index of the first new message (those after it are new too). */
extern int evn_partition_reader_fill(EvnPartitionReader *reader);

/* The batch is stored: go on from its end. */
extern void evn_partition_reader_advance(EvnPartitionReader *reader);

/* Note in the books that the partitions whose end was reached have nothing more.  Own transaction. */
extern void evn_partition_reader_cover(EvnPartitionReader *reader);

/* Release the batch's messages, which the consumer's end waits for. */
extern void evn_partition_reader_reset(EvnPartitionReader *reader);

/* Tell Kafka the stored positions, for lag tools. */
extern void evn_partition_reader_commit_hint(EvnPartitionReader *reader);

/* Tell it again if it could not be told then. */
extern void evn_partition_reader_repeat_hint(EvnPartitionReader *reader);

/* Messages the broker holds beyond the positions; -1 unknown. */
extern int64 evn_partition_reader_lag(EvnPartitionReader *reader);

#endif /* EVN_PARTITION_READER_H */
