/*
 * report_ranking.c
 *		SQL functions that rank cities, and put them on a map.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "compat.h"
#include "report.h"
#include "spi.h"

PG_FUNCTION_INFO_V1(evn_report_top_cities);
PG_FUNCTION_INFO_V1(evn_report_bottom_cities);

/* arguments of both functions */
enum
{
	ARG_STREAM,
	ARG_SINCE,
	ARG_UNTIL,
	ARG_METRIC,
	ARG_N,
	ARG_MIN_TWEETS,
	ARG_CITIES
};

typedef struct Metric
{
	const char *name;
	const char *value; /* over the totals t and the city c */
	bool		authors;
	bool		per_capita;
} Metric;

static const Metric metrics[] = {
	{"tweets", "t.tweets", false, false},
	{"retweets", "t.retweets", false, false},
	{"authors", "t.authors", true, false},
	{"tweets_per_100k", "t.tweets * 100000.0::pg_catalog.float8 / c.population", false, true},
	{"retweets_per_100k", "t.retweets * 100000.0::pg_catalog.float8 / c.population", false, true},
	{"authors_per_100k", "t.authors * 100000.0::pg_catalog.float8 / c.population", true, true},
};

static const Metric *
find_metric(const char *name)
{
	for (int i = 0; i < lengthof(metrics); i++)
		if (strcmp(metrics[i].name, name) == 0)
			return &metrics[i];
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("there is no metric \"%s\"", name),
			 errhint("Metrics are tweets, retweets, authors, and each of them with _per_100k.")));
}

static void
check_arguments(FunctionCallInfo fcinfo)
{
	static const char *const names[] = {"stream", "since", "until", "metric", "n", "min_tweets"};

	evn_report_require(fcinfo, lengthof(names), names);
	evn_report_check_span(PG_GETARG_TIMESTAMPTZ(ARG_SINCE), PG_GETARG_TIMESTAMPTZ(ARG_UNTIL));
	if (PG_GETARG_INT32(ARG_N) < 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"n\" must be at least 0, not %d", PG_GETARG_INT32(ARG_N))));
	if (PG_GETARG_INT64(ARG_MIN_TWEETS) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"min_tweets\" must be at least 1"),
						errhint("A city without posts is not known to the stream.")));
}

/*
 * Totals per city, ranked; distinct authors only where they decide, cities
 * looked up one by one and only where they are shown or decide.
 */
static void
append_ranked(StringInfo sql, const EvnReportSource *source, const Metric *metric, const char *rows,
			  bool best_first)
{
	const char *direction = best_first ? "DESC" : "ASC";
	const char *city = " LEFT JOIN LATERAL (SELECT * FROM evilnet.city c"
					   " WHERE c.city_id = t.city_id OFFSET 0) c ON true";

	appendStringInfo(
		sql,
		"WITH ranked AS (SELECT t.rank, t.city_id, c.name, c.country_code, c.country, c.lon, c.lat,"
		" t.tweets, t.retweets, t.authors, t.value FROM ("
		"SELECT t.*, pg_catalog.rank() OVER (ORDER BY t.value %s) AS rank FROM ("
		"SELECT t.*, (%s)::pg_catalog.float8 AS value"
		" FROM (SELECT s.city_id, evilnet.total(s.tweets) AS tweets, evilnet.total(s.retweets) AS retweets,"
		" %s AS authors FROM (%s) s WHERE s.city_id <> 0 GROUP BY 1"
		" HAVING evilnet.total(s.tweets) >= $2) t%s) t) t%s"
		" WHERE t.rank <= $1 ORDER BY t.rank, t.tweets DESC, c.name, t.city_id LIMIT $1)",
		direction, metric->value,
		metric->authors ? evn_report_authors(source, "s.authors") : "NULL::pg_catalog.int8", rows,
		metric->per_capita ? psprintf("%s WHERE c.population > 0", city) : "", city);
}

static void
report_ranking(FunctionCallInfo fcinfo, bool best_first)
{
	EvnReportSource source;
	EvnReportCities cities;
	const Metric   *metric;
	TimestampTz		since = PG_GETARG_TIMESTAMPTZ(ARG_SINCE);
	TimestampTz		until = PG_GETARG_TIMESTAMPTZ(ARG_UNTIL);
	Oid				types[3] = {INT4OID, INT8OID, INT4ARRAYOID};
	Datum			values[3];
	StringInfoData	sql;

	metric = find_metric(text_to_cstring(PG_GETARG_TEXT_PP(ARG_METRIC)));
	evn_report_open(&source, PG_GETARG_OID(ARG_STREAM));
	if (metric->authors && !source.has_authors)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("distinct authors are not counted for this stream"),
						errhint("Create extension hll before the stream.")));
	evn_report_cities(&cities, fcinfo, ARG_CITIES, 3);
	values[0] = PG_GETARG_DATUM(ARG_N);
	values[1] = PG_GETARG_DATUM(ARG_MIN_TWEETS);
	values[2] = cities.ids;
	initStringInfo(&sql);
	append_ranked(&sql, &source, metric,
				  evn_report_rows(&source, since, until, 0, metric->authors, cities.condition),
				  best_first);
	/* of the others, only those who are shown */
	appendStringInfo(
		&sql,
		" SELECT r.rank, r.city_id, r.name, r.country_code, r.country, r.tweets, r.retweets,"
		" %s, r.value, r.lon, r.lat FROM ranked r",
		metric->authors ? "r.authors" : "a.authors");
	if (!metric->authors)
		appendStringInfo(
			&sql,
			" LEFT JOIN (SELECT s.city_id, %s AS authors FROM (%s) s GROUP BY 1) a USING (city_id)",
			evn_report_authors(&source, "s.authors"),
			evn_report_rows(
				&source, since, until, 0, true,
				" AND s.city_id = ANY (ARRAY(SELECT x.city_id FROM ranked x)::pg_catalog.int4[])"));
	appendStringInfoString(&sql, " ORDER BY r.rank, r.tweets DESC, r.name, r.city_id");
	evn_report_return(fcinfo, &source, sql.data, 3, types, values, cities.all ? "  n" : NULL);
}

Datum
evn_report_top_cities(PG_FUNCTION_ARGS)
{
	check_arguments(fcinfo);
	report_ranking(fcinfo, true);
	return (Datum) 0;
}

Datum
evn_report_bottom_cities(PG_FUNCTION_ARGS)
{
	check_arguments(fcinfo);
	report_ranking(fcinfo, false);
	return (Datum) 0;
}
