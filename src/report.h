/*
 * report.h
 *		What the reports have in common: the counts they read, the cities they
 *		are about, their arguments, their rows.
 *
 * A report reads the storage of roll-ups as its owner, once SELECT on the
 * stream's view of counts per city is checked: what reading the view does too,
 * but grouping once.  Everything needs a transaction, writes nothing (it runs on
 * a standby), palloc's in the current context and raises on error.
 */
#ifndef EVN_REPORT_H
#define EVN_REPORT_H

#include "fmgr.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"
#include "utils/timestamp.h"

/* a stream's counts per city, for one report */
typedef struct EvnReportSource
{
	Oid			stream;
	Oid			owner;
	List	   *rollups; /* EvnRollup, finest first */
	bool		has_authors;
	const char *hll_schema; /* where hll is */
	Oid			hll_type;
} EvnReportSource;

/* Raises when the stream has no counts per city, or the user must not read them. */
extern void evn_report_open(EvnReportSource *source, Oid stream);

/*
 * Subquery of partial counts (bucket, city_id, tweets, retweets and, if asked
 * for, authors), not grouped, of the buckets that start in [since, until), from
 * the coarsest roll-ups whose width divides grain (0: any).  condition, empty or
 * beginning with AND, is about columns of s.
 */
extern char *evn_report_rows(const EvnReportSource *source, int64 since, int64 until, int64 grain,
							 bool authors, const char *condition);

/* Expression over authors of those rows: how many they are together; NULL when they are not counted. */
extern const char *evn_report_authors(const EvnReportSource *source, const char *column);

/* a time as a literal */
extern char *evn_report_time(int64 ts);

/*
 * The cities that the arguments from number first on name: cities, countries,
 * regions, box, near, radius_km, min_population, max_population.  A condition as
 * above on s.city_id with the parameter $number, or an empty one when all are null.
 */
typedef struct EvnReportCities
{
	char *condition;
	Datum ids;	 /* int4[] */
	Datum named; /* int4[]: for each name of cities, the most populous city */
	bool  all;
} EvnReportCities;

extern void evn_report_cities(EvnReportCities *cities, FunctionCallInfo fcinfo, int first,
							  int number);

/* the arguments in words: not null, since not after until */
extern void evn_report_require(FunctionCallInfo fcinfo, int n, const char *const *names);
extern void evn_report_check_span(TimestampTz since, TimestampTz until);

/* one row of a query, in memory that lasts until the next one */
typedef void (*EvnReportRow)(void *state, const Datum *values, const bool *nulls);

/* Run a query as the owner and hand over its rows one by one. */
extern void evn_report_each(const EvnReportSource *source, const char *sql, int nargs, Oid *types,
							Datum *values, const char *nulls, EvnReportRow row, void *state);

/* Run the report's query as the owner and hand its rows to the caller. */
extern void evn_report_return(FunctionCallInfo fcinfo, const EvnReportSource *source,
							  const char *sql, int nargs, Oid *types, Datum *values,
							  const char *nulls);

#endif /* EVN_REPORT_H */
