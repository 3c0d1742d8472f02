/*
 * row_store.h
 *		The stream's table at ingest: duplicates, deletes, bulk insert.
 *
 * All of it runs inside the ingest transaction, as the stream's owner, and
 * raises on error.
 */
#ifndef EVN_ROW_STORE_H
#define EVN_ROW_STORE_H

#include "batch.h"
#include "stream.h"

/*
 * Store the posts and apply the delete notices among the given messages, and
 * maintain the aggregates (a List of EvnAggregate).  Sets each message's
 * outcome.  slot is the number of this worker; the two times get the
 * microseconds taken by the table and by the aggregates added.
 */
extern void evn_row_store_apply(const EvnStream *stream, EvnAggregates *aggregates, int slot,
								EvnBatchMessage *messages, int nmessages, int64 *insert_us,
								int64 *merge_us);

/* Make the partition of the stream's table that holds ts, if it is not there. */
extern void evn_row_store_make_partition(const EvnStream *stream, TimestampTz ts);

#endif /* EVN_ROW_STORE_H */
