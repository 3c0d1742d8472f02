/*
 * parquet_prune.h
 *		Which row groups cannot hold a row that a query wants, by the smallest
 *		and the largest value that the file says a group has.
 *
 * Conditions are comparisons of a column of a number, date, time or text with
 * something that stays the same during a scan.  They only save reading: each
 * row that is read is checked by the executor all the same.
 */
#ifndef EVN_PARQUET_PRUNE_H
#define EVN_PARQUET_PRUNE_H

#include "nodes/execnodes.h"
#include "nodes/pathnodes.h"

#include "parquet_type.h"

typedef struct EvnParquetPrune EvnParquetPrune;

/*
 * When planning: those of the clauses that can be used, as what a plan keeps
 * (nodes), and as expressions to be evaluated, one for each.
 */
extern List *evn_parquet_prune_plan(RelOptInfo *rel, List *clauses, List **expressions);

/* Prepare the conditions; palloc'd. */
extern EvnParquetPrune *evn_parquet_prune_begin(List *conditions, List *expressions,
												ScanState *node);

/* Evaluate them anew.  Before that, nothing is pruned. */
extern void evn_parquet_prune_evaluate(EvnParquetPrune *prune, ExprContext *context);

/* Whether the conditions are known without running the query. */
extern bool evn_parquet_prune_is_constant(const EvnParquetPrune *prune);

/*
 * Whether a row group has no row for which all conditions hold.  fields and
 * shapes tell by attribute number, from 1, which field of the file a column is;
 * fields are -1 of those that it does not have or that are not read.
 */
extern bool evn_parquet_prune_group(const EvnParquetPrune *prune, EvnParquetReader *reader,
									int group, const int *fields, EvnParquetShape *const *shapes);

#endif /* EVN_PARQUET_PRUNE_H */
