/*
 * aggregate_query.h
 *		The defining query of a continuous aggregate: what it groups by, how its
 *		columns merge, and the same query over other rows.
 *
 * Everything needs a transaction, raises on error and palloc's in the current
 * context.
 */
#ifndef EVN_AGGREGATE_QUERY_H
#define EVN_AGGREGATE_QUERY_H

#include "access/tupdesc.h"
#include "nodes/parsenodes.h"

/* hidden column of every aggregate: how many rows a group has, so that an emptied one vanishes */
#define EVN_ROWS_COLUMN "evilnet_rows"
/* the storage's last column: which worker wrote the row */
#define EVN_SLOT_COLUMN "evilnet_slot"
/* the batch, where the stream's table stood */
#define EVN_BATCH_RELATION "evilnet_batch"

typedef struct EvnAggregateColumn
{
	char *name; /* quoted as needed */
	char *type; /* for DDL */
	bool  is_key;
	/* of aggregates: expressions as in evilnet.mergeable_aggregate, {schema} and {type} filled in */
	char *combine;
	char *negate; /* NULL when it cannot be taken away */
	char *read;
} EvnAggregateColumn;

typedef struct EvnAggregateQuery
{
	Oid					stream;
	Query			   *query;	  /* with the hidden row count as its last column */
	int					ncolumns; /* including that one */
	EvnAggregateColumn *columns;
	int					bucket;		/* the time bucket, an index into columns */
	int64				bucket_us;	/* its width */
	AttrNumber			created_at; /* the stream's column it is made of */
	bool				can_negate; /* every aggregate can be taken away */
} EvnAggregateQuery;

/* Read and check the query of a view over the stream's table; raises with a hint when it cannot be kept. */
extern EvnAggregateQuery *evn_aggregate_query_read(Oid view, Oid stream);

/* A copy that reads EVN_BATCH_RELATION, whose rows are of tupdesc, instead of the stream's table. */
extern Query *evn_aggregate_query_over_batch(const EvnAggregateQuery *query, TupleDesc tupdesc);

/* A copy over the stream's table, only rows whose created_at lies in [since, until). */
extern Query *evn_aggregate_query_over_table(const EvnAggregateQuery *query, int64 since,
											 int64 until);

/* expression with every placeholder replaced by value */
extern char *evn_aggregate_fill(const char *expression, const char *placeholder, const char *value);

/* the stream's columns the query reads, a Bitmapset offset as in pull_varattnos */
extern Bitmapset *evn_aggregate_query_columns(const EvnAggregateQuery *query);

#endif /* EVN_AGGREGATE_QUERY_H */
