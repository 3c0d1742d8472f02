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

#include "time_bucket.h"

/* hidden column of every aggregate: how many rows a group has, so that an emptied one vanishes */
#define EVN_ROWS_COLUMN "evilnet_rows"
/* the storage's last column: which worker wrote the row */
#define EVN_SLOT_COLUMN "evilnet_slot"
/* the batch, where the source stood */
#define EVN_BATCH_RELATION "evilnet_batch"

typedef struct EvnAggregateColumn
{
	char *name; /* quoted as needed */
	char *type; /* for DDL */
	Oid	  type_id;
	Oid	  collation;
	bool  is_key;
	/* of aggregates: expressions as in evilnet.mergeable_aggregate, {schema} and {type} filled in */
	char *combine;
	char *negate; /* NULL when it cannot be taken away */
	char *read;
	char *compare;
	char *merge; /* the aggregate function that merges this column's partial results */
	bool  never_null;
} EvnAggregateColumn;

/* a reason why a query cannot be kept, and what to do instead */
typedef struct EvnAggregateReason
{
	const char *what;
	const char *hint;
} EvnAggregateReason;

/* What an aggregate reads: a stream's table, or another aggregate. */
typedef struct EvnAggregateSource
{
	Oid relid;	 /* as the query names it: the table, or the other aggregate's view */
	Oid stream;	 /* the stream at the bottom */
	Oid query;	 /* of the other aggregate, InvalidOid over a table */
	Oid storage; /* of the other aggregate */
} EvnAggregateSource;

typedef struct EvnAggregateQuery
{
	EvnAggregateSource	source;
	Query			   *query;	  /* with the hidden row count as its last column */
	Index				rtindex;  /* of the source in it */
	int					ncolumns; /* including the row count */
	EvnAggregateColumn *columns;
	int					bucket; /* the time bucket, an index into columns */
	EvnTimeBucket		time_bucket;
	AttrNumber			source_time;   /* the source's column it is made of */
	bool				can_negate;	   /* deleted rows can be taken away column by column */
	bool				has_lookups;   /* reads other tables, whose rows may change */
	bool				has_sketches;  /* has aggregates of extensions, whose states may be large */
	char			   *merged_source; /* query to read instead of the source's storage, or NULL */
	List			   *reasons; /* EvnAggregateReason: why it cannot be kept; NIL when it can */
} EvnAggregateQuery;

/* Whether the relation can be read by aggregates; fills in source. */
extern bool evn_aggregate_source_find(Oid relid, EvnAggregateSource *source);

/* The same of an aggregate's view; raises when the relation is none. */
extern void evn_aggregate_require(Oid view, EvnAggregateSource *source);

/* Read and check a query; the caller looks at the reasons. */
extern EvnAggregateQuery *evn_aggregate_query_check(Query *query);

/*
 * The same of text, which must be one statement; names are found by the
 * search_path in force.  *tree becomes the query as it was written.
 */
extern EvnAggregateQuery *evn_aggregate_query_parse(const char *sql, Query **tree);

/* Raise when there are reasons against it: the first as the message, all as the detail. */
extern void evn_aggregate_query_require(const EvnAggregateQuery *query);

/* Read the query of a view; raises when it cannot be kept. */
extern EvnAggregateQuery *evn_aggregate_query_read(Oid view);

/* A copy that reads EVN_BATCH_RELATION, whose rows are of tupdesc, instead of the source. */
extern Query *evn_aggregate_query_over_batch(const EvnAggregateQuery *query, TupleDesc tupdesc);

/* A copy over the source, only rows whose time lies in [since, until). */
extern Query *evn_aggregate_query_over_source(const EvnAggregateQuery *query, int64 since,
											  int64 until);

/* expression with every placeholder replaced by its value */
extern char *evn_aggregate_fill(const char *expression, const char *placeholder, const char *value);
extern char *evn_aggregate_fill2(const char *expression, const char *placeholder, const char *value,
								 const char *placeholder2, const char *value2);

/*
 * The rows of storage, called alias, taken together by group: what to select,
 * by the columns' names, and what to group by.  The row count comes last, or
 * not at all.
 */
typedef struct EvnAggregateMerged
{
	char *columns;
	char *keys;
} EvnAggregateMerged;

extern EvnAggregateMerged evn_aggregate_query_merged(const EvnAggregateQuery *query,
													 const char *alias, bool with_rows);

/* the source's columns the query reads, a Bitmapset offset as in pull_varattnos */
extern Bitmapset *evn_aggregate_query_columns(const EvnAggregateQuery *query);

#endif /* EVN_AGGREGATE_QUERY_H */
