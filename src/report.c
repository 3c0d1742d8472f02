/*
 * report.c
 *		SQL functions that answer "what is every city posting": reports over
 *		<stream>_by_city.
 *
 * Reports run one query as the caller, who needs SELECT on <stream>_by_city.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "spi.h"
#include "stream.h"

PG_FUNCTION_INFO_V1(evn_report_city_counts);
PG_FUNCTION_INFO_V1(evn_report_top_cities);

static void
require_arguments(FunctionCallInfo fcinfo, int n, const char *const *names)
{
	for (int i = 0; i < n; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
							errmsg("argument \"%s\" must not be null", names[i])));
}

static void
check_width(Interval *width)
{
	int64 us = evn_stream_interval_us(width);

	if (width->month != 0 || us <= 0 || us % USECS_PER_MINUTE != 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"width\" must be one or more whole minutes, not \"%s\"",
							   evn_stream_interval_text(width)),
						errhint("Counts are kept by the minute; a month has no fixed length.")));
}

static void
check_span(TimestampTz since, TimestampTz until)
{
	if (since > until)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("argument \"since\" must not be later than \"until\""),
				 errdetail("\"since\" is %s, \"until\" is %s.", pstrdup(timestamptz_to_str(since)),
						   pstrdup(timestamptz_to_str(until))),
				 errhint("By default \"since\" is an hour ago and \"until\" is now.")));
}

/* The stream's <stream>_by_city, quoted and qualified. */
static char *
by_city_name(Oid stream)
{
	char *name = get_rel_name(stream);
	char *by_city;

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", stream)));
	by_city = psprintf("%s_by_city", name);
	if (!OidIsValid(get_relname_relid(by_city, get_rel_namespace(stream))))
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("\"%s\" is not a stream with counts per city", name),
				 errhint("There is no view \"%s\"; evilnet.stream lists the streams.", by_city)));
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(stream)), by_city);
}

/* Distinct authors of several buckets, where hll is installed. */
static const char *
authors_expression(Oid stream)
{
	char	  *by_city = psprintf("%s_by_city", get_rel_name(stream));
	Oid		   relid = get_relname_relid(by_city, get_rel_namespace(stream));
	AttrNumber attnum = get_attnum(relid, "authors");
	char	  *schema;
	Oid		   input;
	Oid		   ioparam;

	if (attnum == InvalidAttrNumber)
		return "NULL::pg_catalog.int8";
	/* the type's functions stand in its own schema */
	getTypeInputInfo(get_atttype(relid, attnum), &input, &ioparam);
	schema = get_namespace_name(get_func_namespace(input));
	return psprintf(
		"pg_catalog.round(%s.hll_cardinality(%s.hll_union_agg(b.authors)))::pg_catalog.int8",
		quote_identifier(schema), quote_identifier(schema));
}

/* Each name of the list must be one of the gazetteer's: a typing error must not look like no posts. */
static void
require_known(Datum names, const char *what, const char *cities)
{
	Oid types[1] = {TEXTARRAYOID};

	if (evn_spi_exec_args(psprintf("SELECT n FROM pg_catalog.unnest($1) n"
								   " WHERE NOT EXISTS (%s) LIMIT 1",
								   cities),
						  1, types, &names, NULL, SPI_OK_SELECT) > 0)
	{
		bool  isnull;
		Datum name = evn_spi_value_or_null(0, 1, &isnull);

		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_OBJECT),
						errmsg("%s \"%s\" is not in the gazetteer", what,
							   isnull ? "NULL" : TextDatumGetCString(name)),
						errhint("Look it up in evilnet.city.")));
	}
}

/* the cities that an element n of the list means */
#define CITIES_OF_COUNTRY \
	"SELECT c.city_id FROM evilnet.city c WHERE pg_catalog.upper(n) = c.country_code" \
	" OR pg_catalog.lower(n) = pg_catalog.lower(c.country)"
#define CITIES_OF_NAME "SELECT c.city_id FROM evilnet.find_city(n) c"

/* Narrow a report to the named cities or countries, parameter $number. */
static void
append_filter(StringInfo sql, int number, const char *cities)
{
	appendStringInfo(
		sql,
		" AND b.city_id IN (SELECT m.city_id FROM pg_catalog.unnest($%d) n CROSS JOIN LATERAL (%s) m)",
		number, cities);
}

/* Run the report and hand its rows to the caller. */
static void
return_rows(FunctionCallInfo fcinfo, const char *sql, int nargs, Oid *types, Datum *values,
			const char *nulls)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	if (SPI_execute_with_args(sql, nargs, types, values, nulls, true, 0) != SPI_OK_SELECT)
		elog(ERROR, "report failed: %s", sql);
	for (uint64 i = 0; i < SPI_processed; i++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[i]);
}

Datum
evn_report_city_counts(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"stream", "width", "since", "until"};
	Oid	  types[5] = {INTERVALOID, TIMESTAMPTZOID, TIMESTAMPTZOID, TEXTARRAYOID, TEXTARRAYOID};
	Datum values[5];
	char  nulls[5] = {' ', ' ', ' ', ' ', ' '};
	char *by_city;
	StringInfoData sql;
	EvnSpi		   spi;

	require_arguments(fcinfo, 4, names);
	check_width(PG_GETARG_INTERVAL_P(1));
	check_span(PG_GETARG_TIMESTAMPTZ(2), PG_GETARG_TIMESTAMPTZ(3));
	by_city = by_city_name(PG_GETARG_OID(0));
	for (int i = 0; i < 5; i++)
	{
		nulls[i] = PG_ARGISNULL(i + 1) ? 'n' : ' ';
		values[i] = PG_ARGISNULL(i + 1) ? (Datum) 0 : PG_GETARG_DATUM(i + 1);
	}
	InitMaterializedSRF(fcinfo, 0);
	evn_spi_begin(&spi, InvalidOid);
	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"SELECT w.window_start, w.city_id, c.name, c.country_code, c.country,"
		" w.tweets, w.retweets, w.authors FROM ("
		"SELECT evilnet.time_bucket($1, b.bucket) AS window_start, b.city_id,"
		" pg_catalog.sum(b.tweets)::pg_catalog.int8 AS tweets,"
		" pg_catalog.sum(b.retweets)::pg_catalog.int8 AS retweets, %s AS authors FROM %s b"
		/* whole windows: those that start in the span */
		" WHERE b.bucket >= evilnet.time_bucket($1, $2 - interval '1 microsecond') + $1"
		" AND b.bucket < evilnet.time_bucket($1, $3 - interval '1 microsecond') + $1",
		authors_expression(PG_GETARG_OID(0)), by_city);
	if (!PG_ARGISNULL(4))
	{
		require_known(values[3], "city", CITIES_OF_NAME);
		append_filter(&sql, 4, CITIES_OF_NAME);
	}
	if (!PG_ARGISNULL(5))
	{
		require_known(values[4], "country", CITIES_OF_COUNTRY);
		append_filter(&sql, 5, CITIES_OF_COUNTRY);
	}
	appendStringInfoString(&sql, " GROUP BY 1, 2) w JOIN evilnet.city c ON c.city_id = w.city_id"
								 " ORDER BY 1, w.tweets DESC, 2");
	return_rows(fcinfo, sql.data, 5, types, values, nulls);
	evn_spi_end(&spi);
	return (Datum) 0;
}

/* The metric is an identifier in the query, so it must be one of these. */
static const char *
metric_column(const char *metric)
{
	if (strcmp(metric, "tweets") == 0 || strcmp(metric, "retweets") == 0 ||
		strcmp(metric, "authors") == 0)
		return metric;
	ereport(
		ERROR,
		(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
		 errmsg("argument \"metric\" must be \"tweets\", \"retweets\" or \"authors\", not \"%s\"",
				metric)));
}

static void
check_n(int32 n)
{
	if (n < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("argument \"n\" must be at least 0, not %d", n)));
}

Datum
evn_report_top_cities(PG_FUNCTION_ARGS)
{
	static const char *const names[] = {"stream", "since", "until", "metric", "n", "best_first"};
	Oid						 types[4] = {TIMESTAMPTZOID, TIMESTAMPTZOID, INT4OID, TEXTARRAYOID};
	Datum					 values[4];
	char					 nulls[4] = {' ', ' ', ' ', ' '};
	const char				*metric;
	const char				*authors;
	char					*by_city;
	StringInfoData			 sql;
	EvnSpi					 spi;

	require_arguments(fcinfo, 6, names);
	check_span(PG_GETARG_TIMESTAMPTZ(1), PG_GETARG_TIMESTAMPTZ(2));
	metric = metric_column(text_to_cstring(PG_GETARG_TEXT_PP(3)));
	check_n(PG_GETARG_INT32(4));
	by_city = by_city_name(PG_GETARG_OID(0));
	authors = authors_expression(PG_GETARG_OID(0));
	if (strcmp(metric, "authors") == 0 && strncmp(authors, "NULL", 4) == 0)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("distinct authors are not counted for this stream"),
						errhint("Create extension hll before the stream.")));
	values[0] = PG_GETARG_DATUM(1);
	values[1] = PG_GETARG_DATUM(2);
	values[2] = PG_GETARG_DATUM(4);
	values[3] = PG_ARGISNULL(6) ? (Datum) 0 : PG_GETARG_DATUM(6);
	nulls[3] = PG_ARGISNULL(6) ? 'n' : ' ';
	InitMaterializedSRF(fcinfo, 0);
	evn_spi_begin(&spi, InvalidOid);
	initStringInfo(&sql);
	appendStringInfo(
		&sql,
		"SELECT pg_catalog.rank() OVER (ORDER BY w.%s %s), w.city_id, c.name, c.country_code,"
		" c.country, w.tweets, w.retweets, w.authors FROM ("
		"SELECT b.city_id, pg_catalog.sum(b.tweets)::pg_catalog.int8 AS tweets,"
		" pg_catalog.sum(b.retweets)::pg_catalog.int8 AS retweets, %s AS authors FROM %s b"
		" WHERE b.bucket >= $1 AND b.bucket < $2 AND b.city_id <> 0",
		metric, PG_GETARG_BOOL(5) ? "DESC" : "ASC", authors, by_city);
	if (!PG_ARGISNULL(6))
	{
		require_known(values[3], "country", CITIES_OF_COUNTRY);
		append_filter(&sql, 4, CITIES_OF_COUNTRY);
	}
	appendStringInfoString(&sql, " GROUP BY 1) w JOIN evilnet.city c ON c.city_id = w.city_id"
								 " ORDER BY 1, w.tweets DESC, 3, 2 LIMIT $3");
	return_rows(fcinfo, sql.data, 4, types, values, nulls);
	evn_spi_end(&spi);
	return (Datum) 0;
}
