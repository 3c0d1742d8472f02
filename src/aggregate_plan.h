/*
 * aggregate_plan.h
 *		What maintains an aggregate: its query planned over a batch, and the
 *		statements that merge the result into the storage.
 *
 * Everything needs a transaction and raises on error.
 */
#ifndef EVN_AGGREGATE_PLAN_H
#define EVN_AGGREGATE_PLAN_H

#include "executor/spi.h"
#include "nodes/plannodes.h"
#include "utils/queryenvironment.h"
#include "utils/tuplestore.h"

#include "aggregate_query.h"

typedef enum EvnAggregateMerge
{
	EVN_MERGE_ADD,
	EVN_MERGE_NEGATE, /* take away; only when the query's can_negate */
	EVN_MERGE_REDUCE, /* take away what can be, leave the other columns as they are */
	EVN_NMERGES
} EvnAggregateMerge;

typedef struct EvnAggregatePlan
{
	MemoryContext	   context; /* of all below, apart from the statements */
	EvnAggregateQuery *query;
	PlannedStmt		  *over_batch;
	TupleDesc		   delta_desc;
	Oid				   storage;
	SPIPlanPtr		   merges[EVN_NMERGES];
} EvnAggregatePlan;

/* Plan the query of a view over rows of source_desc, in plan->context, which the caller made. */
extern void evn_aggregate_plan_build(EvnAggregatePlan *plan, Oid query_view, Oid storage,
									 TupleDesc source_desc);

/* Free it all, but for the context itself. */
extern void evn_aggregate_plan_reset(EvnAggregatePlan *plan);

/* Free what is not in the context, which is gone already. */
extern void evn_aggregate_plan_forget(EvnAggregatePlan *plan);

/* The groups of a batch's rows, of delta_desc; the caller ends the tuplestore. */
extern Tuplestorestate *evn_aggregate_plan_delta(EvnAggregatePlan *plan, Tuplestorestate *rows,
												 TupleDesc source_desc);

/* The same of the source's rows whose time lies in [since, until). */
extern Tuplestorestate *evn_aggregate_plan_delta_of_range(const EvnAggregateQuery *query,
														  int64 since, int64 until);

/* Merge the groups of buckets from since on into the storage's rows of a slot. */
extern void evn_aggregate_plan_merge(EvnAggregatePlan *plan, EvnAggregateMerge kind,
									 Tuplestorestate *delta, int slot, int64 since);

/* Rows by a name that statements can read; rows NULL to prepare one. */
extern EphemeralNamedRelation evn_aggregate_plan_relation(const char *name, Tuplestorestate *rows,
														  TupleDesc tupdesc);

#endif /* EVN_AGGREGATE_PLAN_H */
