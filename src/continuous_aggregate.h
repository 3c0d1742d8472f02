/*
 * continuous_aggregate.h
 *		Maintaining the aggregates of a stream, batch by batch.
 *
 * All of it runs inside the ingest transaction, as the stream's owner, and
 * raises on error.
 */
#ifndef EVN_CONTINUOUS_AGGREGATE_H
#define EVN_CONTINUOUS_AGGREGATE_H

#include "utils/tuplestore.h"

#include "stream.h"

typedef struct EvnAggregate EvnAggregate;

/* The aggregates of the stream, in the order in which every worker takes them; a List of
 * EvnAggregate in the current context, which must live as long as the worker uses them. */
extern List *evn_aggregates_load(const EvnStream *stream);

/* Free what the aggregates hold outside that context, before it is reset. */
extern void evn_aggregates_unload(List *aggregates);

/* columns of the stream's table (of tupdesc) that any of them reads, offset as in pull_varattnos */
extern Bitmapset *evn_aggregates_columns(List *aggregates, TupleDesc tupdesc);

/*
 * Add the rows of a batch, or take deleted rows away again.  rows holds tuples
 * of the stream's table (tupdesc; columns nobody reads may be null); slot is
 * the number of this worker.  Taking away needs the rows gone from the table
 * already, and that no other worker stores into this stream meanwhile.
 */
extern void evn_aggregates_add(List *aggregates, Tuplestorestate *rows, TupleDesc tupdesc,
							   int slot);
extern void evn_aggregates_remove(List *aggregates, Tuplestorestate *rows, TupleDesc tupdesc,
								  int slot);

#endif /* EVN_CONTINUOUS_AGGREGATE_H */
